"""The two checksums of HDF5: lookup3 of metadata, and Fletcher-32 of chunks.

lookup3 is the hash of that name by Bob Jenkins, with the initial value 0.  Fletcher-32 sums words
of 16 bits, high byte first, modulo 65,535.

Sources: H5checksum.c of the HDF5 library; http://burtleburtle.net/bob/c/lookup3.c.
"""

from __future__ import annotations

import struct

import numpy as np

from ckptparse.errors import ChecksumError
from ckptparse.hdf5.fields import Fields

_MASK = 0xFFFFFFFF


def require_lookup3(checked: bytes, fields: Fields, what: str) -> None:
    """Compare the checksum of metadata with the stored one, which is the next field.

    Raises:
        ChecksumError: they differ.
    """
    offset = fields.offset
    stored, computed = fields.number(4), lookup3(checked)
    if stored != computed:
        raise ChecksumError(
            f"the bytes of {what} are not those that were written",
            offset=offset,
            expected=f"checksum {stored:08x}",
            found=f"{computed:08x}",
        )


def _rotate(value: int, bits: int) -> int:
    return (value << bits | value >> 32 - bits) & _MASK


def lookup3(data: bytes) -> int:
    """Return the checksum of metadata."""
    a: int
    b: int
    c: int
    a = b = c = (0xDEADBEEF + len(data)) & _MASK
    whole = max(len(data) - 1, 0) // 12 * 12
    for x, y, z in struct.iter_unpack("<III", data[:whole]):
        a, b, c = a + x, b + y, c + z
        a = (a - c ^ _rotate(c & _MASK, 4)) & _MASK
        c += b
        b = (b - a ^ _rotate(a, 6)) & _MASK
        a += c
        c = (c - b ^ _rotate(b, 8)) & _MASK
        b += a
        a = (a - c ^ _rotate(c, 16)) & _MASK
        c += b
        b = (b - a ^ _rotate(a, 19)) & _MASK
        a += c
        c = (c - b ^ _rotate(b, 4)) & _MASK
        b = b + a & _MASK
    rest = data[whole:]
    if not rest:
        return c & _MASK
    x, y, z = struct.unpack("<III", rest.ljust(12, b"\0"))
    a, b, c = a + x & _MASK, b + y & _MASK, c + z & _MASK
    c = (c ^ b) - _rotate(b, 14) & _MASK
    a = (a ^ c) - _rotate(c, 11) & _MASK
    b = (b ^ a) - _rotate(a, 25) & _MASK
    c = (c ^ b) - _rotate(b, 16) & _MASK
    a = (a ^ c) - _rotate(c, 4) & _MASK
    b = (b ^ a) - _rotate(a, 14) & _MASK
    return (c ^ b) - _rotate(b, 24) & _MASK


_SUMMED_WORDS = 1 << 15
"""So many words of 16 bits, each times its position, have a sum below 2**63."""


def fletcher32(data: bytes | memoryview) -> int:
    """Return the Fletcher-32 checksum of a chunk."""
    even = len(data) // 2 * 2
    words = np.frombuffer(data[:even], ">u2")
    low = high = 0
    for start in range(0, len(words), _SUMMED_WORDS):
        part = words[start : start + _SUMMED_WORDS].astype(np.uint64)
        weights = np.arange(len(part), 0, -1, dtype=np.uint64)
        high += len(part) * low + int((part * weights).sum())
        low += int(part.sum())
    if even < len(data):
        low += int(data[even]) << 8
        high += low
    checksum: int = _fold(high) << 16 | _fold(low)
    return checksum


def _fold(total: int) -> int:
    """Return a sum as the library has it: 0 only if all words are 0, else from 1 to 65,535."""
    return (total - 1) % 0xFFFF + 1 if total else 0
