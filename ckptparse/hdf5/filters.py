"""The filters of a chunk: how its bytes were changed before they were stored.

::

    version 1                               version 2
    1 version                               1 version
    1 number of filters                     1 number of filters
    6 reserved
    for each filter:                        for each filter:
        2 number of the filter                  2 number of the filter
        2 number of bytes of the name           2 number of bytes of the name (numbers from 256)
        2 flags                                 2 flags
        2 number of parameters                  2 number of parameters
        name, padded to 8 bytes                 name (numbers from 256)
        4 for each parameter                    4 for each parameter
        4 more, if their number is odd

Filters are applied in this order when writing.  Read here are 1 (deflate, which h5py calls gzip), 2
(shuffle: first bytes of all elements, then second bytes ...) and 3 (Fletcher-32 after the bytes).

Source: "HDF5 File Format Specification Version 3.0", section IV.A.2.l; H5Z*.c of the HDF5 library.
"""

from __future__ import annotations

import zlib

import numpy as np

from ckptparse.errors import ChecksumError, CorruptCheckpointError, UnsupportedError
from ckptparse.hdf5.checksums import fletcher32
from ckptparse.hdf5.fields import Fields

DEFLATE, SHUFFLE, FLETCHER32 = 1, 2, 3
_NAMES = {4: "szip", 5: "nbit", 6: "scale-offset", 32000: "lzf", 32001: "blosc", 32004: "lz4"}

_MOST_FILTERS = 32


def read_filters(fields: Fields) -> tuple[int, ...]:
    """Return the numbers of the filters, in the order of writing.

    Raises:
        CorruptCheckpointError: the message is too short.
        UnsupportedError: there is another filter than the three, or one of them twice.
    """
    offset = fields.offset
    version, count = fields.number(1), fields.number(1)
    if version not in (1, 2) or count > _MOST_FILTERS:
        raise UnsupportedError(
            "unknown form of a filter pipeline",
            offset=offset,
            expected=f"version 1 or 2, at most {_MOST_FILTERS} filters",
            found=f"version {version}, {count} filters",
        )
    if version == 1:
        fields.take(6)
    filters = []
    for _ in range(count):
        number = fields.number(2)
        name_nbytes = fields.number(2) if version == 1 or number >= 256 else 0
        fields.take(2)
        num_parameters = fields.number(2)
        padded = num_parameters + num_parameters % 2 if version == 1 else num_parameters
        fields.take(-(-name_nbytes // 8) * 8 if version == 1 else name_nbytes)
        fields.take(4 * padded)
        filters.append(number)
    unknown = set(filters) - {DEFLATE, SHUFFLE, FLETCHER32}
    if unknown or len(set(filters)) < len(filters):
        names = ", ".join(_NAMES.get(number, str(number)) for number in filters)
        raise UnsupportedError(
            "the chunks of this dataset have filters that this version cannot read",
            offset=offset,
            expected="deflate (gzip), shuffle or Fletcher-32, each once",
            found=names,
        )
    return tuple(filters)


def decode_chunk(
    stored: bytes | memoryview,
    filters: tuple[int, ...],
    skipped: int,
    *,
    itemsize: int,
    nbytes: int,
    offset: int,
    check: bool,
) -> bytes | memoryview:
    """Return the bytes of a chunk before its filters.

    Args:
        stored: the bytes in the file.
        filters: the filters in the order of writing.
        skipped: bit i is set if the writer left out filter i.
        itemsize: number of bytes of an element.
        nbytes: number of bytes that must result.
        offset: position of the chunk in the file, for errors.
        check: whether to compare the checksum.

    Raises:
        ChecksumError: the bytes are not those that were written.
        CorruptCheckpointError: the bytes cannot be decompressed, or are too many or too few.
    """
    left = stored
    applied = [number for i, number in enumerate(filters) if not skipped >> i & 1]
    # After deflate, a checksum that was appended before it may follow the elements.
    most_nbytes = nbytes + (4 if FLETCHER32 in applied else 0)
    for number in reversed(applied):
        if number == DEFLATE:
            left = _inflate(left, most_nbytes, offset)
        elif number == SHUFFLE:
            left = _unshuffle(left, itemsize)
        else:
            left = _without_fletcher32(left, offset, check=check)
    if len(left) != nbytes:
        raise CorruptCheckpointError(
            "a chunk has another size than the dataset says",
            offset=offset,
            expected=f"{nbytes} bytes",
            found=f"{len(left)} bytes",
        )
    return left


def _inflate(stored: bytes | memoryview, most_nbytes: int, offset: int) -> bytes:
    """Return decompressed bytes, at most one byte more than `most_nbytes`."""
    decoder = zlib.decompressobj()
    try:
        found = decoder.decompress(stored, most_nbytes + 1)
    except zlib.error as error:
        raise CorruptCheckpointError(
            "the bytes of a chunk cannot be decompressed", offset=offset, found=str(error)
        ) from None
    if len(found) <= most_nbytes and not decoder.eof:
        raise CorruptCheckpointError(
            "the compressed bytes of a chunk end too early",
            offset=offset,
            expected="the end of the compressed bytes",
            found=f"{len(found)} bytes without an end",
        )
    return found


def _unshuffle(stored: bytes | memoryview, itemsize: int) -> bytes | memoryview:
    """Return the bytes element by element, as they were before shuffling."""
    count = len(stored) // itemsize
    if itemsize == 1 or count <= 1:
        return stored
    octets = np.frombuffer(stored, np.uint8)
    planes = octets[: count * itemsize].reshape(itemsize, count)
    return planes.T.tobytes() + octets[count * itemsize :].tobytes()


def _without_fletcher32(
    stored: bytes | memoryview, offset: int, *, check: bool
) -> bytes | memoryview:
    """Return the bytes before the checksum at the end."""
    if len(stored) < 4:
        raise CorruptCheckpointError(
            "a chunk is too short for its checksum", offset=offset, found=f"{len(stored)} bytes"
        )
    if check:
        written = int.from_bytes(stored[-4:], "little")
        computed = fletcher32(stored[:-4])
        # Old versions of the library swapped the bytes of both halves.
        old = (computed & 0x00FF00FF) << 8 | computed >> 8 & 0x00FF00FF
        if written not in (computed, old):
            raise ChecksumError(
                "the bytes of a chunk are not those that were written",
                offset=offset,
                expected=f"Fletcher-32 {written:08x}",
                found=f"{computed:08x}",
            )
    return stored[:-4]
