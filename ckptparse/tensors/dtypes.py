"""The table of TensorFlow's data types: number, name, kind, numpy type and size of an element.

Quantized types are read as plain integers, as TensorFlow's own readers return them.  The 4-bit and
2-bit types take one byte per element on disk.

Sources: tensorflow/core/framework/types.proto (numbers), tensorflow/python/framework/dtypes.py
(names, kinds).
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
        kind: "float", "complex", "int", "uint", "quantized" or "bool"; the name itself for strings,
            resources and variants; "unknown" for a number that is not in the table.
        numpy_name: name of the scalar type in numpy or ml_dtypes; None if arrays of this type have
            the dtype `object`.
        itemsize: bytes per element on disk; None if that varies.
    """

    name: str
    kind: str
    numpy_name: str | None
    itemsize: int | None


STRING = 7
BOOL = 10
RESOURCE = 20
VARIANT = 21

_TABLE = {
    1: DataType("float32", "float", "float32", 4),
    2: DataType("float64", "float", "float64", 8),
    3: DataType("int32", "int", "int32", 4),
    4: DataType("uint8", "uint", "uint8", 1),
    5: DataType("int16", "int", "int16", 2),
    6: DataType("int8", "int", "int8", 1),
    STRING: DataType("string", "string", None, None),
    8: DataType("complex64", "complex", "complex64", 8),
    9: DataType("int64", "int", "int64", 8),
    BOOL: DataType("bool", "bool", "bool_", 1),
    11: DataType("qint8", "quantized", "int8", 1),
    12: DataType("quint8", "quantized", "uint8", 1),
    13: DataType("qint32", "quantized", "int32", 4),
    14: DataType("bfloat16", "float", "bfloat16", 2),
    15: DataType("qint16", "quantized", "int16", 2),
    16: DataType("quint16", "quantized", "uint16", 2),
    17: DataType("uint16", "uint", "uint16", 2),
    18: DataType("complex128", "complex", "complex128", 16),
    19: DataType("float16", "float", "float16", 2),
    RESOURCE: DataType("resource", "resource", None, None),
    VARIANT: DataType("variant", "variant", None, None),
    22: DataType("uint32", "uint", "uint32", 4),
    23: DataType("uint64", "uint", "uint64", 8),
    24: DataType("float8_e5m2", "float", "float8_e5m2", 1),
    25: DataType("float8_e4m3fn", "float", "float8_e4m3fn", 1),
    26: DataType("float8_e4m3fnuz", "float", "float8_e4m3fnuz", 1),
    27: DataType("float8_e4m3b11fnuz", "float", "float8_e4m3b11fnuz", 1),
    28: DataType("float8_e5m2fnuz", "float", "float8_e5m2fnuz", 1),
    29: DataType("int4", "int", "int4", 1),
    30: DataType("uint4", "uint", "uint4", 1),
    31: DataType("int2", "int", "int2", 1),
    32: DataType("uint2", "uint", "uint2", 1),
    33: DataType("float4_e2m1fn", "float", "float4_e2m1fn", 1),
}


def lookup(number: int) -> DataType:
    """Return the row of a DataType number; for an unknown number, one without type and size."""
    return _TABLE.get(number) or _unknown(number)


@lru_cache(maxsize=256)
def _unknown(number: int) -> DataType:
    """Return a row for a number that is not in the table."""
    return DataType(f"{_UNKNOWN}{number}", "unknown", None, None)


_UNKNOWN = "unknown dtype "


def find_number(name: str) -> int | None:
    """Return the DataType number of a name of TensorFlow, or None if there is no such type."""
    return _NUMBERS.get(name)


def number_of(name: str) -> int:
    """Return the DataType number of a name that `lookup` returned.

    Raises:
        UnsupportedError: it is the name of a dtype of numpy that TensorFlow does not have.
    """
    number = _NUMBERS.get(name)
    if number is None:
        if not name.startswith(_UNKNOWN):
            raise _no_such_dtype(name)
        number = int(name.removeprefix(_UNKNOWN))
    return number


_NUMBERS = {row.name: number for number, row in _TABLE.items()}


@lru_cache(maxsize=256)
def numpy_dtype(number: int) -> np.dtype[Any]:
    """Return the dtype of arrays of a type: `object` for strings and types without arrays."""
    name = lookup(number).numpy_name
    if name is None:
        return np.dtype(object)
    scalar_type = getattr(np, name, None)
    if scalar_type is None:
        import ml_dtypes  # imported only for tensors of these types

        scalar_type = getattr(ml_dtypes, name)
    dtype: np.dtype[Any] = np.dtype(scalar_type)
    return dtype


def number_of_array(dtype: np.dtype[Any]) -> int:
    """Return the DataType number that arrays of a numpy dtype are saved as.

    Strings are `object`, numpy's fixed-size ``S`` and ``U``, and its StringDType.

    Raises:
        UnsupportedError: TensorFlow has no such type.
    """
    number = _NUMBERS_OF_ARRAYS.get(dtype)
    if number is None:
        number = _NUMBERS.get(dtype.name, 0)
        if dtype.kind in "OSUT":
            number = STRING
        elif number in (0, RESOURCE, VARIANT) or numpy_dtype(number) != dtype.newbyteorder("="):
            raise _no_such_dtype(dtype)
        _NUMBERS_OF_ARRAYS[dtype] = number
    return number


_NUMBERS_OF_ARRAYS: dict[np.dtype[Any], int] = {}
"""Dtypes of arrays that were looked up; few, as those with fields or sizes are refused."""


def name_of_array(dtype: np.dtype[Any]) -> str:
    """Return TensorFlow's name of the dtype of arrays, or numpy's name if TensorFlow has none."""
    try:
        return lookup(number_of_array(dtype)).name
    except UnsupportedError:
        return dtype.name


def _no_such_dtype(dtype: object) -> UnsupportedError:
    """Return the error for arrays of a dtype that TensorFlow does not have."""
    return UnsupportedError(
        "TensorFlow has no dtype for these arrays",
        expected="numbers, booleans or strings of a dtype that TensorFlow has",
        found=f"numpy dtype {dtype}",
    )


def require_readable(number: int) -> None:
    """Raise UnsupportedError if tensors of a type cannot be arrays."""
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
