"""Count steps of Python code and open descriptors: the same on every machine, busy or not."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

DESCRIPTORS = Path("/proc/self/fd")
"""Where Linux lists what this process keeps open."""


def num_descriptors() -> int:
    """Return the number of open descriptors, after unreachable objects are collected."""
    gc.collect()
    return len(os.listdir(DESCRIPTORS))


class TooManySteps(BaseException):
    """The limit of `counted_steps` is exceeded.  No `except Exception` catches it."""


@contextmanager
def counted_steps(limit: int = sys.maxsize) -> Iterator[Callable[[], int]]:
    """Count the steps of this thread inside of the block.

    A step is an event of `sys.settrace`: a call, line or return of Python code.  Each turn of a
    loop is at least one.  What a function written in C does inside is not counted.

    Args:
        limit: of steps; one more raises `TooManySteps` where it is taken.

    Yields:
        A function that returns the number of steps so far.
    """
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        count += 1
        if count > limit:
            place = f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"
            raise TooManySteps(f"more than {limit} steps, at {place}")
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield lambda: count
    finally:
        sys.settrace(before)
