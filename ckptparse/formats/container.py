"""The reader that all containers share: files of other formats that hold named arrays.

A module for each container lists the arrays of a file: name -> `StoredArray`.  A subclass of
`StoredArray` knows one way of storing an array; `PlainArray` is the usual one.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ckptparse.errors import CheckpointError, ChecksumError, UnsupportedError
from ckptparse.formats.reader import OnPiece, Reader
from ckptparse.sources import MemorySource, Source
from ckptparse.sources.base import require_inside
from ckptparse.sources.ranges import PrefetchedSource
from ckptparse.tensors.arrays import read_part, require_shape, take
from ckptparse.tensors.dtypes import name_of_array
from ckptparse.tensors.info import TensorInfo
from ckptparse.tensors.mapping import PIECE_NBYTES, Role
from ckptparse.tensors.names import decode_name
from ckptparse.tensors.numpy_index import Index
from ckptparse.tensors.pieces import cut

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHECKED_NBYTES = 1 << 20
"""A checksum is computed over this many bytes at a time."""

_KINDS_OF_STRINGS = "OSU"
"""Kinds of dtypes, as numpy names them, whose arrays are not divided into pieces."""

_PREFETCHED_REQUESTS = 16
"""Arrays that take longer to read than this many requests are not prefetched."""


class StoredArray(ABC):
    """An array in a file, and how to read it.

    Attributes:
        dtype: dtype of the array that reading returns; `object` for strings.
        shape: shape of that array.
        span: start and stop of its bytes in the file; None if they are in several places.
        offset: position of its elements in the file; None if they are not there as in memory.
        has_checksum: whether the file has a checksum of its bytes.
        tensorflow_dtype: TensorFlow's name of the dtype; None for the usual one of such arrays.
    """

    span: tuple[int, int] | None = None
    offset: int | None = None
    has_checksum: bool = False
    tensorflow_dtype: str | None = None

    def __init__(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        self.dtype = dtype
        self.shape = shape

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Number of bytes of the elements."""
        return self.size * self.dtype.itemsize

    @property
    def dtype_name(self) -> str:
        """TensorFlow's name of the dtype, or another one if TensorFlow has no such dtype."""
        return self.tensorflow_dtype or name_of_array(self.dtype)

    def is_view(self, source: Source) -> bool:
        """Return whether `read` returns a view of the mapped file."""
        return False

    @abstractmethod
    def read(self, source: Source, index: Index, *, check: bool) -> NDArray[Any]:
        """Return the array, or the part of it that a numpy index selects, read-only.

        Args:
            source: the file.
            index: the numpy index.
            check: compare the checksum of all bytes; only if `has_checksum`.

        Raises:
            ChecksumError: the bytes are not those that were written.
            CheckpointError: the bytes cannot be read or decoded.
        """

    def check(self, source: Source) -> None:
        """Read all bytes, and compare their checksum if there is one.

        Raises:
            ChecksumError: the bytes are not those that were written.
            CheckpointError: the bytes cannot be read or decoded.
        """
        for _ in self.read_pieces(source, CHECKED_NBYTES, check=self.has_checksum):
            pass

    def read_pieces(
        self, source: Source, piece_nbytes: int, *, check: bool
    ) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield the number of elements before each piece, and the piece; see `Reader`."""
        array = self.read(source, ..., check=check)
        if array.dtype.kind in _KINDS_OF_STRINGS:
            yield 0, array
            return
        for start, index in cut(array.shape, array.itemsize, piece_nbytes):
            yield start, array[index]


class PlainArray(StoredArray):
    """An array whose elements are in the file as they are in memory."""

    def __init__(
        self,
        dtype: np.dtype[Any],
        shape: tuple[int, ...],
        offset: int,
        *,
        fortran_order: bool = False,
        swapped: bool = False,
        crc32: tuple[int, int] | None = None,
    ) -> None:
        """
        Args:
            dtype: dtype of the array, in the byte order of this machine.
            shape: shape of the array.
            offset: position of the first element in the file.
            fortran_order: whether the first axis varies fastest, instead of the last one.
            swapped: whether the file has the other byte order.
            crc32: the CRC-32 of bytes that precede the elements and are part of the checksum (0 for
                none), and the stored CRC-32 of all; None if there is none.
        """
        super().__init__(dtype, shape)
        self._start = offset
        self.offset = None if swapped else offset
        self.span = offset, offset + self.nbytes
        self.has_checksum = crc32 is not None
        self._fortran_order = fortran_order and len(shape) > 1
        self._swapped = swapped
        self._crc32 = crc32

    def is_view(self, source: Source) -> bool:
        return source.mapped and not self._swapped and self.size > 0

    def read(self, source: Source, index: Index, *, check: bool) -> NDArray[Any]:
        require_shape(self.shape, self.dtype.itemsize)
        start, stop = self._start, self._start + self.nbytes
        require_inside(source.name, start, stop, source.nbytes)  # also for an empty part
        if check:
            if not source.mapped:  # the bytes that are checked are those that are returned
                source = MemorySource(source.name, source.read(start, stop), start)
            self.check(source)
        if not self._fortran_order:
            return read_part(source, start, self.dtype, self.shape, index, swapped=self._swapped)
        stored = self.shape[::-1]
        whole = read_part(source, start, self.dtype, stored, ..., swapped=self._swapped)
        part = take(whole.T, index)
        part.flags.writeable = False
        return part

    def check(self, source: Source) -> None:
        if self._crc32 is None:
            super().check(source)
            return
        crc, stored = self._crc32
        start = self._start
        crc = crc32_of_range(source, start, start + self.nbytes, crc)
        require_crc32(crc, stored, start)

    def read_pieces(
        self, source: Source, piece_nbytes: int, *, check: bool
    ) -> Iterator[tuple[int, NDArray[Any]]]:
        is_whole = self._fortran_order or self.dtype.kind in _KINDS_OF_STRINGS
        if source.mapped or is_whole or self.nbytes <= piece_nbytes:
            yield from super().read_pieces(source, piece_nbytes, check=check)
            return
        crc, stored = self._crc32 or (0, 0)
        itemsize = self.dtype.itemsize
        for start, index in cut(self.shape, itemsize, piece_nbytes):
            rows = self.read(source, index, check=False)
            if check:
                crc = zlib.crc32(_octets(rows, swapped=self._swapped), crc)
                if start + rows.size == self.size:
                    require_crc32(crc, stored, self._start)
            yield start, rows


class RefusedArray(StoredArray):
    """An array that is listed, but cannot be read: `read` raises an UnsupportedError."""

    def __init__(
        self,
        dtype_name: str,
        shape: tuple[int, ...],
        span: tuple[int, int],
        error: Callable[[], CheckpointError],
    ) -> None:
        """
        Args:
            dtype_name: name of the dtype in the file.
            shape: shape of the array.
            span: start and stop of its bytes in the file.
            error: returns the error that `read` raises.
        """
        super().__init__(np.dtype(object), shape)
        self.span: tuple[int, int] = span
        self.offset = span[0]
        self.tensorflow_dtype = dtype_name
        self._error = error

    @property
    def nbytes(self) -> int:
        return self.span[1] - self.span[0]

    def read(self, source: Source, index: Index, *, check: bool) -> NDArray[Any]:
        raise self._error()

    def check(self, source: Source) -> None:
        start, stop = self.span
        for first in range(start, stop, CHECKED_NBYTES):
            source.read(first, min(first + CHECKED_NBYTES, stop))


def _octets(array: NDArray[Any], *, swapped: bool) -> NDArray[Any]:
    """Return the bytes of a row-major array as they are stored."""
    from ckptparse.tensors.arrays import swap_bytes

    stored = swap_bytes(array) if swapped else array
    return np.ascontiguousarray(stored).reshape(-1).view(np.uint8)


def crc32_of_range(source: Source, start: int, stop: int, crc: int = 0) -> int:
    """Return the CRC-32 of a range of a file, which is read in parts.

    Args:
        source: the file.
        start: position of the first byte.
        stop: position after the last byte.
        crc: the CRC-32 of the bytes before them; 0 for none.

    Raises:
        CheckpointError: the bytes cannot be read.
    """
    for first in range(start, stop, CHECKED_NBYTES):
        crc = zlib.crc32(source.read(first, min(first + CHECKED_NBYTES, stop)), crc)
    return crc


def require_crc32(crc: int, stored: int, offset: int) -> None:
    """Compare the CRC-32 of bytes with the stored one.

    Args:
        crc: computed from the bytes.
        stored: what the file has.
        offset: position of the bytes in the file, for the error.

    Raises:
        ChecksumError: they differ.
    """
    if crc != stored:
        raise ChecksumError(
            "the bytes are not those that were written",
            offset=offset,
            expected=f"CRC-32 {stored:08x}",
            found=f"{crc:08x}",
        )


class ContainerReader(Reader):
    """An open container."""

    def __init__(
        self,
        format: str,
        source: Source,
        arrays: Mapping[bytes, StoredArray],
        *,
        verify: bool,
        roles: Mapping[str, Role] | None = None,
    ) -> None:
        """
        Args:
            format: name of the format.
            source: the file; the reader closes it.
            arrays: key -> array, in the order of the file.
            verify: whether to compare the checksum of an array at its first access.
            roles: the roles of tensors, as far as the file tells them.
        """
        self.format = format
        self.path = source.name
        self.prefetches = not source.mapped
        self._source = source
        self._arrays = dict(arrays)
        self._verify = verify
        self._verified: set[bytes] = set()
        self._roles = roles or {}
        self._prefetched: PrefetchedSource | None = None

    @property
    def files(self) -> list[str]:
        """The path of the file."""
        return [self.path]

    def keys(self) -> list[bytes]:
        """Return the names of all arrays as bytes, in the order of the file."""
        return list(self._arrays)

    def find(self, key: bytes) -> StoredArray | None:
        """Return an array; None if there is none of that name.  Reads nothing."""
        return self._arrays.get(key)

    def info(self, key: bytes, entry: StoredArray) -> TensorInfo:
        """Return the metadata of an array; reads nothing."""
        return TensorInfo(
            name=decode_name(key),
            dtype=entry.dtype,
            tensorflow_dtype=entry.dtype_name,
            shape=entry.shape,
            size=entry.size,
            nbytes=entry.nbytes,
            slices=(),
            mapped=entry.is_view(self._source),
            file=self.path,
            offset=entry.offset,
        )

    def nbytes(self, key: bytes, entry: StoredArray) -> int:
        """Return the number of bytes of the elements."""
        return entry.nbytes

    def roles(self) -> Mapping[str, Role]:
        """Return the roles that the file gives to its tensors."""
        return self._roles

    # Tensors

    def for_one_loop(self) -> ContainerReader:
        """Return a reader that can prefetch.  No bound is needed: arrays do not share bytes."""
        reader = copy(self)
        reader._prefetched = None
        return reader

    def prefetch(self, tensors: list[tuple[bytes, StoredArray]]) -> None:
        """Read the bytes of small arrays in few requests; see `Reader.prefetch`."""
        most_nbytes = _PREFETCHED_REQUESTS * self._source.request_nbytes
        spans = [entry.span for _, entry in tensors if entry.span is not None]
        small = [(start, stop) for start, stop in spans if 0 < stop - start <= most_nbytes]
        self._prefetched = None
        if small:
            try:
                self._prefetched = PrefetchedSource(self._source, small)
            except CheckpointError:
                return

    def _source_of(self, entry: StoredArray) -> Source:
        """Return the file, or the prefetched bytes of an array."""
        prefetched = self._prefetched
        if prefetched is not None and entry.span is not None and prefetched.holds(*entry.span):
            start, stop = entry.span
            return MemorySource(self.path, prefetched.read(start, stop), start)
        return self._source

    def _must_check(self, key: bytes, entry: StoredArray) -> bool:
        return self._verify and entry.has_checksum and key not in self._verified

    def read(self, key: bytes, entry: StoredArray, index: Index) -> NDArray[Any]:
        """Return an array or a part of it; see `Checkpoint.read`."""
        check = self._must_check(key, entry)
        array = entry.read(self._source_of(entry), index, check=check)
        if check:
            self._verified.add(key)
        return array

    def read_pieces(
        self, key: bytes, entry: StoredArray, piece_nbytes: int
    ) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield an array in pieces; see `Reader.read_pieces`."""
        check = self._must_check(key, entry)
        yield from entry.read_pieces(self._source_of(entry), piece_nbytes, check=check)
        if check:
            self._verified.add(key)

    # Checks

    def verify(self, key: bytes, entry: StoredArray) -> bool:
        """Read all bytes of an array; compare their checksum, if the file has one."""
        try:
            entry.check(self._source_of(entry))
        except UnsupportedError:  # intact, as far as this version knows
            return False
        if entry.has_checksum:
            self._verified.add(key)
        return entry.has_checksum

    def verify_and_read(self, key: bytes, entry: StoredArray, on_piece: OnPiece) -> bool:
        """Check an array while it is read; see `Reader.verify_and_read`."""
        check = entry.has_checksum
        try:
            for piece in entry.read_pieces(self._source_of(entry), PIECE_NBYTES, check=check):
                on_piece(*piece)
        except UnsupportedError:
            return self.verify(key, entry)
        if check:
            self._verified.add(key)
        return check

    def forget_verified(self) -> None:
        """Have every checksum compared again when it is next needed."""
        self._verified.clear()

    def close(self) -> None:
        """Close the file."""
        self._source.close()
