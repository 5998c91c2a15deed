"""Values for each dtype: its extreme and special values; no two neighbours are equal."""

import numpy as np
import tensorflow as tf

# In the order of TensorFlow's DataType enum, without resource and variant.
DTYPES = (
    *("float32", "float64", "int32", "uint8", "int16", "int8", "string", "complex64", "int64"),
    *("bool", "qint8", "quint8", "qint32", "bfloat16", "qint16", "quint16", "uint16"),
    *("complex128", "float16", "uint32", "uint64", "float8_e5m2", "float8_e4m3fn"),
    *("float8_e4m3fnuz", "float8_e4m3b11fnuz", "float8_e5m2fnuz"),
    *("int4", "uint4", "int2", "uint2", "float4_e2m1fn"),
)

# Number of bits of exponent and mantissa.
IEEE = {"float16": (5, 10), "bfloat16": (8, 7), "float32": (8, 23), "float64": (11, 52)}
COMPLEX_PARTS = {"complex64": "float32", "complex128": "float64"}

STRINGS = [b"hello", b"", b"\xff\x00z", b"trailing NUL\x00", b"\xe6\xbc\xa2\xe5\xad\x97", b"\x00"]


def vector(dtype):
    """Return a 1-D array of the special values of a dtype; the first is neither 0 nor empty."""
    if dtype == "string":
        return strings(STRINGS)
    if dtype in COMPLEX_PARTS:
        real = vector(COMPLEX_PARTS[dtype])
        return np.stack([real, real[::-1]], axis=-1).copy().view(dtype)[..., 0]
    return bit_patterns(dtype).view(tf.as_dtype(dtype).as_numpy_dtype)


def bit_patterns(dtype):
    """Return the same values as unsigned integers, whose bits numpy does not round."""
    size = tf.as_dtype(dtype).size
    unsigned = f"uint{8 * size}"
    if dtype == "bool":
        patterns = [1, 0, 1, 0, 1, 0]
    elif dtype in IEEE:
        patterns = ieee_patterns(*IEEE[dtype])
    elif dtype.startswith("float8"):
        patterns = np.roll(np.arange(256), -1)
    elif dtype in ("int4", "uint4", "float4_e2m1fn"):
        patterns = np.roll(np.arange(16), -1)
    elif dtype in ("int2", "uint2"):
        patterns = np.roll(np.arange(4), -1)
    else:
        limits = np.iinfo(dtype.replace("q", ""))
        middle = [limits.max // 3, limits.max - 1, limits.min + 1, 42, limits.min // 3]
        integers = [limits.max, limits.min, 1, *middle]
        return np.array(integers, dtype=limits.dtype).view(unsigned)
    return np.array(patterns, dtype=unsigned)


def ieee_patterns(exponent_bits, mantissa_bits):
    """Return 1.5, inf, -0.0, a NaN with a payload, -1.5, -inf, and the limits of normal numbers."""
    sign = 1 << (exponent_bits + mantissa_bits)
    infinity = ((1 << exponent_bits) - 1) << mantissa_bits
    half_bit = 1 << (mantissa_bits - 1)
    one_and_a_half = (((1 << (exponent_bits - 1)) - 1) << mantissa_bits) | half_bit
    smallest_normal = 1 << mantissa_bits
    return [
        one_and_a_half,
        infinity,
        sign,
        infinity | half_bit | 1,
        sign | one_and_a_half,
        sign | infinity,
        1,
        infinity - 1,
        sign | (infinity - 1),
        smallest_normal,
        smallest_normal - 1,
    ]


def array(dtype, shape):
    """Return an array of any shape, filled with the repeated values of `vector`."""
    patterns = vector(dtype)
    count = int(np.prod(shape))
    return patterns[np.arange(count) % len(patterns)].reshape(shape)


def strings(items):
    """Return a 1-D object array. (A bytes array of numpy would lose NULs at the end.)"""
    result = np.empty(len(items), dtype=object)
    result[:] = items
    return result


def random(shape, seed):
    """Return reproducible float32 values: RandomState gives the same in all numpy versions."""
    return np.random.RandomState(seed).standard_normal(shape).astype(np.float32)
