"""Save random arrays in random layouts; an installed TensorFlow reads them, bit for bit.

Not part of the default run: use ``pytest -m tensorflow`` where TensorFlow is installed.
"""

from __future__ import annotations

import importlib
import tempfile
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st

from ckptparse import open_checkpoint, save_checkpoint
from ckptparse.tensors.dtypes import STRING, lookup
from ckptparse.tensors.partitions import is_slice_key
from support.oracle import payload_of
from support.random_tensors import DTYPES, arrays, live
from support.tensorflow_ops import restore_part

pytestmark = pytest.mark.tensorflow

PLAIN = [number for number in DTYPES if lookup(number).kind != "quantized"]

JOINED = ("float32", "float64", "int32", "int64", "int16", "int8", "uint8", "bool", "complex64")
"""Dtypes of which TensorFlow joins slices."""


@pytest.fixture(scope="module")
def tf() -> Any:
    return importlib.import_module("tensorflow")


@dataclass(frozen=True)
class Saved:
    """A tensor: the array that is saved, in any layout, and the same values in row-major order."""

    name: bytes
    dtype: int
    array: np.ndarray
    values: np.ndarray
    partitions: int | tuple[int, ...] | None

    @property
    def boxes(self) -> list[tuple[tuple[int, int], ...]]:
        """(start, length) along each axis of each slice; [] if it is saved whole."""
        if self.partitions is None:
            return []
        counts = (self.partitions,) if isinstance(self.partitions, int) else self.partitions
        boxes: list[tuple[tuple[int, int], ...]] = [()]
        for axis, size in enumerate(self.values.shape):
            parts = np.array_split(np.arange(size), counts[axis] if axis < len(counts) else 1)
            extents = [(int(part[0]) if part.size else 0, part.size) for part in parts]
            boxes = [(*box, extent) for box in boxes for extent in extents]
        return boxes if len(boxes) > 1 else []


@st.composite
def layouts(draw: st.DrawFn, values: np.ndarray) -> np.ndarray:
    """The same values in another layout."""
    array = values
    if array.dtype.isbuiltin == 1 and array.dtype.itemsize > 1 and draw(st.booleans()):
        swapped = array.dtype.newbyteorder("S")
        array = array.byteswap().view(swapped)
        event("bytes are swapped")
    kind = draw(st.sampled_from(["plain", "fortran", "steps", "reversed", "broadcast", "scalar"]))
    event(kind)
    if kind == "fortran":
        return np.asfortranarray(array).reshape(array.shape)
    if kind == "steps":
        large = np.zeros([2 * size + 1 for size in array.shape], array.dtype)
        part = large[(..., *(slice(1, None, 2) for _ in array.shape))]
        part[...] = array
        return part
    if kind == "reversed":
        back = (..., *(slice(None, None, -1) for _ in array.shape))
        return array[back].copy()[back]
    if kind == "scalar":
        return array[()]  # of an array without axes
    if kind == "broadcast" and array.ndim and array.shape[0] > 1:
        row = array[:1].copy()
        values[...] = values[:1].copy()
        return np.broadcast_to(row, array.shape)
    return array


@st.composite
def tensors(draw: st.DrawFn) -> list[Saved]:
    names = draw(
        st.lists(
            st.one_of(
                st.text(min_size=1, max_size=40).map(str.encode),
                st.text("abc/.:_0\0", min_size=1, max_size=9).map(str.encode),
                st.binary(min_size=1, max_size=12),
            ),
            min_size=1,
            max_size=12,
            unique=True,
        )
    )
    assume(not any(map(is_slice_key, names)))
    found = []
    for name in names:
        dtype, values = draw(arrays(PLAIN))
        array = draw(layouts(values))
        partitions: Any = None
        if dtype != STRING and values.ndim and values.size and draw(st.booleans()):
            axes = draw(st.integers(1, values.ndim))
            partitions = tuple(draw(st.integers(1, size)) for size in values.shape[:axes])
            partitions = partitions[0] if axes == 1 and draw(st.booleans()) else partitions
        found.append(Saved(name, dtype, array, values, partitions))
    return found


def spec_of(shape: tuple[int, ...], box: tuple[tuple[int, int], ...]) -> str:
    """A slice in TensorFlow's notation; it only restores all dtypes as they were saved."""
    return f"{' '.join(map(str, shape))} {':'.join(f'{a},{n}' for a, n in box)}"


def text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


@live
@given(
    tensors=tensors(),
    shard_nbytes=st.one_of(st.none(), st.integers(1, 500)),
    as_pairs=st.booleans(),
)
def test_random_arrays(
    tf: Any, tensors: list[Saved], shard_nbytes: int | None, as_pairs: bool
) -> None:
    pairs = [(text(tensor.name), tensor.array) for tensor in tensors]
    partitions = {text(t.name): t.partitions for t in tensors if t.partitions is not None}
    with tempfile.TemporaryDirectory() as folder:
        prefix = save_checkpoint(
            f"{folder}/m",
            pairs if as_pairs else dict(pairs),
            shard_nbytes=shard_nbytes,
            partitions=partitions,
            sync=False,
        )
        reader = tf.train.load_checkpoint(prefix)
        for tensor in tensors:
            dtype = tf.dtypes.as_dtype(tensor.dtype)
            for box in tensor.boxes or [None]:
                part = tensor.values
                if box is not None:
                    part = part[tuple(slice(start, start + length) for start, length in box)]
                spec = "" if box is None else spec_of(tensor.values.shape, box)
                restored = restore_part(tf, prefix, tensor.name, spec, dtype)
                assert restored.shape == part.shape
                assert payload_of(restored) == payload_of(part)
            if not tensor.boxes or lookup(tensor.dtype).name in JOINED:
                whole = reader.get_tensor(tensor.name)
                whole = np.asarray(whole, object if tensor.dtype == STRING else None)
                assert payload_of(whole) == payload_of(tensor.values)
        if all(tensor.name == text(tensor.name).encode("utf-8", "replace") for tensor in tensors):
            shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
            assert {key.encode(): value for key, value in shapes.items()} == {
                tensor.name: list(tensor.values.shape) for tensor in tensors
            }
            assert {key.encode(): value.as_datatype_enum for key, value in dtypes.items()} == {
                tensor.name: tensor.dtype for tensor in tensors
            }
        with open_checkpoint(prefix) as ckpt:
            assert ckpt.verify().ok
            assert sorted(ckpt) == sorted(name for name, _ in pairs)
            for tensor in tensors:
                assert payload_of(ckpt[text(tensor.name)]) == payload_of(tensor.values)
