"""The arrangement of the treemap: pure geometry."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptparse.reporting.examination import Row
from ckptparse.reporting.scopes import build_scopes, walk
from ckptparse.reporting.treemap import NUM_COLORS, Box, Tile, arrange, squarify


def row(name: str, nbytes: int, state: str = "intact") -> Row:
    return Row(name, None, "float32", (nbytes // 4,), nbytes // 4, nbytes, None, None, state, None)


def area(box: Box) -> float:
    return box.width * box.height


sizes = st.lists(st.integers(1, 10**9), min_size=1, max_size=40).map(
    lambda found: sorted(map(float, found), reverse=True)
)


@given(sizes, st.integers(1, 2000), st.integers(1, 2000))
def test_the_areas_are_in_proportion(sizes, width: int, height: int) -> None:
    boxes = squarify(sizes, Box(0, 0, width, height))
    assert len(boxes) == len(sizes)
    expected = np.array(sizes) / sum(sizes) * width * height
    np.testing.assert_allclose([area(box) for box in boxes], expected, rtol=1e-6, atol=1e-6)


@given(sizes)
def test_no_two_rectangles_overlap_or_stick_out(sizes) -> None:
    boxes = squarify(sizes, Box(10, 20, 300, 200))
    for i, box in enumerate(boxes):
        assert box.x >= 10 - 1e-6
        assert box.y >= 20 - 1e-6
        assert box.x + box.width <= 310 + 1e-6
        assert box.y + box.height <= 220 + 1e-6
        for other in boxes[:i]:
            width = min(box.x + box.width, other.x + other.width) - max(box.x, other.x)
            height = min(box.y + box.height, other.y + other.height) - max(box.y, other.y)
            assert width < 1e-6 or height < 1e-6


def test_equal_sizes_are_squares() -> None:
    for box in squarify([1.0] * 16, Box(0, 0, 100, 100)):
        assert (box.width, box.height) == pytest.approx((25, 25))


def test_scopes() -> None:
    rows = [
        row("a/b/c/w", 400),
        row("a/b/c/b", 40),
        row("a/x", 100),
        row("a/b", 8, "damaged"),  # a tensor and a scope of one name
        row("top", 4),
    ]
    root = build_scopes(rows)
    assert (root.num_tensors, root.nbytes, root.num_damaged) == (5, 552, 1)
    found = [(depth, each.name, each.num_tensors, each.nbytes) for depth, each in walk(root)]
    assert found == [(0, "a", 4, 548), (1, "a/b/c", 2, 440)]
    assert [each.name for each in root.scopes[0].children] == ["a/b/c", "a/x", "a/b"]


def test_the_suffix_of_object_based_checkpoints_is_no_scope() -> None:
    root = build_scopes([row("model/kernel/.ATTRIBUTES/VARIABLE_VALUE", 4)])
    assert [each.name for _, each in walk(root)] == ["model"]
    (leaf,) = root.scopes[0].children
    assert leaf.label == "kernel"


def test_names_of_many_slashes_make_few_scopes() -> None:
    rows = [row("/".join(f"{i}-{j}" for j in range(1000)), 4) for i in range(2000)]
    assert sum(1 for _ in walk(build_scopes(rows))) <= 12_000
    assert build_scopes([row("/" * 50_000, 4)]).num_tensors == 1


def inside(tile: Tile, outer: Tile) -> bool:
    a, b = tile.box, outer.box
    return (
        b.x - 1e-6 <= a.x
        and b.y - 1e-6 <= a.y
        and a.x + a.width <= b.x + b.width + 1e-6
        and a.y + a.height <= b.y + b.height + 1e-6
    )


def test_tiles() -> None:
    rows = [row(f"net/{layer}/{part}", 1000 * (layer + 1)) for layer in range(9) for part in "abc"]
    rows.append(row("empty", 0))
    tiles = arrange(build_scopes(rows), 1000, 400)
    again = arrange(build_scopes(rows), 1000, 400)
    assert [tile._replace(scope=None) for tile in tiles] == [
        tile._replace(scope=None) for tile in again
    ]
    net, *others = tiles
    assert net.scope is not None
    assert net.scope.name == "net"
    assert (net.has_header, net.color, net.num_tensors) == (True, None, 27)
    layers = [tile for tile in others if tile.depth == 0]
    assert [tile.color for tile in layers] == [i % NUM_COLORS for i in range(9)]
    for layer in layers:
        assert inside(layer, net)
        parts = [tile for tile in others if tile.depth == 1 and inside(tile, layer)]
        assert {tile.color for tile in parts} == {layer.color}
        assert sum(tile.nbytes for tile in parts) in (0, layer.nbytes)


def test_small_ones_share_a_rectangle() -> None:
    rows = [row("large", 10**6), *(row(f"small_{i}", 10) for i in range(1000))]
    large, small = arrange(build_scopes(rows), 1000, 400)
    assert large.scope is not None
    assert (small.scope, small.num_tensors, small.nbytes) == (None, 1000, 10_000)


def test_a_hundred_thousand_tensors_have_few_tiles() -> None:
    rows = [row(f"{i % 7}/{i % 97}/{i}", 4 + i % 5) for i in range(100_000)]
    assert 50 < len(arrange(build_scopes(rows), 1000, 460)) < 3000


def test_long_names_are_not_copied_for_each_scope() -> None:
    """With a copy for each of its scopes, these names of 2 MB would take 40 MB."""
    rows = [row(f"{'x' * 20_000}{i}" + "/s" * 20, 4) for i in range(100)]
    tracemalloc.start()
    try:
        root = build_scopes(rows)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16_000_000
    assert root.num_tensors == 100
    assert {len(scope.name) for _, scope in walk(root)} == {20_039, 20_040}


def test_nothing_to_draw() -> None:
    assert arrange(build_scopes([]), 1000, 400) == []
    assert arrange(build_scopes([row("a", 0), row("b/c", 0)]), 1000, 400) == []
