"""Count the elements of an array in ranges of equal width."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHUNK_SIZE = 1 << 18
"""Number of elements that are converted to float64 at a time."""


class Bin(NamedTuple):
    """A range of values, and the number of elements in it.

    Attributes:
        start: the smallest value of the range.
        stop: the end of the range; only the last range includes it.
        size: number of elements in it.
    """

    start: float
    stop: float
    size: int


def compute_histogram(
    values: NDArray[Any], low: float, high: float, num_bins: int = 10
) -> list[Bin]:
    """Return the number of elements in each of several ranges of equal width.

    Elements that are not in any range, such as NaNs and infinite values, are not counted.

    Args:
        values: an array of real numbers or booleans, of any shape.
        low: start of the first range.
        high: end of the last range.
        num_bins: number of ranges; there is only one if `low` and `high` are equal.

    Examples:
        >>> import numpy as np
        >>> from ckptparse.analysis.histogram import compute_histogram
        >>> [each.size for each in compute_histogram(np.float32([0, 1, 1, 4]), 0, 4, 2)]
        [3, 1]
    """
    low, high = float(low), float(high)
    if low == high:
        return [Bin(low, high, int(np.count_nonzero(np.asarray(values) == low)))]
    # Each end is divided before the subtraction, which could overflow.
    edges = [low * (1 - i / num_bins) + high * (i / num_bins) for i in range(num_bins + 1)]
    counts = np.zeros(num_bins, np.int64)
    flat = values.reshape(-1)
    for start in range(0, flat.size, _CHUNK_SIZE):
        chunk = flat[start : start + _CHUNK_SIZE].astype(np.float64)
        counts += np.histogram(chunk[np.isfinite(chunk)], edges)[0]
    return [Bin(*row) for row in zip(edges, edges[1:], counts.tolist())]
