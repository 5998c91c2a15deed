"""Print the script with which a shell completes commands, options, choices and paths.

shtab (extra `cli`) generates the script from the parser.  The script does not run ckptparse.  Names
of tensors are not completed: they come from files, and bash expands the words that it completes.
"""

from __future__ import annotations

import argparse
import re

SHELLS = ("bash", "zsh", "fish")

_PATHS = ("PATH", "SRC", "DST", "A", "B", "FILE", "SCRIPT")
"""The metavars of arguments that are paths."""

_FILES = {
    "bash": "_ckptparse_files",
    "zsh": "_files",
    "fish": "(__fish_complete_path (string unescape -- (commandline -ct)))",
    "preamble": {"bash": '_ckptparse_files() { compgen -f -- "$1"; }'},
}
"""How shells complete paths; unlike those of shtab, also below directories with spaces."""


def print_completion(parser: argparse.ArgumentParser, shell: str) -> int:
    """Print the script for a shell; returns the exit status.

    Args:
        parser: the parser of all commands; it is changed.
        shell: one of `SHELLS`.

    Raises:
        ImportError: shtab is not installed.
    """
    try:
        import shtab
    except ImportError as error:
        raise ImportError(
            "--print-completion needs the package shtab: pip install 'ckptparse[cli]'"
        ) from error
    for command in parsers_of(parser).values():
        command.description = None  # shtab then lists the command with its short help
        for action in path_arguments(command):
            action.complete = _FILES  # type: ignore[attr-defined]  # shtab reads this attribute
    script: str = shtab.complete(parser, shell)
    if shell == "zsh":  # (*):... is a single argument there, even if PATH can be repeated
        script = re.sub(r'^  "\(\*\):(?!:)', '  "*:', script, flags=re.MULTILINE)
    print(script)
    return 0


def parsers_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each command."""
    (commands,) = (each for each in parser._actions if isinstance(each.choices, dict))
    return dict(commands.choices or {})


def path_arguments(command: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return the arguments of a command that are paths."""
    return [
        action
        for action in command._actions
        if isinstance(action.metavar, str) and action.metavar.partition(".")[0] in _PATHS
    ]
