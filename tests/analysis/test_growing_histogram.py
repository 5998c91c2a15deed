"""Histograms that are made piece by piece, compared with those of numpy."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptparse.analysis.histogram import GrowingHistogram, count_elements

numbers = st.lists(st.floats(), max_size=40) | st.lists(
    st.sampled_from([0.0, -0.0, 1.0, 1 - 2**-53, 1 + 2**-52, 5e-324, -5e-324, 1e-20, 1e308, -1e308])
)


@given(numbers, st.lists(st.integers(0, 40), max_size=4), st.randoms())
def test_the_pieces_and_their_order_do_not_matter(values, cuts, random) -> None:
    array = np.array(values)
    pieces = np.split(array, sorted(cuts))
    random.shuffle(pieces)
    whole = GrowingHistogram()
    for piece in pieces:
        whole = whole.combine(count_elements(piece))
    assert whole == count_elements(array)
    assert sum(whole.counts) == np.count_nonzero(np.isfinite(array))


@pytest.mark.parametrize("size", [30, 70_000, 600_000])
@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i4", "u1", "bool", "bfloat16"])
def test_the_counts_are_those_of_numpy(dtype: str, size: int) -> None:
    drawn = np.random.default_rng(size).normal(size=size) * 20 + 5
    if dtype == "bool":
        drawn = drawn > 0
    elif dtype[0] in "iu":
        drawn = np.abs(drawn)
    array = drawn.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    found = count_elements(array.reshape(2, -1))
    edges = [each.start for each in found.bins] + [found.bins[-1].stop]
    expected, _ = np.histogram(array.astype("f8"), edges)
    assert list(found.counts) == expected.tolist()
    assert 16 < len(found.counts) <= 32
    assert found.counts[0]
    assert found.counts[-1]


def test_numbers_that_are_not_finite_are_not_counted() -> None:
    assert count_elements(np.float32([np.nan, np.inf, -np.inf])).bins == []
    with_them = count_elements(np.float32([np.nan, 1, 2, np.inf, 3]))
    assert with_them == count_elements(np.float32([1, 2, 3]))
    assert count_elements(np.empty((0, 3))).bins == []


def test_a_single_value() -> None:
    assert [each.size for each in count_elements(np.zeros(9)).bins] == [9]
    assert [each.size for each in count_elements(np.full(9, 3.5)).bins] == [9]


def test_the_whole_range_of_float64() -> None:
    largest = np.finfo("f8").max
    found = count_elements(np.array([-largest, 0, largest]))
    assert sum(found.counts) == 3
    assert len(found.counts) in range(17, 33)
