"""Decode the record of one slice of a V1 checkpoint.

::

    SavedTensorSlices { 2 data: SavedSlice { 1 name, 2 slice, 3 data: TensorProto } }

In a TensorProto of TensorFlow's writer, only one ``*_val`` field is set; dtype and shape are in the
table of contents.  The dtype determines the field (`_VALUE_FIELDS`) and the form of its values:

    little-endian numbers   float, double, complex (real part, then imaginary part); the result is a
                            view of the record
    varints                 integers (negative ones as 64-bit two's complement, 10 bytes), booleans,
                            half (its 16 bits as an integer)
    one field per element   strings

Numbers are one packed field.  Protocol buffers also allow several packed fields, or one field for
each number.  TensorFlow's reader accepts both, and so does this one.  To save time and memory, the
TensorProto is not parsed as a message.

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
from ckptparse.tensors.dtypes import STRING, lookup, number_of, numpy_dtype

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DATA_FIELD = 2
_TENSOR_FIELD = 3
_HALF = number_of("float16")

_FLOAT_VAL, _DOUBLE_VAL, _INT_VAL, _STRING_VAL = 5, 6, 7, 8
_SCOMPLEX_VAL, _INT64_VAL, _BOOL_VAL, _DCOMPLEX_VAL, _HALF_VAL = 9, 10, 11, 12, 13
_UINT32_VAL, _UINT64_VAL = 16, 17

_DTYPES_OF_FIELDS = {
    _FLOAT_VAL: "float32",
    _DOUBLE_VAL: "float64",
    _INT_VAL: "int32 uint8 int16 int8 qint8 quint8 qint32 qint16 quint16 uint16",
    _STRING_VAL: "string",
    _SCOMPLEX_VAL: "complex64",
    _INT64_VAL: "int64",
    _BOOL_VAL: "bool",
    _DCOMPLEX_VAL: "complex128",
    _HALF_VAL: "float16",
    _UINT32_VAL: "uint32",
    _UINT64_VAL: "uint64",
}

_VALUE_FIELDS = {
    number_of(name): field for field, names in _DTYPES_OF_FIELDS.items() for name in names.split()
}
"""DataType number -> field of TensorProto that holds its values."""

_NUMBER_FIELDS = {_FLOAT_VAL, _DOUBLE_VAL, _SCOMPLEX_VAL, _DCOMPLEX_VAL}
"""Fields whose payload has the same form as an array in memory."""

_UNPACKED = {
    _FLOAT_VAL: FIXED32,
    _DOUBLE_VAL: FIXED64,
    _SCOMPLEX_VAL: FIXED32,
    _DCOMPLEX_VAL: FIXED64,
}
"""Field -> wire type of a value that is not packed, if it is not a varint."""

_STRING_TAG = _STRING_VAL << 3 | LENGTH_DELIMITED


def is_stored_plain(dtype: int) -> bool:
    """Return whether values of a dtype are stored in a record as they are in memory."""
    return _VALUE_FIELDS.get(dtype) in _NUMBER_FIELDS


def require_storable(dtype: int) -> None:
    """Raise UnsupportedError for dtypes that V1 checkpoints have no field for."""
    if dtype not in _VALUE_FIELDS:
        raise UnsupportedError(
            "V1 checkpoints cannot store this dtype",
            expected="a dtype that TensorFlow's V1 writer takes",
            found=lookup(dtype).name,
        )


def find_values(record: bytes | memoryview, dtype: int) -> list[bytes | memoryview]:
    """Return the values in a record, still encoded.

    Returns:
        For strings, each element.  For numbers, one packed payload, or [] if there are no values;
        payloads of several fields are joined, which also gives a packed payload.

    Raises:
        CorruptCheckpointError: the record is not a valid message.
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
    joined = bytearray()  # a list of a million payloads would take much memory
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
    """Yield the elements of the field string_val.  Is faster than `iterate_fields`."""
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
    """Yield start and stop of each TensorProto of a record; several are to be merged."""
    for outer in iterate_fields(record, 0, len(record)):
        if outer.number == _DATA_FIELD and outer.wire_type == LENGTH_DELIMITED:
            for inner in iterate_fields(record, outer.start, outer.stop):
                if inner.number == _TENSOR_FIELD and inner.wire_type == LENGTH_DELIMITED:
                    yield inner.start, inner.stop


def decode_values(payloads: list[bytes | memoryview], dtype: int, size: int) -> NDArray[Any]:
    """Decode the values that `find_values` returned.

    Args:
        payloads: the encoded values.
        dtype: DataType number.
        size: number of elements that there must be.

    Returns:
        An array of one dimension.  It is a read-only view of the encoded values if
        `is_stored_plain`, and new otherwise.

    Raises:
        CorruptCheckpointError: there are fewer or more than `size` elements.
    """
    if dtype == STRING:
        _require_count(len(payloads), size)
        strings: NDArray[Any] = np.empty(size, object)
        strings[:] = payloads
        return strings
    if is_stored_plain(dtype):
        nbytes = sum(map(len, payloads))
        itemsize = numpy_dtype(dtype).itemsize
        _require_count(nbytes / itemsize if nbytes % itemsize else nbytes // itemsize, size)
        if not nbytes:
            return np.empty(0, numpy_dtype(dtype))
        values = payloads[0] if len(payloads) == 1 else b"".join(payloads)
        return np.frombuffer(values, numpy_dtype(dtype).newbyteorder("<"))
    varints = payloads[0] if len(payloads) == 1 else b"".join(payloads)
    # Integers keep their low bits, as with TensorFlow's casts; a boolean is True if any bit is set.
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
    """Raise CorruptCheckpointError unless there are `size` complete varints."""
    _require_count(int(np.count_nonzero(np.frombuffer(varints, np.uint8) < 0x80)), size)


def _require_count(found: float, size: int) -> None:
    """Raise CorruptCheckpointError unless the number of values is `size`."""
    if found != size:
        raise CorruptCheckpointError(
            "invalid values of a slice", expected=f"{size} of them", found=found
        )
