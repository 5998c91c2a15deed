r"""Zip archives: the list of their members, and a member as a source.

Layout, integers little-endian; the last three parts are read first::

    for each member:
    local header      b"PK\x03\x04", version (2 bytes), flags (2), method (2), time and date (4),
                      CRC-32 (4), stored size (4), size (4), length of the name (2), of the extra
                      fields (2); the name; the extra fields
    the stored bytes; a data descriptor, if bit 3 of the flags is set

    directory, for each member:
    entry             b"PK\x01\x02", versions (2, 2), flags (2), method (2), time and date (4),
                      CRC-32 (4), stored size (4), size (4), lengths of the name (2), of the extra
                      fields (2), of the comment (2), number of the disk (2), attributes (2, 4),
                      position of the local header (4); the name; the extra fields; the comment

    zip64 end record  b"PK\x06\x06", size of the rest (8), versions (2, 2), number of this disk
                      (4), disk of the directory (4), number of entries on this disk (8), of all
                      (8), size of the directory (8), position of the directory (8)
    zip64 locator     b"PK\x06\x07", disk (4), position of the zip64 end record (8), disks (4)
    end record        b"PK\x05\x06", number of this disk (2), disk of the directory (2), number of
                      entries on this disk (2), of all (2), size of the directory (4), position of
                      the directory (4), length of the comment (2); the comment

A size or position of ffffffff is in the zip64 extra field, number 1, instead.  Sizes and checksums
are those of the directory; the local header only tells where the stored bytes begin.

Python's `zipfile` is not used: it reads each local header by a request of its own, its errors are
of many classes and have no position, and it accepts members that share their name or their bytes.

Source: APPNOTE.TXT of PKWARE, version 6.3.10.
"""

from __future__ import annotations

import stat
import struct
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from ckptparse.errors import (
    CheckpointError,
    CorruptCheckpointError,
    NotACheckpointError,
    UnsupportedError,
    located,
)
from ckptparse.limits import MAX_FREE_INFLATED_INDEX_NBYTES, MAX_INFLATED_INDEX_RATIO
from ckptparse.sources.base import Source, require_dense
from ckptparse.sources.inflated import RAW, InflatedSource
from ckptparse.sources.part import PartSource
from ckptparse.sources.ranges import PrefetchedSource

STORED = 0
DEFLATED = 8

_LOCAL = struct.Struct("<4s5H3L2H")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_FIELD = struct.Struct("<2H")

_LOCAL_MAGIC = b"PK\x03\x04"
_ENTRY_MAGIC = b"PK\x01\x02"
_END_MAGIC = b"PK\x05\x06"
_LOCATOR_MAGIC = b"PK\x06\x07"
_END64_MAGIC = b"PK\x06\x06"

_MOST_COMMENT_NBYTES = 0xFFFF
_IN_ZIP64 = 0xFFFFFFFF
_ZIP64_FIELD = 1

_ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13
_PATCH = 1 << 5
_UTF8 = 1 << 11
_DISK_IN_ZIP64 = 0xFFFF
_SLASH = ord("/")

_UNIX = 3
"""Number of the system whose attributes contain the mode of a file."""


Problem = tuple[type[CheckpointError], str]
"""The class and the text of an error."""


class ZipMember(NamedTuple):
    """A file in a zip archive.

    Attributes:
        name: its name, as in the archive.
        method: 0 if it is stored as it is, 8 if it is deflated.
        crc32: CRC-32 of its bytes.
        stored_nbytes: the number of bytes that are stored for it.
        nbytes: its size.
        offset: position of the stored bytes in the archive.
        problem: why it cannot be opened; None if it can.
    """

    name: str
    method: int
    crc32: int
    stored_nbytes: int
    nbytes: int
    offset: int
    problem: Problem | None = None


class _Entry(NamedTuple):
    """An entry of the directory.

    Attributes:
        raw_name: the name as bytes.
        header: position of the local header.
        member: the member; its offset is not known yet.
    """

    raw_name: bytes
    header: int
    member: ZipMember

    @property
    def header_stop(self) -> int:
        """Position after the name in the local header."""
        return self.header + _LOCAL.size + len(self.raw_name)


class _Directory(NamedTuple):
    """The bytes of the directory, their position, and the number of its entries."""

    start: int
    contents: bytes
    num_entries: int


def read_zip(source: Source) -> list[ZipMember]:
    """Return the files in a zip archive, in the order of its directory.

    Directories are left out.  A member that cannot be opened has a `problem`: it is encrypted,
    compressed by another method than deflate, a symbolic link, damaged, its name contains a NUL, or
    it shares its name or its bytes with another member.

    Memory: about 400 bytes for each member, in addition to the directory.  Over a URL, this takes
    one request for the end of the file, one more if the directory is larger than 256 KiB, and those
    for the local headers, which are requested together.

    Args:
        source: the archive.

    Raises:
        NotACheckpointError: the file is not a zip archive.
        CorruptCheckpointError: the directory is damaged.
        UnsupportedError: the archive has several parts, or is compressed and has many members.
        UnreadableError: the operating system or the storage fails.
        ValueError: the source is closed.
    """
    with located(file=source.name):
        directory = _read_directory(source)
        return _locate_members(source, list(_read_entries(directory)), directory.start)


def open_member(source: Source, member: ZipMember, name: str | None = None) -> Source:
    """Return the bytes of a member as a source.

    Closing it leaves the archive open.  The CRC-32 of a deflated member is compared when its last
    byte is inflated; that of a stored member is left to the caller.

    Args:
        source: the archive.
        member: one that `read_zip` returned.
        name: path of the member, for messages; None for its name after the path of the archive.

    Raises:
        UnsupportedError: the member is of a kind that is not supported.
        CorruptCheckpointError: the member is damaged.
    """
    if name is None:
        name = f"{source.name}/{member.name}"
    if member.problem is not None:
        error_class, message = member.problem
        raise error_class(message, file=name)
    stop = member.offset + member.stored_nbytes
    if member.method == STORED:
        return PartSource(source, member.offset, stop, name)
    return InflatedSource(
        source, member.offset, stop, member.nbytes, name, wbits=RAW, crc32=member.crc32
    )


# The directory


class _Tail:
    """The end of a file in memory; what precedes it is read at need."""

    def __init__(self, source: Source, nbytes: int) -> None:
        self.start = max(source.nbytes - nbytes, 0)
        self.contents = bytes(source.read(self.start, source.nbytes))
        self._source = source

    def read(self, start: int, stop: int) -> bytes:
        if start >= self.start:
            return self.contents[start - self.start : stop - self.start]
        return bytes(self._source.read(start, stop))


def _read_directory(source: Source) -> _Directory:
    """Read the directory, which the end record refers to."""
    least = _END.size + _LOCATOR.size + _END64.size
    tail = _Tail(source, max(least, source.request_nbytes))
    at = _find_end(tail)
    if at is None:
        tail = _Tail(source, max(least + _MOST_COMMENT_NBYTES, source.request_nbytes))
        at = _find_end(tail)
    if at is None:
        raise NotACheckpointError(
            "this is not a complete zip archive",
            expected=f"the end record of a zip archive, {_END_MAGIC.hex(' ')}, at the end",
            found="none",
        )
    record = _END.unpack(tail.read(at, at + _END.size))
    _, disk, first_disk, _, num_entries, nbytes, start, _ = record
    stop = at
    locator_at = at - _LOCATOR.size
    locator = tail.read(locator_at, at) if locator_at >= 0 else b""
    if locator.startswith(_LOCATOR_MAGIC):
        _, _, stop, _ = _LOCATOR.unpack(locator)
        if not 0 <= stop <= locator_at - _END64.size:
            raise _damaged("the zip64 end record is not in the archive", locator_at, found=stop)
        large = _END64.unpack(tail.read(stop, stop + _END64.size))
        if large[0] != _END64_MAGIC:
            raise _damaged("there is no zip64 end record here", stop, found=large[0].hex(" "))
        disk, first_disk, _, num_entries, nbytes, start = large[4:]
    if disk or first_disk:
        raise UnsupportedError(
            "this is one part of a zip archive of several parts", offset=at, found=f"part {disk}"
        )
    if start + nbytes != stop:
        raise _damaged(
            "the directory does not end where its size says",
            at,
            expected=f"{nbytes} bytes from byte {start} up to byte {stop}",
            found=f"their end at byte {start + nbytes}",
        )
    require_dense(
        source,
        nbytes,
        "the directory of this zip archive",
        ratio=MAX_INFLATED_INDEX_RATIO,
        free_nbytes=MAX_FREE_INFLATED_INDEX_NBYTES,
    )
    return _Directory(start, tail.read(start, stop), num_entries)


def _find_end(tail: _Tail) -> int | None:
    """Return the position of the end record, whose comment is the rest of the file."""
    contents = tail.contents
    at = len(contents) - _END.size + 1
    while at > 0:
        at = contents.rfind(_END_MAGIC, 0, at + len(_END_MAGIC) - 1)
        if at < 0:
            return None
        comment_nbytes = int.from_bytes(contents[at + _END.size - 2 : at + _END.size], "little")
        if at + _END.size + comment_nbytes == len(contents):
            return tail.start + at
    return None


def _read_entries(directory: _Directory) -> Iterator[_Entry]:
    """Yield the entries of the directory that are files."""
    contents = directory.contents
    at = 0
    count = 0
    while at < len(contents):
        fixed = contents[at : at + _ENTRY.size]
        if len(fixed) < _ENTRY.size or not fixed.startswith(_ENTRY_MAGIC):
            raise _damaged(
                "there is no entry of the directory here",
                directory.start + at,
                expected=_ENTRY_MAGIC.hex(" "),
                found=fixed[:4].hex(" "),
            )
        fields = _ENTRY.unpack(fixed)
        name_nbytes, extra_nbytes, comment_nbytes = fields[10:13]
        name_at = at + _ENTRY.size
        extra_at = name_at + name_nbytes
        comment_at = extra_at + extra_nbytes
        if comment_at + comment_nbytes > len(contents):
            raise _damaged("this entry is longer than the directory", directory.start + at)
        at = comment_at + comment_nbytes
        count += 1
        if contents[extra_at - 1] != _SLASH or not name_nbytes:  # else a directory
            yield _parse_entry(fields, contents[name_at:extra_at], contents[extra_at:comment_at])
    if count != directory.num_entries:
        raise _damaged(
            "the directory does not have as many entries as the end record says",
            directory.start,
            expected=f"{directory.num_entries} entries",
            found=count,
        )


def _parse_entry(fields: tuple[Any, ...], raw_name: bytes, extra: bytes) -> _Entry:
    """Return an entry from the values of its fields, its name, and its extra fields."""
    _, made_by, _, flags, method, _, _, crc32, stored_nbytes, nbytes = fields[:10]
    disk, _, attributes, header = fields[13:]
    problem: Problem | None = None
    large = _large_values(extra, (nbytes, stored_nbytes, header))
    if large is not None:
        nbytes, stored_nbytes, header = large
    if b"\0" in raw_name:
        problem = CorruptCheckpointError, "the name of this member contains a NUL"
    elif large is None:
        problem = CorruptCheckpointError, "the sizes of this member are missing"
    elif flags & _ENCRYPTED:
        problem = UnsupportedError, "this member is encrypted"
    elif method not in (STORED, DEFLATED) or flags & _PATCH:
        problem = UnsupportedError, f"this member is compressed by method {method}, not by deflate"
    elif disk not in (0, _DISK_IN_ZIP64):
        problem = UnsupportedError, "this member is in another part of the archive"
    elif made_by >> 8 == _UNIX and stat.S_ISLNK(attributes >> 16):
        problem = UnsupportedError, "this member is a symbolic link, which is not followed"
    elif method == STORED and nbytes != stored_nbytes:
        problem = CorruptCheckpointError, "the two sizes of this stored member differ"
    name = raw_name.decode("utf-8" if flags & _UTF8 else "cp437", "surrogateescape")
    member = ZipMember(name, method, crc32, stored_nbytes, nbytes, 0, problem)
    return _Entry(raw_name, header, member)


def _large_values(extra: bytes, values: tuple[int, int, int]) -> tuple[int, int, int] | None:
    """Return the values of an entry, those of ffffffff from its zip64 extra field.

    Args:
        extra: the extra fields of the entry.
        values: its size, stored size and position, as they are in the entry.

    Returns:
        The values; None if one is missing.
    """
    if _IN_ZIP64 not in values:
        return values
    at = 0
    while at + _FIELD.size <= len(extra):
        number, nbytes = _FIELD.unpack_from(extra, at)
        at += _FIELD.size
        if number == _ZIP64_FIELD:
            field = extra[at : at + nbytes]
            large = iter(
                int.from_bytes(field[i : i + 8], "little") for i in range(0, len(field) - 7, 8)
            )
            found = [next(large, None) if value == _IN_ZIP64 else value for value in values]
            size, stored_size, header = found
            if size is None or stored_size is None or header is None:
                return None
            return size, stored_size, header
        at += nbytes
    return None


# The local headers


def _locate_members(source: Source, entries: list[_Entry], stop: int) -> list[ZipMember]:
    """Return the members with the positions of their bytes, from the local headers.

    Args:
        source: the archive.
        entries: the entries of the directory.
        stop: position of the directory; the members end before it.
    """
    wanted = [each for each in entries if not each.member.problem and each.header_stop <= stop]
    headers = PrefetchedSource(source, ((each.header, each.header_stop) for each in wanted))
    members = [_locate_member(headers, entry, stop) for entry in entries]
    counts = Counter(member.name for member in members)
    spans = sorted(
        (entry.header, member.offset + member.stored_nbytes, i)
        for i, (entry, member) in enumerate(zip(entries, members))
        if not member.problem
    )
    for i in _find_overlapping(spans):
        problem = CorruptCheckpointError, "another member of the archive has the same bytes"
        members[i] = members[i]._replace(problem=problem)
    for i, member in enumerate(members):
        if counts[member.name] > 1 and not member.problem:
            problem = CorruptCheckpointError, "two members of the archive have this name"
            members[i] = member._replace(problem=problem)
    return members


def _locate_member(headers: Source, entry: _Entry, stop: int) -> ZipMember:
    """Return a member with the position of its bytes, or with what is wrong with it."""
    member = entry.member
    if member.problem:
        return member
    damage = f"there is no local header of this member at byte {entry.header}"
    offset = 0
    if entry.header_stop <= stop:
        header = bytes(headers.read(entry.header, entry.header_stop))
        *_, name_nbytes, extra_nbytes = _LOCAL.unpack_from(header)
        if header.startswith(_LOCAL_MAGIC):
            offset = entry.header_stop + extra_nbytes
            damage = ""
            if name_nbytes != len(entry.raw_name) or not header.endswith(entry.raw_name):
                damage = f"the local header at byte {entry.header} has another name"
            elif offset + member.stored_nbytes > stop:
                damage = (
                    f"the {member.stored_nbytes} bytes of this member at byte {offset} reach into"
                    " the directory of the archive"
                )
    return member._replace(
        offset=offset, problem=(CorruptCheckpointError, damage) if damage else None
    )


def _find_overlapping(spans: list[tuple[int, int, int]]) -> set[int]:
    """Return the numbers of the spans that overlap another one.

    Args:
        spans: start, stop and number of each span, sorted.
    """
    overlapping = set()
    furthest, furthest_i = -1, -1
    for start, stop, i in spans:
        if start < furthest:
            overlapping |= {i, furthest_i}
        if stop > furthest:
            furthest, furthest_i = stop, i
    return overlapping


def _damaged(
    message: str, offset: int, *, expected: object = None, found: object = None
) -> CorruptCheckpointError:
    """Return the error for a damaged directory."""
    return CorruptCheckpointError(message, offset=offset, expected=expected, found=found)
