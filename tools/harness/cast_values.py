"""Numbers to cast, and a digest of the results; `tests/weights/test_casting.py` uses both, too."""

import hashlib

import ml_dtypes
import numpy as np


def numbers(name):
    """All numbers of a dtype of 8 or 16 bits; else those of `bits`, as tests make them, too."""
    dtype = np.dtype(getattr(ml_dtypes, name, None) or name)
    if dtype.itemsize <= 2:
        return np.arange(1 << 8 * dtype.itemsize, dtype="u" + str(dtype.itemsize)).view(dtype)
    with np.errstate(invalid="ignore"):
        values = bits().astype("u4").view("f4").astype(dtype)
        if name == "float64":
            values[np.abs(values) < 2.0**-126] = 0  # see `digest`
    return values


def bits():
    """The bits of 131,072 numbers of 32 bits: half of them spread evenly, half of them ties.

    The ties are in the middle between two neighbours of bfloat16, float16 and float8, or next to
    the middle.
    """
    count = 1 << 16
    spread = np.arange(count, dtype="u8") * 2654435761 % (1 << 32)
    upper = spread[: count // 2] >> np.uint64(16) << np.uint64(16)
    bf16 = upper | np.uint64(1 << 15)
    # In the range of float16 and float8: exponents from -20 to 20.
    i = np.arange(count // 2, dtype="u8")
    small = (i % 2) << np.uint64(31) | (107 + i % 41) << np.uint64(23) | (i * 8192 * 5) % (1 << 23)
    half = small & ~np.uint64(0x1FFF) | np.uint64(1 << 12)
    near = half + i % 3 - np.uint64(1)
    return np.concatenate([spread, bf16, near])


def integers(name):
    """Integers with the largest and the smallest of a dtype, and booleans."""
    dtype = np.dtype(name)
    if name == "bool":
        return np.array([False, True])
    info = np.iinfo(dtype)
    return np.linspace(info.min, info.max, 10001).astype(dtype)


def digest(result, flush=False):
    """The SHA-256 of the bytes, in which each NaN is the same; and the numbers of NaN and inf.

    flush: take subnormal numbers of float32 as zeros. TensorFlow's threads let the processor do so,
    which shows in casts from and to float64.
    """
    with np.errstate(invalid="ignore"):
        wide = result.astype("f8")
    nan = np.isnan(wide)
    plain = result.view("u" + str(result.dtype.itemsize)).copy()
    plain[nan] = 0
    if flush:
        plain[np.abs(wide) < 2.0**-126] = 0
    return {
        "nan": int(nan.sum()),
        "inf": int(np.isinf(wide).sum()),
        "sha256": hashlib.sha256(plain.tobytes()).hexdigest(),
    }
