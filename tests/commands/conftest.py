"""The fixture that runs a command."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ckptparse.commands import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command: (exit status, standard output, standard error)."""

    def run(*argv: object) -> tuple[int, str, str]:
        try:
            status = main([str(argument) for argument in argv])
        except SystemExit as stop:  # of argparse
            status = stop.code
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run
