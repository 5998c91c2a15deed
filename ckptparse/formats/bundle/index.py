"""The index of a bundle: which entries there are, and which of them are tensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple

from ckptparse.errors import (
    CheckpointError,
    CorruptCheckpointError,
    NotACheckpointError,
    located,
)
from ckptparse.formats.bundle.entries import (
    Entry,
    Header,
    decode_entry,
    decode_header,
    require_few_slices,
)
from ckptparse.formats.bundle.entry_columns import EntryColumns, decode_entries
from ckptparse.formats.recognize import recognized
from ckptparse.limits import (
    MAX_FREE_INFLATED_INDEX_NBYTES,
    MAX_INDEX_ERRORS,
    MAX_INFLATED_INDEX_RATIO,
    MAX_KEYS_RATIO,
)
from ckptparse.sources import Source
from ckptparse.sources.base import require_dense
from ckptparse.sstable import Table
from ckptparse.tensors.dtypes import lookup
from ckptparse.tensors.names import decode_name
from ckptparse.tensors.numpy_index import Box
from ckptparse.tensors.partitions import (
    KEY_PREFIX,
    Extents,
    count_most_slices,
    decode_slice_key_name,
    describe,
    encode_extents,
    encode_slice_key_name,
    resolve,
)

HEADER_KEY = b""

_MOST_DECODED = 16
"""Blocks kept decoded: TensorFlow's have up to 10,000 entries, 3 MB of memory."""

_MANY_SLICES = 1_000
_MOST_SLICED = 4
"""Entries with many slices that are kept: parsing a million of them takes a second."""


class StoredSlice(NamedTuple):
    """A stored slice of a partitioned tensor."""

    key: bytes
    box: Box
    entry: Entry


class BundleIndex:
    """An open index.

    Opening reads the table's footer, its index block and its first data block.  A lookup reads one
    data block more, whatever the number of tensors.
    """

    def __init__(self, source: Source) -> None:
        """
        Raises:
            NotACheckpointError, CorruptCheckpointError, UnsupportedError: the file is not an index,
                is damaged, or is for a newer reader.
        """
        require_dense(
            source,
            source.nbytes,
            "this index",
            ratio=MAX_INFLATED_INDEX_RATIO,
            free_nbytes=MAX_FREE_INFLATED_INDEX_NBYTES,
        )
        with recognized(source):
            self._table = Table(source)
        self.name = self._table.name
        self.nbytes = self._table.nbytes
        self._most_slices = count_most_slices(self.nbytes)
        self._decoded: dict[int, dict[bytes, Entry]] = {}
        self._sliced: dict[bytes, Entry] = {}
        self.header = self._decode_header()

    def _decode_header(self) -> Header:
        with located(file=self._table.name):
            value = self._table.get(HEADER_KEY)
            if value is None:
                raise CorruptCheckpointError(
                    "invalid header", expected="an entry under the empty key", found="none"
                )
            if value[:1] == b"\x0a":  # field 1 as a message: SavedTensorSlices, not a header
                raise NotACheckpointError(
                    "this is not the index of a V2 checkpoint",
                    expected="a bundle header",
                    found="a whole V1 checkpoint file",
                )
            return decode_header(value)

    def keys(self) -> list[bytes]:
        """Return the keys of all tensors, in order.

        Raises:
            CorruptCheckpointError: a damaged block of the index.
        """
        keys: list[bytes] = []
        for i in range(self._table.num_blocks):
            keys += self._table.columns(i).keys
        if keys and keys[0] == HEADER_KEY:
            del keys[0]
        if keys and keys[0].startswith(KEY_PREFIX):  # slices, perhaps: their owners know
            return [key for key, _ in self.entries()]
        return keys

    def find(self, key: bytes) -> Entry | None:
        """Return a tensor's entry, None if there is none; reads one block of the index."""
        entry = self.entry(key)
        if entry is None or key[:1] != KEY_PREFIX:
            return entry
        owner_key = decode_slice_key_name(key)
        owner = None if owner_key is None else self.entry(owner_key)
        if owner is None or owner_key is None:
            return entry
        suffix = key[len(encode_slice_key_name(owner_key)) :]
        return None if any(suffix == encode_extents(each) for each in owner.slices) else entry

    def entry(self, key: bytes) -> Entry | None:
        """Return the entry of a key, None when there is none.

        When the table has decoded a block, because it is asked often, so are its entries.
        """
        i = self._table.find_block(key)
        if i is None or not key:
            return None
        entries = self._decoded.get(i)
        if entries:  # all of the block; there are none if one is damaged
            return entries.get(key)
        value = self._table.get_from(i, key)
        if entries is None and self._table.is_decoded(i):
            self._decode_entries(i)
        return None if value is None else self._decode_entry(key, value)

    def _decode_entries(self, i: int) -> None:
        """Keep all entries of block `i`, or none of them if any is damaged."""
        entries: dict[bytes, Entry] = {}
        with suppress(CorruptCheckpointError):  # only a lookup of the damaged entry raises
            block = self._columns(i)
            entries = dict(zip(block.keys, block.entries()))
            self._table.forget_block(i)
        self._decoded[i] = entries
        for oldest in list(self._decoded)[:-_MOST_DECODED]:  # single steps, for threads
            self._decoded.pop(oldest, None)

    def _columns(self, i: int) -> EntryColumns:
        """Return block `i` of the table, without the header."""
        block = self._table.columns(i)
        if block.keys and block.keys[0] == HEADER_KEY:
            block = block.without_first()
        try:
            entries = decode_entries(block, self.header.num_shards, self._most_slices)
            for k, entry in entries.others.items():
                with located(tensor=decode_name(entries.keys[k])):
                    self._require_room(len(entries.keys[k]) * len(entry.slices))
            return entries
        except CheckpointError as error:
            self._locate(error)
            raise

    def _decode_entry(self, key: bytes, value: bytes | memoryview) -> Entry:
        known = self._sliced.get(key)
        if known is not None:
            return known
        try:
            entry = decode_entry(value, self.header.num_shards, self._most_slices)
            if entry.slices:
                self._require_room(len(key) * len(entry.slices))
            if len(entry.slices) > _MANY_SLICES:
                self._sliced[key] = entry
                for oldest in list(self._sliced)[:-_MOST_SLICED]:  # single steps, for threads
                    self._sliced.pop(oldest, None)
            return entry
        except CheckpointError as error:
            error.tensor = decode_name(key)
            self._locate(error)
            raise

    def _locate(self, error: CheckpointError) -> None:
        error.file = self.name
        error.offset = None  # one in the value, whose own place is not known

    def blocks(self) -> Iterator[EntryColumns]:
        """Yield all entries in order of keys, with those of slices, without the header.

        Raises:
            CorruptCheckpointError: any block or entry of the index is damaged.
        """
        num_slices = key_nbytes = 0  # of slices
        for i in range(self._table.num_blocks):
            block = self._columns(i)
            for k, entry in block.others.items():
                num_slices += len(entry.slices)
                key_nbytes += len(block.keys[k]) * len(entry.slices)
            with located(file=self.name):
                require_few_slices(num_slices, self._most_slices)
                self._require_room(key_nbytes)
            yield block

    def entries(self) -> list[tuple[bytes, Entry]]:
        """Return the entries of all tensors in order of keys, without header and slices.

        Raises:
            CorruptCheckpointError: any block or entry of the index is damaged.
        """
        entries: list[tuple[bytes, Entry]] = []
        for block in self.blocks():
            entries += zip(block.keys, block.entries())
        hidden = self.find_slices(entries)
        return [item for item in entries if item[0] not in hidden] if hidden else entries

    def find_slices(self, entries: Iterable[tuple[bytes, Entry]]) -> set[bytes]:
        """Return the keys that belong to slices of other entries among these.

        Only keys that begin as those of slices do can be, and only entries with slices have any.
        """
        owners: dict[bytes, Entry] = {}
        candidates: dict[bytes, list[bytes]] = {}
        for key, entry in entries:
            if entry.slices:
                owners[key] = entry
            if key[:1] == KEY_PREFIX:
                candidates.setdefault(decode_slice_key_name(key) or HEADER_KEY, []).append(key)
        hidden: set[bytes] = set()
        for name, keys in candidates.items():
            if name in owners:
                suffixes = {encode_extents(extents) for extents in owners[name].slices}
                start = len(encode_slice_key_name(name))
                hidden.update(key for key in keys if key[start:] in suffixes)
        return hidden

    def _require_room(self, nbytes: int) -> None:
        """Check that the index can hold the keys of slices, before they are made.

        A long name and many slices would make keys as long as the square of the index.  Those that
        are there are no longer than this (`sstable.block`).
        """
        most = MAX_KEYS_RATIO * self.nbytes
        if nbytes > most:
            raise CorruptCheckpointError(
                "invalid slices", expected=f"keys of at most {most} bytes in all", found=nbytes
            )

    def slice_entries(
        self, key: bytes, entry: Entry
    ) -> Iterator[tuple[Extents, bytes, Entry | None]]:
        """Yield extents, key and entry of each slice of a tensor; None for a missing entry.

        They come in order of keys, so that each block of the index is read once, whatever the order
        in the tensor's entry.  Equal slices, which have no elements, come once.
        """
        start = encode_slice_key_name(key)
        for suffix, extents in sorted((encode_extents(each), each) for each in set(entry.slices)):
            yield extents, start + suffix, self.entry(start + suffix)

    def slices(self, key: bytes, entry: Entry) -> list[StoredSlice]:
        """Return the stored slices of a partitioned tensor, in order of keys.

        Raises:
            CorruptCheckpointError: a slice that the index does not have, or that is not what the
                tensor's entry says of it.
        """
        pieces = []
        for extents, slice_key, found in self.slice_entries(key, entry):
            box = resolve(extents, entry.shape)
            if found is None or found.slices:
                raise CorruptCheckpointError(
                    "invalid slice",
                    expected=f"an entry for the slice {describe(box)}",
                    found="none in the index" if found is None else "one that is sliced itself",
                )
            if (found.dtype, found.shape) != (entry.dtype, box.shape):
                raise CorruptCheckpointError(
                    f"invalid slice {describe(box)}",
                    expected=f"{lookup(entry.dtype).name} {list(box.shape)}",
                    found=f"{lookup(found.dtype).name} {list(found.shape)}",
                )
            pieces.append(StoredSlice(slice_key, box, found))
        return pieces

    def surviving_entries(self) -> tuple[list[tuple[bytes, Entry]], list[CheckpointError]]:
        """Return all readable entries, and the errors of what could not be read."""
        entries: list[tuple[bytes, Entry]] = []
        errors: list[CheckpointError] = []
        damaged: set[int] = set()
        num_slices = 0
        for i in range(self._table.num_blocks):
            survivors, its_errors, is_whole = self._scan_block(i)
            entries += survivors
            errors += its_errors
            if its_errors:
                damaged.add(i)
            num_slices += sum(len(entry.slices) for _, entry in survivors)
            is_enough = len(errors) >= MAX_INDEX_ERRORS or num_slices > self._most_slices
            if not is_whole or (is_enough and i + 1 < self._table.num_blocks):
                damaged.update(range(i, self._table.num_blocks))
                errors.append(
                    CorruptCheckpointError(
                        "too much damage in the index",
                        file=self.name,
                        expected=f"fewer than {MAX_INDEX_ERRORS} damaged entries"
                        f" and {self._most_slices} slices",
                        found="more; the rest was not checked",
                    )
                )
                break
        hidden = self.find_slices(entries)
        entries = [
            (key, entry)
            for key, entry in entries
            if key not in hidden and not self._may_be_slice(key, damaged)
        ]
        return entries, errors

    def _scan_block(self, i: int) -> tuple[list[tuple[bytes, Entry]], list[CheckpointError], bool]:
        """Return the readable entries of a block, its errors, and whether it is complete."""
        try:
            block = self._columns(i)
            return list(zip(block.keys, block.entries())), [], True
        except CheckpointError:
            pass  # go on entry by entry, to find those that are intact
        entries: list[tuple[bytes, Entry]] = []
        errors: list[CheckpointError] = []
        num_slices = 0
        is_whole = True
        try:
            for key, value in self._table.scan_block(i):
                if len(errors) >= MAX_INDEX_ERRORS or num_slices > self._most_slices:
                    is_whole = False
                    break
                try:
                    if key != HEADER_KEY:
                        entry = self._decode_entry(key, value)
                        entries.append((key, entry))
                        num_slices += len(entry.slices)
                except CheckpointError as error:
                    errors.append(error)
        except CheckpointError as error:
            errors.append(error)
        for raised in errors:
            raised.forget_frames()
        return entries, errors, is_whole

    def _may_be_slice(self, key: bytes, damaged: set[int]) -> bool:
        """Return whether a key may belong to a slice of a tensor in a damaged block."""
        owner = decode_slice_key_name(key) if damaged else None
        return owner is not None and self._table.find_block(owner) in damaged

    def forget_verified(self) -> None:
        """Have every block read and checked again when it is next needed."""
        self._table.forget_verified()
        self._decoded.clear()
        self._sliced.clear()

    def close(self) -> None:
        """Close the file."""
        self._decoded.clear()
        self._sliced.clear()
        self._table.close()
