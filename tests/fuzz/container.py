"""Several files in one byte string.

::

    part*    part: varint length | bytes

Every byte string is a container: a length that runs over the end takes what is there.
"""

from __future__ import annotations

from collections.abc import Iterable

from support.builders import varint

_MOST_PARTS = 16
_MOST_DIGITS = 5


def join(parts: Iterable[bytes]) -> bytes:
    """A container of these parts."""
    return b"".join(varint(len(part)) + part for part in parts)


def split(data: bytes) -> list[bytes]:
    """The parts of a container, at least one and at most 16."""
    parts = []
    pos = 0
    while pos < len(data) and len(parts) < _MOST_PARTS:
        nbytes = 0
        for shift in range(0, 7 * _MOST_DIGITS, 7):
            if pos == len(data):
                break
            byte = data[pos]
            pos += 1
            nbytes |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
        parts.append(data[pos : pos + nbytes])
        pos += nbytes
    return parts or [b""]
