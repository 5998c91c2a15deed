"""Files at URLs, read through fsspec (extra `remote`).

fsspec chains file systems with "::".  Only one part of such a URL is the path of a file, here
called its place::

    zip://dir/m.ckpt::simplecache::s3://bucket/file.zip      head ""
    ------------------                                       place "zip://dir/m.ckpt"

    simplecache::s3://bucket/m.ckpt                          head "simplecache::"
                 ------------------                          place "s3://bucket/m.ckpt"

Suffixes and names are added to the place; the rest of the URL is left unchanged.

Source: fsspec's documentation, "URL chaining" and "Caching Files Locally".
"""

from __future__ import annotations

import copy
import posixpath
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote

from ckptparse.errors import UnreadableError, UnsupportedError
from ckptparse.sources.base import Source, closed_error, require_inside
from ckptparse.sources.confined import outside_error

try:
    import fsspec
except ImportError as error:
    raise ImportError(
        "URLs need fsspec: pip install 'ckptparse[remote]' (and the package of your storage, such"
        " as gcsfs or s3fs)"
    ) from error


_CACHES = ("simplecache", "filecache", "blockcache", "cached")
"""Protocols of caches, which have no path of their own: the next part of the chain is the place."""


_VERSION_KEYS = (
    "size",
    *("ETag", "etag", "md5Hash", "Content-MD5", "content_md5", "CRC", "generation", "version_id"),
    *("mtime", "modify", "LastModified", "Last-Modified", "last_modified", "updated", "created"),
)
"""Keys of `info` of fsspec's file systems whose values change with the contents of a file."""


class ChainedUrl(NamedTuple):
    """A URL in three parts: what precedes the place, the place, and what follows it."""

    head: str
    place: str
    tail: str

    def with_place(self, place: str) -> str:
        """Return the URL of another place in the same file system."""
        return f"{self.head}{place}{self.tail}"


def split_chain(url: str) -> ChainedUrl:
    """Split a URL around its place; without "::" the whole URL is the place."""
    parts = url.split("::")
    i = 0
    while i + 1 < len(parts) and parts[i].removesuffix("://") in _CACHES:
        i += 1
    place = parts[i]
    if i + 1 < len(parts) and place.isalnum():  # "zip::file.zip" is "zip://::file.zip"
        place += "://"
    return ChainedUrl(
        "".join(f"{part}::" for part in parts[:i]),
        place,
        "".join(f"::{part}" for part in parts[i + 1 :]),
    )


def open_file_system(url: str, storage_options: dict[str, object] | None = None) -> Any:
    """Return fsspec's file system of a URL.

    Raises:
        UnreadableError: there is no such file system, or it cannot be reached.
        ImportError: the package of that file system is not installed.
    """
    try:
        system, _ = fsspec.core.url_to_fs(url, **(storage_options or {}))
    except (ValueError, OSError) as error:
        raise UnreadableError(str(error), file=url) from error
    return system


class RemoteFiles:
    """The file system of a URL; see `Files`."""

    mapped = False

    def __init__(self, url: str, storage_options: dict[str, object]) -> None:
        """
        Args:
            url: any URL of the file system.
            storage_options: options that fsspec passes to it (credentials, endpoint ...).

        Raises:
            UnreadableError: there is no such file system, or it cannot be reached.
            ImportError: the package of that file system is not installed.
        """
        self._directory: str | None = None
        self._system = open_file_system(url, storage_options)

    def within(self, directory: str) -> RemoteFiles:
        """Return the file system confined to one directory; see `Files.within`.

        Redirects that the storage itself follows are not visible here, and not refused.

        Raises:
            UnsupportedError: a `file://` URL, because its symbolic links are not visible here.
        """
        protocols = self._system.protocol
        protocols = {protocols} if isinstance(protocols, str) else {*protocols}
        protocols.add(split_chain(directory).place.partition("://")[0])  # also below a cache
        if {"file", "local"} & protocols:
            raise UnsupportedError(
                "confined reading of a file:// URL is not supported. Give the path", file=directory,
                expected="a path", found="a URL",
            )  # fmt: skip
        confined = copy.copy(self)
        confined._directory = directory
        return confined

    def allows(self, path: str) -> bool:
        if self._directory is None:
            return True
        allowed, asked = split_chain(self._directory), split_chain(path)
        # A server may read %2e as a dot, and %2f or a backslash as a slash.
        if ".." in unquote(asked.place).replace("\\", "/").split("/"):
            return False
        return (asked.head, asked.tail) == (allowed.head, allowed.tail) and _as_directory(
            asked.place
        ).startswith(_as_directory(allowed.place))

    def is_file(self, path: str) -> bool:
        return self.allows(path) and self._is(self._system.isfile, path)

    def is_directory(self, path: str) -> bool:
        return self.allows(path) and self._is(self._system.isdir, path)

    def _is(self, question: Any, path: str) -> bool:
        """Return the answer to a yes-or-no query; False for a missing file."""
        try:
            return bool(self._ask(question, path))
        except FileNotFoundError:
            return False

    def list_names(self, directory: str) -> list[str]:
        return [name for name, _ in self._list(directory)]

    def list_directories(self, directory: str) -> list[str]:
        return [name for name, kind in self._list(directory) if kind == "directory"]

    def _list(self, directory: str) -> list[tuple[str, str]]:
        """Return the names and types of the entries of a directory, sorted by name."""
        try:
            found = self._ask(self._system.ls, directory, detail=True)
        except FileNotFoundError:
            return []
        try:
            return sorted(
                (posixpath.basename(str(each["name"]).rstrip("/")), str(each["type"]))
                for each in found
            )
        except (TypeError, LookupError) as error:
            raise UnreadableError(
                "the listing of this directory is of unknown form", file=directory
            ) from error

    def modified(self, path: str) -> float:
        try:
            return float(self._ask(self._system.modified, path).timestamp())
        except (UnreadableError, FileNotFoundError, AttributeError):  # many have no such time
            return 0.0

    def version(self, path: str) -> tuple[tuple[str, object], ...]:
        try:
            self._ask(self._system.invalidate_cache, path)  # a listing may be old
            found = self._ask(self._system.info, path)
        except FileNotFoundError:
            return ()
        values = ((key, found.get(key)) for key in _VERSION_KEYS)
        return tuple((key, str(value)) for key, value in values if value is not None)

    def join(self, directory: str, name: str) -> str:
        url = split_chain(directory)
        protocol, separator, place = url.place.rpartition("://")
        place = f"{place.rstrip('/')}/{name}" if place else name
        return url.with_place(protocol + separator + place)

    def split(self, path: str) -> tuple[str, str]:
        url = split_chain(path)
        protocol, separator, place = url.place.rpartition("://")
        directory, _, name = place.rpartition("/")
        return url.with_place(protocol + separator + directory), name

    def append(self, path: str, suffix: str) -> str:
        url = split_chain(path)
        return url.with_place(url.place + suffix)

    def open(self, path: str, *, mapped: bool = True, kept: bool = True) -> Source:
        """Open a file; see `Files.open`."""
        said = self._ask(self._system.info, path)
        try:
            nbytes = int(said["size"])
        except (TypeError, ValueError, LookupError, OverflowError) as error:  # None, or no number
            raise UnreadableError("the size of this file is unknown", file=path) from error
        if nbytes < 0:
            raise UnreadableError("the size of this file is unknown", file=path, found=nbytes)
        return RemoteSource(self._system, path, self._strip(path), nbytes)

    def _strip(self, path: str) -> str:
        """Return the path of a URL in fsspec's form, without the protocol."""
        return str(self._system._strip_protocol(split_chain(path).place))

    def _ask(self, question: Any, path: str, **options: object) -> Any:
        """Call a method of the file system; convert its errors, except FileNotFoundError."""
        if self._directory is not None and not self.allows(path):
            raise outside_error(path, self._directory, path)
        try:
            return question(self._strip(path), **options)
        except FileNotFoundError:
            raise
        except Exception as error:  # every file system has errors of its own
            raise _storage_error(error, path) from error


def _as_directory(place: str) -> str:
    """Return a place that ends with a slash."""
    return place if place.endswith("/") else f"{place}/"


def _storage_error(error: Exception, path: str, offset: int | None = None) -> UnreadableError:
    """Return the UnreadableError for an error of a file system."""
    unreadable = UnreadableError(f"{type(error).__name__}: {error}", file=path, offset=offset)
    unreadable.errno = getattr(error, "errno", None)
    return unreadable


_PART_NBYTES = 1 << 24
"""Larger ranges are asked for in parts of 16 MiB."""

_PARTS_AT_ONCE = 4


class RemoteSource:
    """One remote file; each `read` is one request for a byte range."""

    mapped = False
    request_nbytes = 1 << 18  # 25 ms at 10 MB/s, which is a common time for an answer

    def __init__(self, system: Any, name: str, place: str, nbytes: int) -> None:
        self.name = name
        self.nbytes = nbytes
        self._place = place
        self._system: Any = system

    def read(self, start: int, stop: int) -> bytes | memoryview:
        if stop - start <= _PART_NBYTES:
            (contents,) = self.read_ranges([(start, stop)])
            return contents
        require_inside(self.name, start, stop, self.nbytes)
        whole = bytearray(stop - start)
        firsts = range(start, stop, _PART_NBYTES)
        parts = [(first, min(first + _PART_NBYTES, stop)) for first in firsts]
        for i in range(0, len(parts), _PARTS_AT_ONCE):
            batch = parts[i : i + _PARTS_AT_ONCE]
            for (first, last), contents in zip(batch, self.read_ranges(batch)):
                whole[first - start : last - start] = contents
        return memoryview(whole).toreadonly()

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes | memoryview]:
        """Return the bytes of several ranges; asynchronous file systems request some together."""
        if self._system is None:
            raise closed_error(self.name)
        for start, stop in ranges:
            require_inside(self.name, start, stop, self.nbytes)
        asked = [(start, stop) for start, stop in ranges if start < stop]
        try:
            if len(asked) > 1:
                starts, stops = map(list, zip(*asked))
                places = [self._place] * len(asked)
                found = self._system.cat_ranges(places, starts, stops, on_error="raise")
            else:
                found = [self._system.cat_file(self._place, start=a, end=b) for a, b in asked]
        except Exception as error:  # every file system has errors of its own
            raise _storage_error(error, self.name, asked[0][0]) from error
        left = iter(found)
        return [
            self._require_exact(start, stop, next(left)) if start < stop else b""
            for start, stop in ranges
        ]

    def _require_exact(self, start: int, stop: int, found: Any) -> bytes:
        """Return the answer to a request for a range, if it is that range."""
        contents = bytes(found)
        if len(contents) > stop - start:
            raise UnreadableError(
                "the server ignored the byte range and sent more than was asked for",
                file=self.name,
                offset=start,
                expected=f"{stop - start} bytes",
                found=f"{len(contents)} bytes",
            )
        require_inside(self.name, start, stop, start + len(contents))
        return contents

    def close(self) -> None:
        self._system = None
