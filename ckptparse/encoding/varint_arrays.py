"""Many varints, decoded by numpy: one after another, or at known places.

A varint takes 7 bits of each byte; the high bit of a byte says that another one follows.  So bytes
below 80 are last bytes, and tell where the varints are.  The 8 bytes from each first byte on are
taken as one number, what does not belong to the varint is cut off, and the groups of 7 bits are
pushed together: four pairs of groups, two pairs of these, and one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ckptparse.encoding.varint import MAX_VARINT64_NBYTES
from ckptparse.errors import CorruptCheckpointError

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

_PIECE_NBYTES = 1 << 17
"""Decoded at a time: all that is needed for it stays in the processor's cache."""
_WORD_NBYTES = 8

_KEPT_BITS = np.array(
    [0x7F7F_7F7F_7F7F_7F7F >> 8 * max(_WORD_NBYTES - n, 0) for n in range(1, 11)], np.uint64
)
"""Bits of a word that belong to a varint of n bytes, at n - 1."""


def decode_varints(
    buffer: bytes | memoryview, count: int, dtype: DTypeLike = np.uint64
) -> tuple[NDArray[Any], int]:
    """The first `count` varints of a buffer: (values, bytes that they take).

    Values go into an integer type by their low bits, as protobuf's casts do, and into booleans by
    whether any is set; what is over 64 bits is cut off.

    Raises:
        CorruptCheckpointError: there are fewer, or one of more than 10 bytes.
    """
    coded = np.frombuffer(buffer, np.uint8)
    if count > len(coded):  # before anything is allocated for it
        raise CorruptCheckpointError(
            "invalid varints", expected=f"{count} of them", found=f"{len(coded)} bytes"
        )
    values = np.empty(count, dtype)
    scratch = _Scratch(min(_PIECE_NBYTES, MAX_VARINT64_NBYTES * count))
    done = pos = 0
    while done < count:
        piece = coded[pos : pos + min(_PIECE_NBYTES, MAX_VARINT64_NBYTES * (count - done))]
        last_bytes = np.flatnonzero(piece < 0x80)[: count - done]
        if not len(last_bytes):
            raise CorruptCheckpointError(
                "invalid varints",
                offset=pos,
                expected=f"{count} of them, of at most {MAX_VARINT64_NBYTES} bytes each",
                found=f"{done}, and one that does not end",
            )
        target = values[done : done + len(last_bytes)]
        if last_bytes[-1] + 1 == len(last_bytes):  # each is one byte
            target[:] = piece[: len(last_bytes)]
        else:
            scratch.decode(piece, last_bytes, pos, target)
        done += len(last_bytes)
        pos += int(last_bytes[-1]) + 1
    return values, pos


def decode_varint_each(
    octets: NDArray[np.uint8],
    pos: NDArray[np.int64],
    max_nbytes: int,
    *,
    where: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """The varint at each position: (values, positions after them, which do not end in time).

    Takes up to 9 bytes of each, and never reads after the last one of `octets`.  Where `where` is
    False the value is 0 and the position stays.
    """
    going_on = np.ones(len(pos), bool) if where is None else where
    values = np.zeros(len(pos), np.int64)
    for shift in range(0, 7 * max_nbytes, 7):
        byte = octets.take(pos, mode="clip").astype(np.int64)
        values |= np.where(going_on, byte & 0x7F, 0) << shift
        pos = pos + going_on
        going_on = going_on & (byte >= 0x80)
        if not going_on.any():
            break
    return values, pos, going_on


class _Scratch:
    """Arrays that are used for every piece again: new ones would cost more than the work."""

    def __init__(self, nbytes: int) -> None:
        self._octets = np.zeros(nbytes + _WORD_NBYTES, np.uint8)
        # The word that begins at each byte, unaligned and aligned.
        self._overlapping: NDArray[np.uint64] = np.ndarray(nbytes, "<u8", self._octets, 0, (1,))
        self._words = np.empty(nbytes, np.uint64)
        self._first_bytes = np.zeros(nbytes, np.intp)
        self._following = np.empty(nbytes, np.intp)
        self._values = np.empty(nbytes, np.uint64)
        self._upper = np.empty(nbytes, np.uint64)

    def decode(
        self,
        piece: NDArray[np.uint8],
        last_bytes: NDArray[np.intp],
        offset: int,
        target: NDArray[Any],
    ) -> None:
        """The varints of a piece, which begins with one, by the positions of their last bytes."""
        count, nbytes = len(last_bytes), int(last_bytes[-1]) + 1
        first_bytes, following = self._first_bytes[:count], self._following[:count]
        np.add(last_bytes[:-1], 1, out=first_bytes[1:])  # the first one stays 0
        np.subtract(last_bytes, first_bytes, out=following)
        most_following = int(following.max())
        if most_following >= MAX_VARINT64_NBYTES:
            raise CorruptCheckpointError(
                "invalid varint",
                offset=offset + int(first_bytes[following.argmax()]),
                expected=f"at most {MAX_VARINT64_NBYTES} bytes",
                found=f"{most_following + 1} bytes",
            )
        self._octets[:nbytes] = piece[:nbytes]
        words, values, upper = self._words[:nbytes], self._values[:count], self._upper[:count]
        words[:] = self._overlapping[:nbytes]
        words.take(first_bytes, out=values, mode="clip")
        _KEPT_BITS.take(following, out=upper, mode="clip")
        values &= upper
        _join_groups(values, upper, most_following)
        has_upper_bits = target.dtype.itemsize == _WORD_NBYTES or target.dtype == bool
        if most_following >= _WORD_NBYTES and has_upper_bits:
            longer = np.flatnonzero(following >= _WORD_NBYTES)
            tails = words.take(first_bytes[longer] + _WORD_NBYTES, mode="clip")
            tails &= _KEPT_BITS[following[longer] - _WORD_NBYTES]
            tails -= (tails & np.uint64(0x7F00)) >> np.uint64(1)
            values[longer] |= tails << np.uint64(56)
        np.copyto(target, values, casting="unsafe")


def _join_groups(
    values: NDArray[np.uint64], upper: NDArray[np.uint64], most_following: int
) -> None:
    """Push the groups of 7 bits in each value together; `upper` is for use on the way."""
    np.bitwise_and(values, np.uint64(0x7F00_7F00_7F00_7F00), out=upper)
    upper >>= np.uint64(1)
    values -= upper
    if most_following >= 2:
        np.bitwise_and(values, np.uint64(0x3FFF_0000_3FFF_0000), out=upper)
        values ^= upper
        upper >>= np.uint64(2)
        values |= upper
    if most_following >= 4:
        np.right_shift(values, np.uint64(32), out=upper)
        upper <<= np.uint64(28)
        values &= np.uint64(0x0FFF_FFFF)
        values |= upper
