"""Keys of slices, and whether slices cover the tensor exactly."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptparse.errors import CorruptCheckpointError
from ckptparse.tensors.numpy_index import Box
from ckptparse.tensors.partitions import (
    WHOLE,
    Extents,
    decode_slice_key_name,
    describe,
    encode_slice_key,
    require_tiling,
    resolve,
)
from support import builders

# Keys

KEYS: list[tuple[bytes, Extents, str]] = [
    (b"p/w", ((0, 3), (0, 4)), "00 702f77 0001 0102 80 83 80 84"),
    (b"p/w", ((0, 3), (0, WHOLE)), "00 702f77 0001 0102 80 83 80 7f"),
    (b"p/w", ((3, 4), (0, 4)), "00 702f77 0001 0102 83 84 80 84"),
    (b"b", ((0, WHOLE),), "00 62 0001 0101 80 7f"),
    (b"global_step", (), "00 676c6f62616c5f73746570 0001 00"),
    (b"a\x00b\xff", ((64, 8192),), "00 61 00ff 62 ff00 0001 0101 c040 e02000"),
]
by_key = pytest.mark.parametrize(("name", "extents", "key"), KEYS)


@by_key
def test_slice_key_of_known_bytes(name: bytes, extents: Extents, key: str) -> None:
    assert encode_slice_key(name, extents) == bytes.fromhex(key)


@by_key
def test_the_name_is_found_in_a_slice_key(name: bytes, extents: Extents, key: str) -> None:
    assert decode_slice_key_name(bytes.fromhex(key)) == name


@given(
    st.lists(st.sampled_from([0, 1, 0x61, 0xFE, 0xFF]), max_size=8).map(bytes),
    st.lists(st.tuples(st.integers(0, 2**62), st.integers(-1, 2**62)), max_size=5),
)
def test_slice_keys_are_those_of_the_other_encoder(
    name: bytes, extents: list[tuple[int, int]]
) -> None:
    key = encode_slice_key(name, tuple(extents))
    assert key == builders.slice_key(name, extents)
    assert decode_slice_key_name(key) == name


@pytest.mark.parametrize(
    "key",
    [b"", b"name", b"\x01a\x00\x01", b"\x00", b"\x00name", b"\x00a\x00", b"\x00a\x00\x02\x00\x01"],
)
def test_other_keys_hold_no_name(key: bytes) -> None:
    assert decode_slice_key_name(key) is None


# Boxes


@pytest.mark.parametrize(
    ("extents", "shape", "box"),
    [
        ((), (), Box((), ())),
        (((0, 3), (0, 4)), (7, 4), Box((0, 0), (3, 4))),
        (((3, 4), (0, WHOLE)), (7, 4), Box((3, 0), (4, 4))),
        (((0, WHOLE), (1, 2), (0, WHOLE)), (2, 3, 0), Box((0, 1, 0), (2, 2, 0))),
        (((5, 100),), (7,), Box((5,), (100,))),
    ],
)
def test_extents_as_a_box(extents: Extents, shape: tuple[int, ...], box: Box) -> None:
    assert resolve(extents, shape) == box


def test_boxes_are_described_as_numpy_writes_them() -> None:
    assert describe(Box((3, 0), (4, 4))) == "[3:7, 0:4]"
    assert describe(Box((), ())) == "[]"


# Tilings


def cut(
    rng: random.Random, start: tuple[int, ...], shape: tuple[int, ...], times: int
) -> list[Box]:
    """Cut a box in two at a random place, and its parts again: `times` cuts in all."""
    axes = [axis for axis, size in enumerate(shape) if size > 1]
    if not times or not axes:
        return [Box(start, shape)]
    axis = rng.choice(axes)
    at = rng.randrange(1, shape[axis])
    in_first = rng.randrange(times)

    def moved(values: tuple[int, ...], value: int) -> tuple[int, ...]:
        return (*values[:axis], value, *values[axis + 1 :])

    return [
        *cut(rng, start, moved(shape, at), in_first),
        *cut(
            rng,
            moved(start, start[axis] + at),
            moved(shape, shape[axis] - at),
            times - 1 - in_first,
        ),
    ]


def pinwheel(arm: int, width: int) -> tuple[list[Box], tuple[int, ...]]:
    """Four boxes around a fifth: a tiling that no straight cut divides."""
    size = arm + width
    core = arm - width
    boxes = [
        Box((0, 0), (width, arm)),
        Box((0, arm), (arm, width)),
        Box((arm, width), (width, arm)),
        Box((width, 0), (arm, width)),
        Box((width, width), (core, core)),
    ]
    return boxes, (size, size)


TILINGS: dict[str, tuple[list[Box], tuple[int, ...]]] = {
    f"cut {shape} {times} times": (
        cut(random.Random(times), (0,) * len(shape), shape, times),
        shape,
    )
    for shape in [(50,), (9, 8), (4, 5, 6), (3, 1, 4, 2), (2**40, 10), (2**20, 2**20)]
    for times in [1, 2, 5, 11]
}
TILINGS["pinwheel"] = pinwheel(3, 1)
TILINGS["wide pinwheel"] = pinwheel(2**40, 2**10)
TILINGS["rows of unlike columns"] = (
    [Box((0, 0), (5, 4)), Box((5, 0), (5, 1)), Box((5, 1), (5, 3))],
    (10, 4),
)
by_tiling = pytest.mark.parametrize(("boxes", "shape"), TILINGS.values(), ids=list(TILINGS))

MAX_CELLS = 0
"""Nothing more than is always allowed."""


@pytest.mark.parametrize("times", [1, 2, 5, 11])
def test_the_tilings_have_as_many_boxes_as_cuts(times: int) -> None:
    boxes, _ = TILINGS[f"cut {(2**20, 2**20)} {times} times"]
    assert len(boxes) == times + 1


@pytest.mark.parametrize("order", ["as cut", "reversed", "shuffled"])
@by_tiling
def test_tilings_are_accepted(boxes: list[Box], shape: tuple[int, ...], order: str) -> None:
    ordered = {
        "as cut": boxes,
        "reversed": boxes[::-1],
        "shuffled": random.Random(3).sample(boxes, len(boxes)),
    }[order]
    require_tiling(ordered, shape, MAX_CELLS)


@pytest.mark.parametrize(
    ("boxes", "shape"),
    [
        ([Box((), ())], ()),
        ([Box((0,), (7,))], (7,)),
        ([Box((0, 0), (0, 4))], (0, 4)),
        ([Box((0, 0), (3, 0)), Box((3, 0), (4, 0))], (7, 0)),
        ([Box((i,), (1,)) for i in range(1000)], (1000,)),
        ([Box((i, j), (1, 1)) for i in range(30) for j in range(30)], (30, 30)),
        ([Box((0,) * 64, (1,) * 64)], (1,) * 64),
    ],
    ids=["scalar", "one slice", "empty", "empty columns", "elements", "grid", "rank 64"],
)
def test_plain_tilings_are_accepted(boxes: list[Box], shape: tuple[int, ...]) -> None:
    require_tiling(boxes, shape, MAX_CELLS)


@pytest.mark.parametrize("rank", [65, 100, 254])
def test_tilings_of_more_dimensions_than_numpy_has_are_judged_too(rank: int) -> None:
    # `verify` checks them, though no array could be read.
    halves = [Box((0,) * rank, (1,) * rank), Box((1,) + (0,) * (rank - 1), (1,) * rank)]
    require_tiling(halves, (2,) + (1,) * (rank - 1), MAX_CELLS)
    with pytest.raises(CorruptCheckpointError, match="overlap"):
        require_tiling([halves[0], halves[0]], (2,) + (1,) * (rank - 1), MAX_CELLS)


Damage = Callable[[list[Box], int, tuple[int, ...]], list[Box]]


def remove(boxes: list[Box], i: int, shape: tuple[int, ...]) -> list[Box]:
    return boxes[:i] + boxes[i + 1 :]


def double(boxes: list[Box], i: int, shape: tuple[int, ...]) -> list[Box]:
    return [*boxes, boxes[i]]


def replace_with_another(boxes: list[Box], i: int, shape: tuple[int, ...]) -> list[Box]:
    return [*remove(boxes, i, shape), boxes[i - 1]]


def with_axis(boxes: list[Box], i: int, axis: int, start: int, size: int) -> list[Box]:
    """Box `i` with another start and size along an axis."""
    box = boxes[i]
    moved = Box(
        (*box.start[:axis], start, *box.start[axis + 1 :]),
        (*box.shape[:axis], size, *box.shape[axis + 1 :]),
    )
    return [*boxes[:i], moved, *boxes[i + 1 :]]


def cut_axis(boxes: list[Box], i: int, shape: tuple[int, ...]) -> int:
    """An axis along which box `i` is not the whole."""
    return next(axis for axis, size in enumerate(boxes[i].shape) if size != shape[axis])


def shift(boxes: list[Box], i: int, shape: tuple[int, ...]) -> list[Box]:
    axis = cut_axis(boxes, i, shape)
    start, size = boxes[i].start[axis], boxes[i].shape[axis]
    return with_axis(boxes, i, axis, start + (1 if start + size < shape[axis] else -1), size)


def shorten(boxes: list[Box], i: int, shape: tuple[int, ...]) -> list[Box]:
    axis = cut_axis(boxes, i, shape)
    return with_axis(boxes, i, axis, boxes[i].start[axis], boxes[i].shape[axis] - 1)


def lengthen(boxes: list[Box], i: int, shape: tuple[int, ...]) -> list[Box]:
    axis = cut_axis(boxes, i, shape)
    start, size = boxes[i].start[axis], boxes[i].shape[axis]
    return with_axis(boxes, i, axis, max(start - 1, 0), size + 1)


def push_outside(boxes: list[Box], i: int, shape: tuple[int, ...]) -> list[Box]:
    axis = cut_axis(boxes, i, shape)
    return with_axis(boxes, i, axis, shape[axis], boxes[i].shape[axis])


def push_below_zero(boxes: list[Box], i: int, shape: tuple[int, ...]) -> list[Box]:
    return with_axis(boxes, i, cut_axis(boxes, i, shape), -1, 1)


def empty(boxes: list[Box], i: int, shape: tuple[int, ...]) -> list[Box]:
    axis = cut_axis(boxes, i, shape)
    return with_axis(boxes, i, axis, boxes[i].start[axis], 0)


def add_an_empty_one(boxes: list[Box], i: int, shape: tuple[int, ...]) -> list[Box]:
    return [*boxes, empty(boxes, i, shape)[i]]


DAMAGES = [
    remove,
    double,
    replace_with_another,
    shift,
    shorten,
    lengthen,
    push_outside,
    push_below_zero,
    empty,
    add_an_empty_one,
]


def is_rejected(boxes: list[Box], shape: tuple[int, ...]) -> bool:
    try:
        require_tiling(boxes, shape, MAX_CELLS)
    except CorruptCheckpointError as error:
        return "slice" in str(error) and None not in (error.expected, error.found)
    return False


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damaged_tilings_are_rejected(damage: Damage) -> None:
    accepted = [
        (name, i)
        for name, (boxes, shape) in TILINGS.items()
        for i in (0, len(boxes) // 2, len(boxes) - 1)
        if not is_rejected(damage(boxes, i, shape), shape)
    ]
    assert accepted == []


@pytest.mark.parametrize(
    ("boxes", "shape", "match"),
    [
        ([], (7, 4), "do not cover the tensor\n  expected: 28 elements\n  found: 0 in 0 slices"),
        (
            [Box((0, 0), (3, 4))],
            (7, 4),
            "do not cover the tensor\n  expected: 28 elements\n  found: 12",
        ),
        ([Box((0,), (5,)), Box((3,), (4,))], (7,), r"overlap(?s:.*)found: \[3:7\], which overlaps"),
        ([Box((0,), (5,)), Box((5,), (3,))], (7,), r"a part of the shape \[7\]\n  found: \[5:8\]"),
        ([Box((), ())] * 2, (), "overlap"),
        ([], (), "do not cover"),
        ([Box((0, 1), (0, 4))], (0, 4), r"found: \[0:0, 1:5\]"),
    ],
)
def test_what_is_wrong_is_said(boxes: list[Box], shape: tuple[int, ...], match: str) -> None:
    with pytest.raises(CorruptCheckpointError, match=match):
        require_tiling(boxes, shape, MAX_CELLS)


@given(
    st.integers(0, 2**32),
    st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple),
    st.integers(0, 12),
)
def test_random_tilings_are_accepted_and_without_any_box_rejected(
    seed: int, shape: tuple[int, ...], times: int
) -> None:
    rng = random.Random(seed)
    boxes = cut(rng, (0,) * len(shape), shape, times)
    rng.shuffle(boxes)
    require_tiling(boxes, shape, MAX_CELLS)
    with pytest.raises(CorruptCheckpointError):
        require_tiling(boxes[1:], shape, MAX_CELLS)
    with pytest.raises(CorruptCheckpointError):
        require_tiling([*boxes, boxes[0]], shape, MAX_CELLS)


@given(
    st.lists(
        st.tuples(
            st.tuples(st.integers(0, 3), st.integers(0, 3)),
            st.tuples(st.integers(1, 4), st.integers(1, 4)),
        ),
        max_size=4,
    )
)
def test_any_boxes_are_judged_as_counting_their_elements_does(
    given_boxes: list[tuple[tuple[int, int], tuple[int, int]]],
) -> None:
    boxes = [Box(start, shape) for start, shape in given_boxes]
    elements = [
        (i, j)
        for start, shape in boxes
        for i in range(start[0], start[0] + shape[0])
        for j in range(start[1], start[1] + shape[1])
    ]
    whole = [(i, j) for i in range(4) for j in range(4)]
    if sorted(elements) == whole:
        require_tiling(boxes, (4, 4), MAX_CELLS)
    else:
        with pytest.raises(CorruptCheckpointError):
            require_tiling(boxes, (4, 4), MAX_CELLS)


# The grid that boxes are painted on


def diagonal_cuts(rank: int, size: int) -> list[Box]:
    """The whole box and the cells on its diagonal, which cut it into `size` ** `rank` cells."""
    corners = [Box((i,) * rank, (1,) * rank) for i in range(size)]
    return [Box((0,) * rank, (size,) * rank), *corners]


def test_a_grid_of_too_many_cells_is_refused_before_it_is_made() -> None:
    boxes = diagonal_cuts(8, 30)
    tracemalloc.start()
    try:
        with pytest.raises(CorruptCheckpointError, match=f"cut the tensor into {30**8}") as error:
            require_tiling(boxes, (30,) * 8, max_cells=2**20)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert error.value.expected == f"a tiling of at most {2**20} cells"


def test_the_bound_of_the_grid_is_the_callers_when_that_is_larger() -> None:
    rows = [Box((i, 0), (1, 1100)) for i in range(1099)]
    columns = [Box((1099, j), (1, 1)) for j in range(1100)]
    require_tiling(rows + columns, (1100, 1100), max_cells=1100 * 1100)
    with pytest.raises(CorruptCheckpointError, match="a tiling of at most 1209999 cells"):
        require_tiling(rows + columns, (1100, 1100), max_cells=1100 * 1100 - 1)


def test_a_small_grid_is_always_painted() -> None:
    rows = [Box((i, 0), (1, 1000)) for i in range(999)]
    columns = [Box((999, j), (1, 1)) for j in range(1000)]
    require_tiling(rows + columns, (1000, 1000), max_cells=0)
