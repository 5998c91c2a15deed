"""Compute statistics of one tensor."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CHUNK_SIZE = 1 << 20
"""Number of elements that are converted to float64 at a time."""


def compute_statistics(values: NDArray[Any]) -> dict[str, Any]:
    """Return the minimum, maximum and mean of an array, ignoring NaNs.

    Floats are compared and summed in float64.  Integers and booleans are compared exactly; their
    sums are float64, too.

    Args:
        values: an array of one dimension, of any dtype.

    Returns:
        "min", "max" and "mean" of the elements that are not NaN, and "nan", the number of NaNs, if
        there are any.  Only "mean" for complex numbers; {} for strings and empty arrays.

    Examples:
        >>> import numpy as np
        >>> from ckptparse.analysis.stats import compute_statistics
        >>> compute_statistics(np.float32([1, np.nan, 4]))
        {'min': 1.0, 'max': 4.0, 'mean': 2.5, 'nan': 1}
    """
    if values.dtype == object or not len(values):
        return {}
    exact = values.dtype.kind in "iub"
    if values.dtype.kind == "c":
        with np.errstate(invalid="ignore"):  # inf - inf
            return {"mean": complex(values.mean(dtype=np.complex128))}
    low, high, total, num_nan = math.inf, -math.inf, 0.0, 0
    for start in range(0, len(values), _CHUNK_SIZE):
        chunk = values[start : start + _CHUNK_SIZE]
        if not exact:
            chunk = chunk.astype(np.float64)
            missing = np.isnan(chunk)
            num_nan += int(missing.sum())
            chunk = chunk[~missing]
        if len(chunk):
            low, high = min(low, chunk.min().item()), max(high, chunk.max().item())
            with np.errstate(invalid="ignore"):  # inf - inf
                total += float(chunk.sum(dtype=np.float64))
    num_numbers = len(values) - num_nan
    found: dict[str, Any] = {}
    if num_numbers:
        found = {"min": low, "max": high, "mean": total / num_numbers}
    return {**found, "nan": num_nan} if num_nan else found
