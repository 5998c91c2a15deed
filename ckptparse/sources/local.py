"""Files of this machine."""

from __future__ import annotations

import os
import stat

from ckptparse.errors import NotACheckpointError, UnreadableError
from ckptparse.sources.base import Source
from ckptparse.sources.mapped import MappedSource
from ckptparse.sources.pread import PreadSource

_OPEN_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)  # opening a FIFO must not wait for its writer
)


class LocalFiles:
    """Files by their paths, mapped or read by position."""

    def __init__(self, *, mmap: bool) -> None:
        self.maps = mmap
        try:
            self._directory = os.getcwd()  # a relative path stays where it was, wherever one goes
        except OSError:  # there is none any more
            self._directory = ""

    def is_file(self, path: str) -> bool:
        return os.path.isfile(path)

    def is_directory(self, path: str) -> bool:
        return os.path.isdir(path)

    def list_names(self, directory: str) -> list[str]:
        try:
            return sorted(os.listdir(directory))
        except OSError as error:
            raise UnreadableError.because(error, file=directory) from error

    def join(self, directory: str, name: str) -> str:
        return os.path.join(directory, name)

    def split(self, path: str) -> tuple[str, str]:
        directory, name = os.path.split(path)
        return directory or os.curdir, name

    def open(self, path: str, *, mapped: bool = True) -> Source:
        return open_source(path, mmap=mapped and self.maps, directory=self._directory)


def open_source(path: str, *, mmap: bool, directory: str = "") -> Source:
    """Open a file as a source, mapped or read by position.

    A file system that cannot map files is read by position.  A relative path is one in `directory`,
    by default the working directory.

    Raises:
        FileNotFoundError: no such file; the caller knows which of its errors that is.
        NotACheckpointError: a directory, FIFO, device or socket.
        UnreadableError: any other refusal of the operating system.
    """
    place = os.path.join(directory, path)
    try:
        descriptor = os.open(place, _OPEN_FLAGS)
    except FileNotFoundError:
        raise
    except OSError as error:
        # Windows opens no directory, and nobody opens a socket.
        _require_regular(path, place)
        raise UnreadableError.because(error, file=path) from error
    try:
        _require_regular(path, descriptor)
        if mmap:
            try:
                return MappedSource(path, descriptor)
            except (OSError, ValueError):  # cannot be mapped, or became empty meanwhile
                pass
        source = PreadSource(path, descriptor)
        descriptor = -1  # its now
        return source
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _require_regular(path: str, file: str | int) -> None:
    """Raise NotACheckpointError for what is no regular file."""
    try:
        mode = os.stat(file).st_mode
    except OSError as error:
        raise UnreadableError.because(error, file=path) from error
    if not stat.S_ISREG(mode):
        kind = "a directory" if stat.S_ISDIR(mode) else "a FIFO, socket or device"
        raise NotACheckpointError(
            "not a regular file", file=path, expected="a regular file", found=kind
        )
