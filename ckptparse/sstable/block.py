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

from collections.abc import Iterator

import numpy as np

from ckptparse.coding import MAX_VARINT32_NBYTES, decode_varint
from ckptparse.errors import CorruptCheckpointError

_RESTART_NBYTES = 4

_MOST_SEARCHES = 32
"""A search decodes some 15 entries; a whole block costs as much as a few hundred searches."""

_MAX_KEY_RATIO = 64
_FREE_KEY_NBYTES = 1 << 24
"""Keys that share what is before them can swell without bounds; between TensorFlow's restarts, at
every 16th entry, they take at most 16 times their bytes in the block."""


class Block:
    """A block's contents, read in order or searched.

    Values come as slices of the contents: views where those are a memoryview.  Offsets in errors
    are positions in the contents; `Table` adds where the block lies.
    """

    def __init__(self, contents: bytes | memoryview) -> None:
        """
        Raises:
            CorruptCheckpointError: restarts that are missing, out of order or outside.
        """
        nbytes = len(contents)
        count = int.from_bytes(contents[-_RESTART_NBYTES:], "little")
        most = nbytes // _RESTART_NBYTES - 1
        if not 1 <= count <= most:
            raise CorruptCheckpointError(
                "number of restarts of a block",
                offset=max(nbytes - _RESTART_NBYTES, 0),
                expected=f"1 to {most}" if most > 0 else "a block of 8 bytes or more",
                found=count if nbytes >= _RESTART_NBYTES else f"{nbytes} bytes",
            )
        self._contents = contents
        self._stop = nbytes - _RESTART_NBYTES * (count + 1)
        self._restarts = np.frombuffer(contents, "<u4", count, self._stop)
        self._num_lookups = 0
        self._entries: dict[bytes, bytes | memoryview] | None = None
        bounds = self._restarts.astype(np.int64)
        if bounds[0] != 0 or (np.diff(bounds) <= 0).any() or bounds[-1] >= max(self._stop, 1):
            raise CorruptCheckpointError(
                "restarts of a block",
                offset=self._stop,
                expected=f"offsets that increase from 0 to below {self._stop}",
                found=f"{bounds[:8].tolist()}{' ...' if count > 8 else ''}",
            )

    def __iter__(self) -> Iterator[tuple[bytes, bytes | memoryview]]:
        """All (key, value) in order.

        Raises:
            CorruptCheckpointError: an entry that runs out of the block, keys that do not increase,
                a restart inside an entry.
        """
        contents, stop = self._contents, self._stop
        restarts = iter(self._restarts.tolist())
        restart = next(restarts)
        previous: bytes | None = None
        pos = 0
        most_key_bytes = _MAX_KEY_RATIO * stop + _FREE_KEY_NBYTES
        while pos < stop:
            key, value_pos, value_stop = self._decode_entry(pos, previous or b"")
            most_key_bytes -= len(key)
            if most_key_bytes < 0:
                raise CorruptCheckpointError(
                    "keys of a block",
                    offset=pos,
                    expected=f"at most {_MAX_KEY_RATIO} times the {stop} bytes of its entries",
                    found="more, by sharing",
                )
            if pos == restart:
                if contents[pos] != 0:
                    raise self._restart_error(restart)
                restart = next(restarts, stop)
            elif pos > restart:
                raise self._restart_error(restart)
            if previous is not None and key <= previous:
                raise CorruptCheckpointError(
                    "order of keys",
                    offset=pos,
                    expected=f"a key above {_shorten(previous)}",
                    found=_shorten(key),
                )
            yield key, contents[value_pos:value_stop]
            previous = key
            pos = value_stop
        if restart < stop:
            raise self._restart_error(restart)

    def get(self, key: bytes) -> bytes | memoryview | None:
        """The value of a key, None when there is none.

        The first lookups search; a block that is asked more often is decoded once and for all.
        """
        if self._entries is not None:
            return self._entries.get(key)
        self._num_lookups += 1
        if self._num_lookups > _MOST_SEARCHES:
            self._entries = dict(self)
            return self._entries.get(key)
        found = self.seek(key)
        return found[1] if found is not None and found[0] == key else None

    def seek(self, target: bytes) -> tuple[bytes, bytes | memoryview] | None:
        """The first (key, value) whose key is not below `target`; None behind the last one.

        Decodes one key at each of O(log n) restarts and the entries between two of them.
        """
        contents, restarts = self._contents, self._restarts
        low, high = 0, len(restarts) - 1
        while low < high:  # for the last restart whose key is below the target
            middle = (low + high + 1) // 2
            key, _, _ = self._decode_entry(int(restarts[middle]), None)
            if key < target:
                low = middle
            else:
                high = middle - 1
        key = b""
        pos = int(restarts[low])
        while pos < self._stop:
            key, value_pos, value_stop = self._decode_entry(pos, key)
            if key >= target:
                return key, contents[value_pos:value_stop]
            pos = value_stop
        return None

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
                "entry of a block",
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
                "key of a block",
                offset=start,
                expected=f"at most {len(previous)} bytes shared with the key before",
                found=shared,
            )
        return previous[:shared] + bytes(contents[pos:value_pos]), value_pos, value_stop

    def _restart_error(self, restart: int) -> CorruptCheckpointError:
        return CorruptCheckpointError(
            "restart of a block",
            offset=restart,
            expected="an entry that begins there and shares nothing",
            found=f"bytes {bytes(self._contents[restart : restart + 3]).hex(' ')}",
        )


def _shorten(key: bytes) -> str:
    """A key for an error's text: its beginning, if it is long."""
    return repr(key) if len(key) <= 80 else f"{key[:80]!r}... ({len(key)} bytes)"
