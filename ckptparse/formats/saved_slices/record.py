"""The record of one slice of a V1 checkpoint, decoded in place.

::

    SavedTensorSlices { 2 data: SavedSlice { 1 name, 2 slice, 3 data: TensorProto } }

A TensorProto of TensorFlow's writer has one ``*_val`` field and nothing else: dtype and shape come
from the contents.  The values are a packed repeated field, whose payload is (table in
`_VALUE_FIELDS`)

    little-endian numbers   float, double, complex (real and imaginary part in turn): viewed
    varints                 integers (negative ones as 64-bit two's complement, 10 bytes), booleans,
                            half as its 16 bits: decoded in bulk
    one field per element   strings

Protocol buffers allow a packed field to come in several pieces, or unpacked with one field per
number; TensorFlow's reader takes both, and so does this one.  No tensor goes through a message or
a list.

Sources: tensorflow/core/util/saved_tensor_slice_util.h (``Fill``), core/framework/tensor.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ckptparse.encoding.varint import decode_varint
from ckptparse.encoding.varint_arrays import decode_varints
from ckptparse.errors import CorruptCheckpointError, UnsupportedError
from ckptparse.messages.wire import FIXED32, FIXED64, LENGTH_DELIMITED, VARINT, iterate_fields
from ckptparse.tensors.dtypes import BOOL, STRING, lookup, numpy_dtype

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DATA_FIELD = 2
_TENSOR_FIELD = 3
_HALF = 19

_FLOAT_VAL, _DOUBLE_VAL, _INT_VAL, _STRING_VAL = 5, 6, 7, 8
_SCOMPLEX_VAL, _INT64_VAL, _BOOL_VAL, _DCOMPLEX_VAL, _HALF_VAL = 9, 10, 11, 12, 13
_UINT32_VAL, _UINT64_VAL = 16, 17

_VALUE_FIELDS = {
    1: _FLOAT_VAL,
    2: _DOUBLE_VAL,
    3: _INT_VAL,
    4: _INT_VAL,
    5: _INT_VAL,
    6: _INT_VAL,
    STRING: _STRING_VAL,
    8: _SCOMPLEX_VAL,
    9: _INT64_VAL,
    BOOL: _BOOL_VAL,
    11: _INT_VAL,
    12: _INT_VAL,
    13: _INT_VAL,
    15: _INT_VAL,
    16: _INT_VAL,
    17: _INT_VAL,
    18: _DCOMPLEX_VAL,
    _HALF: _HALF_VAL,
    22: _UINT32_VAL,
    23: _UINT64_VAL,
}
"""DataType number -> field of TensorProto that holds its values."""

_NUMBER_FIELDS = {_FLOAT_VAL, _DOUBLE_VAL, _SCOMPLEX_VAL, _DCOMPLEX_VAL}
"""Fields whose payload is the numbers themselves."""

_UNPACKED = {
    _FLOAT_VAL: FIXED32,
    _DOUBLE_VAL: FIXED64,
    _SCOMPLEX_VAL: FIXED32,
    _DCOMPLEX_VAL: FIXED64,
}
"""Wire type of a value with a field of its own, where that is no varint."""

_STRING_TAG = _STRING_VAL << 3 | LENGTH_DELIMITED


def is_stored_plain(dtype: int) -> bool:
    """Return whether values of a dtype are stored in a record as they are in memory."""
    return _VALUE_FIELDS.get(dtype) in _NUMBER_FIELDS


def require_storable(dtype: int) -> None:
    """Raise UnsupportedError for dtypes that V1 checkpoints have no field for."""
    if dtype not in _VALUE_FIELDS:
        raise UnsupportedError(
            "V1 checkpoints cannot hold this dtype",
            expected="a dtype that TensorFlow's V1 writer takes",
            found=lookup(dtype).name,
        )


def find_values(record: bytes | memoryview, dtype: int) -> list[bytes | memoryview]:
    """The pieces of a record that hold its values: payloads of the dtype's field.

    Packed or not makes no difference any more: one after the other, they are the packed field.

    Raises:
        CorruptCheckpointError: the record is not such a message.
    """
    if dtype == STRING:
        return [
            string
            for start, stop in _find_tensors(record)
            for string in _iterate_strings(bytes(record[start:stop]))
        ]
    number = _VALUE_FIELDS[dtype]
    wire_types = (LENGTH_DELIMITED, _UNPACKED.get(number, VARINT))
    first: bytes | memoryview | None = None
    joined = bytearray()  # a million pieces would be a hundred times their bytes
    for start, stop in _find_tensors(record):
        for field in iterate_fields(record, start, stop):
            if field.number == number and field.wire_type in wire_types:
                piece = record[field.start : field.stop]
                if first is None:
                    first = piece
                    continue
                joined += piece if joined else b"".join((first, piece))
    if first is None:
        return []
    return [memoryview(joined).toreadonly() if joined else first]


def _iterate_strings(tensor: bytes) -> Iterator[bytes]:
    """The elements of field string_val; like `iterate_fields`, but made for a million of them."""
    pos, stop = 0, len(tensor)
    while pos < stop:
        if tensor[pos] == _STRING_TAG and pos + 1 < stop:
            nbytes, start = tensor[pos + 1], pos + 2
            if nbytes >= 0x80:
                nbytes, start = decode_varint(tensor, pos + 1, stop)
            pos = start + nbytes
            if pos > stop:
                raise CorruptCheckpointError(
                    "invalid string",
                    offset=start,
                    expected=f"an end by {stop}",
                    found=f"{nbytes} bytes",
                )
            yield tensor[start:pos]
        else:
            pos = next(iterate_fields(tensor, pos, stop)).stop


def _find_tensors(record: bytes | memoryview) -> Iterator[tuple[int, int]]:
    """Find the TensorProto of a record; several count as one."""
    for outer in iterate_fields(record, 0, len(record)):
        if outer.number == _DATA_FIELD and outer.wire_type == LENGTH_DELIMITED:
            for inner in iterate_fields(record, outer.start, outer.stop):
                if inner.number == _TENSOR_FIELD and inner.wire_type == LENGTH_DELIMITED:
                    yield inner.start, inner.stop


def decode_values(pieces: list[bytes | memoryview], dtype: int, size: int) -> NDArray[Any]:
    """`size` elements, one-dimensional.

    A read-only view over the record if the dtype is stored plain and in one piece; else new.

    Raises:
        CorruptCheckpointError: there are fewer or more than `size`.
    """
    if dtype == STRING:
        _require_count(len(pieces), size)
        strings: NDArray[Any] = np.empty(size, object)
        strings[:] = pieces
        return strings
    if is_stored_plain(dtype):
        nbytes = sum(map(len, pieces))
        itemsize = numpy_dtype(dtype).itemsize
        _require_count(nbytes / itemsize if nbytes % itemsize else nbytes // itemsize, size)
        if not nbytes:
            return np.empty(0, numpy_dtype(dtype))
        values = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return np.frombuffer(values, numpy_dtype(dtype).newbyteorder("<"))
    varints = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    # Of integers the low bits, as TensorFlow's casts take them; of booleans whether any is set.
    number_type = np.uint16 if dtype == _HALF else numpy_dtype(dtype)
    try:
        numbers, nbytes = decode_varints(varints, size, number_type)
    except CorruptCheckpointError:
        _require_varint_count(varints, size)
        raise
    if nbytes != len(varints):
        _require_varint_count(varints, size)
        raise CorruptCheckpointError(
            "invalid values of a slice", expected="whole varints", found="one that does not end"
        )
    return numbers.view(np.float16) if dtype == _HALF else numbers


def _require_varint_count(varints: bytes | memoryview, size: int) -> None:
    _require_count(int(np.count_nonzero(np.frombuffer(varints, np.uint8) < 0x80)), size)


def _require_count(found: float, size: int) -> None:
    if found != size:
        raise CorruptCheckpointError(
            "invalid values of a slice", expected=f"{size} of them", found=found
        )
