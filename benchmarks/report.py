"""Format results as a table and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from benchmarks.pairs import Spread, ratios, spread
from benchmarks.row import OURS, Row

_UNITS = {
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")),
    "B": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")),
}


def summarize(row: Row, measured: dict[str, list[float]]) -> dict[str, Any]:
    """Return the result of a row, for the JSON.

    A ratio is rival / ckptparse, or ckptparse / floor.  The item "ratio" names both.
    """
    ours = measured[OURS]
    contenders = []
    for contender in row.contenders:
        theirs = measured[contender.name]
        result: dict[str, Any] = {
            "name": contender.name,
            **asdict(spread(theirs)),
            "rounds": theirs,
        }
        if contender.floor:
            result["ratio"] = {"of": OURS, "to": contender.name, **asdict(ratios(ours, theirs))}
        elif contender.name != OURS:
            result["ratio"] = {"of": contender.name, "to": OURS, **asdict(ratios(theirs, ours))}
        contenders.append(result)
    return {
        "row": row.name,
        "what": row.what,
        "data": str(row.data),
        "unit": row.unit,
        "limit": row.limit,
        "rounds": len(ours),
        "contenders": contenders,
    }


def over_limit(result: dict[str, Any]) -> list[str]:
    """Return the names of ckptparse's contenders whose median is above the row's limit."""
    if result["limit"] is None:
        return []
    return [
        contender["name"]
        for contender in result["contenders"]
        if contender["name"].startswith(OURS) and contender["median"] > result["limit"]
    ]


def render(result: dict[str, Any]) -> str:
    """Return the lines of a row in the table."""
    lines = [f"{result['row']}: {result['what']}; {result['data']}; rounds: {result['rounds']}"]
    width = max(len(contender["name"]) for contender in result["contenders"])
    amount = "as much" if result["unit"] == "B" else "as long"
    for contender in result["contenders"]:
        numbers = Spread(contender["median"], contender["min"], contender["max"])
        line = f"  {contender['name']:{width}}  {_render_spread(numbers, result['unit'])}"
        if "ratio" in contender:
            ratio = contender["ratio"]
            subject = "takes" if ratio["to"] == OURS else f"{OURS} takes"
            times = f"{_digits(ratio['median'])}x"
            extremes = f"{_digits(ratio['min'])} .. {_digits(ratio['max'])}"
            line += f"  {subject} {times} {amount} ({extremes})"
        lines.append(line.rstrip())
    if result["limit"] is not None:
        limit = _render_number(result["limit"], result["unit"])
        over = over_limit(result)
        lines.append(f"  limit {limit}: {'EXCEEDED by ' + ' and '.join(over) if over else 'kept'}")
    return "\n".join(lines)


def _render_spread(numbers: Spread, unit: str) -> str:
    """Format median, minimum and maximum in one unit, which is chosen by the median."""
    units = _UNITS[unit]
    factor, name = next((each for each in units if abs(numbers.median) >= each[0]), units[-1])
    extremes = f"({_digits(numbers.min / factor)} .. {_digits(numbers.max / factor)})"
    return f"{_digits(numbers.median / factor):>7} {name:2} {extremes:17}"


def _render_number(number: float, unit: str) -> str:
    factor, name = next((each for each in _UNITS[unit] if number >= each[0]), _UNITS[unit][-1])
    return f"{_digits(number / factor)} {name}"


def _digits(number: float) -> str:
    """Format a number with three significant digits, without an exponent."""
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:#.3g}"
