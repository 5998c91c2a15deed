"""The superblock: the first bytes of an HDF5 file, with the address of the root group.

::

    offset  version 0 and 1                         version 2 and 3
    0       89 48 44 46 0d 0a 1a 0a                 the same
    8       version                                 version
    9       versions of other structures (4)        size of an address: 8
    10                                              size of a length: 8
    11                                              flags
    12                                              base address (8)
    13      size of an address: 8
    14      size of a length: 8
    16      two numbers for groups (2 + 2)
    20      flags (4)                               address of the extension (8)
    24      version 1: two more numbers (4)
    24/28   base address, free space, end of the    28: end of the file (8)
            file, driver information (8 each)       36: address of the root group's header (8)
    56/60   entry of the root group, whose second   44: checksum of bytes 0 to 43 (4)
            field is the address of its header

Source: "HDF5 File Format Specification Version 3.0", section II.A.
"""

from __future__ import annotations

from ckptparse.errors import UnsupportedError
from ckptparse.hdf5.checksums import require_lookup3
from ckptparse.hdf5.metadata import Metadata

SIGNATURE = b"\x89HDF\r\n\x1a\n"


def read_root_address(metadata: Metadata) -> int:
    """Return the address of the header of the root group.

    Raises:
        ChecksumError: the superblock was changed.
        CorruptCheckpointError: this is no superblock.
        UnsupportedError: Keras writes no such superblock.
    """
    fields = metadata.read(0, 9)
    fields.expect(SIGNATURE, "an HDF5 file")
    version = fields.number(1)
    if version in (0, 1):
        fields = metadata.read(9, 63 if version == 0 else 67)
        fields.take(4)
        _require_sizes(fields.number(1), fields.number(1))
        fields.take(9 if version == 0 else 13)
        _require_base(fields.number(8))
        fields.take(3 * 8)
        fields.take(8)
        return fields.number(8)
    if version in (2, 3):
        fields = metadata.read(0, 48)
        fields.take(9)
        _require_sizes(fields.number(1), fields.number(1))
        fields.take(1)
        _require_base(fields.number(8))
        fields.take(2 * 8)
        address = fields.number(8)
        require_lookup3(fields.data[:44], fields, "the superblock")
        return address
    raise UnsupportedError(
        "unknown version of the superblock", offset=8, expected="0 to 3", found=version
    )


def _require_sizes(*sizes: int) -> None:
    if sizes != (8, 8):
        raise UnsupportedError(
            "addresses and lengths of this HDF5 file have an unusual size",
            expected="8 bytes each",
            found=f"{sizes[0]} and {sizes[1]} bytes",
        )


def _require_base(base: int) -> None:
    if base:
        raise UnsupportedError(
            "the HDF5 file begins inside of another file", expected="base address 0", found=base
        )
