"""The protocols `Output` (a file that is being written) and `Folder` (where it is)."""

from __future__ import annotations

import re
import secrets
from contextlib import AbstractContextManager
from typing import Any, Protocol

from ckptparse.errors import UnwritableError

Buffer = Any
"""Bytes, a memoryview, or an array that is contiguous in row-major order."""

_TEMPORARY = re.compile(r"ckptparse-[0-9a-f]{16}\.tempstate[0-9]+")
"""Names of files that are being written.  As TensorFlow's, they end with ``.tempstate`` and digits,
so that programs that know these names leave them alone."""


class Output(Protocol):
    """A file that is being written under a temporary name.

    Attributes:
        path: its temporary path.
        nbytes: number of bytes written so far.
    """

    path: str
    nbytes: int

    def write(self, contents: Buffer) -> None:
        """Append bytes.

        Raises:
            UnwritableError: the operating system or the storage fails.
        """
        ...

    def write_checked(self, contents: Buffer) -> int:
        """Append bytes and return their CRC-32C; large ones on all cores."""
        ...

    def finish(self) -> None:
        """Complete the file: all bytes are with the operating system or the storage, and with
        ``sync`` on the disk.
        """
        ...

    def discard(self) -> None:
        """Close and remove the file, if it is still there.  Raises nothing."""
        ...


class Folder(Protocol):
    """A directory in which files are written aside and put in their places.

    Attributes:
        links: whether files can have two names; False as soon as the file system refuses it.
    """

    links: bool

    def prepare(self) -> None:
        """Make the directory, if there is none."""
        ...

    def abandon(self) -> None:
        """Remove the directory, if `prepare` made it and it is empty.  Raises nothing."""
        ...

    def lock(self) -> AbstractContextManager[None]:
        """Keep other writers from changing the folder meanwhile, where the system can."""
        ...

    def create(self) -> Output:
        """Create a file under a temporary name.

        Raises:
            UnwritableError: the operating system or the storage refuses.
        """
        ...

    def place(self, output: Output, name: str) -> None:
        """Give a file a name of the folder, in one step; replaces the file of that name.

        The file keeps its temporary name as well, if `links`.

        Raises:
            UnwritableError: the operating system or the storage refuses.
        """
        ...

    def replace(self, output: Output, name: str) -> None:
        """Rename a file to a name of the folder, in one step; replaces the file of that name.

        Raises:
            UnwritableError: the operating system or the storage refuses.
        """
        ...

    def remove(self, name: str) -> None:
        """Remove a file of the folder, if it is there.

        Raises:
            UnwritableError: the operating system or the storage refuses.
        """
        ...

    def names(self) -> list[str]:
        """Names of all files and directories of the folder; [] if there is no folder."""
        ...

    def left_temporaries(self) -> list[str]:
        """Temporary names of files whose writers have ended."""
        ...

    def other_names(self, name: str) -> list[str]:
        """Other names that a file has in the folder."""
        ...

    def is_directory(self, name: str) -> bool:
        """Return whether a name of the folder is a directory."""
        ...

    def sync(self) -> None:
        """Wait until the disk has the names of the folder."""
        ...


def temporary_name(token: str, number: int) -> str:
    """Return a name for a file that is being written."""
    return f"ckptparse-{token}.tempstate{number}"


def new_token() -> str:
    """Return a text for the temporary names of one folder."""
    return secrets.token_hex(8)


def is_temporary(name: str) -> bool:
    """Return whether a name is one that `temporary_name` gives."""
    return _TEMPORARY.fullmatch(name) is not None


def unwritable(error: OSError, path: str) -> UnwritableError:
    """Return the UnwritableError for an error of the operating system."""
    unwritable = UnwritableError(error.strerror or str(error), file=path)
    unwritable.errno = error.errno
    return unwritable
