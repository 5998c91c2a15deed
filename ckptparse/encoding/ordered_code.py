"""The ordered code: encoded keys sort in the order of their values.

====================  ======================================================================
unsigned integer n    one byte k, then k bytes big-endian without leading zeros (0 is ``00``)
string                ``00`` -> ``00 ff``, ``ff`` -> ``ff 00``, closed by ``00 01``
signed integer v>=0   smallest L with v < 2**(7*L-1); L bytes big-endian whose top L bits are 1,
                      followed by a 0 bit and the value
signed integer v<0    the bitwise complement of the code of -1-v
====================  ======================================================================

A decoder takes a buffer and a position, and returns the value and the position after it.  It raises
CorruptCheckpointError for invalid bytes.

Source: tensorflow/core/lib/strings/ordered_code.cc.
"""

from __future__ import annotations

from ckptparse.errors import CorruptCheckpointError


def encode_ordered_uint(value: int) -> bytes:
    """Return the ordered code of a non-negative integer."""
    digits = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return bytes([len(digits)]) + digits


def encode_ordered_string(value: bytes) -> bytes:
    """Return the ordered code of a byte string, with its terminator."""
    if b"\x00" in value or b"\xff" in value:
        value = b"".join(_ESCAPES.get(byte, bytes([byte])) for byte in value)
    return value + b"\x00\x01"


_ESCAPES = {0x00: b"\x00\xff", 0xFF: b"\xff\x00"}


def decode_ordered_string(buffer: bytes, pos: int) -> tuple[bytes, int]:
    """Decode a string at `pos`; return its bytes and the position after the terminator.

    Raises:
        CorruptCheckpointError: there is no valid string at `pos`.
    """
    end = buffer.find(b"\x00", pos)
    if end >= 0 and buffer[end + 1 : end + 2] == b"\x01" and buffer.find(b"\xff", pos, end) < 0:
        return buffer[pos:end], end + 2  # no escaped bytes
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
        "invalid ordered-code string",
        offset=start,
        expected="a terminator 00 01",
        found=bytes(buffer[start : start + 200]).hex(" ") or "nothing",
    )


_ONE_BYTE = [bytes([0x80 | value]) for value in range(1 << 6)]


def encode_ordered_int(value: int) -> bytes:
    """Return the ordered code of a signed 64-bit integer."""
    if 0 <= value < 1 << 13:  # most values are this small
        return (0xC000 | value).to_bytes(2, "big") if value >> 6 else _ONE_BYTE[value]
    magnitude = ~value if value < 0 else value
    nbytes = magnitude.bit_length() // 7 + 1
    ones = (1 << nbytes) - 1
    coded = ones << (7 * nbytes) | magnitude
    if value < 0:
        coded ^= (1 << (8 * nbytes)) - 1
    return coded.to_bytes(nbytes, "big")


def decode_ordered_uint(buffer: bytes, pos: int) -> tuple[int, int]:
    """Decode a non-negative integer at `pos`; return it and the position after it.

    Raises:
        CorruptCheckpointError: there is none.
    """
    stop = pos + 1 + (buffer[pos] if pos < len(buffer) else 0)
    if pos >= len(buffer) or stop > len(buffer):
        raise _invalid_number(buffer, pos)
    return int.from_bytes(buffer[pos + 1 : stop], "big"), stop


def decode_ordered_int(buffer: bytes, pos: int) -> tuple[int, int]:
    """Decode a signed integer at `pos`; return it and the position after it.

    Raises:
        CorruptCheckpointError: there is none.
    """
    is_negative = buffer[pos] < 0x80 if pos < len(buffer) else False
    head = int.from_bytes(buffer[pos : pos + 2].ljust(2, b"\0"), "big") ^ (0xFFFF * is_negative)
    nbytes = 16 - (head ^ 0xFFFF).bit_length()  # the leading ones
    stop = pos + nbytes
    if not nbytes or stop > len(buffer):
        raise _invalid_number(buffer, pos)
    coded = int.from_bytes(buffer[pos:stop], "big")
    if is_negative:
        coded ^= (1 << (8 * nbytes)) - 1
    magnitude = coded & ((1 << (7 * nbytes)) - 1)
    return ~magnitude if is_negative else magnitude, stop


def _invalid_number(buffer: bytes, pos: int) -> CorruptCheckpointError:
    return CorruptCheckpointError(
        "invalid ordered-code number",
        offset=pos,
        expected="a whole number",
        found=bytes(buffer[pos : pos + 10]).hex(" ") or "nothing",
    )
