"""Decode all entries of a block at once, in the form that writers make.

One loop without calls: a third of a microsecond for an entry.  (Numpy over all runs between
restarts side by side, and a pass in Python for the keys, takes as long.)  `Block.columns` decodes
a block of any other form entry by entry.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import islice
from operator import lt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ckptparse.errors import CorruptCheckpointError

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Columns(NamedTuple):
    """The entries of a block, in order.

    Attributes:
        contents: the block.
        keys: the keys.
        starts, stops: where in the contents the values are.
    """

    contents: bytes
    keys: list[bytes]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]

    def without_first(self) -> Columns:
        """Return all entries but the first."""
        return Columns(self.contents, self.keys[1:], self.starts[1:], self.stops[1:])


def decode_usual_columns(
    contents: bytes,
    restarts: list[int],
    stop: int,
    *,
    most_entries: int,
    most_key_nbytes: int,
    longest_key_nbytes: int,
) -> Columns | None:
    """Return the entries of a block whose restarts are in order; None if any has another form.

    Args:
        contents: the block, restart array and all.
        restarts: where restarts are.
        stop: where the last entry ends.
        most_entries: how many there may be.
        most_key_nbytes: how long all keys together may be.
        longest_key_nbytes: how long one may be.

    Raises:
        CorruptCheckpointError: there are more, or they are longer.
    """
    keys: list[bytes] = []
    key_nbytes_left = most_key_nbytes
    starts, stops = array("q"), array("q")
    key = b""
    pos = entry_pos = run_stop = 0
    run_stops = iter([*restarts[1:], stop])
    for _ in range(most_entries + 1):
        if pos >= run_stop:
            if pos == stop:
                break
            run_stop = next(run_stops)
            key = b""  # the first entry of a run shares nothing
        entry_pos = pos
        shared, non_shared, value_nbytes = contents[pos], contents[pos + 1], contents[pos + 2]
        pos += 3
        if (shared | non_shared | value_nbytes) >= 0x80:
            lengths = _decode_longer_lengths(contents, pos - 3)
            if lengths is None:
                return None
            shared, non_shared, value_nbytes, pos = lengths
        start = pos + non_shared
        if shared > len(key):
            return None
        key = key[:shared] + contents[pos:start]
        pos = start + value_nbytes
        key_nbytes_left -= len(key)
        if pos > run_stop:
            return None
        if len(key) > longest_key_nbytes:
            raise long_key_error(entry_pos, len(key), longest_key_nbytes)
        if key_nbytes_left < 0:
            raise long_keys_error(entry_pos, most_key_nbytes)
        keys.append(key)
        starts.append(start)
        stops.append(pos)
    else:
        raise many_entries_error(entry_pos, most_entries)
    if not increase(keys):
        return None
    return Columns(contents, keys, np.asarray(starts), np.asarray(stops))


def long_key_error(pos: int, nbytes: int, longest_nbytes: int) -> CorruptCheckpointError:
    """Make the error for a key that is longer than the block's stored bytes justify."""
    return CorruptCheckpointError(
        "invalid key of a block",
        offset=pos,
        expected=f"at most {longest_nbytes} bytes",
        found=nbytes,
    )


def long_keys_error(pos: int, most_key_nbytes: int) -> CorruptCheckpointError:
    """Make the error for keys that are longer than the block's stored bytes justify."""
    return CorruptCheckpointError(
        "invalid keys of a block",
        offset=pos,
        expected=f"at most {most_key_nbytes} bytes",
        found="more, because keys share prefixes",
    )


def many_entries_error(pos: int, most_entries: int) -> CorruptCheckpointError:
    """Make the error for more entries than the block's stored bytes justify."""
    return CorruptCheckpointError(
        "too many entries in a compressed block",
        offset=pos,
        expected=f"at most {most_entries}",
        found="more",
    )


def increase(keys: Sequence[bytes]) -> bool:
    """Return whether the keys increase strictly."""
    return all(map(lt, keys, islice(keys, 1, None)))


def _decode_longer_lengths(contents: bytes, pos: int) -> tuple[int, int, int, int] | None:
    """Three lengths below 2**28, and the position after them; None of any other."""
    if pos + 15 > len(contents):  # a length of that kind is followed by 128 bytes
        return None
    lengths = []
    for _ in range(3):
        length = contents[pos] & 0x7F
        shift = 7
        while contents[pos] >= 0x80:
            pos += 1
            length |= (contents[pos] & 0x7F) << shift
            shift += 7
            if shift > 28:
                return None
        pos += 1
        lengths.append(length)
    shared, non_shared, value_nbytes = lengths
    return shared, non_shared, value_nbytes, pos
