"""CRC-32C as TensorFlow stores it: masked.

Castagnoli polynomial, reflected (0x82f63b78), initial value and final xor 0xffffffff.  A stored
checksum is masked, because the checksum of bytes that contain their own checksum is a weak one:

    mask(c)   = rotate_right_32(c, 15) + 0xa282ead8   (mod 2**32)
    unmask(m) = rotate_left_32(m - 0xa282ead8, 15)

Source: tensorflow/core/lib/hash/crc32c.h, ``Mask`` and ``Unmask``.
"""

from __future__ import annotations

from crc32c import crc32c

from ckptparse.errors import ChecksumError
from ckptparse.sources import Source

__all__ = ["crc32c", "crc32c_of_range", "mask", "require_crc32c", "unmask"]

_MASK_DELTA = 0xA282EAD8
_PIECE_NBYTES = 1 << 24
"""Bytes checked at a time: bounds the memory of sources that copy."""


def mask(crc: int) -> int:
    """The stored form of a checksum."""
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def unmask(masked: int) -> int:
    """The checksum of a stored form."""
    rotated = (masked - _MASK_DELTA) & 0xFFFFFFFF
    return ((rotated >> 17) | (rotated << 15)) & 0xFFFFFFFF


def crc32c_of_range(source: Source, start: int, stop: int) -> int:
    """CRC-32C of the bytes start..stop of a source, read in pieces."""
    crc = 0
    for piece_start in range(start, stop, _PIECE_NBYTES):
        crc = crc32c(source.read(piece_start, min(piece_start + _PIECE_NBYTES, stop)), crc)
    return crc


def require_crc32c(what: str, crc: int, stored: int, *, offset: int | None = None) -> None:
    """Compare a computed checksum with a stored (masked) one.

    Raises:
        ChecksumError: they differ.
    """
    if mask(crc) != stored:
        raise ChecksumError(
            f"checksum of {what}",
            offset=offset,
            expected=f"{unmask(stored):#010x} (as stored)",
            found=f"{crc:#010x}",
        )
