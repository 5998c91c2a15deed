"""Build a table file from sorted entries; `layout` and `block` describe the bytes.

The blocks are those of TensorFlow's own writer, byte for byte:

- A data block is closed when its entries, restart offsets and their number take 256 KiB or more, or
  before an entry of 512 KiB or more.  None is compressed.
- Every 16th entry of a data block has its whole key and a restart offset; in the index block, every
  entry has.
- The key of a block in the index is the shortest text that is not less than the last key of the
  block and less than the first key of the next one, if it differs from the last key at a byte that
  can be increased; else the last key itself.

Sources: tensorflow/core/lib/io/table_builder.cc, block_builder.cc, and in table_options.h the
sizes; leveldb's util/comparator.cc for the separators.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable, Iterator

from ckptparse.encoding.crc32c import crc32c, mask
from ckptparse.encoding.varint import encode_varint
from ckptparse.sstable.layout import FOOTER_NBYTES, MAGIC, TRAILER_NBYTES, TYPE_NONE

_BLOCK_NBYTES = 1 << 18
_LARGE_ENTRY_NBYTES = 1 << 19
_RESTART_INTERVAL = 16


def build_table(entries: Iterable[tuple[bytes, bytes]]) -> Iterator[bytes]:
    """Yield the bytes of a table file, block by block.

    Args:
        entries: pairs of key and value, in ascending order of keys, which are compared as bytes.
            No key is there twice.
    """
    offset = 0
    index: list[tuple[bytes, bytes]] = []
    last: tuple[bytes, bytes] | None = None  # last key, and handle, of the block before
    for first_key, last_key, contents in _build_blocks(entries, _RESTART_INTERVAL):
        if last is not None:
            index.append((find_separator(last[0], first_key), last[1]))
        last = last_key, _handle(offset, contents)
        yield _with_trailer(contents)
        offset += len(contents) + TRAILER_NBYTES
    if last is not None:
        index.append((find_successor(last[0]), last[1]))

    handles = b""
    # The index block is one block, whatever its size.
    for contents in (_EMPTY_BLOCK, _build_index_block(index)):
        yield _with_trailer(contents)
        handles += _handle(offset, contents)
        offset += len(contents) + TRAILER_NBYTES
    yield handles.ljust(FOOTER_NBYTES - len(MAGIC), b"\0") + MAGIC


_EMPTY_BLOCK = bytes.fromhex("00000000 01000000")


def _build_blocks(
    entries: Iterable[tuple[bytes, bytes]], restart_interval: int, block_nbytes: int = _BLOCK_NBYTES
) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield the first key, the last key, and the contents of each block."""
    parts: list[bytes] = []
    nbytes = 0
    restarts: list[int] = []
    first_key = last_key = b""
    number = last_number = 0  # keys as numbers: the shared bytes are the equal leading ones
    since_restart = restart_interval
    for key, value in entries:
        if parts and len(key) + len(value) >= _LARGE_ENTRY_NBYTES and block_nbytes == _BLOCK_NBYTES:
            yield first_key, last_key, _finish(parts, restarts)
            parts = []
        if not parts:
            nbytes, restarts, first_key, since_restart = 0, [], key, restart_interval
        number = int.from_bytes(key, "big")
        if since_restart == restart_interval:
            restarts.append(nbytes)
            since_restart = shared = 0
        else:
            longer = len(key) - len(last_key)
            if longer > 0:
                differing = number >> 8 * longer ^ last_number
                shared = len(last_key)
            else:
                differing = number ^ last_number >> -8 * longer
                shared = len(key)
            shared -= (differing.bit_length() + 7) >> 3
        since_restart += 1
        unshared, value_nbytes = len(key) - shared, len(value)
        if shared < 0x80 and unshared < 0x80 and value_nbytes < 0x80:
            part = bytes((shared, unshared, value_nbytes)) + key[shared:] + value
        else:
            lengths = map(encode_varint, (shared, unshared, value_nbytes))
            part = b"".join((*lengths, key[shared:], value))
        parts.append(part)
        nbytes += len(part)
        last_key, last_number = key, number
        if nbytes + 4 * len(restarts) + 4 >= block_nbytes:
            yield first_key, last_key, _finish(parts, restarts)
            parts = []
    if parts:
        yield first_key, last_key, _finish(parts, restarts)


def _build_index_block(index: list[tuple[bytes, bytes]]) -> bytes:
    """Return the contents of the index block."""
    for _, _, contents in _build_blocks(index, 1, sys.maxsize):
        return contents
    return _EMPTY_BLOCK


def _finish(parts: list[bytes], restarts: list[int]) -> bytes:
    """Return the contents of a block: entries, restart offsets, and the number of these."""
    return b"".join(parts) + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def _handle(offset: int, contents: bytes) -> bytes:
    """Return the encoded handle of a block at an offset."""
    return encode_varint(offset) + encode_varint(len(contents))


def _with_trailer(contents: bytes) -> bytes:
    """Return a block as it is stored: contents, type, checksum."""
    stored = contents + bytes([TYPE_NONE])
    return stored + mask(crc32c(stored)).to_bytes(4, "little")


def find_separator(last: bytes, following: bytes) -> bytes:
    """Return a key from `last` up to, and not including, `following`; as short as leveldb's.

    Args:
        last: the last key of a block.
        following: the first key of the next block.
    """
    least = min(len(last), len(following))
    same = 0
    while same < least and last[same] == following[same]:
        same += 1
    if same < least and last[same] < 0xFF and last[same] + 1 < following[same]:
        return last[:same] + bytes([last[same] + 1])
    return last


def find_successor(last: bytes) -> bytes:
    """Return a short key that is not less than `last`, for the last block of a table."""
    for i, byte in enumerate(last):
        if byte != 0xFF:
            return last[:i] + bytes([byte + 1])
    return last
