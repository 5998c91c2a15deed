"""Average and merge checkpoints, given as mappings or by their paths."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from ckptparse.opening import open_checkpoint
from ckptparse.weights.average import Average
from ckptparse.weights.merge import Merge

Tensors = str | os.PathLike[str] | Mapping[str, Any]
"""The path of a checkpoint; or a mapping from names to arrays: a `Checkpoint`, a `Selection`, a
dict of numpy arrays, PyTorch tensors or JAX arrays."""


def average(
    checkpoints: Iterable[Tensors],
    *,
    weights: Iterable[float] | None = None,
    on_conflict: Literal["error", "last"] = "error",
) -> Average:
    """Return the element-wise mean of checkpoints, as a lazy mapping.

    Reads no tensor.  Each access reads the tensor from every checkpoint: `read_pieces` one piece
    after the other, so that the memory for it does not grow with the number of checkpoints.

    Real and complex numbers are averaged: the products of weight and value are added in float64, in
    the order of the checkpoints, and divided by the sum of the weights.  The result is rounded to
    the dtype of the tensor, to the nearest, ties to even.  Real and imaginary parts are averaged
    separately.  NaN and infinities give what float64 arithmetic gives.  Integers, booleans,
    quantized numbers and strings have no mean, and must be equal in all checkpoints.

    Args:
        checkpoints: paths of checkpoints, and mappings from names to arrays (a `Checkpoint`, a
            `Selection`, a dict).  A checkpoint that is given by its path stays open as long as the
            result exists.
        weights: a number for each checkpoint, 0 or more; None for equal weights.  Only their ratios
            matter.
        on_conflict: what to do if integers, booleans or strings differ: "error" raises a
            `ConflictError` when they are read; "last" takes those of the last checkpoint, as is
            right for ``global_step``.

    Returns:
        A lazy mapping with `info`, `infos`, `read`, `read_each`, `read_pieces` and `select`, like a
        `Selection`.  Its names are in the order of the first checkpoint.

    Raises:
        ConflictError: the checkpoints have different names.  Shapes and dtypes are compared when a
            tensor is read, and by `info` and `infos`.
        ValueError: there are no checkpoints; the number of weights is wrong; a weight is negative
            or not finite; or all are 0.
        CheckpointError: opening a path failed; see `open_checkpoint`.

    Examples:
        >>> import numpy as np
        >>> from ckptparse import average
        >>> first = {"w": np.float32([1, 2]), "global_step": np.int64(100)}
        >>> second = {"w": np.float32([3, 5]), "global_step": np.int64(200)}
        >>> mean = average([first, second], on_conflict="last")
        >>> mean["w"], int(mean["global_step"])
        (array([2. , 3.5], dtype=float32), 200)
        >>> average([first, second], weights=[3, 1])["w"]
        array([1.5 , 2.75], dtype=float32)
        >>> path = "fixtures/tf-1.15.5/vgg_16/model.ckpt"
        >>> average([path, path])["vgg_16/fc6/biases"].shape
        (12,)
    """
    _require_choice(on_conflict, ("error", "last"))
    return Average(_open_each(checkpoints), weights, takes_last=on_conflict == "last")


def merge(*mappings: Tensors, on_conflict: Literal["error", "first", "last"] = "error") -> Merge:
    """Return all tensors of several checkpoints or mappings, as one lazy mapping.

    Reads no tensor.

    Args:
        mappings: paths of checkpoints, and mappings from names to arrays (a `Checkpoint`, a
            `Selection`, a dict).  A checkpoint that is given by its path stays open as long as the
            result exists.
        on_conflict: what to do if several have the same name: "error" raises a `ConflictError`;
            "first" and "last" take the tensor of the first or last mapping that has it.  Its shape
            and dtype must be the same in all of them.

    Returns:
        A lazy mapping with `info`, `infos`, `read`, `read_each`, `read_pieces` and `select`, like a
        `Selection`.  Its names are those of the first mapping, then the new ones of the second, and
        so on.

    Raises:
        ConflictError: several mappings have the same name.  With "first" and "last", shapes and
            dtypes are compared when a tensor is read, and by `info` and `infos`.
        ValueError: there are no mappings.
        CheckpointError: opening a path failed; see `open_checkpoint`.

    Examples:
        >>> import numpy as np
        >>> from ckptparse import merge, open_checkpoint
        >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt")
        >>> backbone = ckpt.select(include="vgg_16/conv1/*/weights")
        >>> head = {"head/weights": np.zeros((4, 10), np.float32)}
        >>> list(merge(backbone, head))
        ['vgg_16/conv1/conv1_1/weights', 'vgg_16/conv1/conv1_2/weights', 'head/weights']
    """
    _require_choice(on_conflict, ("error", "first", "last"))
    return Merge(_open_each(mappings), on_conflict)


def _open_each(given: Iterable[Tensors]) -> Iterator[Mapping[str, Any]]:
    """Yield mappings; the checkpoints of paths are opened."""
    if isinstance(given, (str, os.PathLike, Mapping)):
        raise TypeError("checkpoints is several paths or mappings: [checkpoint, ...]")
    for each in given:
        yield open_checkpoint(each) if isinstance(each, (str, os.PathLike)) else each


def _require_choice(on_conflict: str, choices: tuple[str, ...]) -> None:
    """Raise ValueError if `on_conflict` is none of the choices."""
    if on_conflict not in choices:
        raise ValueError(f"on_conflict is one of {', '.join(choices)}, not {on_conflict!r}")
