"""The table of contents of a V1 file.

Each value of the table is a SavedTensorSlices message.  Key -> value:

    empty key           field 1, SavedTensorSliceMeta: for each tensor of this file its name, shape,
                        dtype, and the slices that are in this file; and versions
    slice key           field 2, SavedSlice: the values of one slice; see `tensors.partitions` for
                        the key and `record` for the value

A tensor that was not partitioned has one slice, which covers all dimensions.  In a sharded
checkpoint, each file has its own table of contents; several can list the same tensor, with
different slices.  Files from before April 2016 have no versions.  The table of contents gives the
keys of the records; records under other keys are ignored, and so are the name and the slice inside
a record.

Sources: tensorflow/core/util/saved_tensor_slice.proto, tensor_slice_reader.cc.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import prod
from typing import NamedTuple

from ckptparse.errors import CheckpointError, CorruptCheckpointError, NotACheckpointError, located
from ckptparse.limits import MAX_FREE_KEY_NBYTES, MAX_KEYS_RATIO
from ckptparse.messages.common import decode_shape, decode_slices, require_short, require_version
from ckptparse.messages.pool import load, parse
from ckptparse.messages.wire import LENGTH_DELIMITED, iterate_fields, require_few_parts
from ckptparse.sstable import Table
from ckptparse.tensors.dtypes import lookup
from ckptparse.tensors.names import decode_name
from ckptparse.tensors.partitions import Extents, count_most_slices, resolve_all

CONTENTS_KEY = b""

_META = 1
_TENSOR, _VERSIONS = 1, 2
_NAME, _SHAPE, _SLICE = 1, 2, 4

_MESSAGES = frozenset((_SHAPE, _SLICE))

_MIN_PART_NBYTES = 2
_MOST_KNOWN_NBYTES = 256
"""Entries that are equal except for their names are decoded once, if they are not longer than this.
Longer entries have many slices and are rarely equal."""


class SlicePlace(NamedTuple):
    """A stored slice: its extents in the tensor, and the table of the file that contains it."""

    extents: Extents
    table: Table


class SavedTensor(NamedTuple):
    """The entry of a tensor in the table of contents.

    Attributes:
        dtype: DataType number.
        shape: shape of the whole tensor.
        slices: its stored slices, from all files.
        is_whole: whether one slice contains the whole tensor.
        nbytes: number of bytes of its elements; 0 for strings, whose size only the records tell.
    """

    dtype: int
    shape: tuple[int, ...]
    slices: tuple[SlicePlace, ...]
    is_whole: bool
    nbytes: int

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)


def read_contents(tables: Iterable[Table]) -> dict[bytes, SavedTensor]:
    """Return the tensors of the files of a checkpoint, sorted by name.

    Raises:
        NotACheckpointError: a file is the index of a V2 checkpoint.
        CorruptCheckpointError: the contents of a file are invalid, or files contradict each other.
        UnsupportedError: a file requires a newer reader.
    """
    found: dict[bytes, list[SavedTensor]] = {}
    for table in tables:
        with located(file=table.name):
            value = table.get(CONTENTS_KEY)
            if value is None:
                raise CorruptCheckpointError(
                    "invalid contents", expected="an entry under the empty key", found="none"
                )
            table.require_dense(len(value), "the table of contents")
            if value[:1] == b"\x08":  # field 1 as a number: a header, not SavedTensorSlices
                raise NotACheckpointError(
                    "this is not a V1 checkpoint",
                    expected="a table of contents",
                    found="the index of a V2 checkpoint (its name ends in .index)",
                )
            _Contents(table, found).decode(bytes(value))
    return {name: _join(entries) for name, entries in sorted(found.items())}


def _join(entries: list[SavedTensor]) -> SavedTensor:
    """Return one entry for a tensor whose slices are listed in several places."""
    first = entries[0]
    if len(entries) == 1:
        return first
    places = tuple(place for entry in entries for place in entry.slices)
    return _make_entry(first.dtype, first.shape, places)


def _make_entry(dtype: int, shape: tuple[int, ...], places: tuple[SlicePlace, ...]) -> SavedTensor:
    """Return the entry of a tensor with these slices."""
    boxes = resolve_all((place.extents for place in places), shape)
    is_whole = len(boxes) == 1 and boxes[0].shape == shape and not any(boxes[0].start)
    size = min(sum(box.size for box in boxes), prod(shape))  # extents are not checked yet
    nbytes = size * (lookup(dtype).itemsize or 0)
    return SavedTensor(dtype, shape, places, is_whole, nbytes)


class _Contents:
    """Decodes the table of contents of one file."""

    def __init__(self, table: Table, found: dict[bytes, list[SavedTensor]]) -> None:
        self._table = table
        self._found = found
        self._known: dict[bytes, SavedTensor] = {}
        self._num_slices = self._key_nbytes = 0
        self._most_key_nbytes = MAX_KEYS_RATIO * table.nbytes
        self._most_listed = count_most_slices(table.nbytes)  # of tensors, and of slices

    def decode(self, value: bytes) -> None:
        """Add each tensor of a SavedTensorSlices message to `found`."""
        try:
            self._require_version(b"".join(self._parts(value, _VERSIONS)))
            for tensor in self._parts(value, _TENSOR):
                self._add(tensor)
        except CheckpointError as error:
            error.offset = None  # it is an offset in the value, not in the file
            raise

    def _parts(self, value: bytes, wanted: int) -> Iterator[bytes]:
        """Yield the messages in a field of SavedTensorSliceMeta."""
        num_left = self._most_listed
        for meta in iterate_fields(value, 0, len(value)):
            num_left -= 1
            if (meta.number, meta.wire_type) == (_META, LENGTH_DELIMITED):
                for number, wire_type, start, stop in iterate_fields(value, meta.start, meta.stop):
                    num_left -= 1
                    if num_left < 0:
                        raise self._swollen_error()
                    if number == wanted and wire_type == LENGTH_DELIMITED:
                        yield value[start:stop]
            if num_left < 0:
                raise self._swollen_error()

    def _swollen_error(self) -> CorruptCheckpointError:
        """Return the error for more tensors or slices than the size of the file allows."""
        return CorruptCheckpointError(
            "invalid contents",
            expected=f"at most {self._most_listed} tensors, and slices, by the size of the file",
            found="more",
        )

    def _require_version(self, serialized: bytes) -> None:
        """Check the versions of the file."""
        require_short("versions", serialized)
        require_version(parse(load("saved_slices.proto")["VersionDef"], serialized))

    def _add(self, serialized: bytes) -> None:
        """Add a SavedSliceMeta.  Many are equal except for their names, and are parsed once."""
        name_nbytes = serialized[1] if serialized[:1] == b"\x0a" and serialized[1:2] else 0x80
        name = rest = b""
        entry = None
        is_usual = name_nbytes < 0x80 and len(serialized) >= 2 + name_nbytes
        if is_usual:
            name, rest = serialized[2 : 2 + name_nbytes], serialized[2 + name_nbytes :]
            entry = self._known.get(rest)
        if entry is None:
            name, entry = self._parse(serialized)
            if is_usual and len(rest) <= _MOST_KNOWN_NBYTES and not _has_name(rest):
                self._known[rest] = entry
        self._num_slices += len(entry.slices)
        self._key_nbytes += len(name) * len(entry.slices)
        if self._num_slices > self._most_listed:
            raise self._swollen_error()
        if self._key_nbytes > self._most_key_nbytes:
            raise CorruptCheckpointError(
                "invalid slices",
                tensor=decode_name(name),
                expected=f"keys of at most {self._most_key_nbytes} bytes in all",
                found="more",
            )
        others = self._found.setdefault(name, [])
        others.append(entry)
        first = others[0]
        if (entry.dtype, entry.shape) != (first.dtype, first.shape):
            raise CorruptCheckpointError(
                "invalid contents",
                tensor=decode_name(name),
                expected=f"dtype {first.dtype}, shape {list(first.shape)}, as elsewhere",
                found=f"dtype {entry.dtype}, shape {list(entry.shape)}",
            )

    def _parse(self, serialized: bytes) -> tuple[bytes, SavedTensor]:
        """Return the name and the entry that a SavedSliceMeta describes."""
        if len(serialized) // _MIN_PART_NBYTES > self._most_listed:
            longest = max(self._table.nbytes, MAX_FREE_KEY_NBYTES)
            require_few_parts(serialized, _MESSAGES, self._most_listed, longest)
        message = parse(load("saved_slices.proto")["SavedSliceMeta"], serialized)
        name: bytes = message.name
        try:
            shape = decode_shape(message.shape)
            slices = decode_slices(message.slice, len(shape))
        except CorruptCheckpointError as error:
            error.locate(tensor=decode_name(name))
            raise
        places = tuple(SlicePlace(each, self._table) for each in slices)
        return name, _make_entry(message.type, shape, places)


def _has_name(serialized: bytes) -> bool:
    """Return whether a SavedSliceMeta has a name."""
    return any(field.number == _NAME for field in iterate_fields(serialized, 0, len(serialized)))
