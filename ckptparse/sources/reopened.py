"""Local files that are opened for every read, and so take no descriptor between reads."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence

from ckptparse.errors import MissingShardError, UnreadableError
from ckptparse.sources.base import closed_error, require_inside
from ckptparse.sources.pread import file_status, read_at

_Identity = tuple[int, int, int]
"""Device, inode and time of modification.  Device and inode are not enough: if a file is deleted
while it is not open, a new file may get its inode."""


class ReopenedSource:
    """A file that is opened for every read; `read` returns copies.

    For checkpoints with more data files than a process may have open.  If the file is changed or
    replaced after the first opening, `read` raises UnreadableError instead of mixing old and new
    bytes.
    """

    mapped = False
    request_nbytes = 1 << 16  # opening a file takes some 10 microseconds

    def __init__(self, name: str, open_file: Callable[[], int]) -> None:
        """
        Args:
            name: path, for messages.
            open_file: opens the file and returns a new descriptor.

        Raises:
            FileNotFoundError: `open_file` raised it.
            CheckpointError: `open_file` raised it, or the operating system fails.
        """
        self.name = name
        self._open_file: Callable[[], int] | None = open_file
        descriptor = open_file()
        try:
            status = file_status(name, descriptor)
        finally:
            os.close(descriptor)
        self.nbytes = status.st_size
        self._identity = _identify(status)

    def read(self, start: int, stop: int) -> bytes:
        open_file = self._open_file
        if open_file is None:
            raise closed_error(self.name)
        require_inside(self.name, start, stop, self.nbytes)
        try:
            descriptor = open_file()
        except FileNotFoundError as error:
            raise MissingShardError(
                "this file disappeared after it was first opened",
                file=self.name,
                found="no such file",
            ) from error
        try:
            status = file_status(self.name, descriptor)
            require_inside(self.name, start, stop, status.st_size)
            if _identify(status) != self._identity:
                raise _replaced_error(self.name)
            return read_at(self.name, descriptor, start, stop)
        finally:
            os.close(descriptor)

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes | memoryview]:
        return [self.read(start, stop) for start, stop in ranges]

    def close(self) -> None:
        self._open_file = None


def _identify(status: os.stat_result) -> _Identity:
    """Return values that differ between a file and another one that replaces it."""
    return status.st_dev, status.st_ino, status.st_mtime_ns


def _replaced_error(name: str) -> UnreadableError:
    """Return the error for a file that is not the one that was first opened."""
    error = UnreadableError(
        "this file was changed or replaced after it was first opened", file=name,
        expected="the file as it was when it was first opened",
    )  # fmt: skip
    error.errno = errno.ESTALE
    return error
