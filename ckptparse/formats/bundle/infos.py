"""Metadata of tensors, from the index alone."""

from __future__ import annotations

import sys
from itertools import compress, repeat
from math import prod
from typing import TYPE_CHECKING, Any

from ckptparse.encoding.records import collector_paused, make_records
from ckptparse.formats.bundle.entries import Entry
from ckptparse.formats.bundle.entry_columns import EntryColumns
from ckptparse.formats.bundle.index import BundleIndex
from ckptparse.formats.bundle.shards import Shards, is_kept_open
from ckptparse.tensors.dtypes import lookup, numpy_dtype
from ckptparse.tensors.info import TensorForms, TensorInfo, TensorSlice
from ckptparse.tensors.names import decode_name, decode_names
from ckptparse.tensors.partitions import Extents, resolve

if TYPE_CHECKING:
    import numpy as np


def is_swapped(dtype: int, *, big_endian: bool) -> bool:
    """Return whether numbers of a dtype have another byte order than this machine."""
    is_foreign = big_endian != (sys.byteorder == "big")
    return is_foreign and lookup(dtype).itemsize != 1


class BundleInfos:
    """The infos of an index, one by one or in bulk."""

    def __init__(
        self, index: BundleIndex, shards: Shards, *, mapped: bool, big_endian: bool
    ) -> None:
        self._index = index
        self._shards = shards
        self._mapped = mapped
        self._big_endian = big_endian

    def infos(self) -> list[TensorInfo]:
        """`info` of every tensor."""
        infos: list[TensorInfo] = []
        owners: list[tuple[bytes, Entry]] = []
        with collector_paused():
            for block in self._index.blocks():
                infos += self._infos_of(block)
                owners += block.slices_and_owners()
        hidden = set(map(decode_name, self._index.find_slices(owners)))
        return [info for info in infos if info.name not in hidden] if hidden else infos

    def forms(self) -> TensorForms:
        """Names, shapes and dtypes of every tensor, without an info for each."""
        forms = TensorForms([], [], [])
        owners: list[tuple[bytes, Entry]] = []
        for block in self._index.blocks():
            start = len(forms.names)
            dtypes = {start: lookup(common.dtype).name for start, common in block.common.items()}
            forms.names.extend(decode_names(block.keys))
            shapes = {start: common.shape for start, common in block.common.items()}
            forms.shapes.extend(map(shapes.__getitem__, block.starts))
            forms.tensorflow_dtypes.extend(map(dtypes.__getitem__, block.starts))
            for i, entry in block.others.items():
                forms.shapes[start + i] = entry.shape
                forms.tensorflow_dtypes[start + i] = lookup(entry.dtype).name
            owners += block.slices_and_owners()
        hidden = set(map(decode_name, self._index.find_slices(owners)))
        if not hidden:
            return forms
        kept = [name not in hidden for name in forms.names]
        return TensorForms(
            list(compress(forms.names, kept)),
            list(compress(forms.shapes, kept)),
            list(compress(forms.tensorflow_dtypes, kept)),
        )

    def _infos_of(self, block: EntryColumns) -> list[TensorInfo]:
        rows = {
            start: self._describe(common.dtype, common.shape)
            for start, common in block.common.items()
        }
        of_each = [rows[start] for start in block.starts]
        if not of_each:
            return []
        paths = {shard_id: self._shards.path(shard_id) for shard_id in set(block.shard_ids)}
        mapped = [row[4] for row in of_each]
        if not is_kept_open(max(paths)):
            mapped = [
                is_mapped and is_kept_open(shard_id)
                for is_mapped, shard_id in zip(mapped, block.shard_ids)
            ]
        infos = make_records(
            TensorInfo,
            decode_names(block.keys),
            [row[0] for row in of_each],
            [row[1] for row in of_each],
            [row[2] for row in of_each],
            [row[3] for row in of_each],
            block.nbytes,
            repeat(()),
            mapped,
            map(paths.__getitem__, block.shard_ids),
            block.offsets,
        )
        for i, entry in block.others.items():
            infos[i] = self.info(block.keys[i], entry)
        return infos

    def _describe(
        self, dtype: int, shape: tuple[int, ...]
    ) -> tuple[np.dtype[Any], str, tuple[int, ...], int, bool]:
        """The fields of `TensorInfo` that all tensors of a dtype and shape share."""
        data_type = lookup(dtype)
        is_viewable = data_type.itemsize is not None and not is_swapped(
            dtype, big_endian=self._big_endian
        )
        mapped = self._mapped and is_viewable
        return numpy_dtype(dtype), data_type.name, shape, prod(shape), mapped

    def info(self, key: bytes, entry: Entry) -> TensorInfo:
        """Return the metadata of a tensor."""
        dtype, dtype_name, shape, size, mapped = self._describe(entry.dtype, entry.shape)
        slices: tuple[TensorSlice, ...] = ()
        if entry.slices:
            known = {
                extents: self._slice_info(entry, extents, piece)
                for extents, _, piece in self._index.slice_entries(key, entry)
            }
            slices = tuple(known[extents] for extents in entry.slices)
        return TensorInfo(
            decode_name(key),
            dtype,
            dtype_name,
            shape,
            size,
            sum(piece.nbytes for piece in slices) if slices else entry.nbytes,
            slices,
            mapped and not slices and is_kept_open(entry.shard_id),
            None if slices else self._shards.path(entry.shard_id),
            None if slices else entry.offset,
        )

    def _slice_info(self, entry: Entry, extents: Extents, piece: Entry | None) -> TensorSlice:
        box = resolve(extents, entry.shape)
        if piece is None:
            return TensorSlice(box.start, box.shape, None, None, 0)
        path = self._shards.path(piece.shard_id)
        return TensorSlice(box.start, box.shape, path, piece.offset, piece.nbytes)
