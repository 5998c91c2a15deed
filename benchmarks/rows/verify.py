"""Verify every byte of a large checkpoint, which need not fit into memory.

Its files are sparse (`data.Sparse`): TensorFlow wrote zeros and their checksums.  Reading a hole
gives the same zeros, through the page cache, as with any other file.

Memory: the growth of the anonymous memory of the process (heap and stacks, without pages of files)
up to its peak.  A thread of the process samples it every millisecond.  It can miss a shorter peak,
but a piece that is read and checked stays in memory for several milliseconds.

Time: opening and verifying, without that thread.  TensorFlow has no function to verify.  Its
contender reads one tensor after the other, and frees each before the next.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import numpy as np

from benchmarks.data import Sparse, WrongValuesError
from benchmarks.row import OURS, Contender, Job, Row
from benchmarks.rows.peak import Peak
from benchmarks.rows.read_all import CHECKSUMS


def verify_memory(name: str, nbytes: int) -> Row:
    """Return the row for the memory."""
    return Row(
        name=name,
        what="most private memory while verifying",
        unit="B",
        data=Sparse(nbytes),
        contenders=(
            Contender(OURS, _with_peak(_verify_mapped)),
            Contender(f"{OURS}, mmap=False", _with_peak(_verify_copied)),
            Contender("TensorFlow get_tensor", _with_peak(_get_tensors), tensorflow=True),
        ),
        rounds=3,
        linux_only=True,
        limit=100e6,
    )


def verify_time(name: str, nbytes: int) -> Row:
    """Return the row for the time."""
    return Row(
        name=name,
        what="opened, every byte verified",
        unit="s",
        data=Sparse(nbytes),
        contenders=(
            Contender(OURS, _with_time(_verify_mapped)),
            Contender(f"{OURS}, mmap=False", _with_time(_verify_copied)),
            Contender("TensorFlow get_tensor", _with_time(_get_tensors), tensorflow=True),
            *CHECKSUMS,
        ),
        rounds=3,
    )


def _verify_mapped(job: Job, before: Callable[[], None]) -> None:
    _verify(job, before, mmap=True)


def _verify_copied(job: Job, before: Callable[[], None]) -> None:
    _verify(job, before, mmap=False)


def _verify(job: Job, before: Callable[[], None], *, mmap: bool) -> None:
    from ckptparse import open_checkpoint

    with open_checkpoint(job.prefix, mmap=mmap) as ckpt:
        ckpt.verify([job.data[0].name])
    before()
    with open_checkpoint(job.prefix, mmap=mmap) as ckpt:
        report = ckpt.verify()
    written = len(job.data), sum(tensor.nbytes for tensor in job.data)
    if not report.ok or (report.num_tensors, report.nbytes) != written:
        raise WrongValuesError(f"{written} written, {report} found")


def _get_tensors(job: Job, before: Callable[[], None]) -> None:
    import tensorflow as tf

    tf.train.load_checkpoint(job.prefix).get_tensor(job.data[0].name)
    before()
    reader = tf.train.load_checkpoint(job.prefix)
    for tensor in job.data:
        array = np.asarray(reader.get_tensor(tensor.name))
        if array.shape != tensor.shape or array[0].any() or array[-1].any():
            raise WrongValuesError(f"{tensor.name}: other values than those written")
        del array  # otherwise it would stay in memory until the next one is read


Work = Callable[[Job, Callable[[], None]], None]
"""A function that prepares its work, calls its second argument, and then works."""


def _with_time(work: Work) -> Callable[[Job], float]:
    def measure(job: Job) -> float:
        start = 0.0

        def begin() -> None:
            nonlocal start
            start = perf_counter()

        work(job, begin)
        return perf_counter() - start

    return measure


def _with_peak(work: Work) -> Callable[[Job], float]:
    def measure(job: Job) -> float:
        peak = Peak()
        try:
            work(job, peak.start)
        finally:
            most = peak.stop()
        return most

    return measure
