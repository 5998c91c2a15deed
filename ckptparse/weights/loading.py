"""Arrays of one mapping into another: weights into a model."""

from __future__ import annotations

import sys
from collections.abc import MutableMapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ckptparse.errors import CheckpointError
from ckptparse.tensors.mapping import read_each
from ckptparse.weights.selection import Arrays, info_of


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A tensor that source and target both have, but in forms that do not fit.

    Attributes:
        name: its name.
        source_shape, target_shape: () for a scalar.
        source_dtype, target_dtype: as text: "float32", "torch.int64" ...
    """

    name: str
    source_shape: tuple[int, ...]
    source_dtype: str
    target_shape: tuple[int, ...]
    target_dtype: str

    def __str__(self) -> str:
        return (
            f"{self.name!r}: {self.source_dtype} {list(self.source_shape)} in the source,"
            f" {self.target_dtype} {list(self.target_shape)} in the target"
        )


@dataclass(frozen=True, slots=True)
class LoadReport:
    """The result of `load_into`: what it did, or would have done.

    Attributes:
        loaded: names that were copied; with a `MismatchError`, none were.
        missing: names that only the target has.
        unexpected: names that only the source has.
        mismatched: tensors whose shapes differ, or whose dtype would not go into the other.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[Mismatch, ...]

    @property
    def ok(self) -> bool:
        """Whether every tensor of source and target has a partner that it fits."""
        return not (self.missing or self.unexpected or self.mismatched)

    def __str__(self) -> str:
        counts = f"{len(self.loaded)} loaded, {len(self.missing)} missing"
        counts += f", {len(self.unexpected)} unexpected, {len(self.mismatched)} mismatched"
        lines = [counts, *(f"missing: {name!r}" for name in self.missing)]
        lines += [f"unexpected: {name!r}" for name in self.unexpected]
        return "\n".join(lines + [f"mismatched: {mismatch}" for mismatch in self.mismatched])


class MismatchError(CheckpointError, ValueError):
    """The tensors of a source are not those of a target; the text lists all, nothing was changed.

    Attributes:
        report: the same as data.
    """

    def __init__(self, report: LoadReport) -> None:
        super().__init__(f"source and target do not fit: {report}")
        self.report = report


def load_into(
    target: MutableMapping[str, Any], source: Arrays, *, strict: bool = True
) -> LoadReport:
    """Copy the arrays of a source into the arrays of a target, name by name.

    All are compared by shape and dtype, and then all that go over are read and checked, before the
    first is written: what does not fit, or is damaged, leaves the target as it was.  So they are
    all held at once.  Views over mapped files take no memory of the process; what reading puts
    together (partitions, strings, big-endian files, ``mmap=False``, a transform that copies) takes
    its size.  Where that is too much, load selections one after the other, with ``strict=False``.

    Args:
        target: names to arrays.  A writable numpy array and a PyTorch tensor (on any device; a
            state dict, or the parameters) is written in place, so that whoever shares it sees the
            new values.  What cannot be written in place (a read-only array, one of JAX, a tensor
            on the meta device) is replaced in the mapping by a new one of the same dtype: a numpy
            array, for the meta device a PyTorch tensor.
        source: names to arrays, such as a `Checkpoint` or a `Selection`; they must not lie in
            memory that the target writes.
        strict: whether every name must be in both, with the same shape and a dtype that goes into
            the target's without changing its kind (numpy's "same_kind": float64 to float32, not
            float32 to int32; integers only if every value goes).  If not, what fits is copied.

    Raises:
        MismatchError: with `strict`, names, shapes or dtypes do not fit.
        TypeError: a value in the target is no array.
        CheckpointError: whatever reading the source raises.
    """
    missing = tuple(name for name in target if name not in source)
    unexpected = tuple(name for name in source if name not in target)
    fitting, mismatched = [], []
    for name in target:
        if name in source:
            mismatch = _compare(name, source, target[name])
            if mismatch is None:
                fitting.append(name)
            else:
                mismatched.append(mismatch)
    report = LoadReport((), missing, unexpected, tuple(mismatched))
    if strict and not report.ok:
        raise MismatchError(report)
    arrays = dict(read_each(source, fitting))
    for name in fitting:
        if _would_wrap(arrays[name], target[name]):
            array = arrays.pop(name)
            shape, dtype = tuple(target[name].shape), str(target[name].dtype)
            mismatched.append(
                Mismatch(name, array.shape, f"{array.dtype} (too large)", shape, dtype)
            )
    report = LoadReport(tuple(arrays), missing, unexpected, tuple(mismatched))
    if strict and not report.ok:
        raise MismatchError(replace(report, loaded=()))
    for name, array in arrays.items():
        _write(target, name, array)
    return report


def _compare(name: str, source: Arrays, value: Any) -> Mismatch | None:
    if not hasattr(value, "dtype"):
        raise TypeError(f"{name!r} in the target is no array, but {type(value).__name__}")
    info = info_of(source, name)
    shape, dtype = tuple(value.shape), _numpy_dtype(value)
    goes = dtype is not None and np.can_cast(info.dtype, dtype, "same_kind")
    if goes and shape == info.shape:
        return None
    return Mismatch(name, info.shape, str(info.dtype), shape, str(value.dtype))


def _would_wrap(array: NDArray[Any], value: Any) -> bool:
    """Return whether integers would change in the target's narrower type."""
    dtype = _numpy_dtype(value)
    if array.dtype.kind not in "iu" or not array.size or dtype is None or dtype.kind not in "iu":
        return False
    limits = np.iinfo(dtype)
    return bool(array.min() < limits.min or array.max() > limits.max)


def _write(target: MutableMapping[str, Any], name: str, array: NDArray[Any]) -> None:
    value = target[name]
    if _is_torch(value):
        tensor = _as_torch(array, value)
        if value.is_meta:
            target[name] = tensor
        else:
            value.detach().copy_(tensor)  # a parameter refuses to be written under autograd
    elif isinstance(value, np.ndarray) and value.flags.writeable:
        np.copyto(value, array, casting="same_kind")
    else:
        target[name] = np.array(array, dtype=value.dtype)


# PyTorch is never imported: who has a tensor has imported it.


def _is_torch(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _as_torch(array: NDArray[Any], value: Any) -> Any:
    """A new tensor of the dtype of `value`, on the CPU."""
    # The copy is aligned, writable and of the machine's byte order; PyTorch takes nothing else.
    copy = np.array(array, dtype=_numpy_dtype(value))
    if copy.dtype.isbuiltin != 1:  # of ml_dtypes, which PyTorch knows by the same bits only
        copy = copy.view(f"i{copy.dtype.itemsize}")
    return sys.modules["torch"].from_numpy(copy).view(value.dtype)


def _numpy_dtype(value: Any) -> np.dtype[Any] | None:
    """The dtype of an array, or the one of the same name as a PyTorch tensor's, if there is one."""
    if isinstance(value.dtype, np.dtype):
        return value.dtype
    name = str(value.dtype).removeprefix("torch.")
    try:
        return np.dtype(name)
    except TypeError:
        import ml_dtypes  # only tensors of such types pay for it

        scalar_type = getattr(ml_dtypes, name, None)
        return None if scalar_type is None else np.dtype(scalar_type)
