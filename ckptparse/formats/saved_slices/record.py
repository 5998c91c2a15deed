"""Find the values in the record of one slice of a V1 checkpoint.

::

    SavedTensorSlices { 2 data: SavedSlice { 1 name, 2 slice, 3 data: TensorProto } }

In a TensorProto of TensorFlow's writer, only one ``*_val`` field is set; dtype and shape are in the
table of contents.

Sources: tensorflow/core/util/saved_tensor_slice_util.h, saved_tensor_slice.proto.
"""

from __future__ import annotations

from collections.abc import Iterator

from ckptparse.errors import UnsupportedError
from ckptparse.formats import tensor_values
from ckptparse.messages.wire import LENGTH_DELIMITED, iterate_fields
from ckptparse.tensors.dtypes import lookup, number_of

_DATA_FIELD = 2
_TENSOR_FIELD = 3

_STORABLE = {
    number_of(name)
    for name in (
        *("float32", "float64", "float16", "complex64", "complex128", "bool", "string"),
        *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("qint8", "quint8", "qint16", "quint16", "qint32"),
    )
}
"""DataType numbers that TensorFlow's V1 writer takes."""


def require_storable(dtype: int) -> None:
    """Raise UnsupportedError for dtypes that V1 checkpoints have no field for."""
    if dtype not in _STORABLE:
        raise UnsupportedError(
            "V1 checkpoints cannot store this dtype",
            expected="a dtype that TensorFlow's V1 writer takes",
            found=lookup(dtype).name,
        )


def find_values(record: bytes | memoryview, dtype: int) -> list[bytes | memoryview]:
    """Return the values in a record, still encoded; see `tensor_values.find_values`.

    Raises:
        CorruptCheckpointError: the record is not a valid message.
    """
    return tensor_values.find_values(record, _find_tensors(record), dtype)


def _find_tensors(record: bytes | memoryview) -> Iterator[tuple[int, int]]:
    """Yield start and stop of each TensorProto of a record; several are to be merged."""
    for outer in iterate_fields(record, 0, len(record)):
        if outer.number == _DATA_FIELD and outer.wire_type == LENGTH_DELIMITED:
            for inner in iterate_fields(record, outer.start, outer.stop):
                if inner.number == _TENSOR_FIELD and inner.wire_type == LENGTH_DELIMITED:
                    yield inner.start, inner.stop
