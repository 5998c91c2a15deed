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
    unindexed: tuple[bytes, bytes] | None = None  # last key and handle of the block before
    block = _Block(_RESTART_INTERVAL)
    for key, value in entries:
        if unindexed is not None:
            last_key, handle = unindexed
            index.append((find_separator(last_key, key), handle))
            unindexed = None
        if len(key) + len(value) >= _LARGE_ENTRY_NBYTES and block.last_key is not None:
            contents = block.finish()
            index.append((find_separator(block.last_key, key), _handle(offset, contents)))
            yield _with_trailer(contents)
            offset += len(contents) + TRAILER_NBYTES
            block = _Block(_RESTART_INTERVAL)
        if block.add(key, value) >= _BLOCK_NBYTES:
            contents = block.finish()
            unindexed = key, _handle(offset, contents)
            yield _with_trailer(contents)
            offset += len(contents) + TRAILER_NBYTES
            block = _Block(_RESTART_INTERVAL)
    if block.last_key is not None:
        contents = block.finish()
        unindexed = block.last_key, _handle(offset, contents)
        yield _with_trailer(contents)
        offset += len(contents) + TRAILER_NBYTES
    if unindexed is not None:
        last_key, handle = unindexed
        index.append((find_successor(last_key), handle))

    metaindex = _Block(_RESTART_INTERVAL).finish()
    metaindex_handle = _handle(offset, metaindex)
    yield _with_trailer(metaindex)
    offset += len(metaindex) + TRAILER_NBYTES
    index_block = _Block(1)
    for key, handle in index:
        index_block.add(key, handle)
    contents = index_block.finish()
    yield _with_trailer(contents)
    handles = metaindex_handle + _handle(offset, contents)
    yield handles.ljust(FOOTER_NBYTES - len(MAGIC), b"\0") + MAGIC


class _Block:
    """A block to which entries are added."""

    def __init__(self, restart_interval: int) -> None:
        self.last_key: bytes | None = None
        self._interval = restart_interval
        self._parts: list[bytes] = []
        self._entries_nbytes = 0
        self._restarts = [0]
        self._since_restart = 0

    def add(self, key: bytes, value: bytes) -> int:
        """Add an entry; return the size of the block so far."""
        last = self.last_key
        shared = 0
        if last is None:
            self._since_restart = 1
        elif self._since_restart < self._interval:
            self._since_restart += 1
            least = min(len(last), len(key))
            differing = int.from_bytes(last[:least], "big") ^ int.from_bytes(key[:least], "big")
            shared = least - (differing.bit_length() + 7) // 8
        else:
            self._restarts.append(self._entries_nbytes)
            self._since_restart = 1
        suffix = key[shared:]
        lengths = shared, len(suffix), len(value)
        head = bytes(lengths) if max(lengths) < 0x80 else b"".join(map(encode_varint, lengths))
        self._parts += (head, suffix, value)
        self._entries_nbytes += len(head) + len(suffix) + len(value)
        self.last_key = key
        return self._entries_nbytes + 4 * len(self._restarts) + 4

    def finish(self) -> bytes:
        """Return the contents of the block."""
        numbers = [*self._restarts, len(self._restarts)]
        self._parts += [number.to_bytes(4, "little") for number in numbers]
        return b"".join(self._parts)


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
