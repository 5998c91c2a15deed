"""Local files that are read by position, without a memory map."""

from __future__ import annotations

import os
from _thread import allocate_lock  # threading.Lock; importing threading takes 0.7 ms
from collections.abc import Sequence
from typing import NoReturn

from ckptparse.errors import UnreadableError
from ckptparse.sources.base import closed_error, require_inside

_AT_ONCE_NBYTES = 1 << 30
"""Number of bytes to read at a time.  Linux reads at most 2 GiB - 4 KiB, Windows 2 GiB - 1."""


class PreadSource:
    """An open file; `read` returns copies.

    It uses `os.pread`, so that threads and forked processes share no file position.  If the file is
    shortened, `read` raises an error.
    """

    mapped = False
    request_nbytes = 1 << 13  # a call takes 2 microseconds, and 8 KiB from the page cache 1

    def __init__(self, name: str, descriptor: int) -> None:
        """Take over an open file descriptor."""
        self.name = name
        self.nbytes = file_status(name, descriptor).st_size
        self._file: _OpenFile | None = _OpenFile(descriptor)

    def read(self, start: int, stop: int) -> bytes:
        # The local reference keeps the descriptor open during this read, even if another thread
        # closes the source; otherwise its number could be reused for another file.
        file = self._file
        if file is None:
            raise closed_error(self.name)
        nbytes = min(self.nbytes, file_status(self.name, file.descriptor).st_size)
        require_inside(self.name, start, stop, nbytes)
        return read_at(self.name, file.descriptor, start, stop)

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes | memoryview]:
        return [self.read(start, stop) for start, stop in ranges]

    def is_unlinked(self) -> bool:
        """Return whether the file was deleted, or another one renamed to its name."""
        file = self._file
        return file is not None and file_status(self.name, file.descriptor).st_nlink == 0

    def close(self) -> None:
        self._file = None


def file_status(name: str, descriptor: int) -> os.stat_result:
    """Return the present status of an open file; raises UnreadableError."""
    try:
        return os.fstat(descriptor)
    except OSError as error:
        raise UnreadableError.because(error, file=name) from error


def read_at(name: str, descriptor: int, start: int, stop: int) -> bytes:
    """Return exactly the bytes from `start` to `stop` of an open file.

    Raises:
        TruncatedError: the file ends before `stop`.
        UnreadableError: the operating system fails.
    """
    pieces = []
    position = start
    while position < stop:
        try:
            piece = _pread(descriptor, min(stop - position, _AT_ONCE_NBYTES), position)
        except OSError as error:
            raise UnreadableError.because(error, file=name, offset=position) from error
        if not piece:  # the file was shortened meanwhile
            require_inside(name, start, stop, position)
        pieces.append(piece)
        position += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class _OpenFile:
    """Owns a file descriptor, and closes it when the last reference is gone."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __del__(self) -> None:
        os.close(self.descriptor)

    def __reduce__(self) -> NoReturn:
        raise TypeError("an open file cannot be copied or pickled")


_seek_lock = allocate_lock()


def _seek_and_read(descriptor: int, nbytes: int, position: int) -> bytes:
    """Do the work of `os.pread` on Windows, which has neither `os.pread` nor `fork`."""
    with _seek_lock:
        os.lseek(descriptor, position, os.SEEK_SET)
        return os.read(descriptor, nbytes)


_pread = getattr(os, "pread", _seek_and_read)
