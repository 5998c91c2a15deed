"""Add the products of the elements of two arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROW_SIZE = 1 << 13
"""Number of products that are added in one call; libraries start threads for 10,000 or more."""


def dot(x: NDArray[Any], y: NDArray[Any]) -> float:
    """Return the sum of products; real and imaginary parts count as separate numbers.

    The sums of short rows are added.  For long ones, `numpy.dot` may start threads of its own, and
    then its result depends on their number.

    Args:
        x: a contiguous array of one dimension, of float64 or complex128.
        y: another one of the same size and dtype.
    """
    x, y = x.view(np.float64), y.view(np.float64)
    whole = x.size - x.size % _ROW_SIZE
    if not whole:  # also saves time with many small tensors
        return float(np.dot(x, y))
    rows = x[:whole].reshape(-1, 1, _ROW_SIZE), y[:whole].reshape(-1, _ROW_SIZE, 1)
    return float(np.matmul(*rows).sum() + np.dot(x[whole:], y[whole:]))
