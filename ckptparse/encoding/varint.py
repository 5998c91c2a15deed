"""Varints, as protocol buffers and leveldb's tables have them.

Base 128, little-endian groups of 7 bits, the high bit set on all bytes but the last; at most 10
bytes for 64 bits, 5 for 32.

A decoder takes a buffer and a position and returns the value and the position after it.  A buffer
that ends too early and a varint that does not end raise CorruptCheckpointError.

Source: tensorflow/core/lib/core/coding.cc.
"""

from __future__ import annotations

from ckptparse.errors import CorruptCheckpointError

MAX_VARINT32_NBYTES = 5
MAX_VARINT64_NBYTES = 10


def decode_varint(
    buffer: bytes | memoryview, pos: int, stop: int, max_nbytes: int = MAX_VARINT64_NBYTES
) -> tuple[int, int]:
    """One varint at `pos`, no byte of it at or after `stop`: (value, position after it)."""
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
