"""Arguments that most commands take."""

from __future__ import annotations

import argparse
import sys

from ckptparse.checkpoint import Checkpoint
from ckptparse.commands.full_names import read_full_names
from ckptparse.commands.output import error_lines
from ckptparse.errors import CheckpointError
from ckptparse.opening import open_checkpoint


def add_path(parser: argparse.ArgumentParser) -> None:
    """The checkpoint, first of the positional arguments, and how `open_path` opens it."""
    parser.add_argument(
        "path", metavar="PATH", help="a checkpoint's prefix, file or directory, or a URL"
    )
    parser.add_argument(
        "--confined", action="store_true", help="open nothing outside of its directory"
    )


def open_path(arguments: argparse.Namespace) -> Checkpoint:
    """The checkpoint that the arguments of `add_path` name."""
    return open_checkpoint(arguments.path, confined=arguments.confined)


def read_full_names_of(ckpt: Checkpoint) -> dict[str, str]:
    """The full names of variables; where a graph is damaged none, and a note says so."""
    try:
        return read_full_names(ckpt)
    except CheckpointError as error:
        for line in error_lines(error, "ckptparse: full names are not shown: "):
            print(line, file=sys.stderr)
        return {}


def add_json(parser: argparse.ArgumentParser) -> None:
    """JSON instead of text."""
    parser.add_argument("--json", action="store_true", help="print JSON")
