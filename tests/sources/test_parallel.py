"""Tasks on all cores: each runs once, results are in order, errors are raised."""

from __future__ import annotations

import gc
import os
import signal
import threading
import weakref
from queue import SimpleQueue
from typing import ClassVar

import pytest

import ckptparse.sources.parallel
from ckptparse.sources.parallel import begin, run_on_all_cores


@pytest.fixture(params=[0, 1, 3], ids="{} others".format, autouse=True)
def crew(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    made = ckptparse.sources.parallel._Crew(request.param)
    monkeypatch.setattr(ckptparse.sources.parallel, "_crew", lambda: made)


@pytest.mark.parametrize("count", [0, 1, 2, 100])
def test_results_come_in_order(count: int) -> None:
    assert run_on_all_cores(lambda i: i * i, count) == [i * i for i in range(count)]


def test_every_task_is_done_once() -> None:
    done: list[int] = []
    run_on_all_cores(done.append, 500)
    assert sorted(done) == list(range(500))


def test_the_first_error_in_order_is_raised_and_the_rest_is_done() -> None:
    done: list[int] = []

    def fail_at_odd(i: int) -> None:
        done.append(i)
        if i % 2:
            raise KeyError(i)

    with pytest.raises(KeyError, match="1"):
        run_on_all_cores(fail_at_odd, 20)
    assert sorted(done) == list(range(20))


def test_an_interrupt_of_the_caller_comes_at_once() -> None:
    caller = threading.get_ident()
    started: list[int] = []
    is_over = threading.Event()

    def interrupt(i: int) -> None:
        started.append(threading.get_ident())
        if threading.get_ident() == caller:
            raise KeyboardInterrupt
        is_over.wait()

    with pytest.raises(KeyboardInterrupt):
        run_on_all_cores(interrupt, 10_000)
    is_over.set()
    assert started.count(caller) == 1
    assert len(started) == len(set(started))  # the others were in one task, and take no more


def test_tasks_within_tasks() -> None:
    def inner(i: int) -> int:
        return sum(run_on_all_cores(lambda j: i * j, 10))

    assert run_on_all_cores(inner, 10) == [45 * i for i in range(10)]


def test_several_callers_at_once() -> None:
    results: list[list[int]] = []

    def call() -> None:
        results.append(run_on_all_cores(lambda i: i, 50))

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [list(range(50))] * 8


def test_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    made = ckptparse.sources.parallel._Crew(4)
    assert made.size == 0
    monkeypatch.setattr(ckptparse.sources.parallel, "_crew", lambda: made)
    assert run_on_all_cores(lambda i: -i, 5) == [0, -1, -2, -3, -4]


def test_a_task_that_is_begun_is_done_once() -> None:
    done: list[int] = []

    def work() -> str:
        done.append(1)
        return "done"

    finish = begin(work)
    assert finish() == "done"
    assert done == [1]


def test_the_error_of_a_task_that_was_begun_is_raised() -> None:
    def fail() -> None:
        raise KeyError("a")

    finish = begin(fail)
    with pytest.raises(KeyError, match="a"):
        finish()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a platform without fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_does_the_task_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that has begun it is not there."""
    made = ckptparse.sources.parallel._Crew(1)
    monkeypatch.setattr(ckptparse.sources.parallel, "_crew", lambda: made)
    is_begun, may_end = threading.Event(), threading.Event()

    def work() -> int:
        is_begun.set()
        may_end.wait()
        return os.getpid()

    finish = begin(work)
    is_begun.wait()
    pid = os.fork()
    if not pid:
        signal.alarm(60)  # ends the process if it waits for ever
        may_end.set()
        os._exit(0 if finish() == os.getpid() else 1)
    assert os.waitpid(pid, 0)[1] == 0
    may_end.set()
    assert finish() == os.getpid()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a platform without fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert run_on_all_cores(lambda i: i, 9) == list(range(9))
    pid = os.fork()
    if not pid:
        os._exit(0 if run_on_all_cores(lambda i: i, 9) == list(range(9)) else 1)
    assert os.waitpid(pid, 0)[1] == 0


def test_a_job_that_waits_for_a_busy_thread_keeps_no_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a busy machine, the calling thread can be done with many jobs before another one wakes."""

    class BusyCrew:
        size = 1
        jobs: ClassVar[SimpleQueue[object]] = SimpleQueue()

    class Piece:
        pass

    def use(piece: Piece) -> weakref.ref[Piece]:
        assert run_on_all_cores(lambda i: (i, piece)[0], 2) == [0, 1]
        return weakref.ref(piece)

    monkeypatch.setattr(ckptparse.sources.parallel, "_crew", BusyCrew)
    used = use(Piece())
    gc.collect()
    assert BusyCrew.jobs.qsize() == 1
    assert used() is None
    BusyCrew.jobs.get()
