"""Indexing an array that is stored in pieces gives what numpy gives for the whole array."""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ckptparse.tensors.numpy_index import BasicSelection, Box, keep_array, select_elements
from support.ids import index_id

Shape = tuple[int, ...]


def cut(rng: random.Random, box: Box, times: int) -> list[Box]:
    """A box cut in two at a random place, and its parts again: `times` cuts, or fewer."""
    boxes = [box]
    for _ in range(times):
        box = boxes.pop(rng.randrange(len(boxes)))
        axis = rng.randrange(len(box.shape)) if box.shape else 0
        if not box.shape or box.shape[axis] < 2:
            boxes.append(box)
            continue
        at = rng.randrange(1, box.shape[axis])
        for start, size in ((0, at), (at, box.shape[axis] - at)):
            boxes.append(
                Box(
                    (*box.start[:axis], box.start[axis] + start, *box.start[axis + 1 :]),
                    (*box.shape[:axis], size, *box.shape[axis + 1 :]),
                )
            )
    return boxes


def tiling(shape: Shape, times: int = 6, seed: int = 0) -> list[Box]:
    return cut(random.Random(seed), Box((0,) * len(shape), shape), times)


def numbered(shape: Shape) -> np.ndarray:
    return np.arange(np.prod(shape, dtype=int)).reshape(shape)


def assemble(array: np.ndarray, boxes: list[Box], index: Any) -> np.ndarray:
    """Assemble what the index selects from the boxes; each element is taken exactly once."""
    selection = select_elements(index, array.shape)
    filled = np.full(selection.shape, -1, array.dtype)
    times_filled = np.zeros(selection.shape, int)
    for box in boxes:
        own = array[tuple(slice(a, a + n) for a, n in zip(box.start, box.shape))]
        part = selection.part(box)
        if part is None:
            continue
        target, source = part
        assert own[source].size > 0, "a part that takes nothing is None"
        filled[target] = own[source]
        times_filled[target] += 1
    assert (times_filled == 1).all()
    return selection.finish(filled)


def require_same(index: Any, shape: Shape, boxes: list[Box]) -> None:
    array = numbered(shape)
    expected = np.asarray(array[index])
    assembled = assemble(array, boxes, index)
    assert isinstance(assembled, np.ndarray)
    assert assembled.shape == expected.shape
    np.testing.assert_array_equal(assembled, expected)


# Products of indexers

ONE_AXIS = [
    0,
    3,
    -1,
    np.int64(2),
    np.uint8(1),
    slice(None),
    slice(1, 4),
    slice(None, None, 2),
    slice(4, None, -1),
    slice(None, None, -2),
    slice(-2, None),
    slice(3, 3),
    slice(2, -9, -3),
    slice(100, None, -1),
    slice(-100, 100, 3),
    slice(1, None, 2**62),
    slice(None, None, -(2**62)),
]
FEW = [1, -1, slice(None), slice(2, 0, -1), slice(None, None, 2), slice(1, 1), None, Ellipsis]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("item", ONE_AXIS, ids=index_id)
def test_one_axis(item: Any, seed: int) -> None:
    require_same(item, (5,), tiling((5,), 3, seed))


@pytest.mark.parametrize("first", ONE_AXIS, ids=index_id)
def test_two_axes(first: Any) -> None:
    for second in ONE_AXIS:
        require_same((first, second), (5, 4), tiling((5, 4)))


@pytest.mark.parametrize("first", FEW, ids=index_id)
def test_three_items_of_three_axes(first: Any) -> None:
    for others in itertools.product(FEW, repeat=2):
        if (first, *others).count(Ellipsis) < 2:
            require_same((first, *others), (2, 3, 4), tiling((2, 3, 4)))


MASK = numbered((3, 4)) % 3 == 1
OTHER = {
    "nothing": (),
    "ellipsis": ...,
    "ellipsis in the middle": (0, ..., 1),
    "newaxis": None,
    "newaxes": (None, 0, None, ..., None),
    "list": [2, 0, 2],
    "negative list": [-1, -3],
    "empty list": [],
    "array of two axes": np.array([[0, 1], [2, 2]]),
    "0-d array": np.array(1),
    "small integers": np.array([2, 1], np.int8),
    "empty array": np.zeros((0, 2), int),
    "two lists": ([0, 2, 1], [3, 0, 0]),
    "lists that broadcast": ([[0], [2]], [1, 3]),
    "np.ix_": np.ix_([0, 2], [3, 1, 0]),
    "list and slice": ([2, 0], slice(None, None, -2)),
    "slice and list": (slice(2, 0, -1), [3, 0, 3]),
    "list and int": ([2, 0], 1),
    "int and list": (1, [2, 0]),
    "list and newaxis": (None, [2, 0], None),
    "list behind ellipsis": (..., [1, 3]),
    "lists apart": ([1, 0], None, [2, 3]),
    "mask": MASK,
    "empty mask": np.zeros((3, 4), bool),
    "full mask": np.ones((3, 4), bool),
    "mask of rows": np.array([True, False, True]),
    "mask as a list": [True, False, True],
    "mask of columns": (slice(None), np.array([False, True, True, False])),
    "mask and slice": (np.array([True, False, True]), slice(3, None, -1)),
    "mask and int": (np.array([True, False, True]), 2),
    "True": True,
    "False": False,
    "numpy's True": np.True_,
    "True and int": (True, 1),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("index", OTHER.values(), ids=list(OTHER))
def test_whatever_else_numpy_takes(index: Any, seed: int) -> None:
    require_same(index, (3, 4), tiling((3, 4), 5, seed))


@pytest.mark.parametrize(
    "index",
    [
        ([1, 0], slice(None), [2, 3]),
        (slice(None), [1, 0], [2, 3]),
        ([1, 0], [2, 0], slice(3, None, -2)),
        ([1, 0], 1, slice(None)),
        (1, slice(None), [2, 3]),
        ([1, 0], ..., [2, 3]),
        (np.array([[True, False, True], [False, False, True]]), slice(1, 3)),
        (slice(None), np.ones((3, 4), bool)),
        (..., None, [0, 0, 3]),
        (np.array([[1], [0]]), slice(0, 3, 2), np.array([3, 1])),
    ],
    ids=index_id,
)
def test_mixed_indices_of_three_axes(index: Any) -> None:
    require_same(index, (2, 3, 4), tiling((2, 3, 4), 8))


@pytest.mark.parametrize("index", [(), ..., None, True, False, (None, ..., None)], ids=index_id)
def test_scalars(index: Any) -> None:
    require_same(index, (), tiling(()))


@pytest.mark.parametrize(
    "index",
    [(), ..., slice(None), slice(None, None, -1), (slice(None), 1), (slice(0, 9), [1, 0]), []],
    ids=index_id,
)
@pytest.mark.parametrize("shape", [(0, 3), (0, 2, 2)], ids=str)
def test_arrays_of_no_elements(shape: Shape, index: Any) -> None:
    require_same(index, shape, [Box((0,) * len(shape), shape)])


# Random ones

SHAPES = hnp.array_shapes(max_dims=4, max_side=6)
SEEDS = st.integers(0, 2**32)


@given(
    SHAPES.flatmap(
        lambda shape: st.tuples(
            st.just(shape), hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True)
        )
    ),
    SEEDS,
)
def test_random_basic_indices(shape_and_index: tuple[Shape, Any], seed: int) -> None:
    shape, index = shape_and_index
    require_same(index, shape, tiling(shape, 8, seed))


@given(
    SHAPES.flatmap(
        lambda shape: st.tuples(
            st.just(shape),
            hnp.integer_array_indices(shape) | hnp.arrays(bool, shape),
        )
    ),
    SEEDS,
)
def test_random_array_indices(shape_and_index: tuple[Shape, Any], seed: int) -> None:
    shape, index = shape_and_index
    require_same(index, shape, tiling(shape, 8, seed))


def mixed_items(shape: Shape) -> st.SearchStrategy[tuple[Any, ...]]:
    """An int, a slice, a list or a mask for every axis; lists and masks take two elements."""
    axes = []
    for size in shape:
        lists = st.lists(st.integers(-size, size - 1), min_size=2, max_size=2)
        pairs = st.sets(st.integers(0, size - 1), min_size=2, max_size=2)
        masks = pairs.map(lambda taken, size=size: np.isin(np.arange(size), list(taken)))
        axes.append(st.integers(-size, size - 1) | st.slices(size) | lists | masks)
    return st.tuples(*axes)


@given(
    hnp.array_shapes(max_dims=4, min_side=2, max_side=5).flatmap(
        lambda shape: st.tuples(st.just(shape), mixed_items(shape))
    ),
    SEEDS,
)
def test_random_mixed_indices(shape_and_index: tuple[Shape, Any], seed: int) -> None:
    shape, index = shape_and_index
    require_same(index, shape, tiling(shape, 8, seed))


# What numpy refuses

REFUSED = [
    3,
    -4,
    np.int64(3),
    (0, 4),
    (0, 0, 0),
    (..., ...),
    (0, ..., 0, 0),
    1.0,
    "name",
    (slice(None), 2.5),
    [3],
    [-4],
    ([0, 1], [0, 1, 2]),
    [1.0],
    np.ones((3, 5), bool),
    np.ones(4, bool),
    np.ones((3, 4, 1), bool),
    [True, False],
    (0, [4]),
    2**70,
    slice(None, None, 0),
    slice(0.5, 2),
    pytest.param(object(), id="object"),
]


@pytest.mark.parametrize("index", REFUSED, ids=index_id)
def test_what_numpy_refuses_is_refused_with_the_same_error(index: Any) -> None:
    with pytest.raises((IndexError, TypeError, ValueError)) as expected:
        numbered((3, 4))[index]
    with pytest.raises(type(expected.value)) as error:
        select_elements(index, (3, 4))
    assert type(error.value) is type(expected.value)


@pytest.mark.parametrize("index", [0, [0], (None, 0), slice(None)], ids=index_id)
def test_scalars_have_no_axis_to_index(index: Any) -> None:
    with pytest.raises(IndexError):
        select_elements(index, ())


# Arrays that only their shape says are large

HUGE = (2**40, 2**20)


def test_a_basic_selection_of_a_huge_array_costs_nothing() -> None:
    selection = select_elements((slice(None, None, -(2**30)), 5), HUGE)
    assert selection.shape == (1024, 1)
    part = selection.part(Box((2**40 - 2**31 - 1, 0), (2**30 + 1, 10)))
    assert part is not None
    target, _ = part
    assert target == (slice(1, 3), slice(0, 1))


@pytest.mark.parametrize("index", [[0], np.array([[0], [5]]), ([0, 1], slice(None))], ids=index_id)
def test_arrays_as_index_of_an_empty_array_cost_nothing(index: Any) -> None:
    # An empty array: no byte of the file backs the other dimension, however large it is.
    shape = (2**50, 0)
    selection = select_elements(index, shape)
    assert selection.shape == np.broadcast_to(np.False_, shape)[index].shape
    assert selection.part(Box((0, 0), shape)) is None


# Bits


@pytest.mark.parametrize(
    "index", [0, (0, 1), (..., 0), slice(None), None, [0, 1], (0, 0, 0)], ids=index_id
)
def test_keep_array_takes_the_same_and_never_a_bare_scalar(index: Any) -> None:
    array = numbered((2, 3, 4))
    taken = array[keep_array(index)]
    assert isinstance(taken, np.ndarray)
    np.testing.assert_array_equal(taken, array[index])


@given(
    SHAPES.flatmap(lambda shape: st.tuples(st.just(shape), hnp.basic_indices(shape))),
)
def test_span_is_the_least_range_that_holds_the_selection(
    shape_and_index: tuple[Shape, Any],
) -> None:
    shape, index = shape_and_index
    selection = select_elements(index, shape)
    assert isinstance(selection, BasicSelection)
    taken = np.asarray(numbered(shape)[index]).reshape(selection.shape)
    if not taken.size:
        return
    span = selection.span(shape)
    assert (span.start, span.stop) == (taken.min(), taken.max() + 1)
    reached = np.full(selection.shape, span.start + span.origin)
    for axis, step in enumerate(span.steps):
        along = np.arange(selection.shape[axis]) * step
        reached = reached + along.reshape([-1 if i == axis else 1 for i in range(taken.ndim)])
    np.testing.assert_array_equal(reached, taken)


@pytest.mark.parametrize(
    ("index", "span"),
    [
        ((), (0, 24, 0, (12, 4, 1))),
        (1, (12, 24, 0, (0, 4, 1))),
        ((1, 2, 3), (23, 24, 0, (0, 0, 0))),
        ((slice(None), 1), (4, 20, 0, (12, 0, 1))),
        ((0, slice(None, None, -1), slice(0, 3, 2)), (0, 11, 8, (0, -4, 2))),
    ],
    ids=index_id,
)
def test_span_of_known_indices(index: Any, span: tuple[int, int, int, Shape]) -> None:
    items = index if isinstance(index, tuple) else (index,)
    assert BasicSelection(items, (2, 3, 4)).span((2, 3, 4)) == span


@pytest.mark.parametrize("step", [1, -1], ids=["forwards", "backwards"])
def test_span_of_many_elements_takes_no_time_for_each(step: int) -> None:
    """It would take hours."""
    size = 2**50
    span = BasicSelection((slice(None, None, step),), (size,)).span((size,))
    assert (span.start, span.stop) == (0, size)
