"""Read a thousand small tensors in random order.

Timed: the reads.  Each round has its own random names, each at most once.  Not timed: imports,
opening, and a first read.

safetensors and numpy's .npz have the same tensors in one file.  The floor gets the places of the
tensors: it makes a thousand arrays over the mapped files, and computes the checksum of each.
"""

from __future__ import annotations

import mmap
from random import Random
from time import perf_counter

import numpy as np

from benchmarks.data import SmallTensors, Tensor
from benchmarks.row import OURS, Contender, Job, Row

_MOST_GETS = 1_000


def small_gets(name: str, count: int) -> Row:
    """Return the row."""
    return Row(
        name=name,
        what=f"{min(_MOST_GETS, count):,} gets in random order",
        unit="s",
        data=SmallTensors(count),
        contenders=(
            Contender(OURS, _ckptparse),
            Contender("TensorFlow get_tensor", _tensorflow, tensorflow=True),
            Contender(
                "safetensors get_tensor", _safetensors, needs="safetensors", form="safetensors"
            ),
            Contender("numpy.load of an .npz", _npz, form="npz"),
            Contender("numpy views + crc32c", _views, floor=True),
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


def _safetensors(job: Job) -> float:
    from safetensors import safe_open

    wanted = _draw(job)
    names = [tensor.name for tensor in wanted]
    with safe_open(job.rival("safetensors"), framework="np") as file:
        file.get_tensor(names[0])

        start = perf_counter()
        arrays = [file.get_tensor(name) for name in names]
        seconds = perf_counter() - start

    for tensor, array in zip(wanted, arrays):
        tensor.require_equal(array)
    return seconds


def _npz(job: Job) -> float:
    wanted = _draw(job)
    names = [tensor.name for tensor in wanted]
    with np.load(job.rival("npz")) as file:
        file[names[0]]

        start = perf_counter()
        arrays = [file[name] for name in names]
        seconds = perf_counter() - start

    for tensor, array in zip(wanted, arrays):
        tensor.require_equal(array)
    return seconds


def _views(job: Job) -> float:
    from crc32c import crc32c

    from ckptparse import open_checkpoint

    wanted = _draw(job)
    with open_checkpoint(job.prefix) as ckpt:
        infos = [ckpt.info(tensor.name) for tensor in wanted]
    maps = {}
    for path in {str(info.file) for info in infos}:
        with open(path, "rb") as file:
            maps[path] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    places = [(info.shape, info.dtype, maps[str(info.file)], info.offset) for info in infos]

    start = perf_counter()
    arrays = [np.ndarray(*place) for place in places]
    for array in arrays:
        crc32c(array)
    seconds = perf_counter() - start

    for tensor, array in zip(wanted, arrays):
        tensor.require_equal(array)
    return seconds


def _draw(job: Job) -> list[Tensor]:
    count = len(job.data)
    indices = Random(job.round).sample(range(count), min(_MOST_GETS, count))
    return [job.data[i] for i in indices]
