"""TensorFlow's element types and what numpy calls them: one table.

Numbers and names: tensorflow/core/framework/types.proto and tensorflow/python/framework/dtypes.py.
The quantised types are the plain integers, as TensorFlow's own readers return them.  The 4- and
2-bit types take one byte per element on disk.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ckptparse.errors import UnsupportedError


class DataType(NamedTuple):
    """One row of the table.

    Attributes:
        name: TensorFlow's name in Python, such as "float32" or "qint8".
        numpy_name: attribute of numpy or ml_dtypes; None where arrays of it are objects.
        itemsize: bytes per element on disk; None where that varies.
    """

    name: str
    numpy_name: str | None
    itemsize: int | None


STRING = 7
BOOL = 10
RESOURCE = 20
VARIANT = 21

_TABLE = {
    1: DataType("float32", "float32", 4),
    2: DataType("float64", "float64", 8),
    3: DataType("int32", "int32", 4),
    4: DataType("uint8", "uint8", 1),
    5: DataType("int16", "int16", 2),
    6: DataType("int8", "int8", 1),
    STRING: DataType("string", None, None),
    8: DataType("complex64", "complex64", 8),
    9: DataType("int64", "int64", 8),
    BOOL: DataType("bool", "bool_", 1),
    11: DataType("qint8", "int8", 1),
    12: DataType("quint8", "uint8", 1),
    13: DataType("qint32", "int32", 4),
    14: DataType("bfloat16", "bfloat16", 2),
    15: DataType("qint16", "int16", 2),
    16: DataType("quint16", "uint16", 2),
    17: DataType("uint16", "uint16", 2),
    18: DataType("complex128", "complex128", 16),
    19: DataType("float16", "float16", 2),
    RESOURCE: DataType("resource", None, None),
    VARIANT: DataType("variant", None, None),
    22: DataType("uint32", "uint32", 4),
    23: DataType("uint64", "uint64", 8),
    24: DataType("float8_e5m2", "float8_e5m2", 1),
    25: DataType("float8_e4m3fn", "float8_e4m3fn", 1),
    26: DataType("float8_e4m3fnuz", "float8_e4m3fnuz", 1),
    27: DataType("float8_e4m3b11fnuz", "float8_e4m3b11fnuz", 1),
    28: DataType("float8_e5m2fnuz", "float8_e5m2fnuz", 1),
    29: DataType("int4", "int4", 1),
    30: DataType("uint4", "uint4", 1),
    31: DataType("int2", "int2", 1),
    32: DataType("uint2", "uint2", 1),
    33: DataType("float4_e2m1fn", "float4_e2m1fn", 1),
}


def lookup(number: int) -> DataType:
    """The row of a DataType number; numbers of a newer TensorFlow get a name and nothing else."""
    return _TABLE.get(number) or _unknown(number)


@lru_cache(maxsize=256)
def _unknown(number: int) -> DataType:
    return DataType(f"unknown dtype {number}", None, None)


def number_of(name: str) -> int:
    """The DataType number of a row's name."""
    return _NUMBERS.get(name) or int(name.rpartition(" ")[2])


_NUMBERS = {row.name: number for number, row in _TABLE.items()}


@lru_cache(maxsize=256)
def numpy_dtype(number: int) -> np.dtype[Any]:
    """The dtype of the arrays of a DataType: `object` for strings and what has no array."""
    name = lookup(number).numpy_name
    if name is None:
        return np.dtype(object)
    scalar_type = getattr(np, name, None)
    if scalar_type is None:
        import ml_dtypes  # only models with such tensors pay for it

        scalar_type = getattr(ml_dtypes, name)
    dtype: np.dtype[Any] = np.dtype(scalar_type)
    return dtype


def require_readable(number: int) -> None:
    """Raise UnsupportedError for types whose tensors have no form as an array."""
    if number in _TABLE and (lookup(number).itemsize is not None or number == STRING):
        return
    reasons = {
        VARIANT: "a variant: an opaque object of TensorFlow's run time (a TensorList, an Optional,"
        " the state of an iterator ...), not an array",
        RESOURCE: "a resource: a handle to something in a process, not an array",
    }
    raise UnsupportedError(
        "this tensor cannot be read as an array",
        expected="numbers, booleans or strings",
        found=reasons.get(number, lookup(number).name),
    )
