"""The protocols `Source` (the bytes of a file) and `Files` (a file system)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from ckptparse.errors import TruncatedError, UnsupportedError

MOST_KEPT_OPEN = 128
"""Number of data files of a checkpoint that are kept open or mapped; each takes a file descriptor.
Files with higher numbers are opened for every read: many systems limit a process to 1,024 open
files, some to 256."""

_URL = re.compile(r"[a-z][a-z0-9]*::|.*://", re.DOTALL)


def is_url(path: str) -> bool:
    """Return whether a path is a URL for fsspec: ``gs://...``, or ``zip::file.zip``."""
    return _URL.match(path) is not None


class Source(Protocol):
    """The bytes of one file, read by position.

    Attributes:
        name: path or URL, for messages.
        nbytes: size of the file when it was opened.
        mapped: whether `read` returns views of a memory map instead of copies.
        request_nbytes: the number of bytes that can be read in the time that a `read` takes in
            addition to the time for its bytes; 0 if this time is negligible.
    """

    name: str
    nbytes: int
    mapped: bool
    request_nbytes: int

    def read(self, start: int, stop: int) -> bytes | memoryview:
        """Return exactly the bytes from `start` to `stop`.

        Any thread may call it.  The result is immutable and stays valid after `close`.

        Raises:
            TruncatedError: the range is not, or no longer, inside the file.
            UnreadableError: the operating system or the storage fails.
            ValueError: the source is closed.
        """
        ...

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes | memoryview]:
        """Return the bytes of several ranges (start, stop), several at a time if that is faster.

        Raises:
            CheckpointError, ValueError: as `read`.
        """
        ...

    def close(self) -> None:
        """Close the file.  Bytes that were read stay valid: a view keeps its map open."""
        ...


class Files(Protocol):
    """A file system that lists and opens files.

    Attributes:
        mapped: whether sources from `open` are memory maps.
    """

    mapped: bool

    def within(self, directory: str) -> Files:
        """Return the same file system, confined to one directory.

        It neither opens nor queries a path outside of the directory.  For a path whose text leads
        out, `is_file` and `is_directory` return False, and `open` and the listings raise
        UnreadableError.  For a path that leads out through a symbolic link, all of these raise
        UnreadableError.
        """
        ...

    def allows(self, path: str) -> bool:
        """Return whether a path is inside the directory, by its text; does not follow links."""
        ...

    def is_file(self, path: str) -> bool:
        """Return whether a path is a regular file.

        Raises:
            UnreadableError: the storage fails, so that it is unknown whether there is a file.
        """
        ...

    def is_directory(self, path: str) -> bool:
        """Return whether a path is a directory; raises the same errors as `is_file`."""
        ...

    def list_names(self, directory: str) -> list[str]:
        """Return the names in a directory, sorted."""
        ...

    def list_directories(self, directory: str) -> list[str]:
        """Return the names of the directories in a directory, sorted."""
        ...

    def modified(self, path: str) -> float:
        """Return a file's time of modification in seconds since the epoch; 0 if unknown."""
        ...

    def version(self, path: str) -> tuple[tuple[str, object], ...]:
        """Return properties of a file that change when it is changed or replaced.

        They are equal in all processes.  () if there is no such file, or nothing is known of it.

        Raises:
            UnreadableError: the storage fails.
        """
        ...

    def join(self, directory: str, name: str) -> str:
        """Return the path of a name in a directory, the inverse of `split`."""
        ...

    def split(self, path: str) -> tuple[str, str]:
        """Return the directory of a path ("" for the current one) and the last part of it."""
        ...

    def append(self, path: str, suffix: str) -> str:
        """Return a path with a suffix added to its file name."""
        ...

    def open(self, path: str, *, mapped: bool = True, kept: bool = True) -> Source:
        """Open a file.

        Args:
            path: path or URL of the file.
            mapped: False asks for a source that copies, even where `Files.mapped` is True.
            kept: False asks for a source that copies, and that opens the file for every read, so
                that it takes no file descriptor between reads.

        Raises:
            FileNotFoundError: no such file; the caller chooses the error class for it.
            NotACheckpointError: a directory, FIFO, device or socket.
            UnreadableError: the operating system or the storage refuses for another reason.
        """
        ...


def stored_nbytes(source: Source) -> int:
    """Return the number of bytes of the real file that a source is made from.

    That is the size of the source, or the compressed size if it is inflated.
    """
    nbytes: int = getattr(source, "stored_nbytes", source.nbytes)
    return nbytes


def require_dense(source: Source, nbytes: int, what: str, *, ratio: int, free_nbytes: int) -> None:
    """Raise UnsupportedError if a part of a compressed file is too large to be parsed.

    Args:
        source: the file.
        nbytes: size of the part, which is parsed as a whole.
        what: what it is, for the error.
        ratio: how many times as large as the compressed file it may be.
        free_nbytes: so many bytes are always allowed.
    """
    compressed = stored_nbytes(source)
    most = free_nbytes + ratio * compressed
    if compressed < source.nbytes and nbytes > most:
        raise UnsupportedError(
            f"{what} is too large for a compressed file: unpack the archive",
            file=source.name,
            expected=f"at most {most} bytes for {compressed} compressed bytes",
            found=nbytes,
        )


def closed_error(name: str) -> ValueError:
    """Return the error for a read after `close`: a ValueError, as for Python's own files."""
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
