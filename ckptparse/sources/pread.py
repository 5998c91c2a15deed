"""A local file read by position, without a memory map."""

from __future__ import annotations

import os
from _thread import allocate_lock  # threading.Lock; importing threading takes 0.7 ms
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
        self.nbytes = file_status(name, descriptor).st_size
        self._file: _OpenFile | None = _OpenFile(descriptor)

    def read(self, start: int, stop: int) -> bytes:
        # The local reference keeps the descriptor from being closed, and its number from being
        # given to another file, while this thread reads and another one closes.
        file = self._file
        if file is None:
            raise closed_error(self.name)
        nbytes = min(self.nbytes, file_status(self.name, file.descriptor).st_size)
        require_inside(self.name, start, stop, nbytes)
        return read_at(self.name, file.descriptor, start, stop)

    def close(self) -> None:
        self._file = None


def file_status(name: str, descriptor: int) -> os.stat_result:
    """Size and identity of an open file, now."""
    try:
        return os.fstat(descriptor)
    except OSError as error:
        raise UnreadableError.because(error, file=name) from error


def read_at(name: str, descriptor: int, start: int, stop: int) -> bytes:
    """Exactly the bytes start..stop of an open file, in as many reads as it takes.

    Raises:
        TruncatedError: it ends before them.
        UnreadableError: the operating system fails.
    """
    pieces = []
    position = start
    while position < stop:
        try:
            piece = _pread(descriptor, min(stop - position, _AT_ONCE_NBYTES), position)
        except OSError as error:
            raise UnreadableError.because(error, file=name, offset=position) from error
        if not piece:  # shortened after its size was asked for
            require_inside(name, start, stop, position)
        pieces.append(piece)
        position += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class _OpenFile:
    """Owns a descriptor: closed when nobody refers to this object any more."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __del__(self) -> None:
        os.close(self.descriptor)

    def __reduce__(self) -> NoReturn:
        raise TypeError("an open file cannot be copied or pickled")


_seek_lock = allocate_lock()


def _seek_and_read(descriptor: int, nbytes: int, position: int) -> bytes:
    """`os.pread` where there is none (Windows, which has no fork either)."""
    with _seek_lock:
        os.lseek(descriptor, position, os.SEEK_SET)
        return os.read(descriptor, nbytes)


_pread = getattr(os, "pread", _seek_and_read)
