"""Run tasks on all cores with a pool of threads.

The tasks must release the interpreter's lock for most of their time, as checksums, copies and reads
of large pieces do.  The threads are started at first use and then wait for more jobs.  The calling
thread always takes part, so that a job is finished even if no thread can be started, or if a task
runs tasks itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import lru_cache
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, Generic, TypeVar

_MOST_WORKERS = 16
"""More threads than this are not faster: the speed of memory is the limit."""

Result = TypeVar("Result")


def run_on_all_cores(task: Callable[[int], Result], count: int) -> list[Result]:
    """Return ``[task(0), ..., task(count - 1)]``, computed by several threads in any order.

    Raises:
        Exception: tasks failed; this is the exception of the one with the lowest number.  It is
            raised after all tasks have ended.
        BaseException: the calling thread got a KeyboardInterrupt or similar; raised at once.
    """
    job = _Job(task, count)
    crew = _crew()
    for _ in range(min(crew.size, count - 1)):
        crew.jobs.put(job)
    return job.finish()


def begin(task: Callable[[], Result]) -> Callable[[], Result]:
    """Have another thread begin a task.

    Returns:
        A function that returns the task's result, or raises its exception.  It waits for the other
        thread, or runs the task itself if no thread has begun it.  It must be called once at most.
    """
    job = _Job(lambda _: task(), 1)
    crew = _crew()
    if crew.size:
        crew.jobs.put(job)
    process = os.getpid()

    def finish() -> Result:
        """Return the result of the task."""
        if os.getpid() != process:  # the thread that has begun it is not in this process
            return task()
        return job.finish()[0]

    return finish


class _Job(Generic[Result]):
    """Numbered tasks; each thread takes the next remaining one."""

    def __init__(self, task: Callable[[int], Result], count: int) -> None:
        self._task = task
        self._count = count
        self._left: Iterator[int] = iter(range(count))
        self._lock = Lock()
        self._done: SimpleQueue[tuple[int, Result | None, BaseException | None]] = SimpleQueue()

    def work(self, kept: type[BaseException] = BaseException) -> None:
        """Do tasks until none remains.  Errors of the class `kept` are stored for `finish`."""
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
        """Do the remaining tasks, wait for the other threads, and return all results."""
        try:
            self.work(Exception)
        except BaseException:  # an interrupt of this thread: leave no tasks for the others
            with self._lock:
                self._left = iter(())
            raise
        done = sorted((self._done.get() for _ in range(self._count)), key=lambda item: item[0])
        self._task = _refuse  # no thread needs it; a job in the queue would keep what it refers to
        for _, _, error in done:
            if error is not None:
                raise error
        results: list[Any] = [result for _, result, _ in done]
        return results


def _refuse(i: int) -> Any:
    """Stand for the task of a job that is done."""
    raise AssertionError(f"task {i} of a job that is done")


class _Crew:
    """Threads that wait for jobs."""

    def __init__(self, size: int) -> None:
        self.jobs: SimpleQueue[_Job[Any]] = SimpleQueue()
        self.size = 0
        try:
            for _ in range(size):
                Thread(target=self._work, name="ckptparse", daemon=True).start()
                self.size += 1
        except RuntimeError:  # the system starts no more threads, or none at all
            pass

    def _work(self) -> None:
        """Work on each job, for ever.  Each thread runs this method."""
        while True:
            self.jobs.get().work()


@lru_cache(maxsize=1)
def _crew() -> _Crew:
    """Return the pool of threads of this process."""
    return _Crew(min(usable_cores(), _MOST_WORKERS) - 1)


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_crew.cache_clear)  # a child process has no threads
