"""Differences of arrays beside numpy's, and beside exact arithmetic of Python."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptparse import diff
from ckptparse.analysis import comparison
from ckptparse.analysis.comparison import Comparison, Tolerances, compare_arrays

FLOATS = ["float16", "float32", "float64", "bfloat16", "float8_e5m2", "float8_e4m3fn"]
FLOATS += ["float8_e5m2fnuz", "float8_e4m3fnuz", "float8_e4m3b11fnuz", "float4_e2m1fn"]
COMPLEX = ["complex64", "complex128"]
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"]
INTEGERS += ["int4", "uint4", "int2", "uint2"]
BITS = {"bool": 1, "int4": 4, "uint4": 4, "int2": 2, "uint2": 2, "float4_e2m1fn": 4}
SPECIAL = [0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, 1e-310, 1e300]
EXACT = Tolerances(0, 0)


def dtype_of(name: str) -> np.dtype:
    return np.dtype(getattr(ml_dtypes, name, name))


def random_array(random: np.random.Generator, name: str, size: int) -> np.ndarray:
    """Random bits; of floating-point numbers also small and special ones."""
    dtype = dtype_of(name)
    raw = random.integers(0, 256, size * dtype.itemsize, np.uint8)
    raw &= (1 << BITS.get(name, 8)) - 1
    array = raw.view(dtype)
    if name in FLOATS + COMPLEX:
        with np.errstate(over="ignore"):
            array[::3] = random.standard_normal(array[::3].shape).astype(dtype)
            for part in (array.real, array.imag) if name in COMPLEX else (array,):
                part[1::5] = random.choice(SPECIAL, part[1::5].shape).astype(part.dtype)
    return array


@st.composite
def pairs(draw: st.DrawFn, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays of one dtype and size, of which some elements are equal."""
    name = draw(st.sampled_from(names))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    size = draw(st.integers(0, 40))
    a, other = (random_array(random, name, size) for _ in range(2))
    b = a.copy()
    changed = random.random(size) < draw(st.sampled_from([0.0, 0.1, 1.0]))
    b[changed] = other[changed]
    return a, b


def widened(array: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # some kinds of NaN
        return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


TOLERANCES = st.sampled_from([EXACT, Tolerances(0.1, 0), Tolerances(0, 0.5), Tolerances(1e-3, 10)])


def cosine_of(x: np.ndarray, y: np.ndarray) -> float | None:
    """The cosine, over the pairs of finite numbers."""
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite], y[finite]
    norms = np.linalg.norm(x) * np.linalg.norm(y)
    return float(np.vdot(x, y).real / norms) if 0 < norms < math.inf else None


def assert_cosine(found: Comparison, x: np.ndarray, y: np.ndarray) -> None:
    with np.errstate(all="ignore"):
        expected = cosine_of(x, y)
    if expected is not None and math.isfinite(expected) and found.cosine is not None:
        assert found.cosine == pytest.approx(expected, abs=1e-9)
    moderate = np.abs(np.concatenate([x, y])[np.isfinite(np.concatenate([x, y]))])
    if moderate.size and 1e-100 < moderate.max() < 1e100 and expected is not None:
        assert found.cosine is not None


class TestFloats:
    @given(pairs(FLOATS + COMPLEX), TOLERANCES)
    def test_like_numpy(self, arrays: tuple[np.ndarray, np.ndarray], tolerances: Tolerances):
        a, b = arrays
        found = compare_arrays(a, b, tolerances)
        x, y = widened(a), widened(b)
        nan_x, nan_y = np.isnan(x), np.isnan(y)
        with np.errstate(all="ignore"):
            finite = np.isfinite(x) & np.isfinite(y)
            close = (x == y) | (nan_x & nan_y)  # numpy 1.22 takes all infinite complex ones as NaN
            close[finite] = np.isclose(x[finite], y[finite], *tolerances)
            if a.dtype.kind != "c":
                assert (close == np.isclose(x, y, *tolerances, equal_nan=True)).all()
            absolute = np.where(x == y, 0, np.abs(x - y))[~(nan_x | nan_y)]
            sizes = np.maximum(np.abs(x), np.abs(y))[~(nan_x | nan_y)]
            relative = np.where(absolute == 0, 0, absolute / sizes)
            relative[np.isinf(sizes) & (absolute != 0)] = math.inf
            absolute[np.isinf(sizes) & (absolute != 0)] = math.inf
        assert found.num_different == np.count_nonzero(~close)
        assert found.max_absolute == absolute.max(initial=0)
        assert found.max_relative == pytest.approx(relative.max(initial=0), rel=1e-12)
        assert found.num_nan_a == np.count_nonzero(nan_x)
        assert found.num_nan_b == np.count_nonzero(nan_y)
        assert found.num_nan_both == np.count_nonzero(nan_x & nan_y)
        assert_cosine(found, x, y)

    @given(pairs(FLOATS + COMPLEX))
    def test_the_distance_is_that_of_norms(self, arrays: tuple[np.ndarray, np.ndarray]):
        x, y = map(widened, arrays)
        found = compare_arrays(*arrays, EXACT)
        equal = (x == y) | (np.isnan(x) & np.isnan(y))
        finite = np.isfinite(x) & np.isfinite(y)
        with np.errstate(all="ignore"):
            norms = [float(np.sqrt((np.abs(v[finite]) ** 2).sum())) for v in (x - y, x, y)]
        if not (equal | finite).all() or norms[0] == math.inf:
            assert found.distance == math.inf
        elif 1e-100 < max(norms) < math.inf:
            assert found.distance == pytest.approx(norms[0] / max(norms[1:]), rel=1e-9)

    def test_nan_is_equal_to_nan_and_counted(self) -> None:
        a = np.float32([np.nan, np.nan, 1, np.inf])
        found = compare_arrays(a, np.float32([np.nan, 2, np.nan, np.inf]), EXACT)
        assert (found.num_different, found.max_absolute, found.distance) == (2, 0, math.inf)
        assert (found.num_nan_a, found.num_nan_b, found.num_nan_both) == (2, 2, 1)
        assert compare_arrays(a, a.copy(), EXACT).num_nan_both == 2

    def test_other_bits_of_nan_and_of_zero_are_equal(self) -> None:
        a = np.array([0x7FC00000, 0x00000000], np.uint32).view(np.float32)
        b = np.array([0xFFC00001, 0x80000000], np.uint32).view(np.float32)
        assert compare_arrays(a, b, EXACT).num_different == 0

    def test_chunks_add_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        random = np.random.default_rng(0)
        a = random_array(random, "float32", 1000)
        b = np.where(random.random(1000) < 0.5, a, random_array(random, "float32", 1000))
        whole = compare_arrays(a, b, EXACT)
        monkeypatch.setattr(comparison, "_CHUNK_SIZE", 7)
        chunks = compare_arrays(a, b, EXACT)
        assert chunks._replace(dot=0, square_a=0, square_b=0, square=0) == whole._replace(
            dot=0, square_a=0, square_b=0, square=0
        )
        assert chunks.square == pytest.approx(whole.square, rel=1e-12)
        assert chunks.cosine == pytest.approx(whole.cosine, rel=1e-12)

    def test_small_and_large_numbers(self) -> None:
        """One side does not cancel the other in the cosine, nor do denormal numbers divide by 0."""
        found = compare_arrays(np.float64([5]), np.float64([4e18]), EXACT)
        assert found.cosine == pytest.approx(1)
        found = compare_arrays(np.float64([5e-324, 0]), np.float64([0, 0]), EXACT)
        assert (found.num_different, found.max_relative) == (1, 1)


class TestIntegers:
    @given(st.data(), TOLERANCES)
    def test_exactly_as_python(self, data: st.DataObject, tolerances: Tolerances) -> None:
        """Integers of any two types, and of mixed signs."""
        names = [data.draw(st.sampled_from(INTEGERS)) for _ in range(2)]
        random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
        a, b = (random_array(random, name, 20) for name in names)
        if names[0] == names[1]:
            b[::2] = a[::2]
        found = compare_arrays(a, b, tolerances)
        x, y = ([int(v) for v in each.tolist()] for each in (a, b))
        absolute = [abs(i - j) for i, j in zip(x, y)]
        assert found.max_absolute == max(absolute)
        assert isinstance(found.max_absolute, int)
        most = [tolerances.atol + tolerances.rtol * abs(j) for j in y]
        assert found.num_different == sum(d > m for d, m in zip(absolute, most))
        relative = [d / max(abs(i), abs(j)) if d else 0 for i, j, d in zip(x, y, absolute)]
        assert found.max_relative == pytest.approx(max(relative), rel=1e-12)
        assert_cosine(found, np.float64(x), np.float64(y))

    @pytest.mark.parametrize(
        ("a", "b"),
        [
            (np.uint64(2**64 - 1), np.int64(-(2**63))),
            (np.uint64(2**63), np.int64(-(2**63))),
            (np.uint64(2**64 - 1), np.int64(-1)),
            (np.uint64(2**53 + 1), np.int64(2**53)),
            (np.int64(2**63 - 1), np.int64(-(2**63))),
            (np.uint64(2**64 - 1), np.uint64(2**64 - 2)),
            (np.int64(2**53), np.int64(2**53 + 1)),
        ],
        ids=str,
    )
    def test_far_apart_and_near(self, a: Any, b: Any) -> None:
        for one, other in (a, b), (b, a):
            found = compare_arrays(np.array([one]), np.array([other]), EXACT)
            assert (found.num_different, found.max_absolute) == (1, abs(int(a) - int(b)))


@pytest.mark.parametrize("name", ["float32", "int64", "uint64", "complex64", "int16"])
@pytest.mark.parametrize("orders", ["><", "<>", ">>"])
def test_byte_orders(name: str, orders: str) -> None:
    random = np.random.default_rng(0)
    a, b = (random_array(random, name, 50) for _ in range(2))
    b[::2] = a[::2]
    with np.errstate(invalid="ignore"):
        swapped = [each.astype(each.dtype.newbyteorder(o)) for each, o in zip((a, b), orders)]
    found = compare_arrays(swapped[0], swapped[1], EXACT)
    assert found._replace(rounded_a=True, rounded_b=True) == compare_arrays(a, b, EXACT)


def test_arrays_that_are_not_contiguous() -> None:
    a = np.arange(200.0).reshape(10, 20)
    b = a + (a == 42)
    (change,) = diff({"x": a.T}, {"x": np.asfortranarray(b.T)}).changed
    assert (change.num_different, change.max_absolute) == (1, 1)
    assert compare_arrays(a[:, 2], b[:, 2], EXACT).num_different == 1


class TestMixedTypes:
    @given(st.data())
    def test_integers_beside_floats_exactly(self, data: st.DataObject) -> None:
        """Python compares integers with floats exactly; numpy rounds the integers first."""
        names = data.draw(st.permutations(["int64", data.draw(st.sampled_from(FLOATS))]))
        random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
        arrays = {name: random_array(random, name, 20) for name in names}
        integers, floats = arrays["int64"], arrays[next(n for n in names if n != "int64")]
        integers[::2] += 1
        with np.errstate(all="ignore"):
            floats[:8] = integers[:8].astype(floats.dtype)
        found = compare_arrays(*(arrays[name] for name in names), EXACT)
        pairs = list(zip(integers.tolist(), widened(floats).tolist()))
        assert found.num_different == sum(i != f for i, f in pairs)
        within = compare_arrays(*(arrays[name] for name in names), Tolerances(0, 0.5))
        finite = [abs(Fraction(i) - Fraction(f)) for i, f in pairs if math.isfinite(f)]
        assert within.num_different == 20 - sum(each <= 0.5 for each in finite)
        finite = [abs(Fraction(i) - Fraction(f)) for i, f in pairs if math.isfinite(f)]
        if all(map(math.isfinite, widened(floats))):
            assert found.max_absolute == pytest.approx(float(max(finite)), rel=1e-12)

    @pytest.mark.parametrize(
        ("integer", "number"),
        [
            (np.int64(2**53 + 1), 2.0**53),
            (np.int64(2**63 - 1), 2.0**63),
            (np.uint64(2**64 - 1), 2.0**64),
            (np.int64(-(2**60) - 3), -(2.0**60)),
        ],
        ids=str,
    )
    def test_integers_that_float64_does_not_hold(self, integer: Any, number: float) -> None:
        a, b = np.array([integer]), np.array([number])
        for one, other in (a, b), (b, a):
            found = compare_arrays(one, other, EXACT)
            assert (found.num_different, found.max_absolute) == (
                1,
                abs(int(integer) - int(number)),
            )
            assert found.num_different == compare_arrays(one, other, Tolerances(0, 0.5))[0]
            assert compare_arrays(one, other, Tolerances(0, 4)).num_different == 0
        (form,) = diff({"x": a}, {"x": b}).different_form
        assert form.within_one_rounding

    @pytest.mark.parametrize("narrow", ["bfloat16", "float16", "float8_e5m2", "float8_e4m3fn"])
    def test_within_one_rounding(self, narrow: str) -> None:
        """Rounded by `ml_dtypes` or numpy; any other number beside it is not within one."""
        wide = np.random.default_rng(0).standard_normal(100).astype(np.float32)
        wide[:2] = np.nan, 0
        rounded = wide.astype(dtype_of(narrow))
        for a, b in (wide, rounded), (rounded, wide):
            (form,) = diff({"x": a}, {"x": b}).different_form
            assert form.within_one_rounding
            assert form.values.num_different == np.count_nonzero(
                (wide != rounded.astype(np.float32)) & ~np.isnan(wide)
            )
        bits = rounded.view(f"u{rounded.itemsize}").copy()
        bits[50] += 1
        (form,) = diff({"x": wide}, {"x": bits.view(rounded.dtype)}).different_form
        assert not form.within_one_rounding

    @pytest.mark.parametrize("narrow", FLOATS[:4])
    @pytest.mark.parametrize("wide", ["float32", "float64"])
    def test_all_numbers_of_a_type_and_the_ties_between_them(self, wide: str, narrow: str) -> None:
        """Rounded by `ml_dtypes` or numpy: also to infinity, to zero, and to denormal numbers."""
        if narrow in ("float32", "float64"):
            numbers = random_array(np.random.default_rng(0), narrow, 1000)
        else:
            numbers = np.arange(1 << 16, dtype=np.uint16).view(dtype_of(narrow))
        with np.errstate(all="ignore"):
            exact = numbers.astype(wide)
            ties = (exact[1:] + exact[:-1]) / 2
            a = np.concatenate([exact, ties, np.nextafter(ties, np.inf)]).astype(wide)
            b = a.astype(dtype_of(narrow))
        assert compare_arrays(a, b, EXACT).rounded_a
        assert compare_arrays(b, a, EXACT).rounded_b
        if np.dtype(wide).itemsize > b.itemsize:
            assert not compare_arrays(a, b, EXACT).rounded_b

    def test_a_wider_copy_has_equal_values(self) -> None:
        (form,) = diff({"x": np.int32([1, -2])}, {"x": np.int64([1, -2])}).different_form
        assert (form.values.num_different, form.within_one_rounding) == (0, True)
        (form,) = diff({"x": np.int32([1, -2])}, {"x": np.int64([1, -3])}).different_form
        assert (form.values.num_different, form.within_one_rounding) == (1, False)

    def test_float64_rounded_once_or_by_way_of_float32(self) -> None:
        value = np.float64([1 + 2**-8 + 2**-40])
        for bfloat16 in (np.float64([1]), np.float64([1 + 2**-7])):
            b = bfloat16.astype(ml_dtypes.bfloat16)
            assert diff({"x": value}, {"x": b}).different_form[0].within_one_rounding


def test_strings_as_bytes_and_as_text() -> None:
    a = np.array([b"a", b"", b"c\0", b"\xc3\xa9"], object)
    b = np.array(["a", "b", "c", "é"], object)
    found = compare_arrays(a, b, EXACT)
    assert (found.num_different, found.cosine) == (2, None)
