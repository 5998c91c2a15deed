"""Tensors of a V2 checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from operator import add
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ckptparse.encoding.crc32c import crc32c, mask, require_crc32c
from ckptparse.errors import CheckpointError, CorruptCheckpointError, located
from ckptparse.formats.bundle.entries import Entry
from ckptparse.formats.bundle.index import BundleIndex, Piece
from ckptparse.formats.bundle.infos import BundleInfos, is_swapped
from ckptparse.formats.bundle.payload import (
    decode_strings,
    require_booleans,
    verify_strings,
    verify_variants,
)
from ckptparse.formats.bundle.shards import Shards, explained
from ckptparse.sources import MemorySource, Source
from ckptparse.sources.checksum import crc32c_of_range
from ckptparse.tensors.arrays import read_part, require_shape, swap_bytes, take
from ckptparse.tensors.dtypes import BOOL, STRING, VARIANT, lookup, numpy_dtype, require_readable
from ckptparse.tensors.info import TensorForms, TensorInfo
from ckptparse.tensors.numpy_index import Index, select
from ckptparse.tensors.partitions import require_filled, require_tiling, resolve_all

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SMALL_NBYTES = 1 << 20
"""More is worth what all cores, or an index, take."""
_MOST_FORMS = 10_000
"""Pairs of dtype and shape that are remembered as fit for an array."""
_CACHED_NBYTES = 1 << 18
"""What stays in a core's cache from being checked to being copied."""
_MOST_SHARED = 4
"""How many times the bytes of a data file tensors may take before that is called damage."""
_FREE_NBYTES = 1 << 12
"""Numbers of no more bytes are not counted, which would take longer than to check them."""


class BundleReader:
    """An open bundle.

    Opening reads a little of the index (`BundleIndex` says what); data files are opened at their
    first use.

    There is no lock: what threads share is added to, and forgotten, in single steps.  What two of
    them count at once, `_counted_nbytes`, may be too little, never too much.
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
        self._big_endian = self._index.header.big_endian
        self._shards = Shards(prefix, self._index.header.num_shards, open_source, append)
        self._infos = BundleInfos(
            self._index, self._shards, mapped=mapped, big_endian=self._big_endian
        )
        self._verify = verify
        self._verified: set[bytes] = set()
        self._numbers: dict[tuple[int, tuple[int, ...]], np.dtype[Any] | Literal[False]] = {}
        self._counted: dict[bytes, object] = {}
        self._counted_nbytes: dict[int, int] = {}

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

    # Tensors

    def read(self, key: bytes, entry: Entry, index: Index) -> NDArray[Any]:
        """Return a tensor or a part of it; see `Checkpoint.read`."""
        dtype, shape, shard_id, offset, nbytes, crc, slices = entry
        numbers = self._numbers.get((dtype, shape))
        if numbers is None:
            numbers = self._require_form(dtype, shape)
        if slices:
            return self._read_partitioned(key, entry, index)
        if index is not Ellipsis or numbers is False or nbytes > _SMALL_NBYTES:
            return self._read_whole(key, entry, index)
        # The same for a small tensor of numbers in a map, with nothing that could be left out.
        source = self._shards.require_range(shard_id, offset, nbytes)
        octets = source.octets
        if octets is None:
            return self._read_whole(key, entry, index)
        if nbytes > _FREE_NBYTES:
            self._count(key, entry, source)
        stop = offset + nbytes
        payload = source.read(offset, stop)
        if self._verify and key not in self._verified:
            if mask(crc32c(payload)) != crc:
                return self._read_whole(key, entry, index)  # it knows how to say so
            self._verified.add(key)
        return octets[offset:stop].view(numbers).reshape(shape)

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

    def _read_whole(self, key: bytes, entry: Entry, index: Index) -> NDArray[Any]:
        """The same for a tensor, or a slice, that is stored in one piece."""
        shard = self._find_bytes(key, entry)
        source: Source = shard
        check = self._verify and key not in self._verified
        offset = entry.offset
        if check and not source.mapped:  # what is checked is what is given, and read once
            source = MemorySource(source.name, source.read(offset, offset + entry.nbytes))
            offset = 0
        if entry.dtype == STRING:
            with explained(shard), located(file=source.name, base=entry.offset):
                strings = decode_strings(
                    source.read(offset, offset + entry.nbytes),
                    entry.size,
                    big_endian=self._big_endian,
                    crc=entry.crc32c if check else None,
                )
            array = take(strings.reshape(entry.shape), index)
        else:
            if check:
                with explained(shard):
                    self._verify_bytes(source, offset, entry)
            array = read_part(
                source,
                offset,
                numpy_dtype(entry.dtype),
                entry.shape,
                index,
                swapped=self._is_swapped(entry.dtype),
            )
        if check:
            self._verified.add(key)
        return array

    def _read_partitioned(self, key: bytes, entry: Entry, index: Index) -> NDArray[Any]:
        boxes = resolve_all(entry.slices, entry.shape)
        require_tiling(boxes, entry.shape, max_cells=self._index.nbytes)
        selection = select(index, entry.shape)
        pieces = self._index.pieces(key, entry)
        wanted = [piece for piece in pieces if selection.touches(piece.box)]
        for piece in wanted:
            self._shards.require_range(piece.entry.shard_id, piece.entry.offset, piece.entry.nbytes)
        self._require_distinct_bytes([piece.entry for piece in wanted])
        array = np.empty(selection.shape, numpy_dtype(entry.dtype))

        def fill(i: int) -> int:
            """Write what is wanted of one slice into its place: its number of elements."""
            part = selection.part(wanted[i].box)
            if part is None:
                return 0
            target, source_index = part
            if is_whole:
                self._read_into(array[target], wanted[i])
                return wanted[i].box.size
            values = self._read_whole(wanted[i].key, wanted[i].entry, source_index)
            array[target] = values
            return values.size

        is_whole = index is Ellipsis and array.dtype != object and array.ndim > 0
        if array.nbytes < _SMALL_NBYTES or array.dtype == object:
            num_written = sum(map(fill, range(len(wanted))))
        else:
            from ckptparse.sources.parallel import run_on_all_cores  # it loads threads

            num_written = sum(run_on_all_cores(fill, len(wanted)))
        require_filled(num_written, array.size)
        return selection.finish(array)

    def _read_into(self, target: NDArray[Any], piece: Piece) -> None:
        """Copy a slice of numbers to its place, and check the bytes on the way."""
        entry = piece.entry
        check = self._verify and piece.key not in self._verified
        if not target.size:
            return
        source = self._find_bytes(piece.key, entry)
        row_nbytes = entry.nbytes // len(target)
        num_rows = max(_CACHED_NBYTES // row_nbytes, 1)
        dtype, swapped = numpy_dtype(entry.dtype), self._is_swapped(entry.dtype)
        crc = 0
        with explained(source), located(file=source.name, base=entry.offset):
            for row in range(0, len(target), num_rows):
                rows = target[row : row + num_rows]
                start = entry.offset + row * row_nbytes
                payload = source.read(start, start + len(rows) * row_nbytes)
                if check:
                    crc = crc32c(payload, crc)
                    if entry.dtype == BOOL:
                        require_booleans(payload, row * row_nbytes)
                values = np.frombuffer(payload, dtype).reshape(rows.shape)
                rows[...] = swap_bytes(values) if swapped else values
            if check:
                require_crc32c("tensor", crc, entry.crc32c, offset=0)
                self._verified.add(piece.key)

    def _require_distinct_bytes(self, pieces: list[Entry]) -> None:
        """Slices of a tensor cannot take more bytes than their shards have.

        Nothing larger than the real bytes is allocated, however often slices point to the same.
        """
        taken = sum(piece.nbytes for piece in pieces)
        shards = {piece.shard_id for piece in pieces}
        there = sum(self._shards.source(shard_id).nbytes for shard_id in shards)
        if taken > there:
            raise CorruptCheckpointError(
                "slices share the same bytes",
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
        data_type = lookup(entry.dtype)
        is_known = data_type.itemsize is not None or entry.dtype in (STRING, VARIANT)
        if not entry.slices:
            self._verify_whole(key, entry, is_known)
            return is_known
        boxes = resolve_all(entry.slices, entry.shape)
        require_tiling(boxes, entry.shape, max_cells=self._index.nbytes)
        pieces = self._index.pieces(key, entry)
        for piece in pieces:  # a file that is too short is that, and not bytes that are shared
            place = piece.entry
            self._shards.require_range(place.shard_id, place.offset, place.nbytes)
        self._require_distinct_bytes([piece.entry for piece in pieces])
        for piece in pieces:
            self._verify_whole(piece.key, piece.entry, is_known)
        return is_known

    def _verify_whole(self, key: bytes, entry: Entry, is_known: bool) -> None:
        """The same for a tensor, or a slice, that is stored in one piece."""
        dtype, _, _, offset, nbytes, crc, _ = entry
        source = self._find_bytes(key, entry)
        if not is_known:
            return
        is_quick = nbytes <= _SMALL_NBYTES and dtype not in (STRING, VARIANT, BOOL)
        if not is_quick or mask(crc32c(source.read(offset, offset + nbytes))) != crc:
            with explained(source):
                self._verify_bytes(source, offset, entry)
        self._verified.add(key)

    def _find_bytes(self, key: bytes, entry: Entry) -> Source:
        """The shard that holds the bytes of an entry; they are counted at their first access.

        Raises:
            MissingShardError, TruncatedError: see `Shards.require_range`.
            CorruptCheckpointError: see `_count`.
        """
        source = self._shards.require_range(entry.shard_id, entry.offset, entry.nbytes)
        if entry.nbytes > _FREE_NBYTES or entry.dtype in (STRING, VARIANT):
            self._count(key, entry, source)
        return source

    def _count(self, key: bytes, entry: Entry, source: Source) -> None:
        """Check that what was taken of a shard is not many times what the shard has.

        No writer lets tensors share bytes; a thousand entries of the same megabyte would make an
        hour's work of a small file.
        """
        if key in self._counted:
            return
        ours = object()
        if self._counted.setdefault(key, ours) is not ours:
            return  # another thread was here first
        taken = self._counted_nbytes.get(entry.shard_id, 0) + entry.nbytes
        if taken > _MOST_SHARED * source.nbytes:
            self._counted.pop(key, None)
            raise CorruptCheckpointError(
                "tensors share the same bytes",
                file=source.name,
                offset=entry.offset,
                expected=f"at most {_MOST_SHARED} times the {source.nbytes} bytes of the data file",
                found=f"{taken} bytes so far",
            )
        self._counted_nbytes[entry.shard_id] = taken

    def _verify_bytes(self, source: Source, start: int, entry: Entry) -> None:
        """Check the stored bytes of one entry, which begin at `start` of the source."""
        stop = start + entry.nbytes
        with located(file=source.name, base=entry.offset):
            if entry.dtype == STRING:
                payload = source.read(start, stop)
                big_endian = self._big_endian
                verify_strings(payload, entry.size, big_endian=big_endian, crc=entry.crc32c)
            elif entry.dtype == VARIANT:
                verify_variants(source.read(start, stop), entry.size, entry.crc32c)
            else:
                wrong: list[CorruptCheckpointError] = []

                def look(distance: int, piece: bytes | memoryview) -> None:
                    try:
                        require_booleans(piece, distance)
                    except CorruptCheckpointError as error:
                        wrong.append(error)

                crc = crc32c_of_range(source, start, stop, look if entry.dtype == BOOL else None)
                require_crc32c("tensor", crc, entry.crc32c, offset=0)
                if wrong:
                    raise min(wrong, key=lambda error: error.offset or 0)

    def forget_verified(self) -> None:
        """Have every checksum, also of the index, compared again when it is next needed."""
        self._verified.clear()
        self._index.forget_verified()
        self._counted.clear()
        self._counted_nbytes.clear()

    def close(self) -> None:
        """Close the index and every data file."""
        self._index.close()
        self._shards.close()
