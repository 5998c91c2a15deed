"""Arguments that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from ckptparse.checkpoint import Checkpoint
from ckptparse.commands.output import print_error
from ckptparse.errors import CheckpointError
from ckptparse.opening import open_checkpoint


def add_path(parser: argparse.ArgumentParser, metavar: str = "PATH") -> None:
    """Add the path of the checkpoint, which is the first positional argument, and --confined."""
    parser.add_argument(
        "path", metavar=metavar, help="prefix, file, directory or URL of a checkpoint"
    )
    _add_confined(parser)


def add_paths(parser: argparse.ArgumentParser) -> None:
    """Add the paths of several checkpoints, --confined, and the path to save to."""
    parser.add_argument(
        "paths", metavar="PATH", nargs="+", help="prefix, file, directory or URL of a checkpoint"
    )
    parser.add_argument(
        "-o", "--output", metavar="DST", required=True, help="path or URL to save to"
    )
    _add_confined(parser)


def _add_confined(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--confined", action="store_true", help="open only files in the directory of the checkpoint"
    )


def open_path(arguments: argparse.Namespace) -> Checkpoint:
    """Open the checkpoint that the arguments of `add_path` name."""
    return open_checkpoint(arguments.path, confined=arguments.confined)


@contextmanager
def open_paths(arguments: argparse.Namespace) -> Iterator[list[Checkpoint]]:
    """Open the checkpoints that the arguments of `add_paths` name, while the context lasts."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(open_checkpoint(path, confined=arguments.confined))
            for path in arguments.paths
        ]


def read_full_names_of(ckpt: Checkpoint) -> dict[str, str]:
    """Return key -> full name of variables; {} and a message on stderr if a graph is damaged."""
    try:
        return dict(ckpt.variable_names)
    except CheckpointError as error:
        print_error(error, "ckptparse: full names are not shown: ")
        return {}


def add_sort(parser: argparse.ArgumentParser, columns: Sequence[str]) -> None:
    """Add --sort by name, or by one of the columns."""
    parser.add_argument(
        "--sort",
        metavar="COLUMN",
        choices=["name", *columns],
        help=f"sort by name (layer_2 before layer_10), {', '.join(columns[:-1])} or {columns[-1]};"
        " the largest number first (default: the stored order)",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
