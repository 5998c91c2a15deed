"""The command line: one module per command.

A command module has NAME, a docstring whose first line is its help, `add_arguments(parser)` and
`run(arguments) -> exit status`.

Exit status: 0 done; 1 the answer is "no" (damaged, no such tensor); 2 trouble (wrong use, no such
checkpoint, unreadable).
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
from collections.abc import Sequence
from typing import NoReturn

import ckptparse
from ckptparse.commands import graph, ls, run, show, tree, verify
from ckptparse.commands.output import error_lines
from ckptparse.display.text import printable
from ckptparse.errors import CheckpointError, TensorNotFoundError

COMMANDS = (ls, tree, show, verify, run, graph)

DONE, NO, TROUBLE = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    arguments = _build_parser().parse_args(argv)
    if arguments.run == run.run:  # the script's output and errors are its own
        return run.run(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name may have letters the terminal has not
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status: int = arguments.run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:  # `ckptparse ls ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except KeyboardInterrupt:
        return 130
    except (CheckpointError, ImportError, OSError, MemoryError) as error:
        is_terminal = sys.stderr is not None and sys.stderr.isatty()
        width = shutil.get_terminal_size().columns if is_terminal else None
        shown = error if str(error) else MemoryError("out of memory")
        for line in error_lines(shown, "ckptparse: ", width):
            print(line, file=sys.stderr)
        return NO if isinstance(error, TensorNotFoundError) else TROUBLE
    return status


class _Parser(argparse.ArgumentParser):
    """Quotes wrong arguments safely: names of files become arguments by `ckptparse ls *`."""

    def error(self, message: str) -> NoReturn:
        super().error(printable(message))


def _build_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="ckptparse",
        description="Look into TensorFlow checkpoints, without TensorFlow.",
        epilog="Exit status: 0 done, 1 the answer is no (damaged, no such tensor), 2 trouble.",
    )
    parser.add_argument("--version", action="version", version=f"ckptparse {ckptparse.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in COMMANDS:
        text = (module.__doc__ or "").strip()
        command = commands.add_parser(
            module.NAME, help=text.splitlines()[0].rstrip("."), description=text
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser
