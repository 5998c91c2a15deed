"""Read arrays of numbers from a source."""

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
"""The maximum number of dimensions of an array in this version of numpy."""

_MAX_NBYTES = 2**63 - 1
"""The maximum size of an array on a 64-bit machine: numpy counts bytes in a signed integer."""


def require_shape(shape: tuple[int, ...], itemsize: int) -> None:
    """Raise UnsupportedError for a shape that numpy's arrays cannot have.

    The number of bytes is computed without dimensions of size 0, as in numpy's own check.
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
    """Read a part of a row-major array.

    A mapped source is not read: the result is a view.  Of a source that copies, the bytes from the
    first to the last selected element are read; for an index with arrays, all bytes are read.

    Args:
        source: the source that contains the array.
        offset: position of the array in the source, which need not be aligned.
        dtype: dtype of the array in the machine's byte order.
        shape: shape of the whole array.
        index: numpy index of the part; ``...`` for the whole array.
        swapped: whether the stored byte order is not the machine's.

    Returns:
        A read-only array.  It is a view of a mapped source, unless the index has arrays or the
        bytes were swapped.

    Raises:
        CheckpointError: `Source.read` raised it.
        UnsupportedError: the array is empty, and its shape is too large for numpy.
        IndexError: the index does not fit the shape.
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
    """Return the part of an array that an index selects, never a bare scalar.

    An empty array is not indexed by numpy, which allocates the result before it checks the index:
    for the index [0] of an array of shape (0, 2**53), it would allocate 2**53 elements.
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
    """Return an array over bytes, without a copy."""
    if not len(payload):  # np.frombuffer refuses an empty buffer
        return _empty(shape, dtype)
    return np.frombuffer(payload, dtype).reshape(shape)


def _empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an empty array."""
    try:
        return np.empty(shape, dtype)
    except MemoryError as error:  # numpy 1 allocates memory for the other dimensions
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
    """Read the elements of a basic selection, and no bytes before the first or after the last."""
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
    """Return a copy with the bytes of every number swapped (complex: of each component)."""
    if array.dtype.itemsize == 1:
        return array.copy()
    if array.dtype.kind != "V":
        swapped: NDArray[Any] = array.byteswap()
        return swapped
    # numpy cannot swap the types of ml_dtypes; those that are wider than a byte have two bytes.
    swapped = np.ascontiguousarray(array).view(np.uint16).byteswap()
    return swapped.view(array.dtype).reshape(array.shape)
