"""Count the elements of arrays in ranges of equal width.

`compute_histogram` needs the extremes of the values before it counts.  `GrowingHistogram` does not,
so that a tensor is counted piece by piece in one pass.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ckptparse.sources.parallel import run_on_all_cores

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHUNK_SIZE = 1 << 18
"""Number of elements that are converted to float64 at a time."""

_SMALL_CHUNK_SIZE = 1 << 16
"""Number of elements of which a `GrowingHistogram` is made, so that they stay in the cache."""

_LEAST_SHARED_SIZE = 1 << 18
"""Fewer elements than this are not shared between cores."""

_MOST_BINS = 32
"""The maximum number of bins of a `GrowingHistogram`; it has more than half as many, or one."""

_NARROWER = 60
"""So much smaller than the exponent of a number is that of the width around it alone: the 53 digits
of float64, and those of the number of bins."""

_LEAST_EXPONENT = -1022
"""Exponent of the smallest width, so that its inverse is a finite number of float64."""


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


class GrowingHistogram(NamedTuple):
    """The numbers of elements in ranges whose width is a power of two.

    The range with number i starts at ``i * 2**exponent``.  The width is the smallest one with which
    32 ranges hold all elements.  Two histograms are combined exactly, because ranges of one width
    consist of whole ranges of a smaller one.  So the result depends neither on the pieces in which
    a tensor is counted nor on their order.

    Attributes:
        exponent: the binary logarithm of the width.
        first: number of the first range.
        counts: number of elements in each range; the first and the last one are not 0.
    """

    exponent: int = _LEAST_EXPONENT
    first: int = 0
    counts: tuple[int, ...] = ()

    def combine(self, other: GrowingHistogram) -> GrowingHistogram:
        """Return the histogram of the elements of both."""
        if not self.counts or not other.counts:
            return self if self.counts else other
        exponent = max(self.exponent, other.exponent)
        a, b = self._widen(exponent), other._widen(exponent)
        first = min(a.first, b.first)
        last = max(a.first + len(a.counts), b.first + len(b.counts)) - 1
        while last - first >= _MOST_BINS:
            exponent, first, last = exponent + 1, first >> 1, last >> 1
        counts = [0] * (last - first + 1)
        for part in a._widen(exponent), b._widen(exponent):
            for i, size in enumerate(part.counts, part.first - first):
                counts[i] += size
        return GrowingHistogram(exponent, first, tuple(counts))

    def _widen(self, exponent: int) -> GrowingHistogram:
        """Return the histogram with ranges of a larger width."""
        shift = exponent - self.exponent
        if not shift:
            return self
        first = self.first >> shift
        counts = [0] * (((self.first + len(self.counts) - 1) >> shift) - first + 1)
        for i, size in enumerate(self.counts, self.first):
            counts[(i >> shift) - first] += size
        return GrowingHistogram(exponent, first, tuple(counts))

    @property
    def bins(self) -> list[Bin]:
        """The ranges with their limits."""
        width = 2.0**self.exponent
        return [
            Bin(i * width, (i + 1) * width, size) for i, size in enumerate(self.counts, self.first)
        ]


def count_elements(values: NDArray[Any]) -> GrowingHistogram:
    """Return the histogram of an array; NaNs and infinite values are not counted.

    Large arrays are shared between the cores.

    Args:
        values: an array of real numbers or booleans, of any shape.

    Examples:
        >>> import numpy as np
        >>> from ckptparse.analysis.histogram import count_elements
        >>> found = count_elements(np.arange(64))
        >>> len(found.counts), found.bins[0]
        (32, Bin(start=0.0, stop=2.0, size=2))
        >>> parts = [count_elements(part) for part in np.split(np.arange(64), 4)]
        >>> parts[3].combine(parts[0]).combine(parts[2]).combine(parts[1]) == found
        True
    """
    flat = values.reshape(-1)
    starts = range(0, flat.size, _SMALL_CHUNK_SIZE)

    def count_chunk(i: int) -> GrowingHistogram:
        return _count_chunk(flat[starts[i] : starts[i] + _SMALL_CHUNK_SIZE])

    if flat.size < _LEAST_SHARED_SIZE:
        parts = list(map(count_chunk, range(len(starts))))
    else:
        parts = run_on_all_cores(count_chunk, len(starts))
    whole = GrowingHistogram()
    for part in parts:
        whole = whole.combine(part)
    return whole


def _count_chunk(chunk: NDArray[Any]) -> GrowingHistogram:
    """Return the histogram of a few elements."""
    with np.errstate(all="ignore"):  # some conversions of infinite numbers warn
        numbers = chunk.astype(np.float64)
    low, high = float(numbers.min()), float(numbers.max())  # NaN if any element is NaN
    if not (math.isfinite(low) and math.isfinite(high)):
        numbers = numbers[np.isfinite(numbers)]
        if not numbers.size:
            return GrowingHistogram()
        low, high = float(numbers.min()), float(numbers.max())
    exponent, first, num_bins = _find_ranges(low, high)
    ranges = np.floor(numbers * 2.0**-exponent)
    if low < 0 < exponent:  # the product of a small negative number may be -0.0
        ranges[(ranges == 0) & (numbers < 0)] = -1
    ranges -= first
    counts = np.bincount(ranges.astype(np.intp), minlength=num_bins)
    return GrowingHistogram(exponent, first, tuple(counts.tolist()))


def _find_ranges(low: float, high: float) -> tuple[int, int, int]:
    """Return exponent, number of the first range, and number of the ranges that hold two numbers.

    If the two are equal, the width is smaller than that of any range with another number.
    """
    if low == high:
        exponent = math.frexp(low)[1] - _NARROWER if low else _LEAST_EXPONENT
        exponent = max(exponent, _LEAST_EXPONENT)
        return exponent, _find_range(low, exponent), 1
    # The difference of the halves does not overflow; that of the smallest numbers is 0.
    half = high / 2 - low / 2
    exponent = math.frexp(half)[1] - _MOST_BINS.bit_length() if half else _LEAST_EXPONENT
    exponent = max(exponent, _LEAST_EXPONENT)
    while True:
        first, last = _find_range(low, exponent), _find_range(high, exponent)
        if last - first < _MOST_BINS:
            return exponent, first, last - first + 1
        exponent += 1


def _find_range(number: float, exponent: int) -> int:
    """Return the number of the range that holds a number."""
    return math.floor(number * 2.0**-exponent) or -(number < 0)
