"""Element types as TensorFlow's Python has them: `tf.float32` and its kin."""

from __future__ import annotations

from typing import Any

import numpy as np

from ckptparse.tensors.dtypes import BOOL, STRING, lookup, numpy_dtype

_ENUM_NAMES = {"float32": "FLOAT", "float64": "DOUBLE", "float16": "HALF"}
"""TensorFlow's names in the enum, where they are not those in Python in capitals."""


class DType:
    """A dtype of TensorFlow, equal to numpy's of the same meaning and to its own name.

    Source: tensorflow/python/framework/dtypes.py, ``DType``.
    """

    def __init__(self, number: int) -> None:
        """
        Args:
            number: in the enum DataType.
        """
        self._number = number

    @property
    def as_datatype_enum(self) -> int:
        """Number in the enum DataType."""
        return self._number

    @property
    def name(self) -> str:
        """Such as "float32", "string" or "qint8"."""
        return lookup(self._number).name

    @property
    def enum_name(self) -> str:
        """Name in the enum DataType, such as "DT_FLOAT"."""
        return f"DT_{_ENUM_NAMES.get(self.name, self.name.upper())}"

    @property
    def as_numpy_dtype(self) -> Any:
        """Numpy's scalar type; of quantised types a structured dtype that bears their name."""
        if self.is_quantized:
            return np.dtype([(self.name, numpy_dtype(self._number))])
        return numpy_dtype(self._number).type if self._number != STRING else object

    @property
    def dtype(self) -> np.dtype[Any]:
        """By this attribute numpy takes a DType wherever it takes a dtype."""
        dtype: np.dtype[Any] = np.dtype(self.as_numpy_dtype)
        return dtype

    @property
    def base_dtype(self) -> DType:
        """Itself: reference types are never stored."""
        return self

    @property
    def size(self) -> int:
        """Bytes per element; 0 of strings and variants, 1 of resources."""
        return lookup(self._number).itemsize or int(lookup(self._number).name == "resource")

    @property
    def is_bool(self) -> bool:
        """Whether it is bool."""
        return self._number == BOOL

    @property
    def is_complex(self) -> bool:
        """Whether it is a complex number."""
        return lookup(self._number).kind == "complex"

    @property
    def is_floating(self) -> bool:
        """Whether it is a floating-point number, not a complex one."""
        return lookup(self._number).kind == "float"

    @property
    def is_integer(self) -> bool:
        """Whether it is an integer, not a quantised one."""
        return lookup(self._number).kind in ("int", "uint")

    @property
    def is_quantized(self) -> bool:
        """Whether it is a quantised integer."""
        return lookup(self._number).kind == "quantized"

    @property
    def is_unsigned(self) -> bool:
        """Whether it is an unsigned integer."""
        return lookup(self._number).kind == "uint"

    @property
    def is_numpy_compatible(self) -> bool:
        """Whether arrays of it exist; not so of variants and resources."""
        return lookup(self._number).itemsize is not None or self._number == STRING

    def __eq__(self, other: object) -> bool:
        if isinstance(other, DType):
            return self._number == other._number
        if isinstance(other, str) and other == self.name:
            return True
        if other is None:  # numpy takes it for float64
            return False
        try:
            return bool(np.dtype(other) == self.dtype)  # type: ignore[call-overload]  # any object
        except (TypeError, ValueError):
            return False

    def __hash__(self) -> int:
        return hash(self.dtype)

    def __int__(self) -> int:
        return self._number

    def __str__(self) -> str:
        return f"<dtype: {self.name!r}>"

    def __repr__(self) -> str:
        return f"tf.{self.name}"
