"""Open a checkpoint of many tensors and read one of them.

Timed: opening and one read; each round has its own random name.  Not timed: imports, and a first
open and read of another name, which does all imports and builds all caches.

The floor, numpy.memmap, gets the place of the tensor and verifies no checksum.
"""

from __future__ import annotations

from random import Random
from time import perf_counter

import numpy as np

from benchmarks.data import SmallTensors
from benchmarks.row import OURS, Contender, Job, Row


def lookup(name: str, count: int) -> Row:
    """Return the row."""
    return Row(
        name=name,
        what="open + one lookup",
        unit="s",
        data=SmallTensors(count),
        contenders=(
            Contender(OURS, _ckptparse),
            Contender("TensorFlow load_checkpoint", _tensorflow, tensorflow=True),
            Contender("numpy.memmap", _memmap, floor=True),
        ),
        rounds=11,
    )


def _ckptparse(job: Job) -> float:
    from ckptparse import open_checkpoint

    tensor = job.data[Random(job.round).randrange(len(job.data))]
    open_checkpoint(job.prefix)[job.data[0].name]

    start = perf_counter()
    array = open_checkpoint(job.prefix)[tensor.name]
    seconds = perf_counter() - start

    tensor.require_equal(array)
    return seconds


def _tensorflow(job: Job) -> float:
    import tensorflow as tf

    tensor = job.data[Random(job.round).randrange(len(job.data))]
    tf.train.load_checkpoint(job.prefix).get_tensor(job.data[0].name)

    start = perf_counter()
    array = tf.train.load_checkpoint(job.prefix).get_tensor(tensor.name)
    seconds = perf_counter() - start

    tensor.require_equal(np.asarray(array))  # a scalar is a numpy.float32
    return seconds


def _memmap(job: Job) -> float:
    from ckptparse import open_checkpoint

    tensor = job.data[Random(job.round).randrange(len(job.data))]
    info = open_checkpoint(job.prefix).info(tensor.name)
    assert info.file is not None
    assert info.offset is not None
    np.memmap(info.file, tensor.dtype, "r", 0, (1,))

    start = perf_counter()
    array = np.memmap(info.file, tensor.dtype, "r", info.offset, tensor.shape)
    seconds = perf_counter() - start

    tensor.require_equal(array)
    return seconds
