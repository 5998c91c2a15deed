"""The protocols `Output` (a file that is being written) and `Folder` (where it is)."""

from __future__ import annotations

import re
import secrets
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol

from ckptparse.errors import CheckpointExistsError, UnwritableError

Buffer = Any
"""Bytes, a memoryview, or an array that is contiguous in row-major order."""

Kind = Literal["file", "directory", "FIFO, socket or device"]
"""What a name in a folder is."""

_TEMPORARY = re.compile(r"ckptparse-[0-9a-f]{16}\.tempstate[0-9]+")
"""Names of files that are being written.  They end with ``.tempstate`` and digits, as TensorFlow's
own temporary files do, so programs that know TensorFlow's names ignore these as well."""


class Output(Protocol):
    """A file that is being written under a temporary name.

    Attributes:
        path: its temporary path.
        nbytes: number of bytes written so far.
        rewrites: whether bytes that were written can be replaced.
    """

    path: str
    nbytes: int
    rewrites: bool

    def write(self, contents: Buffer) -> None:
        """Append bytes.

        Raises:
            UnwritableError: the operating system or the storage fails.
        """
        ...

    def write_checked(self, contents: Buffer) -> int:
        """Append bytes, and return their CRC-32C, which for many bytes is computed on all cores.

        Raises:
            UnwritableError: the operating system or the storage fails.
        """
        ...

    def rewrite(self, position: int, contents: Buffer) -> None:
        """Replace bytes that were written; only if `rewrites`.

        Raises:
            UnwritableError: the operating system fails.
        """
        ...

    def finish(self) -> None:
        """Pass all bytes to the operating system or the storage; with ``sync``, to the disk.

        Raises:
            UnwritableError: the operating system or the storage fails.
        """
        ...

    def discard(self) -> None:
        """Close the file, and remove its temporary name if it still has it.  Raises nothing."""
        ...


class Folder(Protocol):
    """A directory in which files are written under temporary names, and then renamed.

    Attributes:
        links: whether a file can have two names (hard links); becomes False when the file system
            refuses it.
    """

    links: bool

    def prepare(self) -> None:
        """Create the directory, if it does not exist.

        Raises:
            UnwritableError: the operating system or the storage refuses.
        """
        ...

    def abandon(self) -> None:
        """Remove the directories that `prepare` created, if they are empty.  Raises nothing."""
        ...

    def lock(self) -> AbstractContextManager[None]:
        """Lock the folder against other writers while the context lasts, where locks exist."""
        ...

    def create(self) -> Output:
        """Create a file under a temporary name.

        Raises:
            UnwritableError: the operating system or the storage refuses.
        """
        ...

    def place(self, output: Output, name: str) -> None:
        """Give a file a name in the folder, in one step.  A file of this name is replaced.

        If `links` is True, the file keeps its temporary name as well.

        Raises:
            UnwritableError: the operating system or the storage refuses.
        """
        ...

    def replace(self, output: Output, name: str) -> None:
        """Rename a file to a name in the folder, in one step.  A file of this name is replaced.

        Raises:
            UnwritableError: the operating system or the storage refuses.
        """
        ...

    def is_placed(self, output: Output, name: str) -> bool | None:
        """Return whether a file has the name that `replace` gives it, after an error or interrupt.

        Python raises an interrupt when a system call returns, so the call may have succeeded.
        None if this is not known.  Raises nothing but further interrupts.
        """
        ...

    def remove(self, name: str) -> None:
        """Remove a file of the folder, if it is there.

        Raises:
            UnwritableError: the operating system or the storage refuses.
        """
        ...

    def names(self) -> list[str]:
        """Return the names of all files and directories; [] if the folder does not exist."""
        ...

    def left_temporaries(self) -> list[str]:
        """Return the temporary names of the files whose writers have ended."""
        ...

    def other_names(self, name: str) -> list[str]:
        """Return the other names that a file has in the folder (hard links)."""
        ...

    def kind(self, name: str) -> Kind:
        """Return what a name of the folder is; of a link, what it leads to."""
        ...

    def sync(self) -> None:
        """Wait until the names of the files are on the disk; without effect without ``sync``."""
        ...


def require_file(folder: Folder, name: str, path: str) -> None:
    """Check that a name of a folder is a file, which may be replaced.

    Args:
        folder: the folder.
        name: the name.
        path: the path that is written, for messages.

    Raises:
        CheckpointExistsError: it is a directory, a FIFO, a socket or a device.
    """
    kind = folder.kind(name)
    if kind != "file":
        raise CheckpointExistsError(f"there is a {kind} of this name", file=path, found=name)


def temporary_name(token: str, number: int) -> str:
    """Return a name for a file that is being written."""
    return f"ckptparse-{token}.tempstate{number}"


def new_token() -> str:
    """Return a random text that makes the temporary names of a writer unique."""
    return secrets.token_hex(8)


def is_temporary(name: str) -> bool:
    """Return whether a name is one that `temporary_name` gives."""
    return _TEMPORARY.fullmatch(name) is not None


def unwritable(error: OSError, path: str) -> UnwritableError:
    """Return the UnwritableError for an error of the operating system."""
    unwritable = UnwritableError(error.strerror or str(error), file=path)
    unwritable.errno = error.errno
    return unwritable
