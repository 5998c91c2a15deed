"""Read the tensors of a V2 checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from copy import copy
from operator import add
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ckptparse.encoding.crc32c import crc32c, mask
from ckptparse.errors import CheckpointError, CorruptCheckpointError, UnsupportedError, located
from ckptparse.formats.bundle.entries import Entry
from ckptparse.formats.bundle.index import BundleIndex, StoredSlice
from ckptparse.formats.bundle.infos import BundleInfos, is_swapped
from ckptparse.formats.bundle.payload import (
    copy_numbers,
    decode_strings,
    iterate_numbers,
    verify_payload,
)
from ckptparse.formats.bundle.shards import ReadLimit, Shards, is_kept_open, with_format_hint
from ckptparse.formats.reader import OnPiece, Reader
from ckptparse.sources import MemorySource, PreadSource, Source
from ckptparse.sources.ranges import PrefetchedSource
from ckptparse.tensors.arrays import read_part, require_shape, take
from ckptparse.tensors.assembly import assemble
from ckptparse.tensors.dtypes import BOOL, STRING, VARIANT, lookup, numpy_dtype, require_readable
from ckptparse.tensors.info import TensorForms, TensorInfo
from ckptparse.tensors.mapping import PIECE_NBYTES
from ckptparse.tensors.numpy_index import Index, select_elements
from ckptparse.tensors.partitions import require_tiling, resolve_all

if TYPE_CHECKING:
    from numpy.typing import NDArray


_SMALL_NBYTES = 1 << 20
"""Numbers of more bytes are checked on all cores."""
_CHECKED_BY_ELEMENT = (STRING, VARIANT, BOOL)
"""Types whose elements are checked one by one, beside their checksum."""
_MOST_PREFETCHED_SLICES = 256
"""Entries of slices are looked up for `prefetch` and then again; that of many is too much work."""
_MOST_PREFETCHED_REQUESTS = 32
"""A range that takes as long to read as so many requests is not prefetched: merged, it would come
only 3 % sooner, and then be copied."""
_MOST_FORMS = 10_000
"""Pairs of dtype and shape that are remembered as fit for an array."""


class BundleReader(Reader):
    """An open bundle.

    Opening reads a little of the index (`BundleIndex` says what); data files are opened at their
    first use.

    There is no lock: threads add to the state that they share, and clear it, in single steps.
    """

    format = "v2"

    def __init__(
        self,
        prefix: str,
        index: Source,
        open_source: Callable[..., Source],
        *,
        append: Callable[[str, str], str] = add,
        verify: bool,
        mapped: bool,
    ) -> None:
        """
        Args:
            prefix: path before ``.index`` and ``.data-...``.
            index: the bytes of the index file.
            open_source: opens a data file, as `Files.open`; raises FileNotFoundError when there is
                none.
            append: makes the path of a data file from the prefix and its suffix, as `Files.append`.
            verify: check a tensor's checksum at its first access.
            mapped: whether data files are memory maps.

        Raises:
            NotACheckpointError, CorruptCheckpointError, UnsupportedError: the index is not one, is
                damaged, or is for a newer reader.
        """
        self.path = prefix
        self._index = BundleIndex(index)
        self.index_nbytes = self._index.nbytes
        self._big_endian = self._index.header.big_endian
        is_replaced = index.is_unlinked if isinstance(index, PreadSource) else lambda: False
        self._shards = Shards(
            prefix, self._index.header.num_shards, open_source, append, is_replaced
        )
        self._infos = BundleInfos(
            self._index, self._shards, mapped=mapped, big_endian=self._big_endian
        )
        self._verify = verify
        self._verified: set[bytes] = set()
        self._numbers: dict[tuple[int, tuple[int, ...]], np.dtype[Any] | Literal[False]] = {}
        self._read_limit: ReadLimit | None = None
        self._prefetched: dict[int, PrefetchedSource] = {}
        self.prefetches = not (mapped and is_kept_open(self._index.header.num_shards - 1))

    @property
    def files(self) -> list[str]:
        """The index and the data files, the first 100,000 of them."""
        shards = range(min(self._shards.num_shards, 100_000))
        return [self._index.name, *(self._shards.path(shard_id) for shard_id in shards)]

    # Metadata

    def keys(self) -> list[bytes]:
        """See `BundleIndex.keys`."""
        return self._index.keys()

    def find(self, key: bytes) -> Entry | None:
        """See `BundleIndex.find`."""
        return self._index.find(key)

    def surviving_entries(self) -> tuple[list[tuple[bytes, Entry]], list[CheckpointError]]:
        """See `BundleIndex.surviving_entries`."""
        return self._index.surviving_entries()

    def infos(self) -> list[TensorInfo]:
        """`info` of every tensor."""
        return self._infos.infos()

    def forms(self) -> TensorForms:
        """Names, shapes and dtypes of every tensor."""
        return self._infos.forms()

    def info(self, key: bytes, entry: Entry) -> TensorInfo:
        """Return the metadata of a tensor."""
        return self._infos.info(key, entry)

    def nbytes(self, key: bytes, entry: Entry) -> int:
        """`TensorInfo.nbytes` of a tensor, if all of its slices are there."""
        if not entry.slices:
            return entry.nbytes
        itemsize = lookup(entry.dtype).itemsize
        return self.info(key, entry).nbytes if itemsize is None else entry.size * itemsize

    def form(self, key: bytes, entry: Entry) -> tuple[str, tuple[int, ...]]:
        """Return TensorFlow's name of the dtype of a tensor, and its shape."""
        return lookup(entry.dtype).name, entry.shape

    def fingerprint(self, key: bytes, entry: Entry) -> Hashable | None:
        """Return the stored checksums of a tensor, or of its slices and their places."""
        if not entry.slices:
            return self._big_endian, entry.nbytes, entry.crc32c
        slices = self._index.slices(key, entry)
        return self._big_endian, tuple(
            (piece.box, piece.entry.nbytes, piece.entry.crc32c) for piece in slices
        )

    # Tensors

    def for_one_loop(self) -> BundleReader:
        """Return a reader for a loop that reads or verifies many tensors, each once.

        It shares all files with this one, and refuses tensors that together take many times the
        bytes of a data file (`ReadLimit`).
        """
        reader = copy(self)
        reader._read_limit = ReadLimit()
        reader._prefetched = {}
        return reader

    def prefetch(self, tensors: list[tuple[bytes, Entry]]) -> None:
        """Read the bytes of small tensors and slices in few requests; see `Reader.prefetch`."""
        ranges: dict[int, list[tuple[int, int]]] = {}
        for key, entry in tensors:
            stored = [entry]
            if len(entry.slices) > _MOST_PREFETCHED_SLICES:
                continue
            if entry.slices:
                try:
                    stored = [piece.entry for piece in self._index.slices(key, entry)]
                except CheckpointError:
                    continue
            for each in stored:
                if each.nbytes:
                    span = each.offset, each.offset + each.nbytes
                    ranges.setdefault(each.shard_id, []).append(span)
        self._prefetched = {}
        for shard_id, spans in ranges.items():
            try:
                shard = self._shards.source(shard_id)
                if not shard.mapped:
                    most_nbytes = _MOST_PREFETCHED_REQUESTS * shard.request_nbytes
                    small = [
                        (start, stop)
                        for start, stop in spans
                        if stop - start <= most_nbytes and stop <= shard.nbytes
                    ]
                    self._prefetched[shard_id] = PrefetchedSource(shard, small)
            except CheckpointError:
                continue

    def read_pieces(
        self, key: bytes, entry: Entry, piece_nbytes: int
    ) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield a tensor in pieces of consecutive elements; see `Reader.read_pieces`."""
        itemsize = lookup(entry.dtype).itemsize
        if (entry.nbytes <= piece_nbytes and not entry.slices) or itemsize is None:
            yield 0, self.read(key, entry, ...)
            return
        self._require_form(entry.dtype, entry.shape)
        if entry.slices:
            from ckptparse.tensors.pieces import cut

            for start, index in cut(entry.shape, itemsize, piece_nbytes):
                yield start, self.read(key, entry, index)
            return
        start, stop = entry.offset, entry.offset + entry.nbytes
        shard = self._shards.require_range(entry.shard_id, start, entry.nbytes)
        source = shard
        prefetched = self._prefetched.get(entry.shard_id)
        if prefetched is not None and prefetched.holds(start, stop):
            source = MemorySource(shard.name, prefetched.read(start, stop), start)
        if self._read_limit is not None:
            self._read_limit.add(key, entry.shard_id, start, entry.nbytes, shard)
        check = self._verify and key not in self._verified
        swapped = self._is_swapped(entry.dtype)
        pieces = iterate_numbers(source, entry, piece_nbytes, check=check, swapped=swapped)
        with with_format_hint(shard):
            yield from pieces
        if check:
            self._verified.add(key)

    def read(self, key: bytes, entry: Entry, index: Index) -> NDArray[Any]:
        """Return a tensor or a part of it; see `Checkpoint.read`."""
        dtype, shape, shard_id, offset, nbytes, crc, slices = entry
        numbers = self._numbers.get((dtype, shape))
        if numbers is None:
            numbers = self._require_form(dtype, shape)
        if slices:
            return self._read_partitioned(key, entry, index)
        shard = self._shards.require_range(shard_id, offset, nbytes)
        if self._read_limit is not None:
            self._read_limit.add(key, shard_id, offset, nbytes, shard)
            shard = self._prefetched.get(shard_id, shard)
        if index is Ellipsis and numbers is not False and 0 < nbytes <= _SMALL_NBYTES:
            payload = shard.read(offset, offset + nbytes)
            if not self._verify or key in self._verified:
                return np.ndarray(shape, numbers, payload)
            if mask(crc32c(payload)) == crc:
                self._verified.add(key)
                return np.ndarray(shape, numbers, payload)
        return self._read_stored(shard, key, entry, index)

    def _require_form(self, dtype: int, shape: tuple[int, ...]) -> np.dtype[Any] | Literal[False]:
        """Raise UnsupportedError for what cannot be an array.

        Returns the dtype of numbers that can be viewed as they are stored, False for others.
        """
        require_readable(dtype)
        require_shape(shape, numpy_dtype(dtype).itemsize)
        is_plain = dtype not in (STRING, BOOL) and not self._is_swapped(dtype)
        form: np.dtype[Any] | Literal[False] = numpy_dtype(dtype) if is_plain else False
        if len(self._numbers) < _MOST_FORMS:
            self._numbers[dtype, shape] = form
        return form

    def _is_swapped(self, dtype: int) -> bool:
        return is_swapped(dtype, big_endian=self._big_endian)

    def _read_stored(self, shard: Source, key: bytes, entry: Entry, index: Index) -> NDArray[Any]:
        """Return a tensor, or a slice, that is stored in one piece, or a part of it."""
        source = shard
        check = self._verify and key not in self._verified
        offset = entry.offset
        if check and not shard.mapped:  # the bytes that are checked are those that are returned
            source = MemorySource(shard.name, shard.read(offset, offset + entry.nbytes))
            offset = 0
        with with_format_hint(shard):
            if entry.dtype == STRING:
                with located(file=shard.name, base=entry.offset):
                    strings = decode_strings(
                        source.read(offset, offset + entry.nbytes),
                        entry.size,
                        big_endian=self._big_endian,
                        crc=entry.crc32c if check else None,
                    )
                array = take(strings.reshape(entry.shape), index)
            else:
                if check:
                    verify_payload(source, offset, entry, big_endian=self._big_endian)
                array = read_part(
                    source,
                    offset,
                    numpy_dtype(entry.dtype),
                    entry.shape,
                    index,
                    swapped=self._is_swapped(entry.dtype),
                )
        if check and entry.nbytes:  # no bytes are checked again as fast as looked up
            self._verified.add(key)
        return array

    def _read_partitioned(self, key: bytes, entry: Entry, index: Index) -> NDArray[Any]:
        selection = select_elements(index, entry.shape)
        wanted = self._stored_slices(key, entry)
        if entry.size:
            wanted = [piece for piece in wanted if selection.touches(piece.box)]
        shards = self._require_bytes_of(wanted)
        if (
            not entry.size and self._verify
        ):  # no slice is read, but as in TensorFlow all are checked
            for piece, shard in zip(wanted, shards):
                if piece.key not in self._verified:
                    self._verify_stored(shard, piece.key, piece.entry)

        def read_slice(i: int, part: Index) -> NDArray[Any]:
            return self._read_stored(shards[i], wanted[i].key, wanted[i].entry, part)

        def copy_slice(i: int, target: NDArray[Any]) -> None:
            self._copy_stored(shards[i], wanted[i], target)

        return assemble(
            selection,
            [piece.box for piece in wanted],
            numpy_dtype(entry.dtype),
            read_slice,
            copy_slice if index is Ellipsis else None,
        )

    def _copy_stored(self, shard: Source, piece: StoredSlice, target: NDArray[Any]) -> None:
        """Copy a slice of numbers into its place."""
        check = self._verify and piece.key not in self._verified
        swapped = self._is_swapped(piece.entry.dtype)
        with with_format_hint(shard):
            copy_numbers(shard, piece.entry, target, check=check, swapped=swapped)
        if check:
            self._verified.add(piece.key)

    def _stored_slices(self, key: bytes, entry: Entry) -> list[StoredSlice]:
        """Return the slices of a tensor, which cover it exactly once.

        Raises:
            CorruptCheckpointError: they do not, or one is missing.
        """
        boxes = resolve_all(entry.slices, entry.shape)
        require_tiling(boxes, entry.shape, max_cells=self._index.nbytes)
        return self._index.slices(key, entry)

    def _require_bytes_of(self, pieces: list[StoredSlice]) -> list[Source]:
        """Return the data file of each slice.

        Nothing larger than the real bytes is allocated, however often slices point to the same.

        Raises:
            MissingShardError, TruncatedError: see `Shards.require_range`.
            CorruptCheckpointError: the slices take more bytes than their data files have.
        """
        shards = []
        for _, _, entry in pieces:
            shard = self._shards.require_range(entry.shard_id, entry.offset, entry.nbytes)
            shards.append(self._prefetched.get(entry.shard_id, shard))
        taken = sum(piece.entry.nbytes for piece in pieces)
        by_number = {piece.entry.shard_id: shard for piece, shard in zip(pieces, shards)}
        there = sum(shard.nbytes for shard in by_number.values())
        if taken > there:
            raise CorruptCheckpointError(
                "slices share the same bytes",
                expected=f"at most the {there} bytes of {len(by_number)} data files",
                found=f"{taken} bytes in {len(pieces)} slices",
            )
        if self._read_limit is not None:
            for (key, _, entry), shard in zip(pieces, shards):
                self._read_limit.add(key, entry.shard_id, entry.offset, entry.nbytes, shard)
        return shards

    # Checks

    def verify(self, key: bytes, entry: Entry) -> bool:
        """Read and check all bytes of a tensor, whether or not that was done before.

        Returns False when this version does not know how: a type of a newer TensorFlow.

        Raises:
            CheckpointError: what reading the tensor raises, or would if its type were readable.
        """
        dtype, _, shard_id, offset, nbytes, crc, slices = entry
        is_known = lookup(dtype).itemsize is not None or dtype in (STRING, VARIANT)
        if not slices:
            shard = self._shards.require_range(shard_id, offset, nbytes)
            if self._read_limit is not None:
                self._read_limit.add(key, shard_id, offset, nbytes, shard)
                shard = self._prefetched.get(shard_id, shard)
            # Most tensors are small and intact: one comparison is enough for them.
            is_quick = nbytes <= _SMALL_NBYTES and is_known and dtype not in _CHECKED_BY_ELEMENT
            if is_quick and mask(crc32c(shard.read(offset, offset + nbytes))) == crc:
                self._verified.add(key)
            elif is_known:
                self._verify_stored(shard, key, entry)
            return is_known
        pieces = self._stored_slices(key, entry)
        shards = self._require_bytes_of(pieces)
        if is_known:
            for piece, shard in zip(pieces, shards):
                self._verify_stored(shard, piece.key, piece.entry)
        return is_known

    def verify_and_read(self, key: bytes, entry: Entry, on_piece: OnPiece) -> bool:
        """Check a tensor while it is read; see `Reader.verify_and_read`."""
        reader = self
        if not self._verify:
            reader = copy(self)
            reader._verify = True
        try:
            for start, values in reader.read_pieces(key, entry, PIECE_NBYTES):
                on_piece(start, values)
        except UnsupportedError:  # its elements are no array, but have a checksum
            return self.verify(key, entry)
        return True

    def _verify_stored(self, shard: Source, key: bytes, entry: Entry) -> None:
        """Check a tensor, or a slice, that is stored in one piece."""
        with with_format_hint(shard):
            verify_payload(shard, entry.offset, entry, big_endian=self._big_endian)
        self._verified.add(key)

    def forget_verified(self) -> None:
        """Have every checksum, also of the index, compared again when it is next needed."""
        self._verified.clear()
        self._index.forget_verified()

    def close(self) -> None:
        """Close the index and every data file."""
        self._index.close()
        self._shards.close()
