"""Tables and bundles built field by field, by an independent encoder.

Nothing here is imported from ckptparse, so that a mistake in its reader is not repeated here.
Each function makes one structure of the format and takes its parts, so that any field can be wrong
while every checksum around it is right::

    table      data blocks | metaindex block | index block | footer
    block      contents | type, 1 byte | masked CRC-32C of contents and type, LE32
    contents   entry* | restart offset, LE32 each | number of restarts, LE32
    entry      varint shared | varint non_shared | varint value size | end of the key | value
    footer     metaindex handle | index handle | padding to 40 bytes | magic
    handle     varint offset | varint size without the 5 bytes after the contents

`write_bundle` puts a whole checkpoint on disk.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import snappy
from crc32c import crc32c

MAGIC = bytes.fromhex("57fb808b247547db")
FOOTER_NBYTES = 48
TRAILER_NBYTES = 5

Entry = tuple[bytes, bytes]
"""Key and value."""

# Checksums and integers


def masked_crc32c(*parts: bytes) -> int:
    """The stored form of the CRC-32C of the parts: rotated right by 15 bits, plus 0xa282ead8."""
    crc = 0
    for part in parts:
        crc = crc32c(part, crc)
    rotated = (crc >> 15) + ((crc & 0x7FFF) << 17)
    return (rotated + 0xA282EAD8) % 2**32


def varint(value: int, nbytes: int = 0) -> bytes:
    """Base 128, little-endian groups; padded to `nbytes` if that is longer."""
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F)
    groups += [0] * (nbytes - len(groups))
    return bytes([group | 0x80 for group in groups[:-1]] + groups[-1:])


# Protocol buffers


def varint_field(number: int, value: int) -> bytes:
    """tag, varint; a negative number as the 64-bit two's complement."""
    return varint(number << 3) + varint(value % 2**64)


def fixed64_field(number: int, value: int) -> bytes:
    """tag, LE64"""
    return varint(number << 3 | 1) + struct.pack("<Q", value)


def bytes_field(number: int, payload: bytes) -> bytes:
    """tag, varint length, payload: a string or a message."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def fixed32_field(number: int, value: int) -> bytes:
    """tag, LE32"""
    return varint(number << 3 | 5) + struct.pack("<I", value)


def wrapped(numbers: Sequence[int], payload: bytes) -> bytes:
    """The payload in a field of these numbers, the first of them outermost."""
    for number in reversed(numbers):
        payload = bytes_field(number, payload)
    return payload


def groups(depth: int) -> bytes:
    """Groups in groups of the field 15, which no message has."""
    return varint(15 << 3 | 3) * depth + varint(15 << 3 | 4) * depth


# Blocks


def block(
    entries: Iterable[Entry],
    restart_interval: int = 16,
    *,
    share: bool = True,
    restarts: Sequence[int] | None = None,
    num_restarts: int | None = None,
) -> bytes:
    """The contents of a block: entries in the order given, restart array, number of restarts.

    `share=False` writes every key whole, `restarts` replaces the offsets and `num_restarts` the
    number after them.
    """
    out = bytearray()
    offsets = [0]
    previous = b""
    for i, (key, value) in enumerate(entries):
        if i and i % restart_interval == 0:
            offsets.append(len(out))
            previous = b""
        shared = 0
        while share and shared < min(len(key), len(previous)) and key[shared] == previous[shared]:
            shared += 1
        out += block_entry(key[shared:], value, shared)
        previous = key
    offsets = offsets if restarts is None else list(restarts)
    count = len(offsets) if num_restarts is None else num_restarts
    return bytes(out) + struct.pack(f"<{len(offsets) + 1}I", *offsets, count)


def block_entry(suffix: bytes, value: bytes, shared: int = 0) -> bytes:
    """varint shared | varint non_shared | varint value size | suffix | value"""
    return varint(shared) + varint(len(suffix)) + varint(len(value)) + suffix + value


def block_of_bytes(entry_bytes: bytes, restarts: Sequence[int] = (0,)) -> bytes:
    """Contents whose entries are these bytes, whatever they are."""
    return entry_bytes + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


@dataclass(frozen=True)
class Stored:
    """A block as stored in the file: contents (compressed or not), type, checksum.

    `crc_xor` damages the checksum; otherwise it is right for contents and type, whatever they are.
    """

    contents: bytes
    block_type: int = 0
    crc_xor: int = 0

    def __bytes__(self) -> bytes:
        checked = self.contents + bytes([self.block_type])
        return checked + struct.pack("<I", masked_crc32c(checked) ^ self.crc_xor)


def compressed(contents: bytes) -> Stored:
    """A block of type 1: raw snappy."""
    return Stored(snappy.compress(contents), 1)


def shortest_separator(last: bytes, following: bytes | None) -> bytes:
    """TensorFlow's separator: at or above `last`, below `following` (None: there is none)."""
    if following is None:
        for i, byte in enumerate(last):
            if byte != 0xFF:
                return last[:i] + bytes([byte + 1])
        return last
    i = 0
    while i < min(len(last), len(following)) and last[i] == following[i]:
        i += 1
    if i < min(len(last), len(following)) and last[i] < 0xFF and last[i] + 1 < following[i]:
        return last[:i] + bytes([last[i] + 1])
    return last


def split(entries: Sequence[Entry], size: int) -> list[Sequence[Entry]]:
    """Entries in runs of `size`, for the blocks of a table."""
    return [entries[i : i + size] for i in range(0, len(entries), size)]


# Tables


def handle(offset: int, nbytes: int) -> bytes:
    """varint offset | varint size"""
    return varint(offset) + varint(nbytes)


def footer(metaindex: bytes, index: bytes, padding: int = 0, magic: bytes = MAGIC) -> bytes:
    """metaindex handle | index handle | padding to 40 bytes | magic"""
    return (metaindex + index).ljust(FOOTER_NBYTES - len(MAGIC), bytes([padding])) + magic


def table(
    *blocks: Sequence[Entry] | Stored,
    restart_interval: int = 16,
    index_restart_interval: int = 1,
    snappy_blocks: bool = False,
    snappy_index: bool = False,
    separators: Mapping[int, bytes] | None = None,
    handles: Mapping[int, bytes] | None = None,
    block_types: Mapping[int, int] | None = None,
    crc_xors: Mapping[int, int] | None = None,
    index: Stored | None = None,
    index_handle: bytes | None = None,
    metaindex: Stored | None = None,
    metaindex_handle: bytes | None = None,
    padding: int = 0,
    magic: bytes = MAGIC,
) -> bytes:
    """A table file.  Arguments other than the blocks make it unusual, or wrong.

    Args:
        blocks: entries of each data block, or the block as stored.
        restart_interval, index_restart_interval: entries from restart to restart.
        snappy_blocks, snappy_index: compress data blocks, the index block.
        separators: separators that replace TensorFlow's, by number of block.  A `Stored` block has
            no keys that could be known here and needs one.
        handles: values in the index block that replace the true handles, by number of block.
        block_types, crc_xors: type bytes and damage to checksums, by number of block.
        index: replaces the index block.
        index_handle: replaces the index handle in the footer.
        metaindex, metaindex_handle: the same of the metaindex block.
        padding, magic: bytes of the footer.
    """
    separators, handles = separators or {}, handles or {}
    stored = []
    for i, entries in enumerate(blocks):
        if not isinstance(entries, Stored):
            contents = block(entries, restart_interval)
            entries = compressed(contents) if snappy_blocks else Stored(contents)
        kind = (block_types or {}).get(i, entries.block_type)
        crc_xor = (crc_xors or {}).get(i, entries.crc_xor)
        stored.append(Stored(entries.contents, kind, crc_xor))
    file = bytearray()
    index_entries = []
    for i, part in enumerate(stored):
        separator = separators[i] if i in separators else _separator(blocks, i)
        place = handle(len(file), len(part.contents))
        index_entries.append((separator, handles.get(i, place)))
        file += bytes(part)
    if metaindex is None:
        metaindex = Stored(block([]))
    if metaindex_handle is None:
        metaindex_handle = handle(len(file), len(metaindex.contents))
    file += bytes(metaindex)
    if index is None:
        contents = block(index_entries, index_restart_interval)
        index = compressed(contents) if snappy_index else Stored(contents)
    if index_handle is None:
        index_handle = handle(len(file), len(index.contents))
    file += bytes(index)
    return bytes(file) + footer(metaindex_handle, index_handle, padding, magic)


def _separator(blocks: Sequence[Sequence[Entry] | Stored], i: int) -> bytes:
    last = blocks[i]
    assert not isinstance(last, Stored), f"block {i} needs a separator"
    following = blocks[i + 1] if i + 1 < len(blocks) else None
    if isinstance(following, Stored):
        return last[-1][0]
    return shortest_separator(last[-1][0], following[0][0] if following else None)


# Keys of slices: ordered code


def ordered_uint(value: int) -> bytes:
    """1 byte count, then that many bytes big-endian, no leading zeros."""
    digits = b""
    while value:
        digits = bytes([value % 256]) + digits
        value //= 256
    return bytes([len(digits)]) + digits


def ordered_string(value: bytes) -> bytes:
    """00 as 00 ff, ff as ff 00, closed by 00 01."""
    # Not two replace(): the second one would see what the first one wrote.
    parts = [b"\x00\xff" if c == 0 else b"\xff\x00" if c == 255 else bytes([c]) for c in value]
    return b"".join(parts) + b"\x00\x01"


def ordered_int(value: int) -> bytes:
    """As many 1 bits as bytes, a 0 bit, the value; of a negative one the complement of -1-v."""
    if value < 0:
        return bytes(255 - byte for byte in ordered_int(-1 - value))
    nbytes = 1
    while value >= 2 ** (7 * nbytes - 1):
        nbytes += 1
    bits = "1" * nbytes + format(value, "b").zfill(7 * nbytes)
    return bytes(int(bits[i : i + 8], 2) for i in range(0, 8 * nbytes, 8))


Extent = tuple[int, int] | None
"""(start, length) of a slice along one dimension; None for the whole dimension."""


def slice_key(name: bytes, extents: Sequence[Extent]) -> bytes:
    """uint 0 | string name | uint rank | for each dimension: int start, int length or -1"""
    key = ordered_uint(0) + ordered_string(name) + ordered_uint(len(extents))
    for extent in extents:
        start, length = (0, -1) if extent is None else extent
        key += ordered_int(start) + ordered_int(length)
    return key


# Values of a bundle's index


def bundle_header(
    num_shards: int = 1,
    endianness: int = 0,
    *,
    producer: int = 1,
    min_consumer: int = 0,
    bad_consumers: Sequence[int] = (),
    extra: bytes = b"",
) -> bytes:
    """BundleHeaderProto: 1 num_shards, 2 endianness, 3 version; values of 0 are left out.

    version: 1 producer, 2 min_consumer, 3 packed bad_consumers.
    """
    version = _unless_zero(1, producer) + _unless_zero(2, min_consumer)
    if bad_consumers:
        version += bytes_field(3, b"".join(varint(v % 2**64) for v in bad_consumers))
    fields = _unless_zero(1, num_shards) + _unless_zero(2, endianness)
    return fields + (bytes_field(3, version) if version else b"") + extra


def tensor_shape(dims: Sequence[int], *, unknown_rank: bool = False) -> bytes:
    """TensorShapeProto: 2 repeated dim (1 size), 3 unknown_rank; size 0 is an empty dim."""
    sizes = b"".join(bytes_field(2, _unless_zero(1, size)) for size in dims)
    return sizes + (varint_field(3, 1) if unknown_rank else b"")


def tensor_slice(extents: Sequence[Extent]) -> bytes:
    """TensorSliceProto: 1 repeated extent (1 start, 2 length); a whole dimension is empty."""
    out = b""
    for extent in extents:
        inner = b"" if extent is None else _unless_zero(1, extent[0]) + varint_field(2, extent[1])
        out += bytes_field(1, inner)
    return out


def bundle_entry(
    dtype: int,
    dims: Sequence[int] = (),
    *,
    shard_id: int = 0,
    offset: int = 0,
    size: int = 0,
    crc: int | None = None,
    slices: Sequence[Sequence[Extent]] = (),
    unknown_rank: bool = False,
    extra: bytes = b"",
) -> bytes:
    """BundleEntryProto: 1 dtype, 2 shape, 3 shard_id, 4 offset, 5 size, 6 crc32c, 7 slices.

    Numbers of 0 are left out; `crc` is masked, None leaves it out.
    """
    return b"".join(
        [
            _unless_zero(1, dtype),
            bytes_field(2, tensor_shape(dims, unknown_rank=unknown_rank)),
            _unless_zero(3, shard_id),
            _unless_zero(4, offset),
            _unless_zero(5, size),
            b"" if crc is None else fixed32_field(6, crc),
            *(bytes_field(7, tensor_slice(extents)) for extents in slices),
            extra,
        ]
    )


def _unless_zero(number: int, value: int) -> bytes:
    return varint_field(number, value) if value else b""


# Payloads

DTYPE_NUMBERS = {
    "float32": 1,
    "float64": 2,
    "int32": 3,
    "uint8": 4,
    "int16": 5,
    "int8": 6,
    "object": 7,
    "complex64": 8,
    "int64": 9,
    "bool": 10,
    "bfloat16": 14,
    "uint16": 17,
    "complex128": 18,
    "float16": 19,
    "uint32": 22,
    "uint64": 23,
    "float8_e5m2": 24,
    "float8_e4m3fn": 25,
    "int4": 29,
    "uint4": 30,
}
"""TensorFlow's number for numpy's name; objects are strings."""


def string_payload(strings: Sequence[bytes], *, big_endian: bool = False) -> tuple[bytes, int]:
    """The stored bytes of strings and their masked checksum.

    varint length each | masked checksum of the lengths as 32-bit numbers | bytes of each.  The
    checksum of the whole continues that of the lengths over the bytes after them.
    """
    order = ">" if big_endian else "<"
    lengths = b"".join(struct.pack(f"{order}I", len(string)) for string in strings)
    stored = struct.pack(f"{order}I", masked_crc32c(lengths))
    payload = b"".join(varint(len(string)) for string in strings) + stored + b"".join(strings)
    return payload, masked_crc32c(lengths, stored, *strings)


def variant_payload(messages: Sequence[bytes]) -> tuple[bytes, int]:
    """The stored bytes of variants and their masked checksum.

    For each: varint n | n bytes | masked checksum so far, LE32.  The checksum takes n as LE64, the
    n bytes and then the stored 4 bytes, and continues over all elements.
    """
    payload, hashed = b"", b""
    for message in messages:
        hashed += struct.pack("<Q", len(message)) + message
        stored = struct.pack("<I", masked_crc32c(hashed))
        payload += varint(len(message)) + message + stored
        hashed += stored
    return payload, masked_crc32c(hashed)


def array_payload(array: np.ndarray, *, big_endian: bool = False) -> tuple[bytes, int]:
    """The stored bytes of an array (of `bytes` objects for strings) and their masked checksum."""
    if array.dtype == object:
        return string_payload(array.ravel().tolist(), big_endian=big_endian)
    payload = np.ascontiguousarray(array).tobytes()
    if big_endian:
        width = array.dtype.itemsize // (2 if array.dtype.kind == "c" else 1)
        payload = b"".join(payload[i : i + width][::-1] for i in range(0, len(payload), width))
    return payload, masked_crc32c(payload)


# Bundles


@dataclass(frozen=True)
class Partitioned:
    """A tensor stored in slices: the whole array, and the extents of each slice."""

    array: np.ndarray
    slices: Sequence[Sequence[Extent]]


@dataclass
class Bundle:
    """A bundle in memory: entries of the index by key, bytes of each shard."""

    index: dict[bytes, bytes]
    shards: list[bytearray] = field(default_factory=list)

    def add(
        self, key: bytes, array: np.ndarray, shard_id: int, *, big_endian: bool, align: int
    ) -> None:
        """Append an array to a shard and enter it in the index."""
        payload, crc = array_payload(array, big_endian=big_endian)
        shard = self.shards[shard_id]
        shard += bytes(-len(shard) % align)
        dtype = DTYPE_NUMBERS[array.dtype.name]
        self.index[key] = bundle_entry(
            dtype,
            array.shape,
            shard_id=shard_id,
            offset=len(shard),
            size=len(payload),
            crc=crc,
        )
        shard += payload


Tensor = np.ndarray | Sequence[bytes] | Partitioned


def build_bundle(
    tensors: Mapping[str | bytes, Tensor],
    *,
    num_shards: int = 1,
    big_endian: bool = False,
    align: int = 1,
) -> Bundle:
    """A bundle of numpy arrays, lists of bytes and partitioned arrays.

    Arrays and slices go to the shards in turn, in the order given; `align` pads their offsets.
    """
    bundle = Bundle(
        {b"": bundle_header(num_shards, int(big_endian))}, [bytearray() for _ in range(num_shards)]
    )
    pieces: list[tuple[bytes, np.ndarray]] = []
    for name, tensor in tensors.items():
        key = name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name
        if isinstance(tensor, Partitioned):
            array = tensor.array
            number = DTYPE_NUMBERS[array.dtype.name]
            bundle.index[key] = bundle_entry(number, array.shape, slices=tensor.slices)
            for extents in tensor.slices:
                pieces.append((slice_key(key, extents), array[_numpy_index(extents)]))
        else:
            pieces.append((key, _as_array(tensor)))
    for i, (key, array) in enumerate(pieces):
        bundle.add(key, array, i % num_shards, big_endian=big_endian, align=align)
    return bundle


def _as_array(tensor: np.ndarray | Sequence[bytes]) -> np.ndarray:
    if isinstance(tensor, np.ndarray):
        return tensor
    strings = np.empty(len(tensor), object)
    strings[:] = tensor
    return strings


def _numpy_index(extents: Sequence[Extent]) -> tuple[slice, ...]:
    whole = slice(None)
    return tuple(whole if e is None else slice(e[0], e[0] + e[1]) for e in extents)


def write_bundle(
    folder: Path,
    tensors: Mapping[str | bytes, Tensor],
    *,
    name: str = "model.ckpt",
    num_shards: int = 1,
    big_endian: bool = False,
    align: int = 1,
    entries_per_block: int = 1000,
    edit: Callable[[Bundle], None] | None = None,
    **table_options: object,
) -> Path:
    """Write a small checkpoint and return its prefix.

    Args:
        folder: where to.
        tensors: name to array, list of bytes, or `Partitioned`.
        name: last part of the prefix.
        num_shards, big_endian, align: see `build_bundle`.
        entries_per_block: entries in each data block of the index.
        edit: called with the bundle before it is written, to damage entries or shards; checksums
            of the table are right for whatever it leaves.
        table_options: see `table`.
    """
    bundle = build_bundle(tensors, num_shards=num_shards, big_endian=big_endian, align=align)
    if edit is not None:
        edit(bundle)
    prefix = folder / name
    blocks = split(sorted(bundle.index.items()), entries_per_block)
    Path(f"{prefix}.index").write_bytes(table(*blocks, **table_options))
    for i, shard in enumerate(bundle.shards):
        path = Path(f"{prefix}.data-{i:05d}-of-{len(bundle.shards):05d}")
        path.write_bytes(shard)
    return prefix


# Sources


@dataclass
class CountingSource:
    """A source over bytes that records every range that is read.

    `mapped` says what it returns: views, as a source over a map does, or bytes.
    """

    contents: bytes
    mapped: bool = False
    name: str = "counted"
    request_nbytes: int = 0
    reads: list[tuple[int, int]] = field(default_factory=list)

    @property
    def nbytes(self) -> int:
        return len(self.contents)

    def read(self, start: int, stop: int) -> bytes | memoryview:
        assert 0 <= start <= stop <= len(self.contents), (start, stop)
        self.reads.append((start, stop))
        return memoryview(self.contents)[start:stop] if self.mapped else self.contents[start:stop]

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes | memoryview]:
        return [self.read(start, stop) for start, stop in ranges]

    def close(self) -> None:
        pass
