"""Show statistics of the values: smallest, largest, mean, standard deviation, zeros.

Reads all tensors.  A remark after the name marks tensors with NaNs or infinite values, and those
whose elements are all zero or all equal.  Statistics other than the smallest and the largest value
do not include NaNs and infinite values.  After the tensors comes a line for all of them together,
and the number of each remark.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ckptparse.analysis.statistics import Statistics
from ckptparse.commands.arguments import add_json, add_path, add_sort, open_path
from ckptparse.commands.choosing import add_choice, choose_from, is_chosen
from ckptparse.commands.output import align, coloured, print_json, to_json_value
from ckptparse.commands.progress import ProgressBar
from ckptparse.display.text import count, format_nbytes, format_number, printable
from ckptparse.measuring import stats
from ckptparse.tensors.names import natural_key

NAME = "stats"

_SORTS = {"elements": "size", "size": "nbytes"} | {
    column: column for column in ("min", "max", "mean", "std", "norm", "zeros", "nan", "inf")
}
"""Columns to sort by, and the fields of `Statistics` that they show."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_path(parser)
    parser.add_argument("--scopes", action="store_true", help="show scopes instead of tensors")
    parser.add_argument(
        "-l", "--long", action="store_true", help="show bytes, norm, NaNs and infinite values, too"
    )
    add_sort(parser, list(_SORTS))
    add_choice(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Show the statistics."""
    with open_path(arguments) as ckpt, ProgressBar() as bar:
        chosen = choose_from(arguments, ckpt).tensors if is_chosen(arguments) else ckpt
        report = stats(chosen, progress=bar.progress)
        path, format = ckpt.path, ckpt.format
    rows: Mapping[str, Statistics] = report.scopes if arguments.scopes else report
    ordered = _sort(rows, arguments.sort)
    if arguments.json:
        print_json(
            {
                "path": path,
                "format": format,
                "total": _to_json(report.total),
                "not_read": report.not_read,
                "scopes" if arguments.scopes else "tensors": (
                    {"name": name, **_to_json(rows[name])} for name in ordered
                ),
            }
        )
        return 0
    header: tuple[str, ...] = _LONG_HEADER if arguments.long else _HEADER
    to_cells = _to_long_cells if arguments.long else _to_cells
    table = [(header, "")]
    table += [(to_cells(rows[name]), _to_text(name, rows[name])) for name in ordered]
    table.append((to_cells(report.total), count(report.total.num_tensors, "tensor")))
    for line in align(table, lambda row: row[0], lambda row: row[1], right=range(len(header))):
        print(line)
    if report.remarks:
        numbers = Counter(report.remarks.values()).most_common()
        shown = ", ".join(f"{number:,} {remark}" for remark, number in numbers)
        print(f"{coloured('remarks', 'yellow')}: {shown}")
    if report.not_read:
        print(f"not read: {count(len(report.not_read), 'tensor')} of a type that has no values")
    return 0


_HEADER = ("elements", "min", "max", "mean", "std", "zeros")
_LONG_HEADER = (*_HEADER, "size", "norm", "NaN", "inf")


def _to_cells(row: Statistics) -> tuple[str, ...]:
    """Return the cells of a row: elements, min, max, mean, std, zeros."""
    numbers = map(format_number, (row.min, row.max, row.mean, row.std))
    return f"{row.size:,}", *numbers, f"{row.zeros:,}" if row.zeros else ""


def _to_long_cells(row: Statistics) -> tuple[str, ...]:
    """Return the cells of a row of `--long`."""
    counts = (f"{number:,}" if number else "" for number in (row.nan, row.inf))
    return *_to_cells(row), format_nbytes(row.nbytes), format_number(row.norm), *counts


def _to_text(name: str, row: Statistics) -> str:
    """Return the rest of a row: name and remark."""
    return printable(name) + (f"  {coloured(f'({row.remark})', 'yellow')}" if row.remark else "")


def _sort(rows: Mapping[str, Statistics], by: str | None) -> list[str]:
    """Return the names sorted by a column; those without a number last."""
    if by is None:
        return list(rows)
    names = sorted(rows, key=natural_key)
    if by != "name":
        names.sort(key=lambda name: _rank(getattr(rows[name], _SORTS[by])))
    return names


def _rank(number: complex | None) -> float:
    """Return a key that sorts the largest number first, and None last."""
    return math.inf if number is None else -(number.real if isinstance(number, complex) else number)


def _to_json(row: Statistics) -> dict[str, Any]:
    """Return the JSON object of a row."""
    return {
        **{key: to_json_value(value) for key, value in row._asdict().items()},
        "remark": row.remark,
    }
