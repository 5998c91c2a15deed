"""The entries of one block, in memory.

::

    entry* | restart offsets, LE32 each | number of restarts, LE32

    entry: varint32 shared | varint32 non_shared | varint32 value size
           | last `non_shared` bytes of the key | value
    key:   the first `shared` bytes of the key before, then the suffix

The entry at a restart offset shares nothing, so that a search can begin there.  Keys
increase strictly, by unsigned bytes.  TensorFlow writes a restart every 16 entries into data
blocks and at every entry of index blocks; any distance is read.  An empty block has one restart,
at 0.

Source: tensorflow/core/lib/io/block.cc, block_builder.cc.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from ckptparse.encoding.varint import MAX_VARINT32_NBYTES, decode_varint
from ckptparse.errors import CorruptCheckpointError
from ckptparse.limits import (
    MAX_FREE_ENTRIES,
    MAX_FREE_KEY_NBYTES,
    MAX_FREE_KEYS_NBYTES,
    MAX_KEYS_RATIO,
    MIN_ENTRY_NBYTES,
)
from ckptparse.sstable.columns import (
    Columns,
    decode_usual_columns,
    long_key_error,
    long_keys_error,
    many_entries_error,
)

_RESTART_NBYTES = 4

_NBYTES_PER_SEARCHED = 128
_FREE_SEARCHED = 64
"""Entries that searches of a block may decode, in all, before the block is decoded as a whole.
That costs about as much as these searches."""

_PASSED_INTERVAL = 32
"""A search notes every 32nd entry that it passes in a run; a run of TensorFlow has 16."""


class _Passed(NamedTuple):
    """An entry that a search has passed, after which later searches of the run can begin.

    Attributes:
        highest: the highest key of the run up to it: its own key, if the keys are in order.
        key: its key.
        stop: where it ends.
        num_entries: how many entries of the run there are up to it.
        key_nbytes: how long their keys are together.
    """

    highest: bytes
    key: bytes
    stop: int
    num_entries: int
    key_nbytes: int


class Block:
    """A block's contents, read in order or searched.

    Values come as slices of the contents: views where those are a memoryview.  Offsets in errors
    are positions in the contents; `Table` adds where the block lies.
    """

    def __init__(self, contents: bytes | memoryview, stored_nbytes: int | None = None) -> None:
        """
        Args:
            contents: of the block, decompressed.
            stored_nbytes: what they take in the file; None for as much as they are.  It bounds
                what they may swell to.

        Raises:
            CorruptCheckpointError: restarts that are missing, out of order or outside.
        """
        nbytes = len(contents)
        count = int.from_bytes(contents[-_RESTART_NBYTES:], "little")
        most = nbytes // _RESTART_NBYTES - 1
        if not 1 <= count <= most:
            raise CorruptCheckpointError(
                "invalid number of restarts of a block",
                offset=max(nbytes - _RESTART_NBYTES, 0),
                expected=f"1 to {most}" if most > 0 else "a block of 8 bytes or more",
                found=count if nbytes >= _RESTART_NBYTES else f"{nbytes} bytes",
            )
        self._contents = contents
        self._stop = nbytes - _RESTART_NBYTES * (count + 1)
        self._num_searched = 0
        self._passed: dict[int, list[_Passed]] = {}  # number of the run -> in order of keys
        self._decoded: tuple[Columns, dict[bytes, int]] | None = None
        stored = nbytes if stored_nbytes is None else min(stored_nbytes, nbytes)
        self._most_entries = nbytes if stored == nbytes else stored // MIN_ENTRY_NBYTES
        self._most_entries += MAX_FREE_ENTRIES
        self._most_key_nbytes = MAX_KEYS_RATIO * stored + MAX_FREE_KEYS_NBYTES
        self._longest_key_nbytes = max(stored, MAX_FREE_KEY_NBYTES)
        bounds = np.frombuffer(contents, "<u4", count, self._stop).astype(np.int64)
        if bounds[0] != 0 or (bounds[1:] <= bounds[:-1]).any() or bounds[-1] >= max(self._stop, 1):
            raise CorruptCheckpointError(
                "invalid restarts of a block",
                offset=self._stop,
                expected=f"offsets that increase from 0 to below {self._stop}",
                found=f"{bounds[:8].tolist()}{' ...' if count > 8 else ''}",
            )
        self._restarts: list[int] = bounds.tolist()

    def __iter__(self) -> Iterator[tuple[bytes, bytes | memoryview]]:
        """Yield all (key, value) in order.

        Raises:
            CorruptCheckpointError: an entry that runs out of the block, keys that do not increase,
                a restart inside an entry.
        """
        for key, start, stop in self._walk():
            yield key, self._contents[start:stop]

    def _walk(self) -> Iterator[tuple[bytes, int, int]]:
        """Yield (key, start of the value, end of the value) in order; raises as ``iter``."""
        stop = self._stop
        restarts = iter(self._restarts)
        restart = next(restarts)
        previous: bytes | None = None
        pos = 0
        num_entries = key_nbytes = 0
        while pos < stop:
            is_restart = pos == restart
            if pos > restart:
                raise self._restart_error(restart)
            key, value_pos, value_stop = self._decode_entry(pos, None if is_restart else previous)
            if is_restart:
                restart = next(restarts, stop)
            num_entries += 1
            key_nbytes += len(key)
            if key_nbytes > self._most_key_nbytes or num_entries > self._most_entries:
                raise self._swollen_error(pos, num_entries)
            if previous is not None and key <= previous:
                raise CorruptCheckpointError(
                    "invalid order of keys",
                    offset=pos,
                    expected=f"a key above {_shorten(previous)}",
                    found=_shorten(key),
                )
            yield key, value_pos, value_stop
            previous = key
            pos = value_stop
        if restart < stop:
            raise self._restart_error(restart)

    @property
    def num_restarts(self) -> int:
        """The number of restarts."""
        return len(self._restarts)

    def columns(self) -> Columns:
        """Decode all entries at once.

        Raises:
            CorruptCheckpointError: see ``iter``.
        """
        if self._decoded is not None:
            return self._decoded[0]
        contents = bytes(self._contents)
        columns = decode_usual_columns(
            contents,
            self._restarts,
            self._stop,
            most_entries=self._most_entries,
            most_key_nbytes=self._most_key_nbytes,
            longest_key_nbytes=self._longest_key_nbytes,
        )
        if columns is not None:
            return columns
        keys: list[bytes] = []
        starts, stops = array("q"), array("q")
        for key, start, stop in self._walk():
            keys.append(key)
            starts.append(start)
            stops.append(stop)
        return Columns(contents, keys, np.asarray(starts), np.asarray(stops))

    @property
    def is_decoded(self) -> bool:
        """Whether `get` was called so often that it has decoded the block as a whole."""
        return self._decoded is not None

    def get(self, key: bytes) -> bytes | memoryview | None:
        """Return the value of a key, None when there is none.

        The first lookups search.  When they have cost as much as decoding the block, which a few
        do where there are no restarts, it is decoded once and for all.  A block with damage
        elsewhere is always searched: a key gets the same answer however often it is asked for.
        """
        if self._num_searched > self._stop // _NBYTES_PER_SEARCHED + _FREE_SEARCHED:
            self._num_searched = -sys.maxsize  # once
            with suppress(CorruptCheckpointError):
                columns = self.columns()
                self._decoded = columns, dict(zip(columns.keys, range(len(columns.keys))))
        if self._decoded is None:
            found = self.seek(key)
            return found[1] if found is not None and found[0] == key else None
        columns, rows = self._decoded
        row = rows.get(key)
        return None if row is None else self._contents[columns.starts[row] : columns.stops[row]]

    def seek(self, target: bytes) -> tuple[bytes, bytes | memoryview] | None:
        """Return the first (key, value) whose key is not below `target`; None after the last one.

        Decodes one key at each of O(log n) restarts and the entries between two of them.  In a
        long run, only the first search decodes them all: later ones begin near the target.

        Raises:
            CorruptCheckpointError: damage before the target in its run.
        """
        contents, stop = self._contents, self._stop
        run = self._find_restart(target)
        previous: bytes | None = None
        pos = self._restarts[run]
        highest = b""
        num_entries = key_nbytes = 0
        passed = self._passed.get(run)
        if passed is not None and (i := bisect_left(passed, (target,))):
            highest, previous, pos, num_entries, key_nbytes = passed[i - 1]
        # The first entry of the next run may be the one that is wanted; its key is not below it.
        last = self._restarts[run + 1] if run + 1 < len(self._restarts) else stop - 1
        num_before = num_entries
        try:
            while pos <= last:
                key, value_pos, value_stop = self._decode_entry(pos, previous)
                num_entries += 1
                key_nbytes += len(key)
                if key_nbytes > self._most_key_nbytes or num_entries > self._most_entries:
                    raise self._swollen_error(pos, num_entries)
                if key >= target:
                    return key, contents[value_pos:value_stop]
                if key > highest:
                    highest = key
                if not num_entries % _PASSED_INTERVAL:
                    # Threads may add out of order: a search then begins earlier than it could.
                    passed = self._passed.setdefault(run, [])
                    if not passed or passed[-1].num_entries < num_entries:
                        passed.append(_Passed(highest, key, value_stop, num_entries, key_nbytes))
                previous = key
                pos = value_stop
        finally:
            self._num_searched += num_entries - num_before
        if pos < stop:
            raise self._restart_error(last)
        return None

    def _find_restart(self, target: bytes) -> int:
        """Return the last restart whose key is below `target`, or else the first."""
        return bisect_left(self._restarts, target, 1, key=self._restart_key) - 1

    def _restart_key(self, restart: int) -> bytes:
        self._num_searched += 1
        contents = self._contents
        start = restart + 3  # of the key, if three lengths of a byte each are before it
        if start <= self._stop and not contents[restart]:
            stop = start + contents[restart + 1]
            if (contents[restart + 1] | contents[restart + 2]) < 0x80 and stop <= self._stop:
                return bytes(contents[start:stop])
        return self._decode_entry(restart, None)[0]

    def _decode_entry(self, pos: int, previous: bytes | None) -> tuple[bytes, int, int]:
        """The entry at `pos`: (key, start of the value, end of the value).

        `previous` is the key before it, None at a restart.
        """
        contents, stop = self._contents, self._stop
        start = pos
        if pos + 3 <= stop and (contents[pos] | contents[pos + 1] | contents[pos + 2]) < 0x80:
            shared, non_shared, value_nbytes = contents[pos], contents[pos + 1], contents[pos + 2]
            pos += 3
        else:
            shared, pos = decode_varint(contents, pos, stop, MAX_VARINT32_NBYTES)
            non_shared, pos = decode_varint(contents, pos, stop, MAX_VARINT32_NBYTES)
            value_nbytes, pos = decode_varint(contents, pos, stop, MAX_VARINT32_NBYTES)
        value_pos = pos + non_shared
        value_stop = value_pos + value_nbytes
        if value_stop > stop:
            raise CorruptCheckpointError(
                "invalid entry of a block",
                offset=start,
                expected=f"its key and value to end by {stop}",
                found=f"{non_shared} bytes of key and {value_nbytes} of value from {pos} on",
            )
        if previous is None:
            if shared:
                raise self._restart_error(start)
            previous = b""
        elif shared > len(previous):
            raise CorruptCheckpointError(
                "invalid key of a block",
                offset=start,
                expected=f"at most {len(previous)} bytes shared with the key before",
                found=shared,
            )
        if shared + non_shared > self._longest_key_nbytes:
            raise long_key_error(start, shared + non_shared, self._longest_key_nbytes)
        return previous[:shared] + bytes(contents[pos:value_pos]), value_pos, value_stop

    def _swollen_error(self, pos: int, num_entries: int) -> CorruptCheckpointError:
        if num_entries > self._most_entries:
            return many_entries_error(pos, self._most_entries)
        return long_keys_error(pos, self._most_key_nbytes)

    def _restart_error(self, restart: int) -> CorruptCheckpointError:
        return CorruptCheckpointError(
            "invalid restart of a block",
            offset=restart,
            expected="an entry that begins there and shares nothing",
            found=f"bytes {bytes(self._contents[restart : restart + 3]).hex(' ')}",
        )


def _shorten(key: bytes) -> str:
    """A key for an error's text: its beginning, if it is long."""
    return repr(key) if len(key) <= 80 else f"{key[:80]!r}... ({len(key)} bytes)"
