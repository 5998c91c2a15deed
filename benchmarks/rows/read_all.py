"""Read all tensors of a checkpoint, verify every checksum, and access every page.

Timed: opening, reading every tensor, and reading one element of each page of the result, while all
tensors are held.  (Strings are not accessed: for all contenders they are Python objects.)  Not
timed: imports; a first open and read of one tensor; the comparison of every value at the end;
allocating, accessing and freeing memory before the work (`warm_memory`).

RestoreV2 is the operation with which TensorFlow restores variables.  Here it gets all names at
once, so it reads large tensors in parallel.  Its results are viewed, not copied; strings become
Python objects.  It also reads V1 checkpoints.

safetensors reads all tensors of one file.  numpy.load maps a folder of .npy files, one for each
tensor.  Neither has checksums.

The crc32c floors map the data files, compute the CRC-32C of all bytes, and access every page.  They
do not copy (which every reader must do for partitioned tensors), and they decode no varints or
strings.  The floor numpy.memmap only maps the files and accesses every page.
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
    """Return the row."""
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
"""Rivals that read whole numeric tensors from files of their own format."""


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
"""Floors for every checkpoint that is verified."""

MEMMAP = (Contender("numpy.memmap, pages touched", _memmap, floor=True),)
"""A floor for tensors whose bytes in the file are those of the array."""


def _map_data_files(prefix: str) -> Iterator[NDArray[np.uint8]]:
    """Map the files with the tensors: the data files of V2, or the file of V1."""
    for path in sorted(glob(f"{escape(prefix)}.data-*")) or [prefix]:
        with open(path, "rb") as file:
            map_ = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        yield np.frombuffer(map_, np.uint8)  # like numpy.memmap, with less overhead


def _pieces(file: NDArray[np.uint8]) -> Iterator[memoryview]:
    for start in range(0, len(file), _PIECE_NBYTES):
        yield memoryview(file[start : start + _PIECE_NBYTES])


_COPIED = ("partitioned", "v1-integers")
"""Kinds of data that every reader has to copy."""


def warm_memory(job: Job) -> None:
    """Allocate as much memory as the tensors take, access it, and free it, if readers must copy.

    The host of a virtual machine may take back memory that was unused for some seconds.  Getting it
    again takes longer than the work.  Without this, the first contender would pay for all.
    """
    if job.data.kind in _COPIED:
        np.ones(sum(tensor.nbytes for tensor in job.data), np.uint8)


def get_all_tensors(reader: Any) -> dict[str, Any]:
    """Return every tensor of a checkpoint reader of TensorFlow."""
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def load_npy_files(job: Job) -> dict[str, Any]:
    """Map every tensor from the folder of .npy files."""
    folder = job.rival("npy")
    return {
        tensor.name: np.load(npy_path(folder, i), mmap_mode="r")
        for i, tensor in enumerate(job.data)
    }


def touch_pages(arrays: Iterable[NDArray[Any]]) -> None:
    """Read one element of each page."""
    for array in arrays:
        if array.ndim and array.dtype != object:  # TensorFlow returns scalars as numpy scalars
            array.reshape(-1)[:: _PAGE_NBYTES // array.itemsize].sum()


def require_all(job: Job, arrays: dict[str, Any]) -> None:
    """Compare every value of every tensor with the value that was written.

    Raises:
        WrongValuesError: another name or value.
    """
    if arrays.keys() != {tensor.name for tensor in job.data}:
        raise WrongValuesError("other names than those written")
    for tensor in job.data:
        tensor.require_equal(np.asarray(arrays[tensor.name]))
