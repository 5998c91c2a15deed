"""Compare the elements of two arrays: how many differ, and how far apart they are.

Real numbers are compared in float64, which holds every number of the narrower types exactly, and
complex numbers in complex128.  Integers, of any two types, are compared exactly.

NaN is equal to NaN, 0.0 to -0.0, and an infinite number to itself.  The absolute difference of two
numbers is ``|a - b|``, and their relative difference is ``|a - b| / max(|a|, |b|)``, which is the
same in both directions and at most 2.  If one of two different numbers is infinite, both are
infinite.  A NaN beside a number differs from it, but has no difference that could be computed.

Chunks of elements are compared on all cores.  A chunk is small enough that its numbers in float64
stay in the cache of a core.  If the bytes of two chunks are equal, so are their values.
"""

from __future__ import annotations

import threading
from math import inf, isfinite, sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ckptparse.analysis.products import dot
from ckptparse.sources.parallel import run_on_all_cores
from ckptparse.tensors.dtypes import lookup, number_of_array
from ckptparse.tensors.rounding import round_to

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHUNK_SIZE = 1 << 17
"""Number of elements that a core compares at a time.  With shorter calls of numpy, the threads wait
more often for the interpreter's lock."""

_FIRST_SIZE = 64
"""Number of words of two chunks that are compared first."""

_FIRST_INEXACT = 2.0**53
"""From here on, float64 does not hold every integer."""

_SMALLEST = 5e-324
"""The smallest positive number of float64."""

_INTEGERS = ("int", "uint", "quantized", "bool")


class Tolerances(NamedTuple):
    """How near two numbers must be to count as equal: ``|a - b| <= atol + rtol * |b|``."""

    rtol: float
    atol: float


class Comparison(NamedTuple):
    """The result for some elements of two tensors.

    Attributes:
        num_different: number of elements that differ, by the tolerances.
        max_absolute: the largest absolute difference, exact for integers.
        max_relative: the largest relative difference.
        num_nan_a: number of NaNs in the first array.
        num_nan_b: number of NaNs in the second one.
        num_nan_both: number of NaNs that are in the same place in both.
        dot: sum of the products a * b, of the pairs in which both numbers are finite.
        square_a: sum of a * a, of the same pairs.
        square_b: sum of b * b, of the same pairs.
        square: sum of (a - b) ** 2, of the same pairs.
        rounded_a: whether each b is a, or a rounded to the dtype of b.
        rounded_b: whether each a is b, or b rounded to the dtype of a.
    """

    num_different: int = 0
    max_absolute: float = 0
    max_relative: float = 0.0
    num_nan_a: int = 0
    num_nan_b: int = 0
    num_nan_both: int = 0
    dot: float = 0.0
    square_a: float = 0.0
    square_b: float = 0.0
    square: float = 0.0
    rounded_a: bool = True
    rounded_b: bool = True

    def __add__(self, other: object) -> Comparison:
        """Return the result for the elements of both."""
        if not isinstance(other, Comparison):
            return NotImplemented
        return Comparison(
            self.num_different + other.num_different,
            max(self.max_absolute, other.max_absolute),
            max(self.max_relative, other.max_relative),
            self.num_nan_a + other.num_nan_a,
            self.num_nan_b + other.num_nan_b,
            self.num_nan_both + other.num_nan_both,
            self.dot + other.dot,
            self.square_a + other.square_a,
            self.square_b + other.square_b,
            self.square + other.square,
            self.rounded_a and other.rounded_a,
            self.rounded_b and other.rounded_b,
        )

    @property
    def cosine(self) -> float | None:
        """The cosine of the angle between the two vectors; None if one has no length."""
        norms = sqrt(self.square_a) * sqrt(self.square_b)
        if not 0 < norms < inf or not isfinite(self.dot):
            return None
        return min(max(self.dot / norms, -1.0), 1.0)

    @property
    def distance(self) -> float:
        """The norm of a - b, divided by the larger of the norms of a and b.

        It is infinite if a NaN or an infinite number is on one side only, or if the squares are too
        large for float64.
        """
        one_sided = self.num_nan_a + self.num_nan_b - 2 * self.num_nan_both
        if one_sided or self.max_absolute == inf or not isfinite(self.square):
            return inf
        norm = sqrt(max(self.square_a, self.square_b))
        if not norm:  # the squares are too small for float64
            return float(self.max_relative)
        if norm == inf and self.square:
            return inf
        return sqrt(self.square) / norm


def compare_arrays(a: NDArray[Any], b: NDArray[Any], tolerances: Tolerances) -> Comparison:
    """Compare two arrays of the same number of elements, on all cores.

    Args:
        a: an array of one dimension.
        b: another one; both have numbers, or both have strings.
        tolerances: how near two numbers must be to count as equal; strings must be equal.

    Examples:
        >>> import numpy as np
        >>> from ckptparse.analysis.comparison import Tolerances, compare_arrays
        >>> a, b = np.float32([1, np.nan, 3]), np.float32([1, np.nan, 4])
        >>> found = compare_arrays(a, b, Tolerances(0, 0))
        >>> found.num_different, found.max_absolute, found.max_relative, found.num_nan_both
        (1, 1.0, 0.25, 1)
    """
    kinds = [lookup(number_of_array(array.dtype)).kind for array in (a, b)]
    if "string" in kinds:
        return _compare_strings(a, b)

    def compare_chunk(i: int) -> Comparison:
        chunk = slice(i * _CHUNK_SIZE, (i + 1) * _CHUNK_SIZE)
        with np.errstate(all="ignore"):
            return _compare_chunk(a[chunk], b[chunk], kinds, tolerances)

    num_chunks = -(-a.size // _CHUNK_SIZE)
    if num_chunks == 1:
        return compare_chunk(0)
    return sum(run_on_all_cores(compare_chunk, num_chunks), Comparison())


def _compare_strings(a: NDArray[Any], b: NDArray[Any]) -> Comparison:
    """Compare strings: checkpoints have `bytes`, other mappings may have `str`."""
    num_different = 0
    for start in range(0, a.size, _CHUNK_SIZE):
        pairs = zip(*(each[start : start + _CHUNK_SIZE].tolist() for each in (a, b)))
        num_different += sum(_as_bytes(one) != _as_bytes(other) for one, other in pairs)
    return Comparison(num_different, rounded_a=not num_different, rounded_b=not num_different)


def _as_bytes(value: Any) -> Any:
    """Return a string as it is saved."""
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value


def _compare_chunk(
    a: NDArray[Any], b: NDArray[Any], kinds: list[str], tolerances: Tolerances
) -> Comparison:
    """Compare the numbers of two chunks."""
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    if a.dtype == b.dtype:
        if _have_equal_bytes(a, b):
            return _describe_equal(a)
        if kinds[0] == "float" and tolerances == (0, 0):
            found = _compare_finite_floats(a, b)
            if found is not None:
                return found
    if "complex" in kinds:
        found = _compare_floats(a.astype(np.complex128), b.astype(np.complex128), tolerances)
    elif all(kind in _INTEGERS for kind in kinds):
        found = _compare_integers(a, b, tolerances)
    else:
        found = _compare_floats(a.astype(np.float64), b.astype(np.float64), tolerances)
        for integers, floats in (a, b), (b, a):
            if integers.dtype.kind in "iu" and integers.dtype.itemsize == 8:
                found = _correct_large(found, integers, floats.astype(np.float64), tolerances)
    if a.dtype == b.dtype:
        return found
    is_equal = not found.max_absolute and found.num_nan_a == found.num_nan_b == found.num_nan_both
    return found._replace(
        rounded_a=is_equal or _is_rounded(a, b, kinds[1]),
        rounded_b=is_equal or _is_rounded(b, a, kinds[0]),
    )


def _have_equal_bytes(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Return whether the bytes of two arrays are equal."""
    word = np.uint64 if a.nbytes % 8 == 0 and a.size else np.uint8
    x, y = a.view(word), b.view(word)
    if x.size > _FIRST_SIZE and not np.array_equal(x[:_FIRST_SIZE], y[:_FIRST_SIZE]):
        return False  # most chunks that differ do so at once
    return bool((x == y).all())


def _describe_equal(a: NDArray[Any]) -> Comparison:
    """Return the result for a chunk that is equal to the other one."""
    values = a.astype(np.complex128 if a.dtype.kind == "c" else np.float64)
    square = dot(values, values)
    num_nan = 0
    if not isfinite(square):
        num_nan = int(np.count_nonzero(np.isnan(values)))
        values = values[np.isfinite(values)]
        square = dot(values, values)
    return Comparison(
        num_nan_a=num_nan,
        num_nan_b=num_nan,
        num_nan_both=num_nan,
        dot=square,
        square_a=square,
        square_b=square,
    )


class _Scratch(threading.local):
    """Memory for a chunk; each thread has its own, as getting it anew takes as long as its use."""

    def __init__(self) -> None:
        self._arrays = np.empty((3, 0))

    def arrays(self, size: int) -> NDArray[np.float64]:
        """Return three arrays of a size."""
        if self._arrays.shape[1] < size:
            self._arrays = np.empty((3, size))
        return self._arrays[:, :size]


_scratch = _Scratch()


def _compare_finite_floats(a: NDArray[Any], b: NDArray[Any]) -> Comparison | None:
    """Compare real numbers without tolerances: the usual case, in as few steps as possible.

    Returns:
        None if a number is not finite, or too large for the squares.
    """
    x, y, distances = _scratch.arrays(a.size)
    np.copyto(x, a, casting="unsafe")
    np.copyto(y, b, casting="unsafe")
    np.subtract(x, y, out=distances)
    dots = dot(x, y), dot(x, x), dot(y, y), dot(distances, distances)
    if not (isfinite(dots[1]) and isfinite(dots[2])):
        return None
    np.abs(distances, out=distances)
    np.abs(x, out=x)
    np.abs(y, out=y)
    relative = np.divide(distances, np.maximum(x, y, out=x), out=x)
    most_relative = np.maximum.reduce(relative)
    if np.isnan(most_relative):  # 0 / 0
        np.copyto(relative, 0, where=np.isnan(relative))
        most_relative = np.maximum.reduce(relative)
    return Comparison(
        int(np.count_nonzero(np.not_equal(a, b))),
        float(np.maximum.reduce(distances)),
        float(most_relative),
        0,
        0,
        0,
        *dots,
    )


def _compare_floats(x: NDArray[Any], y: NDArray[Any], tolerances: Tolerances) -> Comparison:
    """Compare numbers in float64 or complex128."""
    found = _compare_finite(x, y, tolerances)
    if isfinite(found.square_a) and isfinite(found.square_b):
        return found
    nan_x, nan_y = np.isnan(x), np.isnan(y)
    finite = np.isfinite(x) & np.isfinite(y)
    found = _compare_finite(x[finite], y[finite], tolerances)
    num_one_nan = int(np.count_nonzero(nan_x != nan_y))
    num_infinite = int(np.count_nonzero((x != y) & ~(nan_x | nan_y | finite)))
    return found._replace(
        num_different=found.num_different + num_one_nan + num_infinite,
        max_absolute=inf if num_infinite else found.max_absolute,
        max_relative=inf if num_infinite else found.max_relative,
        num_nan_a=int(np.count_nonzero(nan_x)),
        num_nan_b=int(np.count_nonzero(nan_y)),
        num_nan_both=int(np.count_nonzero(nan_x & nan_y)),
    )


def _compare_finite(x: NDArray[Any], y: NDArray[Any], tolerances: Tolerances) -> Comparison:
    """Compare finite numbers."""
    if not x.size:
        return Comparison()
    difference = x - y
    dots = dot(x, y), dot(x, x), dot(y, y), dot(difference, difference)
    distances = np.abs(difference)
    return Comparison(
        _count_different(distances, y, tolerances),
        float(distances.max()),
        _max_relative(distances, x, y),
        0,
        0,
        0,
        *dots,
    )


def _count_different(distances: NDArray[Any], y: NDArray[Any], tolerances: Tolerances) -> int:
    """Return how many distances are larger than the tolerances allow."""
    if tolerances == (0, 0):
        return int(np.count_nonzero(distances != 0))
    most = np.abs(y)
    most *= tolerances.rtol
    most += tolerances.atol
    return int(np.count_nonzero(distances > most))


def _max_relative(distances: NDArray[Any], x: NDArray[Any], y: NDArray[Any]) -> float:
    """Return the largest relative difference; that of two zeros is 0."""
    sizes = np.abs(x)
    np.maximum(sizes, np.abs(y), out=sizes)
    np.maximum(sizes, _SMALLEST, out=sizes)
    np.divide(distances, sizes, out=sizes)
    return float(sizes.max())


def _compare_integers(a: NDArray[Any], b: NDArray[Any], tolerances: Tolerances) -> Comparison:
    """Compare integers or booleans exactly."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    distances, carries = _distances(_widen(a), _widen(b))
    most = int(distances.max())
    if carries is not None and carries.any():
        most = (1 << 64) + int(distances[carries].max())
    in_float = distances.astype(np.float64)
    if carries is not None:
        in_float += carries * 2.0**64
    return Comparison(
        _count_different(in_float, y, tolerances),
        most,
        _max_relative(in_float, x, y),
        0,
        0,
        0,
        dot(x, y),
        dot(x, x),
        dot(y, y),
        dot(in_float, in_float),
    )


def _widen(integers: NDArray[Any]) -> NDArray[Any]:
    """Return integers or booleans as int64, or as uint64 if that is what they are."""
    is_uint64 = integers.dtype.kind == "u" and integers.dtype.itemsize == 8
    return integers.astype(np.uint64 if is_uint64 else np.int64)


def _distances(
    x: NDArray[Any], y: NDArray[Any]
) -> tuple[NDArray[np.uint64], NDArray[np.bool_] | None]:
    """Return the distances of integers modulo 2**64, and where 2**64 has to be added.

    The second array is None if it is nowhere.
    """
    if x.dtype == y.dtype:
        return np.maximum(x, y).view(np.uint64) - np.minimum(x, y).view(np.uint64), None
    unsigned, signed = (x, y) if x.dtype == np.uint64 else (y, x)
    negative = signed < 0
    bits = signed.view(np.uint64)
    positive = np.where(negative, np.uint64(0), bits)
    distances = np.maximum(unsigned, positive) - np.minimum(unsigned, positive)
    sums = unsigned - bits  # of an unsigned and the size of a negative number
    return np.where(negative, sums, distances), negative & (sums < unsigned)


def _correct_large(
    found: Comparison, integers: NDArray[Any], floats: NDArray[np.float64], tolerances: Tolerances
) -> Comparison:
    """Count integers that differ from a number of float64 only before they are rounded to it."""
    rounded = integers.astype(np.float64)
    places = np.flatnonzero((rounded == floats) & (np.abs(rounded) >= _FIRST_INEXACT))
    num_different, most = found.num_different, found.max_absolute
    for integer, number in zip(integers[places].tolist(), floats[places].tolist()):
        distance = abs(integer - int(number))
        num_different += distance > tolerances.atol + tolerances.rtol * abs(number)
        most = max(most, distance)
    return found._replace(num_different=num_different, max_absolute=most)


def _is_rounded(a: NDArray[Any], b: NDArray[Any], kind: str) -> bool:
    """Return whether each b is a, or a rounded to the dtype of b, which is of a kind.

    Numbers that were rounded to float32 first, as TensorFlow does, are accepted, too.
    """
    if kind not in ("float", "complex") or (kind == "float" and a.dtype.kind == "c"):
        return False
    wide = np.dtype(np.complex128 if kind == "complex" else np.float64)
    target = b.astype(wide)
    for rounded in round_to(a.astype(wide), b.dtype), a.astype(b.dtype):
        values = rounded.astype(wide)
        if bool(((values == target) | (np.isnan(values) & np.isnan(target))).all()):
            return True
    return False
