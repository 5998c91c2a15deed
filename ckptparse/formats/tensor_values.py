"""Find and decode the values of a TensorProto, without parsing it as a message.

::

    TensorProto
      1 dtype         DataType
      2 tensor_shape  TensorShapeProto
      4 tensor_content    all elements as in memory, little-endian; or else one of:
      5 float_val, 6 double_val, 7 int_val, 8 string_val, 9 scomplex_val, 10 int64_val,
      11 bool_val, 12 dcomplex_val, 13 half_val, 16 uint32_val, 17 uint64_val, 18 float8_val

The dtype determines the ``*_val`` field (`VALUE_FIELDS`) and the form of its values:

    little-endian numbers   float, double, complex (real part, then imaginary part); the result is a
                            view of the buffer
    varints                 integers (negative ones as 64-bit two's complement, 10 bytes), booleans,
                            half and bfloat16 (their 16 bits as an integer)
    one field per element   strings
    one field for all       float8_val: a string of one byte per element

Numbers are one packed field.  Protocol buffers also allow several packed fields, or one field for
each number.  TensorFlow's reader accepts both, and so does this one.

Sources: tensorflow/core/framework/tensor.proto, tensor.cc (``ProtoHelper``),
core/util/saved_tensor_slice_util.h (``Fill``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ckptparse.encoding.varint import decode_varint
from ckptparse.encoding.varint_arrays import decode_varints
from ckptparse.errors import CorruptCheckpointError
from ckptparse.messages.wire import FIXED32, FIXED64, LENGTH_DELIMITED, VARINT, iterate_fields
from ckptparse.tensors.dtypes import STRING, number_of, numpy_dtype

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HALVES = {number_of("float16"), number_of("bfloat16")}

_FLOAT_VAL, _DOUBLE_VAL, _INT_VAL, _STRING_VAL = 5, 6, 7, 8
_SCOMPLEX_VAL, _INT64_VAL, _BOOL_VAL, _DCOMPLEX_VAL, _HALF_VAL = 9, 10, 11, 12, 13
_UINT32_VAL, _UINT64_VAL, FLOAT8_VAL = 16, 17, 18

_DTYPES_OF_FIELDS = {
    _FLOAT_VAL: "float32",
    _DOUBLE_VAL: "float64",
    _INT_VAL: "int32 uint8 int16 int8 qint8 quint8 qint32 qint16 quint16 uint16"
    " int4 uint4 int2 uint2",
    _STRING_VAL: "string",
    _SCOMPLEX_VAL: "complex64",
    _INT64_VAL: "int64",
    _BOOL_VAL: "bool",
    _DCOMPLEX_VAL: "complex128",
    _HALF_VAL: "float16 bfloat16",
    _UINT32_VAL: "uint32",
    _UINT64_VAL: "uint64",
    FLOAT8_VAL: "float8_e5m2 float8_e4m3fn float8_e4m3fnuz float8_e4m3b11fnuz float8_e5m2fnuz"
    " float4_e2m1fn",
}

VALUE_FIELDS = {
    number_of(name): field for field, names in _DTYPES_OF_FIELDS.items() for name in names.split()
}
"""DataType number -> field of TensorProto that holds its values."""

_NUMBER_FIELDS = {_FLOAT_VAL, _DOUBLE_VAL, _SCOMPLEX_VAL, _DCOMPLEX_VAL, FLOAT8_VAL}
"""Fields whose payload has the same form as an array in memory."""

_UNPACKED = {
    _FLOAT_VAL: FIXED32,
    _DOUBLE_VAL: FIXED64,
    _SCOMPLEX_VAL: FIXED32,
    _DCOMPLEX_VAL: FIXED64,
    FLOAT8_VAL: LENGTH_DELIMITED,
}
"""Field -> wire type of a value that is not packed, if it is not a varint."""

_STRING_TAG = _STRING_VAL << 3 | LENGTH_DELIMITED


def is_stored_plain(dtype: int) -> bool:
    """Return whether values of a dtype are stored in their field as they are in memory."""
    return VALUE_FIELDS.get(dtype) in _NUMBER_FIELDS


def wire_types_of(field: int) -> tuple[int, int]:
    """Return the wire types of a field with numbers: packed, and one number."""
    return LENGTH_DELIMITED, _UNPACKED.get(field, VARINT)


def find_values(
    buffer: bytes | memoryview, tensors: Iterable[tuple[int, int]], dtype: int
) -> list[bytes | memoryview]:
    """Return the values of TensorProtos, still encoded.

    Args:
        buffer: the bytes.
        tensors: start and stop of each TensorProto; several are merged.
        dtype: DataType number.

    Returns:
        For strings, each element.  For numbers, one packed payload, or [] if there are no values;
        payloads of several fields are joined, which also gives a packed payload.

    Raises:
        CorruptCheckpointError: a TensorProto is not a valid message.
    """
    if dtype == STRING:
        return [
            string
            for start, stop in tensors
            for string in _iterate_strings(bytes(buffer[start:stop]))
        ]
    number = VALUE_FIELDS[dtype]
    wire_types = wire_types_of(number)
    first: bytes | memoryview | None = None
    joined = bytearray()  # a list of a million payloads would take much memory
    for start, stop in tensors:
        for field in iterate_fields(buffer, start, stop):
            if field.number == number and field.wire_type in wire_types:
                piece = buffer[field.start : field.stop]
                if first is None or number == FLOAT8_VAL:  # not a repeated field: the last one wins
                    first = piece
                    continue
                joined += piece if joined else b"".join((first, piece))
    if first is None:
        return []
    return [memoryview(joined).toreadonly() if joined else first]


def count_values(payloads: list[bytes | memoryview], dtype: int) -> int:
    """Return the number of values that `find_values` returned, without any bytes left over."""
    if dtype == STRING:
        return len(payloads)
    if is_stored_plain(dtype):
        return sum(map(len, payloads)) // numpy_dtype(dtype).itemsize
    return sum(int(np.count_nonzero(np.frombuffer(part, np.uint8) < 0x80)) for part in payloads)


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


def decode_values(payloads: list[bytes | memoryview], dtype: int, size: int) -> NDArray[Any]:
    """Decode the values that `find_values` returned.

    Args:
        payloads: the encoded values.
        dtype: DataType number.
        size: number of values that there must be.

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
    is_half = dtype in _HALVES
    number_type = np.dtype(np.uint16) if is_half else _integer_type(numpy_dtype(dtype))
    try:
        numbers, nbytes = decode_varints(varints, size, number_type)
    except CorruptCheckpointError:
        _require_varint_count(varints, size)
        raise
    if nbytes != len(varints):
        _require_varint_count(varints, size)
        raise CorruptCheckpointError(
            "invalid values of a tensor", expected="whole varints", found="one that does not end"
        )
    if is_half:
        return numbers.view(numpy_dtype(dtype))
    return numbers.astype(numpy_dtype(dtype), copy=False)  # int4 and the like


def _integer_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return a dtype of numpy for the elements of an integer dtype, which may be of ml_dtypes."""
    return np.dtype(np.int8) if dtype.kind == "V" else dtype


def _require_varint_count(varints: bytes | memoryview, size: int) -> None:
    """Raise CorruptCheckpointError unless there are `size` complete varints."""
    _require_count(int(np.count_nonzero(np.frombuffer(varints, np.uint8) < 0x80)), size)


def _require_count(found: float, size: int) -> None:
    """Raise CorruptCheckpointError unless the number of values is `size`."""
    if found != size:
        raise CorruptCheckpointError(
            "invalid values of a tensor", expected=f"{size} of them", found=found
        )
