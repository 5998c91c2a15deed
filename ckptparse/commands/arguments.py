"""Arguments that most commands take."""

from __future__ import annotations

import argparse


def add_path(parser: argparse.ArgumentParser) -> None:
    """The checkpoint, first of the positional arguments."""
    parser.add_argument(
        "path", metavar="PATH", help="a checkpoint's prefix, file or directory, or a URL"
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """JSON instead of text."""
    parser.add_argument("--json", action="store_true", help="print JSON")
