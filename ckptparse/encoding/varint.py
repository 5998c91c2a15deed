"""Varints: the integers of protocol buffers and of leveldb's tables.

A varint has 7 bits in each byte, the lowest bits first.  The high bit is set in all bytes but the
last.  It takes at most 10 bytes for 64 bits, and 5 bytes for 32 bits.

Source: tensorflow/core/lib/core/coding.cc.
"""

from __future__ import annotations

from typing import Protocol, overload

from ckptparse.errors import CorruptCheckpointError

MAX_VARINT32_NBYTES = 5
MAX_VARINT64_NBYTES = 10


class Buffer(Protocol):
    """Bytes at positions: `bytes`, a `memoryview`, or what reads them from a file when needed."""

    @overload
    def __getitem__(self, pos: int, /) -> int: ...

    @overload
    def __getitem__(self, part: slice, /) -> bytes | memoryview: ...


def decode_varint(
    buffer: Buffer, pos: int, stop: int, max_nbytes: int = MAX_VARINT64_NBYTES
) -> tuple[int, int]:
    """Decode one varint.

    Args:
        buffer: the bytes.
        pos: position of the varint.
        stop: position before which it must end.
        max_nbytes: `MAX_VARINT32_NBYTES` or `MAX_VARINT64_NBYTES`.

    Returns:
        The value, and the position after the varint.

    Raises:
        CorruptCheckpointError: the varint does not end before `stop`, has more than `max_nbytes`
            bytes, or is too large for 32 or 64 bits.
    """
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
        "invalid varint",
        offset=pos,
        expected=f"one that ends within {max_nbytes} bytes and before byte {stop} of its buffer",
        found=bytes(buffer[pos:last]).hex(" ") or "nothing",
    )


def encode_varint(value: int) -> bytes:
    """Return the varint of a non-negative integer."""
    if value < 0x80:
        return _ONE_BYTE[value]
    if value < 1 << 14:
        return bytes((value & 0x7F | 0x80, value >> 7))
    if value < 1 << 21:
        return bytes((value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14))
    groups = bytearray()
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


_ONE_BYTE = [bytes([value]) for value in range(0x80)]
