"""Statistics of tensors and scopes, compared with numpy in float64."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ckptparse import open_checkpoint, stats
from ckptparse.analysis import moments
from ckptparse.analysis.histogram import compute_histogram
from support.oracle import VGG, expected_array, load_case

NUMBERS = st.sampled_from(
    ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", "c8", "c16"]
)


def require_equal(found: Any, values: np.ndarray) -> None:
    """Compare statistics with those that numpy computes from the elements that it may use."""
    is_exact = values.dtype.kind in "iub"
    numbers = values.reshape(-1)
    finite = numbers if is_exact else numbers[np.isfinite(numbers)]
    wide = finite.astype("c16" if values.dtype.kind == "c" else "f8")
    assert (found.size, found.nbytes) == (values.size, values.nbytes)
    assert found.zeros == int((numbers == 0).sum())
    assert found.nan == (0 if is_exact else int(np.isnan(numbers).sum()))
    assert found.inf == values.size - finite.size - found.nan
    present = numbers if is_exact else numbers[~np.isnan(numbers)]
    if values.dtype.kind == "c" or not present.size:
        assert found.min is found.max is None
    else:
        assert (found.min, found.max) == (present.min().item(), present.max().item())
    if not wide.size:
        assert found.mean is found.std is found.norm is None
        return
    scale = float(np.abs(wide).max()) or 1.0
    wide /= scale  # so that squares of large numbers do not overflow in the test
    assert found.mean / scale == pytest.approx(wide.mean(), abs=1e-12)
    assert found.std / scale == pytest.approx(wide.std(), rel=1e-6, abs=1e-9)
    assert found.norm / scale == pytest.approx(float(np.linalg.norm(wide)), rel=1e-6)


def reasonable(values: np.ndarray) -> np.ndarray:
    """Return an array without finite numbers whose squares overflow or underflow in float64."""
    if values.dtype.kind not in "fc":
        return values
    with np.errstate(over="ignore", invalid="ignore"):
        size = np.abs(values.astype("c16" if values.dtype.kind == "c" else "f8"))
    keep = ~np.isfinite(size) | (size == 0) | ((size > 1e-100) & (size < 1e100))
    return np.where(keep, values, np.ones((), values.dtype))


@given(hnp.arrays(NUMBERS, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0)))
def test_every_dtype(values: np.ndarray) -> None:
    values = reasonable(values)
    require_equal(stats({"x": values})["x"], values)


@pytest.mark.parametrize("chunk", [1, 3, 1 << 16])
def test_chunks_are_combined(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments, "_CHUNK_SIZE", chunk)
    values = np.random.default_rng(1).standard_normal(1000) + 1e6
    values[[5, 17]] = np.nan, np.inf
    require_equal(stats({"x": values})["x"], values)


def test_large_arrays_are_shared_between_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments, "_LEAST_SHARED_SIZE", 10)
    monkeypatch.setattr(moments, "_TASK_SIZE", 7)
    values = np.random.default_rng(2).standard_normal((50, 3)).astype("f4")
    require_equal(stats({"x": values})["x"], values)


def test_a_large_mean_costs_no_digits() -> None:
    values = np.arange(1000, dtype="f8") % 2 + 1e9
    assert stats({"x": values})["x"].std == pytest.approx(0.5, rel=1e-9)


@pytest.mark.parametrize("mean", [0.0, 5.0, 40.0, 1e5])  # around the limit of `_LEAST_SPREAD`
@pytest.mark.parametrize("size", [8191, 8192, 8193, 70_000, 300_000])  # whole rows and rests
def test_sums_of_rows(size: int, mean: float) -> None:
    values = np.random.default_rng(size).standard_normal(size) + mean
    found = stats({"x": values})["x"]
    assert found.mean == pytest.approx(values.mean(), rel=1e-12, abs=1e-14)
    assert found.std == pytest.approx(values.std(), rel=1e-12)
    assert found.norm == pytest.approx(float(np.linalg.norm(values)), rel=1e-12)


def test_squares_beyond_float64() -> None:
    values = np.full(5000, 1e200)
    values[0] = 1e199
    found = stats({"x": values})["x"]
    assert found.std == found.norm == math.inf
    assert found.mean == pytest.approx(values.mean())


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2", "int4", "uint4"])
def test_small_dtypes(name: str) -> None:
    values = np.arange(8).astype(getattr(ml_dtypes, name))
    found = stats({"x": values})["x"]
    assert (found.min, found.max, found.zeros) == (0, 7, 1)
    assert found.mean == pytest.approx(values.astype("f8").mean())
    assert isinstance(found.max, int) == ("int" in name)


@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", "i8", "u4"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_byte_order_of_its_own(order: str, dtype: str) -> None:
    """`dtype.isbuiltin` is 0 for these, and V1 gives such arrays."""
    values = (np.arange(1, 40) * 1.1).astype(dtype)
    require_equal(stats({"x": values.astype(values.dtype.newbyteorder(order))})["x"], values)
    largest = np.array([np.finfo("f8").max, -1]).astype(np.dtype("f8").newbyteorder(order))
    assert stats({"x": largest})["x"].max == np.finfo("f8").max


def test_doubles_of_v1() -> None:
    case = load_case("tf-2.21.0/v1_dtypes")
    values = expected_array(case, "float64/vector")
    found = stats(case.path)["float64/vector"]
    assert found.inf == np.isinf(values).sum() == 2
    assert found.mean == pytest.approx(values[np.isfinite(values)].mean())
    assert found.zeros == (values == 0).sum()


def test_a_checkpoint_and_its_path_give_the_same() -> None:
    with open_checkpoint(VGG.prefix) as ckpt:
        report = stats(ckpt)
        assert list(report) == list(ckpt)
    assert dict(report) == dict(stats(VGG.prefix))
    for name, found in report.items():
        require_equal(found, expected_array(VGG, name))


@pytest.mark.parametrize(
    "values",
    [
        np.array(["2020-01-01"], "M8[D]"),
        np.zeros(2, [("a", "i4")]),
        np.zeros(2, "V2"),
        np.array(["a", "bc"]),
        np.array([b"a"]),
    ],
    ids=lambda values: values.dtype.kind,
)
def test_what_is_no_number_has_no_statistics(values: np.ndarray) -> None:
    found = stats({"x": values})["x"]
    assert (found.size, found.nbytes) == (values.size, values.nbytes)
    assert found.min is found.max is found.mean is found.remark is None


def test_tensors_that_cannot_be_read_are_named() -> None:
    case = load_case("tf-2.21.0/variants")
    report = stats(case.prefix)
    assert set(report.not_read) == {
        tensor.name for tensor in case.tensors if tensor.dtype == "variant"
    }
    assert set(report) == {tensor.name for tensor in case.tensors} - set(report.not_read)
    assert report.not_read


def test_scopes_and_the_total() -> None:
    report = stats(VGG.prefix)
    arrays = {name: expected_array(VGG, name) for name in report}
    for scope, found in report.scopes.items():
        members = [array for name, array in arrays.items() if name.startswith(f"{scope}/")]
        assert found.num_tensors == len(members)
        require_equal(found, np.concatenate([array.reshape(-1) for array in members]))
    assert sorted(report.scopes) == list(report.scopes)
    assert report.total.num_tensors == len(arrays)
    assert report.total.size == sum(array.size for array in arrays.values())


def test_strings_are_counted_only() -> None:
    report = stats({"s": np.array([b"a", b"b"], object), "x": np.ones(3)})
    assert report["s"].size == 2
    assert report["s"].min is report["s"].mean is None
    assert (report.total.size, report.total.mean) == (5, 1.0)


@pytest.mark.parametrize(
    ("values", "remark"),
    [
        ([0.0, 0.0], "all zero"),
        ([2.0, 2.0], "all equal"),
        ([np.nan, np.nan], "all NaN"),
        ([np.nan, 1.0], "NaN"),
        ([np.inf, 1.0], "inf"),
        ([1.0, 2.0], None),
        ([0.0], None),
    ],
)
def test_remarks(values: list[float], remark: str | None) -> None:
    report = stats({"x": values})
    assert report["x"].remark == remark
    assert report.remarks == ({} if remark is None else {"x": remark})


def test_progress_ends_at_the_total() -> None:
    calls: list[tuple[int, int | None]] = []
    with open_checkpoint(VGG.prefix) as ckpt:
        stats(ckpt, progress=lambda done, total: calls.append((done, total)))
        nbytes = sum(info.nbytes for info in ckpt.infos())
    assert calls[-1] == (nbytes, nbytes)
    assert len(calls) == len(VGG.tensors)


def test_many_slashes_give_few_scopes() -> None:
    names = [f"{i}/" + "/".join("abcdefghij" * 30) for i in range(1000)]
    assert len(stats(dict.fromkeys(names[:200], np.zeros(1))).scopes) <= 20 * 200
    assert len(stats(dict.fromkeys(names, np.zeros(1))).scopes) <= 11_000


@given(hnp.arrays("f8", st.integers(1, 50), elements=st.floats(-1e6, 1e6)), st.integers(1, 12))
def test_a_histogram_is_that_of_numpy(values: np.ndarray, num_bins: int) -> None:
    low, high = values.min().item(), values.max().item()
    bins = compute_histogram(values, low, high, num_bins)
    assert sum(each.size for each in bins) == values.size
    if low == high:
        assert len(bins) == 1
        return
    counts, edges = np.histogram(values, [each.start for each in bins] + [high])
    assert [each.size for each in bins] == counts.tolist()
    assert math.isclose(edges[0], low)
    assert len(bins) == num_bins
