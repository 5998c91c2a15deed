"""Render the differences of a report as text and HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import islice
from typing import TYPE_CHECKING

from ckptparse.display.text import count, format_shape, printable

if TYPE_CHECKING:
    from ckptparse.comparing.report import (
        DiffReport,
        FormDifference,
        ScopeSummary,
        ValueDifference,
    )

MOST_ROWS = 20
"""The maximum number of rows of a table, unless all are asked for."""

MOST_SCOPES = 20
"""The scopes are as deep as they can be without exceeding this number, or with two of them."""

_LONGEST = 9_999_999
"""The largest integer that is written with all its digits."""

_DEEPEST = 8
"""The largest depth of scopes."""

CHANGE_COLUMNS = ("distance", "max |a-b|", "max rel", "cosine", "differ")
SCOPE_COLUMNS = ("same", "changed", "form", "only A", "only B", "verdict")


def summary(report: DiffReport) -> str:
    """Return the verdict in total, and the number of tensors of each verdict."""
    numbers = {
        "same": len(report.same),
        "changed": len(report.changed) + len(report.not_comparable),
        "of different form": len(report.different_form),
        "only in A": len(report.only_in_a),
        "only in B": len(report.only_in_b),
    }
    parts = [f"{number:,} {what}" for what, number in numbers.items() if number]
    return f"{'equal' if report.equal else 'different'}: {', '.join(parts) or 'no tensors'}"


def notes(report: DiffReport, hint: str = "") -> list[str]:
    """Return what else to know: roundings, tensors that were not read, NaNs.

    Args:
        report: the report.
        hint: added to the number of tensors that were not read.
    """
    lines = []
    dtypes = [form for form in report.different_form if form.dtype_a != form.dtype_b]
    if dtypes:
        rounded = sum(bool(form.within_one_rounding) for form in dtypes)
        share = "all" if rounded == len(dtypes) else f"{rounded:,}"
        lines.append(f"{len(dtypes):,} of another dtype: {share} within one rounding")
    if report.not_read:
        lines.append(f"{len(report.not_read):,} same by their stored checksums, not read{hint}")
    if report.num_nan:
        lines.append(f"{count(report.num_nan, 'NaN')} in the same places on both sides")
    return lines


def same_by_other_names(report: DiffReport) -> list[str]:
    """Return both names of each tensor that is the same under another name."""
    if not report.names:
        return []
    same = set(report.same)
    return [_names(*pair) for pair in report.names if pair[0] in same]


def change_cells(change: ValueDifference) -> tuple[str, ...]:
    """Return the cells of `CHANGE_COLUMNS`."""
    return (
        _number(change.distance),
        _number(change.max_absolute),
        _number(change.max_relative),
        "-" if change.cosine is None else f"{change.cosine:.4f}",
        _share(change.num_different, change.size),
    )


def change_text(change: ValueDifference) -> str:
    """Return the name of a changed tensor, and its NaNs."""
    text = _names(change.name, change.name_in_b)
    if change.num_nan_a or change.num_nan_b:
        text += f"  (NaN: {change.num_nan_a:,} in A, {change.num_nan_b:,} in B)"
    return text


def form_cells(form: FormDifference) -> tuple[str, ...]:
    """Return the two forms of a tensor."""
    return (
        f"{form.dtype_a} {format_shape(form.shape_a)}",
        f"{form.dtype_b} {format_shape(form.shape_b)}",
    )


def form_text(form: FormDifference) -> str:
    """Return the name of a tensor of different forms, and how the two compare."""
    text = _names(form.name, form.name_in_b)
    if form.values is None:
        return text
    verdict = _verdict(form, form.values)
    if form.same_size:
        verdict = f"A.reshape({', '.join(map(str, form.shape_b)) or '()'}): {verdict}"
    return f"{text}  ({verdict})"


def _verdict(form: FormDifference, values: ValueDifference) -> str:
    """Return how the values of tensors of different forms compare."""
    if not values.num_different:
        return "equal values"
    if form.dtype_a == form.dtype_b:
        return f"distance {_number(values.distance)}"
    if form.within_one_rounding:
        return "within one rounding"
    return f"beyond one rounding: distance {_number(values.distance)}"


def _names(name: str, name_in_b: str) -> str:
    """Return the name of a tensor, or both names."""
    return printable(name if name == name_in_b else f"{name} = {name_in_b}")


def _number(value: float | None) -> str:
    """Return a number that is 0 or more as short text."""
    if value is None:
        return "-"
    if value <= _LONGEST and value == int(value):
        return f"{int(value):,}"
    return f"{value:.2e}"


def _share(part: int, whole: int) -> str:
    """Return a share as a percentage; 100% only of all, 0% only of none."""
    if part in (0, whole):
        return "100%" if part else "0%"
    return f"{min(max(100 * part / whole, 0.1), 99.9):.1f}%"


def scope_depth(report: DiffReport) -> int:
    """Return the largest depth at which there are at most `MOST_SCOPES` scopes.

    At least the first depth at which there are several: one scope tells no more than the total.
    """
    depth = 1
    number = len(report.scopes(1))
    for deeper in range(2, _DEEPEST + 1):
        found = len(report.scopes(deeper))
        if number > 1 and (found > MOST_SCOPES or found == number):
            break
        if found > number:
            depth, number = deeper, found
    return depth


def scopes_to_show(report: DiffReport) -> list[ScopeSummary]:
    """Return the scopes, those with the most differences first; none if they tell no more."""
    scopes = report.scopes(scope_depth(report))
    if report.equal or len(scopes) == 1:
        return []
    return sorted(scopes, key=lambda each: -sum(each[2:]))


def scope_cells(scope: ScopeSummary) -> tuple[str, ...]:
    """Return the cells of `SCOPE_COLUMNS`."""
    return *(f"{number:,}" for number in scope[1:]), "equal" if scope.equal else "different"


def scope_text(scope: ScopeSummary) -> str:
    """Return the name of a scope."""
    return printable(scope.scope) or "(names without a scope)"


def render_html(report: DiffReport) -> str:
    """Return the report as HTML, for notebooks."""
    parts = [f"<p><b>{escape(summary(report))}</b></p>"]
    parts += [f"<p>{escape(note)}</p>" for note in notes(report)]
    if report.changed:
        rows = ((*change_cells(each), change_text(each)) for each in report.changed)
        parts.append(_table((*CHANGE_COLUMNS, "changed"), rows, len(report.changed)))
    if report.different_form:
        forms = ((*form_cells(each), form_text(each)) for each in report.different_form)
        parts.append(_table(("A", "B", "different form"), forms, len(report.different_form)))
    for title, names in (
        ("not comparable", report.not_comparable),
        ("only in A", report.only_in_a),
        ("only in B", report.only_in_b),
        ("same under another name: A = B", same_by_other_names(report)),
    ):
        if names:
            parts.append(_table((title,), ((printable(name),) for name in names), len(names)))
    scopes = scopes_to_show(report)
    if scopes:
        rows = ((*scope_cells(each), scope_text(each)) for each in scopes)
        parts.append(_table((*SCOPE_COLUMNS, "scope"), rows, len(scopes)))
    return "".join(parts)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], number: int) -> str:
    """Return a table with the first rows."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
        for row in islice(rows, MOST_ROWS)
    )
    more = f"<p>and {number - MOST_ROWS:,} more</p>" if number > MOST_ROWS else ""
    return f"<table><tr>{head}</tr>{body}</table>{more}"
