"""The same work with several numbers of tensors and of bytes, for a plot."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from benchmarks.data import Layers
from benchmarks.row import OURS, Row
from benchmarks.rows.listing import listing
from benchmarks.rows.lookup import lookup
from benchmarks.rows.read_all import read_all

NUMBERS_OF_TENSORS = (1_000, 10_000, 100_000, 1_000_000)
NUMBERS_OF_BYTES = (10_000_000, 100_000_000, 1_000_000_000, 4_000_000_000)


@dataclass(frozen=True)
class Point:
    """One point of each line of a panel.

    Attributes:
        panel: the kind of work.
        axis: the unit of `x`.
        x: number of tensors or bytes.
        row: the row that measures it, with ckptparse and with the faster way of TensorFlow.
    """

    panel: str
    axis: Literal["tensors", "bytes"]
    x: int
    row: Row


def growth_points(scale: float) -> list[Point]:
    """Return all points.

    `scale` multiplies the numbers of tensors and bytes.  The names always have the full size.
    """
    points = []
    for count in NUMBERS_OF_TENSORS:
        scaled = max(round(count * scale), 10)
        row = listing(f"growth_list_{count}", scaled)
        row = _between(row, "TensorFlow shape and dtype maps")
        points.append(Point("names, shapes and dtypes of all", "tensors", scaled, row))
        row = _between(lookup(f"growth_lookup_{count}", scaled), "TensorFlow load_checkpoint")
        points.append(Point("open + one lookup", "tensors", scaled, row))
    for nbytes in NUMBERS_OF_BYTES:
        data = Layers(max(round(nbytes * scale), 10))
        row = _between(read_all(f"growth_read_{nbytes}", data), "TensorFlow RestoreV2")
        x = sum(tensor.nbytes for tensor in data)
        points.append(Point("all tensors read and verified", "bytes", x, row))
    return points


def _between(row: Row, rival: str) -> Row:
    """Return the row with only ckptparse and one rival."""
    return replace(
        row, contenders=(row.contender(OURS), row.contender(rival)), rounds=min(row.rounds, 5)
    )
