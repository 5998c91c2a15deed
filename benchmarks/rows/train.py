"""Compare `ckptparse.train` with `tf.train`: the same calls of both, as in typical scripts.

`maps`: opening, and the shapes and dtypes of all tensors from one reader.  `variables`:
`list_variables`.  `loop`: opening, the names from the shape map, then `get_tensor` of each, in that
order.

Timed: these calls.  Not timed: imports, and the same calls once before, with another reader.  (Both
times, the paths are new links to the files: otherwise ckptparse would use the checkpoint that the
first call left open.)
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.data import SmallTensors, WrongValuesError
from benchmarks.row import OURS, Contender, Job, Row

_Work = Callable[[ModuleType, Job, str], float]


def train_maps(name: str, count: int) -> Row:
    """Return the row for both maps of one reader."""
    return _row(name, "both maps of one reader of ckptparse.train", count, _maps, rounds=5)


def train_variables(name: str, count: int) -> Row:
    """Return the row for `list_variables`."""
    return _row(name, "ckptparse.train.list_variables", count, _variables, rounds=5)


def train_loop(name: str, count: int) -> Row:
    """Return the row for a loop over all tensors."""
    return _row(name, "every name, then get_tensor of each", count, _loop, rounds=5)


def _row(name: str, what: str, count: int, work: _Work, rounds: int) -> Row:
    return Row(
        name=name,
        what=what,
        unit="s",
        data=SmallTensors(count),
        contenders=(
            Contender(OURS, _Calls("ckptparse", work)),
            Contender("tf.train", _Calls("tensorflow", work), tensorflow=True),
        ),
        rounds=rounds,
    )


class _Calls:
    """A contender that does the work with the module `train` of a package."""

    def __init__(self, package: str, work: _Work) -> None:
        self.package, self.work = package, work

    def __call__(self, job: Job) -> float:
        if self.package == "ckptparse":
            from ckptparse import train
        else:
            from tensorflow import train
        with _linked(job.prefix) as first, _linked(job.prefix) as second:
            self.work(train, job, first)
            return self.work(train, job, second)


@contextmanager
def _linked(prefix: str) -> Iterator[str]:
    """Link the files of a checkpoint into a temporary folder, and yield the new prefix."""
    folder, name = os.path.split(os.path.abspath(prefix))
    with tempfile.TemporaryDirectory() as other:
        for path in Path(folder).glob(f"{name}.*"):
            os.symlink(path, Path(other) / path.name)
        yield os.path.join(other, name)


def _maps(train: Any, job: Job, prefix: str) -> float:
    start = perf_counter()
    reader = train.load_checkpoint(prefix)
    shapes = reader.get_variable_to_shape_map()
    dtypes = reader.get_variable_to_dtype_map()
    seconds = perf_counter() - start

    _require(job, {name: (tuple(shapes[name]), dtypes[name].name) for name in shapes})
    return seconds


def _variables(train: Any, job: Job, prefix: str) -> float:
    start = perf_counter()
    variables = train.list_variables(prefix)
    seconds = perf_counter() - start

    _require(job, {name: (tuple(shape), "float32") for name, shape in variables})
    return seconds


def _loop(train: Any, job: Job, prefix: str) -> float:
    start = perf_counter()
    reader = train.load_checkpoint(prefix)
    arrays = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    seconds = perf_counter() - start

    for tensor in job.data:
        tensor.require_equal(np.asarray(arrays[tensor.name]))
    return seconds


def _require(job: Job, found: dict[str, tuple[tuple[int, ...], str]]) -> None:
    if found != {tensor.name: (tensor.shape, tensor.dtype) for tensor in job.data}:
        raise WrongValuesError("other names, shapes or dtypes than those written")
