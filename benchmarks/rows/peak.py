"""Measure the most private memory that a process has while it works."""

from __future__ import annotations

import mmap
from threading import Event, Thread

_INTERVAL = 0.001


class Peak:
    """Samples the anonymous memory of the process every millisecond, in a thread.

    It can miss a shorter peak.
    """

    def __init__(self) -> None:
        self._before = self._most = 0
        self._done = Event()
        self._thread = Thread(target=self._watch)

    def start(self) -> None:
        """Begin to sample."""
        self._before = _anonymous_nbytes()
        self._thread.start()

    def stop(self) -> int:
        """Stop to sample.

        Returns:
            The growth of the memory since `start` up to its peak, at least one page.
        """
        self._done.set()
        if self._thread.ident is not None:
            self._thread.join()
        return max(self._most - self._before, mmap.PAGESIZE)

    def _watch(self) -> None:
        while not self._done.wait(_INTERVAL):
            self._most = max(self._most, _anonymous_nbytes())


def _anonymous_nbytes() -> int:
    """Return the anonymous memory of this process, quickly.

    Unlike `memory.anonymous_nbytes`, this reads a counter of the system.  Each thread updates the
    counter only after some dozen pages.
    """
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("RssAnon:"))
    return int(line.split()[1]) * 1024
