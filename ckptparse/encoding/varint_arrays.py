"""Decode many varints with numpy: consecutive ones, or ones at known positions.

A varint has 7 bits in each byte; the high bit says that another byte follows.  So every byte below
0x80 is the last byte of a varint, and these bytes give the positions of all varints.  The 8 bytes
from the first byte of a varint on are loaded as one 64-bit word, the bytes after the varint are
masked out, and the groups of 7 bits are joined in pairs, three times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ckptparse.encoding.varint import MAX_VARINT64_NBYTES
from ckptparse.errors import CorruptCheckpointError

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

_PIECE_NBYTES = 1 << 17
"""Number of bytes that are decoded at a time, so that all arrays stay in the processor's cache."""
_WORD_NBYTES = 8

_KEPT_BITS = np.array(
    [0x7F7F_7F7F_7F7F_7F7F >> 8 * max(_WORD_NBYTES - n, 0) for n in range(1, 11)], np.uint64
)
"""Masks: element n - 1 has the bits of a word that belong to a varint of n bytes."""


def decode_varints(
    buffer: bytes | memoryview, count: int, dtype: DTypeLike = np.uint64
) -> tuple[NDArray[Any], int]:
    """Decode the first `count` varints of a buffer.

    Args:
        buffer: the varints, one directly after the other.
        count: number of varints to decode.
        dtype: dtype of the result.  An integer type keeps the low bits of a value, as protobuf's
            casts do; a boolean is True for any value but 0.  Bits above the 64th are dropped.

    Returns:
        A new array of `count` values, and the number of bytes that they take in the buffer.

    Raises:
        CorruptCheckpointError: the buffer has fewer varints, or one has more than 10 bytes.
    """
    coded = np.frombuffer(buffer, np.uint8)
    if count > len(coded):  # checked before memory for `count` is allocated
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
        if last_bytes[-1] + 1 == len(last_bytes):  # all varints have one byte
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
    """Decode one varint at each of many positions.

    Args:
        octets: the bytes.
        pos: positions of the varints.
        max_nbytes: number of bytes of a varint to read, at most 9.  Bytes after the end of `octets`
            are not read.
        where: whether to decode each position; None for all.  For the others, the value is 0 and
            the position is unchanged.

    Returns:
        Three arrays: the values, the positions after the varints, and whether a varint has more
        than `max_nbytes` bytes.
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
    """Arrays that are reused for every piece, because allocation would take more time."""

    def __init__(self, nbytes: int) -> None:
        self._octets = np.zeros(nbytes + _WORD_NBYTES, np.uint8)
        # The word at each byte of `_octets`: unaligned views, and an aligned copy of them.
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
        """Decode the varints of a piece.

        Args:
            piece: the bytes; the first one begins a varint.
            last_bytes: positions of the last bytes of the varints.
            offset: position of the piece in the buffer, for errors.
            target: array for the values, one for each of `last_bytes`.

        Raises:
            CorruptCheckpointError: a varint has more than 10 bytes.
        """
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
    """Join the groups of 7 bits in each value, in place; `upper` is scratch space."""
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
