"""What a numpy index takes of an array that is not in memory, or only in pieces.

`select` turns an index into a selection, which answers for any box of the array: which part of
the box is wanted, and where in the result does it go?
"""

from __future__ import annotations

import operator
from math import prod
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Index = Any
"""Whatever numpy takes between square brackets."""


class Box(NamedTuple):
    """A box of an array: first index and size, per dimension."""

    start: tuple[int, ...]
    shape: tuple[int, ...]


class Span(NamedTuple):
    """Part of a row-major array that holds a selection; everything counted in elements.

    Attributes:
        start, stop: the part itself.
        origin: position in the part of the element that comes first in the result.
        steps: distance between neighbours in the result, per dimension.
    """

    start: int
    stop: int
    origin: int
    steps: tuple[int, ...]


class Selection(Protocol):
    """Elements of an array that an index takes."""

    shape: tuple[int, ...]
    """Shape of the array to fill before `finish`."""

    def part(self, box: Box) -> tuple[Index, Index] | None:
        """(index in the array to fill, index in the box's own array), None if nothing is wanted."""
        ...

    def finish(self, filled: NDArray[Any]) -> NDArray[Any]:
        """The result, from the filled array."""
        ...


def select(index: Index, shape: tuple[int, ...]) -> Selection:
    """The selection of an index in an array of a shape.

    Raises:
        IndexError: as numpy does.
    """
    items = index if isinstance(index, tuple) else (index,)
    if all(_is_basic(item) for item in items):
        return BasicSelection(items, shape)
    return CoordinateSelection(index, shape)


def keep_array(index: Index) -> Index:
    """An index that takes the same elements, but never a bare scalar instead of a 0-d array."""
    items = index if isinstance(index, tuple) else (index,)
    return items if any(item is Ellipsis for item in items) else (*items, Ellipsis)


def _is_basic(item: object) -> bool:
    """Whether numpy answers this item with a view: an int, a slice, Ellipsis or None."""
    if item is None or item is Ellipsis or isinstance(item, slice):
        return True
    return isinstance(item, (int, np.integer)) and not isinstance(item, bool)


class BasicSelection:
    """Integers and slices: a range along every axis."""

    def __init__(self, items: tuple[Index, ...], shape: tuple[int, ...]) -> None:
        # A virtual array, one byte in all: numpy itself judges the index and shapes the result.
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
        """Where a selection that is not empty lies in the row-major array."""
        strides = [prod(shape[axis + 1 :]) for axis in range(len(shape))]
        ranges = list(zip(self.ranges, strides))
        start = sum(min(taken) * stride for taken, stride in ranges)
        last = sum(max(taken) * stride for taken, stride in ranges)
        return Span(
            start,
            last + 1,
            origin=sum(taken[0] * stride for taken, stride in ranges) - start,
            steps=tuple(taken.step * stride for taken, stride in ranges),
        )


def _range_of(item: Index, size: int) -> range:
    if isinstance(item, slice):
        return range(size)[item]
    i = operator.index(item)
    i += size if i < 0 else 0
    return range(i, i + 1)


def _positions_within(taken: range, start: int, stop: int) -> range:
    """The positions k with start <= taken[k] < stop."""
    step = taken.step
    if step > 0:
        low, high = -((taken.start - start) // step), -((taken.start - stop) // step)
    else:
        low, high = (taken.start - stop) // -step + 1, (taken.start - start) // -step + 1
    return range(max(low, 0), min(high, len(taken)))


class CoordinateSelection:
    """Arrays of integers or booleans: the coordinates of every element taken.

    Costs eight bytes per element and axis of the result.
    """

    def __init__(self, index: Index, shape: tuple[int, ...]) -> None:
        virtual: NDArray[np.bool_] = np.broadcast_to(np.False_, shape)
        self.shape = virtual[keep_array(index)].shape
        self._coordinates = []
        for axis, size in enumerate(shape):
            along = np.arange(size).reshape([size if i == axis else 1 for i in range(len(shape))])
            self._coordinates.append(np.broadcast_to(along, shape)[keep_array(index)])

    def part(self, box: Box) -> tuple[Index, Index] | None:
        wanted = np.ones(self.shape, bool)
        for coordinates, start, size in zip(self._coordinates, box.start, box.shape):
            wanted &= (coordinates >= start) & (coordinates < start + size)
        if not wanted.any():
            return None
        source = [c[wanted] - start for c, start in zip(self._coordinates, box.start)]
        return wanted, tuple(source)

    def finish(self, filled: NDArray[Any]) -> NDArray[Any]:
        return filled
