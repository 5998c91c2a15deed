"""The protocols of byte sources and of places where files are."""

from __future__ import annotations

import re
from typing import Protocol

from ckptparse.errors import TruncatedError

MOST_KEPT_OPEN = 128
"""Data files of one checkpoint that are kept open, or mapped, which takes a descriptor as well.
Those with higher numbers are opened for every read: a process may have 1,024 files open, or 256."""


_URL = re.compile(r"[a-z][a-z0-9]*::|.*://", re.DOTALL)


def is_url(path: str) -> bool:
    """Return whether a path is a URL for fsspec: ``gs://...``, or ``zip::file.zip``."""
    return _URL.match(path) is not None


class Source(Protocol):
    """A file's bytes, read by position.

    Attributes:
        name: path or URL, for messages.
        nbytes: size when it was opened.
        mapped: whether `read` returns views over a memory map, which cost nothing to keep.
    """

    name: str
    nbytes: int
    mapped: bool

    def read(self, start: int, stop: int) -> bytes | memoryview:
        """Exactly the bytes start..stop, immutable, from any thread.

        The result stays valid after `close`.

        Raises:
            TruncatedError: the range is not, or no longer, inside the file.
        """
        ...

    def close(self) -> None:
        """Give up the source's own hold on the file; what was read stays valid."""
        ...


class Files(Protocol):
    """A file system: lists and opens files.

    Attributes:
        mapped: whether sources from `open` are memory maps.
    """

    mapped: bool

    def within(self, directory: str) -> Files:
        """Return the same files, restricted to one directory.

        Nothing outside is opened or asked for, whatever a path says and wherever links lead:
        `is_file` and `is_directory` are False for a path that leads out by its words, the rest is
        an UnreadableError.
        """
        ...

    def allows(self, path: str) -> bool:
        """Return whether the text of a path stays in the directory."""
        ...

    def is_file(self, path: str) -> bool:
        """Return whether a path is a regular file.

        Raises:
            UnreadableError: there is no telling: a failing disk, a network that does not answer.
        """
        ...

    def is_directory(self, path: str) -> bool:
        """Return whether a path is a directory; raises as `is_file`."""
        ...

    def list_names(self, directory: str) -> list[str]:
        """Return the names in a directory, sorted."""
        ...

    def list_directories(self, directory: str) -> list[str]:
        """Return the names of the directories in a directory, sorted."""
        ...

    def modified(self, path: str) -> float:
        """Return when a file was last changed, in seconds; 0 where that is not known."""
        ...

    def join(self, directory: str, name: str) -> str:
        """Return the path of a name in a directory; `join(*split(path))` is `path` again."""
        ...

    def split(self, path: str) -> tuple[str, str]:
        """Return the directory of a path, "" for the current one, and its last part."""
        ...

    def append(self, path: str, suffix: str) -> str:
        """Return the path of the file whose name is longer by a suffix."""
        ...

    def open(self, path: str, *, mapped: bool = True, kept: bool = True) -> Source:
        """A file's bytes.

        Args:
            path: the file.
            mapped: False asks for a source that copies, even where `Files.mapped` is True.
            kept: False asks for a source that takes no file descriptor between reads; it gives
                copies.

        Raises:
            FileNotFoundError: no such file; the caller knows which of its errors that is.
            NotACheckpointError: a directory, FIFO, device or socket.
            UnreadableError: any other refusal.
        """
        ...


def closed_error(name: str) -> ValueError:
    """For a read after `close`: a mistake of the caller, as with any file, not of the bytes."""
    return ValueError(f"read of a closed file: {name}")


def require_inside(name: str, start: int, stop: int, nbytes: int) -> None:
    """Raise TruncatedError unless 0 <= start <= stop <= nbytes."""
    if not 0 <= start <= stop <= nbytes:
        raise TruncatedError(
            "this file is too short",
            file=name,
            offset=start,
            expected=f"{stop - start} bytes up to byte {stop}",
            found=f"a file of {nbytes} bytes",
        )
