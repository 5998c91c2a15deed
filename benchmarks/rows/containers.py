"""List and read files of other formats, each beside the library of the format.

The rivals read the same file.  It has the tensors of `Layers`: 2 GB, from 1 KB to 400 MB each.

Listing: opening, and names, shapes and dtypes of all arrays.  safetensors: `safe_open` and
`get_slice` of every name.  numpy: the header of every member, which numpy's own functions read;
`numpy.load` lists only names.  h5py: every dataset, by `visititems`.  TensorFlow: parsing the
GraphDef, and shape and dtype of every constant.

Reading: opening, all arrays, and one element of each page of the result.  ckptparse compares the
checksums, where the format has them (zip), as numpy does.  numpy maps no .npz.  TensorFlow:
`tensor_util.MakeNdarray` of every constant.

Not timed: imports; a first open and read of one array; the comparison of every value at the end.

A GraphDef has at most 2 GB, the limit of protobuf, so the rows of .pb have half of the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.data import Data, Layers, WrongValuesError
from benchmarks.row import OURS, Contender, Job, Row
from benchmarks.rows.read_all import require_all, touch_pages

Listed = Iterable[tuple[str, tuple[int, ...], str]]
"""Name, shape and name of the dtype of each array."""


def containers(scaled: Callable[[int], int]) -> list[Row]:
    """Return all rows; `scaled` gives the number of bytes."""
    rows = []
    for form, (nbytes, listings, readings) in _FORMS.items():
        data = Layers(scaled(nbytes))
        rows.append(_row(f"{form}_list", _LISTING, data, form, _list_ours(form), listings, 7))
        rows.append(_row(f"{form}_read", _READING, data, form, _read_ours(form), readings, 5))
    return rows


_LISTING = "names, shapes and dtypes of a {} file"
_READING = "all arrays of a {} file read, pages touched"


def _row(
    name: str,
    what: str,
    data: Data,
    form: str,
    ours: Callable[[Job], float],
    rivals: tuple[Contender, ...],
    rounds: int,
) -> Row:
    return Row(
        name=name,
        what=what.format(form),
        unit="s",
        data=data,
        contenders=(Contender(OURS, ours, needs=_NEEDS.get(form, ""), form=form), *rivals),
        rounds=rounds,
        reads=False,
    )


# ckptparse


def _list_ours(form: str) -> Callable[[Job], float]:
    def work(job: Job) -> float:
        from ckptparse import open_checkpoint

        path = job.rival(form)
        open_checkpoint(path)[job.data[0].name]

        start = perf_counter()
        forms = open_checkpoint(path).forms()
        listed = list(zip(forms.names, forms.shapes, forms.tensorflow_dtypes))
        seconds = perf_counter() - start

        _require_listed(job, listed)
        return seconds

    return work


def _read_ours(form: str) -> Callable[[Job], float]:
    def work(job: Job) -> float:
        from ckptparse import open_checkpoint

        path = job.rival(form)
        open_checkpoint(path)[job.data[0].name]

        start = perf_counter()
        arrays = dict(open_checkpoint(path))
        touch_pages(arrays.values())
        seconds = perf_counter() - start

        _require_read(job, arrays)
        return seconds

    return work


def _require_listed(job: Job, listed: Listed) -> None:
    """Compare with what was written.  A frozen graph has no scalars among its weights."""
    written = {(tensor.name, tensor.shape, tensor.dtype) for tensor in job.data}
    if not _large(written) <= set(listed) <= written:
        raise WrongValuesError("other names, shapes or dtypes than those written")


def _large(listed: set[tuple[str, tuple[int, ...], str]]) -> set[tuple[str, tuple[int, ...], str]]:
    return {each for each in listed if each[1]}


def _require_read(job: Job, arrays: dict[str, Any]) -> None:
    for tensor in job.data:
        if not tensor.shape and tensor.name not in arrays:
            arrays[tensor.name] = tensor.values()
    require_all(job, arrays)


# safetensors


def _list_safetensors(job: Job) -> float:
    from safetensors import safe_open

    path = job.rival("safetensors")
    with safe_open(path, framework="np") as file:
        file.get_tensor(job.data[0].name)

    start = perf_counter()
    with safe_open(path, framework="np") as file:
        slices = [(name, file.get_slice(name)) for name in file.keys()]  # noqa: SIM118  # no dict
        listed = [(name, tuple(part.get_shape()), part.get_dtype()) for name, part in slices]
    seconds = perf_counter() - start

    names = {"F32": "float32", "I64": "int64"}
    _require_listed(job, [(name, shape, names[dtype]) for name, shape, dtype in listed])
    return seconds


def _read_safetensors(job: Job) -> float:
    from safetensors import safe_open
    from safetensors.numpy import load_file

    path = job.rival("safetensors")
    with safe_open(path, framework="np") as file:
        file.get_tensor(job.data[0].name)

    start = perf_counter()
    arrays = load_file(path)
    touch_pages(arrays.values())
    seconds = perf_counter() - start

    _require_read(job, arrays)
    return seconds


# numpy


def _list_npz(job: Job) -> float:
    path = job.rival("npz")
    with np.load(path) as file:
        file[job.data[0].name]

    start = perf_counter()
    listed = []
    with np.load(path) as file:
        for name in file.files:
            with file.zip.open(f"{name}.npy") as member:
                np.lib.format.read_magic(member)
                shape, _, dtype = np.lib.format.read_array_header_1_0(member)
                listed.append((name, shape, dtype.name))
    seconds = perf_counter() - start

    _require_listed(job, listed)
    return seconds


def _read_npz(job: Job) -> float:
    path = job.rival("npz")
    with np.load(path) as file:
        file[job.data[0].name]

    start = perf_counter()
    with np.load(path) as file:
        arrays = dict(file)
    touch_pages(arrays.values())
    seconds = perf_counter() - start

    _require_read(job, arrays)
    return seconds


# h5py


def _list_h5(job: Job) -> float:
    import h5py

    path = job.rival("h5")
    with h5py.File(path) as file:
        file[job.data[0].name][...]

    start = perf_counter()
    listed = []
    with h5py.File(path) as file:

        def visit(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                listed.append((name, item.shape, item.dtype.name))

        file.visititems(visit)
    seconds = perf_counter() - start

    _require_listed(job, listed)
    return seconds


def _read_h5(job: Job) -> float:
    import h5py

    path = job.rival("h5")
    with h5py.File(path) as file:
        file[job.data[0].name][...]

    start = perf_counter()
    with h5py.File(path) as file:
        arrays = {tensor.name: file[tensor.name][...] for tensor in job.data}
    touch_pages([array for array in arrays.values() if isinstance(array, np.ndarray)])
    seconds = perf_counter() - start

    _require_read(job, {name: np.asarray(array) for name, array in arrays.items()})
    return seconds


# TensorFlow


def _parse_graph(path: str) -> Any:
    from tensorflow.core.framework.graph_pb2 import GraphDef

    with open(path, "rb") as stream:
        return GraphDef.FromString(stream.read())


def _list_pb(job: Job) -> float:
    import tensorflow as tf
    from tensorflow.python.framework import tensor_util

    path = job.rival("pb")
    tensor_util.MakeNdarray(_parse_graph(path).node[0].attr["value"].tensor)

    start = perf_counter()
    listed = []
    for node in _parse_graph(path).node:
        tensor = node.attr["value"].tensor
        shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
        listed.append((node.name, shape, tf.as_dtype(tensor.dtype).name))
    seconds = perf_counter() - start

    _require_listed(job, listed)
    return seconds


def _read_pb(job: Job) -> float:
    from tensorflow.python.framework import tensor_util

    path = job.rival("pb")
    tensor_util.MakeNdarray(_parse_graph(path).node[0].attr["value"].tensor)

    start = perf_counter()
    graph = _parse_graph(path)
    arrays = {n.name: tensor_util.MakeNdarray(n.attr["value"].tensor) for n in graph.node}
    touch_pages(arrays.values())
    seconds = perf_counter() - start

    _require_read(job, arrays)
    return seconds


_NEEDS = {"safetensors": "safetensors", "h5": "h5py"}
"""Packages that the files need: their writers run in this interpreter."""


def _pair(
    name: str,
    form: str,
    listing: Callable[[Job], float],
    reading: Callable[[Job], float],
    *,
    tensorflow: bool = False,
    needs: str = "",
) -> tuple[tuple[Contender, ...], tuple[Contender, ...]]:
    """Return the rivals for listing and for reading."""
    options: dict[str, Any] = {"tensorflow": tensorflow, "needs": needs, "form": form}
    return (Contender(name, listing, **options),), (Contender(name, reading, **options),)


_FORMS = {
    "safetensors": (
        2_000_000_000,
        *_pair(
            "safetensors", "safetensors", _list_safetensors, _read_safetensors, needs="safetensors"
        ),
    ),
    "npz": (2_000_000_000, *_pair("numpy.load", "npz", _list_npz, _read_npz)),
    "h5": (2_000_000_000, *_pair("h5py", "h5", _list_h5, _read_h5, needs="h5py")),
    "pb": (1_000_000_000, *_pair("TensorFlow", "pb", _list_pb, _read_pb, tensorflow=True)),
}
"""Form -> number of bytes, rivals for listing, rivals for reading."""
