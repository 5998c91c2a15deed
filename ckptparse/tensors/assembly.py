"""Assemble a partitioned tensor, or the part of it that an index selects, from its slices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ckptparse.tensors.numpy_index import Box, ElementSelection, Index

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MIN_PARALLEL_NBYTES = 1 << 20
"""Smaller arrays are filled faster by one thread than by several."""


def assemble(
    selection: ElementSelection,
    boxes: Sequence[Box],
    dtype: np.dtype[Any],
    read_part: Callable[[int, Index], NDArray[Any]],
    copy_slice: Callable[[int, NDArray[Any]], None] | None = None,
) -> NDArray[Any]:
    """Return a new array with the selected elements of all slices.

    Args:
        selection: the selected elements of the tensor.
        boxes: the part of the tensor that each slice covers.  Together they cover each selected
            element exactly once.
        dtype: dtype of the tensor.
        read_part: returns the part of slice `i` that an index selects.
        copy_slice: writes slice `i` into an array of its shape, without an intermediate copy; used
            instead of `read_part` if it is not None.  Only for a selection of the whole tensor.

    Raises:
        CheckpointError: reading a slice failed.
        AssertionError: some elements were not written.  The slices tile the tensor, so this is a
            bug of ckptparse.
    """
    array = np.empty(selection.shape, dtype)
    has_objects = dtype.hasobject
    is_copied = copy_slice is not None and array.ndim > 0 and not has_objects

    def fill(i: int) -> int:
        """Write slice `i` to its place; return the number of elements."""
        part = selection.part(boxes[i])
        if part is None:
            return 0
        target, source_index = part
        if is_copied and copy_slice is not None:
            copy_slice(i, array[target])
            return boxes[i].size
        values = read_part(i, source_index)
        array[target] = values
        return values.size

    if array.nbytes < _MIN_PARALLEL_NBYTES or has_objects:
        num_written = sum(map(fill, range(len(boxes))))
    else:
        from ckptparse.sources.parallel import run_on_all_cores  # it imports threading

        num_written = sum(run_on_all_cores(fill, len(boxes)))
    if num_written != array.size:
        raise AssertionError(
            f"bug in ckptparse: {num_written} of {array.size} elements were written"
        )
    return selection.finish(array)
