"""Run code in a forked child that ends at one of its system calls."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

CALLS = {
    "open",
    "close",
    "pwrite",
    "write",
    "fsync",
    "mkdir",
    "rmdir",
    "replace",
    "rename",
    "link",
    "unlink",
}
"""Functions of `os` that change files; `listdir` and `flock` change none.

`fsync` is counted, but does nothing: a process is killed here, and not the machine."""

KILLED = 99


class Countdown:
    """Stands for the module `os`; ends the process at the call of a number, without clean-up.

    A write is ended in its middle: half of the bytes are written.
    """

    def __init__(self, module: ModuleType, left: int) -> None:
        self._module = module
        self._left = left

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._module, name)
        if name not in CALLS:
            return function

        def call(*arguments: Any, **options: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                if "write" in name:
                    descriptor, contents, *position = arguments
                    function(descriptor, contents[: len(contents) // 2], *position)
                os._exit(KILLED)
            if name == "fsync":
                return None
            return function(*arguments, **options)

        return call


def run_killed(
    modules: ModuleType | list[ModuleType], action: Callable[[], object], number: int
) -> bool:
    """Run an action in a forked child that ends at its system call of a number.

    Args:
        modules: the module, or modules, whose name `os` is replaced.
        action: what the child does.
        number: 1 for the first call.

    Returns:
        Whether the child was ended by this; False if it came to the end of the action.
    """
    child = os.fork()
    if not child:
        status = 1
        try:
            countdown = Countdown(os, number)
            for module in modules if isinstance(modules, list) else [modules]:
                vars(module)["os"] = countdown
            action()
            status = 0
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, KILLED), status
    return status == KILLED


def each_kill(
    modules: ModuleType | list[ModuleType], action: Callable[[], object]
) -> Iterator[int]:
    """Yield 1, 2, ... after each run of the action that was ended at the call of that number."""
    number = 1
    while run_killed(modules, action, number):
        yield number
        number += 1
