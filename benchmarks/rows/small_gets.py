"""A thousand reads of small tensors in random order.

Timed: the reads, of names drawn for the round, each at most once.  Not timed: imports, opening, and
one read before.
"""

from __future__ import annotations

from random import Random
from time import perf_counter

import numpy as np

from benchmarks.data import SmallTensors, Tensor
from benchmarks.row import OURS, Contender, Job, Row

_MOST_GETS = 1_000


def small_gets(name: str, count: int) -> Row:
    """The row."""
    return Row(
        name=name,
        what=f"{min(_MOST_GETS, count):,} gets in random order",
        unit="s",
        data=SmallTensors(count),
        contenders=(
            Contender(OURS, _ckptparse),
            Contender("TensorFlow get_tensor", _tensorflow, tensorflow=True),
        ),
        rounds=11,
    )


def _ckptparse(job: Job) -> float:
    from ckptparse import open_checkpoint

    wanted = _draw(job)
    names = [tensor.name for tensor in wanted]
    open_checkpoint(job.prefix)[names[0]]
    ckpt = open_checkpoint(job.prefix)

    start = perf_counter()
    arrays = [ckpt[name] for name in names]
    seconds = perf_counter() - start

    for tensor, array in zip(wanted, arrays):
        tensor.require_equal(array)
    return seconds


def _tensorflow(job: Job) -> float:
    import tensorflow as tf

    wanted = _draw(job)
    names = [tensor.name for tensor in wanted]
    tf.train.load_checkpoint(job.prefix).get_tensor(names[0])
    reader = tf.train.load_checkpoint(job.prefix)

    start = perf_counter()
    arrays = [reader.get_tensor(name) for name in names]
    seconds = perf_counter() - start

    for tensor, array in zip(wanted, arrays):
        tensor.require_equal(np.asarray(array))
    return seconds


def _draw(job: Job) -> list[Tensor]:
    count = len(job.data)
    indices = Random(job.round).sample(range(count), min(_MOST_GETS, count))
    return [job.data[i] for i in indices]
