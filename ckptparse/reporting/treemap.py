"""Arrange scopes as nested rectangles whose areas are in proportion to their bytes.

Each row of rectangles is filled as long as this makes them more like squares: M. Bruls, K. Huizing,
J. J. van Wijk, "Squarified Treemaps", 2000.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ckptparse.reporting.scopes import Scope

NUM_COLORS = 8

HEADER_HEIGHT = 18.0
"""Height of the label of a scope, above the rectangles in it."""

_PADDING = 2.0
_DEEPEST = 3
_SMALLEST_AREA = 250.0
"""Children with a smaller area share one rectangle."""

_NEARLY_ALL = 0.8
"""A scope with this share of the bytes counts as no level, and has no color."""

_SMALLEST_NESTED = 60.0, 44.0
"""Scopes of a smaller width or height are drawn without what is in them."""


class Box(NamedTuple):
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float


class Tile(NamedTuple):
    """A rectangle of a treemap.

    Attributes:
        box: the rectangle.
        scope: what it is; None for several small ones.
        num_tensors: number of tensors in it.
        nbytes: number of their bytes.
        depth: 0 for the outermost ones.
        color: number of its color, which is that of the rectangle around it; None for one that has
            nearly everything in it, so that those in it have different colors.
        has_header: whether it has others inside, below a label.
    """

    box: Box
    scope: Scope | None
    num_tensors: int
    nbytes: int
    depth: int
    color: int | None
    has_header: bool


def squarify(sizes: Sequence[float], box: Box) -> list[Box]:
    """Return rectangles that fill a rectangle, with areas in proportion to sizes.

    Args:
        sizes: positive numbers, the largest first.
        box: the rectangle.

    Examples:
        >>> from ckptparse.reporting.treemap import Box, squarify
        >>> for box in squarify([2, 1, 1], Box(0, 0, 4, 2)):
        ...     print(*box)
        0 0 2.0 2.0
        2.0 0 2.0 1.0
        2.0 1.0 2.0 1.0
    """
    boxes: list[Box] = []
    left = float(sum(sizes))
    start = 0
    while start < len(sizes):
        side = min(box.width, box.height)
        scale = box.width * box.height / left if left else 0.0
        stop = start + 1
        total = sizes[start]
        while stop < len(sizes):
            longer = total + sizes[stop]
            now = _worst(sizes[start], sizes[stop - 1], total, side, scale)
            if _worst(sizes[start], sizes[stop], longer, side, scale) > now:
                break
            total, stop = longer, stop + 1
        share = total / left if left else 0.0
        is_column = box.width >= box.height
        row, box = _cut(box, min(share, 1.0))
        boxes += _fill(row, sizes[start:stop], total, is_column=is_column)
        left -= total
        start = stop
    return boxes


def _worst(largest: float, smallest: float, total: float, side: float, scale: float) -> float:
    """Return the largest ratio of sides in a row, from its extreme sizes and their sum."""
    thickness = total * scale / side if side else 0.0
    if not thickness or not smallest:
        return float("inf")
    longest, shortest = largest * scale / thickness, smallest * scale / thickness
    return max(longest / thickness, thickness / shortest)


def _cut(box: Box, share: float) -> tuple[Box, Box]:
    """Return a part of a rectangle across its shorter side, and the rest."""
    x, y, width, height = box
    if width >= height:
        part = width * share
        return Box(x, y, part, height), Box(x + part, y, width - part, height)
    part = height * share
    return Box(x, y, width, part), Box(x, y + part, width, height - part)


def _fill(row: Box, sizes: Sequence[float], total: float, *, is_column: bool) -> Iterator[Box]:
    """Yield the rectangles of a row."""
    x, y = row.x, row.y
    for size in sizes:
        share = size / total if total else 0.0
        if is_column:
            yield Box(x, y, row.width, row.height * share)
            y += row.height * share
        else:
            yield Box(x, y, row.width * share, row.height)
            x += row.width * share


def arrange(root: Scope, width: float, height: float) -> list[Tile]:
    """Return the tiles of a treemap: outer ones before those in them.

    Tensors without bytes have none.

    Args:
        root: the scope to draw; its children are the outermost rectangles.
        width: width of the treemap.
        height: its height.
    """
    return list(_arrange(root, Box(0.0, 0.0, width, height), 0, None))


def _arrange(scope: Scope, box: Box, depth: int, color: int | None) -> Iterator[Tile]:
    """Yield the tiles of the children of a scope."""
    children = [child for child in scope.children if child.nbytes]
    total = sum(child.nbytes for child in children)
    area = box.width * box.height
    num_shown = sum(child.nbytes / total * area >= _SMALLEST_AREA for child in children)
    shown, others = children[:num_shown], children[num_shown:]
    sizes = [float(child.nbytes) for child in shown]
    if others:
        sizes.append(float(sum(child.nbytes for child in others)))
        order = sorted(range(len(sizes)), key=lambda i: -sizes[i])
    else:
        order = list(range(len(sizes)))
    placed = dict(zip(order, squarify([sizes[i] for i in order], box)))
    for i, child in enumerate(shown):
        child_box = placed[i]
        child_color: int | None = i % NUM_COLORS if color is None else color
        is_all = color is None and child.nbytes >= _NEARLY_ALL * total
        is_nested = (
            child.children
            and depth + 1 < _DEEPEST
            and child_box.width >= _SMALLEST_NESTED[0]
            and child_box.height >= _SMALLEST_NESTED[1]
        )
        if is_nested and is_all:
            child_color = None
        yield Tile(
            child_box, child, child.num_tensors, child.nbytes, depth, child_color, bool(is_nested)
        )
        if is_nested:
            x, y, width, height = child_box
            inner = Box(
                x + _PADDING,
                y + HEADER_HEIGHT,
                width - 2 * _PADDING,
                height - HEADER_HEIGHT - _PADDING,
            )
            yield from _arrange(child, inner, depth if is_all else depth + 1, child_color)
    if others:
        yield Tile(
            placed[num_shown],
            None,
            sum(child.num_tensors for child in others),
            sum(child.nbytes for child in others),
            depth,
            num_shown % NUM_COLORS if color is None else color,
            False,
        )
