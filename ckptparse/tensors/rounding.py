"""Round float64 numbers to a narrower type, to the nearest, ties to even."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROUNDED_BY_NUMPY = (np.float16, np.float32, np.float64, np.complex64, np.complex128)


def round_to(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Convert numbers to another dtype, and round each number only once.

    To its own types, numpy rounds once.  To the types of `ml_dtypes`, ``astype`` converts by way of
    float32, and so rounds twice: 1 + 2**-8 + 2**-40 becomes 1 in bfloat16, although 1 + 2**-7 is
    nearer.

    Args:
        values: an array of float64, or of complex128 for a complex dtype.
        dtype: a dtype of real or complex numbers.
    """
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        if dtype.type in _ROUNDED_BY_NUMPY:
            return values.astype(dtype, copy=False)
        return _round_to_odd(values).astype(dtype)


def _round_to_odd(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return float32 numbers that round to any type of `ml_dtypes` as the float64 numbers do.

    Inexact numbers are rounded towards zero, and then their last bit is set.  This bit represents
    all bits that were dropped.  So a number that was not exactly between two numbers of the
    narrower type is not rounded as a tie.  This requires two more bits than the narrower type has;
    float32 has many more.
    """
    narrow = values.astype(np.float32)
    back = narrow.astype(np.float64)
    bits = narrow.view(np.uint32)
    bits -= np.abs(back) > np.abs(values)
    bits |= (back != values) & ~np.isnan(values)
    return narrow
