"""float64 numbers rounded once, beside the nearest of all numbers of the narrower type."""

from __future__ import annotations

from functools import lru_cache

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptparse.tensors.rounding import round_to

NARROW = [
    "float16",
    "bfloat16",
    "float8_e5m2",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e4m3b11fnuz",
    "float8_e5m2fnuz",
    "float4_e2m1fn",
]


def dtype_of(name: str) -> np.dtype:
    return np.dtype(getattr(ml_dtypes, name, name))


@lru_cache(maxsize=None)
def finite_values(dtype: np.dtype) -> np.ndarray:
    """All finite numbers of a type, sorted; of both zeros one."""
    bits = np.arange(2 ** min(8 * dtype.itemsize, 16)).astype(f"u{dtype.itemsize}")
    if dtype.name == "float4_e2m1fn":
        bits = bits[:16]
    with np.errstate(invalid="ignore"):  # signalling NaNs
        values = bits.view(dtype).astype(np.float64)
    return np.unique(values[np.isfinite(values)])


def is_even(value: float, dtype: np.dtype) -> bool:
    return not np.array([value]).astype(dtype).view(f"u{dtype.itemsize}")[0] & 1


@pytest.mark.parametrize("name", NARROW)
def test_ties_and_their_neighbours(name: str) -> None:
    """Between two neighbours, the middle goes to the even one, and what is beside it does not."""
    dtype = dtype_of(name)
    values = finite_values(dtype)
    low, high = values[:-1], values[1:]
    middle = low + (high - low) / 2  # exact in float64
    below, above = np.nextafter(middle, -np.inf), np.nextafter(middle, np.inf)
    even = np.array([a if is_even(a, dtype) else b for a, b in zip(low, high)])
    np.testing.assert_array_equal(round_to(below, dtype).astype(np.float64), low)
    np.testing.assert_array_equal(round_to(above, dtype).astype(np.float64), high)
    np.testing.assert_array_equal(round_to(middle, dtype).astype(np.float64), even)
    np.testing.assert_array_equal(round_to(values, dtype).astype(np.float64), values)


@pytest.mark.parametrize("name", NARROW)
@given(numbers=st.lists(st.floats(-1, 1), min_size=1))
def test_the_nearest(name: str, numbers: list[float]) -> None:
    dtype = dtype_of(name)
    values = finite_values(dtype)
    numbers = [x * values[-1] for x in numbers] + numbers
    rounded = round_to(np.array(numbers), dtype).astype(np.float64)
    for number, result in zip(numbers, rounded):
        assert abs(result - number) == np.min(np.abs(values - number))


@pytest.mark.parametrize("name", ["float32", "float64", *NARROW[:3]])
def test_nan_and_infinities(name: str) -> None:
    rounded = round_to(np.array([np.nan, np.inf, -np.inf, 1e308, -0.0]), dtype_of(name))
    largest = 1e308 if name == "float64" else np.inf
    numbers = rounded.astype(np.float64)
    np.testing.assert_array_equal(numbers, [np.nan, np.inf, -np.inf, largest, 0])
    assert np.signbit(numbers[-1])


def test_complex_numbers() -> None:
    rounded = round_to(np.array([0.1 + 1e300j]), np.dtype(np.complex64))
    assert rounded.real == np.float32(0.1)
    assert np.isinf(rounded.imag)


def test_dtypes_of_the_other_byte_order() -> None:
    rounded = round_to(np.array([1 + 2**-24 + 2**-40]), np.dtype(">f4"))
    assert rounded == 1 + 2**-23
