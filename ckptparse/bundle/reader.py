"""Tensors of a V2 checkpoint."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ckptparse.arrays import read_part, require_shape
from ckptparse.bundle.entries import Entry, Header, decode_entry, decode_header
from ckptparse.bundle.payload import decode_strings, require_booleans, verify_variants
from ckptparse.bundle.shards import Shards
from ckptparse.checksum import crc32c_of_range, require_crc32c
from ckptparse.dtypes import BOOL, STRING, VARIANT, lookup, numpy_dtype, require_readable
from ckptparse.errors import (
    CheckpointError,
    CorruptCheckpointError,
    NotACheckpointError,
    located,
)
from ckptparse.indexing import Box, Index, keep_array, select
from ckptparse.names import decode_name
from ckptparse.slices import (
    KEY_PREFIX,
    Extents,
    decode_slice_key_name,
    describe,
    encode_slice_key,
    require_tiling,
    resolve,
)
from ckptparse.sources import Source
from ckptparse.sstable import Table
from ckptparse.tensors import TensorInfo, TensorSlice

HEADER_KEY = b""


class Piece(NamedTuple):
    """A stored slice of a partitioned tensor."""

    key: bytes
    box: Box
    entry: Entry


class BundleReader:
    """An open bundle.

    Opening reads the index table's footer, its index block and its first data block.  A lookup
    reads one data block more, whatever the number of tensors.  Data files are opened at their
    first use.

    There is no lock: what threads share is only ever added to, in single steps.
    """

    format = "v2"

    def __init__(
        self,
        prefix: str,
        index: Source,
        open_source: Callable[[str], Source],
        *,
        verify: bool,
        mapped: bool,
    ) -> None:
        """
        Args:
            prefix: path before ``.index`` and ``.data-...``.
            index: the bytes of the index file.
            open_source: opens a data file; raises FileNotFoundError when there is none.
            verify: check a tensor's checksum at its first access.
            mapped: whether data files are memory maps.

        Raises:
            NotACheckpointError, CorruptCheckpointError, UnsupportedError: the index is not one, is
                damaged, or is for a newer reader.
        """
        self.path = prefix
        self._table = Table(index)
        self._header = self._decode_header()
        self._is_foreign = self._header.big_endian != (sys.byteorder == "big")
        self._shards = Shards(prefix, self._header.num_shards, open_source)
        self._mapped = mapped
        self._verify = verify
        self._verified: set[bytes] = set()

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

    @property
    def files(self) -> list[str]:
        """The index and the data files, the first 100,000 of them."""
        shards = range(min(self._header.num_shards, 100_000))
        return [self._table.name, *(self._shards.path(shard_id) for shard_id in shards)]

    # Entries of the index

    def entry(self, key: bytes) -> Entry | None:
        """The entry of a key, None when there is none."""
        if key == HEADER_KEY:
            return None
        value = self._table.get(key)
        return None if value is None else self._decode_entry(key, value)

    def _decode_entry(self, key: bytes, value: bytes | memoryview) -> Entry:
        try:
            return decode_entry(value, self._header.num_shards)
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

    def _slice_entries(self, key: bytes, entry: Entry) -> list[Piece]:
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

    # What is known of tensors

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

    def info(self, key: bytes, entry: Entry) -> TensorInfo:
        """What the index says of a tensor."""
        data_type = lookup(entry.dtype)
        slices = (
            tuple([self._slice_info(key, entry, extents) for extents in entry.slices])
            if entry.slices
            else ()
        )
        mapped = self._mapped and not slices and data_type.itemsize is not None
        return TensorInfo(
            decode_name(key),
            numpy_dtype(entry.dtype),
            data_type.name,
            entry.shape,
            entry.size,
            sum(piece.nbytes for piece in slices) if slices else entry.nbytes,
            slices,
            mapped and not self._is_swapped(entry),
            None if slices else self._shards.path(entry.shard_id),
            None if slices else entry.offset,
        )

    def _slice_info(self, key: bytes, entry: Entry, extents: Extents) -> TensorSlice:
        box = resolve(extents, entry.shape)
        piece = self.entry(encode_slice_key(key, extents))
        if piece is None:
            return TensorSlice(box.start, box.shape, None, None, 0)
        path = self._shards.path(piece.shard_id)
        return TensorSlice(box.start, box.shape, path, piece.offset, piece.nbytes)

    def _is_swapped(self, entry: Entry) -> bool:
        return self._is_foreign and lookup(entry.dtype).itemsize != 1

    # Tensors

    def read(self, key: bytes, entry: Entry, index: Index) -> NDArray[Any]:
        """What an index takes of a tensor; see `Checkpoint.read`."""
        require_readable(entry.dtype)
        require_shape(entry.shape, numpy_dtype(entry.dtype).itemsize)
        if entry.slices:
            return self._read_partitioned(key, entry, index)
        return self._read_whole(key, entry, index)

    def _read_whole(self, key: bytes, entry: Entry, index: Index) -> NDArray[Any]:
        """The same for a tensor, or a slice, that is stored in one piece."""
        source = self._shards.require_range(entry.shard_id, entry.offset, entry.nbytes)
        check = self._verify and key not in self._verified
        if entry.dtype == STRING:
            with located(file=source.name, base=entry.offset):
                strings = decode_strings(
                    source.read(entry.offset, entry.offset + entry.nbytes),
                    entry.size,
                    big_endian=self._header.big_endian,
                    crc=entry.crc32c if check else None,
                )
            array = strings.reshape(entry.shape)[keep_array(index)]
        else:
            if check:
                self._verify_bytes(source, entry)
            array = read_part(
                source,
                entry.offset,
                numpy_dtype(entry.dtype),
                entry.shape,
                index,
                swapped=self._is_swapped(entry),
            )
        if check:
            self._verified.add(key)
        return array

    def _read_partitioned(self, key: bytes, entry: Entry, index: Index) -> NDArray[Any]:
        boxes = [resolve(extents, entry.shape) for extents in entry.slices]
        require_tiling(boxes, entry.shape, max_cells=self._table.nbytes)
        selection = select(index, entry.shape)
        pieces = self._slice_entries(key, entry)
        wanted = [piece for piece in pieces if selection.touches(piece.box)]
        for piece in wanted:
            self._shards.require_range(piece.entry.shard_id, piece.entry.offset, piece.entry.nbytes)
        self._require_distinct_bytes([piece.entry for piece in wanted])
        array = np.empty(selection.shape, numpy_dtype(entry.dtype))
        for piece in wanted:
            part = selection.part(piece.box)
            if part is not None:
                target, source_index = part
                array[target] = self._read_whole(piece.key, piece.entry, source_index)
        return selection.finish(array)

    def _require_distinct_bytes(self, pieces: list[Entry]) -> None:
        """Slices of a tensor cannot take more bytes than their shards have.

        Nothing larger than the real bytes is allocated, however often slices point to the same.
        """
        taken = sum(piece.nbytes for piece in pieces)
        shards = {piece.shard_id for piece in pieces}
        there = sum(self._shards.source(shard_id).nbytes for shard_id in shards)
        if taken > there:
            raise CorruptCheckpointError(
                "slices share their bytes",
                expected=f"at most the {there} bytes of {len(shards)} data files",
                found=f"{taken} bytes in {len(pieces)} slices",
            )

    # Checks

    def verify(self, key: bytes, entry: Entry) -> bool:
        """Read and check all bytes of a tensor, whether or not that was done before.

        Returns False when this version does not know how: a type of a newer TensorFlow.

        Raises:
            CheckpointError: what reading the tensor raises, or would if its type were readable.
        """
        pieces = [Piece(key, Box((0,) * len(entry.shape), entry.shape), entry)]
        if entry.slices:
            boxes = [resolve(extents, entry.shape) for extents in entry.slices]
            require_tiling(boxes, entry.shape, max_cells=self._table.nbytes)
            pieces = self._slice_entries(key, entry)
        known = entry.dtype in (STRING, VARIANT) or lookup(entry.dtype).itemsize is not None
        for piece in pieces:
            place = piece.entry
            source = self._shards.require_range(place.shard_id, place.offset, place.nbytes)
            if known:
                self._verify_bytes(source, place)
                self._verified.add(piece.key)
        return known

    def _verify_bytes(self, source: Source, entry: Entry) -> None:
        """Check the stored bytes of one entry."""
        start, stop = entry.offset, entry.offset + entry.nbytes
        with located(file=source.name, base=start):
            if entry.dtype == STRING:
                payload = source.read(start, stop)
                big_endian = self._header.big_endian
                decode_strings(payload, entry.size, big_endian=big_endian, crc=entry.crc32c)
            elif entry.dtype == VARIANT:
                verify_variants(source.read(start, stop), entry.size, entry.crc32c)
            else:
                crc = crc32c_of_range(source, start, stop)
                require_crc32c("tensor", crc, entry.crc32c, offset=0)
                if entry.dtype == BOOL:
                    require_booleans(source.read(start, stop))

    def forget_verified(self) -> None:
        """Have every checksum of tensors compared again when it is next needed."""
        self._verified.clear()

    def surviving_entries(self) -> tuple[list[tuple[bytes, Entry]], list[CheckpointError]]:
        """As `entries`, stepping over damage: what could be read, and what could not."""
        entries: list[tuple[bytes, Entry]] = []
        errors: list[CheckpointError] = []
        for i in range(self._table.num_blocks):
            block: Iterator[tuple[bytes, bytes | memoryview]] = self._table.scan_block(i)
            try:
                for key, value in block:
                    try:
                        if key != HEADER_KEY:
                            entries.append((key, self._decode_entry(key, value)))
                    except CheckpointError as error:
                        errors.append(error)
            except CheckpointError as error:
                errors.append(error)
        return _without_slices(entries), errors

    def close(self) -> None:
        """Close the index and every data file."""
        self._table.close()
        self._shards.close()


def _without_slices(entries: list[tuple[bytes, Entry]]) -> list[tuple[bytes, Entry]]:
    """Entries whose key is not that of some other entry's slice."""
    hidden = {encode_slice_key(key, extents) for key, entry in entries for extents in entry.slices}
    return [item for item in entries if item[0] not in hidden] if hidden else entries
