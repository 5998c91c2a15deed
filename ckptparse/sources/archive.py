"""Archives as file systems: list and open the files in a tar or zip archive, without unpacking it.

=============================  ==================================================================
archive                        opening it reads
=============================  ==================================================================
zip                            the directory at its end, and the header of each member
tar                            the header of each member
tar.gz                         all bytes, once: they are inflated, and snapshots are made
=============================  ==================================================================

A member that is stored as it is gives a `PartSource`: views, if the archive is mapped.  One that is
compressed gives copies; see `InflatedSource`.  The path of a member is the path of the archive, and
the name of the member: ``dir/bert.zip/uncased/bert_model.ckpt.index``.

Nothing is written, and no name leads out of the archive.  Members are not reachable if their name
is absolute, contains ``..``, a backslash, a NUL or a drive letter, if it has too many parts, if two
members have the same name, or if it is the name of a file and of a directory.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from weakref import WeakValueDictionary

from ckptparse.errors import CheckpointError, NotACheckpointError, located
from ckptparse.limits import MAX_ARCHIVE_DEPTH
from ckptparse.sources import tar
from ckptparse.sources.base import Files, Source
from ckptparse.sources.inflated import GZIP, RAW, InflatedSource
from ckptparse.sources.part import PartSource
from ckptparse.sources.zip import STORED, read_zip

_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_GZIP_MAGIC = b"\x1f\x8b"

_BAD_NAME = re.compile(r"/|[A-Za-z]:|.*[\\\0]", re.DOTALL)

_KEPT_INFLATED = 2
"""Compressed members that stay open after they were closed, so that their snapshots are not lost:
a file is often opened to see what it is, and then again."""


class Member(NamedTuple):
    """A file in an archive.

    Attributes:
        nbytes: its size.
        start: position of its stored bytes.
        stop: position after them.
        is_deflated: whether they are compressed, each member for itself.
        crc32: CRC-32 of its bytes; None if unknown.
        problem: why it cannot be opened; None if it can.
    """

    nbytes: int
    start: int
    stop: int
    is_deflated: bool
    crc32: int | None
    problem: tuple[type[CheckpointError], str] | None


def open_archive(files: Files, path: str) -> ArchiveFiles:
    """Open an archive.

    Args:
        files: the file system of the archive.
        path: path of the archive.

    Raises:
        FileNotFoundError: no such file.
        NotACheckpointError: the file is no archive, or a gzip file of something else.
        CorruptCheckpointError: the archive is damaged, or exceeds a limit.
        UnsupportedError: it is one part of an archive in several parts.
        UnreadableError: the operating system or the storage fails.
    """
    source = files.open(path)
    head = bytes(source.read(0, min(source.nbytes, 4)))
    named: Iterable[tuple[str, Member]]
    if head.startswith(_ZIP_MAGIC):
        named = [
            (
                each.name,
                Member(
                    each.nbytes,
                    each.offset,
                    each.offset + each.stored_nbytes,
                    each.method != STORED,
                    each.crc32,
                    each.problem,
                ),
            )
            for each in read_zip(source)
        ]
        return ArchiveFiles(files, path, source, named, is_zip=True)
    stored_nbytes = source.nbytes
    ahead_nbytes = max(tar.BLOCK, source.request_nbytes)
    inflated = None
    if head.startswith(_GZIP_MAGIC):
        inflated = InflatedSource(source, 0, source.nbytes, None, path, wbits=GZIP)
        source, ahead_nbytes = inflated, tar.BLOCK
    try:
        members = tar.read_tar(source, stored_nbytes, ahead_nbytes)
    except NotACheckpointError as error:
        if inflated is not None:
            error.args = ("this is a gzip file of something else than a tar archive: unpack it",)
        raise
    if inflated is not None:
        with located(file=path):
            inflated.read_to_end()
    named = [
        (
            each.name,
            Member(each.nbytes, each.offset, each.offset + each.nbytes, False, None, each.problem),
        )
        for each in members
    ]
    return ArchiveFiles(files, path, source, named, is_zip=False)


class ArchiveFiles:
    """The files in an archive; see `Files`.

    It is confined to the archive in any case.

    Attributes:
        path: path of the archive.
        is_zip: whether it is a zip archive.
        unreachable: names of members that are not reachable, in the order of the archive.
    """

    def __init__(
        self,
        outer: Files,
        path: str,
        source: Source,
        named: Iterable[tuple[str, Member]],
        *,
        is_zip: bool,
    ) -> None:
        """
        Args:
            outer: the file system of the archive.
            path: path of the archive.
            source: the archive; if it is compressed as a whole, the inflated one.
            named: its members and their names, in any order.
            is_zip: whether it is a zip archive.
        """
        self.path = path
        self.unreachable: list[str] = []
        self._outer = outer
        self._source = source
        found: list[tuple[str, str, Member]] = []
        for name, member in named:
            reachable = _normalize(name)
            if reachable is None:
                self.unreachable.append(name)
            else:
                found.append((reachable, name, member))
        counts = Counter(reachable for reachable, _, _ in found)
        names = sorted(counts)
        hidden = {name for name, count in counts.items() if count > 1}
        for name in names:
            if name not in hidden:
                first, last = _below(names, name)
                if first < last:  # a file and a directory
                    hidden.add(name)
                    hidden.update(names[first:last])
        self.unreachable += [name for reachable, name, _ in found if reachable in hidden]
        self._members = {
            reachable: member for reachable, _, member in found if reachable not in hidden
        }
        self._names = sorted(self._members)
        self._inflated: WeakValueDictionary[str, InflatedSource] = WeakValueDictionary()
        self._kept: deque[InflatedSource] = deque(maxlen=_KEPT_INFLATED)
        self.mapped = source.mapped
        self.is_zip = is_zip

    @property
    def names(self) -> list[str]:
        """The names of all reachable members, sorted."""
        return self._names

    def is_root(self, path: str) -> bool:
        """Return whether a path is that of the archive, perhaps with a slash at the end."""
        return self._inside(path) == ""

    def expect(self, prefix: str) -> None:
        """Set `mapped` to what holds for the files whose path begins with `prefix`."""
        inside = self._inside(prefix)
        if inside is not None and self._source.mapped:
            first = bisect_left(self._names, inside)
            last = bisect_left(self._names, f"{inside}\U0010ffff")
            self.mapped = not any(
                self._members[name].is_deflated for name in self._names[first:last]
            )

    def within(self, directory: str) -> ArchiveFiles:
        return self

    def allows(self, path: str) -> bool:
        return self._inside(path) is not None

    def is_file(self, path: str) -> bool:
        return self._inside(path) in self._members

    def is_directory(self, path: str) -> bool:
        inside = self._inside(path)
        if inside is None:
            return False
        first, last = _below(self._names, inside)
        return first < last or not inside

    def list_names(self, directory: str) -> list[str]:
        return [name for name, _ in self._list(directory)]

    def list_directories(self, directory: str) -> list[str]:
        return [name for name, is_directory in self._list(directory) if is_directory]

    def _list(self, directory: str) -> Iterator[tuple[str, bool]]:
        """Yield the names in a directory, sorted, and whether they are directories."""
        inside = self._inside(directory)
        if inside is None:
            return
        names = self._names
        at, last = _below(names, inside)
        length = len(inside) + 1 if inside else 0
        found = []
        while at < last:
            child, slash, _ = names[at][length:].partition("/")
            found.append((child, bool(slash)))
            at = _below(names, names[at][: length + len(child)])[1] if slash else at + 1
        yield from sorted(set(found))

    def modified(self, path: str) -> float:
        return 0.0

    def version(self, path: str) -> tuple[tuple[str, object], ...]:
        return self._outer.version(self.path)

    def join(self, directory: str, name: str) -> str:
        return self._outer.join(directory, name)

    def split(self, path: str) -> tuple[str, str]:
        return self._outer.split(path)

    def append(self, path: str, suffix: str) -> str:
        return self._outer.append(path, suffix)

    def _inside(self, path: str) -> str | None:
        """Return the name in the archive that a path leads to; None if it leads out.

        "" for the archive itself.
        """
        parts: list[str] = []
        while path != self.path:
            parent, part = self._outer.split(path)
            if parent == path or len(parent) < len(self.path) or part == "..":
                return None
            if part not in ("", "."):
                parts.append(part)
            path = parent
        return "/".join(reversed(parts))

    def open(self, path: str, *, mapped: bool = True, kept: bool = True) -> Source:
        """Open a member, or a zip archive itself; see `Files.open`.

        Raises:
            CheckpointError: also if the member is damaged or of a kind that is not supported.
        """
        inside = self._inside(path)
        if inside == "" and self.is_zip:
            whole = self._source
            return PartSource(whole, 0, whole.nbytes, self.path, mapped=mapped and kept)
        member = None if inside is None else self._members.get(inside)
        if inside is None or member is None:
            if self.is_directory(path):
                raise NotACheckpointError(
                    "this is not a regular file",
                    file=path,
                    expected="a regular file",
                    found="a directory",
                )
            raise FileNotFoundError(path)
        if member.problem is not None:
            error_class, message = member.problem
            raise error_class(message, file=path)
        if not member.is_deflated:
            return PartSource(self._source, member.start, member.stop, path, mapped=mapped and kept)
        inflated = self._inflated.get(inside)
        if inflated is None:
            inflated = InflatedSource(
                self._source,
                member.start,
                member.stop,
                member.nbytes,
                path,
                wbits=RAW,
                crc32=member.crc32,
            )
            inflated = self._inflated.setdefault(inside, inflated)
        if inflated not in self._kept:
            self._kept.append(inflated)
        return PartSource(inflated, 0, inflated.nbytes, path)

    def close(self) -> None:
        """Close the archive; nothing can be opened or read any more."""
        self._kept.clear()
        self._source.close()


def _normalize(name: str) -> str | None:
    """Return the name of a member without needless parts; None if it is not reachable."""
    if _BAD_NAME.match(name):
        return None
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if not 0 < len(parts) <= MAX_ARCHIVE_DEPTH or ".." in parts:
        return None
    return "/".join(parts)


def _below(names: list[str], directory: str) -> tuple[int, int]:
    """Return the first and last position of the names in a directory, among sorted names."""
    if not directory:
        return 0, len(names)
    after_slash = chr(ord("/") + 1)
    return bisect_left(names, f"{directory}/"), bisect_left(names, f"{directory}{after_slash}")
