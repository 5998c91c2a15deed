"""The index of a bundle: which entries there are, and which of them are tensors."""

from __future__ import annotations

from typing import NamedTuple

from ckptparse.bundle.entries import Entry, Header, decode_entry, decode_header
from ckptparse.dtypes import lookup
from ckptparse.errors import (
    CheckpointError,
    CorruptCheckpointError,
    NotACheckpointError,
    located,
)
from ckptparse.indexing import Box
from ckptparse.names import decode_name
from ckptparse.slices import (
    KEY_PREFIX,
    decode_slice_key_name,
    describe,
    encode_slice_key,
    resolve,
)
from ckptparse.sources import Source
from ckptparse.sstable import Table

HEADER_KEY = b""


class Piece(NamedTuple):
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
        self._table = Table(source)
        self.name = self._table.name
        self.nbytes = self._table.nbytes
        self.header = self._decode_header()

    def _decode_header(self) -> Header:
        with located(file=self._table.name):
            value = self._table.get(HEADER_KEY)
            if value is None:
                raise CorruptCheckpointError(
                    "header", expected="an entry under the empty key", found="none"
                )
            if value[:1] == b"\x0a":  # field 1 as a message: SavedTensorSlices, not a header
                raise NotACheckpointError(
                    "not the index of a V2 checkpoint",
                    expected="a bundle header",
                    found="a whole V1 checkpoint file",
                )
            return decode_header(value)

    def keys(self) -> list[bytes]:
        """Keys of all tensors, in order.

        Raises:
            CorruptCheckpointError: a damaged block of the index.
        """
        keys = [key for key, _ in self._table.scan() if key != HEADER_KEY]
        if keys and keys[0].startswith(KEY_PREFIX):  # slices, perhaps: their owners know
            return [key for key, _ in self.entries()]
        return keys

    def find(self, key: bytes) -> Entry | None:
        """A tensor's entry, None when `keys` does not have it; reads one block of the index."""
        entry = self.entry(key)
        if entry is None or not key.startswith(KEY_PREFIX):
            return entry
        owner_key = decode_slice_key_name(key)
        owner = None if owner_key is None else self.entry(owner_key)
        if owner is None or owner_key is None:
            return entry
        slice_keys = {encode_slice_key(owner_key, extents) for extents in owner.slices}
        return None if key in slice_keys else entry

    def entry(self, key: bytes) -> Entry | None:
        """The entry of a key, None when there is none."""
        if key == HEADER_KEY:
            return None
        value = self._table.get(key)
        return None if value is None else self._decode_entry(key, value)

    def _decode_entry(self, key: bytes, value: bytes | memoryview) -> Entry:
        try:
            return decode_entry(value, self.header.num_shards)
        except CheckpointError as error:
            error.file = self._table.name
            error.tensor = decode_name(key)
            raise

    def entries(self) -> list[tuple[bytes, Entry]]:
        """Every tensor's entry in order of keys, without header and slice keys.

        Raises:
            CorruptCheckpointError: any block or entry of the index is damaged.
        """
        entries = [
            (key, self._decode_entry(key, value))
            for key, value in self._table.scan()
            if key != HEADER_KEY
        ]
        return _without_slices(entries)

    def pieces(self, key: bytes, entry: Entry) -> list[Piece]:
        """Every stored slice of a partitioned tensor.

        Raises:
            CorruptCheckpointError: a slice that the index does not have, or that is not what the
                tensor's entry says of it.
        """
        pieces = []
        for extents in entry.slices:
            slice_key = encode_slice_key(key, extents)
            box = resolve(extents, entry.shape)
            found = self.entry(slice_key)
            if found is None or found.slices:
                raise CorruptCheckpointError(
                    "slice",
                    expected=f"an entry for the slice {describe(box)}",
                    found="none in the index" if found is None else "one that is sliced itself",
                )
            if (found.dtype, found.shape) != (entry.dtype, box.shape):
                raise CorruptCheckpointError(
                    f"slice {describe(box)}",
                    expected=f"{lookup(entry.dtype).name} {list(box.shape)}",
                    found=f"{lookup(found.dtype).name} {list(found.shape)}",
                )
            pieces.append(Piece(slice_key, box, found))
        return pieces

    def surviving_entries(self) -> tuple[list[tuple[bytes, Entry]], list[CheckpointError]]:
        """As `entries`, stepping over damage: what could be read, and what could not."""
        entries: list[tuple[bytes, Entry]] = []
        errors: list[CheckpointError] = []
        for i in range(self._table.num_blocks):
            try:
                for key, value in self._table.scan_block(i):
                    try:
                        if key != HEADER_KEY:
                            entries.append((key, self._decode_entry(key, value)))
                    except CheckpointError as error:
                        errors.append(error)
            except CheckpointError as error:
                errors.append(error)
        entries = _without_slices(entries)
        if errors:  # the owner of a slice may be among what is lost
            entries = [item for item in entries if decode_slice_key_name(item[0]) is None]
        return entries, errors

    def close(self) -> None:
        """Close the file."""
        self._table.close()


def _without_slices(entries: list[tuple[bytes, Entry]]) -> list[tuple[bytes, Entry]]:
    """Entries whose key is not that of some other entry's slice."""
    hidden = {encode_slice_key(key, extents) for key, entry in entries for extents in entry.slices}
    return [item for item in entries if item[0] not in hidden] if hidden else entries
