"""The entries of a block of the index, all at once.

TensorFlow writes nearly every entry in one form: dtype, shape, perhaps shard_id, offset and size,
and crc32c at the end.  Numpy decodes these side by side.  Dtype and shape, the first bytes of an
entry, are the same in many of them and decoded once.  `entries.decode_entry` decodes entries of any
other form, and entries that look wrong: its errors say what is wrong.
"""

from __future__ import annotations

import sys
from itertools import repeat, takewhile
from typing import NamedTuple

import numpy as np

from ckptparse.encoding.records import make_records
from ckptparse.encoding.varint_arrays import decode_varint_each
from ckptparse.errors import CorruptCheckpointError
from ckptparse.formats.bundle.entries import (
    CRC32C_TAG,
    DTYPE_TAG,
    PLACE_TAGS,
    SHAPE_TAG,
    Entry,
    Start,
    decode_entry,
    decode_start,
    require_few_slices,
)
from ckptparse.sstable import Columns
from ckptparse.tensors.names import decode_name
from ckptparse.tensors.partitions import KEY_PREFIX

_START_NBYTES = 4  # tag and dtype, tag and size of the shape
_CRC32C_NBYTES = 5  # with its tag

_UNUSUAL = Start(0, (), None)


class EntryColumns(NamedTuple):
    """Entries, field by field, in order of keys.

    Attributes:
        keys: the keys.
        starts: the first bytes of each entry, up to its place.
        common: those bytes -> what they say.
        shard_ids, offsets, nbytes, crcs: as in `Entry`.
        others: number -> entry of those that are not in the usual form; the columns mean nothing
            there.
    """

    keys: list[bytes]
    starts: list[bytes]
    common: dict[bytes, Start]
    shard_ids: list[int]
    offsets: list[int]
    nbytes: list[int]
    crcs: list[int]
    others: dict[int, Entry]

    def slices_and_owners(self) -> list[tuple[bytes, Entry]]:
        """Return entries that could be those of slices, and entries that have slices."""
        found = [(self.keys[i], entry) for i, entry in self.others.items() if entry.slices]
        if self.keys and self.keys[0][:1] == KEY_PREFIX:
            entries = zip(self.keys, self.entries())
            found += takewhile(lambda item: item[0][:1] == KEY_PREFIX, entries)
        return found

    def entries(self) -> list[Entry]:
        """Return an `Entry` for each key."""
        starts = list(map(self.common.__getitem__, self.starts))
        entries = make_records(
            Entry,
            [start.dtype for start in starts],
            [start.shape for start in starts],
            self.shard_ids,
            self.offsets,
            self.nbytes,
            self.crcs,
            repeat(()),
        )
        for i, entry in self.others.items():
            entries[i] = entry
        return entries


def decode_entries(block: Columns, num_shards: int, most_slices: int = sys.maxsize) -> EntryColumns:
    """Decode all entries of a block.

    Args:
        block: its keys and values.
        num_shards: how many data files there are.
        most_slices: how many slices all entries together may have.

    Raises:
        CorruptCheckpointError: see `entries.decode_entry`.
    """
    contents, keys = block.contents, block.keys
    octets = np.frombuffer(contents, np.uint8)
    # The restart array follows the last value: a few bytes more can always be read.
    begin, stop = block.starts, block.stops
    end = stop - _CRC32C_NBYTES
    usual = stop - begin >= _START_NBYTES + _CRC32C_NBYTES
    usual &= (octets[begin] == DTYPE_TAG) & (octets[begin + 2] == SHAPE_TAG)
    usual &= ((octets[begin + 1] | octets[begin + 3]) < 0x80) & (octets[end] == CRC32C_TAG)
    start_end = begin + _START_NBYTES + octets[begin + 3]
    usual &= start_end <= end
    start_end = np.where(usual, start_end, begin)
    pos = np.where(usual, start_end, end)
    place = []
    for tag in PLACE_TAGS:
        is_there = octets[pos] == tag
        number, pos, unended = decode_varint_each(octets, pos + is_there, 9, where=is_there)
        usual &= ~unended & (pos <= end)
        pos = np.minimum(pos, end)
        place.append(number)
    usual &= (pos == end) & (place[0] < num_shards)
    crc = octets[end + 1].astype(np.int64)
    for i in range(1, 4):
        crc |= octets[end + 1 + i].astype(np.int64) << (8 * i)

    # As [contents[a:b] ...], but nothing of it runs in Python.
    starts = list(map(contents.__getitem__, map(slice, begin.tolist(), start_end.tolist())))
    common = {start: _decode_start(start) for start in set(starts)}
    shard_ids, offsets, nbytes = (number.tolist() for number in place)
    expected_nbytes = {start: common[start].nbytes for start in common}
    expected = list(map(expected_nbytes.__getitem__, starts))
    others: dict[int, Entry] = {}
    if expected != nbytes or not usual.all():
        num_slices = 0
        for i, is_usual in enumerate(usual.tolist()):
            if not is_usual or expected[i] != nbytes[i]:
                try:
                    entry = decode_entry(contents[begin[i] : stop[i]], num_shards, most_slices)
                    num_slices += len(entry.slices)
                    require_few_slices(num_slices, most_slices)
                except CorruptCheckpointError as error:
                    error.locate(tensor=decode_name(keys[i]))
                    raise
                others[i] = entry
    return EntryColumns(keys, starts, common, shard_ids, offsets, nbytes, crc.tolist(), others)


def _decode_start(start: bytes) -> Start:
    try:
        return decode_start(start) or _UNUSUAL
    except CorruptCheckpointError:  # decode_entry raises it again, with the tensor's name
        return _UNUSUAL
