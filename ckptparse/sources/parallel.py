"""Run functions that release the interpreter's lock on all cores, with threads.

Checksums, copies and reads of large pieces do.  The threads are started at the first such work and
then wait for more; the caller's own thread always takes part, so that work gets done where no
thread can be started, and inside of other work.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import lru_cache
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, Generic, TypeVar

_MOST_WORKERS = 16
"""Cores that together are as fast as memory."""

Result = TypeVar("Result")


def run_on_all_cores(task: Callable[[int], Result], count: int) -> list[Result]:
    """``[task(0), ..., task(count - 1)]``, in whatever order and on several threads.

    Raises:
        Exception: what a task raised, the first in order of their numbers; the others are done
            all the same.  An interrupt of the caller's thread ends it at once.
    """
    job = _Job(task, count)
    crew = _crew()
    for _ in range(min(crew.size, count - 1)):
        crew.jobs.put(job)
    return job.finish()


class _Job(Generic[Result]):
    """Numbered tasks, each taken by whoever is free."""

    def __init__(self, task: Callable[[int], Result], count: int) -> None:
        self._task = task
        self._count = count
        self._left: Iterator[int] = iter(range(count))
        self._lock = Lock()
        self._done: SimpleQueue[tuple[int, Result | None, BaseException | None]] = SimpleQueue()

    def work(self, kept: type[BaseException] = BaseException) -> None:
        """Do tasks until none is left; errors of the kind that is `kept` are for `finish`."""
        while True:
            with self._lock:
                i = next(self._left, None)
            if i is None:
                return
            try:
                self._done.put((i, self._task(i), None))
            except kept as error:
                self._done.put((i, None, error))

    def finish(self) -> list[Result]:
        """Do what is left, and wait for what others are doing."""
        try:
            self.work(Exception)
        except BaseException:  # an interrupt of this thread: the others need not go on
            with self._lock:
                self._left = iter(())
            raise
        done = sorted((self._done.get() for _ in range(self._count)), key=lambda item: item[0])
        for _, _, error in done:
            if error is not None:
                raise error
        results: list[Any] = [result for _, result, _ in done]
        return results


class _Crew:
    """Threads that wait for jobs."""

    def __init__(self, size: int) -> None:
        self.jobs: SimpleQueue[_Job[Any]] = SimpleQueue()
        self.size = 0
        try:
            for _ in range(size):
                Thread(target=self._work, name="ckptparse", daemon=True).start()
                self.size += 1
        except RuntimeError:  # no more threads here, or none at all
            pass

    def _work(self) -> None:
        while True:
            self.jobs.get().work()


@lru_cache(maxsize=1)
def _crew() -> _Crew:
    return _Crew(min(usable_cores(), _MOST_WORKERS) - 1)


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_crew.cache_clear)  # threads stay with the parent
