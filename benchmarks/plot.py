"""Draw the plot of `growth`: a panel for each kind of work, a line for each contender.

Both axes are logarithmic.  Only this module needs matplotlib.  The same numbers give the same file:
it has no date and no random ids, and letters are text.  The colours are readable on white and on
black; the background is transparent.  The panels are one below the other, 360 units wide as the
diagrams: on a phone, one unit is one pixel.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.row import OURS

_INK = "#7c828b"
_PANEL_INCHES = (5, 3)  # an inch has 72 units
_FONT_SIZE = 13
_COLOURS = {OURS: "#2f86e0", "TensorFlow": "#e0721a"}
_STYLE = {
    "svg.hashsalt": "growth",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": _FONT_SIZE,
    "axes.titlesize": _FONT_SIZE,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}
_UNITS = {
    "tensors": ((1e6, "{:g} million"), (1, "{:,.0f}")),
    "bytes": ((1e9, "{:g} GB"), (1e6, "{:g} MB"), (1e3, "{:g} kB"), (1, "{:g} B")),
    "seconds": ((1, "{:g} s"), (1e-3, "{:g} ms"), (1e-6, "{:g} µs"), (1e-9, "{:g} ns")),
}


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw the results of `growth` into a file; its suffix decides the format."""
    panels: dict[str, list[dict[str, Any]]] = {}
    for row in results["rows"]:
        panels.setdefault(row["panel"], []).append(row)
    with matplotlib.rc_context(_STYLE):
        width, height = _PANEL_INCHES
        figure = Figure(figsize=(width, height * len(panels)), layout="constrained")
        figure.get_layout_engine().set(h_pad=0.12)
        all_axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
        for axes, (title, rows) in zip(all_axes, panels.items()):
            _draw_panel(axes, title, rows)
        metadata = {"Date": None, "Creator": None} if path.suffix == ".svg" else None
        figure.savefig(path, transparent=True, dpi=100, metadata=metadata)


def _draw_panel(axes: Axes, title: str, rows: list[dict[str, Any]]) -> None:
    rows = sorted(rows, key=lambda row: int(row["x"]))
    axis = rows[0]["axis"]
    x = [row["x"] for row in rows]
    lines = {}
    for i, contender in enumerate(rows[0]["contenders"]):
        label = OURS if contender["name"] == OURS else contender["name"].split()[0]
        lines[label] = [row["contenders"][i] for row in rows]
    axes.set(xscale="log", yscale="log")
    axes.set_title(title, loc="left", pad=14)
    last = {label: line[-1]["median"] for label, line in lines.items()}
    for label, line in lines.items():
        colour = _COLOURS[label]
        medians = [point["median"] for point in line]
        axes.plot(x, medians, color=colour, marker="o", markersize=4, linewidth=2)
        axes.vlines(x, [p["min"] for p in line], [p["max"] for p in line], colour, linewidth=1)
        is_upper = last[label] == max(last.values())
        axes.annotate(
            label,
            (x[-1], medians[-1]),
            xytext=(8, 3 if is_upper else -3),
            textcoords="offset points",
            va="bottom" if is_upper else "top",
            annotation_clip=False,
            color=colour,
            fontweight="bold",
        )
    axes.set_xticks(x, [_render(number, axis) for number in x])
    axes.set_xlabel(axis if axis == "tensors" else "")
    axes.yaxis.set_major_formatter(lambda seconds, _: _render(seconds, "seconds"))
    axes.minorticks_off()
    axes.margins(y=0.15)
    axes.grid(axis="y", color=_INK, alpha=0.25, linewidth=0.8)
    axes.tick_params(length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _render(number: float, unit: str) -> str:
    """Return a number in the largest unit in which it is at least 1."""
    units = _UNITS[unit]
    # Ticks are computed, so 0.001 may be a little smaller.
    factor, text = next((each for each in units if number >= each[0] * 0.999), units[-1])
    digits = float(f"{number / factor:.2g}") if unit != "tensors" else number / factor
    return text.format(digits)
