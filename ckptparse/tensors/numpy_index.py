"""Apply numpy indexes to arrays that are stored in a file, or in slices.

`select_elements` turns an index into a selection.  For a box of the array, the selection returns
the selected elements of the box and their positions in the result.
"""

from __future__ import annotations

import operator
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Index = Any
"""Any index that numpy accepts between square brackets."""


class Box(NamedTuple):
    """A rectangular part of an array: its first index and its size in each dimension."""

    start: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)


class Span(NamedTuple):
    """The range of a row-major array that contains a selection; all values count elements.

    Attributes:
        start: the first element of the range.
        stop: the end of the range.
        origin: position in the range of the element that is the first one in the result.
        steps: distance between neighbours in the result, for each dimension.
    """

    start: int
    stop: int
    origin: int
    steps: tuple[int, ...]


class ElementSelection(Protocol):
    """The elements of an array that an index selects."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array to fill before `finish`."""
        ...

    def touches(self, box: Box) -> bool:
        """Return False if the index certainly selects no element of a box; otherwise True."""
        ...

    def part(self, box: Box) -> tuple[Index, Index] | None:
        """Return the index in the array to fill and the index in the array of the box.

        Return None if no element of the box is selected.
        """
        ...

    def finish(self, filled: NDArray[Any]) -> NDArray[Any]:
        """Return the result, made from the filled array."""
        ...


def select_elements(index: Index, shape: tuple[int, ...]) -> ElementSelection:
    """Return the selection of an index for an array of a shape.

    Raises:
        IndexError: the index does not fit the shape.
    """
    items = index if isinstance(index, tuple) else (index,)
    if all(_is_basic(item) for item in items):
        return BasicSelection(items, shape)
    return CoordinateSelection(items, shape)


def keep_array(index: Index) -> Index:
    """Return an equivalent index that makes numpy return a 0-d array instead of a scalar."""
    items = index if isinstance(index, tuple) else (index,)
    return items if any(item is Ellipsis for item in items) else (*items, Ellipsis)


def _is_basic(item: object) -> bool:
    """Return whether an item of an index is an int, a slice, Ellipsis or None (not an array)."""
    if item is None or item is Ellipsis or isinstance(item, slice):
        return True
    return isinstance(item, (int, np.integer)) and not isinstance(item, bool)


class BasicSelection:
    """The selection of an index without arrays: a range along each axis."""

    def __init__(self, items: tuple[Index, ...], shape: tuple[int, ...]) -> None:
        # One byte, broadcast to the shape: numpy checks the index and computes the result's shape.
        virtual: NDArray[np.bool_] = np.broadcast_to(np.False_, shape)
        self._result_shape = virtual[keep_array(items)].shape
        given = sum(item is not None and item is not Ellipsis for item in items)
        whole = [slice(None)] * (len(shape) - given)
        axes: list[Any] = []
        for item in items:
            if item is Ellipsis:
                axes += whole
                whole = []
            elif item is not None:
                axes.append(item)
        axes += whole
        self.ranges = [_range_of(item, size) for item, size in zip(axes, shape)]
        self.shape = tuple(len(taken) for taken in self.ranges)

    def touches(self, box: Box) -> bool:
        return all(
            _positions_within(taken, start, start + size)
            for taken, start, size in zip(self.ranges, box.start, box.shape)
        )

    def part(self, box: Box) -> tuple[Index, Index] | None:
        targets, sources = [], []
        for taken, start, size in zip(self.ranges, box.start, box.shape):
            inside = _positions_within(taken, start, start + size)
            if not inside:
                return None
            piece = taken[inside.start : inside.stop]
            targets.append(slice(inside.start, inside.stop))
            stop = piece.stop - start
            sources.append(slice(piece.start - start, None if stop < 0 else stop, piece.step))
        return tuple(targets), tuple(sources)

    def finish(self, filled: NDArray[Any]) -> NDArray[Any]:
        return filled.reshape(self._result_shape)

    def span(self, shape: tuple[int, ...]) -> Span:
        """Return the range that contains the selection, which must not be empty."""
        strides = [prod(shape[axis + 1 :]) for axis in range(len(shape))]
        ranges = list(zip(self.ranges, strides))
        # not `min` of the range, which goes through all of it
        start = sum(min(taken[0], taken[-1]) * stride for taken, stride in ranges)
        last = sum(max(taken[0], taken[-1]) * stride for taken, stride in ranges)
        return Span(
            start,
            last + 1,
            origin=sum(taken[0] * stride for taken, stride in ranges) - start,
            steps=tuple(taken.step * stride if len(taken) > 1 else 0 for taken, stride in ranges),
        )


def _range_of(item: Index, size: int) -> range:
    """Return the coordinates that an integer or slice selects along an axis of a size."""
    if isinstance(item, slice):
        return range(size)[item]
    i = operator.index(item)
    i += size if i < 0 else 0
    return range(i, i + 1)


def _positions_within(taken: range, start: int, stop: int) -> range:
    """Return the positions k with start <= taken[k] < stop."""
    step = taken.step
    if step > 0:
        low, high = -((taken.start - start) // step), -((taken.start - stop) // step)
    else:
        low, high = (taken.start - stop) // -step + 1, (taken.start - start) // -step + 1
    return range(max(low, 0), min(high, len(taken)))


class CoordinateSelection:
    """The selection of an index with arrays of integers or booleans: coordinates of each element.

    The coordinates take 8 bytes for each axis and element of the result.  They are computed by the
    first call of `part`, so the shape alone, which a damaged file can declare, allocates nothing.
    """

    def __init__(self, items: tuple[Index, ...], shape: tuple[int, ...]) -> None:
        self._along: list[range | NDArray[np.intp]] = []  # selected coordinates of each axis
        self._items: list[Index] = []  # the index, with positions in `_along`
        for item in _expand(items, len(shape)):
            if item is None or isinstance(item, bool):  # a new axis
                self._items.append(item)
                continue
            size = shape[len(self._along)]
            if not isinstance(item, np.ndarray):
                if not isinstance(item, slice) and not -size <= item < size:
                    raise IndexError(f"index {item} is out of bounds for an axis of size {size}")
                self._along.append(_range_of(item, size))
                self._items.append(slice(None) if isinstance(item, slice) else 0)
                continue
            for coordinates in _coordinates_of(item, shape[len(self._along) :]):
                self._along.append(coordinates.reshape(-1))
                self._items.append(np.arange(coordinates.size).reshape(coordinates.shape))
        try:
            np.broadcast_shapes(*(np.shape(i) for i in self._items if isinstance(i, np.ndarray)))
        except ValueError as error:
            raise IndexError(str(error)) from error

    @cached_property
    def shape(self) -> tuple[int, ...]:
        whole = [len(taken) for taken in self._along]
        virtual: NDArray[np.bool_] = np.broadcast_to(np.False_, whole)
        return virtual[keep_array(tuple(self._items))].shape

    @cached_property
    def _coordinates(self) -> list[NDArray[np.intp]]:
        """The coordinates of all elements of the result, for each axis."""
        grid = np.ix_(*(np.asarray(taken, np.intp) for taken in self._along))
        whole = [len(taken) for taken in self._along]
        index = keep_array(tuple(self._items))
        return [np.broadcast_to(along, whole)[index] for along in grid]

    def touches(self, box: Box) -> bool:
        return all(
            bool(_positions_within(taken, start, start + size))
            if isinstance(taken, range)
            else bool(((taken >= start) & (taken < start + size)).any())
            for taken, start, size in zip(self._along, box.start, box.shape)
        )

    def part(self, box: Box) -> tuple[Index, Index] | None:
        if not self.touches(box):
            return None
        wanted = np.ones(self.shape, bool)
        for coordinates, start, size in zip(self._coordinates, box.start, box.shape):
            wanted &= (coordinates >= start) & (coordinates < start + size)
        if not wanted.any():
            return None
        source = [c[wanted] - start for c, start in zip(self._coordinates, box.start)]
        return wanted, tuple(source)

    def finish(self, filled: NDArray[Any]) -> NDArray[Any]:
        return filled


def _expand(items: tuple[Index, ...], rank: int) -> list[Index]:
    """Return the items of an index: integers, slices, arrays; None or a boolean for a new axis.

    Ellipsis is replaced by slices.
    """
    arrays = [
        item if item is None or item is Ellipsis or isinstance(item, slice) else np.asarray(item)
        for item in items
    ]
    expanded: list[Index] = []
    num_axes = 0
    for item in arrays:
        if not isinstance(item, np.ndarray):
            expanded.append(item)
            num_axes += isinstance(item, slice)
        elif item.dtype == bool:
            expanded.append(item if item.ndim else bool(item))
            num_axes += item.ndim
        elif item.dtype.kind in "iu" or (item.size == 0 and item.ndim):
            expanded.append(item.astype(np.intp) if item.ndim else int(item))
            num_axes += 1
        else:
            raise IndexError(f"an index is made of integers or booleans, not of {item.dtype}")
    ellipses = [i for i, item in enumerate(expanded) if item is Ellipsis]
    if len(ellipses) > 1 or num_axes > rank:
        raise IndexError(f"too many indices for an array of {rank} dimensions")
    place = ellipses[0] if ellipses else len(expanded)
    return expanded[:place] + [slice(None)] * (rank - num_axes) + expanded[place + 1 :]


def _coordinates_of(item: NDArray[Any], shape: tuple[int, ...]) -> tuple[NDArray[np.intp], ...]:
    """Return the coordinates that an array in an index selects, along the first axes of a shape."""
    if item.dtype == bool:
        if item.shape != shape[: item.ndim]:
            raise IndexError(f"boolean index of shape {item.shape} for axes of {shape}")
        return item.nonzero()
    size = shape[0]
    if item.size and not -size <= item.min() <= item.max() < size:
        raise IndexError(f"index out of bounds for an axis of size {size}")
    return (np.where(item < 0, item + size, item),)
