"""Check every stored byte against its checksum and report the damage."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

from ckptparse.commands.arguments import add_json, add_path, open_path
from ckptparse.commands.choosing import as_stored
from ckptparse.commands.output import coloured, error_lines, print_json
from ckptparse.commands.progress import ProgressBar
from ckptparse.display.text import count, format_nbytes, printable
from ckptparse.errors import CorruptCheckpointError
from ckptparse.formats.containers import CONTAINERS
from ckptparse.verification import Cause, Damage, VerifyReport

NAME = "verify"

_MOST_CAUSES = 20
"""Number of causes of damage that are listed, unless all are asked for."""

_MAX_NAMES = 3
"""Number of tensors that are named for each cause of damage, and of those that were not checked."""

_NOT_KNOWN = "of a type that this version does not know"
_NO_CHECKSUM = "the file has no checksum of them; they were only read"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_path(parser)
    parser.add_argument(
        "names",
        metavar="NAME",
        nargs="*",
        default=[],
        help="only these tensors (default: all)",
    )
    parser.add_argument(
        "--all", action="store_true", help=f"list all damage, not only the first {_MOST_CAUSES}"
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Verify the checkpoint; returns 1 if anything is damaged."""
    try:
        with open_path(arguments) as ckpt, ProgressBar() as bar:
            reason = _NO_CHECKSUM if ckpt.format in CONTAINERS else _NOT_KNOWN
            names = as_stored(arguments.names, ckpt) or None
            report = ckpt.verify(names, progress=bar.progress)
    except CorruptCheckpointError as error:  # too damaged to open
        report, reason = VerifyReport((Damage(None, error),), 0, 0, ()), ""
    if arguments.json:
        print_json(_to_json(report))
    else:
        _print(report, reason, None if arguments.all else _MOST_CAUSES)
    return 0 if report.ok else 1


def _print(report: VerifyReport, reason: str, most: int | None) -> None:
    """Print a report as text.

    Args:
        report: the report.
        reason: why tensors were not checked.
        most: the maximum number of causes to print; None for all.
    """
    causes = report.causes
    for cause in causes[:most]:
        for line in _cause_lines(cause):
            print(line)
    if len(causes) > len(causes[:most]):
        print(f"... and {len(causes) - len(causes[:most]):,} more (--all lists them)")
    if report.unchecked:
        print(f"not checked: {_names(report.unchecked)}")
        print(f"  {reason}")
    verdict = coloured("no damage found" if report.unchecked else "all intact", "green")
    if report.damaged:
        verdict = coloured(f"{len(report.damaged):,} damaged", "red")
    checked = " compared with checksums" if report.unchecked else ""
    size = format_nbytes(report.nbytes) + checked
    print(f"{count(report.num_tensors, 'tensor')}, {size}: {verdict}")


def _cause_lines(cause: Cause) -> Iterator[str]:
    """Yield the lines of one cause: what is wrong, and which tensors are lost."""
    if len(cause.names) <= 1:
        yield from error_lines(cause.error, "damaged: ")
        return
    yield printable(f"damaged: {cause.error.file}: {cause.error.message}")
    if cause.error.found is not None:
        yield printable(f"  found: {cause.error.found}")
    yield f"  lost: {count(len(cause.names), 'tensor')}, {format_nbytes(cause.nbytes)}"
    yield f"  the first: {_first(cause.names)}"


def _names(names: Sequence[str]) -> str:
    """Return few names, or the number of many and the first of them."""
    many = f"{len(names):,} tensors: " if len(names) > _MAX_NAMES else ""
    return many + _first(names)


def _first(names: Sequence[str]) -> str:
    """Return the first names as text."""
    more = " ..." if len(names) > _MAX_NAMES else ""
    return ", ".join(map(printable, names[:_MAX_NAMES])) + more


def _to_json(report: VerifyReport) -> dict[str, Any]:
    """Return the JSON object of a report."""
    return {
        "ok": report.ok,
        "num_tensors": report.num_tensors,
        "nbytes": report.nbytes,
        "causes": (
            {
                "error": type(cause.error).__name__,
                "message": cause.error.message,
                "file": cause.error.file,
                "num_tensors": len(cause.names),
                "nbytes": cause.nbytes,
                "first_names": cause.names[:_MAX_NAMES],
            }
            for cause in report.causes
        ),
        "damaged": (
            {
                "name": damage.name,
                "error": type(damage.error).__name__,
                "message": damage.error.message,
                "file": damage.error.file,
                "offset": damage.error.offset,
                "expected": damage.error.expected,
                "found": damage.error.found,
                "nbytes": damage.nbytes,
            }
            for damage in report.damaged
        ),
        "unchecked": report.unchecked,
    }
