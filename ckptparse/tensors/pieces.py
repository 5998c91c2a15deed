"""Tensors in pieces: runs of consecutive elements, in row-major order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ckptparse.tensors.dtypes import name_of_array

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Piece(NamedTuple):
    """Consecutive elements of a tensor.

    The pieces of a tensor are in order and without gaps.  A tensor without elements has one empty
    piece.

    Attributes:
        name: name of the tensor.
        dtype: TensorFlow's name of its dtype, such as "float32" or "qint8"; numpy's name if
            TensorFlow has none.
        shape: shape of the whole tensor.
        start: number of elements before the piece.
        values: the elements, in row-major order; an array whose shape has no meaning.

    Examples:
        >>> from ckptparse import open_checkpoint
        >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt")
        >>> first, *others = ckpt.read_pieces(["vgg_16/fc7/weights"], 240)
        >>> first.dtype, first.shape, first.start, first.values.size
        ('float32', (1, 1, 12, 12), 0, 60)
        >>> [piece.start for piece in others]
        [60, 120]
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    values: NDArray[Any]


def cut(
    shape: tuple[int, ...], itemsize: int, nbytes: int
) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Yield the parts of an array: each has at most `nbytes` bytes, but at least one element.

    Args:
        shape: shape of the array.
        itemsize: bytes of an element.
        nbytes: the maximum number of bytes of a part.

    Yields:
        The number of elements before the part, and its numpy index.
    """
    nbytes = max(nbytes, itemsize)
    if prod(shape) * itemsize <= nbytes:
        yield 0, (...,)
        return
    axis = 0  # the first axis of which one index selects at most `nbytes` bytes
    while prod(shape[axis + 1 :]) * itemsize > nbytes:
        axis += 1
    row_size = prod(shape[axis + 1 :])
    num_rows = nbytes // (row_size * itemsize)
    start = 0
    for outer in _indices(shape[:axis]):
        for row in range(0, shape[axis], num_rows):
            stop = min(row + num_rows, shape[axis])
            yield start, (*outer, slice(row, stop))
            start += (stop - row) * row_size


def _indices(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yield the indices of all elements of an array, in row-major order."""
    from itertools import product  # a shape has few axes here, so that this stays lazy

    return product(*map(range, shape))


def cut_array(
    name: str, array: NDArray[Any], piece_nbytes: int, dtype: str | None = None
) -> Iterator[Piece]:
    """Yield the pieces of an array.

    Args:
        name: name of the tensor.
        array: the array; pieces are views of it.
        piece_nbytes: the maximum number of bytes of a piece.
        dtype: TensorFlow's name of the dtype; None for the usual one of such arrays, or for numpy's
            name if TensorFlow has none.
    """
    if dtype is None:
        dtype = name_of_array(array.dtype)
    if dtype == "string":
        yield Piece(name, dtype, array.shape, 0, array)
        return
    for start, index in cut(array.shape, array.itemsize, piece_nbytes):
        yield Piece(name, dtype, array.shape, start, array[index])


def is_last(piece: Piece) -> bool:
    """Return whether a piece ends its tensor."""
    return piece.start + piece.values.size == prod(piece.shape)


def join(pieces: list[Piece]) -> NDArray[Any]:
    """Return the array of all pieces of a tensor; a view, if there is one piece."""
    if len(pieces) == 1:
        return pieces[0].values.reshape(pieces[0].shape)
    return np.concatenate([piece.values.ravel() for piece in pieces]).reshape(pieces[0].shape)


def rename_pieces(pieces: Iterable[Piece], names: Iterable[str]) -> Iterator[Piece]:
    """Yield pieces of several tensors under new names, given in the order of the tensors."""
    left = iter(names)
    name = ""
    for piece in pieces:
        if not piece.start:
            name = next(left, name)  # if there are too many, whoever joins the pieces says so
        yield piece if piece.name == name else piece._replace(name=name)
