"""Measure the private memory of a process that holds every tensor of a large checkpoint.

Measured: the growth of the anonymous memory of the process (heap and stacks, without pages of
files), from the end of the imports until all tensors are held and each of their pages was accessed.
Modules that a reader imports later count.  Pages of mapped files belong to the page cache, and the
system can drop them.  They do not count here, but `top` shows them.  The smallest result is one
page.
"""

from __future__ import annotations

import mmap

from benchmarks.data import Layers
from benchmarks.row import OURS, Contender, Job, Row
from benchmarks.rows.read_all import get_all_tensors, load_npy_files, require_all, touch_pages


def memory(name: str, nbytes: int) -> Row:
    """Return the row."""
    return Row(
        name=name,
        what="private memory of holding all tensors",
        unit="B",
        data=Layers(nbytes),
        contenders=(
            Contender(OURS, _ckptparse),
            Contender("TensorFlow get_tensor", _tensorflow, tensorflow=True),
            Contender(
                "safetensors load_file", _safetensors, needs="safetensors", form="safetensors"
            ),
            Contender("numpy.load, mmap_mode", _numpy_load, form="npy"),
        ),
        rounds=3,
        linux_only=True,
        limit=40e6,
    )


def _ckptparse(job: Job) -> float:
    from ckptparse import open_checkpoint

    before = anonymous_nbytes()
    with open_checkpoint(job.prefix) as ckpt:
        arrays = dict(ckpt)
        touch_pages(arrays.values())
        grown = anonymous_nbytes() - before

    require_all(job, arrays)
    return max(grown, mmap.PAGESIZE)


def _tensorflow(job: Job) -> float:
    import tensorflow as tf

    before = anonymous_nbytes()
    reader = tf.train.load_checkpoint(job.prefix)
    arrays = get_all_tensors(reader)
    touch_pages(arrays.values())
    grown = anonymous_nbytes() - before

    require_all(job, arrays)
    return max(grown, mmap.PAGESIZE)


def _safetensors(job: Job) -> float:
    from safetensors.numpy import load_file

    before = anonymous_nbytes()
    arrays = load_file(job.rival("safetensors"))
    touch_pages(arrays.values())
    grown = anonymous_nbytes() - before

    require_all(job, arrays)
    return max(grown, mmap.PAGESIZE)


def _numpy_load(job: Job) -> float:
    before = anonymous_nbytes()
    arrays = load_npy_files(job)
    touch_pages(arrays.values())
    grown = anonymous_nbytes() - before

    require_all(job, arrays)
    return max(grown, mmap.PAGESIZE)


def anonymous_nbytes() -> int:
    """Return the anonymous memory of this process.

    Private_Dirty would also count pages of files that any process has just written.
    """
    with open("/proc/self/smaps_rollup") as rollup:
        line = next(line for line in rollup if line.startswith("Anonymous:"))
    return int(line.split()[1]) * 1024
