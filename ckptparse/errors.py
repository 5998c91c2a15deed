"""The errors of ckptparse, one tree.

::

    CheckpointError
    ├── NotFoundError
    │   ├── CheckpointNotFoundError     also FileNotFoundError: nothing at that path
    │   ├── MissingShardError           also FileNotFoundError: a data file is not there
    │   └── TensorNotFoundError         also KeyError: no tensor of that name
    ├── DataLossError
    │   ├── NotACheckpointError         also ValueError: the file is something else
    │   └── CorruptCheckpointError      also ValueError: the file contradicts itself
    │       ├── ChecksumError           a stored CRC-32C and the bytes disagree
    │       └── TruncatedError          the file ends before the bytes that it should hold
    ├── UnsupportedError                also NotImplementedError: sound, but no array
    ├── UnreadableError                 also OSError: the operating system refused or failed
    └── MismatchError                   also ValueError: tensors do not fit a target (`transfer`)

Each one also is the builtin that callers already catch.  The text always has the same form::

    FILE, byte OFFSET, tensor NAME: what is wrong
      expected: what the format, or the rest of the file, asks for
      found: what is there
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager


class CheckpointError(Exception):
    """Base of every error that a checkpoint can cause.

    Attributes:
        file: path or URL of the file, or None.
        offset: byte offset in that file, or None.
        tensor: name of the tensor concerned, or None.
        expected, found: the two sides of the contradiction, as text, or None.
        whole_file: whether it concerns every tensor of the file: one that is missing, cut off,
            unreadable, or of another kind.
    """

    whole_file = False

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        offset: int | None = None,
        tensor: str | None = None,
        expected: object = None,
        found: object = None,
    ) -> None:
        super().__init__(_shorten(message))
        self.file = file
        self.offset = offset
        self.tensor = tensor
        self.expected = None if expected is None else _shorten(str(expected))
        self.found = None if found is None else _shorten(str(found))

    @property
    def message(self) -> str:
        """The sentence that says what is wrong, without the place."""
        message: str = self.args[0]
        return message

    expected_label = "expected"
    """The label before `expected` in the text."""

    def lines(self) -> list[str]:
        """Return the text in parts: place and message, then what was expected, what was found."""
        place = []
        if self.file is not None:
            place.append(self.file)
        if self.offset is not None:
            place.append(f"byte {self.offset}")
        if self.tensor is not None:
            place.append(f"tensor {_shorten(repr(self.tensor))}")
        lines = [": ".join([", ".join(place), self.message]) if place else self.message]
        if self.expected is not None:
            lines.append(f"{self.expected_label}: {self.expected}")
        if self.found is not None:
            lines.append(f"found: {self.found}")
        return lines

    def __str__(self) -> str:
        return "\n  ".join(self.lines())

    def locate(self, *, file: str | None = None, base: int = 0, tensor: str | None = None) -> None:
        """Complete the place by what only a caller knows; what is said already is left alone.

        Decoders of memory know a position in their buffer, not the file or where the buffer lies in
        it: `base` is that distance in bytes.
        """
        if self.file is None and file is not None:
            self.file = file
            self.offset = None if self.offset is None else self.offset + base
        if self.tensor is None:
            self.tensor = tensor

    def forget_frames(self) -> None:
        """Drop the traceback: a report of many errors cannot keep all those frames."""
        self.__traceback__ = self.__cause__ = self.__context__ = None


def _shorten(text: str) -> str:
    """Shorten a value from a file, which can have megabytes, to its beginning."""
    return text if len(text) <= _MOST_QUOTED else f"{text[:_MOST_QUOTED]}..."


_MOST_QUOTED = 600


class NotFoundError(CheckpointError):
    """Something that was asked for is not there."""


class DataLossError(CheckpointError):
    """A file that is there is of no use."""


class CheckpointNotFoundError(NotFoundError, FileNotFoundError):
    """No checkpoint at the given path; the text says what was looked for and what is there."""

    expected_label = "looked for"
    errno = errno.ENOENT
    filename = property(lambda self: self.file)


class MissingShardError(NotFoundError, FileNotFoundError):
    """The index is there, but a data file that it refers to is not."""

    whole_file = True
    errno = errno.ENOENT
    filename = property(lambda self: self.file)


class TensorNotFoundError(NotFoundError, KeyError):
    """The checkpoint holds no tensor of that name; the text offers the nearest names."""


class NotACheckpointError(DataLossError, ValueError):
    """The file is not a TensorFlow checkpoint at all."""


class CorruptCheckpointError(DataLossError, ValueError):
    """The file is a checkpoint whose bytes contradict each other."""


class ChecksumError(CorruptCheckpointError):
    """The stored CRC-32C does not fit the bytes."""


class TruncatedError(CorruptCheckpointError):
    """The file ends before the bytes that its own structure promises."""

    whole_file = True


class UnsupportedError(CheckpointError, NotImplementedError):
    """A sound file or tensor that has no meaning as a numpy array, or needs a newer reader."""


class UnreadableError(CheckpointError, OSError):
    """The operating system would not open or read a file (permissions, a failing disk ...)."""

    whole_file = True
    errno: int | None = None
    filename = property(lambda self: self.file)

    @classmethod
    def because(cls, error: OSError, *, file: str, offset: int | None = None) -> UnreadableError:
        """The error of ours for one of the operating system."""
        unreadable = cls(error.strerror or str(error), file=file, offset=offset)
        unreadable.errno = error.errno
        return unreadable


@contextmanager
def located(*, file: str | None = None, base: int = 0, tensor: str | None = None) -> Iterator[None]:
    """`CheckpointError.locate` for every error raised inside."""
    try:
        yield
    except CheckpointError as error:
        error.locate(file=file, base=base, tensor=tensor)
        raise
