"""Cast tensors to other data types.

Floating-point numbers are rounded to the nearest number of the new type, and to the even one of two
that are equally near, as TensorFlow's ``tf.cast`` does.  A number that is too large becomes
infinite, or NaN if the type has no infinity.  NaN stays NaN.  Like TensorFlow, a cast from float64
to bfloat16 or float8 rounds to float32 first (`tensors.rounding` has the one that rounds once).

A quantized type only marks the plain integers of its size: the values stay the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ckptparse.errors import UnsupportedError
from ckptparse.tensors.dtypes import (
    find_number,
    lookup,
    number_of,
    number_of_array,
    numpy_dtype,
)
from ckptparse.tensors.info import TensorInfo
from ckptparse.tensors.pieces import Piece

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

_OTHER_NAMES = {"half": "float16", "float": "float32", "double": "float64"}
"""Other names that ``tf.as_dtype`` accepts -> the usual names."""

_INTEGERS = ("int", "uint", "quantized")
_REAL = ("float", "bool", *_INTEGERS)


class Cast(NamedTuple):
    """A conversion to a data type.

    Attributes:
        number: number of the DataType to convert to.
        leave_others: whether other tensors stay as they are.  A floating-point type then converts
            only floating-point numbers, and a quantized type only integers of its size.  If False,
            a tensor that cannot be converted is an error.
    """

    number: int
    leave_others: bool

    def result(self, name: str, stored: str) -> str:
        """Return TensorFlow's name of the dtype that a tensor has after the cast.

        Args:
            name: name of the tensor, for the error.
            stored: TensorFlow's name of its dtype before.

        Raises:
            ValueError: the tensor cannot be converted.
        """
        old, new = lookup(number_of(stored)), lookup(self.number)
        if old == new:
            return stored
        if new.kind == "float" and (old.kind == "float" or not self.leave_others):
            if old.kind in _REAL:
                return new.name
        elif old.numpy_name == new.numpy_name and {old.kind, new.kind} <= set(_INTEGERS):
            return new.name
        if self.leave_others:
            return stored
        raise ValueError(f"dtype of {name!r}: {stored} cannot be cast to {new.name}")

    def array(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        """Return the cast array; the same array if nothing changes.

        Raises:
            ValueError: the tensor cannot be converted.
        """
        stored = lookup(number_of_array(array.dtype)).name
        result = self.result(name, stored)
        dtype = numpy_dtype(number_of(result))
        if result == stored or array.dtype == dtype:
            return array
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            return array.astype(dtype)

    def pieces(self, piece: Piece, piece_nbytes: int) -> Iterator[Piece]:
        """Yield a cast piece, cut into several if it would have more than `piece_nbytes` bytes."""
        dtype = self.result(piece.name, piece.dtype)
        itemsize = numpy_dtype(number_of(dtype)).itemsize
        most = max(piece_nbytes // itemsize, 1)
        if dtype == "string" or piece.values.size <= most:
            values = self.array(piece.name, piece.values)
            yield piece._replace(dtype=dtype, values=values)
            return
        values = piece.values.reshape(-1)
        for start in range(0, values.size, most):
            part = self.array(piece.name, values[start : start + most])
            yield piece._replace(dtype=dtype, start=piece.start + start, values=part)

    def info(self, info: TensorInfo) -> TensorInfo:
        """Return the metadata of a tensor after the cast.

        A tensor whose values change is not stored in a file, so it has no place in one.
        """
        name = self.result(info.name, info.tensorflow_dtype)
        dtype = numpy_dtype(number_of(name))
        if dtype == info.dtype:
            return info._replace(tensorflow_dtype=name)
        return info._replace(
            dtype=dtype,
            tensorflow_dtype=name,
            nbytes=info.size * dtype.itemsize,
            slices=(),
            mapped=False,
            file=None,
            offset=None,
        )


def cast_to(dtype: DTypeLike, *, leave_others: bool) -> Cast:
    """Return the cast to a data type.

    Args:
        dtype: TensorFlow's name of a dtype, or anything that ``numpy.dtype`` takes.
        leave_others: see `Cast`.

    Raises:
        ValueError: there is no such dtype, or none to cast to.
    """
    known = find_number(_OTHER_NAMES.get(dtype, dtype)) if isinstance(dtype, str) else None
    try:
        number = number_of_array(np.dtype(dtype)) if known is None else known
    except (TypeError, UnsupportedError) as error:
        raise ValueError(f"no such dtype: {dtype!r}") from error
    row = lookup(number)
    wanted = ("float", "quantized") if leave_others else ("float", *_INTEGERS)
    if row.kind not in wanted:
        raise ValueError(
            f"cannot cast to {row.name}: expected a floating-point or quantized dtype"
            + ("" if leave_others else ", or the integers of a quantized one")
        )
    return Cast(number, leave_others)
