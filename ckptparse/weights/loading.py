"""Copy the arrays of one mapping into those of another: weights into a model."""

from __future__ import annotations

import sys
from collections.abc import MutableMapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ckptparse.errors import CheckpointError
from ckptparse.tensors.info import TensorInfo
from ckptparse.tensors.mapping import read_each
from ckptparse.weights.selection import Arrays, info_each


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A tensor whose shapes or dtypes in source and target do not fit.

    Attributes:
        name: its name, in source and target.
        source_shape: its shape in the source; () for a scalar.
        source_dtype: its dtype in the source, as text: ``"float32"``; if values of integers do not
            fit into the target's dtype, with a note: ``"int64 (too large)"``.
        target_shape: its shape in the target; () for a scalar.
        target_dtype: its dtype in the target, as text: ``"float32"``, ``"torch.int64"``.

    Examples:
        >>> import numpy as np
        >>> from ckptparse import load_into
        >>> report = load_into({"a": np.zeros(2)}, {"a": np.ones(3)}, strict=False)
        >>> report.mismatched[0].source_shape, report.mismatched[0].target_shape
        ((3,), (2,))
        >>> print(report.mismatched[0])
        'a': float64 [3] in the source, float64 [2] in the target
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
    """The result of `load_into`; ``str(report)`` lists everything that did not fit.

    Attributes:
        loaded: names of the arrays that were copied, in the order of the target; empty in a
            `MismatchError`.
        missing: names that only the target has.
        unexpected: names that only the source has.
        mismatched: tensors that both have, with different shapes, or with dtypes or integers that
            cannot be converted.

    Examples:
        >>> import numpy as np
        >>> from ckptparse import load_into
        >>> report = load_into({"a": np.zeros(2)}, {"a": np.ones(3), "b": np.ones(2)}, strict=False)
        >>> report.ok
        False
        >>> print(report)
        0 loaded, 0 missing, 1 unexpected, 1 mismatched
        unexpected: 'b'
        mismatched: 'a': float64 [3] in the source, float64 [2] in the target
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[Mismatch, ...]

    @property
    def ok(self) -> bool:
        """Whether source and target have the same names, and every array fits.

        Examples:
            >>> import numpy as np
            >>> from ckptparse import load_into
            >>> load_into({"a": np.zeros(2)}, {"a": np.ones(2)}).ok
            True
        """
        return not (self.missing or self.unexpected or self.mismatched)

    def __str__(self) -> str:
        counts = f"{len(self.loaded)} loaded, {len(self.missing)} missing"
        counts += f", {len(self.unexpected)} unexpected, {len(self.mismatched)} mismatched"
        lines = [counts, *(f"missing: {name!r}" for name in self.missing)]
        lines += [f"unexpected: {name!r}" for name in self.unexpected]
        return "\n".join(lines + [f"mismatched: {mismatch}" for mismatch in self.mismatched])


class MismatchError(CheckpointError, ValueError):
    """The tensors of source and target do not fit; nothing was changed.

    The message lists every tensor that does not fit.

    Attributes:
        report: the `LoadReport` with the same facts as data.

    Examples:
        >>> import numpy as np
        >>> from ckptparse import MismatchError, load_into
        >>> try:
        ...     load_into({"a": np.zeros(2)}, {"b": np.ones(2)})
        ... except MismatchError as error:
        ...     error.report.missing, error.report.unexpected
        (('a',), ('b',))
    """

    def __init__(self, report: LoadReport) -> None:
        super().__init__(f"source and target do not fit: {report}")
        self.report = report


def load_into(
    target: MutableMapping[str, Any], source: Arrays, *, strict: bool = True
) -> LoadReport:
    """Copy the arrays of a source into the arrays of a target with the same names.

    An error leaves the target unchanged: first names, shapes and dtypes are compared, then all
    arrays to be copied are read and checked, and only then are arrays written.

    Memory: all arrays to be copied are held at the same time.  Views of mapped files take no memory
    of the process.  Other arrays take their full size: partitioned tensors, strings, big-endian
    files, arrays with ``mmap=False``, and results of transforms that copy.  If that is too much,
    load several selections one after the other, with ``strict=False``.

    Args:
        target: a mapping from names to arrays.  Writable numpy arrays and PyTorch tensors (of a
            state dict or of the parameters, on any device) are written in place, so that views of
            them see the new values.  Arrays that cannot be written in place (read-only numpy
            arrays, JAX arrays, PyTorch tensors on the meta device) are replaced in the mapping by
            new ones of the same dtype: a PyTorch tensor for the meta device, otherwise a numpy
            array.
        source: a mapping from names to arrays: a `Checkpoint`, a `Selection`, a dict.  Its arrays
            must not share memory with the target.
        strict: whether to require the same names in both, with equal shapes, and dtypes that numpy
            converts under its rule "same_kind": float64 to float32, not float32 to int32.
            Integers also need every value to fit into the target's dtype.  With False, the arrays
            that fit are copied and the others are reported.

    Returns:
        A `LoadReport`.

    Raises:
        MismatchError: names, shapes or dtypes do not fit, and `strict` is true.
        TypeError: a value of the target is not an array: it has no dtype.
        CheckpointError: reading the source failed.

    Examples:
        >>> import numpy as np
        >>> from ckptparse import load_into, open_checkpoint
        >>> model = {"weights": np.zeros((1, 1, 12, 10)), "biases": np.zeros(10)}
        >>> with open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt") as ckpt:
        ...     report = load_into(model, ckpt.select(assignment_map={"vgg_16/fc8/": "/"}))
        >>> report.loaded, report.ok
        (('weights', 'biases'), True)
        >>> bool(model["weights"].any())
        True
    """
    missing = tuple(name for name in target if name not in source)
    unexpected = tuple(name for name in source if name not in target)
    fitting, mismatched = [], []
    common = [name for name in target if name in source]
    for name, info in zip(common, info_each(source, common)):
        mismatch = _compare(name, info, target[name])
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


def _compare(name: str, info: TensorInfo, value: Any) -> Mismatch | None:
    """Return the mismatch of a source's tensor and a target's array; None if they fit."""
    if not hasattr(value, "dtype"):
        raise TypeError(f"{name!r} in the target is no array, but {type(value).__name__}")
    shape, dtype = tuple(value.shape), _numpy_dtype(value)
    can_cast = dtype is not None and np.can_cast(info.dtype, dtype, "same_kind")
    if can_cast and shape == info.shape:
        return None
    return Mismatch(name, info.shape, str(info.dtype), shape, str(value.dtype))


def _would_wrap(array: NDArray[Any], value: Any) -> bool:
    """Return whether an integer of the array is outside of the range of the target's dtype."""
    dtype = _numpy_dtype(value)
    if array.dtype.kind not in "iu" or not array.size or dtype is None or dtype.kind not in "iu":
        return False
    limits = np.iinfo(dtype)
    return bool(array.min() < limits.min or array.max() > limits.max)


def _write(target: MutableMapping[str, Any], name: str, array: NDArray[Any]) -> None:
    """Copy an array into the target's array; replace that if it cannot be written in place."""
    value = target[name]
    if _is_torch(value):
        tensor = _as_torch(array, value)
        if value.is_meta:
            target[name] = tensor
        else:
            value.detach().copy_(tensor)  # autograd forbids writing into a parameter
    elif isinstance(value, np.ndarray) and value.flags.writeable:
        np.copyto(value, array, casting="same_kind")
    else:
        target[name] = np.array(array, dtype=value.dtype)


def _is_torch(value: Any) -> bool:
    """Return whether a value is a PyTorch tensor.  Does not import PyTorch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _as_torch(array: NDArray[Any], value: Any) -> Any:
    """Return a new tensor of the dtype of `value`, on the CPU."""
    # PyTorch accepts only aligned, writable arrays in the machine's byte order: copy.
    copy = np.array(array, dtype=_numpy_dtype(value))
    if copy.dtype.isbuiltin != 1:  # a dtype of ml_dtypes, which PyTorch accepts as integers
        copy = copy.view(f"i{copy.dtype.itemsize}")
    return sys.modules["torch"].from_numpy(copy).view(value.dtype)


def _numpy_dtype(value: Any) -> np.dtype[Any] | None:
    """Return the numpy dtype of an array or PyTorch tensor; None if numpy has none of its name."""
    if isinstance(value.dtype, np.dtype):
        return value.dtype
    name = str(value.dtype).removeprefix("torch.")
    try:
        return np.dtype(name)
    except TypeError:
        import ml_dtypes  # imported only for dtypes that numpy lacks

        scalar_type = getattr(ml_dtypes, name, None)
        return None if scalar_type is None else np.dtype(scalar_type)
