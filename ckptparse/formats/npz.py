r"""Read ``.npz`` archives of numpy.

An ``.npz`` is a zip archive (see `ckptparse.sources.zip`).  Each array is a member ``NAME.npy``,
stored as it is (`numpy.savez`) or deflated (`numpy.savez_compressed`).  A member::

    6 bytes   b"\x93NUMPY"
    2 bytes   version: 1 0, 2 0 or 3 0
    2 bytes   N, the number of bytes of the header; 4 bytes since version 2
    N bytes   the header, a Python literal in Latin-1, since version 3 in UTF-8, padded with spaces
    the rest  the elements

    {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }

``descr`` is what `numpy.dtype` takes: a string, or a list of fields.  With ``fortran_order``, the
first axis varies fastest.  The zip archive has a CRC-32 of each whole member.

Arrays are those that `numpy.load` returns, also those of big-endian numbers, of strings and of
fields.  numpy has no name for the dtypes of ml_dtypes: it writes and reads bfloat16 as ``V2``, and
the 8-bit types as ``V1``.  ``f1``, which numpy writes but cannot read, is float8_e5m2.

Source: numpy/lib/format.py of numpy 1.22 to 2.5 (its docstring is the specification).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ckptparse.errors import (
    CheckpointError,
    CorruptCheckpointError,
    NotACheckpointError,
    TruncatedError,
    UnsupportedError,
    located,
)
from ckptparse.formats.container import (
    CHECKED_NBYTES,
    ContainerReader,
    PlainArray,
    RefusedArray,
    StoredArray,
    crc32_of_range,
    require_crc32,
)
from ckptparse.limits import (
    MAX_FREE_NPY_HEADERS_NBYTES,
    MAX_NPY_HEADER_NBYTES,
    MAX_NPY_HEADERS_RATIO,
)
from ckptparse.sources import MemorySource, Source
from ckptparse.sources.inflated import RAW, InflatedSource
from ckptparse.sources.ranges import PrefetchedSource
from ckptparse.sources.zip import STORED, ZipMember, read_zip
from ckptparse.tensors.numpy_index import Index

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SUFFIX = ".npy"

_MAGIC = b"\x93NUMPY"
_VERSIONS = {b"\x01\x00": (2, "latin-1"), b"\x02\x00": (4, "latin-1"), b"\x03\x00": (4, "utf-8")}
"""Version -> size of the length of the header, and its encoding."""

_FIRST_STORED_NBYTES = 256
_FIRST_DEFLATED_NBYTES = 1024
"""The bytes of each member that are read together.  numpy's usual header ends at byte 128."""

_INFLATED_NBYTES = 1 << 16


class _Header(NamedTuple):
    """What a header says, and what follows from its bytes.

    Attributes:
        nbytes: position of the elements in the member.
        crc32: CRC-32 of the bytes before the elements.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran_order: bool
    nbytes: int
    crc32: int


def open_npz(source: Source, *, verify: bool) -> ContainerReader:
    """Open an ``.npz`` file; reads the directory of the archive and the headers of the arrays.

    Raises:
        NotACheckpointError: the file is not a zip archive, or has no arrays.
        CorruptCheckpointError: the directory of the archive is damaged.
    """
    with located(file=source.name):
        members = read_zip(source)
        if not is_npz(members):
            raise _foreign(members)
        return ContainerReader("npz", source, _read_arrays(source, members), verify=verify)


def is_npz(members: Sequence[ZipMember]) -> bool:
    """Return whether the members of a zip archive are those of an ``.npz``: arrays, or none."""
    return not members or any(member.name.endswith(_SUFFIX) for member in members)


def _foreign(members: Sequence[ZipMember]) -> NotACheckpointError:
    """Return the error for a zip archive without arrays."""
    is_torch = any(member.name.rpartition("/")[2] == "data.pkl" for member in members)
    found = "a PyTorch file, which is a pickle" if is_torch else "a zip archive without arrays"
    return NotACheckpointError(
        f"this is not an .npz file but {found}",
        expected="members with names that end with .npy",
        found=", ".join(member.name for member in members[:3]),
    )


def _read_arrays(source: Source, members: Sequence[ZipMember]) -> dict[bytes, StoredArray]:
    """Return the arrays by name, in the order of the directory.  Other members are left out."""
    named = [member for member in members if member.name.endswith(_SUFFIX)]
    firsts = [
        (member.offset, member.offset + min(_first_nbytes(member), member.stored_nbytes))
        for member in named
        if member.problem is None
    ]
    heads = source if source.mapped else PrefetchedSource(source, firsts)
    headers = _Headers(MAX_FREE_NPY_HEADERS_NBYTES + MAX_NPY_HEADERS_RATIO * source.nbytes)
    arrays: dict[bytes, StoredArray] = {}
    for member in named:
        name = member.name.removesuffix(_SUFFIX)
        arrays[name.encode("utf-8", "surrogateescape")] = _find_array(heads, member, headers)
    return arrays


def _first_nbytes(member: ZipMember) -> int:
    return _FIRST_STORED_NBYTES if member.method == STORED else _FIRST_DEFLATED_NBYTES


def _find_array(source: Source, member: ZipMember, headers: _Headers) -> StoredArray:
    """Return the array of a member; if it cannot be read, one that says why when it is read."""
    try:
        if member.problem is not None:
            error_class, message = member.problem
            raise error_class(message)
        header = headers.read(partial(_read_first, source, member))
        nbytes = member.nbytes - header.nbytes
        array = PlainArray(
            header.dtype,
            header.shape,
            member.offset + header.nbytes if member.method == STORED else header.nbytes,
            fortran_order=header.fortran_order,
            crc32=(header.crc32, member.crc32) if member.method == STORED else None,
        )
        if header.dtype.hasobject:
            return _RefusedMember(member, "object", header.shape, _pickle_error)
        if not header.dtype.itemsize:
            raise UnsupportedError("the elements of this array have no bytes")
        if array.nbytes != nbytes:
            raise CorruptCheckpointError(
                "the size of an array contradicts its shape",
                expected=f"{array.nbytes} bytes for {header.dtype} {list(header.shape[:40])}",
                found=f"{nbytes} bytes",
            )
        return array if member.method == STORED else _DeflatedArray(member, array)
    except CheckpointError as error:
        error.forget_frames()
        message, expected, found = error.message, error.expected, error.found
        again = partial(type(error), message, expected=expected, found=found)
        is_damaged = not isinstance(error, UnsupportedError)
        return _RefusedMember(member, "unknown", (), again, is_damaged=is_damaged)


# Arrays


class _DeflatedArray(StoredArray):
    """An array in a deflated member."""

    has_checksum = True

    def __init__(self, member: ZipMember, array: PlainArray) -> None:
        """
        Args:
            member: the member.
            array: the array, with its position in the inflated member.
        """
        super().__init__(array.dtype, array.shape)
        self.span: tuple[int, int] = _span(member)
        self._member = member
        self._array = array

    def read(self, source: Source, index: Index, *, check: bool) -> NDArray[Any]:
        inflated = _inflate(source, self._member, check=check)
        if check:
            whole = inflated.read(0, inflated.nbytes)
            return self._array.read(MemorySource(inflated.name, whole), index, check=False)
        return self._array.read(inflated, index, check=False)

    def check(self, source: Source) -> None:
        _check_member(source, self._member)

    def read_pieces(
        self, source: Source, piece_nbytes: int, *, check: bool
    ) -> Iterator[tuple[int, NDArray[Any]]]:
        if self.nbytes <= piece_nbytes:
            yield from super().read_pieces(source, piece_nbytes, check=check)
            return
        # The checksum is compared when the last bytes are inflated, for the last piece.
        inflated = _inflate(source, self._member, check=check)
        yield from self._array.read_pieces(inflated, piece_nbytes, check=False)


class _RefusedMember(RefusedArray):
    """A member that is no readable array: of Python objects, damaged, or of an unknown dtype."""

    def __init__(
        self,
        member: ZipMember,
        dtype_name: str,
        shape: tuple[int, ...],
        error: Callable[[], CheckpointError],
        *,
        is_damaged: bool = False,
    ) -> None:
        """
        Args:
            member: the member.
            dtype_name: name of the dtype, for a listing.
            shape: shape of the array; () if it is unknown.
            error: returns the error that `read` raises.
            is_damaged: whether `check` raises it, too.
        """
        super().__init__(dtype_name, shape, _span(member), error)
        self.has_checksum = member.problem is None
        self._member = member
        self._is_damaged = is_damaged

    def check(self, source: Source) -> None:
        if self.has_checksum:
            _check_member(source, self._member)
        if self._is_damaged:
            raise self._error()


def _span(member: ZipMember) -> tuple[int, int]:
    return member.offset, member.offset + member.stored_nbytes


def _inflate(source: Source, member: ZipMember, *, check: bool) -> InflatedSource:
    """Return the bytes of a deflated member as a source.

    Raises:
        CorruptCheckpointError: the member declares more bytes than its stored bytes can have.
    """
    return InflatedSource(
        source,
        *_span(member),
        member.nbytes,
        source.name,
        wbits=RAW,
        crc32=member.crc32 if check else None,
    )


def _check_member(source: Source, member: ZipMember) -> None:
    """Compare the CRC-32 of a member."""
    if member.method != STORED:
        inflated = _inflate(source, member, check=True)
        for first in range(0, member.nbytes, CHECKED_NBYTES):
            inflated.read(first, min(first + CHECKED_NBYTES, member.nbytes))
        return
    start, stop = _span(member)
    require_crc32(crc32_of_range(source, start, stop), member.crc32, start)


def _pickle_error() -> UnsupportedError:
    """Return the error for reading an array of Python objects."""
    return UnsupportedError(
        "this is an array of Python objects, which are stored as a pickle",
        expected="numbers, booleans or strings (reading a pickle can run any code)",
        found="dtype object",
    )


# Headers


def _read_first(source: Source, member: ZipMember, nbytes: int) -> bytes:
    """Return the first bytes of a member, or all if it has fewer.

    Raises:
        CorruptCheckpointError: a deflated member is damaged.
    """
    start, stop = _span(member)
    if member.method == STORED:
        last = min(start + max(nbytes, _first_nbytes(member)), stop)
        return bytes(source.read(start, last)[:nbytes])
    inflater = zlib.decompressobj(RAW)
    first = b""
    step = _first_nbytes(member)
    while len(first) < nbytes and start < stop and not inflater.eof:
        compressed = source.read(start, min(start + step, stop))
        start += len(compressed)
        step = _INFLATED_NBYTES
        try:
            first += inflater.decompress(compressed, nbytes - len(first))
        except zlib.error as error:
            raise CorruptCheckpointError(
                "the compressed data is damaged", expected="a deflate stream", found=str(error)
            ) from None
    return first


class _Headers:
    """Reads headers; equal ones are decoded once, and all together have a limit."""

    def __init__(self, most_nbytes: int) -> None:
        """
        Args:
            most_nbytes: the largest size of all headers together.
        """
        self._most_nbytes = most_nbytes
        self._left_nbytes = most_nbytes
        self._known: dict[bytes, _Header] = {}

    def read(self, read_first: Callable[[int], bytes]) -> _Header:
        """Return the header of a member.

        Args:
            read_first: returns the first bytes of the member, or all if it has fewer.

        Raises:
            TruncatedError: the member ends before its header does.
            CorruptCheckpointError: the header is not valid.
            UnsupportedError: the version or the dtype is not known, or the header is too long.
        """
        first = read_first(_FIRST_STORED_NBYTES)
        if not first.startswith(_MAGIC):
            raise CorruptCheckpointError(
                "this member is not an .npy file",
                expected=_MAGIC.hex(" "),
                found=first[: len(_MAGIC)].hex(" "),
            )
        version = first[len(_MAGIC) : len(_MAGIC) + 2]
        if version not in _VERSIONS:
            raise UnsupportedError(
                "this version of .npy is not known",
                expected="1.0, 2.0 or 3.0",
                found=".".join(map(str, version)),
            )
        length_nbytes, encoding = _VERSIONS[version]
        start = len(_MAGIC) + len(version) + length_nbytes
        text_nbytes = int.from_bytes(first[start - length_nbytes : start], "little")
        if text_nbytes > MAX_NPY_HEADER_NBYTES:
            raise UnsupportedError(
                "the header of this array is too long",
                expected=f"at most {MAX_NPY_HEADER_NBYTES} bytes, as in numpy",
                found=text_nbytes,
            )
        stop = start + text_nbytes
        if stop > len(first):
            first = read_first(stop)
        header = first[:stop]
        if len(header) < stop:
            raise TruncatedError(
                "this member ends before its header does",
                expected=f"{stop} bytes",
                found=f"{len(header)} bytes",
            )
        known = self._known.get(header)
        if known is None:
            self._left_nbytes -= stop
            if self._left_nbytes < 0:
                raise UnsupportedError(
                    "the headers of all arrays together are too long",
                    expected=f"at most {self._most_nbytes} bytes for this file",
                )
            fields = _parse_header(_decode(header[start:], encoding))
            known = self._known[header] = _Header(*fields, stop, zlib.crc32(header))
        return known


def _decode(text: bytes, encoding: str) -> str:
    try:
        return text.decode(encoding)
    except UnicodeDecodeError:
        raise _invalid("text in UTF-8", text[:40]) from None


def _parse_header(text: str) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    """Return dtype, shape and fortran_order of the text of a header."""
    tokens = _Tokens(text)
    header = tokens.take_value(0)
    tokens.require_end()
    if type(header) is not dict or set(header) != {"descr", "fortran_order", "shape"}:
        raise _invalid("a dict with the keys descr, fortran_order and shape", text[:80])
    descr, fortran_order, shape = header["descr"], header["fortran_order"], header["shape"]
    if type(fortran_order) is not bool:
        raise _invalid("True or False as fortran_order", text[:80])
    if type(shape) is not tuple or not {int}.issuperset(map(type, shape)):
        raise _invalid("a tuple of integers as shape", text[:80])
    if len(shape) > _MOST_DIMENSIONS:
        raise UnsupportedError(
            "the array has too many dimensions for numpy",
            expected=f"at most {_MOST_DIMENSIONS}",
            found=len(shape),
        )
    return _make_dtype(descr), shape, fortran_order


_MOST_DIMENSIONS = 64
"""The most that numpy 2 has; numpy 1 has 32."""

_TOKEN = re.compile(
    r"""\s*(?: ('[^'\\\n]*' | "[^"\\\n]*")  # a string without escapes
             | ([0-9]{1,20})L?              # Python 2 wrote long integers with an L
             | (True | False)
             | ([][(){},:])
           )""",
    re.VERBOSE | re.ASCII,
)
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_MOST_NESTED = 16
"""Fields that are structures themselves are nested; three brackets for each level."""


class _Tokens:
    """The tokens of a header, from which values are taken one after the other.

    `ast.literal_eval` is not used: it can exhaust the stack of the C compiler for Python code, and
    its exceptions and warnings are those of any Python code.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, Any]] = []  # the mark, or "" and a value
        self._places = [0]  # where each token begins
        # Not `finditer`, which would look for a token at every letter of the rest.
        while match := _TOKEN.match(text, self._places[-1]):
            string, number, word, mark = match.groups()
            if mark is not None:
                self._tokens.append((mark, None))
            elif number is not None:
                self._tokens.append(("", int(number)))
            else:
                self._tokens.append(("", word == "True" if string is None else string[1:-1]))
            self._places.append(match.end())
        self._next = 0

    def _left(self) -> str:
        """Return the beginning of what was not taken, for an error."""
        at = self._places[self._next]
        return self._text[at : at + 40].strip()

    def take_value(self, depth: int) -> Any:
        """Return the next value: a string, integer, boolean, tuple, list or dict."""
        if self._next == len(self._tokens):
            raise _invalid("a Python literal", self._left())
        mark, value = self._tokens[self._next]
        self._next += 1
        if not mark:
            return value
        value = self._take_items(mark, depth) if mark in _CLOSING else None
        if value is None:
            raise _invalid("a value", mark)
        return value

    def _take_items(self, opening: str, depth: int) -> Any:
        """Return a tuple, list or dict after its opening bracket."""
        if depth == _MOST_NESTED:
            raise _invalid(f"at most {_MOST_NESTED} nested brackets", "more")
        closing = _CLOSING[opening]
        items: list[Any] = []
        has_comma = True
        while not self._skip(closing):
            if not has_comma:
                raise _invalid(f", or {closing}", self._left())
            item = self.take_value(depth + 1)
            if opening == "{":
                if type(item) is not str or not self._skip(":"):
                    raise _invalid("a string and a colon", self._left())
                item = item, self.take_value(depth + 1)
            items.append(item)
            has_comma = self._skip(",")
        if opening == "(":
            return items[0] if len(items) == 1 and not has_comma else tuple(items)
        return dict(items) if opening == "{" else items

    def _skip(self, mark: str) -> bool:
        """Skip a mark, if it is the next token."""
        if self._next == len(self._tokens) or self._tokens[self._next][0] != mark:
            return False
        self._next += 1
        return True

    def require_end(self) -> None:
        """Raise an error if there is anything but spaces after the last value."""
        if self._left():
            raise _invalid("nothing after the dict", self._left())


_FORM = re.compile(r"[<>|=]?[?a-zA-Z]([0-9]{0,10})(?:\[[0-9]{0,9}[a-zA-Z]{1,2}\])?")

_MAX_SIZE = 2**31 - 1
"""numpy counts the bytes of an element in a C int; old versions take a larger size modulo 2**32."""


def _require_forms(descr: object) -> None:
    """Raise a TypeError unless `descr` is the form of a number or string, or a list of fields."""
    if type(descr) is list:
        for field in descr:
            if type(field) is not tuple or len(field) not in (2, 3):
                raise TypeError("a field has a name, a form and perhaps a shape")
            _require_forms(field[1])
        return
    match = _FORM.fullmatch(descr) if type(descr) is str else None
    if match is None or int(match[1] or 0) > _MAX_SIZE:
        raise TypeError("neither a form such as '<f4' nor a list of fields")


def _make_dtype(descr: Any) -> np.dtype[Any]:
    """Return the dtype of a header.

    Raises:
        UnsupportedError: numpy has no such dtype, or not on this machine.
    """
    if descr in ("<f1", ">f1", "|f1"):
        import ml_dtypes  # imported only for arrays of this type

        float8: np.dtype[Any] = np.dtype(ml_dtypes.float8_e5m2)
        return float8
    try:
        _require_forms(descr)
        dtype: np.dtype[Any] = np.lib.format.descr_to_dtype(descr)
    except Exception as error:  # of any class: numpy checks the parts in many places
        raise UnsupportedError(
            "numpy has no such dtype",
            expected="a dtype of numpy",
            found=f"{str(descr)[:80]} ({error})",
        ) from None
    return dtype


def _invalid(expected: str, found: object) -> CorruptCheckpointError:
    """Return the error for a header that is not as it has to be."""
    return CorruptCheckpointError(
        "the header of this array is not valid", expected=expected, found=repr(found)
    )
