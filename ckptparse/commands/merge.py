"""Save the tensors of several checkpoints as one.

If several have a tensor of the same name, that is an error, unless --on-conflict first or last
takes one of them.
"""

from __future__ import annotations

import argparse

from ckptparse.commands.arguments import add_paths, open_paths
from ckptparse.commands.writing import add_writing, write

NAME = "merge"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_paths(parser)
    parser.add_argument(
        "--on-conflict",
        choices=["error", "first", "last"],
        default="error",
        help="what to do if several have a tensor of the same name (default: error)",
    )
    add_writing(parser)


def run(arguments: argparse.Namespace) -> int:
    """Save all tensors."""
    from ckptparse.combining import merge

    with open_paths(arguments) as checkpoints:
        merged = merge(*checkpoints, on_conflict=arguments.on_conflict)
        return write(arguments, merged, arguments.output)
