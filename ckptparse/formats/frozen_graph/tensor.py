"""Decode the TensorProto of a constant: metadata when it is found, values when they are read.

The elements are in ``tensor_content``, as they are in memory, or in the ``*_val`` field of the
dtype.  The field can have fewer values than the tensor has elements: the last value is repeated.
Without any value, all elements are 0, False or an empty string.  Strings in ``tensor_content`` are
their lengths, as varints, and then their bytes.

Sources: tensorflow/core/framework/tensor.cc (``Tensor::FromProto``), tensor_shape.cc, and
tensorflow/core/platform/tensor_coding.cc (``DecodeStringList``).
"""

from __future__ import annotations

import sys
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ckptparse.encoding.varint import Buffer, decode_varint
from ckptparse.encoding.varint_arrays import decode_varints
from ckptparse.errors import CheckpointError, CorruptCheckpointError, UnsupportedError
from ckptparse.formats.container import PlainArray, StoredArray
from ckptparse.formats.tensor_values import (
    FLOAT8_VAL,
    VALUE_FIELDS,
    count_values,
    decode_values,
    find_values,
    is_stored_plain,
    wire_types_of,
)
from ckptparse.limits import MAX_FREE_PADDED_NBYTES, MAX_PADDED_RATIO, MAX_SPLAT_NBYTES
from ckptparse.messages.common import MAX_RANK, require_sizes
from ckptparse.messages.wire import LENGTH_DELIMITED, VARINT, iterate_fields
from ckptparse.sources import Source
from ckptparse.tensors.arrays import require_shape, take
from ckptparse.tensors.dtypes import STRING, lookup, numpy_dtype, require_readable
from ckptparse.tensors.numpy_index import BasicSelection, Index, keep_array, select_elements

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DTYPE, _SHAPE, _CONTENT = 1, 2, 4
_DIM, _UNKNOWN_RANK = 2, 3
_SIZE = 1
_FIELDS = set(VALUE_FIELDS.values())

_IS_SWAPPED = sys.byteorder == "big"

_COUNTED_NBYTES = 10
"""Varints of up to this size are counted when a tensor is found; one varint has at most that."""

Range = tuple[int, int]


class Budget:
    """The bytes that the elements of constants may take without being stored.

    A file of a hundred bytes can declare a tensor of any size, because the last value is repeated.
    """

    def __init__(self, nbytes: int) -> None:
        """
        Args:
            nbytes: size of the file.
        """
        self._most = {
            True: MAX_SPLAT_NBYTES,
            False: MAX_FREE_PADDED_NBYTES + MAX_PADDED_RATIO * nbytes,
        }
        self._left = dict(self._most)

    def take(self, nbytes: int, *, is_splat: bool) -> None:
        """Subtract what a constant takes.

        Args:
            nbytes: size of its elements that are not stored.
            is_splat: whether it has one value at most.

        Raises:
            UnsupportedError: too little is left; nothing is subtracted.
        """
        if nbytes > self._left[is_splat]:
            raise UnsupportedError(
                "this constant repeats a value too often",
                expected=f"at most {self._most[is_splat]} bytes of elements that are not stored,"
                " in all constants of the file",
                found=f"{nbytes} more bytes" if nbytes <= self._most[is_splat] else nbytes,
            )
        self._left[is_splat] -= nbytes


class _Values(NamedTuple):
    """The fields with the values of a tensor.

    Attributes:
        num_fields: how many there are.
        nbytes: size of their payloads together.
        start: position of the first payload.
    """

    num_fields: int = 0
    nbytes: int = 0
    start: int = 0


class _Tensor(NamedTuple):
    """The metadata of a TensorProto.

    Attributes:
        span: its start and stop.
        dtype: DataType number.
        shape: its shape.
        content: start and stop of ``tensor_content``.
        values: the fields with values.
        offset: its position in the file; None if it was made from text.
    """

    span: Range
    dtype: int
    shape: tuple[int, ...]
    content: Range
    values: _Values
    offset: int | None

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """The dtype of the array."""
        return numpy_dtype(self.dtype)

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)


def decode_tensor(
    buffer: Buffer, start: int, stop: int, budget: Budget, *, is_text: bool
) -> StoredArray:
    """Return the array of a TensorProto.  Reads its metadata and the sizes of its values.

    Args:
        buffer: the contents of the file.
        start: position of the TensorProto.
        stop: position after it.
        budget: for the elements that are not stored; what this tensor takes is subtracted.
        is_text: whether the bytes are not those of the file, but were made from its text.

    Raises:
        CorruptCheckpointError: the message or the shape is invalid.
    """
    tensor = _find_fields(buffer, start, stop, is_text=is_text)
    try:
        array = _make_array(buffer, tensor, budget)
    except (CorruptCheckpointError, UnsupportedError) as error:
        error.offset = tensor.offset
        error.forget_frames()
        array = _Refused(tensor, error)
    array.tensorflow_dtype = lookup(tensor.dtype).name
    return array


def _find_fields(buffer: Buffer, start: int, stop: int, *, is_text: bool) -> _Tensor:
    """Return the metadata of a TensorProto."""
    dtype = 0
    shape: tuple[int, ...] = ()
    content = stop, stop
    values: dict[int, _Values] = {}
    for number, wire_type, first, last in iterate_fields(buffer, start, stop):
        if number == _DTYPE and wire_type == VARINT:
            dtype = decode_varint(buffer, first, last)[0]
        elif number == _SHAPE and wire_type == LENGTH_DELIMITED:
            shape = _decode_shape(buffer, first, last)
        elif number == _CONTENT and wire_type == LENGTH_DELIMITED:
            content = first, last
        elif number in _FIELDS and wire_type in wire_types_of(number):
            nbytes = last - first
            others = values.get(number)
            if others is None or number == FLOAT8_VAL:  # not a repeated field: the last one wins
                values[number] = _Values(1, nbytes, first)
            else:
                values[number] = _Values(
                    others.num_fields + 1, others.nbytes + nbytes, others.start
                )
    of_dtype = values.get(VALUE_FIELDS.get(dtype, 0), _Values(start=stop))
    return _Tensor((start, stop), dtype, shape, content, of_dtype, None if is_text else start)


def _decode_shape(buffer: Buffer, start: int, stop: int) -> tuple[int, ...]:
    """Return the shape in a TensorShapeProto.

    Raises:
        CorruptCheckpointError: the shape is unknown or invalid.
    """
    sizes: list[int] = []
    for number, wire_type, first, last in iterate_fields(buffer, start, stop):
        if number == _DIM and wire_type == LENGTH_DELIMITED:
            size = 0
            for field in iterate_fields(buffer, first, last):
                if field.number == _SIZE and field.wire_type == VARINT:
                    size = decode_varint(buffer, field.start, field.stop)[0]
            sizes.append(size - (1 << 64) if size >> 63 else size)
            if len(sizes) > MAX_RANK:
                break
        elif number == _UNKNOWN_RANK and wire_type == VARINT and buffer[first]:
            raise CorruptCheckpointError(
                "invalid shape", offset=start, expected="dimensions", found="an unknown rank"
            )
    try:
        require_sizes(tuple(sizes))
    except CorruptCheckpointError as error:
        error.offset = start
        raise
    return tuple(sizes)


def _make_array(buffer: Buffer, tensor: _Tensor, budget: Budget) -> StoredArray:
    """Return the array of a tensor.

    Raises:
        CorruptCheckpointError: the size of the values contradicts the shape.
        UnsupportedError: the dtype cannot be read, or too many elements are not stored.
    """
    require_readable(tensor.dtype)
    itemsize = tensor.numpy_dtype.itemsize
    content_nbytes = tensor.content[1] - tensor.content[0]
    if content_nbytes:
        if tensor.dtype == STRING:
            return _StringsInContent(tensor)
        _require_count(tensor, content_nbytes / itemsize, is_exact=True)
        return _plain(tensor, tensor.content[0])
    values = tensor.values
    count: int | None
    if tensor.dtype == STRING:
        count = values.num_fields
    elif is_stored_plain(tensor.dtype):
        _require_count(tensor, values.nbytes / itemsize)
        count = values.nbytes // itemsize
        if count == tensor.size and values.num_fields <= 1:
            return _plain(tensor, values.start)
    elif values.num_fields <= 1 and values.nbytes <= _COUNTED_NBYTES:
        payload = buffer[values.start : values.start + values.nbytes]
        count = count_values([payload], tensor.dtype)
    else:
        count = None  # varints, which must be read to be counted
    if count is not None:
        _require_count(tensor, count)
    is_splat = tensor.dtype != STRING and count is not None and count <= 1
    most = values.nbytes if count is None else count
    budget.take(max(tensor.size - most, 0) * itemsize, is_splat=is_splat)
    return _Splat(tensor) if is_splat else _Decoded(tensor)


def _require_count(tensor: _Tensor, found: float, *, is_exact: bool = False) -> None:
    """Raise CorruptCheckpointError for a fraction of a value, or too many, or (exact) too few."""
    if found > tensor.size or found % 1 or (is_exact and found < tensor.size):
        raise CorruptCheckpointError(
            "invalid values of a constant",
            expected=f"{'' if is_exact else 'at most '}{tensor.size} of them,"
            f" for the shape {list(tensor.shape)}",
            found=found,
        )


def _plain(tensor: _Tensor, start: int) -> PlainArray:
    """Return the array of a tensor whose elements are stored as they are in memory."""
    return PlainArray(tensor.numpy_dtype, tensor.shape, start, swapped=_IS_SWAPPED)


class _Refused(StoredArray):
    """A constant that is listed, but cannot be read."""

    def __init__(self, tensor: _Tensor, error: CheckpointError) -> None:
        super().__init__(tensor.numpy_dtype, tensor.shape)
        self._error = error

    @property
    def nbytes(self) -> int:
        """Number of bytes of the elements; 0 if the dtype has no size."""
        return 0 if self.dtype.hasobject else super().nbytes

    def read(self, source: Source, index: Index, *, check: bool) -> NDArray[Any]:
        error = self._error
        raise type(error)(
            error.message, offset=error.offset, expected=error.expected, found=error.found
        )


class _Decoded(StoredArray):
    """A constant whose elements are decoded when they are read."""

    def __init__(self, tensor: _Tensor) -> None:
        super().__init__(tensor.numpy_dtype, tensor.shape)
        self.span = tensor.span
        self._tensor = tensor

    @property
    def nbytes(self) -> int:
        """Number of bytes of the elements; of strings, of those that are stored."""
        return self._tensor.values.nbytes if self.dtype.hasobject else super().nbytes

    def read(self, source: Source, index: Index, *, check: bool) -> NDArray[Any]:
        part = take(self._decode_from(source).reshape(self.shape), index)
        part.flags.writeable = False
        return part

    def _decode_from(self, source: Source) -> NDArray[Any]:
        """Return what `_decode` makes of the bytes of the TensorProto in a file."""
        require_shape(self.shape, self.dtype.itemsize)
        buffer = source.read(*self._tensor.span)
        try:
            return self._decode(buffer)
        except CheckpointError as error:
            error.offset = self._tensor.offset  # it is an offset in the values, not in the file
            raise

    def _decode(self, buffer: bytes | memoryview) -> NDArray[Any]:
        """Return all elements, given the bytes of the TensorProto."""
        values = self._decode_values(buffer)
        count = len(values)
        if count == self.size:
            return values
        whole = np.empty(self.size, self.dtype)
        whole[:count] = values
        whole[count:] = values[-1] if count else b"" if self.dtype.hasobject else 0
        return whole

    def _decode_values(self, buffer: bytes | memoryview) -> NDArray[Any]:
        """Return the values that are stored, given the bytes of the TensorProto."""
        tensor = self._tensor
        payloads = find_values(buffer, [(0, len(buffer))], tensor.dtype)
        count = count_values(payloads, tensor.dtype)
        _require_count(tensor, count)
        return decode_values(payloads, tensor.dtype, count)


class _Splat(_Decoded):
    """A constant whose elements are all the same number, which takes no memory for each."""

    def read(self, source: Source, index: Index, *, check: bool) -> NDArray[Any]:
        value = self._decode_from(source)
        selection = select_elements(index, self.shape)
        if isinstance(selection, BasicSelection):
            return np.broadcast_to(value, self.shape)[keep_array(index)]
        return np.broadcast_to(value, selection.shape)

    def _decode(self, buffer: bytes | memoryview) -> NDArray[Any]:
        values = self._decode_values(buffer)
        return values[0, ...] if len(values) else np.zeros((), self.dtype)


class _StringsInContent(_Decoded):
    """Strings in ``tensor_content``."""

    @property
    def nbytes(self) -> int:
        """Number of bytes of the strings with their lengths."""
        start, stop = self._tensor.content
        return stop - start

    def _decode(self, buffer: bytes | memoryview) -> NDArray[Any]:
        tensor = self._tensor
        start, stop = (position - tensor.span[0] for position in tensor.content)
        content = bytes(buffer[start:stop])
        lengths, pos = decode_varints(content, tensor.size)
        ends = np.cumsum(lengths, dtype=np.uint64) + np.uint64(pos)
        if tensor.size == 0 or lengths.max() > len(content) or ends[-1] != len(content):
            raise CorruptCheckpointError(
                "invalid strings of a constant",
                expected=f"{tensor.size} lengths, then strings of these lengths",
                found=f"{len(content)} bytes",
            )
        whole: NDArray[Any] = np.empty(tensor.size, object)
        for i, end in enumerate(ends.tolist()):
            whole[i] = content[pos:end]
            pos = end
        return whole
