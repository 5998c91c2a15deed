"""Run code that gets a KeyboardInterrupt at one of its system calls."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from support.killed import CALLS

INTERRUPTED = CALLS | {"chmod", "lstat", "listdir"}


class Interrupting:
    """Stands for the module `os`; raises KeyboardInterrupt once, before or after a call.

    Python raises an interrupt when a call returns: so before a call is after the one before it, in
    Python code between the two.  A file is always closed: Python calls `os.close` at once, in a
    block `finally`.  `fsync` does nothing.
    """

    def __init__(self, number: int) -> None:
        """
        Args:
            number: 1 before the first call, 2 after it, 3 before the second one ...
        """
        self._left = number
        self.called = ""

    def __getattr__(self, name: str) -> Any:
        function = getattr(os, name)
        return self._wrap(name, function) if name in INTERRUPTED else function

    def _wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if name != "close":
                self._count(f"before {name}")
            result = None if name == "fsync" else function(*arguments, **options)
            self._count(f"after {name}")
            return result

        return call

    def _count(self, place: str) -> None:
        self._left -= 1
        if self._left == 0:
            self.called = place
            raise KeyboardInterrupt


def each_interrupt(modules: list[ModuleType], action: Callable[[], object]) -> Iterator[str]:
    """Yield the place of the interrupt after each run of the action that was interrupted.

    Args:
        modules: the modules whose name `os` is replaced.
        action: must raise this KeyboardInterrupt, and no other error.
    """
    number = 0
    while True:
        number += 1
        interrupting = Interrupting(number)
        with pytest.MonkeyPatch.context() as patched:
            for module in modules:
                patched.setattr(module, "os", interrupting)
            try:
                action()
            except KeyboardInterrupt:
                pass
            else:
                assert not interrupting.called, f"interrupt swallowed {interrupting.called}"
                return
        assert interrupting.called
        yield f"{number}: {interrupting.called}"
