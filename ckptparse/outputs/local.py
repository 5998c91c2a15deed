"""Local folders: files under temporary names, locks, and renames that reach the disk in order.

A writer holds a lock on each of its temporary files.  The operating system releases the lock when
the process ends, also if it is killed.  So the next writer can distinguish the files of a killed
writer from those of a live one.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ckptparse.outputs.base import (
    Buffer,
    Kind,
    Output,
    is_temporary,
    new_token,
    temporary_name,
    unwritable,
)
from ckptparse.sources import MemorySource
from ckptparse.sources.checksum import crc32c_of_range

try:
    import fcntl
except ImportError:  # Windows, where an open file cannot be removed
    fcntl = None  # type: ignore[assignment]  # there is no other value for a missing module

_CREATE = (
    os.O_WRONLY
    | os.O_CREAT
    | os.O_EXCL
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
)

_AT_ONCE_NBYTES = 1 << 30
"""Linux writes at most 2 GiB - 4 KiB at a time, Windows 2 GiB - 1."""


class LocalFolder:
    """The directory of a local path; see `Folder`."""

    links = hasattr(os, "link")

    def __init__(self, path: str, *, sync: bool) -> None:
        # Not abspath, which would take "dir/" for "dir", and "link/.." for the folder of the link.
        self._path = os.path.join(os.getcwd(), os.path.dirname(path))
        self._sync = sync
        self._token = new_token()
        self._count = 0
        self._made: list[str] = []
        self._renamed: os.stat_result | None = None
        self._is_locked = False

    def prepare(self) -> None:
        missing = []
        directory = self._path
        while not os.path.isdir(directory) and os.path.dirname(directory) != directory:
            missing.append(directory)
            directory = os.path.dirname(directory)
        for directory in reversed(missing):
            self._made.append(directory)  # first: an interrupt can arrive when it is made
            try:
                os.mkdir(directory)
            except FileExistsError:  # another process just made it
                self._made.pop()
            except OSError as error:
                self._made.pop()
                self.abandon()
                raise unwritable(error, directory) from error

    def abandon(self) -> None:
        for directory in reversed(self._made):
            with suppress(OSError):  # there is something in it by now
                os.rmdir(directory)

    @contextmanager
    def lock(self) -> Iterator[None]:
        if fcntl is None or self._is_locked:
            yield
            return
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise unwritable(error, self._path) from error
        try:
            with suppress(OSError):  # some network file systems have no locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._is_locked = True
            yield
        finally:
            self._is_locked = False
            os.close(descriptor)

    def create(self) -> LocalOutput:
        output = None
        try:
            with self.lock():  # so that no other writer removes it before it is locked
                output = LocalOutput(self._new_path(), sync=self._sync)
        except BaseException:
            if output is not None:
                output.discard()
            raise
        return output

    def _new_path(self) -> str:
        """Return a temporary path that was not used before."""
        self._count += 1
        return self._join(temporary_name(self._token, self._count))

    def place(self, output: Output, name: str) -> None:
        if self.links:
            temporary = self._new_path()
            try:
                try:
                    os.link(output.path, temporary)
                except OSError:  # the file system has no hard links
                    self.links = False
                else:
                    self._rename(temporary, name)
                    return
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary)
                raise
        self._rename(output.path, name)

    def replace(self, output: Output, name: str) -> None:
        self._rename(output.path, name)

    def _rename(self, temporary: str, name: str) -> None:
        """Rename a file; it gets the permissions of the file that it replaces."""
        try:
            if fcntl is not None:
                with suppress(OSError):  # no such file; or a file system without permissions
                    mode = os.lstat(self._join(name)).st_mode
                    if stat.S_ISREG(mode):
                        os.chmod(temporary, mode & 0o777)
            self._renamed = os.lstat(temporary)
            os.replace(temporary, self._join(name))
        except OSError as error:
            raise unwritable(error, self._join(name)) from error

    def is_placed(self, output: Output, name: str) -> bool | None:
        with suppress(OSError):
            try:
                os.lstat(output.path)
            except FileNotFoundError:  # renamed; or another program has removed it
                status = os.lstat(self._join(name))
                if self._renamed is not None and os.path.samestat(status, self._renamed):
                    return True
            else:
                return False
        return None

    def remove(self, name: str) -> None:
        try:
            os.unlink(self._join(name))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise unwritable(error, self._join(name)) from error

    def left_temporaries(self) -> list[str]:
        return [name for name in self.names() if is_temporary(name) and is_left(self._join(name))]

    def other_names(self, name: str) -> list[str]:
        try:
            status = os.stat(self._join(name), follow_symlinks=False)
        except FileNotFoundError:  # its writer, which was just ending, has removed it
            return []
        if status.st_nlink < 2:
            return []
        with os.scandir(self._path) as entries:
            return [
                entry.name
                for entry in entries
                if entry.inode() == status.st_ino and entry.name != name
            ]

    def names(self) -> list[str]:
        try:
            return os.listdir(self._path)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise unwritable(error, self._path) from error

    def kind(self, name: str) -> Kind:
        try:
            mode = os.stat(self._join(name)).st_mode
        except OSError:  # a link that leads nowhere
            return "file"
        if stat.S_ISDIR(mode):
            return "directory"
        return "file" if stat.S_ISREG(mode) else "FIFO, socket or device"

    def sync(self) -> None:
        if not self._sync or fcntl is None:  # Windows cannot open a directory
            return
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise unwritable(error, self._path) from error

    def _join(self, name: str) -> str:
        return os.path.join(self._path, name)


class LocalOutput:
    """A local file that is being written; see `Output`."""

    rewrites = True

    def __init__(self, path: str, *, sync: bool) -> None:
        self.path = path
        self.nbytes = 0
        self._sync = sync
        self._descriptor: int | None = None
        try:
            self._descriptor = os.open(path, _CREATE, 0o666)
            if fcntl is not None:
                with suppress(OSError):
                    fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:  # the temporary name would tell nothing
            raise unwritable(error, os.path.dirname(path)) from error
        except BaseException:
            self.discard()
            raise

    def write(self, contents: Buffer) -> None:
        view = memoryview(contents).cast("B")
        self._write_at(self.nbytes, view)
        self.nbytes += len(view)

    def write_checked(self, contents: Buffer) -> int:
        view = memoryview(contents).cast("B")
        start = self.nbytes

        def write_piece(distance: int, piece: bytes | memoryview) -> None:
            self._write_at(start + distance, memoryview(piece))

        source = MemorySource(self.path, view)
        crc = crc32c_of_range(source, 0, len(view), write_piece if _PWRITES else None)
        if not _PWRITES:
            self._write_at(start, view)
        self.nbytes += len(view)
        return crc

    def rewrite(self, position: int, contents: Buffer) -> None:
        view = memoryview(contents).cast("B")
        if _PWRITES or self._descriptor is None:
            self._write_at(position, view)
            return
        os.lseek(self._descriptor, position, os.SEEK_SET)
        self._write_at(position, view)
        os.lseek(self._descriptor, 0, os.SEEK_END)

    def _write_at(self, position: int, view: memoryview) -> None:
        """Write bytes at a position; without `os.pwrite` where the descriptor is, at the end."""
        descriptor = self._descriptor
        if descriptor is None:
            raise ValueError(f"write to a closed file: {self.path}")
        while view:
            try:
                part = view[:_AT_ONCE_NBYTES]
                if _PWRITES:
                    written = os.pwrite(descriptor, part, position)
                else:
                    written = os.write(descriptor, part)
            except OSError as error:
                raise unwritable(error, self.path) from error
            view = view[written:]
            position += written

    def finish(self) -> None:
        if self._descriptor is None:
            return
        try:
            if self._sync:
                os.fsync(self._descriptor)
        except OSError as error:
            raise unwritable(error, self.path) from error
        if fcntl is None:  # Windows does not rename a file that is open
            self.close()

    def discard(self) -> None:
        try:
            with suppress(OSError):
                os.unlink(self.path)
        finally:
            with suppress(OSError):
                self.close()  # releases the lock

    def close(self) -> None:
        """Close the file, which keeps its name, and release its lock."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


_PWRITES = hasattr(os, "pwrite")


def is_left(path: str) -> bool:
    """Return whether the writer of a temporary path has ended; False if this is not known."""
    if fcntl is None:
        return True  # Windows does not remove a file that is open
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises if it is in use
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
