"""Tensors of a V2 checkpoint."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ckptparse.arrays import read_part, require_shape
from ckptparse.bundle.entries import Entry
from ckptparse.bundle.index import BundleIndex, Piece
from ckptparse.bundle.payload import decode_strings, require_booleans, verify_variants
from ckptparse.bundle.shards import Shards
from ckptparse.checksum import crc32c_of_range, require_crc32c
from ckptparse.dtypes import BOOL, STRING, VARIANT, lookup, numpy_dtype, require_readable
from ckptparse.errors import CheckpointError, CorruptCheckpointError, located
from ckptparse.indexing import Box, Index, keep_array, select
from ckptparse.names import decode_name
from ckptparse.slices import (
    Extents,
    encode_slice_key,
    require_filled,
    require_tiling,
    resolve,
)
from ckptparse.sources import MemorySource, Source
from ckptparse.tensors import TensorInfo, TensorSlice


class BundleReader:
    """An open bundle.

    Opening reads a little of the index (`BundleIndex` says what); data files are opened at their
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
        self._index = BundleIndex(index)
        self._big_endian = self._index.header.big_endian
        self._shards = Shards(prefix, self._index.header.num_shards, open_source)
        self._mapped = mapped
        self._verify = verify
        self._verified: set[bytes] = set()

    @property
    def files(self) -> list[str]:
        """The index and the data files, the first 100,000 of them."""
        shards = range(min(self._shards.num_shards, 100_000))
        return [self._index.name, *(self._shards.path(shard_id) for shard_id in shards)]

    # What is known of tensors

    @property
    def index_nbytes(self) -> int:
        """Size of the index."""
        return self._index.nbytes

    def keys(self) -> list[bytes]:
        """See `BundleIndex.keys`."""
        return self._index.keys()

    def find(self, key: bytes) -> Entry | None:
        """See `BundleIndex.find`."""
        return self._index.find(key)

    def entries(self) -> list[tuple[bytes, Entry]]:
        """See `BundleIndex.entries`."""
        return self._index.entries()

    def surviving_entries(self) -> tuple[list[tuple[bytes, Entry]], list[CheckpointError]]:
        """See `BundleIndex.surviving_entries`."""
        return self._index.surviving_entries()

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
        piece = self._index.entry(encode_slice_key(key, extents))
        if piece is None:
            return TensorSlice(box.start, box.shape, None, None, 0)
        path = self._shards.path(piece.shard_id)
        return TensorSlice(box.start, box.shape, path, piece.offset, piece.nbytes)

    def _is_swapped(self, entry: Entry) -> bool:
        is_foreign = self._big_endian != (sys.byteorder == "big")
        return is_foreign and lookup(entry.dtype).itemsize != 1

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
        offset = entry.offset
        if check and not source.mapped:  # what is checked is what is given, and read once
            source = MemorySource(source.name, source.read(offset, offset + entry.nbytes))
            offset = 0
        if entry.dtype == STRING:
            with located(file=source.name, base=entry.offset):
                strings = decode_strings(
                    source.read(offset, offset + entry.nbytes),
                    entry.size,
                    big_endian=self._big_endian,
                    crc=entry.crc32c if check else None,
                )
            array = strings.reshape(entry.shape)[keep_array(index)]
        else:
            if check:
                self._verify_bytes(source, offset, entry)
            array = read_part(
                source,
                offset,
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
        require_tiling(boxes, entry.shape, max_cells=self._index.nbytes)
        selection = select(index, entry.shape)
        pieces = self._index.pieces(key, entry)
        wanted = [piece for piece in pieces if selection.touches(piece.box)]
        for piece in wanted:
            self._shards.require_range(piece.entry.shard_id, piece.entry.offset, piece.entry.nbytes)
        self._require_distinct_bytes([piece.entry for piece in wanted])
        array = np.empty(selection.shape, numpy_dtype(entry.dtype))
        num_written = 0
        for piece in wanted:
            part = selection.part(piece.box)
            if part is not None:
                target, source_index = part
                values = self._read_whole(piece.key, piece.entry, source_index)
                array[target] = values
                num_written += values.size
        require_filled(num_written, array.size)
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
            require_tiling(boxes, entry.shape, max_cells=self._index.nbytes)
            pieces = self._index.pieces(key, entry)
        known = entry.dtype in (STRING, VARIANT) or lookup(entry.dtype).itemsize is not None
        for piece in pieces:
            place = piece.entry
            source = self._shards.require_range(place.shard_id, place.offset, place.nbytes)
            if known:
                self._verify_bytes(source, place.offset, place)
                self._verified.add(piece.key)
        return known

    def _verify_bytes(self, source: Source, start: int, entry: Entry) -> None:
        """Check the stored bytes of one entry, which begin at `start` of the source."""
        stop = start + entry.nbytes
        with located(file=source.name, base=entry.offset):
            if entry.dtype == STRING:
                payload = source.read(start, stop)
                big_endian = self._big_endian
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

    def close(self) -> None:
        """Close the index and every data file."""
        self._index.close()
        self._shards.close()
