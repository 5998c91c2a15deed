"""Count, sum and compare the elements of arrays, piece by piece.

`Moments` of two parts of a tensor, or of two tensors, are added.  The mean and the sum of squared
distances from it are combined as in T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and
a pairwise algorithm for computing sample variances", 1979; so there is no loss of digits if the
mean is much larger than the distances.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ckptparse.sources.parallel import run_on_all_cores

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHUNK_SIZE = 1 << 16
"""Number of elements that are converted to float64 at a time, so that they stay in the cache."""

_LEAST_SHARED_SIZE = 1 << 18
"""Fewer elements than this are not shared between cores."""

_TASK_SIZE = 1 << 20
"""Number of elements that one core takes at a time."""


class Moments(NamedTuple):
    """The extremes, the sums and the counts of some elements.

    Attributes:
        num_finite: number of elements that are neither NaN nor infinite.
        low: the smallest element that is not NaN; an `int` for integers; inf if there is none.
        high: the largest element that is not NaN; -inf if there is none.
        mean: mean of the finite elements, complex for complex numbers.
        squares: sum of the squared distances of the finite elements from the mean.
        num_zeros: number of zeros.
        num_nan: number of NaNs.
        num_inf: number of infinite elements.
    """

    num_finite: int = 0
    low: float = math.inf
    high: float = -math.inf
    mean: complex = 0.0
    squares: float = 0.0
    num_zeros: int = 0
    num_nan: int = 0
    num_inf: int = 0

    def combine(self, other: Moments) -> Moments:
        """Return the moments of the elements of both."""
        size = self.num_finite + other.num_finite
        mean, squares = self.mean, self.squares + other.squares
        if other.num_finite:
            distance = other.mean - self.mean
            share = other.num_finite / size
            mean = self.mean + distance * share
            # Not abs(...) ** 2, which raises OverflowError.
            squared = distance.real * distance.real + distance.imag * distance.imag
            squares += squared * self.num_finite * share
        return Moments(
            size,
            min(self.low, other.low),
            max(self.high, other.high),
            mean,
            squares,
            self.num_zeros + other.num_zeros,
            self.num_nan + other.num_nan,
            self.num_inf + other.num_inf,
        )


def compute_moments(values: NDArray[Any]) -> Moments:
    """Return the moments of the elements of an array of numbers or booleans.

    Large arrays are shared between the cores.

    Args:
        values: an array of any shape.  Complex numbers have no order: their extremes stay infinite.
    """
    flat = values.reshape(-1)
    if flat.size < _LEAST_SHARED_SIZE:
        return _compute(flat)
    starts = range(0, flat.size, _TASK_SIZE)
    parts = run_on_all_cores(
        lambda i: _compute(flat[starts[i] : starts[i] + _TASK_SIZE]), len(starts)
    )
    whole = Moments()
    for part in parts:
        whole = whole.combine(part)
    return whole


def _compute(flat: NDArray[Any]) -> Moments:
    """Return the moments of an array of one dimension, on one core."""
    whole = Moments()
    is_complex = flat.dtype.kind == "c"
    is_of_numpy = flat.dtype.kind in "biuf" and flat.dtype.isbuiltin == 1
    buffer = np.empty(min(flat.size, _CHUNK_SIZE))
    for start in range(0, flat.size, _CHUNK_SIZE):
        chunk = flat[start : start + _CHUNK_SIZE]
        if is_complex:
            part = _compute_complex(chunk)
        else:
            chunk = chunk if is_of_numpy else chunk.astype(_number_type(flat.dtype))
            part = _compute_real(chunk, buffer[: chunk.size])
        whole = whole.combine(part)
    return whole


def _number_type(dtype: np.dtype[Any]) -> type[np.generic]:
    """Return numpy's type that has all values of a type of `ml_dtypes`, which has no minimum."""
    return np.int16 if "int" in dtype.name else np.float32


def _compute_real(chunk: NDArray[Any], numbers: NDArray[np.float64]) -> Moments:
    """Return the moments of a chunk of real numbers or booleans.

    Args:
        chunk: the elements.
        numbers: an array of the same size, to compute in.
    """
    low, high = chunk.min().item(), chunk.max().item()  # NaN if any element is NaN
    num_zeros = 0 if low > 0 or high < 0 else chunk.size - int(np.count_nonzero(chunk))
    np.copyto(numbers, chunk)
    num_nan = num_inf = 0
    if chunk.dtype.kind == "f" and not math.isfinite(high - low):
        missing = np.isnan(numbers)
        num_nan = int(np.count_nonzero(missing))
        numbers = numbers[~missing]
        low = numbers.min().item() if numbers.size else math.inf
        high = numbers.max().item() if numbers.size else -math.inf
        numbers = numbers[np.isfinite(numbers)]
        num_inf = chunk.size - num_nan - numbers.size
    mean, squares = _center(numbers)
    return Moments(numbers.size, low, high, mean, squares, num_zeros, num_nan, num_inf)


def _center(numbers: NDArray[np.float64]) -> tuple[float, float]:
    """Return the mean of numbers, and the sum of the squared distances; changes the array."""
    if not numbers.size:
        return 0.0, 0.0
    with np.errstate(over="ignore"):
        mean = float(numbers.mean())
        numbers -= mean
        np.multiply(numbers, numbers, out=numbers)
        return mean, float(numbers.sum())


def _compute_complex(chunk: NDArray[Any]) -> Moments:
    """Return the moments of a chunk of complex numbers."""
    numbers = chunk.astype(np.complex128)
    missing = np.isnan(numbers)
    finite = numbers[np.isfinite(numbers)]
    num_nan = int(np.count_nonzero(missing))
    real_mean, real_squares = _center(finite.real.copy())
    imag_mean, imag_squares = _center(finite.imag.copy())
    return Moments(
        finite.size,
        mean=complex(real_mean, imag_mean),
        squares=real_squares + imag_squares,
        num_zeros=chunk.size - int(np.count_nonzero(chunk)),
        num_nan=num_nan,
        num_inf=chunk.size - num_nan - finite.size,
    )
