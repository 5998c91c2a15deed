"""Write a page in HTML that shows what is in a checkpoint, to read or to send.

The page has the tensors by scope, their dtypes, statistics and histograms, suspicious values, and
all damage. It is one file that loads nothing. It shows the last part of the path only. Reads each
byte once, and verifies it. The exit status is 1 if the checkpoint is damaged; the page is written,
too.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

import ckptparse
from ckptparse.commands.arguments import add_json, add_path, open_path, read_full_names_of
from ckptparse.commands.choosing import add_choice, choose_from, is_chosen
from ckptparse.commands.output import print_json
from ckptparse.commands.progress import ProgressBar
from ckptparse.commands.usage import UsageError
from ckptparse.display.text import count, format_nbytes, printable
from ckptparse.errors import CorruptCheckpointError

if TYPE_CHECKING:
    from ckptparse.reporting.examination import Examination

NAME = "report"

_SUFFIXES = (".html", ".htm")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_path(parser, metavar="SRC")
    parser.add_argument(
        "-o", "--output", metavar="FILE.html", required=True, help="path or URL of the page"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    parser.add_argument(
        "--rows",
        metavar="N",
        type=int,
        default=5000,
        help="the table has at most so many tensors, the largest ones (default: %(default)s)",
    )
    add_choice(parser, dtype=False)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the page; returns 1 if anything is damaged."""
    from ckptparse.outputs import folder_for
    from ckptparse.outputs.files import require_place
    from ckptparse.reporting.examination import examine, examine_unreadable
    from ckptparse.reporting.report import write_page

    output = arguments.output
    if not output.lower().endswith(_SUFFIXES):  # so that no --overwrite replaces a checkpoint
        raise UsageError(f"-o {output}: expected a name that ends with .html")
    if arguments.rows < 1:
        raise UsageError(f"--rows {arguments.rows}: expected a number from 1")
    require_place(folder_for(output, sync=True), output, overwrite=arguments.overwrite)
    try:
        with open_path(arguments) as ckpt, ProgressBar() as bar:
            sources: Mapping[str, str] | None = None
            if is_chosen(arguments):
                sources = choose_from(arguments, ckpt).sources
            names = read_full_names_of(ckpt)
            found = examine(ckpt, sources, full_names=names, progress=bar.progress)
    except CorruptCheckpointError as error:  # too damaged to open, or to choose from
        if is_chosen(arguments):
            raise
        found = examine_unreadable(arguments.path, error)
    nbytes = write_page(
        output,
        found,
        ckptparse.__version__,
        most_rows=arguments.rows,
        overwrite=arguments.overwrite,
    )
    if arguments.json:
        print_json(
            {
                "output": output,
                "nbytes": nbytes,
                "ok": found.report.ok,
                "num_tensors": len(found.rows),
                "damaged": [damage.name for damage in found.report.damaged],
                "suspicious": {
                    row.name: row.statistics.remark
                    for row in found.rows
                    if row.statistics is not None and row.statistics.remark is not None
                },
            }
        )
    else:
        print(f"{_summarize(found)}: saved in {printable(output)} ({format_nbytes(nbytes)})")
    return 0 if found.report.ok else 1


def _summarize(found: Examination) -> str:
    """Return the number of tensors, and whether they are intact."""
    report = found.report
    verdict = "no damage found" if report.unchecked else "all intact"
    if report.damaged:
        verdict = f"{len(report.damaged):,} damaged"
    return f"{count(len(found.rows), 'tensor')}, {verdict}"
