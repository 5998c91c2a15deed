"""The type of the elements of a dataset or an attribute.

::

    4 version (upper half of the first byte), class (lower half), 24 bits of the class
    4 number of bytes of an element
    properties of the class

    class          bits of the class                  properties
    0 integer      0: high byte first; 3: signed      position and number of bits (2 + 2)
    1 float        0, 6: byte order; 8-15: position   position and number of bits (2 + 2), position
                   of the sign                        and number of bits of exponent and mantissa
                                                      (1 each), bias of the exponent (4)
    3 string       0-3: padding; 4-7: character set   none
    5 opaque       0-7: length of the tag             tag
    8 enumeration  0-15: number of members            type of the numbers, names, numbers
    9 of variable  0-3: 1 for a string                type of the elements
      length

h5py stores ``bool`` as an enumeration of FALSE and TRUE, and types that HDF5 does not have, such as
bfloat16, as opaque; Keras adds an attribute ``dtype`` to a bfloat16 dataset.

Source: "HDF5 File Format Specification Version 3.0", section IV.A.2.d; h5py/h5t.pyx.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np

from ckptparse.hdf5.fields import Fields

_INTEGER, _FLOAT, _STRING, _OPAQUE, _ENUMERATION, _VARIABLE = 0, 1, 3, 5, 8, 9

_NAMES = (
    *("an integer", "a float", "a time", "a string", "a bit field", "an opaque type"),
    *("a compound", "a reference", "an enumeration", "a type of variable length", "an array"),
    "a complex number",
)

_FLOATS: dict[tuple[int, ...], str] = {
    # bits, position of sign, exponent, mantissa, bias -> name of the dtype
    (16, 15, 10, 5, 0, 10, 15): "float16",
    (32, 31, 23, 8, 0, 23, 127): "float32",
    (64, 63, 52, 11, 0, 52, 1023): "float64",
    (16, 15, 7, 8, 0, 7, 127): "bfloat16",
}


class StoredType(NamedTuple):
    """A type of elements.

    Attributes:
        itemsize: number of bytes of an element.
        dtype: the numpy dtype in this machine's byte order; None if there is none.
        is_swapped: whether the file has the other byte order.
        is_opaque: whether HDF5 does not know what the elements are, two bytes each.
        string: "fixed" or "variable" for strings, else "".
        words: what it is, for errors.
    """

    itemsize: int
    dtype: np.dtype[Any] | None
    is_swapped: bool
    is_opaque: bool
    string: str
    words: str


def read_type(fields: Fields) -> StoredType:
    """Return the type that a message describes.

    Raises:
        CorruptCheckpointError: the message is too short.
    """
    first = fields.number(1)
    bits = fields.number(3)
    itemsize = fields.number(4)
    kind = first & 15
    dtype: np.dtype[Any] | None = None
    string = ""
    words = f"{_NAMES[kind] if kind < len(_NAMES) else f'class {kind}'} of {itemsize} bytes"
    if kind == _INTEGER:
        position, num_bits = fields.number(2), fields.number(2)
        if itemsize in (1, 2, 4, 8) and (position, num_bits) == (0, 8 * itemsize):
            dtype = np.dtype(f"{'i' if bits & 8 else 'u'}{itemsize}")
    elif kind == _FLOAT:
        dtype = _float_dtype(fields, bits, itemsize)
    elif kind == _STRING:
        string = "fixed"
    elif kind == _OPAQUE and itemsize == 2:
        dtype = np.dtype("V2")
    elif kind == _ENUMERATION and _is_bool(fields, bits & 0xFFFF, first >> 4):
        dtype = np.dtype(np.bool_)
    elif kind == _VARIABLE and bits & 15 == 1 and itemsize == 16:
        string = "variable"
    is_swapped = bool(bits & 1) and kind in (_INTEGER, _FLOAT) and itemsize > 1
    if sys.byteorder == "big" and kind in (_INTEGER, _FLOAT) and itemsize > 1:
        is_swapped = not is_swapped
    return StoredType(itemsize, dtype, is_swapped, kind == _OPAQUE, string, words)


def _float_dtype(fields: Fields, bits: int, itemsize: int) -> np.dtype[Any] | None:
    """Return the dtype of a float; None if it has an unusual form."""
    position, num_bits = fields.number(2), fields.number(2)
    numbers = [fields.number(1) for _ in range(4)]
    form = (num_bits, bits >> 8 & 0xFF, *numbers, fields.number(4))
    is_vax = bits & 0x40
    is_normal = bits >> 4 & 3 == 2  # the first bit of the mantissa is not stored
    name = _FLOATS.get(form)
    if name is None or position or num_bits != 8 * itemsize or is_vax or not is_normal:
        return None
    return bfloat16() if name == "bfloat16" else np.dtype(name)


def bfloat16() -> np.dtype[Any]:
    """Return the dtype bfloat16."""
    import ml_dtypes  # imported only for tensors of this type

    dtype: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return dtype


def _is_bool(fields: Fields, num_members: int, version: int) -> bool:
    """Return whether an enumeration is FALSE = 0 and TRUE = 1, of one byte each."""
    base = read_type(fields)
    if num_members != 2 or base.itemsize != 1 or base.dtype is None or base.dtype.kind not in "iu":
        return False
    names = []
    for _ in range(2):
        start = fields.position
        end = fields.data.find(b"\0", start)
        if end < 0:
            return False
        names.append(fields.take(end + 1 - start)[:-1])
        if version < 3:  # padded to 8 bytes
            fields.take(min(-(end + 1 - start) % 8, fields.left))
    return dict(zip(names, fields.take(2))) == {b"FALSE": 0, b"TRUE": 1}
