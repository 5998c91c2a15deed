"""CRC-32C as TensorFlow stores it: masked.

CRC-32C uses the Castagnoli polynomial, reflected (0x82f63b78); initial value and final xor are
0xffffffff.  A stored checksum is masked, because the CRC of bytes that are followed by their own
CRC is always the same:

    mask(c)   = rotate_right_32(c, 15) + 0xa282ead8   (mod 2**32)
    unmask(m) = rotate_left_32(m - 0xa282ead8, 15)

Source: tensorflow/core/lib/hash/crc32c.h, ``Mask`` and ``Unmask``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from typing import Any

from ckptparse.errors import ChecksumError

__all__ = ["crc32c", "mask", "require_crc32c", "unmask"]


def _load_crc32c() -> Callable[..., int]:
    """Return the function `crc32c.crc32c`, from the extension module of that package.

    The package itself first imports importlib.metadata and argparse, which takes 30 ms.  The
    extension module alone takes 0.5 ms.
    """
    package = None if "crc32c" in sys.modules else PathFinder.find_spec("crc32c")
    name = "crc32c._crc32c"
    places = package.submodule_search_locations if package else None
    spec = PathFinder.find_spec(name, places) if places else None
    if spec is None or spec.loader is None or name in sys.modules:
        from crc32c import crc32c

        return crc32c
    module: Any = spec.loader.create_module(spec)
    spec.loader.exec_module(module)
    sys.modules[name] = module  # so that the package uses the same module when it is imported
    function: Callable[..., int] = module.crc32c
    return function


crc32c = _load_crc32c()
"""Return the CRC-32C of bytes.  A second argument is the checksum of the bytes before them."""

_MASK_DELTA = 0xA282EAD8


def mask(crc: int) -> int:
    """Return the stored form of a checksum."""
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def unmask(masked: int) -> int:
    """Return the checksum of a stored form."""
    rotated = (masked - _MASK_DELTA) & 0xFFFFFFFF
    return ((rotated >> 17) | (rotated << 15)) & 0xFFFFFFFF


def require_crc32c(what: str, crc: int, stored: int, *, offset: int | None = None) -> None:
    """Compare a computed checksum with a stored one.

    Args:
        what: name of the bytes, for the message.
        crc: the computed checksum, not masked.
        stored: the stored checksum, masked.
        offset: byte offset, for the message.

    Raises:
        ChecksumError: they differ.
    """
    if mask(crc) != stored:
        raise ChecksumError(
            f"the bytes of the {what} do not match the stored checksum",
            offset=offset,
            expected=f"{unmask(stored):#010x} (as stored)",
            found=f"{crc:#010x}",
        )
