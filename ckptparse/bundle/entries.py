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
from typing import Any, NamedTuple

from ckptparse.dtypes import STRING, lookup
from ckptparse.errors import CorruptCheckpointError, UnsupportedError
from ckptparse.messages import load, parse
from ckptparse.slices import WHOLE, Extents

_messages = load("tensor_bundle.proto")
BundleHeaderProto = _messages["BundleHeaderProto"]
BundleEntryProto = _messages["BundleEntryProto"]

READER_VERSION = 1
"""What this reader is, in the numbers of VersionDef: kTensorBundleVersion of TensorFlow."""

MAX_RANK = 254
"""TensorShape::MaxDimensions of tensorflow/core/framework/tensor_shape.h."""

_MAX_SIZE = 2**63 - 1


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


def require_version(version: Any) -> None:
    """The rules of tensorflow/core/framework/versions.cc, ``CheckVersions``, for a VersionDef."""
    if version.producer < 0:
        raise CorruptCheckpointError(
            "producer version in the header", expected="0 or more", found=version.producer
        )
    if version.min_consumer > READER_VERSION:
        raise UnsupportedError(
            "written for a newer reader",
            expected=f"a file for readers of version {READER_VERSION}",
            found=f"one for version {version.min_consumer} or later",
        )
    if READER_VERSION in version.bad_consumers:
        raise UnsupportedError(
            "marked by its writer as not to be read by this version",
            expected=f"a file for readers of version {READER_VERSION}",
            found=f"bad_consumers {list(version.bad_consumers)}",
        )


def decode_entry(serialized: bytes | memoryview, num_shards: int) -> Entry:
    """The value of a key other than the empty one.

    Raises:
        CorruptCheckpointError: it does not parse or contradicts itself.  An unknown dtype is none.
    """
    message = parse(BundleEntryProto, serialized)
    entry = Entry(
        message.dtype,
        tuple(dim.size for dim in message.shape.dim),
        message.shard_id,
        message.offset,
        message.size,
        message.crc32c,
        tuple(_decode_extents(piece) for piece in message.slices) if message.slices else (),
    )
    if message.shape.unknown_rank or len(entry.shape) > MAX_RANK:
        raise CorruptCheckpointError(
            "shape",
            expected=f"at most {MAX_RANK} dimensions",
            found="an unknown rank" if message.shape.unknown_rank else len(entry.shape),
        )
    if entry.shape and (
        min(entry.shape) < 0 or prod(size for size in entry.shape if size) > _MAX_SIZE
    ):
        raise CorruptCheckpointError(
            "shape", expected="sizes from 0, fewer than 2**63 elements", found=list(entry.shape)
        )
    if entry.slices:
        for extents in entry.slices:
            _require_extents(extents, len(entry.shape))
    else:
        _require_place(entry, num_shards)
    return entry


def _decode_extents(message: Any) -> Extents:
    return tuple(
        (extent.start, extent.length if extent.HasField("length") else WHOLE)
        for extent in message.extent
    )


def _require_extents(extents: Extents, rank: int) -> None:
    if len(extents) != rank:
        raise CorruptCheckpointError(
            "slice", expected=f"{rank} dimensions, as the tensor has", found=len(extents)
        )
    for start, length in extents:
        if start < 0 or length < WHOLE or (length == WHOLE and start != 0):
            raise CorruptCheckpointError(
                "extent of a slice",
                expected="a start from 0 and a length, or neither",
                found=f"start {start}, length {'none' if length == WHOLE else length}",
            )


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
