"""Partitioned tensors: the keys of slices, and the check that slices cover a tensor.

A slice has one extent, (start, length), for each dimension; length -1 means the whole dimension.
Its key in the table is, in ordered code (see `encoding.ordered_code`)::

    uint 0 | string name | uint rank | for each dimension: int start, int length

A whole dimension can be stored as start 0, length -1, or as start 0 and its size.  These give
different keys, so a key must be built from the extents as they are stored.

Sources: tensorflow/core/framework/tensor_slice.cc, core/util/saved_tensor_slice_util.cc.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product, zip_longest
from math import prod
from operator import index as as_index
from typing import Any

import numpy as np

from ckptparse.encoding.ordered_code import (
    decode_ordered_int,
    decode_ordered_string,
    decode_ordered_uint,
    encode_ordered_int,
    encode_ordered_string,
)
from ckptparse.encoding.ordered_code import encode_ordered_uint as encode_uint
from ckptparse.errors import CorruptCheckpointError, InvalidTensorsError
from ckptparse.limits import MAX_FREE_CELLS, MAX_FREE_SLICES, MIN_SLICE_NBYTES
from ckptparse.tensors.numpy_index import Box

Extents = tuple[tuple[int, int], ...]
"""(start, length) for each dimension; the length WHOLE means the whole dimension."""

WHOLE = -1
KEY_PREFIX = b"\x00"
"""First byte of each slice key; hardly any name begins with it."""


def count_most_slices(nbytes: int) -> int:
    """Return the largest number of slices that a table of this size can list."""
    return nbytes // MIN_SLICE_NBYTES + MAX_FREE_SLICES


def encode_slice_key(name: bytes, extents: Extents) -> bytes:
    """Return the key under which a slice of a tensor is stored."""
    return encode_slice_key_name(name) + encode_extents(extents)


def encode_slice_key_name(name: bytes) -> bytes:
    """Encode the prefix that the keys of all slices of a tensor share."""
    return KEY_PREFIX + encode_ordered_string(name)


def encode_extents(extents: Extents) -> bytes:
    """Encode the suffix of the key of a slice."""
    coded = encode_uint(len(extents))
    for start, length in extents:
        coded += encode_ordered_int(start) + encode_ordered_int(length)
    return coded


def is_slice_key(key: bytes) -> bool:
    """Return whether a key is exactly one that `encode_slice_key` makes of some extents."""
    if not key.startswith(KEY_PREFIX):
        return False
    try:
        name, pos = decode_ordered_string(key, len(KEY_PREFIX))
        rank, pos = decode_ordered_uint(key, pos)
        numbers = []
        while pos < len(key):
            number, pos = decode_ordered_int(key, pos)
            numbers.append(number)
    except CorruptCheckpointError:
        return False
    extents = tuple(zip(numbers[::2], numbers[1::2]))
    return len(numbers) == 2 * rank and encode_slice_key(name, extents) == key


def decode_slice_key_name(key: bytes) -> bytes | None:
    """Return the tensor's name in a key that could be a slice key; None for any other key."""
    if not key.startswith(KEY_PREFIX):
        return None
    try:
        return decode_ordered_string(key, len(KEY_PREFIX))[0]
    except CorruptCheckpointError:
        return None


def resolve(extents: Extents, shape: tuple[int, ...]) -> Box:
    """Return the box that a slice covers, with WHOLE dimensions as numbers."""
    return Box(
        tuple([start for start, _ in extents]),
        tuple([size if n == WHOLE else n for (_, n), size in zip(extents, shape)]),
    )


def resolve_all(slices: Iterable[Extents], shape: tuple[int, ...]) -> list[Box]:
    """Return the boxes of slices; equal slices have the same box."""
    slices = list(slices)
    known = {extents: resolve(extents, shape) for extents in set(slices)}
    return list(map(known.__getitem__, slices))


def require_tiling(boxes: list[Box], shape: tuple[int, ...], max_cells: int) -> None:
    """Check that boxes cover an array exactly once.

    The bounds of all boxes divide the array into a grid of cells.  Each cell is marked when a box
    covers it.  The number of cells depends on the boxes, not on the size of the array.

    Args:
        boxes: the boxes.
        shape: shape of the array.
        max_cells: limit on the number of cells, so that a damaged or malicious file cannot use much
            memory: the number of bytes in the file.  2**20 cells are always allowed.

    Raises:
        CorruptCheckpointError: a box is not inside the array, boxes overlap, a part of the array is
            not covered, or there are too many cells.
    """
    for box in dict.fromkeys(boxes):
        if any(a < 0 or n < min(size, 1) or a + n > size for a, n, size in zip(*box, shape)):
            raise CorruptCheckpointError(
                "invalid slice", expected=f"a part of the shape {list(shape)}", found=describe(box)
            )
    covered = sum(box.size for box in boxes)
    if covered < prod(shape):
        raise CorruptCheckpointError(
            "slices do not cover the tensor",
            expected=f"{prod(shape)} elements",
            found=f"{covered} in {len(boxes)} slices",
        )
    cuts = []
    for axis, size in enumerate(shape):
        starts = {box.start[axis] for box in boxes}
        stops = {box.start[axis] + box.shape[axis] for box in boxes}
        cuts.append(sorted(starts | stops | {0, size}))
    # Axes without a cut are left out: a tensor may have more axes than a numpy array.
    cut_axes = [axis for axis, bounds in enumerate(cuts) if len(bounds) != 2]
    cuts = [cuts[axis] for axis in cut_axes]
    cells = [len(bounds) - 1 for bounds in cuts]
    if prod(cells) > max(max_cells, MAX_FREE_CELLS):
        raise CorruptCheckpointError(
            "invalid slices",
            expected=f"a tiling of at most {max(max_cells, MAX_FREE_CELLS)} cells",
            found=f"{len(boxes)} slices that cut the tensor into {prod(cells)}",
        )
    painted = np.zeros(cells, bool)
    places = [{bound: i for i, bound in enumerate(bounds)} for bounds in cuts]
    for box in boxes:
        cell = tuple(
            slice(place[box.start[axis]], place[box.start[axis] + box.shape[axis]])
            for place, axis in zip(places, cut_axes)
        )
        if painted[cell].any():
            raise CorruptCheckpointError(
                "slices overlap",
                expected="every element once",
                found=f"{describe(box)}, which overlaps another slice",
            )
        painted[cell] = True
    # No box overlaps or is outside, and they have as many elements as the tensor: no hole is left.


def describe(box: Box) -> str:
    """Return a box in numpy's notation: [0:3, 4:8]."""
    return "[" + ", ".join(f"{a}:{a + n}" for a, n in zip(box.start, box.shape)) + "]"


def divide(shape: tuple[int, ...], counts: int | tuple[int, ...]) -> list[Box]:
    """Return the slices of a partitioned tensor, in row-major order.

    If an axis cannot be divided evenly, its first slices have one element more than the others, as
    with TensorFlow's ``fixed_size_partitioner``.

    Args:
        shape: shape of the tensor.
        counts: number of slices along the first axis, or along each of the first axes.

    Raises:
        InvalidTensorsError: there are more numbers than axes; or a number is less than 1 or larger
            than its axis.
    """
    given = counts if isinstance(counts, (tuple, list)) else (counts,)
    try:
        counts = tuple(map(as_index, given))
    except TypeError:  # not whole numbers
        counts = (0,)
    if len(counts) > len(shape) or any(not 1 <= n <= size for n, size in zip(counts, shape)):
        raise InvalidTensorsError(
            "the tensor cannot be divided so",
            expected=f"1 to {list(shape)} slices along its axes",
            found=list(given),
        )
    axes = []
    for size, count in zip_longest(shape, counts, fillvalue=1):
        least, more = divmod(size, count)
        starts = [i * least + min(i, more) for i in range(count)]
        axes.append([(start, least + (i < more)) for i, start in enumerate(starts)])
    return [
        Box(tuple(start for start, _ in extents), tuple(size for _, size in extents))
        for extents in product(*axes)
    ]


def shift(index: tuple[Any, ...], box: Box) -> tuple[Any, ...]:
    """Convert an index in a slice of a tensor, as `cut` yields it, to an index in the tensor."""
    if index == (...,):
        index = ()
    shifted: list[Any] = []
    for axis, (start, size) in enumerate(zip(box.start, box.shape)):
        part = index[axis] if axis < len(index) else slice(0, size)
        if isinstance(part, slice):
            shifted.append(slice(start + part.start, start + part.stop))
        else:
            shifted.append(start + part)
    return (*shifted, ...)
