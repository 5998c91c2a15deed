"""V1 files built field by field, by an independent encoder: table of contents and records.

A V1 file is a table (`builders.table`).  Its key ``b""`` has the table of contents, the key of a
slice (`builders.slice_key`) the record with that slice's values::

    contents      SavedTensorSlices { 1: SavedTensorSliceMeta { 1 tensor*, 2 versions } }
    tensor entry  SavedSliceMeta { 1 name, 2 shape, 3 type, 4 slice* }
    record        SavedTensorSlices { 2: SavedSlice { 1 name, 3: TensorProto } }
"""

from __future__ import annotations

from collections.abc import Sequence

from support.builders import Extent, bytes_field, tensor_shape, tensor_slice, varint_field

FLOAT, INT32, UINT8, INT16, INT8, STRING, INT64, HALF = 1, 3, 4, 5, 6, 7, 9, 19
"""TensorFlow's numbers of dtypes."""

FLOAT_VAL, INT_VAL, STRING_VAL, INT64_VAL, HALF_VAL = 5, 7, 8, 10, 13
"""Numbers of the fields of a TensorProto that hold values."""


def contents(*tensors: bytes, versions: bytes = varint_field(1, 1), rest: bytes = b"") -> bytes:
    """The table of contents that lists these tensor entries."""
    listed = b"".join(bytes_field(1, tensor) for tensor in tensors)
    return bytes_field(1, listed + bytes_field(2, versions) + rest)


def tensor_entry(
    name: bytes, dims: Sequence[int], dtype: int, slices: Sequence[Sequence[Extent]]
) -> bytes:
    """A tensor in the table of contents."""
    coded = b"".join(bytes_field(4, tensor_slice(extents)) for extents in slices)
    return (
        bytes_field(1, name) + bytes_field(2, tensor_shape(dims)) + varint_field(3, dtype) + coded
    )


def record(*values: bytes, name: bytes = b"x") -> bytes:
    """A record whose TensorProto consists of these fields."""
    return bytes_field(2, bytes_field(1, name) + bytes_field(3, b"".join(values)))
