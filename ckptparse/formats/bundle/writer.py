"""Write the bytes of tensors to the data files of a bundle, and collect the entries of the index.

The data files contain the bytes of the tensors in the order in which they are added, without gaps.
The modules `entries` and `payload` describe the bytes.  The module `publishing` writes the index,
and gives the files their final names.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ckptparse.encoding.crc32c import crc32c, mask
from ckptparse.errors import InvalidTensorsError, UnsupportedError
from ckptparse.formats.bundle.entries import encode_entry, encode_partitioned_entry
from ckptparse.formats.bundle.payload import encode_strings
from ckptparse.outputs import Output
from ckptparse.sources.checksum import combine_crc32c
from ckptparse.tensors.dtypes import (
    BOOL,
    STRING,
    lookup,
    number_of,
    number_of_array,
    numpy_dtype,
)
from ckptparse.tensors.octets import IS_LITTLE, to_octets
from ckptparse.tensors.partitions import Extents, encode_slice_key, is_slice_key
from ckptparse.tensors.pieces import Piece, is_last

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SMALL_NBYTES = 1 << 16
"""Arrays of at most this many bytes are copied and written together."""

_BUFFER_NBYTES = 1 << 20


class BundleWriter:
    """The data files and the entries of a bundle that is being written.

    Attributes:
        entries: key -> encoded entry of the index; without the header.
        nbytes: number of bytes of tensors that were added so far.
    """

    def __init__(
        self, create: Callable[[], Output], outputs: list[Output], shard_nbytes: int | None = None
    ) -> None:
        """
        Args:
            create: creates a data file.
            outputs: an empty list, to which the data files are added.  So the caller can discard
                them also after an error.
            shard_nbytes: the maximum size of a data file, unless it has only one tensor or slice;
                None for one data file.
        """
        outputs.append(create())
        self._outputs = outputs
        self.entries: dict[bytes, bytes] = {}
        self.nbytes = 0
        self._create = create
        self._shard_nbytes = shard_nbytes or sys.maxsize
        self._output = outputs[0]
        self._buffered: list[bytes] = []
        self._buffered_nbytes = 0
        self._slices: dict[bytes, tuple[int, tuple[int, ...], list[Extents]]] = {}
        # The state of the tensor, or slice, whose pieces are being added:
        self._key = b""
        self._first: Piece | None = None
        self._size = 0
        self._crc = 0
        self._place = 0, 0

    def add_array(self, key: bytes, array: NDArray[Any], number: int | None = None) -> None:
        """Write a whole array.

        Args:
            key: name of the tensor.
            array: an array of any dtype that TensorFlow has, in any layout.
            number: number of the dtype; None for the usual one of such arrays.

        Raises:
            UnsupportedError: TensorFlow has no such dtype.
            InvalidTensorsError: there is a tensor of this name already.
            UnwritableError: the operating system or the storage fails.
        """
        dtype = array.dtype
        if number is None:
            number = number_of_array(dtype)
        if number == STRING:
            self._add_strings(key, array)
            return
        nbytes = array.nbytes
        shard_id, offset = self._begin(nbytes)
        if nbytes <= _SMALL_NBYTES:
            is_plain = dtype.isbuiltin == 1 and number != BOOL and IS_LITTLE
            payload = (array if is_plain else to_octets(array, number)).tobytes()
            crc = crc32c(payload)
            self._buffered.append(payload)
            self._buffered_nbytes += nbytes
            self.nbytes += nbytes
        else:
            crc = self._write(to_octets(array, number))
        self._enter(key, encode_entry(number, array.shape, shard_id, offset, nbytes, mask(crc)))

    def add_piece(self, key: bytes, piece: Piece) -> None:
        """Write a piece of a tensor; all pieces of a tensor come one after the other.

        Raises:
            InvalidTensorsError: the pieces do not fit together, because the shape, the dtype or the
                number of elements changed between them.
        """
        values, shape = piece.values, piece.shape
        number = number_of(piece.dtype)
        _require_dtype(piece, number)
        first = self._first
        if first is None and values.size == prod(shape):
            self.add_array(key, values.reshape(shape), number)
            return
        nbytes = prod(shape) * (lookup(number).itemsize or 0)
        if first is None:
            self._first, self._key, self._size, self._crc = piece, key, 0, 0
            self._place = self._begin(nbytes)
        elif key != self._key:
            raise _changed(first, f"{prod(first.shape)} elements")
        elif (piece.dtype, shape) != (first.dtype, first.shape):
            raise _changed(piece, f"{first.dtype} {list(first.shape)}")
        if piece.start != self._size or self._size + values.size > prod(shape):
            raise _changed(piece, f"{prod(shape)} elements, the next one after {self._size}")
        octets = to_octets(values, number)
        self._crc = combine_crc32c(self._crc, self._write(octets), octets.nbytes)
        self._size += values.size
        if is_last(piece):
            self._first = None
            self._enter(key, encode_entry(number, shape, *self._place, nbytes, mask(self._crc)))

    def begin_slices(self, key: bytes, number: int, shape: tuple[int, ...]) -> None:
        """Begin a partitioned tensor: what is added under its slice keys are its slices.

        Raises:
            InvalidTensorsError: there is a tensor of this name already.
        """
        if key in self._slices:
            raise _twice(key)
        self._slices[key] = number, shape, []

    def add_slice_piece(self, key: bytes, extents: Extents, piece: Piece) -> None:
        """Write a piece of a slice; `piece.shape` is the shape of the slice."""
        if not piece.start:
            self._slices[key][2].append(extents)
        self.add_piece(encode_slice_key(key, extents), piece)

    def finish(self) -> None:
        """Write the small arrays that are still in memory, and complete the data files.

        Raises:
            InvalidTensorsError: a tensor is not complete.
        """
        if self._first is not None:
            raise _changed(self._first, f"{prod(self._first.shape)} elements")
        for key, (number, shape, slices) in self._slices.items():
            self._enter(key, encode_partitioned_entry(number, shape, slices))
        self._flush()
        for output in self._outputs:
            output.finish()

    def _add_strings(self, key: bytes, array: NDArray[Any]) -> None:
        parts, crc = encode_strings(to_bytes_each(array))
        nbytes = sum(map(len, parts))
        shard_id, offset = self._begin(nbytes)
        self._flush()
        for part in parts:
            self._output.write(part)
        self.nbytes += nbytes
        self._enter(key, encode_entry(STRING, array.shape, shard_id, offset, nbytes, mask(crc)))

    def _begin(self, nbytes: int) -> tuple[int, int]:
        """Return the place of the next bytes: number of the data file and offset in it."""
        offset = self._output.nbytes + self._buffered_nbytes
        if offset and offset + nbytes > self._shard_nbytes:
            self._flush()
            self._output = self._create()
            self._outputs.append(self._output)
            offset = 0
        if self._buffered_nbytes >= _BUFFER_NBYTES:
            self._flush()
        return len(self._outputs) - 1, offset

    def _write(self, octets: NDArray[np.uint8]) -> int:
        """Append bytes to the data file; return their checksum."""
        self._flush()
        crc: int = self._output.write_checked(octets)
        self.nbytes += octets.nbytes
        return crc

    def _flush(self) -> None:
        """Write the small arrays that are in memory."""
        if self._buffered:
            self._output.write(b"".join(self._buffered))
            self._buffered.clear()
            self._buffered_nbytes = 0

    def _enter(self, key: bytes, value: bytes) -> None:
        """Add an entry to the index."""
        if key in self.entries:
            raise _twice(key)
        self.entries[key] = value


def require_key(key: bytes, name: str) -> None:
    """Check that a tensor can have this name.

    Raises:
        InvalidTensorsError: it is empty, is not a `str`, or is the key of a slice.
    """
    if key and key[0]:  # the key of a slice begins with 0
        return
    if not key:
        raise InvalidTensorsError("a tensor cannot have this name", tensor=name, expected="a text")
    if is_slice_key(key):
        raise InvalidTensorsError(
            "a tensor cannot have this name, which is the key of a slice",
            tensor=name,
            expected="a name that does not encode another name and extents",
        )


def _require_dtype(piece: Piece, number: int) -> None:
    """Check that the array of a piece has the numpy dtype that belongs to its TensorFlow dtype."""
    dtype = piece.values.dtype
    if dtype != numpy_dtype(number) and number != STRING:
        if dtype.newbyteorder("=") == numpy_dtype(number):
            return
        raise InvalidTensorsError(
            "the array has another dtype than its metadata says",
            tensor=piece.name,
            expected=numpy_dtype(number),
            found=dtype,
        )


def to_bytes_each(array: NDArray[Any]) -> list[bytes]:
    """Return the elements of an array of strings; text is encoded as UTF-8.

    Raises:
        UnsupportedError: an element is neither bytes nor text.
        InvalidTensorsError: a text cannot be encoded.
    """
    elements = array.reshape(-1).tolist()
    if all(type(element) is bytes for element in elements):
        return elements
    strings = []
    for element in elements:
        if isinstance(element, str):
            strings.append(_encode(element))
        elif isinstance(element, (bytes, bytearray)):
            strings.append(bytes(element))
        else:
            raise UnsupportedError(
                "an array of objects can be saved if they are strings",
                expected="bytes or str",
                found=f"{type(element).__name__} {element!r}",
            )
    return strings


def _encode(text: str) -> bytes:
    """Return a text as UTF-8; lone surrogates for bytes that are no UTF-8 become these bytes."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise InvalidTensorsError(
            "this text cannot be encoded as UTF-8", expected="text or bytes", found=ascii(text)
        ) from error


def _changed(piece: Piece, expected: str) -> InvalidTensorsError:
    """Return the error for a tensor whose pieces do not fit together."""
    return InvalidTensorsError(
        "the tensor changed while it was read",
        tensor=piece.name,
        expected=expected,
        found=f"{piece.values.size} elements after {piece.start} of {list(piece.shape)}",
    )


def _twice(key: bytes) -> InvalidTensorsError:
    """Return the error for a second tensor of a name."""
    name = key.decode("utf-8", "surrogateescape")
    return InvalidTensorsError("two tensors have this name", tensor=name)
