"""Arguments that most commands take."""

from __future__ import annotations

import argparse

from ckptparse.checkpoint import Checkpoint
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


def add_json(parser: argparse.ArgumentParser) -> None:
    """JSON instead of text."""
    parser.add_argument("--json", action="store_true", help="print JSON")
