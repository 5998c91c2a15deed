"""Draw treemaps, histograms and shares as SVG."""

from __future__ import annotations

from collections.abc import Iterator
from unicodedata import east_asian_width

from ckptparse.analysis.histogram import GrowingHistogram
from ckptparse.display.text import count, format_nbytes, printable
from ckptparse.reporting.markup import Markup, element, join, shorten
from ckptparse.reporting.treemap import HEADER_HEIGHT, Tile

_LETTER_WIDTH = 7.0
"""Width of a letter of the labels, which the style sheet makes 11 pixels high."""

_FEWEST_LETTERS = 6
"""A label that would be cut to fewer letters is left out."""

_MARGIN = 4.0
_LINE_HEIGHT = 14.0
_GAP = 1.0

_HISTOGRAM_WIDTH, _HISTOGRAM_HEIGHT = 96, 20


def draw_treemap(tiles: list[Tile], width: float, height: float, name: str) -> Markup:
    """Return a treemap.

    Args:
        tiles: the tiles, outer ones first.
        width: width of the drawing.
        height: height of the drawing.
        name: class of the element.
    """
    return element(
        "svg",
        *(_draw_tile(tile) for tile in tiles),
        class_=f"treemap {name}",
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_label="The scopes and tensors as rectangles, whose areas are in proportion to their"
        " bytes. The section Scopes has the same as text.",
    )


def _draw_tile(tile: Tile) -> Markup:
    x, y, width, height = tile.box
    name = f"{tile.num_tensors:,} smaller" if tile.scope is None else shorten(tile.scope.name)
    size = format_nbytes(tile.nbytes)
    is_tensor = tile.scope is not None and tile.scope.is_tensor
    more = size if is_tensor else f"{count(tile.num_tensors, 'tensor')}, {size}"
    return element(
        "g",
        element("title", f"{name}\n{more}"),
        element(
            "rect",
            x=_round(x + _GAP / 2),
            y=_round(y + _GAP / 2),
            width=_round(max(width - _GAP, 0.1)),
            height=_round(max(height - _GAP, 0.1)),
        ),
        *_draw_labels(tile, size),
        class_=f"c{'' if tile.color is None else tile.color} d{tile.depth}",
        data_find=None if tile.scope is None else shorten(tile.scope.name),
    )


def _draw_labels(tile: Tile, size: str) -> Iterator[Markup]:
    """Yield the label, and the size if there is a place for it."""
    x, y, width, height = tile.box
    label = (
        f"{tile.num_tensors:,} smaller"
        if tile.scope is None
        else printable(shorten(tile.scope.label))
    )
    room = int((width - 2 * _MARGIN) / _LETTER_WIDTH)
    if height < _LINE_HEIGHT + 2 or room < min(_FEWEST_LETTERS, len(label)):
        return
    if tile.has_header:
        whole = f"{label}  {size}"
        fitted = whole if _width(whole) <= room else _fit(label, room)
        yield _draw_text(x, y + HEADER_HEIGHT - 5, fitted)
        return
    yield _draw_text(x, y + _LINE_HEIGHT, _fit(label, room))
    if height >= 2 * _LINE_HEIGHT + 4 and len(size) <= room:
        yield _draw_text(x, y + 2 * _LINE_HEIGHT, size)


def _draw_text(x: float, y: float, text: str) -> Markup:
    return element("text", text, x=_round(x + _MARGIN), y=_round(y))


def _fit(text: str, room: int) -> str:
    """Return a text, or the start and the end of it, not wider than a number of letters."""
    if _width(text[: room + 1]) <= room:
        return text
    start, end = text[: room // 2], text[-((room - 1) // 2) :]
    while _width(start) > room // 2:
        start = start[:-1]
    while _width(end) > (room - 1) // 2:
        end = end[1:]
    return f"{start}…{end}"


def _width(text: str) -> int:
    """Return the width of a text, in letters."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def draw_histogram(histogram: GrowingHistogram) -> Markup:
    """Return a histogram without axes; the numbers beside it tell its extremes."""
    counts = histogram.counts
    most, width = max(counts), _HISTOGRAM_WIDTH / len(counts)
    steps = [f"M0 {_HISTOGRAM_HEIGHT}"]
    for i, size in enumerate(counts):
        # At least one pixel for any elements at all, so that outliers are seen.
        height = max(round(size / most * _HISTOGRAM_HEIGHT), 1) if size else 0
        steps.append(f"V{_HISTOGRAM_HEIGHT - height}H{round((i + 1) * width)}")
    steps.append(f"V{_HISTOGRAM_HEIGHT}z")
    return element(
        "svg",
        element("path", d="".join(steps)),
        class_="histogram",
        viewBox=f"0 0 {_HISTOGRAM_WIDTH} {_HISTOGRAM_HEIGHT}",
        aria_hidden="true",
    )


def draw_share(part: float, whole: float) -> Markup:
    """Return a bar that shows a share, and the share as text."""
    share = part / whole if whole else 0.0
    bar = element(
        "svg",
        element("rect", width=100, height=8, class_="all"),
        element("rect", width=_round(100 * share), height=8),
        class_="share",
        viewBox="0 0 100 8",
        aria_hidden="true",
    )
    return join(bar, " ", f"{share:.1%}")


def _round(number: float) -> str:
    """Return a coordinate with one decimal place."""
    return f"{number:.1f}".removesuffix(".0")
