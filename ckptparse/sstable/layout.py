"""The layout of a table file, and the one function that reads a block.

::

    data block 0 | data block 1 | ... | metaindex block | index block | footer

    footer, the last 48 bytes:
        metaindex handle | index handle | padding to 40 bytes | magic 57 fb 80 8b 24 75 47 db
    handle:
        varint64 offset | varint64 size of the contents, without the trailer
    block:
        contents (`size` bytes) | type, 1 byte | masked CRC-32C of contents and type, LE32
    type:
        0 as it is, 1 raw snappy

The metaindex block is empty in every file that TensorFlow writes, and TensorFlow never reads it;
nor do we.  Source: tensorflow/core/lib/io/format.cc (newer: xla/tsl/lib/io/format.cc).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ckptparse.encoding.crc32c import require_crc32c
from ckptparse.encoding.records import make_records
from ckptparse.encoding.varint import MAX_VARINT32_NBYTES, decode_varint
from ckptparse.encoding.varint_arrays import decode_varint_each
from ckptparse.errors import (
    CheckpointError,
    CorruptCheckpointError,
    NotACheckpointError,
    TruncatedError,
    located,
)
from ckptparse.sources import MemorySource, Source
from ckptparse.sources.checksum import crc32c_of_range
from ckptparse.sstable.columns import Columns

FOOTER_NBYTES = 48
MAGIC = bytes.fromhex("57fb808b247547db")
TRAILER_NBYTES = 5
TYPE_NONE = 0
TYPE_SNAPPY = 1

_EMPTY_KEY_ENTRY = b"\x00\x00"
"""How the first entry of every checkpoint table begins: nothing shared, key of no bytes."""


class BlockHandle(NamedTuple):
    """Place of a block: offset in the file and size of its contents, in bytes."""

    offset: int
    nbytes: int


def decode_handle(buffer: bytes | memoryview, pos: int) -> tuple[BlockHandle, int]:
    """A handle at `pos` of a buffer: (handle, position after it)."""
    offset, pos = decode_varint(buffer, pos, len(buffer))
    nbytes, pos = decode_varint(buffer, pos, len(buffer))
    return BlockHandle(offset, nbytes), pos


def decode_handles(columns: Columns) -> list[BlockHandle]:
    """Return the handles that are the values of an index block.

    Raises:
        CorruptCheckpointError: a value is not a handle.
    """
    octets = np.frombuffer(columns.contents, np.uint8)
    offset, pos, unended = decode_varint_each(octets, columns.starts, 9)
    nbytes, pos, also_unended = decode_varint_each(octets, pos, 9)
    if (unended | also_unended | (pos > columns.stops)).any():
        places = zip(columns.starts.tolist(), columns.stops.tolist())
        return [decode_handle(columns.contents[start:stop], 0)[0] for start, stop in places]
    return make_records(BlockHandle, offset.tolist(), nbytes.tolist())


def is_table(source: Source) -> bool:
    """Return whether a file ends like a table; reads its last bytes."""
    start = source.nbytes - len(MAGIC)
    return start >= 0 and source.read(start, source.nbytes) == MAGIC


def read_footer(source: Source) -> BlockHandle:
    """The handle of the index block.

    Raises:
        TruncatedError: the file is shorter than a footer, or begins like a table without ending
            like one.
        NotACheckpointError: the file is something else.
    """
    start = source.nbytes - FOOTER_NBYTES
    footer = bytes(source.read(max(start, 0), source.nbytes))
    if footer.endswith(MAGIC) and start >= 0:
        with located(file=source.name, base=start):
            _, pos = decode_handle(footer, 0)
            index, _ = decode_handle(footer, pos)
        return index
    head = bytes(source.read(0, min(source.nbytes, len(_EMPTY_KEY_ENTRY))))
    expected = f"the magic {MAGIC.hex(' ')} at the end"
    if start < 0 or head == _EMPTY_KEY_ENTRY:
        raise TruncatedError(
            "this file is cut off: it ends before its table does" if head else "this file is empty",
            file=source.name,
            offset=max(start, 0),
            expected=f"a footer of {FOOTER_NBYTES} bytes with {expected}",
            found=f"{footer[-8:].hex(' ')} at the end of {source.nbytes} bytes"
            if footer
            else "an empty file",
        )
    raise NotACheckpointError(
        "this is not a checkpoint",
        file=source.name,
        offset=max(source.nbytes - len(MAGIC), 0),
        expected=expected,
        found=footer[-len(MAGIC) :].hex(" "),
    )


def read_block(source: Source, handle: BlockHandle, *, verify: bool = True) -> bytes | memoryview:
    """The contents of a block: read, checked (unless `verify` is False), decompressed.

    A view into the source for an uncompressed block of a source that gives views.

    Raises:
        CorruptCheckpointError: the handle points outside the file, an unknown block type, or
            compressed bytes that do not decompress.
        ChecksumError: the stored CRC-32C does not fit.
    """
    end = _require_end(source, handle)
    stored = source.read(handle.offset, end)
    try:
        if verify:
            # V1 has blocks of gigabytes, worth all cores; what is checked is what is given.
            crc = crc32c_of_range(MemorySource(source.name, stored), 0, handle.nbytes + 1)
            require_crc32c("block", crc, int.from_bytes(stored[handle.nbytes + 1 :], "little"))
        block_type = stored[handle.nbytes]
        contents = stored[: handle.nbytes]
        if block_type == TYPE_NONE:
            return contents
        if block_type == TYPE_SNAPPY:
            return _decompress(contents)
        raise CorruptCheckpointError(
            "invalid block type", expected=f"{TYPE_NONE} (as it is) or {TYPE_SNAPPY} (snappy)",
            found=block_type,
        )  # fmt: skip
    except CheckpointError as error:
        error.file = source.name
        error.offset = handle.offset
        raise


def is_compressed(source: Source, handle: BlockHandle) -> bool:
    """Return whether a block is compressed; reads only its type."""
    type_offset = _require_end(source, handle) - TRAILER_NBYTES
    return source.read(type_offset, type_offset + 1)[0] != TYPE_NONE


def _require_end(source: Source, handle: BlockHandle) -> int:
    """Return the end of a block with its trailer, which must be before the footer."""
    end = handle.offset + handle.nbytes + TRAILER_NBYTES
    if end > source.nbytes - FOOTER_NBYTES:
        raise CorruptCheckpointError(
            "invalid block handle",
            file=source.name,
            expected=f"a block before the footer at byte {source.nbytes - FOOTER_NBYTES}",
            found=f"offset {handle.offset}, size {handle.nbytes}",
        )
    return end


_SNAPPY_MAX_RATIO = 22
"""Raw snappy cannot expand more: its densest element is 3 bytes for 64."""


def _decompress(compressed: bytes | memoryview) -> bytes:
    """Raw snappy: varint32 length of the plain bytes, then the elements."""
    nbytes, _ = decode_varint(compressed, 0, len(compressed), MAX_VARINT32_NBYTES)
    if nbytes > _SNAPPY_MAX_RATIO * len(compressed):
        raise CorruptCheckpointError(
            "invalid snappy block",
            expected=f"at most {_SNAPPY_MAX_RATIO} times its {len(compressed)} bytes",
            found=f"a declared length of {nbytes} bytes",
        )
    import snappy  # only files of some builds of TensorFlow need it

    try:
        contents: bytes = snappy.uncompress(bytes(compressed))
    except Exception as error:  # the library's own error type differs between its versions
        raise CorruptCheckpointError(
            "invalid snappy block", expected=f"{nbytes} bytes of plain contents", found=error
        ) from error
    if len(contents) != nbytes:
        raise CorruptCheckpointError(
            "invalid snappy block",
            expected=f"{nbytes} bytes of plain contents",
            found=len(contents),
        )
    return contents
