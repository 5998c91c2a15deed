"""The entries of one block, in memory.

::

    entry* | restart offsets, LE32 each | number of restarts, LE32

    entry: varint32 shared | varint32 non_shared | varint32 value size
           | last `non_shared` bytes of the key | value
    key:   the first `shared` bytes of the key before, then the suffix

At a restart offset stands an entry that shares nothing, so that a search can begin there.  Keys
increase strictly, by unsigned bytes.  TensorFlow writes a restart every 16 entries into data
blocks and at every entry of index blocks; any distance is read.  An empty block has one restart,
at 0.

Source: tensorflow/core/lib/io/block.cc, block_builder.cc.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress

import numpy as np

from ckptparse.encoding.varint import MAX_VARINT32_NBYTES, decode_varint
from ckptparse.errors import CorruptCheckpointError
from ckptparse.sstable.columns import (
    Columns,
    decode_columns,
    long_key_error,
    long_keys_error,
    many_entries_error,
)

_RESTART_NBYTES = 4

_MOST_SEEKS = 4
"""Searches of a block until the keys at all its restarts are decoded."""

_FREE_SEARCHED = 512
_NBYTES_PER_SEARCHED = 64
"""How many entries are decoded by searches until a block is decoded as a whole."""

MAX_KEY_RATIO = 24
_FREE_KEY_NBYTES = 1 << 12
"""Keys that share what is before them can swell without bounds; between TensorFlow's restarts, at
every 16th entry, they take at most 16 times their bytes in the block."""

_FREE_LONGEST_KEY_NBYTES = 1 << 16
"""No key of a compressed block is longer than this, or than the block is as it is stored."""

_MIN_ENTRY_NBYTES = 6
"""What an entry takes of a compressed block, at least: each that a writer makes has a key, and a
place or values, of its own.  Without this a megabyte could hold millions of them."""

_FREE_ENTRIES = 64


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
        self._restarts = np.frombuffer(contents, "<u4", count, self._stop)
        self._num_seeks = 0
        self._restart_keys: list[bytes] | None = None
        self._num_searched = 0
        stored = nbytes if stored_nbytes is None else min(stored_nbytes, nbytes)
        self._most_entries = nbytes if stored == nbytes else stored // _MIN_ENTRY_NBYTES
        self._most_entries += _FREE_ENTRIES
        self._most_key_nbytes = MAX_KEY_RATIO * stored + _FREE_KEY_NBYTES
        self._longest_key_nbytes = max(stored, _FREE_LONGEST_KEY_NBYTES)
        self._entries: dict[bytes, bytes | memoryview] | None = None
        bounds = self._restarts.astype(np.int64)
        if bounds[0] != 0 or (bounds[1:] <= bounds[:-1]).any() or bounds[-1] >= max(self._stop, 1):
            raise CorruptCheckpointError(
                "invalid restarts of a block",
                offset=self._stop,
                expected=f"offsets that increase from 0 to below {self._stop}",
                found=f"{bounds[:8].tolist()}{' ...' if count > 8 else ''}",
            )

    def __iter__(self) -> Iterator[tuple[bytes, bytes | memoryview]]:
        """Yield all (key, value) in order.

        Raises:
            CorruptCheckpointError: an entry that runs out of the block, keys that do not increase,
                a restart inside an entry.
        """
        contents, stop = self._contents, self._stop
        restarts = iter(self._restarts.tolist())
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
            yield key, contents[value_pos:value_stop]
            previous = key
            pos = value_stop
        if restart < stop:
            raise self._restart_error(restart)

    @property
    def num_restarts(self) -> int:
        """The number of restarts."""
        return len(self._restarts)

    def columns(self) -> Columns | None:
        """Decode all entries at once; None if any is unusual, and ``iter`` must decode them.

        Raises:
            CorruptCheckpointError: there is more of them than the stored bytes justify.
        """
        return decode_columns(
            bytes(self._contents),
            self._restarts.tolist(),
            self._stop,
            most_entries=self._most_entries,
            most_key_nbytes=self._most_key_nbytes,
            longest_key_nbytes=self._longest_key_nbytes,
        )

    def get(self, key: bytes) -> bytes | memoryview | None:
        """The value of a key, None when there is none.

        The first lookups search; if that has cost as much as decoding the block, which a few do
        where there are no restarts, it is decoded once and for all.  If its keys turn out to be
        wrong somewhere, the search goes on: a key gets the same answer however often it is asked
        for.
        """
        if self._entries is not None:
            return self._entries.get(key)
        if self._num_searched >= _FREE_SEARCHED + self._stop // _NBYTES_PER_SEARCHED:
            self._num_searched = -(1 << 62)  # once
            with suppress(CorruptCheckpointError):
                self._entries = dict(self)
        found = self.seek(key)
        return found[1] if found is not None and found[0] == key else None

    def seek(self, target: bytes) -> tuple[bytes, bytes | memoryview] | None:
        """The first (key, value) whose key is not below `target`; None after the last one.

        Decodes one key at each of O(log n) restarts and the entries between two of them; from the
        fifth time on the keys at all restarts are known.
        """
        contents, stop = self._contents, self._stop
        if not stop:
            return None
        key = b""
        pos = int(self._restarts[self._find_restart(target)])
        num_entries = key_nbytes = 0
        while pos < stop:
            key, value_pos, value_stop = self._decode_entry(pos, key)
            num_entries += 1
            key_nbytes += len(key)
            self._num_searched += 1
            if key_nbytes > self._most_key_nbytes or num_entries > self._most_entries:
                raise self._swollen_error(pos, num_entries)
            if key >= target:
                return key, contents[value_pos:value_stop]
            pos = value_stop
        return None

    def _find_restart(self, target: bytes) -> int:
        """The last restart whose key is below `target`, or else the first."""
        if self._restart_keys is None:
            self._num_seeks += 1
            if self._num_seeks == _MOST_SEEKS:
                with suppress(CorruptCheckpointError):  # of a restart that nobody asked for
                    self._restart_keys = list(map(self._restart_key, self._restarts.tolist()))
            return bisect_left(self._restarts, target, 1, key=self._restart_key) - 1
        return bisect_left(self._restart_keys, target, 1) - 1

    def _restart_key(self, restart: int) -> bytes:
        return self._decode_entry(int(restart), None)[0]

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
