"""The stored bytes of a tensor: check them, copy numbers, decode strings.

Numbers are stored as they lie in memory, in the byte order of the bundle.

Strings (core/util/tensor_bundle/tensor_bundle.cc, ``WriteStringTensor``)::

    varint64 length of each element | LE32 masked checksum of the lengths | bytes of each element

    The lengths' checksum L takes each length as a fixed number, LE32, or LE64 above 2**32 - 1.
    The entry's checksum continues L over the 4 stored checksum bytes and all element bytes.
    In a big-endian bundle these fixed numbers and the stored checksum are big-endian.

Variants (same file, ``WriteVariantTensor``), for each element::

    varint64 n | n bytes, a VariantTensorDataProto | LE32 masked running checksum

    The running checksum is never reset: it takes n as LE64, the n bytes, and, once it has been
    stored, the 4 stored bytes.  The entry's checksum is the running one at the end.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ckptparse.encoding.crc32c import crc32c, mask, require_crc32c
from ckptparse.encoding.varint import decode_varint, encode_varint
from ckptparse.encoding.varint_arrays import decode_varints
from ckptparse.errors import CorruptCheckpointError, located
from ckptparse.formats.bundle.entries import Entry
from ckptparse.sources import Source
from ckptparse.sources.checksum import crc32c_of_range
from ckptparse.tensors.arrays import swap_bytes
from ckptparse.tensors.dtypes import BOOL, STRING, VARIANT, numpy_dtype

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHECKSUM_NBYTES = 4
_MAX_UINT32 = 0xFFFFFFFF
_Checked: TypeAlias = "tuple[bytes | memoryview, int]"
"""Some bytes of a tensor, and the checksum of all bytes up to their end."""

_FIRST_NBYTES = 1 << 20
"""The first piece of a mapped tensor has at most this size, and each one after it at most twice the
size of the one before."""

_PIECE_NBYTES = 1 << 18
"""Bytes that stay in a core's cache from being checked to being copied."""


def verify_payload(source: Source, start: int, entry: Entry, *, big_endian: bool) -> None:
    """Check the stored bytes of an entry, which begin at `start` of the source.

    Offsets in errors are positions in the data file.

    Raises:
        ChecksumError: the bytes are not those that were written.
        CorruptCheckpointError: they have the right checksum, but no meaning.
    """
    stop = start + entry.nbytes
    with located(file=source.name, base=entry.offset):
        if entry.dtype == STRING:
            payload = source.read(start, stop)
            verify_strings(payload, entry.size, big_endian=big_endian, crc=entry.crc32c)
        elif entry.dtype == VARIANT:
            verify_variants(source.read(start, stop), entry.size, entry.crc32c)
        else:
            booleans = _Booleans()
            look = booleans.look if entry.dtype == BOOL else None
            crc = crc32c_of_range(source, start, stop, look)
            require_crc32c("tensor", crc, entry.crc32c, offset=0)
            booleans.require_valid()


def copy_numbers(
    source: Source, entry: Entry, target: NDArray[Any], *, check: bool, swapped: bool
) -> None:
    """Copy the numbers of an entry into an array of its shape, and check them on the way.

    Args:
        source: the data file.
        entry: of a tensor, or a slice, of numbers.
        target: a writable array, or a part of one.
        check: whether to compare the checksum, after the last byte.
        swapped: whether the numbers have another byte order than this machine.

    Raises:
        ChecksumError, CorruptCheckpointError: see `verify_payload`.
    """
    if not target.size:
        return
    dtype = numpy_dtype(entry.dtype)
    row_nbytes = entry.nbytes // len(target)
    num_rows = max(_PIECE_NBYTES // row_nbytes, 1)
    crc = 0
    booleans = _Booleans()
    with located(file=source.name, base=entry.offset):
        for row in range(0, len(target), num_rows):
            rows = target[row : row + num_rows]
            start = entry.offset + row * row_nbytes
            payload = source.read(start, start + len(rows) * row_nbytes)
            if check:
                crc = crc32c(payload, crc)
                if entry.dtype == BOOL:
                    booleans.look(row * row_nbytes, payload)
            values = np.frombuffer(payload, dtype).reshape(rows.shape)
            rows[...] = swap_bytes(values) if swapped else values
        if check:
            require_crc32c("tensor", crc, entry.crc32c, offset=0)
            booleans.require_valid()


def iterate_numbers(
    source: Source, entry: Entry, piece_nbytes: int, *, check: bool, swapped: bool
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield the numbers of an entry in pieces, and check them on the way.

    Args:
        source: the data file.
        entry: of a tensor of numbers that is stored whole.
        piece_nbytes: most bytes of a piece.
        check: whether to compare the checksum, before the last piece is yielded.
        swapped: whether the numbers have another byte order than this machine.

    Yields:
        The number of elements before the piece, and the piece as an array of one dimension.

    Raises:
        ChecksumError, CorruptCheckpointError: see `verify_payload`.
    """
    dtype = numpy_dtype(entry.dtype)
    most_size = max(piece_nbytes // dtype.itemsize, 1)
    booleans = _Booleans()

    def read(start: int, stop: int, crc: int) -> _Checked:
        """Return the bytes of elements, and the checksum of all bytes up to their end."""
        start, stop = start * dtype.itemsize, stop * dtype.itemsize
        payload = source.read(entry.offset + start, entry.offset + stop)
        if check:
            crc = crc32c(payload, crc)
            if entry.dtype == BOOL:
                booleans.look(start, payload)
        elif source.mapped:
            _touch(payload)
        return payload, crc

    # A piece of a map is checked, and its pages are made accessible, while the caller uses the one
    # before.  The caller has to wait for the first one, so that it is small.
    first_size = max(_FIRST_NBYTES // dtype.itemsize, 1)
    piece_size = min(first_size, most_size) if source.mapped else most_size
    crc = start = 0
    wait: Callable[[], _Checked] | None = None
    while start < entry.size:
        stop = min(start + piece_size, entry.size)
        with located(file=source.name, base=entry.offset):
            payload, crc = read(start, stop, crc) if wait is None else wait()
            piece_size = min(2 * piece_size, most_size)
            if stop == entry.size and check:
                require_crc32c("tensor", crc, entry.crc32c, offset=0)
                booleans.require_valid()
            elif stop < entry.size and source.mapped:
                wait = _begin(partial(read, stop, min(stop + piece_size, entry.size), crc))
        values = np.frombuffer(payload, dtype)
        yield start, swap_bytes(values) if swapped else values
        start = stop


def _touch(payload: bytes | memoryview) -> None:
    """Access each page of a map; writing pages that were not accessed takes twice as long."""
    np.frombuffer(payload, np.uint8)[:: mmap.PAGESIZE].max()


def _begin(read: Callable[[], _Checked]) -> Callable[[], _Checked]:
    """Have another thread read a piece; return a function that waits for it."""
    from ckptparse.sources.parallel import begin  # it imports threading

    return begin(read)


def encode_strings(values: list[bytes]) -> tuple[list[bytes], int]:
    """Return the stored bytes of strings, in parts, and their checksum, which is not masked."""
    lengths = b"".join([encode_varint(len(value)) for value in values])
    crc = _crc32c_of_lengths(np.array([len(value) for value in values], np.uint64), "<")
    stored_crc = mask(crc).to_bytes(_CHECKSUM_NBYTES, "little")
    contents = b"".join(values)
    return [lengths, stored_crc, contents], crc32c(contents, crc32c(stored_crc, crc))


def decode_strings(
    payload: bytes | memoryview, count: int, *, big_endian: bool, crc: int | None
) -> NDArray[Any]:
    """`count` strings as an object array of `bytes`, one-dimensional.

    `crc` is the entry's checksum (masked), None to leave both checksums unchecked.  Offsets in
    errors are positions in the payload.

    Raises:
        CorruptCheckpointError: lengths that do not fit the payload.
        ChecksumError: the lengths' or the entry's checksum does not fit.
    """
    lengths, start, running = _decode_lengths(payload, count, big_endian=big_endian, crc=crc)
    ends = np.cumsum(lengths)
    array: NDArray[Any] = np.empty(count, object)
    first = done = 0
    while first < count:  # in pieces that stay in the processor's cache
        last = max(int(np.searchsorted(ends, np.uint64(done + _PIECE_NBYTES))), first + 1)
        piece = bytes(payload[start + done : start + int(ends[last - 1])])
        running = crc32c(piece, running)
        # One read after the other makes the strings in half the time that slices take.
        array[first:last] = list(map(BytesIO(piece).read, lengths[first:last].tolist()))
        first, done = last, done + len(piece)
    if crc is not None:
        require_crc32c("strings", running, crc, offset=0)
    return array


def verify_strings(payload: bytes | memoryview, count: int, *, big_endian: bool, crc: int) -> None:
    """Check both checksums of `count` strings, without making them; as `decode_strings`."""
    _, start, running = _decode_lengths(payload, count, big_endian=big_endian, crc=crc)
    require_crc32c("strings", crc32c(payload[start:], running), crc, offset=0)


def _decode_lengths(
    payload: bytes | memoryview, count: int, *, big_endian: bool, crc: int | None
) -> tuple[NDArray[np.uint64], int, int]:
    """The lengths of strings, where the first one begins, and the checksum up to there."""
    lengths, pos = decode_varints(payload, count)
    start = pos + _CHECKSUM_NBYTES
    nbytes = len(payload) - start
    total = int(lengths.sum()) if count else 0
    # The exact sum is one of 64 bits and may have run over; the rounded one has not.
    if nbytes < 0 or total != nbytes or lengths.sum(dtype=np.float64) > 2.0**63:
        raise CorruptCheckpointError(
            "invalid lengths of strings",
            offset=0,
            expected=f"{count} lengths that add up to the {max(nbytes, 0)} bytes after them",
            found=sum(lengths.tolist()),
        )
    if crc is None:
        return lengths, start, 0
    stored = payload[pos:start]
    stored_crc = int.from_bytes(stored, "big" if big_endian else "little")
    lengths_crc = _crc32c_of_lengths(lengths, ">" if big_endian else "<")
    require_crc32c("lengths of strings", lengths_crc, stored_crc, offset=pos)
    return lengths, start, crc32c(stored, lengths_crc)


def _crc32c_of_lengths(lengths: NDArray[np.uint64], order: str) -> int:
    if not len(lengths) or int(lengths.max()) <= _MAX_UINT32:
        return crc32c(lengths.astype(f"{order}u4").tobytes())
    crc = 0
    for length in lengths:
        crc = crc32c(length.astype(f"{order}u{4 if length <= _MAX_UINT32 else 8}").tobytes(), crc)
    return crc


def verify_variants(payload: bytes | memoryview, count: int, crc: int) -> None:
    """Check the checksums of `count` variants; what is in them stays unknown.

    Raises:
        CorruptCheckpointError: elements that do not fit the payload.
        ChecksumError: an element's or the entry's checksum does not fit.
    """
    pos = 0
    running = 0
    for i in range(count):
        nbytes, start = decode_varint(payload, pos, len(payload))
        stop = start + nbytes
        if stop + _CHECKSUM_NBYTES > len(payload):
            raise CorruptCheckpointError(
                f"invalid variant {i}",
                offset=pos,
                expected=f"at most {len(payload) - start - _CHECKSUM_NBYTES} bytes",
                found=nbytes,
            )
        running = crc32c(payload[start:stop], crc32c(nbytes.to_bytes(8, "little"), running))
        pos = stop + _CHECKSUM_NBYTES
        stored = payload[stop:pos]
        require_crc32c(f"variant {i}", running, int.from_bytes(stored, "little"), offset=stop)
        running = crc32c(stored, running)
    if pos != len(payload):
        raise CorruptCheckpointError(
            "invalid variants",
            offset=0,
            expected=f"{pos} bytes for {count} of them",
            found=len(payload),
        )
    require_crc32c("variants", running, crc, offset=0)


class _Booleans:
    """Finds a byte other than 0 and 1 while a tensor is read: numpy computes nonsense with others.

    Such a byte is an error of its own only if the checksum is right.
    """

    def __init__(self) -> None:
        self._wrong: list[tuple[int, int]] = []  # offset in the tensor, value

    def look(self, offset: int, piece: bytes | memoryview) -> None:
        """Look at a piece, which begins at an offset in the tensor; from any thread."""
        values = np.frombuffer(piece, np.uint8)
        if len(values) and int(values.max()) > 1:
            wrong = int(np.argmax(values > 1))
            self._wrong.append((offset + wrong, int(values[wrong])))

    def require_valid(self) -> None:
        """Raise CorruptCheckpointError if there was such a byte in any piece."""
        if self._wrong:
            offset, value = min(self._wrong)
            raise CorruptCheckpointError(
                "invalid boolean", offset=offset, expected="00 or 01", found=f"{value:02x}"
            )
