"""Integers and keys as TensorFlow codes them.

varint
    Base 128, little-endian groups, high bit set on all bytes but the last; at most 10 bytes for
    64 bits (5 for 32).  tensorflow/core/lib/core/coding.cc.

ordered code
    A coding whose byte order is the order of the values, so that coded keys sort as they should:

    ====================  ======================================================================
    unsigned integer n    one byte k, then k bytes big-endian without leading zeros (0 is ``00``)
    string                ``00`` -> ``00 ff``, ``ff`` -> ``ff 00``, closed by ``00 01``
    signed integer v>=0   smallest L with v < 2**(7*L-1); L bytes big-endian whose top L bits are 1,
                          followed by a 0 bit and the value
    signed integer v<0    the bitwise complement of the code of -1-v
    ====================  ======================================================================

    tensorflow/core/lib/strings/ordered_code.cc.

Every decoder takes a buffer and a position and returns the value and the position behind it; a
buffer that ends too early or a varint that never ends is a CorruptCheckpointError.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ckptparse.errors import CorruptCheckpointError

MAX_VARINT32_NBYTES = 5
MAX_VARINT64_NBYTES = 10


def decode_varint(
    buffer: bytes | memoryview, pos: int, stop: int, max_nbytes: int = MAX_VARINT64_NBYTES
) -> tuple[int, int]:
    """One varint at `pos`, no byte of it at or after `stop`: (value, position behind it)."""
    value = 0
    last = min(stop, pos + max_nbytes)
    for i in range(pos, last):
        byte = buffer[i]
        value |= (byte & 0x7F) << (7 * (i - pos))
        if byte < 0x80:
            if value >> (32 if max_nbytes == MAX_VARINT32_NBYTES else 64):
                break
            return value, i + 1
    raise CorruptCheckpointError(
        "varint",
        offset=pos,
        expected=f"one that ends within {max_nbytes} bytes and before byte {stop} of its buffer",
        found=bytes(buffer[pos:last]).hex(" ") or "nothing",
    )


_PIECE_NBYTES = 1 << 17
"""Varints decoded at a time: their temporaries stay in the processor's cache."""


def decode_varints(
    buffer: bytes | memoryview, count: int, dtype: DTypeLike = np.uint64
) -> tuple[NDArray[Any], int]:
    """The first `count` varints of a buffer, in bulk: (values, bytes that they take).

    Values go into an integer type by their low bits, as protobuf's casts do; what is over 64 bits
    is cut off.
    """
    coded = np.frombuffer(buffer, np.uint8)
    if count > len(coded):  # before anything is allocated for it
        raise CorruptCheckpointError(
            "varints", expected=f"{count} of them", found=f"{len(coded)} bytes"
        )
    values = np.empty(count, dtype)
    done = pos = 0
    while done < count:
        piece = coded[pos : pos + _PIECE_NBYTES]
        last_bytes = np.flatnonzero(piece < 0x80)[: count - done]
        if not len(last_bytes):
            raise CorruptCheckpointError(
                "varints",
                offset=pos,
                expected=f"{count} of them, of at most {MAX_VARINT64_NBYTES} bytes each",
                found=f"{done}, and one that does not end",
            )
        values[done : done + len(last_bytes)] = _decode_piece(piece, last_bytes, pos).astype(dtype)
        done += len(last_bytes)
        pos += int(last_bytes[-1]) + 1
    return values, pos


def _decode_piece(
    piece: NDArray[np.uint8], last_bytes: NDArray[np.intp], offset: int
) -> NDArray[np.uint64]:
    """The varints of a piece that begins with one, by the positions of their last bytes."""
    if len(last_bytes) == last_bytes[-1] + 1:  # each is one byte
        return piece[: len(last_bytes)].astype(np.uint64)
    first_bytes = np.empty_like(last_bytes)
    first_bytes[0] = 0
    np.add(last_bytes[:-1], 1, out=first_bytes[1:])
    lengths = last_bytes - first_bytes + 1
    longest = int(lengths.max())
    if longest > MAX_VARINT64_NBYTES:
        raise CorruptCheckpointError(
            "varint",
            offset=offset + int(first_bytes[lengths.argmax()]),
            expected=f"at most {MAX_VARINT64_NBYTES} bytes",
            found=f"{longest} bytes",
        )
    # The 8 bytes from each first byte on, as one number; those behind the varint are cut off.
    padded = np.zeros(len(piece) + 8, np.uint8)
    padded[: len(piece)] = piece
    words: NDArray[np.uint64] = np.ndarray(len(piece), "<u8", padded, 0, (1,))
    values = words[first_bytes]
    values &= _BYTES_KEPT[lengths]
    # Eight groups of 7 bits become four of 14, two of 28, one of 56.
    for even, odd, shift in _JOINED_GROUPS:
        values = (values & even) | ((values & odd) >> shift)
    if longest > 8:
        longer = np.flatnonzero(lengths > 8)
        tails = padded[first_bytes[longer] + 8].astype(np.uint64) & np.uint64(0x7F)
        values[longer] |= tails << np.uint64(56)
        longer = np.flatnonzero(lengths > 9)
        tails = padded[first_bytes[longer] + 9].astype(np.uint64)
        values[longer] |= tails << np.uint64(63)
    return values


_BYTES_KEPT = np.array(
    [(1 << 8 * min(n, 8)) - 1 for n in range(MAX_VARINT64_NBYTES + 1)], np.uint64
)

_JOINED_GROUPS = (
    (np.uint64(0x007F_007F_007F_007F), np.uint64(0x7F00_7F00_7F00_7F00), np.uint64(1)),
    (np.uint64(0x0000_3FFF_0000_3FFF), np.uint64(0x3FFF_0000_3FFF_0000), np.uint64(2)),
    (np.uint64(0x0000_0000_0FFF_FFFF), np.uint64(0x0FFF_FFFF_0000_0000), np.uint64(4)),
)


def encode_varint(value: int) -> bytes:
    """The shortest varint of a non-negative integer."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_ordered_uint(value: int) -> bytes:
    """Ordered code of a non-negative integer."""
    digits = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return bytes([len(digits)]) + digits


def encode_ordered_string(value: bytes) -> bytes:
    """Ordered code of a byte string, with its terminator."""
    if b"\x00" in value or b"\xff" in value:
        value = b"".join(_ESCAPES.get(byte, bytes([byte])) for byte in value)
    return value + b"\x00\x01"


_ESCAPES = {0x00: b"\x00\xff", 0xFF: b"\xff\x00"}


def decode_ordered_string(buffer: bytes, pos: int) -> tuple[bytes, int]:
    """An ordered-code string at `pos`: (its bytes, position behind the terminator)."""
    out = bytearray()
    start = pos
    while pos + 1 < len(buffer):
        byte, after = buffer[pos], buffer[pos + 1]
        if byte == 0x00 and after == 0x01:
            return bytes(out), pos + 2
        if (byte, after) in ((0x00, 0xFF), (0xFF, 0x00)):
            pos += 1
        elif byte in (0x00, 0xFF):
            break
        out.append(byte)
        pos += 1
    raise CorruptCheckpointError(
        "ordered-code string",
        offset=start,
        expected="a terminator 00 01",
        found=bytes(buffer[start:]).hex(" ") or "nothing",
    )


def encode_ordered_int(value: int) -> bytes:
    """Ordered code of a signed 64-bit integer."""
    magnitude = ~value if value < 0 else value
    nbytes = magnitude.bit_length() // 7 + 1
    ones = (1 << nbytes) - 1
    coded = ones << (7 * nbytes) | magnitude
    if value < 0:
        coded ^= (1 << (8 * nbytes)) - 1
    return coded.to_bytes(nbytes, "big")
