r"""Tar archives: the list of their members.

Layout, in blocks of 512 bytes::

    for each member   header: name (100 bytes), mode (8), user (8), group (8), size (12), time (12),
                      checksum (8), type (1), name of a link's target (100), magic (6: "ustar\0", or
                      "ustar " of GNU), version (2), ...; of POSIX, at 345: what precedes the name
                      (155 bytes)
                      its bytes, filled up to a whole block
    the end           two blocks of zeros

Numbers are octal digits; if the first bit is set, the rest is one big-endian integer.  The checksum
is the sum of the bytes of the header, with blanks in place of the checksum.  Types:

========================  ======================================================================
``0``, NUL, ``7``         a file
``1``, ``2``              a link, which has no bytes; it is not followed
``3``, ``4``, ``6``       a device or FIFO
``5``                     a directory; it is left out
``L``                     GNU: its bytes are the name of the next member
``K``                     GNU: its bytes are the target of the next link
``x``                     POSIX: its bytes are fields of the next member: "LENGTH NAME=VALUE\n" each
``g``                     the same for all members that follow
``S``                     GNU: a file with holes; not supported
========================  ======================================================================

Python's `tarfile` is not used: it believes the sizes of extended headers, calls itself for each
header of a chain of them, and its errors have no position.

Sources: POSIX.1-2008, "pax Interchange Format"; GNU tar's manual, "Basic Tar Format", "GNU
Extensions to the Archive Format" and "Storing Sparse Files".
"""

from __future__ import annotations

from typing import NamedTuple

from ckptparse.errors import (
    CheckpointError,
    CorruptCheckpointError,
    NotACheckpointError,
    TruncatedError,
    UnsupportedError,
    located,
)
from ckptparse.limits import (
    MAX_EXTENDED_HEADER_NBYTES,
    MAX_FREE_MEMBERS,
    MAX_MEMBER_NAMES_RATIO,
    MIN_MEMBER_NBYTES,
)
from ckptparse.sources.base import Source

BLOCK = 512

MAGIC_AT = 257
MAGIC = b"ustar"

_FILES = {b"0", b"\0", b"7"}
_LINKS = {b"1", b"2"}
_DEVICES = {b"3", b"4", b"6"}
_DIRECTORY = b"5"
_LONG_NAME = b"L"
_LONG_TARGET = b"K"
_FIELDS = b"x"
_GLOBAL_FIELDS = b"g"
_EXTENDED = {_LONG_NAME, _LONG_TARGET, _FIELDS, _GLOBAL_FIELDS}
_SPARSE = b"S"

Problem = tuple[type[CheckpointError], str]
"""The class and the text of an error."""


class TarMember(NamedTuple):
    """A file in a tar archive.

    Attributes:
        name: its name, as in the archive.
        nbytes: its size.
        offset: position of its bytes in the archive.
        problem: why it cannot be opened; None if it can.
    """

    name: str
    nbytes: int
    offset: int
    problem: Problem | None = None


def read_tar(source: Source, real_nbytes: int, ahead_nbytes: int = BLOCK) -> list[TarMember]:
    """Return the files, links and devices in a tar archive, in its order.

    The headers are read one after the other, in order.  Memory: about 300 bytes for each member.

    Args:
        source: the archive; if it is compressed, the inflated one.
        real_nbytes: the size of the file, from which the limits follow; if it is compressed, the
            compressed size.
        ahead_nbytes: the number of bytes to read for a header.  If the next headers are among them,
            they take no other read.

    Raises:
        NotACheckpointError: the file is not a tar archive.
        CorruptCheckpointError: it is damaged, or exceeds a limit.
        TruncatedError: it ends before its end mark.
        UnreadableError: the operating system or the storage fails.
        ValueError: the source is closed.
    """
    with located(file=source.name):
        return _Reading(source, real_nbytes, ahead_nbytes).members()


class _Reading:
    """The headers of an archive, read one after the other."""

    def __init__(self, source: Source, real_nbytes: int, ahead_nbytes: int) -> None:
        self._source = source
        self._ahead_nbytes = ahead_nbytes
        self._headers_left = MAX_FREE_MEMBERS + real_nbytes // MIN_MEMBER_NBYTES
        self._letters_left = MAX_EXTENDED_HEADER_NBYTES + MAX_MEMBER_NAMES_RATIO * real_nbytes
        self._held: tuple[int, bytes] = 0, b""

    def members(self) -> list[TarMember]:
        """Return all members, in order."""
        members: list[TarMember] = []
        at = 0
        long_name: bytes | None = None
        fields: dict[bytes, bytes] = {}
        while True:
            header = self._header(at)
            if not any(header):
                return members
            kind = header[156:157]
            nbytes = _number(header[124:136], at)
            data_at = at + BLOCK
            if kind in _EXTENDED:
                contents = self._contents(data_at, nbytes)
                if kind == _LONG_NAME:
                    long_name = contents.partition(b"\0")[0]
                elif kind == _FIELDS:
                    fields.update(_parse_fields(contents, data_at))
                elif kind == _GLOBAL_FIELDS:
                    _require_no_effect(_parse_fields(contents, data_at), data_at)
                at = data_at + _whole_blocks(nbytes)
                continue
            is_more = kind == _SPARSE and header[482]
            while is_more:  # the places of the holes go on
                is_more = self._block(data_at)[504]
                data_at += BLOCK
                self._count(data_at)
            if b"size" in fields:
                nbytes = _decimal(fields[b"size"], at)
            if kind in _LINKS or kind in _DEVICES or kind == _DIRECTORY:
                nbytes = 0
            name = fields.get(b"GNU.sparse.name", fields.get(b"path", long_name))
            if name is None:
                name = _short_name(header)
            self._letters_left -= len(name)
            if self._letters_left < 0:
                raise _too_much("the names in this archive are too long for its size", at)
            if kind != _DIRECTORY and not name.endswith(b"/"):
                problem = _find_problem(kind, fields)
                decoded = name.decode("utf-8", "surrogateescape")
                members.append(TarMember(decoded, nbytes, data_at, problem))
            long_name, fields = None, {}
            at = data_at + _whole_blocks(nbytes)

    def _block(self, at: int) -> bytes:
        """Return a block."""
        first, held = self._held
        if not (first <= at and at + BLOCK <= first + len(held)):
            stop = min(at + self._ahead_nbytes, max(self._source.nbytes, at + BLOCK))
            try:
                first, held = self._held = at, bytes(self._source.read(at, stop))
            except TruncatedError as error:
                if stop <= self._source.nbytes:  # the compressed data, or the file around, ends
                    raise
                raise TruncatedError(
                    "this archive is cut off",
                    offset=at,
                    expected="the header of a file, or a block of zeros at the end",
                    found=f"an archive of {self._source.nbytes} bytes",
                ) from error
        return held[at - first : at - first + BLOCK]

    def _header(self, at: int) -> bytes:
        """Return a header, or the block of zeros at the end."""
        block = self._block(at)
        if any(block):
            self._count(at)
            stored = block[148:156]
            total = sum(block) - sum(stored) + 8 * ord(" ")
            if not _is_number(stored) or _number(stored, at) != total:
                error_class = CorruptCheckpointError if at else NotACheckpointError
                raise error_class(
                    "the checksum of this header is wrong" if at else "this is not a tar archive",
                    offset=at,
                    expected=f"the checksum {total:o}",
                    found=stored,
                )
        return block

    def _count(self, at: int) -> None:
        """Count a header; raises CorruptCheckpointError if there are too many."""
        self._headers_left -= 1
        if self._headers_left < 0:
            raise _too_much("this archive has too many headers for its size", at)

    def _contents(self, at: int, nbytes: int) -> bytes:
        """Return the bytes of an extended header."""
        if nbytes > MAX_EXTENDED_HEADER_NBYTES:
            raise CorruptCheckpointError(
                "this extended header is too large",
                offset=at,
                expected=f"at most {MAX_EXTENDED_HEADER_NBYTES} bytes",
                found=f"{nbytes} bytes",
            )
        return bytes(self._source.read(at, at + nbytes))


def _find_problem(kind: bytes, fields: dict[bytes, bytes]) -> Problem | None:
    """Return why a member cannot be opened; None if it can."""
    if kind in _LINKS:
        return UnsupportedError, "this member is a link, which is not followed"
    if kind in _DEVICES:
        return NotACheckpointError, "this member is a FIFO or device"
    if kind == _SPARSE or any(field.startswith(b"GNU.sparse.") for field in fields):
        return UnsupportedError, "this member is a sparse file; unpack the archive"
    if kind not in _FILES:
        return UnsupportedError, f"this member is of the unknown type {kind!r}"
    return None


def _short_name(header: bytes) -> bytes:
    """Return the name in a header."""
    name = header[:100].partition(b"\0")[0]
    if header[MAGIC_AT : MAGIC_AT + 6] == MAGIC + b"\0":
        before = header[345:500].partition(b"\0")[0]
        if before:
            return before + b"/" + name
    return name


def _number(field: bytes, at: int) -> int:
    """Return the number in a field of a header.

    Args:
        field: the bytes of the field.
        at: position of the header, for the error.
    """
    if field[0] == _BINARY:
        return int.from_bytes(field[1:], "big")
    if not _is_number(field):
        raise CorruptCheckpointError(
            "a number in this header is invalid", offset=at, expected="octal digits", found=field
        )
    return int(_digits(field) or b"0", 8)


_BINARY = 0x80


def _digits(field: bytes) -> bytes:
    """Return the digits of a number in a header."""
    return field.partition(b"\0")[0].strip(b" ")


def _is_number(field: bytes) -> bool:
    """Return whether a field of a header is a number."""
    return field[0] == _BINARY or not _digits(field).strip(b"01234567")


def _decimal(digits: bytes, at: int) -> int:
    """Return a decimal number of an extended header."""
    if not digits.isdigit() or len(digits) > _MOST_DIGITS:
        raise CorruptCheckpointError(
            "a number in this extended header is invalid",
            offset=at,
            expected="decimal digits",
            found=digits,
        )
    return int(digits)


_MOST_DIGITS = 20


def _parse_fields(contents: bytes, at: int) -> dict[bytes, bytes]:
    """Return the fields of an extended header of POSIX."""
    fields = {}
    start = 0
    while start < len(contents):
        blank = contents.find(b" ", start, start + _MOST_DIGITS)
        stop = start + _decimal(contents[start:blank], at) if blank > start else 0
        field, equals, value = contents[blank + 1 : stop - 1].partition(b"=")
        if stop > len(contents) or not equals or contents[stop - 1 : stop] != b"\n":
            raise CorruptCheckpointError(
                "this extended header is damaged",
                offset=at,
                expected="fields LENGTH NAME=VALUE",
                found=contents[start : start + _MOST_DIGITS],
            )
        fields[field] = value
        start = stop
    return fields


def _require_no_effect(fields: dict[bytes, bytes], at: int) -> None:
    """Raise UnsupportedError if fields for all members change what is read."""
    for field in fields:
        if field in (b"path", b"size") or field.startswith(b"GNU.sparse."):
            raise UnsupportedError(
                "this archive gives all of its members one name or size", offset=at, found=field
            )


def _whole_blocks(nbytes: int) -> int:
    """Return the size of the blocks that contain a number of bytes."""
    return -(-nbytes // BLOCK) * BLOCK


def _too_much(message: str, at: int) -> CorruptCheckpointError:
    """Return the error for an archive that exceeds a limit."""
    return CorruptCheckpointError(message, offset=at)
