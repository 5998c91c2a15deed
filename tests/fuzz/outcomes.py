"""The outcome of a call: a value, or an error that is allowed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ckptparse import CheckpointError


class Finding(AssertionError):
    """The reader did what it must not do."""


@dataclass(frozen=True)
class Outcome:
    """A value, or the error in its place."""

    value: Any = None
    error: Exception | None = None

    def __str__(self) -> str:
        if self.error is not None:
            return f"{type(self.error).__name__}: {self.error}"
        return repr(self.value)[:300]


def outcome(call: Callable[[], Any], *also: type[Exception]) -> Outcome:
    """Call, and take errors of the tree, or one of `also`; any other goes through."""
    try:
        return Outcome(call())
    except CheckpointError as error:
        # What it says is part of what is tried.
        require(bool(str(error)) and bool(repr(error)), "an error without a text")
        require(not (error.file is None and error.tensor is None), "an error of no place", error)
        return Outcome(error=error)
    except also as error:
        return Outcome(error=error)


def require(holds: bool, *said: object) -> None:
    """Raise a finding unless something holds; the text is made only then."""
    if not holds:
        raise Finding(", ".join(map(str, said)))


def require_same(one: Outcome, other: Outcome, *said: object) -> None:
    """The same value, or an error of the same class."""
    same = type(one.error) is type(other.error) and equal(one.value, other.value)
    require(same, *said, one, other)


def equal(one: Any, other: Any) -> bool:
    """The same values; of arrays also dtype, shape and bytes."""
    if not isinstance(one, np.ndarray) or not isinstance(other, np.ndarray):
        return bool(type(one) is type(other) and one == other)
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    if one.size > 1 and not any(one.strides) and not any(other.strides):  # one repeated value
        one, other = one.flat[:1], other.flat[:1]
    if one.dtype.names is not None:  # the bytes between fields have no meaning
        return all(equal(one[name], other[name]) for name in one.dtype.names)
    if one.dtype == object:
        return bool(one.ravel().tolist() == other.ravel().tolist())
    return one.tobytes() == other.tobytes()
