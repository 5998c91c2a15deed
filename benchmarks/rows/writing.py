"""Write checkpoints: whole dicts, a generated mapping, a cast copy, the mean of five checkpoints.

Timed: the call that writes, from arrays in memory until it returns; in `average_time` also reading
the five checkpoints.  With `sync`, until the disk has the bytes; without, when the system has them.
Not timed: imports, a first write, and the comparison of all values at the end, which reads the new
checkpoint.  In `save`, the first write is the same as the timed one, and its files are deleted: a
system that must first get free memory for the page cache takes seconds for 2 GB, and the contender
that runs first in a round would take them all.

SaveV2 gets tensors of TensorFlow and ckptparse gets arrays of numpy, which both have before the
clock starts.  SaveV2 does not sync; with `sync`, its files are synced after it.

The floor copies the files of the same checkpoint that TensorFlow wrote, with `shutil.copyfile`,
from the page cache: the limit of the disk and the file system.

Memory: the growth of the anonymous memory of the process up to its peak; see `peak`.

All files are written into a new folder beside the data, and deleted afterwards.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from glob import escape, glob
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.data import Data, Equal, Generated, Tensor, WrongValuesError
from benchmarks.row import OURS, Contender, Job, Row
from benchmarks.rows.peak import Peak
from benchmarks.rows.read_all import get_all_tensors, require_all

_MOST_PRIVATE_NBYTES = 64e6
_NUM_AVERAGED = 5


def save(name: str, data: Data, *, sync: bool = False) -> Row:
    """Return a row for the time of writing a dict of arrays."""
    return Row(
        name=name,
        what="arrays written, on the disk" if sync else "arrays written, not synced",
        unit="s",
        data=data,
        contenders=(
            Contender(OURS, partial(_save, sync=sync)),
            Contender(
                "TensorFlow SaveV2, fsync" if sync else "TensorFlow SaveV2",
                partial(_save_v2, sync=sync),
                tensorflow=True,
            ),
            Contender("copy of the files", partial(_copy_files, sync=sync), floor=True),
        ),
        rounds=7,
    )


def save_memory(name: str, nbytes: int) -> Row:
    """Return the row for the memory of writing tensors that are computed one by one.

    SaveV2 needs all tensors at the same time, so it is no rival.
    """
    return Row(
        name=name,
        what="most private memory while writing",
        unit="B",
        data=Generated(nbytes),
        contenders=(Contender(OURS, _save_generated),),
        rounds=3,
        linux_only=True,
        limit=_MOST_PRIVATE_NBYTES,
        reads=False,
    )


def cast_memory(name: str, data: Equal) -> Row:
    """Return the row for the memory of copying a checkpoint as bfloat16."""
    return Row(
        name=name,
        what="most private memory while copying as bfloat16",
        unit="B",
        data=data,
        contenders=(
            Contender(OURS, partial(_save_cast, mmap=True)),
            Contender(f"{OURS}, mmap=False", partial(_save_cast, mmap=False)),
            Contender("TensorFlow get_tensor, cast, SaveV2", _save_v2_cast, tensorflow=True),
        ),
        rounds=3,
        linux_only=True,
        limit=_MOST_PRIVATE_NBYTES,
    )


def average_time(name: str, data: Equal) -> Row:
    """Return the row for the time of averaging five checkpoints.

    All five are copies of one, so that the mean is known; each has pages of its own.
    """
    return Row(
        name=name,
        what=f"mean of {_NUM_AVERAGED} checkpoints written, not synced",
        unit="s",
        data=data,
        contenders=(
            Contender(OURS, _save_average),
            Contender("TensorFlow get_tensor, numpy, SaveV2", _save_v2_average, tensorflow=True),
        ),
        rounds=5,
    )


def _save(job: Job, *, sync: bool) -> float:
    from ckptparse import save_checkpoint

    arrays = {tensor.name: tensor.values() for tensor in job.data}

    def write(prefix: str) -> None:
        save_checkpoint(prefix, arrays, sync=sync)

    with new_folder(job) as folder:
        seconds = _time_second(write, folder)
        _require_saved(job, f"{folder}/model.ckpt")
    return seconds


def _save_v2(job: Job, *, sync: bool) -> float:
    import tensorflow as tf

    names = [tensor.name for tensor in job.data]
    tensors = [tf.constant(tensor.values()) for tensor in job.data]

    def write(prefix: str) -> None:
        call_save_v2(prefix, names, tensors)
        if sync:
            for path in _files_of(prefix):
                _sync_file(path)

    with new_folder(job) as folder:
        seconds = _time_second(write, folder)
        require_all(job, get_all_tensors(tf.train.load_checkpoint(f"{folder}/model.ckpt")))
    return seconds


def _copy_files(job: Job, *, sync: bool) -> float:
    def write(prefix: str) -> None:
        for path in _files_of(job.prefix):
            copy = prefix + path.removeprefix(job.prefix)
            shutil.copyfile(path, copy)
            if sync:
                _sync_file(copy)

    with new_folder(job) as folder:
        return _time_second(write, folder)


def _time_second(write: Callable[[str], None], folder: str) -> float:
    """Write the files of a prefix, delete them, and return the time of writing them again."""
    write(f"{folder}/first")
    for path in _files_of(f"{folder}/first"):
        os.unlink(path)
    start = perf_counter()
    write(f"{folder}/model.ckpt")
    return perf_counter() - start


def _save_generated(job: Job) -> float:
    from ckptparse import open_checkpoint, save_checkpoint

    with new_folder(job) as folder:
        prefix = f"{folder}/model.ckpt"
        save_checkpoint(f"{folder}/first", Values([job.data[0]]), sync=False)
        nbytes = measure_peak(lambda: save_checkpoint(prefix, Values(job.data), sync=False))
        with open_checkpoint(prefix) as ckpt:
            for tensor in job.data:
                tensor.require_equal(ckpt[tensor.name])
    return nbytes


class Values(Mapping[str, NDArray[Any]]):
    """A mapping that computes the values of a tensor when it is accessed."""

    def __init__(self, data: Iterable[Tensor]) -> None:
        self._tensors = {tensor.name: tensor for tensor in data}

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._tensors[name].values()

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def _save_cast(job: Job, *, mmap: bool) -> float:
    from ckptparse import open_checkpoint, save_checkpoint

    def work(prefix: str, names: list[str]) -> None:
        with open_checkpoint(job.prefix, mmap=mmap) as ckpt:
            save_checkpoint(prefix, ckpt.select(include=names, dtype="bfloat16"), sync=False)

    with new_folder(job) as folder:
        work(f"{folder}/first", [job.data[0].name])
        prefix = f"{folder}/model.ckpt"
        nbytes = measure_peak(lambda: work(prefix, [tensor.name for tensor in job.data]))
        with open_checkpoint(prefix) as ckpt:
            _require_cast(job, ckpt)
    return nbytes


def _save_v2_cast(job: Job) -> float:
    import tensorflow as tf

    def work(prefix: str, names: list[str]) -> None:
        reader = tf.train.load_checkpoint(job.prefix)
        tensors = [tf.constant(reader.get_tensor(name)) for name in names]
        call_save_v2(prefix, names, [_as_bfloat16(tensor) for tensor in tensors])

    with new_folder(job) as folder:
        work(f"{folder}/first", [job.data[0].name])
        prefix = f"{folder}/model.ckpt"
        nbytes = measure_peak(lambda: work(prefix, [tensor.name for tensor in job.data]))
        _require_cast(job, get_all_tensors(tf.train.load_checkpoint(prefix)))
    return nbytes


def _as_bfloat16(tensor: Any) -> Any:
    import tensorflow as tf

    return tf.cast(tensor, tf.bfloat16) if tensor.dtype.is_floating else tensor


def _require_cast(job: Job, arrays: Mapping[str, Any]) -> None:
    """Check the dtypes of the copies, and that each value is near enough to the original."""
    for tensor in job.data:
        array = np.asarray(arrays[tensor.name])
        values = tensor.values()
        dtype = "bfloat16" if tensor.dtype == "float32" else tensor.dtype
        near = np.allclose(array.astype(values.dtype), values, rtol=2**-8, atol=0)
        if array.dtype.name != dtype or not near:
            raise WrongValuesError(f"{tensor.name}: other values than those written")


def _save_average(job: Job) -> float:
    from ckptparse import average, save_checkpoint

    with new_folder(job) as folder:
        prefixes = _make_copies(job, folder)
        first = average(prefixes).select(include=job.data[0].name)
        save_checkpoint(f"{folder}/first", first, sync=False)

        start = perf_counter()
        save_checkpoint(f"{folder}/mean", average(prefixes), sync=False)
        seconds = perf_counter() - start

        _require_saved(job, f"{folder}/mean")
    return seconds


def _save_v2_average(job: Job) -> float:
    import tensorflow as tf

    def work(prefix: str, prefixes: list[str], names: list[str]) -> None:
        readers = [tf.train.load_checkpoint(each) for each in prefixes]
        means = []
        for name in names:
            first = np.asarray(readers[0].get_tensor(name))
            if first.dtype.kind == "f":
                total = first.astype("float64")
                for reader in readers[1:]:
                    total += reader.get_tensor(name)
                total /= len(readers)
                first = total.astype(first.dtype)
            means.append(first)
        call_save_v2(prefix, names, means)

    with new_folder(job) as folder:
        prefixes = _make_copies(job, folder)
        names = [tensor.name for tensor in job.data]
        work(f"{folder}/first", prefixes, names[:1])

        start = perf_counter()
        work(f"{folder}/mean", prefixes, names)
        seconds = perf_counter() - start

        require_all(job, get_all_tensors(tf.train.load_checkpoint(f"{folder}/mean")))
    return seconds


def _make_copies(job: Job, folder: str) -> list[str]:
    """Copy the files of the checkpoint; return the prefixes of the copies."""
    for i in range(_NUM_AVERAGED):
        os.mkdir(f"{folder}/{i}")
        for path in _files_of(job.prefix):
            shutil.copyfile(path, os.path.join(folder, str(i), os.path.basename(path)))
    return [f"{folder}/{i}/{os.path.basename(job.prefix)}" for i in range(_NUM_AVERAGED)]


def call_save_v2(prefix: str, names: list[str], tensors: list[Any]) -> None:
    """Write a checkpoint with the operation of TensorFlow."""
    import tensorflow as tf

    tf.raw_ops.SaveV2(
        prefix=prefix, tensor_names=names, shape_and_slices=[""] * len(names), tensors=tensors
    )


def measure_peak(work: Callable[[], object]) -> int:
    peak = Peak()
    peak.start()
    try:
        work()
    finally:
        nbytes = peak.stop()
    return nbytes


def _require_saved(job: Job, prefix: str) -> None:
    from ckptparse import open_checkpoint

    with open_checkpoint(prefix) as ckpt:
        require_all(job, dict(ckpt.items()))


def _files_of(prefix: str) -> list[str]:
    """Return the paths of the files of a checkpoint."""
    return sorted(glob(f"{escape(prefix)}.*"))


def _sync_file(path: str) -> None:
    """Wait until the disk has the bytes of a file."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def new_folder(job: Job) -> Iterator[str]:
    """Make a folder on the disk of the data, and delete it in the end."""
    parent = os.path.dirname(os.path.dirname(job.prefix))
    with tempfile.TemporaryDirectory(prefix="written-", dir=parent) as folder:
        yield folder
