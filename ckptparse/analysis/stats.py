"""Statistics of one tensor."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CHUNK_SIZE = 1 << 20
"""Elements that are converted to float64 at a time."""


def compute_statistics(values: NDArray[Any]) -> dict[str, Any]:
    """Return min, max and mean of numbers, computed in float64.

    Args:
        values: an array of one dimension.

    Returns:
        "min", "max" and "mean" of the elements that are not NaN, and "nan", the number of NaNs, if
        there are any.  Only "mean" for complex numbers; nothing for strings and empty arrays.
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
