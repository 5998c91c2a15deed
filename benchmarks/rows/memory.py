"""Private memory that a process takes for holding every tensor of a large checkpoint.

Measured: growth of the process's anonymous memory (heap and stack, not file-backed, in no other
process) from after the imports to when all tensors are held and each of their pages was touched.
What a reader imports at first need counts.  Pages of mapped files are the page cache's, which the
system takes back when it needs them; they don't count here, and are not zero in `top`.  The system
counts in pages: less than one is measured as one.
"""

from __future__ import annotations

import mmap

from benchmarks.data import Layers
from benchmarks.row import OURS, Contender, Job, Row
from benchmarks.rows.read_all import get_all_tensors, load_npy_files, require_all, touch_pages


def memory(name: str, nbytes: int) -> Row:
    """The row."""
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
    """Not Private_Dirty: it counts file pages that were written a moment ago, by anyone."""
    with open("/proc/self/smaps_rollup") as rollup:
        line = next(line for line in rollup if line.startswith("Anonymous:"))
    return int(line.split()[1]) * 1024
