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
    """

    name: str | None
    error: CheckpointError


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
