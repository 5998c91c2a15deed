"""Compare two checkpoints: which tensors differ, and how much.

Without tolerances, tensors whose stored checksums and sizes are equal are not read; --deep reads
all tensors. Of those that differ, the ones with the largest distance come first: the norm of the
difference, divided by the larger of the two norms. max rel is the largest |a-b| / max(|a|, |b|).

The exit status is 0 if the checkpoints are equal, 1 if they differ, and 2 after an error.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from ckptparse.checkpoint import Checkpoint
from ckptparse.commands.arguments import add_json
from ckptparse.commands.choosing import (
    add_choice,
    as_stored,
    as_usage_errors,
    is_chosen,
    read_names,
    read_rules,
)
from ckptparse.commands.output import align, coloured, print_error, print_json
from ckptparse.commands.progress import ProgressBar
from ckptparse.commands.usage import UsageError
from ckptparse.comparing import DiffReport, diff
from ckptparse.comparing.rendering import (
    CHANGE_COLUMNS,
    MOST_ROWS,
    SCOPE_COLUMNS,
    change_cells,
    change_text,
    form_cells,
    form_text,
    notes,
    same_by_other_names,
    scope_cells,
    scope_depth,
    scope_text,
    scopes_to_show,
    summary,
)
from ckptparse.display.text import printable
from ckptparse.errors import TensorNotFoundError
from ckptparse.opening import open_checkpoint
from ckptparse.tensors.mapping import TensorMapping
from ckptparse.tensors.names import not_found
from ckptparse.weights.choice import choose
from ckptparse.weights.selection import find_names

NAME = "diff"

Item = TypeVar("Item")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    for name in "a", "b":
        parser.add_argument(
            name, metavar=name.upper(), help="prefix, file, directory or URL of a checkpoint"
        )
    parser.add_argument(
        "--confined", action="store_true", help="open only files in the directories of A and B"
    )
    parser.add_argument(
        "--rtol", type=_tolerance, default=0.0, help="tolerance relative to B (default: 0)"
    )
    parser.add_argument(
        "--atol", type=_tolerance, default=0.0, help="absolute tolerance (default: 0)"
    )
    pairing = parser.add_mutually_exclusive_group()
    pairing.add_argument(
        "--names",
        metavar="FILE",
        help="a JSON object of names or scopes in A and the names or scopes in B to compare with",
    )
    pairing.add_argument(
        "--match", action="store_true", help="pair tensors whose names differ, by shape and name"
    )
    parser.add_argument("--deep", action="store_true", help="read all tensors")
    parser.add_argument(
        "--all", action="store_true", help=f"list all differences, not only the first {MOST_ROWS}"
    )
    add_choice(parser, names=False)
    add_json(parser)


def _tolerance(text: str) -> float:
    """Return a tolerance; argparse reports the error of a wrong one."""
    value = float(text)
    if not (math.isfinite(value) and value >= 0):
        raise ValueError
    return value


_tolerance.__name__ = "tolerance"


def run(arguments: argparse.Namespace) -> int:
    """Compare the checkpoints; returns 1 if they differ."""
    try:
        names = None if arguments.names is None else read_names(arguments.names)
        with (
            open_checkpoint(arguments.a, confined=arguments.confined) as a,
            open_checkpoint(arguments.b, confined=arguments.confined) as b,
            ProgressBar() as bar,
        ):
            left, right = _select(a, b, arguments)
            if is_chosen(arguments) and not left and not right:
                raise UsageError("the options leave no tensor to compare")
            report = diff(
                left,
                right,
                rtol=arguments.rtol,
                atol=arguments.atol,
                names=names,
                match=arguments.match,
                deep=arguments.deep,
                progress=bar.progress,
            )
    except (
        TensorNotFoundError,
        ValueError,
        UsageError,
    ) as error:  # 1 would mean that A and B differ
        print_error(error)
        return 2
    if arguments.json:
        print_json({"a": a.path, "b": b.path, **_to_json(report)})
    else:
        _print(report, arguments)
    return 0 if report.equal else 1


def _select(
    a: Checkpoint, b: Checkpoint, arguments: argparse.Namespace
) -> tuple[TensorMapping, TensorMapping]:
    """Return the tensors to compare; --rename applies to A, all other options to both.

    Raises:
        TensorNotFoundError: a pattern of --include matches no name in A and none in B.
        UsageError: an option is wrong.
    """
    left: TensorMapping
    right: TensorMapping
    left, right = _filter(a, b, arguments)
    rules = read_rules(arguments, names=False)
    changes = {
        "weights_only": arguments.weights_only,
        "moving_averages": arguments.moving_averages,
        "dtype": arguments.dtype,
    }
    if not rules and not any(changes.values()):
        return left, right
    with as_usage_errors():
        left = choose(left, rename=rules or None, **changes).tensors
        right = choose(right, **changes).tensors
    return left, right


def _filter(
    a: Checkpoint, b: Checkpoint, arguments: argparse.Namespace
) -> tuple[TensorMapping, TensorMapping]:
    """Return the tensors that --include and --exclude choose."""
    if arguments.include is None and not arguments.exclude:
        return a, b
    sides = [dict.fromkeys(each) for each in (a, b)]
    names = [*sides[0], *sides[1]]
    exclude = as_stored(arguments.exclude, names)
    if arguments.include is None:
        return a.select(exclude=exclude), b.select(exclude=exclude)
    include = as_stored(arguments.include, names)
    left, right = ([each for each in include if find_names(each, side)] for side in sides)
    for pattern in include:
        if pattern not in left and pattern not in right:
            raise not_found("no tensor of this name or pattern in A and B", pattern, sides[0])
    return a.select(include=left, exclude=exclude), b.select(include=right, exclude=exclude)


def _print(report: DiffReport, arguments: argparse.Namespace) -> None:
    """Print a report as text."""
    most = None if arguments.all else MOST_ROWS
    for title, names in (
        ("only in A", report.only_in_a),
        ("only in B", report.only_in_b),
        ("not comparable", report.not_comparable),
    ):
        _print_table(title, names, lambda _: ("",), printable, most)
    _print_table(
        "different form: A, B",
        report.different_form,
        lambda each: ("", *form_cells(each)),
        form_text,
        most,
    )
    _print_table(
        "changed, the largest distance first",
        report.changed,
        lambda each: ("", *change_cells(each)),
        change_text,
        most,
        ("", *CHANGE_COLUMNS),
    )
    same = same_by_other_names(report)
    _print_table("same under another name: A = B", same, lambda _: ("",), str, most)
    _print_table(
        "scopes",
        scopes_to_show(report),
        lambda each: ("", *scope_cells(each)),
        scope_text,
        most,
        ("", *SCOPE_COLUMNS),
    )
    for note in notes(report, "" if arguments.deep else " (--deep reads them)"):
        print(note)
    verdict, colon, numbers = summary(report).partition(":")
    print(coloured(verdict, "green" if report.equal else "red") + colon + numbers)


def _print_table(
    title: str,
    items: Sequence[Item],
    to_cells: Callable[[Item], tuple[str, ...]],
    to_text: Callable[[Item], str],
    most: int | None,
    header: tuple[str, ...] | None = None,
) -> None:
    """Print a title, and a line for each of the first items; nothing if there are none."""
    if not items:
        return
    shown: list[Item | None] = [*([None] if header else []), *items[:most]]

    def cells(item: Item | None) -> tuple[str, ...]:
        return (header or ()) if item is None else to_cells(item)

    print(f"{title} ({len(items):,})")
    right = range(len(header)) if header else ()
    for line in align(shown, cells, lambda item: "" if item is None else to_text(item), right):
        print(line)
    if len(items) > len(items[:most]):
        print(f"  ... and {len(items) - len(items[:most]):,} more (--all lists them)")


def _to_json(report: DiffReport) -> dict[str, Any]:
    """Return the JSON object of a report."""
    return {
        "equal": report.equal,
        "only_in_a": report.only_in_a,
        "only_in_b": report.only_in_b,
        "different_form": (
            {**_finite(asdict(each)), "same_size": each.same_size} for each in report.different_form
        ),
        "changed": (_finite(asdict(each)) for each in report.changed),
        "same": report.same,
        "not_read": report.not_read,
        "not_comparable": report.not_comparable,
        "num_nan": report.num_nan,
        "names": dict(report.names),
        "scopes": (
            {**each._asdict(), "equal": each.equal} for each in report.scopes(scope_depth(report))
        ),
    }


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a JSON object; infinities, which JSON lacks, as text."""
    return {
        key: _finite(value)
        if isinstance(value, dict)
        else str(value)
        if isinstance(value, float) and not math.isfinite(value)
        else value
        for key, value in values.items()
    }
