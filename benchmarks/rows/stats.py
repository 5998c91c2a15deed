"""Compute minimum, maximum, mean and standard deviation of all tensors.

Timed: opening the checkpoint, and one pass over all tensors.  Not timed: imports, and a first pass
over one tensor.

The rivals call numpy's `min`, `max`, `mean` and `std` for each tensor: of an array that ckptparse
maps without checksums, and of the copy that TensorFlow's `get_tensor` returns.  `stats` also
compares checksums, and counts zeros, NaNs and infinite values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.data import Equal, WrongValuesError
from benchmarks.row import OURS, Contender, Job, Row

Found = dict[str, tuple[float, float, float, float]]
"""Name -> minimum, maximum, mean and standard deviation."""


def stats_time(name: str, data: Equal) -> Row:
    """Return the row."""
    return Row(
        name=name,
        what="min, max, mean and std of all tensors",
        unit="s",
        data=data,
        contenders=(
            Contender(OURS, partial(_measure, find=_stats)),
            Contender("numpy, mapped", partial(_measure, find=_numpy_mapped)),
            Contender(
                "TensorFlow get_tensor, numpy",
                partial(_measure, find=_numpy_of_tensorflow),
                tensorflow=True,
            ),
        ),
        rounds=5,
    )


def _measure(job: Job, find: Callable[[str, list[str]], Found]) -> float:
    names = [tensor.name for tensor in job.data]
    find(job.prefix, names[:1])
    start = perf_counter()
    found = find(job.prefix, names)
    seconds = perf_counter() - start
    for tensor in job.data:
        low, high, mean, std = found[tensor.name]
        values = tensor.values()
        wide = values.astype(np.float64)
        near = np.allclose([mean, std], [wide.mean(), wide.std()], rtol=1e-3, atol=1e-6)
        if (low, high) != (values.min(), values.max()) or not near:
            raise WrongValuesError(f"{tensor.name}: other statistics than those of its values")
    return seconds


def _stats(prefix: str, names: list[str]) -> Found:
    from ckptparse import open_checkpoint, stats

    with open_checkpoint(prefix) as ckpt:
        report = stats(ckpt.select(include=names))
    return {
        name: (float(each.min or 0), float(each.max or 0), float(each.mean.real), float(each.std))
        for name, each in report.items()
        if each.mean is not None and each.std is not None
    }


def _numpy_mapped(prefix: str, names: list[str]) -> Found:
    from ckptparse import open_checkpoint

    with open_checkpoint(prefix, verify=False) as ckpt:
        return _of_arrays((name, ckpt[name]) for name in names)


def _numpy_of_tensorflow(prefix: str, names: list[str]) -> Found:
    import tensorflow as tf

    reader = tf.train.load_checkpoint(prefix)
    return _of_arrays((name, np.asarray(reader.get_tensor(name))) for name in names)


def _of_arrays(arrays: Iterable[tuple[str, NDArray[Any]]]) -> Found:
    return {
        name: (float(a.min()), float(a.max()), float(a.mean()), float(a.std()))
        for name, a in arrays
    }
