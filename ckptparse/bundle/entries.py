"""The values of a bundle's index table.

Key -> value, in unsigned byte order of keys:

    empty key           BundleHeaderProto: number of shards, byte order of tensors, versions
    name                BundleEntryProto: dtype, shape, and where the bytes are (shard, offset,
                        size, masked CRC-32C) -- or, for a partitioned tensor, its slices
    slice key           BundleEntryProto of one slice; see `slices` for the key

Fields of default value are not written.  Unknown fields are skipped.  A dimension of size 0 is an
empty message, and so is the shape of a scalar.  An entry that has slices has no data of its own,
whatever else it says.

Sources: tensorflow/core/protobuf/tensor_bundle.proto, core/util/tensor_bundle/tensor_bundle.cc.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from ckptparse.dtypes import STRING, lookup
from ckptparse.errors import CorruptCheckpointError
from ckptparse.messages import load, parse
from ckptparse.shapes import decode_shape, decode_slices
from ckptparse.slices import Extents
from ckptparse.versions import require_version

_messages = load("tensor_bundle.proto")
BundleHeaderProto = _messages["BundleHeaderProto"]
BundleEntryProto = _messages["BundleEntryProto"]


class Header(NamedTuple):
    """What the index says of the whole bundle."""

    num_shards: int
    big_endian: bool


class Entry(NamedTuple):
    """What the index says of one tensor, or of one slice; fields as in BundleEntryProto.

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


def decode_header(serialized: bytes | memoryview) -> Header:
    """The value of the empty key.

    Raises:
        CorruptCheckpointError: not such a value, or no shards.
        UnsupportedError: it asks for a newer reader, or names this one as unfit.
    """
    header = parse(BundleHeaderProto, serialized)
    require_version(header.version)
    if header.num_shards < 1:
        raise CorruptCheckpointError(
            "number of shards in the header", expected="1 or more", found=header.num_shards
        )
    if header.endianness not in (0, 1):
        raise CorruptCheckpointError(
            "byte order in the header", expected="0 (little) or 1 (big)", found=header.endianness
        )
    return Header(header.num_shards, big_endian=header.endianness == 1)


def decode_entry(serialized: bytes | memoryview, num_shards: int) -> Entry:
    """The value of a key other than the empty one.

    Raises:
        CorruptCheckpointError: it does not parse or contradicts itself.  An unknown dtype is none.
    """
    message = parse(BundleEntryProto, serialized)
    shape = decode_shape(message.shape)
    entry = Entry(
        message.dtype,
        shape,
        message.shard_id,
        message.offset,
        message.size,
        message.crc32c,
        decode_slices(message.slices, len(shape)) if message.slices else (),
    )
    if not entry.slices:
        _require_place(entry, num_shards)
    return entry


def _require_place(entry: Entry, num_shards: int) -> None:
    if not 0 <= entry.shard_id < num_shards:
        raise CorruptCheckpointError(
            "shard number", expected=f"0 to {num_shards - 1}", found=entry.shard_id
        )
    if entry.offset < 0 or entry.nbytes < 0:
        raise CorruptCheckpointError(
            "place in the shard",
            expected="offset and size from 0",
            found=f"offset {entry.offset}, size {entry.nbytes}",
        )
    data_type = lookup(entry.dtype)
    if data_type.itemsize is not None and entry.nbytes != entry.size * data_type.itemsize:
        raise CorruptCheckpointError(
            "size",
            expected=f"{entry.size * data_type.itemsize} bytes for {data_type.name}"
            f" {list(entry.shape)}",
            found=entry.nbytes,
        )
    if entry.dtype == STRING and entry.nbytes < entry.size + 4:
        raise CorruptCheckpointError(
            "size",
            expected=f"at least {entry.size + 4} bytes for {entry.size} strings",
            found=entry.nbytes,
        )
