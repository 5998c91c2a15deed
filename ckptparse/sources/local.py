"""Local files: look them up, and open them as mapped or copying sources."""

from __future__ import annotations

import errno
import os
import stat

from ckptparse.errors import NotACheckpointError, UnreadableError
from ckptparse.sources.base import Source
from ckptparse.sources.confined import Confinement
from ckptparse.sources.mapped import MappedSource
from ckptparse.sources.pread import PreadSource
from ckptparse.sources.reopened import ReopenedSource

_OPEN_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)  # do not wait for the writer of a FIFO
    | getattr(os, "O_NOCTTY", 0)  # do not get a controlling terminal
)

_NO_LINK = getattr(os, "O_NOFOLLOW", 0)

_TROUBLE = {
    getattr(errno, name)
    for name in ("EACCES", "EIO", "ENOMEM", "ESTALE", "ETIMEDOUT", "ENOTCONN", "EHOSTDOWN")
    if hasattr(errno, name)
}
"""Errors that do not tell whether a file exists.  After any other error, it does not exist."""


class LocalFiles:
    """The local file system; see `Files`."""

    def __init__(self, *, mmap: bool) -> None:
        self.mapped = mmap
        self._confinement: Confinement | None = None
        try:
            self._directory = os.getcwd()  # relative paths stay valid after os.chdir
        except OSError:  # the working directory was removed
            self._directory = ""

    def within(self, directory: str) -> LocalFiles:
        confined = LocalFiles(mmap=self.mapped)
        confined._directory = self._directory
        confined._confinement = Confinement(self._join_directory(directory))
        return confined

    def allows(self, path: str) -> bool:
        return self._confinement is None or self._confinement.allows(self._join_directory(path))

    def is_file(self, path: str) -> bool:
        return stat.S_ISREG(self._mode(path))

    def is_directory(self, path: str) -> bool:
        return stat.S_ISDIR(self._mode(path))

    def _mode(self, path: str) -> int:
        """Return the mode of a file or directory; 0 if it does not exist or is outside."""
        if not self.allows(path):
            return 0
        place = self._place(path)
        try:
            return os.stat(place).st_mode
        except OSError as error:
            if error.errno in _TROUBLE:
                raise UnreadableError.because(error, file=path) from error
            return 0
        except ValueError:  # a NUL, or a name that the file system cannot encode
            return 0

    def list_names(self, directory: str) -> list[str]:
        place = self._place(directory)
        try:
            return sorted(os.listdir(place))
        except OSError as error:
            raise UnreadableError.because(error, file=directory) from error

    def list_directories(self, directory: str) -> list[str]:
        place = self._place(directory)
        try:
            with os.scandir(place) as entries:
                return sorted(entry.name for entry in entries if self._is_open_directory(entry))
        except OSError as error:
            raise UnreadableError.because(error, file=directory) from error

    def _is_open_directory(self, entry: os.DirEntry[str]) -> bool:
        """Return whether an entry is a directory; in confined reading, links are not."""
        try:
            return entry.is_dir(follow_symlinks=self._confinement is None)
        except OSError:
            return False

    def modified(self, path: str) -> float:
        try:
            return os.stat(self._place(path)).st_mtime
        except (OSError, ValueError):
            return 0.0

    def version(self, path: str) -> tuple[tuple[str, object], ...]:
        try:
            status = os.stat(self._place(path))
        except (OSError, ValueError):
            return ()
        return ("size", status.st_size), ("mtime", status.st_mtime_ns)

    def join(self, directory: str, name: str) -> str:
        return os.path.join(directory, name)

    def split(self, path: str) -> tuple[str, str]:
        return os.path.split(path)

    def append(self, path: str, suffix: str) -> str:
        return path + suffix

    def open(self, path: str, *, mapped: bool = True, kept: bool = True) -> Source:
        if not kept:
            return ReopenedSource(path, lambda: self._open_file(path))
        return _as_source(path, self._open_file(path), mmap=mapped and self.mapped)

    def _open_file(self, path: str) -> int:
        """Open a file and return its descriptor."""
        place = self._place(path)
        if self._confinement is None:
            return open_file(path, place)
        descriptor = open_file(path, place, _NO_LINK)
        try:
            self._require_unmoved(path, place, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _require_unmoved(self, path: str, place: str, descriptor: int) -> None:
        """Raise UnreadableError unless `place` still leads, without links, to the open file."""
        try:
            is_there = os.path.samestat(os.fstat(descriptor), os.lstat(place))
        except OSError as error:
            raise UnreadableError.because(error, file=path) from error
        if not is_there or self._place(path) != place:
            raise UnreadableError("this file was moved while it was opened", file=path)

    def _place(self, path: str) -> str:
        """Return the absolute path to open; in confined reading, with links resolved.

        Raises:
            UnreadableError: the path leads out of the directory of confined reading.
        """
        place = self._join_directory(path)
        return place if self._confinement is None else self._confinement.resolve(place, path)

    def _join_directory(self, path: str) -> str:
        """Return a path joined to the working directory at the time of creation."""
        return os.path.join(self._directory, path)


def _as_source(path: str, descriptor: int, *, mmap: bool) -> Source:
    """Return a source over an open file, and take over its descriptor.

    A file that cannot be mapped is read by position.
    """
    try:
        if mmap:
            try:
                return MappedSource(path, descriptor)
            except (OSError, ValueError):  # cannot be mapped, or is empty now
                pass
        source = PreadSource(path, descriptor)
        descriptor = -1  # the source closes it
        return source
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def open_file(path: str, place: str, flags: int = 0) -> int:
    """Open a regular file and return its descriptor.

    Args:
        path: path for error messages.
        place: path that the operating system opens.
        flags: flags of `os.open`, in addition to `_OPEN_FLAGS`.

    Raises:
        FileNotFoundError: no such file; the caller chooses the error class for it.
        NotACheckpointError: a directory, FIFO, device or socket.
        UnreadableError: the operating system refuses for another reason.
    """
    _require_regular(path, place)  # before opening, which can have effects on a device
    try:
        descriptor = os.open(place, _OPEN_FLAGS | flags)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnreadableError.because(error, file=path) from error
    try:
        _require_regular(path, descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _require_regular(path: str, file: str | int) -> None:
    """Raise NotACheckpointError unless a path or descriptor is a regular file."""
    try:
        mode = os.stat(file).st_mode
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnreadableError.because(error, file=path) from error
    if not stat.S_ISREG(mode):
        kind = "a directory" if stat.S_ISDIR(mode) else "a FIFO, socket or device"
        raise NotACheckpointError(
            "this is not a regular file", file=path, expected="a regular file", found=kind
        )
