"""Compare all values of two checkpoints of the same tensors.

Timed: opening both checkpoints, and comparing: for each tensor the number of elements that differ,
the largest absolute and relative difference, and the cosine.  Not timed: imports, and a first open
and read of one tensor on both sides.

The second checkpoint has other numbers in all tensors of floats (or the same ones in all tensors:
`deep=True` reads them nevertheless).  Each contender writes it before the clock starts, into a
folder beside the data, which is deleted afterwards.

TensorFlow has no function to compare checkpoints.  Its contender reads each tensor of both with
`get_tensor`, compares it with numpy in the dtype of the tensor, and frees it before the next one.
It calls `numpy.array_equal` first, and does nothing else with equal tensors.

Memory: the growth of the anonymous memory of the process up to its peak; see `peak`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.data import Equal, WrongValuesError
from benchmarks.row import OURS, Contender, Job, Row
from benchmarks.rows.peak import Peak
from benchmarks.rows.writing import call_save_v2

_MOST_PRIVATE_NBYTES = 64e6
_FACTOR = np.float32(1.001)

Write = Callable[[str, Mapping[str, NDArray[Any]]], None]
"""A function that writes a checkpoint with a prefix and arrays."""

Found = dict[str, tuple[int, float, float, float]]
"""Name -> number of different elements, largest absolute and relative difference, cosine; of
tensors that differ."""


def diff_time(name: str, data: Equal, *, changed: bool) -> Row:
    """Return the row for the time; all floats differ, or no value does."""
    return Row(
        name=name,
        what="compared, all values differ" if changed else "compared, all values equal",
        unit="s",
        data=data,
        contenders=(
            Contender(OURS, partial(_compare, compare=_diff, write=_save, changed=changed)),
            Contender(
                "TensorFlow get_tensor, numpy",
                partial(_compare, compare=_compare_with_numpy, write=_save_v2, changed=changed),
                tensorflow=True,
            ),
        ),
        rounds=5,
    )


def diff_memory(name: str, data: Equal) -> Row:
    """Return the row for the memory.

    TensorFlow is no rival here: it uses the memory again that it kept after writing.
    """
    return Row(
        name=name,
        what="most private memory while comparing",
        unit="B",
        data=data,
        contenders=(
            Contender(OURS, partial(_compare_memory, compare=_diff)),
            Contender(f"{OURS}, mmap=False", partial(_compare_memory, compare=_diff_copied)),
        ),
        rounds=3,
        linux_only=True,
        limit=_MOST_PRIVATE_NBYTES,
    )


def _compare(job: Job, compare: Callable[..., Found], write: Write, *, changed: bool) -> float:
    with _write_other(job, write, changed=changed) as other:
        compare(job.prefix, other, [job.data[0].name])
        start = perf_counter()
        found = compare(job.prefix, other)
        seconds = perf_counter() - start
    _require_found(job, found, changed=changed)
    return seconds


def _compare_memory(job: Job, compare: Callable[..., Found]) -> float:
    with _write_other(job, _save, changed=True) as other:
        compare(job.prefix, other, [job.data[0].name])
        peak = Peak()
        peak.start()
        try:
            found = compare(job.prefix, other)
        finally:
            nbytes = peak.stop()
    _require_found(job, found, changed=True)
    return nbytes


def _diff(a: str, b: str, names: list[str] | None = None, *, mmap: bool = True) -> Found:
    from ckptparse import diff, open_checkpoint

    with open_checkpoint(a, mmap=mmap) as first, open_checkpoint(b, mmap=mmap) as second:
        sides = [each if names is None else each.select(include=names) for each in (first, second)]
        report = diff(*sides, deep=True)
    return {
        change.name: (
            change.num_different,
            float(change.max_absolute or 0),
            float(change.max_relative or 0),
            float(change.cosine or 0),
        )
        for change in report.changed
    }


def _diff_copied(a: str, b: str, names: list[str] | None = None) -> Found:
    return _diff(a, b, names, mmap=False)


def _compare_with_numpy(a: str, b: str, names: list[str] | None = None) -> Found:
    import tensorflow as tf

    first, second = (tf.train.load_checkpoint(each) for each in (a, b))
    found = {}
    for name in names or first.get_variable_to_shape_map():
        x, y = (np.asarray(each.get_tensor(name)).reshape(-1) for each in (first, second))
        if np.array_equal(x, y):
            continue
        distances = np.abs(x - y)
        sizes = np.maximum(np.abs(x), np.abs(y))
        relative = np.divide(distances, sizes, out=np.zeros_like(distances), where=sizes > 0)
        found[name] = (
            int(np.count_nonzero(x != y)),
            float(distances.max()),
            float(relative.max()),
            float(np.dot(x, y) / (np.linalg.norm(x) * np.linalg.norm(y))),
        )
    return found


class _Changed(Mapping[str, NDArray[Any]]):
    """The tensors of a checkpoint; all floats are multiplied by a number."""

    def __init__(self, job: Job, *, changed: bool) -> None:
        self._tensors = {tensor.name: tensor for tensor in job.data}
        self._changed = changed

    def __getitem__(self, name: str) -> NDArray[Any]:
        values = self._tensors[name].values()
        is_changed = self._changed and values.dtype == np.float32
        return values * _FACTOR if is_changed else values

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


@contextmanager
def _write_other(job: Job, write: Write, *, changed: bool) -> Iterator[str]:
    """Write the second checkpoint, give its prefix, and delete it in the end."""
    parent = os.path.dirname(os.path.dirname(job.prefix))
    with tempfile.TemporaryDirectory(prefix="other-", dir=parent) as folder:
        write(f"{folder}/other", _Changed(job, changed=changed))
        yield f"{folder}/other"


def _save(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    from ckptparse import save_checkpoint

    save_checkpoint(prefix, arrays, sync=False)


def _save_v2(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    import tensorflow as tf

    call_save_v2(prefix, list(arrays), [tf.constant(array) for array in arrays.values()])


def _require_found(job: Job, found: Found, *, changed: bool) -> None:
    """Check what was found in each tensor.

    Raises:
        WrongValuesError: another number of differences, or other differences.
    """
    others = _Changed(job, changed=changed)
    for tensor in job.data:
        x, y = tensor.values().reshape(-1), others[tensor.name].reshape(-1)
        if np.array_equal(x, y):
            if tensor.name in found:
                raise WrongValuesError(f"{tensor.name}: equal, but differences were found")
            continue
        number, absolute, relative, cosine = found[tensor.name]
        expected = np.abs(y.astype(np.float64) - x).max()
        right = number == np.count_nonzero(x != y) and np.isclose(absolute, expected, rtol=1e-6)
        if not right or not np.isclose(relative, 1e-3, rtol=1e-2) or abs(cosine - 1) > 1e-2:
            raise WrongValuesError(f"{tensor.name}: other differences than those written")
