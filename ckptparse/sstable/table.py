"""A whole table: keys to values, over any byte source."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from ckptparse.errors import CheckpointError, CorruptCheckpointError, located
from ckptparse.limits import MAX_FREE_INFLATED_INDEX_NBYTES, MAX_INFLATED_INDEX_RATIO
from ckptparse.sources import Source
from ckptparse.sources.base import require_dense
from ckptparse.sstable.block import Block
from ckptparse.sstable.columns import Columns
from ckptparse.sstable.layout import (
    FOOTER_NBYTES,
    TRAILER_NBYTES,
    BlockHandle,
    decode_handle,
    decode_handles,
    is_compressed,
    read_block,
    read_footer,
)

_FEW_BLOCKS = 32
"""Up to so many handles are decoded faster one by one than by numpy."""

_MOST_KEPT = 16
_MOST_KEPT_NBYTES = 1 << 20
"""Blocks kept after use: some 4 MB of an index."""
_MOST_LAST_NBYTES = 1 << 24
"""The last one is kept if it is no larger: V1 has blocks of many small tensors and a large one."""


class Table:
    """An open table.

    Opening reads the footer and the index block.  The index block has one entry per data block:
    a separator (at or above every key of the block, below the first key of the next; not
    necessarily a key itself) and the block's handle.  `get` reads one data block.

    A block's CRC-32C is checked when it is read; a block of a memory map once.  TensorFlow steps
    over a damaged block and loses its keys (tensorflow/core/lib/io/two_level_iterator.cc); here it
    is an error.
    """

    def __init__(self, source: Source, *, verify: bool = True) -> None:
        """
        Args:
            source: the table's bytes.
            verify: False does not check data blocks except the first one.  In V1 checkpoints, the
                other blocks contain the tensors.

        Raises:
            NotACheckpointError, TruncatedError: see `layout.read_footer`.
            CorruptCheckpointError: a damaged index block.
            UnsupportedError: the file is compressed, and its index block too large for that.
        """
        self._source = source
        self.name = source.name
        self.nbytes = source.nbytes
        self.mapped = source.mapped
        index = read_footer(source)
        self.require_dense(index.nbytes, "the index block of this table")
        with located(file=source.name, base=index.offset):
            block = Block(read_block(source, index), index.nbytes)
            self._separators, self._handles = _decode_index(block)
            _require_places(self._handles, source.nbytes - FOOTER_NBYTES)
        self._verify = verify
        self._verified: set[int] = set()
        self._recent: dict[int, tuple[Block, bool]] = {}  # a block, and whether it was verified

    def require_dense(self, nbytes: int, what: str) -> None:
        """Raise UnsupportedError if a part is too large for a compressed file."""
        require_dense(
            self._source,
            nbytes,
            what,
            ratio=MAX_INFLATED_INDEX_RATIO,
            free_nbytes=MAX_FREE_INFLATED_INDEX_NBYTES,
        )

    @property
    def num_blocks(self) -> int:
        """The number of data blocks."""
        return len(self._handles)

    def find_block(self, key: bytes) -> int | None:
        """The number of the data block that would hold a key; None after the last one."""
        i = bisect_left(self._separators, key)
        return i if i < len(self._separators) else None

    def get(self, key: bytes, *, verify: bool = False) -> bytes | memoryview | None:
        """Return the value of a key, None if there is none; reads one block.

        Args:
            key: the key.
            verify: check the block also if the table is opened without checks.

        Raises:
            CorruptCheckpointError: the block that would hold the key is damaged.
        """
        i = self.find_block(key)
        return None if i is None else self.get_from(i, key, verify=verify)

    def get_from(self, i: int, key: bytes, *, verify: bool = False) -> bytes | memoryview | None:
        """Return the value of a key in the block that `find_block` returned; see `get`."""
        try:
            return self._block(i, verify=verify).get(key)
        except CheckpointError as error:
            self._locate(error, i)
            raise

    def is_decoded(self, i: int) -> bool:
        """Return whether data block `i` was searched so often that it is decoded as a whole."""
        kept = self._recent.get(i)
        return kept is not None and kept[0].is_decoded

    def columns(self, i: int) -> Columns:
        """Return data block `i`, all at once.

        Raises:
            CorruptCheckpointError: the block is damaged.
        """
        try:
            columns = self._block(i).columns()
            if columns.keys:
                self._require_first(i, columns.keys[0])
                self._require_last(i, columns.keys[-1])
        except CheckpointError as error:
            self._locate(error, i)
            raise
        return columns

    def _locate(self, error: CheckpointError, i: int) -> None:
        """Complete the place of an error in data block `i`; in a compressed one the block's own."""
        handle = self._handles[i]
        if error.file is None and error.offset and is_compressed(self._source, handle):
            error.offset = 0
        error.locate(file=self.name, base=handle.offset)

    def scan_block(self, i: int) -> Iterator[tuple[bytes, bytes | memoryview]]:
        """Yield all (key, value) of data block `i` in order.

        Raises:
            CorruptCheckpointError: the block is damaged; after all entries before the damage.
        """
        key: bytes | None = None
        try:
            for next_key, value in self._block(i):
                if key is None:
                    self._require_first(i, next_key)
                key = next_key
                yield key, value
            if key is not None:
                self._require_last(i, key)
        except CheckpointError as error:
            self._locate(error, i)
            raise

    def _require_first(self, i: int, key: bytes) -> None:
        """Check the first key of data block `i`."""
        if i and key <= self._separators[i - 1]:
            raise CorruptCheckpointError(
                f"invalid first key of block {i}",
                offset=0,
                expected=f"one above the separator before it, {self._separators[i - 1]!r}",
                found=repr(key),
            )

    def _require_last(self, i: int, key: bytes) -> None:
        """Check the last key of data block `i`."""
        if key > self._separators[i]:
            raise CorruptCheckpointError(
                f"invalid last key of block {i}",
                offset=0,
                expected=f"at most its separator {self._separators[i]!r}",
                found=repr(key),
            )

    def _block(self, i: int, *, verify: bool = False) -> Block:
        """Return data block `i`; the last few blocks that were used are kept."""
        verify = verify or self._verify or i == 0
        block, was_verified = self._recent.get(i, (None, False))
        if block is None or (verify and not was_verified):
            check = verify and i not in self._verified
            handle = self._handles[i]
            block = Block(read_block(self._source, handle, verify=check), handle.nbytes)
            if verify and self._source.mapped:
                self._verified.add(i)
            if self._source.mapped or handle.nbytes <= _MOST_LAST_NBYTES:
                for other in list(self._recent):  # single steps, for threads
                    if not self._source.mapped and self._handles[other].nbytes > _MOST_KEPT_NBYTES:
                        self._recent.pop(other, None)
                self._recent[i] = block, verify
                for oldest in list(self._recent)[:-_MOST_KEPT]:
                    self._recent.pop(oldest, None)
        elif self._source.mapped:  # its pages may be gone: the source compares sizes again
            handle = self._handles[i]
            self._source.read(handle.offset, handle.offset + handle.nbytes)
        return block

    def forget_verified(self) -> None:
        """Have every block checked again when it is next needed."""
        self._verified.clear()
        self._recent.clear()

    def forget_block(self, i: int) -> None:
        """Free the memory of data block `i`, if the caller has decoded what it needs."""
        self._recent.pop(i, None)

    def is_compressed(self, key: bytes) -> bool:
        """Return whether the block for a key is compressed; reads one byte of it."""
        i = self.find_block(key)
        return i is not None and is_compressed(self._source, self._handles[i])

    def close(self) -> None:
        """Close the source."""
        self._recent.clear()
        self._source.close()


def _decode_index(block: Block) -> tuple[list[bytes], list[BlockHandle]]:
    """Return the separators and the handles of an index block.

    Raises:
        CorruptCheckpointError: separators that do not increase, handles that do not parse.
    """
    if block.num_restarts <= _FEW_BLOCKS:
        entries = list(block)
        return [key for key, _ in entries], [decode_handle(value, 0)[0] for _, value in entries]
    columns = block.columns()
    return columns.keys, decode_handles(columns)


def _require_places(handles: list[BlockHandle], stop: int) -> None:
    """Raise unless data blocks follow one another and end before the footer, at `stop`."""
    end = 0
    for i, (offset, nbytes) in enumerate(handles):
        if offset < end:
            raise CorruptCheckpointError(
                f"invalid handle of block {i}",
                expected=f"an offset from {end} on, after the block before",
                found=offset,
            )
        end = offset + nbytes + TRAILER_NBYTES
    if end > stop:
        raise CorruptCheckpointError(
            f"invalid handle of block {len(handles) - 1}",
            expected=f"a block before the footer at byte {stop}",
            found=f"offset {handles[-1].offset}, size {handles[-1].nbytes}",
        )
