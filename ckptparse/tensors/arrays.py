"""Bytes of a file as arrays of numbers."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ckptparse.errors import UnsupportedError
from ckptparse.sources import Source
from ckptparse.tensors.numpy_index import BasicSelection, Index, keep_array, select_elements

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUMPY_MAX_RANK = 64 if int(np.__version__.split(".")[0]) >= 2 else 32
"""Dimensions that numpy's arrays can have."""

_MAX_NBYTES = 2**63 - 1


def require_shape(shape: tuple[int, ...], itemsize: int) -> None:
    """Raise UnsupportedError for a shape that no array of numpy can have.

    Numpy counts the bytes of an array as if its dimensions of 0 were not there.
    """
    if len(shape) > NUMPY_MAX_RANK:
        raise UnsupportedError(
            "the tensor has too many dimensions for numpy",
            expected=f"at most {NUMPY_MAX_RANK}, the most that numpy has",
            found=len(shape),
        )
    nbytes = prod(size for size in shape if size) * itemsize
    if nbytes > _MAX_NBYTES:
        raise UnsupportedError(
            "the tensor is too large for numpy",
            expected=f"at most {_MAX_NBYTES} bytes",
            found=f"shape {list(shape)}",
        )


def read_part(
    source: Source,
    offset: int,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    index: Index,
    *,
    swapped: bool,
) -> NDArray[Any]:
    """Read the part that an index takes of the row-major array at `offset`, read-only.

    A view where the source gives views, the byte order is the machine's and the index takes no
    arrays; its place in memory need not be aligned.  Of a source that copies, only the bytes
    between the first and the last element taken are read; an index by arrays reads all.
    """
    nbytes = prod(shape) * dtype.itemsize
    is_view = index is Ellipsis or (source.mapped and nbytes)
    selection = None if is_view else select_elements(index, shape)
    if isinstance(selection, BasicSelection):
        part = _read_span(source, offset, dtype, shape, selection)
    else:
        whole = _view(source.read(offset, offset + nbytes), dtype, shape)
        part = take(whole, index)
    if swapped:
        part = swap_bytes(part)
    part.flags.writeable = False
    return part


def take(array: NDArray[Any], index: Index) -> NDArray[Any]:
    """Return the part of an array that an index takes; never a bare scalar.

    Of an array without elements, numpy makes room for the result before it looks whether the index
    is inside: for the index [0] of the shape (0, 2**53), 2**53 elements.
    """
    if index is Ellipsis:
        return array
    if array.size:
        part: NDArray[Any] = array[keep_array(index)]
        return part
    selection = select_elements(index, array.shape)
    return selection.finish(_empty(selection.shape, array.dtype))


def _view(
    payload: bytes | memoryview, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> NDArray[Any]:
    if not len(payload):  # numpy takes no empty buffer
        return _empty(shape, dtype)
    return np.frombuffer(payload, dtype).reshape(shape)


def _empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """An array without elements."""
    try:
        return np.empty(shape, dtype)
    except MemoryError as error:  # numpy 1 wants memory for the other dimensions
        raise UnsupportedError(
            "the shape is too large for this version of numpy", found=f"{shape}"
        ) from error


def _read_span(
    source: Source,
    offset: int,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    selection: BasicSelection,
) -> NDArray[Any]:
    if 0 in selection.shape:
        return selection.finish(_empty(selection.shape, dtype))
    span = selection.span(shape)
    itemsize = dtype.itemsize
    payload = source.read(offset + span.start * itemsize, offset + span.stop * itemsize)
    part: NDArray[Any] = np.ndarray(
        selection.shape,
        dtype,
        np.frombuffer(payload, np.uint8),
        span.origin * itemsize,
        tuple(step * itemsize for step in span.steps),
    )
    return selection.finish(part)


def swap_bytes(array: NDArray[Any]) -> NDArray[Any]:
    """A copy with every number's bytes in the other order (complex: of each component)."""
    if array.dtype.itemsize == 1:
        return array.copy()
    if array.dtype.kind != "V":
        swapped: NDArray[Any] = array.byteswap()
        return swapped
    # numpy does not know how to swap a type of ml_dtypes; all that are wider than a byte have two.
    swapped = np.ascontiguousarray(array).view(np.uint16).byteswap()
    return swapped.view(array.dtype).reshape(array.shape)
