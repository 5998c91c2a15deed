"""The values of a bundle's index table.

Key -> value, in unsigned byte order of keys:

    empty key           BundleHeaderProto: number of shards, byte order of tensors, versions
    name                BundleEntryProto: dtype, shape, and where the bytes are (shard, offset,
                        size, masked CRC-32C) -- or, for a partitioned tensor, its slices
    slice key           BundleEntryProto of one slice; see `tensors.partitions` for the key

Fields of default value are not written.  Unknown fields are skipped.  A dimension of size 0 is an
empty message, and so is the shape of a scalar.  An entry that has slices has no data of its own,
whatever else it says.

Sources: tensorflow/core/protobuf/tensor_bundle.proto, core/util/tensor_bundle/tensor_bundle.cc.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import lru_cache
from math import prod
from typing import NamedTuple

from ckptparse.encoding.varint import decode_varint, encode_varint
from ckptparse.errors import CorruptCheckpointError
from ckptparse.limits import MAX_PARTS_PER_PART
from ckptparse.messages.common import (
    decode_shape,
    decode_slices,
    require_short,
    require_sizes,
    require_version,
)
from ckptparse.messages.pool import load, parse
from ckptparse.messages.wire import count_most_messages, require_few_parts
from ckptparse.tensors.dtypes import STRING, lookup
from ckptparse.tensors.partitions import WHOLE, Extents


class Header(NamedTuple):
    """The header of a bundle, from its index."""

    num_shards: int
    big_endian: bool


class Entry(NamedTuple):
    """The index entry of a tensor or of a slice; fields as in BundleEntryProto.

    `nbytes` is the proto's `size`, `crc32c` is masked, `slices` is () for a tensor stored whole.
    """

    dtype: int
    shape: tuple[int, ...]
    shard_id: int
    offset: int
    nbytes: int
    crc32c: int
    slices: tuple[Extents, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)


_USUAL_HEADER = bytes.fromhex("08 01 1a 02 08 01")
"""One shard, little-endian, producer 1."""


def decode_header(serialized: bytes | memoryview) -> Header:
    """The value of the empty key.

    Raises:
        CorruptCheckpointError: not such a value, or no shards.
        UnsupportedError: it asks for a newer reader, or names this one as unfit.
    """
    if serialized == _USUAL_HEADER:
        return Header(1, big_endian=False)
    require_short("header", serialized)
    header = parse(load("tensor_bundle.proto")["BundleHeaderProto"], serialized)
    require_version(header.version)
    if header.num_shards < 1:
        raise CorruptCheckpointError(
            "invalid number of shards in the header", expected="1 or more", found=header.num_shards
        )
    if header.endianness not in (0, 1):
        raise CorruptCheckpointError(
            "invalid byte order in the header",
            expected="0 (little) or 1 (big)",
            found=header.endianness,
        )
    return Header(header.num_shards, big_endian=header.endianness == 1)


def decode_entry(
    serialized: bytes | memoryview, num_shards: int, most_slices: int = sys.maxsize
) -> Entry:
    """The value of a key other than the empty one.

    Args:
        serialized: the value.
        num_shards: how many data files there are.
        most_slices: how many slices it may have.

    Raises:
        CorruptCheckpointError: it does not parse or contradicts itself.  An unknown dtype is no
            error here.
    """
    entry = _decode_usual_entry(bytes(serialized))
    if entry is None:
        most_parts = most_slices + _OTHER_FIELDS
        if len(serialized) // _MIN_PART_NBYTES > most_slices and not (
            count_most_messages(serialized, _SLICES) <= most_parts
            and count_most_messages(serialized, _INNER_MESSAGES) <= most_parts * MAX_PARTS_PER_PART
        ):
            require_few_parts(serialized, _MESSAGES, most_parts)
        is_short = len(serialized) <= _SHORT_NBYTES
        entry = (_parse_short_entry if is_short else _parse_entry)(bytes(serialized))
    if entry.slices:
        require_few_slices(len(entry.slices), most_slices)
    else:
        _require_place(entry, num_shards)
    return entry


def _parse_entry(serialized: bytes) -> Entry:
    """An entry of whatever form protocol buffers allow."""
    message = parse(load("tensor_bundle.proto")["BundleEntryProto"], serialized)
    shape = decode_shape(message.shape)
    slices = message.slices
    return Entry(
        message.dtype,
        shape,
        message.shard_id,
        message.offset,
        message.size,
        message.crc32c,
        decode_slices(slices, len(shape)) if slices else (),
    )


_parse_short_entry = lru_cache(maxsize=10_000)(_parse_entry)

_SHORT_NBYTES = 64
_MIN_PART_NBYTES = 2
_OTHER_FIELDS = 100
_MESSAGES = frozenset((2, 7))
"""Shape and slices."""
_SLICES = frozenset((7,))
_INNER_MESSAGES = frozenset((1, 2))
"""Extents of a slice, dimensions of a shape."""

DTYPE_TAG, SHAPE_TAG = 1 << 3, 2 << 3 | 2
PLACE_TAGS = (3 << 3, 4 << 3, 5 << 3)
"""Tags of shard_id, offset, size."""
CRC32C_TAG = 6 << 3 | 5

_DIM_TAG, _DIM_SIZE_TAG = 2 << 3 | 2, 1 << 3


def _decode_usual_entry(serialized: bytes) -> Entry | None:
    """An entry of the form that TensorFlow writes for a tensor stored whole; None of any other.

    dtype, shape, perhaps shard_id, offset, size, and crc32c at the end.  For many
    entries, see `entry_columns`.
    """
    nbytes = len(serialized)
    if nbytes < 9 or serialized[0] != DTYPE_TAG or serialized[2] != SHAPE_TAG:
        return None
    pos = 4 + serialized[3]
    end = nbytes - 5
    if (serialized[1] | serialized[3]) >= 0x80 or pos > end or serialized[end] != CRC32C_TAG:
        return None
    start = decode_start(serialized[:pos])
    if start is None:
        return None
    places = [0, 0, 0]  # shard_id, offset, size
    for i, tag in enumerate(PLACE_TAGS):
        if serialized[pos] == tag:
            pos += 1
            shift = 0
            while (byte := serialized[pos]) >= 0x80:  # ends at the checksum's tag at the latest
                places[i] |= (byte & 0x7F) << shift
                shift += 7
                pos += 1
                if shift > 63:
                    return None
            places[i] |= byte << shift
            pos += 1
            if pos > end:
                return None
    shard_id, offset, size = places
    if pos != end or (shard_id >> 31) or (offset | size) >> 63:
        return None
    crc32c = int.from_bytes(serialized[end + 1 :], "little")
    return Entry(start.dtype, start.shape, shard_id, offset, size, crc32c, ())


class Start(NamedTuple):
    """The dtype and the shape of an entry, from its first bytes.

    `nbytes` is what the elements take by their dtype; None where that varies.
    """

    dtype: int
    shape: tuple[int, ...]
    nbytes: int | None


@lru_cache(maxsize=10_000)
def decode_start(start: bytes) -> Start | None:
    """The first bytes of an entry, up to its place; None in any unusual form.

    Many tensors of a model have these in common.

    Raises:
        CorruptCheckpointError: see `messages.common.require_sizes`.
    """
    if len(start) < 4:
        return None
    sizes = []
    pos, end = 4, len(start)
    while pos < end:
        nbytes = start[pos + 1] if pos + 1 < end else 0x80
        dim_end = pos + 2 + nbytes
        if start[pos] != _DIM_TAG or nbytes >= 0x80 or dim_end > end:
            return None
        size = 0
        if nbytes:
            if start[pos + 2] != _DIM_SIZE_TAG:
                return None
            size, pos = decode_varint(start, pos + 3, dim_end)
            if pos != dim_end or size >> 63:
                return None
        sizes.append(size)
        pos = dim_end
    shape = tuple(sizes)
    require_sizes(shape)
    itemsize = lookup(start[1]).itemsize
    return Start(start[1], shape, None if itemsize is None else prod(shape) * itemsize)


def require_few_slices(num_slices: int, most: int) -> None:
    """Check that entries have no more slices than the index can have entries for.

    Raises:
        CorruptCheckpointError: they have more.
    """
    if num_slices > most:
        raise CorruptCheckpointError(
            "invalid slices", expected=f"at most {most}, by the size of the index", found=num_slices
        )


def _require_place(entry: Entry, num_shards: int) -> None:
    if not 0 <= entry.shard_id < num_shards:
        raise CorruptCheckpointError(
            "invalid shard number", expected=f"0 to {num_shards - 1}", found=entry.shard_id
        )
    if entry.offset < 0 or entry.nbytes < 0:
        raise CorruptCheckpointError(
            "invalid place in the shard",
            expected="offset and size from 0",
            found=f"offset {entry.offset}, size {entry.nbytes}",
        )
    data_type = lookup(entry.dtype)
    if data_type.itemsize is not None and entry.nbytes != entry.size * data_type.itemsize:
        raise CorruptCheckpointError(
            "invalid size",
            expected=f"{entry.size * data_type.itemsize} bytes for {data_type.name}"
            f" {list(entry.shape)}",
            found=entry.nbytes,
        )
    if entry.dtype == STRING and entry.nbytes < entry.size + 4:
        raise CorruptCheckpointError(
            "invalid size",
            expected=f"at least {entry.size + 4} bytes for {entry.size} strings",
            found=entry.nbytes,
        )


def encode_header(num_shards: int) -> bytes:
    """Return the value of the empty key, of a little-endian bundle, as TensorFlow writes it."""
    return b"\x08" + encode_varint(num_shards) + _USUAL_HEADER[2:]


@lru_cache(maxsize=10_000)
def encode_start(dtype: int, shape: tuple[int, ...]) -> bytes:
    """Return the first bytes of an entry, dtype and shape, as TensorFlow writes them."""
    dims = b"".join(map(_encode_dim, shape))
    return (
        bytes([DTYPE_TAG]) + encode_varint(dtype) + bytes([SHAPE_TAG]) + encode_varint(len(dims))
    ) + dims


def _encode_dim(size: int) -> bytes:
    """Return a field of a shape; the size 0 is not written."""
    dim = bytes([_DIM_SIZE_TAG]) + encode_varint(size) if size else b""
    return bytes([_DIM_TAG, len(dim)]) + dim


def encode_entry(
    dtype: int, shape: tuple[int, ...], shard_id: int, offset: int, nbytes: int, crc32c: int
) -> bytes:
    """Return the value of a tensor, or slice, that is stored whole, as TensorFlow writes it.

    Args:
        dtype: number of the dtype.
        shape: shape of the tensor, or of the slice.
        shard_id: number of the data file; 0 is not written.
        offset: offset of its bytes in the data file; 0 is not written.
        nbytes: number of its bytes; 0 is not written.
        crc32c: the masked checksum.
    """
    value = encode_start(dtype, shape)
    if shard_id:
        value += b"\x18" + encode_varint(shard_id)
    if offset:
        value += b"\x20" + encode_varint(offset)
    if nbytes:
        value += b"\x28" + encode_varint(nbytes)
    return value + b"\x35" + crc32c.to_bytes(4, "little")


def encode_partitioned_entry(
    dtype: int, shape: tuple[int, ...], slices: Iterable[Extents]
) -> bytes:
    """Return the value of a partitioned tensor: dtype, whole shape, and its slices."""
    value = encode_start(dtype, shape)
    for extents in slices:
        coded = b"".join(_length_delimited(0x0A, _encode_extent(*extent)) for extent in extents)
        value += _length_delimited(0x3A, coded)
    return value


def _encode_extent(start: int, length: int) -> bytes:
    """Return an extent of a slice; a whole dimension is empty, and the start 0 is not written."""
    if length == WHOLE:
        return b""
    coded = b"\x08" + encode_varint(start) if start else b""
    return coded + b"\x10" + encode_varint(length)


def _length_delimited(tag: int, contents: bytes) -> bytes:
    """Return a field that holds bytes or a message."""
    return bytes([tag]) + encode_varint(len(contents)) + contents
