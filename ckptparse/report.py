"""What a verification found."""

from __future__ import annotations

from typing import NamedTuple

from ckptparse.errors import CheckpointError


class Damage(NamedTuple):
    """One thing that is wrong.

    Attributes:
        name: the tensor that cannot be read, None for damage to the index, which may hide any
            number of tensors.
        error: what reading it raises.
        nbytes: size of that tensor, as `TensorInfo.nbytes`; 0 where damage hides it.
    """

    name: str | None
    error: CheckpointError
    nbytes: int = 0


class Cause(NamedTuple):
    """Why tensors cannot be read: one file that is missing or cut off, or one damaged place.

    Attributes:
        error: what reading the first of these tensors raises.
        names: the tensors, in the order of the checkpoint; () for damage to the index.
        nbytes: the size of all these tensors.
    """

    error: CheckpointError
    names: tuple[str, ...]
    nbytes: int


class VerifyReport(NamedTuple):
    """All that `Checkpoint.verify` found.

    Attributes:
        damaged: every damage, in the order of the checkpoint.
        num_tensors: how many tensors were checked, damaged ones included.
        nbytes: how many bytes were checked: of tensors that are intact, or have another checksum.
        unchecked: names of tensors of a type whose checksum this version does not know.
    """

    damaged: tuple[Damage, ...]
    num_tensors: int
    nbytes: int
    unchecked: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.damaged

    @property
    def causes(self) -> tuple[Cause, ...]:
        """What is wrong, each cause once, in the order of the checkpoint.

        Tensors that cannot be read because the same file is missing, cut off or unreadable have
        one cause.  Any other damage is a cause of its own.
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
