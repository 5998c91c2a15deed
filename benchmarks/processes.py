"""Run contenders in fresh processes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

_ROOT = Path(__file__).resolve().parent.parent
"""The folder of the project, from which `ckptparse` and `benchmarks` are imported."""


class ProcessFailedError(Exception):
    """A process failed; the text is the end of its output."""


def run(python: str, arguments: list[str]) -> str:
    """Run an interpreter to its end, and return its output.

    Raises:
        ProcessFailedError: it cannot be started or ends with an error.
    """
    return time_to_first_line(python, arguments)[1]


def time_to_first_line(python: str, arguments: list[str]) -> tuple[float, str]:
    """Run an interpreter to its end.

    Returns:
        The seconds from its start to its first line of output, and the whole output.

    Raises:
        ProcessFailedError: it cannot be started or ends with an error.
    """
    # stderr goes to a file, not to a pipe: nothing reads a pipe while the process runs.
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        start = perf_counter()
        try:
            process = subprocess.Popen(
                [python, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                cwd=_ROOT,
                env=_environment(),
            )
        except OSError as error:
            raise ProcessFailedError(f"{python}: {error.strerror}") from error
        with process:
            assert process.stdout is not None
            first = process.stdout.readline()
            seconds = perf_counter() - start
            rest = process.stdout.read()
        if process.returncode:
            said.seek(0)
            raise ProcessFailedError(said.read().strip()[-2000:] or f"exit {process.returncode}")
    return seconds, first + rest


def _environment() -> dict[str, str]:
    """Return the environment for a contender: the own one, with some variables changed."""
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(_ROOT), environment.get("PYTHONPATH")])
    )
    # With this variable, each process would compile the package again.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment["TF_CPP_MIN_LOG_LEVEL"] = "3"
    environment["CUDA_VISIBLE_DEVICES"] = "-1"
    return environment


OWN_PYTHON = sys.executable
"""The interpreter that runs the benchmark, and ckptparse in it."""
