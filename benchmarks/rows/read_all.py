"""Read all tensors of a checkpoint, every checksum verified, every page touched.

Timed: opening, reading every tensor, and taking one element of each page of the result (strings are
not touched: for all contenders they are Python objects); all tensors are held until the end.  Not
timed: imports, one open and read of one tensor before, and the comparison of every value
afterwards; nor, for what every reader has to copy, that much memory, taken and given back.

RestoreV2 is the operation that TensorFlow itself restores variables with; here it gets all names
at once, so that it reads large tensors in parallel, and its results are viewed, not copied (strings
are made Python objects).  It reads V1 checkpoints, too.

safetensors reads all tensors of one file, numpy.load maps a folder of .npy files, one for each
tensor; neither has checksums to verify.

The floors map the data files, go over them with crc32c, touch every page, and do nothing else: no
copy, which no reader can do without when a tensor is stored in partitions, and no values made of
varints or strings.  numpy.memmap only maps and touches.
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

from benchmarks.data import Data, WrongValuesError, npy_path
from benchmarks.machine import usable_cores
from benchmarks.row import OURS, Contender, Job, Row

_PAGE_NBYTES = 4096
_PIECE_NBYTES = 1 << 24


def read_all(
    name: str,
    data: Data,
    rivals: tuple[Contender, ...] = (),
    floors: tuple[Contender, ...] = (),
) -> Row:
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
            *rivals,
            *floors,
        ),
        rounds=7,
    )


def _ckptparse(job: Job) -> float:
    from ckptparse import open_checkpoint

    open_checkpoint(job.prefix)[job.data[0].name]

    warm_memory(job)
    start = perf_counter()
    arrays = dict(open_checkpoint(job.prefix))
    touch_pages(arrays.values())
    seconds = perf_counter() - start

    require_all(job, arrays)
    return seconds


def _get_tensor(job: Job) -> float:
    import tensorflow as tf

    tf.train.load_checkpoint(job.prefix).get_tensor(job.data[0].name)

    warm_memory(job)
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

    warm_memory(job)
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


def _safetensors(job: Job) -> float:
    from safetensors import safe_open
    from safetensors.numpy import load_file

    path = job.rival("safetensors")
    with safe_open(path, framework="np") as file:
        file.get_tensor(job.data[0].name)

    warm_memory(job)
    start = perf_counter()
    arrays = load_file(path)
    touch_pages(arrays.values())
    seconds = perf_counter() - start

    require_all(job, arrays)
    return seconds


def _numpy_load(job: Job) -> float:
    np.load(npy_path(job.rival("npy"), 0), mmap_mode="r")

    warm_memory(job)
    start = perf_counter()
    arrays = load_npy_files(job)
    touch_pages(arrays.values())
    seconds = perf_counter() - start

    require_all(job, arrays)
    return seconds


RIVALS = (
    Contender("safetensors load_file", _safetensors, needs="safetensors", form="safetensors"),
    Contender("numpy.load, mmap_mode", _numpy_load, form="npy"),
)
"""Who reads whole numeric tensors in a form of their own."""


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


def _memmap(job: Job) -> float:
    start = perf_counter()
    for file in _map_data_files(job.prefix):
        touch_pages([file])
    return perf_counter() - start


CHECKSUMS = (
    Contender("crc32c, one thread", _crc32c_one_thread, floor=True),
    Contender("crc32c, all cores", _crc32c_all_cores, floor=True),
)
"""Floors of every checkpoint that is verified."""

MEMMAP = (Contender("numpy.memmap, pages touched", _memmap, floor=True),)
"""A floor for what is stored plain."""


def _map_data_files(prefix: str) -> Iterator[NDArray[np.uint8]]:
    """The files that hold the tensors: a bundle's data files, or the one file of V1."""
    for path in sorted(glob(f"{escape(prefix)}.data-*")) or [prefix]:
        with open(path, "rb") as file:
            map_ = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        yield np.frombuffer(map_, np.uint8)  # what numpy.memmap does, with less around it


def _pieces(file: NDArray[np.uint8]) -> Iterator[memoryview]:
    for start in range(0, len(file), _PIECE_NBYTES):
        yield memoryview(file[start : start + _PIECE_NBYTES])


_COPIED = ("partitioned", "v1-integers")
"""Kinds of data that no reader gives as views."""


def warm_memory(job: Job) -> None:
    """Before tensors that all copy: take as much memory, touch it, and give it back.

    What a virtual machine has not used for seconds its host may have taken back, and fetching it
    again costs more than the work; without this, whoever comes first pays for all.
    """
    if job.data.kind in _COPIED:
        np.ones(sum(tensor.nbytes for tensor in job.data), np.uint8)


def get_all_tensors(reader: Any) -> dict[str, Any]:
    """Every tensor of one of TensorFlow's checkpoint readers."""
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def load_npy_files(job: Job) -> dict[str, Any]:
    """Every tensor, mapped from the folder of .npy files."""
    folder = job.rival("npy")
    return {
        tensor.name: np.load(npy_path(folder, i), mmap_mode="r")
        for i, tensor in enumerate(job.data)
    }


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
