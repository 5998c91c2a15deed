"""Read the tensors of a V1 checkpoint."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import TYPE_CHECKING, Any

from ckptparse.errors import CheckpointError, CorruptCheckpointError
from ckptparse.formats.reader import Reader
from ckptparse.formats.recognize import recognized
from ckptparse.formats.saved_slices.contents import SavedTensor, SlicePlace, read_contents
from ckptparse.formats.saved_slices.record import find_values, require_storable
from ckptparse.formats.tensor_values import decode_values, is_stored_plain
from ckptparse.sources import Source
from ckptparse.sstable import Table
from ckptparse.tensors.arrays import require_shape, take
from ckptparse.tensors.assembly import assemble
from ckptparse.tensors.dtypes import lookup, numpy_dtype
from ckptparse.tensors.info import TensorInfo, TensorSlice
from ckptparse.tensors.names import decode_name
from ckptparse.tensors.numpy_index import Box, Index, select_elements
from ckptparse.tensors.partitions import (
    encode_extents,
    encode_slice_key,
    require_tiling,
    resolve,
    resolve_all,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


class SavedSlicesReader(Reader):
    """An open V1 checkpoint: one file, or all shards of one.

    Opening reads the footer, the index block and the table of contents of each file.  Reading a
    slice reads the block that contains it.  V1 has checksums of blocks only, not of tensors.
    """

    format = "v1"

    def __init__(self, path: str, sources: Iterable[Source], *, verify: bool) -> None:
        """
        Args:
            path: path of the file, or the common prefix of the paths of all shards.
            sources: all files.
            verify: whether to check blocks of tensors; blocks of contents are always checked.

        Raises:
            NotACheckpointError: a file is not a table, or the index of a V2 checkpoint.
            CorruptCheckpointError: a file is damaged.
            UnsupportedError: a file requires a newer reader.
        """
        self.path = path
        self._sources = list(sources)
        self._tables = [_open_table(source, verify=verify) for source in self._sources]
        self._nbytes = sum(source.nbytes for source in self._sources)
        self._entries = read_contents(self._tables)

    @property
    def files(self) -> list[str]:
        """The paths of all files, in order."""
        return [table.name for table in self._tables]

    # Metadata

    def keys(self) -> list[bytes]:
        """Return the names of all tensors as bytes, sorted."""
        return list(self._entries)

    def find(self, key: bytes) -> SavedTensor | None:
        """Return the entry of a tensor; None if there is no such tensor.  Reads nothing."""
        return self._entries.get(key)

    def info(self, key: bytes, entry: SavedTensor) -> TensorInfo:
        """Return the metadata of a tensor, from the contents.

        Reads at most one byte more: the one that tells whether the tensor's block is compressed.
        """
        slices: tuple[TensorSlice, ...] = ()
        if not entry.is_whole:
            known = {place: _slice_info(entry, place) for place in dict.fromkeys(entry.slices)}
            slices = tuple(known[place] for place in entry.slices)
        return TensorInfo(
            name=decode_name(key),
            dtype=numpy_dtype(entry.dtype),
            tensorflow_dtype=lookup(entry.dtype).name,
            shape=entry.shape,
            size=entry.size,
            nbytes=entry.nbytes,
            slices=slices,
            mapped=entry.is_whole and self._is_viewable(key, entry),
            file=entry.slices[0].table.name if entry.is_whole else None,
            offset=None,
        )

    def nbytes(self, key: bytes, entry: SavedTensor) -> int:
        """Return `TensorInfo.nbytes` of a tensor."""
        return entry.nbytes

    def form(self, key: bytes, entry: SavedTensor) -> tuple[str, tuple[int, ...]]:
        """Return TensorFlow's name of the dtype of a tensor, and its shape."""
        return lookup(entry.dtype).name, entry.shape

    def _is_viewable(self, key: bytes, entry: SavedTensor) -> bool:
        """Return whether reading a tensor that is stored whole returns a view of the file."""
        (place,) = entry.slices
        if not place.table.mapped or not is_stored_plain(entry.dtype):
            return False
        return not place.table.is_compressed(encode_slice_key(key, place.extents))

    # Tensors

    def read(self, key: bytes, entry: SavedTensor, index: Index) -> NDArray[Any]:
        """Return a tensor or a part of it; see `Checkpoint.read`."""
        require_storable(entry.dtype)
        require_shape(entry.shape, numpy_dtype(entry.dtype).itemsize)
        if not entry.is_whole:
            return self._read_partitioned(key, entry, index)
        array = take(self._decode(key, entry, entry.slices[0], entry.shape), index)
        if is_stored_plain(entry.dtype):
            array.flags.writeable = False
        return array

    def _read_partitioned(self, key: bytes, entry: SavedTensor, index: Index) -> NDArray[Any]:
        """Return a partitioned tensor, or the part of it that an index selects."""
        boxes = self._find_boxes(entry)
        selection = select_elements(index, entry.shape)
        # As in TensorFlow, a tensor without elements needs all of its records.
        wanted = {
            place: box for place, box in boxes.items() if not entry.size or selection.touches(box)
        }
        # Every slice is there, and large enough, before the whole is allocated.
        slices = [self._decode(key, entry, place, box.shape) for place, box in wanted.items()]

        def read_part(i: int, part: Index) -> NDArray[Any]:
            return slices[i][part]

        return assemble(selection, list(wanted.values()), numpy_dtype(entry.dtype), read_part)

    def _find_boxes(self, entry: SavedTensor) -> dict[SlicePlace, Box]:
        """Return the box of each slice of a partitioned tensor; of equal slices, once.

        They come in order of keys, so that each block is read once, whatever the order in the
        contents.

        Raises:
            CorruptCheckpointError: the slices do not cover the tensor; see `require_tiling`.
        """
        boxes = resolve_all((place.extents for place in entry.slices), entry.shape)
        require_tiling(boxes, entry.shape, max_cells=self._nbytes)
        found = dict(zip(entry.slices, boxes))
        ordered = sorted(found, key=lambda place: encode_extents(place.extents))
        return {place: found[place] for place in ordered}

    def _decode(
        self,
        key: bytes,
        entry: SavedTensor,
        place: SlicePlace,
        shape: tuple[int, ...],
        *,
        verify: bool = False,
    ) -> NDArray[Any]:
        """Return one slice: a view of its record, or decoded numbers."""
        slice_key = encode_slice_key(key, place.extents)
        record = place.table.get(slice_key, verify=verify)
        if record is None:
            raise CorruptCheckpointError(
                "invalid slice",
                file=place.table.name,
                expected=f"a record under {slice_key.hex(' ')}",
                found="none",
            )
        try:
            values = decode_values(find_values(record, entry.dtype), entry.dtype, prod(shape))
        except CheckpointError as error:
            error.file = place.table.name
            error.offset = None  # it is an offset in the record, not in the file
            raise
        return values.reshape(shape)

    # Checks

    def forget_verified(self) -> None:
        """Forget which blocks were checked, so that each is checked again at its next use."""
        for table in self._tables:
            table.forget_verified()

    def verify(self, key: bytes, entry: SavedTensor) -> bool:
        """Read, check and decode every slice; return True, because all dtypes of V1 are known.

        Raises:
            CheckpointError: the tensor cannot be read; same as for `read`.
        """
        require_storable(entry.dtype)
        require_shape(entry.shape, numpy_dtype(entry.dtype).itemsize)
        if entry.is_whole:
            self._decode(key, entry, entry.slices[0], entry.shape, verify=True)
            return True
        for place, box in self._find_boxes(entry).items():
            self._decode(key, entry, place, box.shape, verify=True)
        return True

    def close(self) -> None:
        """Close every file."""
        for table in self._tables:
            table.close()


def _slice_info(entry: SavedTensor, place: SlicePlace) -> TensorSlice:
    """Return the metadata of a slice."""
    box = resolve(place.extents, entry.shape)
    nbytes = min(box.size, entry.size) * (lookup(entry.dtype).itemsize or 0)
    return TensorSlice(box.start, box.shape, place.table.name, None, nbytes)


def _open_table(source: Source, *, verify: bool) -> Table:
    """Open the table of a V1 file."""
    with recognized(source):
        return Table(source, verify=verify)
