"""Run code in a child process: for limits, signals, and code that may hang."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from textwrap import dedent

HANGS = 600
"""Seconds after which a child is taken to hang.  None needs a tenth of it, on any machine."""


def run_child(
    code: str, *arguments: object, before: Callable[[], object] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Python code; a child that hangs is killed, and fails the test.

    Args:
        code: of the child; the arguments are `sys.argv[1:]`.
        arguments: as text.
        before: called in the child before Python starts, to set limits.
    """
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", dedent(code), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=HANGS,
        preexec_fn=before,
    )


def output_of(
    code: str, *arguments: object, before: Callable[[], object] | None = None
) -> list[str]:
    """Run Python code, which must succeed, and return the lines that it prints."""
    done = run_child(code, *arguments, before=before)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()
