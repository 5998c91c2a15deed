"""A local file read by position, without a memory map."""

from __future__ import annotations

import os
import threading
from typing import NoReturn

from ckptparse.errors import UnreadableError
from ckptparse.sources.base import closed_error, require_inside

_AT_ONCE_NBYTES = 1 << 30
"""Linux reads at most 2 GiB - 4 KiB at a time, Windows 2 GiB - 1."""


class PreadSource:
    """Reads copies, by `os.pread`: no file position is shared between threads or forks.

    A file that shrinks gives an error here, never a signal.
    """

    mapped = False

    def __init__(self, name: str, descriptor: int) -> None:
        """Take over an open file descriptor."""
        self.name = name
        self.nbytes = file_nbytes(name, descriptor)
        self._file: _OpenFile | None = _OpenFile(descriptor)

    def read(self, start: int, stop: int) -> bytes:
        # The local reference keeps the descriptor from being closed, and its number from being
        # given to another file, while this thread reads and another one closes.
        file = self._file
        if file is None:
            raise closed_error(self.name)
        nbytes = min(self.nbytes, file_nbytes(self.name, file.descriptor))
        require_inside(self.name, start, stop, nbytes)
        pieces = []
        position = start
        while position < stop:
            try:
                piece = _pread(file.descriptor, min(stop - position, _AT_ONCE_NBYTES), position)
            except OSError as error:
                raise UnreadableError.because(error, file=self.name, offset=position) from error
            if not piece:  # shortened after the check above
                require_inside(self.name, start, stop, position)
            pieces.append(piece)
            position += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        self._file = None


def file_nbytes(name: str, descriptor: int) -> int:
    """The size of an open file, now."""
    try:
        return os.fstat(descriptor).st_size
    except OSError as error:
        raise UnreadableError.because(error, file=name) from error


class _OpenFile:
    """Owns a descriptor: closed when nobody refers to this object any more."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __del__(self) -> None:
        os.close(self.descriptor)

    def __reduce__(self) -> NoReturn:
        raise TypeError("an open file cannot be copied or pickled")


_seek_lock = threading.Lock()


def _seek_and_read(descriptor: int, nbytes: int, position: int) -> bytes:
    """`os.pread` where there is none (Windows, which has no fork either)."""
    with _seek_lock:
        os.lseek(descriptor, position, os.SEEK_SET)
        return os.read(descriptor, nbytes)


_pread = getattr(os, "pread", _seek_and_read)
