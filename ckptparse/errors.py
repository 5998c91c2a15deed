"""The exceptions of ckptparse, as one tree.

::

    CheckpointError
    ├── NotFoundError
    │   ├── CheckpointNotFoundError     also FileNotFoundError: no checkpoint at the path
    │   ├── MissingShardError           also FileNotFoundError: a data file is missing
    │   └── TensorNotFoundError         also KeyError: no tensor of that name
    ├── DataLossError
    │   ├── NotACheckpointError         also ValueError: the file is of another kind
    │   └── CorruptCheckpointError      also ValueError: the file contradicts itself
    │       ├── ChecksumError           the bytes do not match their stored checksum
    │       └── TruncatedError          the file ends before the bytes that it should contain
    ├── UnsupportedError                also NotImplementedError: intact, but not supported here
    ├── UnreadableError                 also OSError: a file cannot be opened or read
    ├── UnwritableError                 also OSError: a file cannot be written
    ├── CheckpointExistsError           also FileExistsError: the name is in use
    ├── InvalidTensorsError             also ValueError: the tensors cannot be saved
    ├── ConflictError                   also ValueError: checkpoints cannot be averaged or merged
    └── MismatchError                   also ValueError: tensors do not fit a target

Most classes also inherit from the builtin exception with the same meaning, so that code that
catches the builtin one works.  `MismatchError` is defined in `ckptparse.weights.loading`.  The text
of an error has this form; parts that are unknown are left out::

    FILE, byte OFFSET, tensor NAME: what is wrong
      expected: what the format, or the rest of the file, requires
      found: what the file contains
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class CheckpointError(Exception):
    """The base class of all errors that a checkpoint can cause.

    Attributes:
        file: path or URL of the file, or None.
        offset: byte offset in that file, or None.
        tensor: name of the tensor, or None.
        expected: what the format, or the rest of the file, requires, as text; or None.
        found: what the file contains, as text; or None.
        whole_file: whether the error is the same for every tensor in the file, because the file is
            missing, cut off or unreadable, or has one checksum for all of them.

    Examples:
        >>> from ckptparse import CheckpointError, open_checkpoint
        >>> with open_checkpoint("fixtures/tf-1.15.5/train_damaged/short_data") as ckpt:
        ...     try:
        ...         ckpt["layer_2/weights"]
        ...     except CheckpointError as error:
        ...         print(error.message)
        ...         print(error.tensor, error.offset)
        ...         print("expected:", error.expected)
        ...         print("found:", error.found)
        this data file is cut off: it ends before the tensor does
        layer_2/weights 48
        expected: 24 bytes up to byte 72
        found: a file of 68 bytes
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
        """
        Args:
            message: a sentence that says what is wrong, without the place.
            file: path or URL of the file.
            offset: byte offset in that file.
            tensor: name of the tensor.
            expected: what the format, or the rest of the file, requires.
            found: what the file contains.
        """
        super().__init__(_shorten(message))
        self.file = file
        self.offset = offset
        self.tensor = tensor
        self.expected = None if expected is None else _shorten(str(expected))
        self.found = None if found is None else _shorten(str(found))

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to copy or unpickle the error.

        Not as `OSError` does it: packages that send errors to another process (tblib, for dask) set
        all attributes of an OSError one by one, and some are properties here.
        """
        return _restore, (type(self), self.args), self.__dict__

    @property
    def message(self) -> str:
        """The sentence that says what is wrong, without file, offset and tensor.

        Examples:
            >>> from ckptparse import NotACheckpointError, open_checkpoint
            >>> try:
            ...     open_checkpoint("fixtures/README.md")
            ... except NotACheckpointError as error:
            ...     print(error.message)
            this is not a checkpoint
        """
        message: str = self.args[0]
        return message

    expected_label = "expected"
    """The label before `expected` in the text."""

    def lines(self) -> list[str]:
        """Return the lines of the text: place and message, what was expected, what was found."""
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
        """Set `file`, `offset` and `tensor`, as far as they are not set yet.

        A function that decodes a buffer knows the position in the buffer, but neither the file nor
        the offset of the buffer in the file.  Its caller adds these.

        Args:
            file: path or URL of the file.
            base: offset of the buffer in the file; if `file` was not set, it is added to `offset`.
            tensor: name of the tensor.
        """
        if self.file is None and file is not None:
            self.file = file
            self.offset = None if self.offset is None else self.offset + base
        if self.tensor is None:
            self.tensor = tensor

    def forget_frames(self) -> None:
        """Drop the traceback, so that a report of many errors does not keep their frames."""
        self.__traceback__ = self.__cause__ = self.__context__ = None


def _shorten(text: str) -> str:
    """Return a text, cut after `_MOST_QUOTED` letters: texts from a file can have megabytes."""
    return text if len(text) <= _MOST_QUOTED else f"{text[:_MOST_QUOTED]}..."


_MOST_QUOTED = 600


def _restore(error_class: type[CheckpointError], args: tuple[Any, ...]) -> CheckpointError:
    """Return an error without attributes, whatever the arguments of its class are."""
    error = error_class.__new__(error_class, *args)
    error.args = args
    return error


class NotFoundError(CheckpointError):
    """A checkpoint, one of its files, or a tensor does not exist.  The base class of three errors.

    Examples:
        >>> from ckptparse import NotFoundError, open_checkpoint
        >>> try:
        ...     open_checkpoint("fixtures/tf-1.15.5/vgg_16/modle.ckpt")
        ... except NotFoundError as error:
        ...     print(type(error).__name__)
        CheckpointNotFoundError
    """


class DataLossError(CheckpointError):
    """A file exists, but is not an intact checkpoint.  The base class of four errors.

    Examples:
        >>> from ckptparse import DataLossError, open_checkpoint
        >>> try:
        ...     open_checkpoint("fixtures/README.md")
        ... except DataLossError as error:
        ...     print(type(error).__name__)
        NotACheckpointError
    """


class CheckpointNotFoundError(NotFoundError, FileNotFoundError):
    """There is no checkpoint at the path; also a FileNotFoundError.

    The text lists the files that were searched for and those that exist.

    Examples:
        >>> from ckptparse import CheckpointNotFoundError, open_checkpoint
        >>> try:
        ...     open_checkpoint("fixtures/tf-1.15.5/vgg_16/modle.ckpt")
        ... except CheckpointNotFoundError as error:
        ...     print(error.message)
        no such checkpoint. Did you mean fixtures/tf-1.15.5/vgg_16/model.ckpt?
    """

    expected_label = "looked for"
    errno = errno.ENOENT
    filename = property(lambda self: self.file)


class MissingShardError(NotFoundError, FileNotFoundError):
    """A file that belongs to the checkpoint is missing; also a FileNotFoundError.

    `open_checkpoint` raises it if a file of a V1 checkpoint is missing.  Reading a tensor raises it
    if the data file of a V2 checkpoint that contains the tensor is missing.

    Examples:
        >>> from ckptparse import MissingShardError, open_checkpoint
        >>> with open_checkpoint("fixtures/tf-1.15.5/train_damaged/no_data") as ckpt:
        ...     try:
        ...         ckpt["layer_0/weights"]
        ...     except MissingShardError as error:
        ...         print(error.file)
        fixtures/tf-1.15.5/train_damaged/no_data.data-00000-of-00001
    """

    whole_file = True
    errno = errno.ENOENT
    filename = property(lambda self: self.file)


class TensorNotFoundError(NotFoundError, KeyError):
    """The checkpoint has no tensor of that name; also a KeyError.

    The text lists up to three similar names.

    Examples:
        >>> from ckptparse import TensorNotFoundError, open_checkpoint
        >>> with open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt") as ckpt:
        ...     try:
        ...         ckpt["vgg_16/mean"]
        ...     except TensorNotFoundError as error:
        ...         print(error.message)
        no such tensor. The most similar of 34 names: vgg_16/mean_rgb
    """


class NotACheckpointError(DataLossError, ValueError):
    """The file is no checkpoint, nor another file of weights that is read; also a ValueError.

    The text names the format of the file, if it is a well-known one.

    Examples:
        >>> from ckptparse import NotACheckpointError, open_checkpoint
        >>> try:
        ...     open_checkpoint("fixtures/README.md")
        ... except NotACheckpointError as error:
        ...     print(error.file)
        fixtures/README.md
    """


class CorruptCheckpointError(DataLossError, ValueError):
    """The file is a checkpoint whose bytes contradict each other; also a ValueError.

    Examples:
        >>> from ckptparse import CorruptCheckpointError, open_checkpoint
        >>> try:
        ...     open_checkpoint("fixtures/tf-1.15.5/train_damaged/bad_handle")
        ... except CorruptCheckpointError as error:
        ...     print(error.message, "at byte", error.offset)
        invalid varint at byte 157
    """


class ChecksumError(CorruptCheckpointError):
    """The bytes do not match their stored checksum; also a ValueError.

    Examples:
        >>> from ckptparse import ChecksumError, open_checkpoint
        >>> with open_checkpoint("fixtures/tf-1.15.5/train_damaged/bad_checksum") as ckpt:
        ...     try:
        ...         ckpt["layer_2/weights"]
        ...     except ChecksumError as error:
        ...         print(error.message)
        the bytes of the tensor do not match the stored checksum
    """


class TruncatedError(CorruptCheckpointError):
    """The file ends before the bytes that it should contain; also a ValueError.

    Examples:
        >>> from ckptparse import TruncatedError, open_checkpoint
        >>> with open_checkpoint("fixtures/tf-1.15.5/train_damaged/short_data") as ckpt:
        ...     try:
        ...         ckpt["layer_2/weights"]
        ...     except TruncatedError as error:
        ...         print(error.expected, "but found", error.found)
        24 bytes up to byte 72 but found a file of 68 bytes
    """

    whole_file = True


class UnsupportedError(CheckpointError, NotImplementedError):
    """This version cannot read an intact file, or save an array; also a NotImplementedError.

    When reading, the cause is a tensor that is not an array (a variant or a resource), that has an
    unknown data type or that is too large for numpy; or a checkpoint that requires a newer reader.
    When saving, it is an array of a data type that TensorFlow does not have, or a file system that
    cannot be written.

    Examples:
        >>> from ckptparse import UnsupportedError, open_checkpoint
        >>> with open_checkpoint("fixtures/tf-2.21.0/variants/model.ckpt") as ckpt:
        ...     try:
        ...         ckpt["list"]
        ...     except UnsupportedError as error:
        ...         print(error.message)
        this tensor cannot be read as an array
    """


class UnreadableError(CheckpointError, OSError):
    """The operating system or the storage cannot open or read a file; also an OSError.

    Examples are missing permissions, a failing disk, and a server that does not answer.  With
    ``confined=True``, a path that leads out of the directory also raises this error.

    Attributes:
        errno: number of the error, as in the module `errno`; or None.

    Examples:
        >>> from ckptparse import UnreadableError
        >>> issubclass(UnreadableError, OSError)
        True
    """

    whole_file = True
    errno: int | None = None
    filename = property(lambda self: self.file)

    @classmethod
    def because(cls, error: OSError, *, file: str, offset: int | None = None) -> UnreadableError:
        """Return the UnreadableError for an error of the operating system."""
        unreadable = cls(error.strerror or str(error), file=file, offset=offset)
        unreadable.errno = error.errno
        return unreadable


class UnwritableError(CheckpointError, OSError):
    """The operating system or the storage cannot write a file; also an OSError.

    Examples are a full disk, missing permissions, and a server that does not answer.  The old
    checkpoint is unchanged, or the new one is complete; see `save_checkpoint`.

    Attributes:
        errno: number of the error, as in the module `errno`; or None.

    Examples:
        >>> from ckptparse import UnwritableError
        >>> issubclass(UnwritableError, OSError)
        True
    """

    whole_file = True
    errno: int | None = None
    filename = property(lambda self: self.file)


class CheckpointExistsError(CheckpointError, FileExistsError):
    """A checkpoint of this name, or one of its files, exists already; also a FileExistsError.

    `save_checkpoint` raises it, unless you use ``overwrite=True``.

    Examples:
        >>> from ckptparse import CheckpointExistsError, save_checkpoint
        >>> try:
        ...     save_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt", {"x": [1.0]})
        ... except CheckpointExistsError as error:
        ...     print(error.message)
        there is a checkpoint of this name already
    """

    errno = errno.EEXIST
    filename = property(lambda self: self.file)


class InvalidTensorsError(CheckpointError, ValueError):
    """The tensors cannot be saved as they are; also a ValueError.

    Examples are an empty name, two tensors of the same name, partitions that do not fit the shape,
    and an array whose shape changed while it was read.

    Examples:
        >>> from ckptparse import InvalidTensorsError, save_checkpoint
        >>> try:
        ...     save_checkpoint("model.ckpt", [("x", 1.0), ("x", 2.0)])
        ... except InvalidTensorsError as error:
        ...     print(error)
        tensor 'x': two tensors have this name
    """


class ConflictError(CheckpointError, ValueError):
    """Checkpoints cannot be averaged or merged, because they contradict each other; a ValueError.

    The text names the tensor and both checkpoints: by their paths, or by their positions among the
    arguments.

    Examples:
        >>> import numpy as np
        >>> from ckptparse import ConflictError, average
        >>> mean = average([{"w": np.float32([1, 2])}, {"w": np.float32([1, 2, 3])}])
        >>> try:
        ...     mean["w"]
        ... except ConflictError as error:
        ...     print(error)
        tensor 'w': the tensors of this name have different shapes
          expected: float32 [2], as in mapping 1 of 2
          found: float32 [3] in mapping 2 of 2
    """


@contextmanager
def located(*, file: str | None = None, base: int = 0, tensor: str | None = None) -> Iterator[None]:
    """Call `CheckpointError.locate` on every error that is raised in this context."""
    try:
        yield
    except CheckpointError as error:
        error.locate(file=file, base=base, tensor=tensor)
        raise
