"""A whole table: keys to values, over any byte source."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from ckptparse.errors import CheckpointError, CorruptCheckpointError, located
from ckptparse.sources import Source
from ckptparse.sstable.block import Block
from ckptparse.sstable.layout import (
    TRAILER_NBYTES,
    BlockHandle,
    decode_handle,
    is_compressed,
    read_block,
    read_footer,
)

_MOST_KEPT = 16
_MOST_KEPT_NBYTES = 1 << 20
"""Blocks kept after use: some 4 MB of an index, but no copy of a V1 tensor in its own block."""


class Table:
    """An open table.

    Opening reads the footer and the index block.  The index block has one entry per data block:
    a separator (at or above every key of the block, below the first key of the next; not
    necessarily a key itself) and the block's handle.  `get` reads one data block, `scan` all.

    A block's CRC-32C is checked when it is read; a block of a memory map once.  TensorFlow steps
    over a damaged block and loses its keys (tensorflow/core/lib/io/two_level_iterator.cc); here it
    is an error.
    """

    def __init__(self, source: Source, *, verify: bool = True) -> None:
        """
        Args:
            source: the table's bytes.
            verify: False leaves data blocks unchecked, but for the first one: V1 checkpoints hold
                whole tensors in the others.

        Raises:
            NotACheckpointError, TruncatedError: see `layout.read_footer`.
            CorruptCheckpointError: a damaged index block.
        """
        self._source = source
        self.name = source.name
        self.nbytes = source.nbytes
        index = read_footer(source)
        self._separators: list[bytes] = []
        self._handles: list[BlockHandle] = []
        end = 0
        with located(file=source.name, base=index.offset):
            for separator, value in Block(read_block(source, index)):
                handle, _ = decode_handle(value, 0)
                if handle.offset < end:
                    raise CorruptCheckpointError(
                        f"handle of block {len(self._handles)}",
                        expected=f"an offset from {end} on, behind the block before",
                        found=handle.offset,
                    )
                end = handle.offset + handle.nbytes + TRAILER_NBYTES
                self._separators.append(separator)
                self._handles.append(handle)
        self._verify = verify
        self._verified: set[int] = set()
        self._recent: dict[int, Block] = {}

    @property
    def num_blocks(self) -> int:
        """How many data blocks there are."""
        return len(self._handles)

    def get(self, key: bytes) -> bytes | memoryview | None:
        """The value of a key, None when there is none.  Touches one block.

        Raises:
            CorruptCheckpointError: the block that would hold the key is damaged.
        """
        i = bisect_left(self._separators, key)
        if i == len(self._separators):
            return None
        try:
            return self._block(i).get(key)
        except CheckpointError as error:
            error.locate(file=self.name, base=self._handles[i].offset)
            raise

    def scan(self) -> Iterator[tuple[bytes, bytes | memoryview]]:
        """All (key, value) in order of keys.

        Raises:
            CorruptCheckpointError: a damaged block, when it is reached.
        """
        for i in range(self.num_blocks):
            yield from self.scan_block(i)

    def scan_block(self, i: int) -> Iterator[tuple[bytes, bytes | memoryview]]:
        """All (key, value) of data block `i`, in order; the rest as `scan`."""
        handle, separator = self._handles[i], self._separators[i]
        below = self._separators[i - 1] if i else None
        key: bytes | None = None
        with located(file=self.name, base=handle.offset):
            for key, value in self._block(i):
                if below is not None and key <= below:
                    raise CorruptCheckpointError(
                        f"first key of block {i}",
                        expected=f"one above the separator before it, {below!r}",
                        found=repr(key),
                    )
                below = None
                yield key, value
            if key is not None and key > separator:
                raise CorruptCheckpointError(
                    f"last key of block {i}",
                    expected=f"at most its separator {separator!r}",
                    found=repr(key),
                )

    def _block(self, i: int) -> Block:
        """Data block `i`; the last few that were used are kept."""
        block = self._recent.get(i)
        if block is None:
            verify = i == 0 or (self._verify and i not in self._verified)
            block = Block(read_block(self._source, self._handles[i], verify=verify))
            if verify and self._source.mapped:
                self._verified.add(i)
            if self._source.mapped or self._handles[i].nbytes <= _MOST_KEPT_NBYTES:
                self._recent[i] = block
                for oldest in list(self._recent)[:-_MOST_KEPT]:  # single steps, for threads
                    self._recent.pop(oldest, None)
        elif self._source.mapped:  # its pages may be gone: the source compares sizes again
            handle = self._handles[i]
            self._source.read(handle.offset, handle.offset + handle.nbytes)
        return block

    def forget_verified(self) -> None:
        """Have every block checked again when it is next needed."""
        self._verified.clear()
        self._recent.clear()

    def is_compressed(self, key: bytes) -> bool:
        """Whether the block that would hold a key is compressed; reads one byte of it."""
        i = bisect_left(self._separators, key)
        return i < self.num_blocks and is_compressed(self._source, self._handles[i])

    def close(self) -> None:
        """Close the source."""
        self._recent.clear()
        self._source.close()
