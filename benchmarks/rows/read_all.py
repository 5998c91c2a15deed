"""Read all tensors of a checkpoint, every checksum verified, every page touched.

Timed: opening, reading every tensor, and taking one element of each page of the result (strings are
not touched: for all contenders they are Python objects); all tensors are held until the end.  Not
timed: imports, one open and read of one tensor before, and the comparison of every value
afterwards.

RestoreV2 is the operation that TensorFlow itself restores variables with; here it gets all names
at once, so that it reads large tensors in parallel, and its results are viewed, not copied (strings
are made Python objects).  It reads V1 checkpoints, too.

The floors map the data files, go over them with crc32c, touch every page, and do nothing else: no
copy, which no reader can do without when a tensor is stored in partitions.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from glob import escape, glob
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.data import Data, WrongValuesError
from benchmarks.machine import usable_cores
from benchmarks.row import OURS, Contender, Job, Row

_PAGE_NBYTES = 4096
_PIECE_NBYTES = 1 << 24


def read_all(name: str, data: Data, floors: tuple[Contender, ...] = ()) -> Row:
    """The row."""
    return Row(
        name=name,
        what="all tensors read, checksums verified, pages touched",
        unit="s",
        data=data,
        contenders=(
            Contender(OURS, _ckptparse),
            Contender("TensorFlow get_tensor", _get_tensor, tensorflow=True),
            Contender("TensorFlow RestoreV2", _restore, tensorflow=True),
            *floors,
        ),
        rounds=7,
    )


def _ckptparse(job: Job) -> float:
    from ckptparse import open_checkpoint

    open_checkpoint(job.prefix)[job.data[0].name]

    start = perf_counter()
    arrays = dict(open_checkpoint(job.prefix))
    touch_pages(arrays.values())
    seconds = perf_counter() - start

    require_all(job, arrays)
    return seconds


def _get_tensor(job: Job) -> float:
    import tensorflow as tf

    tf.train.load_checkpoint(job.prefix).get_tensor(job.data[0].name)

    start = perf_counter()
    arrays = get_all_tensors(tf.train.load_checkpoint(job.prefix))
    touch_pages(arrays.values())
    seconds = perf_counter() - start

    require_all(job, arrays)
    return seconds


def _restore(job: Job) -> float:
    import tensorflow as tf

    names = [tensor.name for tensor in job.data]
    dtypes = [tf.as_dtype(np.dtype(tensor.dtype)) for tensor in job.data]
    tf.raw_ops.RestoreV2(
        prefix=job.prefix, tensor_names=names[:1], shape_and_slices=[""], dtypes=dtypes[:1]
    )

    start = perf_counter()
    tensors = tf.raw_ops.RestoreV2(
        prefix=job.prefix, tensor_names=names, shape_and_slices=[""] * len(names), dtypes=dtypes
    )
    arrays = {
        name: tensor.numpy() if dtype == tf.string else np.asarray(memoryview(tensor))
        for name, dtype, tensor in zip(names, dtypes, tensors)
    }
    touch_pages(arrays.values())
    seconds = perf_counter() - start

    require_all(job, arrays)
    return seconds


def _crc32c_one_thread(job: Job) -> float:
    from crc32c import crc32c

    start = perf_counter()
    for file in _map_data_files(job.prefix):
        for piece in _pieces(file):
            crc32c(piece)
        touch_pages([file])
    return perf_counter() - start


def _crc32c_all_cores(job: Job) -> float:
    from crc32c import crc32c

    start = perf_counter()
    with ThreadPoolExecutor(usable_cores()) as pool:
        for file in _map_data_files(job.prefix):
            for _ in pool.map(crc32c, _pieces(file)):
                pass
            touch_pages([file])
    return perf_counter() - start


CHECKSUMS = (
    Contender("crc32c, one thread", _crc32c_one_thread, floor=True),
    Contender("crc32c, all cores", _crc32c_all_cores, floor=True),
)
"""Floors for what is stored plain."""


def _map_data_files(prefix: str) -> Iterator[NDArray[np.uint8]]:
    """The files that hold the tensors: a bundle's data files, or the one file of V1."""
    for path in sorted(glob(f"{escape(prefix)}.data-*")) or [prefix]:
        with open(path, "rb") as file:
            map_ = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        yield np.frombuffer(map_, np.uint8)


def _pieces(file: NDArray[np.uint8]) -> Iterator[memoryview]:
    for start in range(0, len(file), _PIECE_NBYTES):
        yield memoryview(file[start : start + _PIECE_NBYTES])


def get_all_tensors(reader: Any) -> dict[str, Any]:
    """Every tensor of one of TensorFlow's checkpoint readers."""
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def touch_pages(arrays: Iterable[NDArray[Any]]) -> None:
    """Take one element of each page."""
    for array in arrays:
        if array.ndim and array.dtype != object:  # TensorFlow gives scalars as bare numbers
            array.reshape(-1)[:: _PAGE_NBYTES // array.itemsize].sum()


def require_all(job: Job, arrays: dict[str, Any]) -> None:
    """Compare every value of every tensor.

    Raises:
        WrongValuesError: another name or value.
    """
    if arrays.keys() != {tensor.name for tensor in job.data}:
        raise WrongValuesError("other names than those written")
    for tensor in job.data:
        tensor.require_equal(np.asarray(arrays[tensor.name]))
