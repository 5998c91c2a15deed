"""Count, sum and compare the elements of arrays, piece by piece.

`Moments` of two parts of a tensor, or of two tensors, are added.  The mean and the sum of squared
distances from it are combined as in T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and
a pairwise algorithm for computing sample variances", 1979; so there is no loss of digits if the
mean is much larger than the distances.
"""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ckptparse.analysis.products import dot
from ckptparse.sources.parallel import run_on_all_cores

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHUNK_SIZE = 1 << 18
"""Number of elements that are converted to float64 at a time, so that they stay in the cache.  With
shorter calls of numpy, the threads wait more often for the interpreter's lock."""

_LEAST_SHARED_SIZE = 1 << 18
"""Fewer elements than this are not shared between cores."""

_TASK_SIZE = 1 << 20
"""Number of elements that one core takes at a time."""

_LEAST_SPREAD = 1e-3
"""If the sum of squared distances from the mean is a smaller part of the sum of squares, their
difference would lose more than three of the 16 digits of float64."""


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
        if not self.num_finite:
            mean = other.mean
        elif other.num_finite:
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
    is_of_numpy = flat.dtype.isbuiltin != 2  # 2: of ml_dtypes; 0: with a byte order of its own
    with np.errstate(all="ignore"):  # some builds of BLAS set flags without a reason
        for start in range(0, flat.size, _CHUNK_SIZE):
            chunk = flat[start : start + _CHUNK_SIZE]
            if is_complex:
                part = _compute_complex(chunk)
            else:
                chunk = chunk if is_of_numpy else chunk.astype(_number_type(flat.dtype))
                part = _compute_real(chunk)
            whole = whole.combine(part)
    return whole


def _number_type(dtype: np.dtype[Any]) -> type[np.generic]:
    """Return numpy's type that has all values of a type of `ml_dtypes`, which has no minimum."""
    return np.int16 if "int" in dtype.name else np.float32


class _Scratch(threading.local):
    """Memory for a chunk; each thread has its own, as getting it anew takes as long as its use."""

    def __init__(self) -> None:
        self._numbers = np.empty(0)
        self._are_zeros = np.empty(0, bool)

    def arrays(self, size: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return an array for numbers, and one for booleans, of a size."""
        if self._numbers.size < size:
            self._numbers = np.empty(size)
            self._are_zeros = np.empty(size, bool)
        return self._numbers[:size], self._are_zeros[:size]


_scratch = _Scratch()


def _compute_real(chunk: NDArray[Any]) -> Moments:
    """Return the moments of a chunk of real numbers or booleans."""
    size = chunk.size
    numbers, are_zeros = _scratch.arrays(size)
    # NaN if any element is NaN.  The methods min and max are Python functions, and slower.
    low, high = np.minimum.reduce(chunk).item(), np.maximum.reduce(chunk).item()
    num_zeros = 0
    if not (low > 0 or high < 0):
        # For floats this is twice as fast as to count their nonzero elements.
        num_zeros = int(np.count_nonzero(np.equal(chunk, 0, out=are_zeros)))
    np.copyto(numbers, chunk)
    num_nan = num_inf = 0
    if chunk.dtype.kind == "f" and not math.isfinite(high - low):
        missing = np.isnan(numbers)
        num_nan = int(np.count_nonzero(missing))
        numbers = numbers[~missing]
        low = numbers.min().item() if numbers.size else math.inf
        high = numbers.max().item() if numbers.size else -math.inf
        numbers = numbers[np.isfinite(numbers)]
        num_inf = size - num_nan - numbers.size
    mean, squares = _center(numbers)
    return Moments(numbers.size, low, high, mean, squares, num_zeros, num_nan, num_inf)


def _center(numbers: NDArray[np.float64]) -> tuple[float, float]:
    """Return the mean of finite numbers, and the sum of the squared distances from it."""
    if not numbers.size:
        return 0.0, 0.0
    mean = float(np.add.reduce(numbers)) / numbers.size
    sum_of_squares = dot(numbers, numbers)
    squares = sum_of_squares - numbers.size * mean * mean
    if _LEAST_SPREAD * sum_of_squares < squares < math.inf:
        return mean, squares
    numbers = numbers - mean
    return mean, dot(numbers, numbers)


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
