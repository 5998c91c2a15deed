"""Verify checkpoints: read every stored byte, and report all damage."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from ckptparse.errors import CheckpointError, ChecksumError, CorruptCheckpointError
from ckptparse.formats.reader import Entry, Reader, nbytes_of, prefetch_each
from ckptparse.limits import MAX_DAMAGED_TENSORS
from ckptparse.tensors.names import decode_name, require_names

if TYPE_CHECKING:  # imported at first need
    from ckptparse.tensors.pieces import Piece

Progress = Callable[[int, int], object]
"""A function that is called with (bytes checked so far, total bytes)."""

OnPiece = Callable[["Piece"], object]
"""A function that is called with each piece of the tensors."""


class Damage(NamedTuple):
    """A damaged tensor, or damage to the index.

    Attributes:
        name: the tensor; None for damage to the index, which may hide any number of tensors.
        error: the exception that reading it raises.
        nbytes: the size of the tensor, as `TensorInfo.nbytes`; 0 if it is unknown because of the
            damage.

    Examples:
        >>> from ckptparse import open_checkpoint
        >>> with open_checkpoint("fixtures/tf-1.15.5/train_damaged/short_data") as ckpt:
        ...     (damage,) = ckpt.verify().damaged
        >>> damage.name, type(damage.error).__name__, damage.nbytes
        ('layer_2/weights', 'TruncatedError', 24)
    """

    name: str | None
    error: CheckpointError
    nbytes: int = 0


class Cause(NamedTuple):
    """A cause of damage: a file that is missing, cut off or unreadable, or one damaged place.

    Attributes:
        error: the exception that reading the first of the damaged tensors raises.
        names: the damaged tensors, in the order of the checkpoint; () for damage to the index.
        nbytes: the total size of these tensors.

    Examples:
        >>> from ckptparse import open_checkpoint
        >>> with open_checkpoint("fixtures/tf-1.15.5/train_damaged/no_data") as ckpt:
        ...     (cause,) = ckpt.verify().causes
        >>> type(cause.error).__name__, cause.names, cause.nbytes
        ('MissingShardError', ('layer_0/weights', 'layer_1/weights', 'layer_2/weights'), 72)
    """

    error: CheckpointError
    names: tuple[str, ...]
    nbytes: int


class VerifyReport(NamedTuple):
    """The result of `Checkpoint.verify`.

    Attributes:
        damaged: all damage, in the order of the checkpoint.
        num_tensors: the number of tensors that were checked, including damaged ones.
        nbytes: the number of bytes whose checksum was compared.
        unchecked: names of tensors whose checksum was not compared: because the file has none, or
            because this version does not know how the checksum of their type is computed.

    Examples:
        >>> from ckptparse import open_checkpoint
        >>> with open_checkpoint("fixtures/tf-1.15.5/train_damaged/short_data") as ckpt:
        ...     report = ckpt.verify()
        >>> report.num_tensors, report.nbytes, [damage.name for damage in report.damaged]
        (3, 48, ['layer_2/weights'])
    """

    damaged: tuple[Damage, ...]
    num_tensors: int
    nbytes: int
    unchecked: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether no damage was found.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> open_checkpoint("fixtures/tf-1.15.5/train_damaged/short_data").verify().ok
            False
        """
        return not self.damaged

    @property
    def causes(self) -> tuple[Cause, ...]:
        """The causes of all damage, each once, in the order of the checkpoint.

        Tensors that cannot be read because the same file is missing, cut off or unreadable have
        one cause, and so have those of a ``.keras`` archive, which share a checksum.  Any other
        damage is a cause of its own.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> report = open_checkpoint("fixtures/tf-1.15.5/train_damaged/no_data").verify()
            >>> len(report.damaged), len(report.causes)
            (3, 1)
        """
        groups: dict[object, list[Damage]] = {}
        for i, damage in enumerate(self.damaged):
            error = damage.error
            is_shared = damage.name is not None and error.whole_file
            key = (error.message, error.file) if is_shared else i
            groups.setdefault(key, []).append(damage)
        return tuple(
            Cause(
                group[0].error,
                tuple(damage.name for damage in group if damage.name is not None),
                sum(damage.nbytes for damage in group),
            )
            for group in groups.values()
        )


def verify_tensors(
    reader: Reader,
    names: Iterable[str] | None,
    find: Callable[[str], tuple[bytes, Entry]],
    progress: Progress | None,
    on_piece: OnPiece | None = None,
) -> VerifyReport:
    """Check all bytes of tensors; without names, also all bytes of the index.

    Args:
        reader: the open checkpoint.
        names: the tensors to check; None for all tensors and the index.
        find: returns the key and the entry of a name, or raises TensorNotFoundError.
        progress: called after each tensor; None for no calls.
        on_piece: called with the pieces of all tensors, while they are checked; None for no calls.

    Raises:
        TensorNotFoundError: the checkpoint has no tensor with one of these names.
        TypeError: `names` is a string.
    """
    reader.forget_verified()
    reader = reader.for_one_loop()
    entries: list[tuple[bytes, Entry]] = []
    damaged: list[Damage] = []
    if names is None:
        entries, errors = reader.surviving_entries()
        damaged = [Damage(error.tensor, error) for error in errors]
    else:
        for name in dict.fromkeys(require_names(names)):
            try:
                entries.append(find(name))
            except CorruptCheckpointError as error:
                damaged.append(Damage(name, error))
    sizes = [nbytes_of(reader, key, entry) for key, entry in entries]
    total, done = sum(sizes), 0
    num_tensors = nbytes_checked = 0
    unchecked = []
    for (key, entry), nbytes in zip(prefetch_each(reader, entries), sizes):
        if len(damaged) > MAX_DAMAGED_TENSORS:
            damaged.append(Damage(None, _too_much_damage(reader.path)))
            break
        num_tensors += 1
        try:
            if _verify(reader, key, entry, on_piece):
                nbytes_checked += nbytes
            else:
                unchecked.append(decode_name(key))
        except CheckpointError as error:
            if isinstance(error, ChecksumError):  # the checksum was compared
                nbytes_checked += nbytes
            name = decode_name(key)
            error.locate(file=reader.path, tensor=name)
            error.forget_frames()
            damaged.append(Damage(name, error, nbytes))
        done += nbytes
        if progress is not None:
            progress(done, total)
    return VerifyReport(tuple(damaged), num_tensors, nbytes_checked, tuple(unchecked))


def _verify(reader: Reader, key: bytes, entry: Entry, on_piece: OnPiece | None) -> bool:
    """Check one tensor; see `Reader.verify`."""
    if on_piece is None:
        return reader.verify(key, entry)
    from ckptparse.tensors.pieces import Piece

    name, (dtype, shape) = decode_name(key), reader.form(key, entry)
    return reader.verify_and_read(
        key, entry, lambda start, values: on_piece(Piece(name, dtype, shape, start, values))
    )


def _too_much_damage(path: str) -> CheckpointError:
    """Return the error that ends a report of too many damaged tensors."""
    return CorruptCheckpointError(
        "too many damaged tensors",
        file=path,
        expected=f"at most {MAX_DAMAGED_TENSORS} damaged ones",
        found="more; the rest was not checked",
    )
