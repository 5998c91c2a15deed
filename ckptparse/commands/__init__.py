"""The command line, with one module for each command.

A command module has a NAME, a docstring that is its help text (the first line is shown in the list
of commands), `add_arguments(parser)`, and `run(arguments)`, which returns the exit status.

Exit status: 0 success; 1 the checkpoint is damaged, has no such tensor, or differs from another;
2 any other error (wrong arguments, no such checkpoint, unreadable file); 130 after Ctrl-C; 141 if
the program that reads the output ended first.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import ckptparse
from ckptparse.commands import (
    average,
    convert,
    diff,
    graph,
    ls,
    merge,
    report,
    run,
    show,
    stats,
    tree,
    verify,
)
from ckptparse.commands.completion import SHELLS, print_completion
from ckptparse.commands.output import print_error
from ckptparse.commands.usage import UsageError
from ckptparse.errors import CheckpointError, TensorNotFoundError

COMMANDS = (ls, tree, show, verify, stats, diff, convert, average, merge, report, graph, run)

FAILURE, ERROR = 1, 2
INTERRUPTED, BROKEN_PIPE = 130, 141
"""128 and the number of a signal, as a shell shows it: SIGINT, SIGPIPE."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments; None for those of the process.

    Returns:
        The exit status.
    """
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if arguments.print_completion is not None:
        arguments.run = lambda _: print_completion(parser, arguments.print_completion)
    elif arguments.run is None:
        parser.error("the following arguments are required: COMMAND")
    if arguments.run == run.run:  # the script handles its own output and errors
        return run.run(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # not every encoding has all characters
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status: int = arguments.run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:  # `ckptparse ls ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    except (CheckpointError, UsageError, ImportError, OSError, MemoryError) as error:
        print_error(error)
        return FAILURE if isinstance(error, TensorNotFoundError) else ERROR
    return status


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are printed as those of the commands.

    Control characters are escaped: with `ckptparse ls *`, a file name that begins with a hyphen is
    parsed as an option.
    """

    def error(self, message: str) -> NoReturn:
        print_error(UsageError(f"{message}; see {self.prog} --help"))
        self.exit(ERROR)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = _Parser(
        prog="ckptparse",
        description="Inspect, verify, compare and convert TensorFlow checkpoints. TensorFlow is not"
        " needed.",
        epilog="Exit status: 0 success; 1 no such tensor, verify or report found damage, or diff"
        " found differences; 2 other errors.",
    )
    parser.add_argument("--version", action="version", version=f"ckptparse {ckptparse.__version__}")
    parser.add_argument(
        "--print-completion",
        metavar="SHELL",
        choices=SHELLS,
        help=f"print the script for the completion of a shell: {', '.join(SHELLS)}",
    )
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(metavar="COMMAND")
    for module in COMMANDS:
        text = (module.__doc__ or "").strip()
        command = commands.add_parser(
            module.NAME, help=text.splitlines()[0].rstrip("."), description=text
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser
