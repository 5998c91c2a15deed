"""Prepare the mappings that are averaged or merged, and describe them in errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ckptparse.errors import ConflictError
from ckptparse.tensors.conversion import describe_array, to_array
from ckptparse.tensors.info import TensorInfo
from ckptparse.tensors.mapping import TensorMapping
from ckptparse.tensors.numpy_index import Index, keep_array

if TYPE_CHECKING:
    from numpy.typing import NDArray


class ArrayMapping(TensorMapping):
    """A mapping from names to arrays, or to anything that `to_array` converts to arrays."""

    def __init__(self, arrays: Mapping[str, Any]) -> None:
        self._arrays = arrays

    def read(self, name: str, index: Index = ...) -> NDArray[Any]:
        """Return an array, or the part of it that a numpy index takes."""
        array = to_array(self._arrays[name])
        return array if index is Ellipsis else np.asarray(array[keep_array(index)])

    def info(self, name: str) -> TensorInfo:
        """Return the metadata of an array."""
        return describe_array(name, self._arrays[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __contains__(self, name: object) -> bool:
        return name in self._arrays


def as_tensor_mapping(mapping: Mapping[str, Any], number: int) -> TensorMapping:
    """Return a mapping as a `TensorMapping`.

    Args:
        mapping: the mapping.
        number: its number among the arguments, for the error.

    Raises:
        TypeError: it is not a mapping.
    """
    if isinstance(mapping, TensorMapping):
        return mapping
    if not isinstance(mapping, Mapping):
        raise TypeError(
            f"argument {number + 1} is not a mapping from names to arrays, but"
            f" {type(mapping).__name__}"
        )
    return ArrayMapping(mapping)


def label(mappings: list[TensorMapping], number: int, name: str | None = None) -> str:
    """Return the path of a mapping's checkpoint, or its number if it has none.

    Args:
        mappings: all mappings.
        number: the position of the mapping, from 0.
        name: name of a tensor, whose chain of origins leads to the checkpoint; None for the first
            tensor of the mapping.
    """
    mapping = mappings[number]
    name = next(iter(mapping), None) if name is None else name
    while name is not None:
        source, name_there = mapping.origin(name)
        if source is mapping:
            break
        mapping, name = source, name_there
    path = getattr(mapping, "path", None)
    return path if isinstance(path, str) else f"mapping {number + 1} of {len(mappings)}"


def own_origin(own: TensorMapping, source: TensorMapping, name: str) -> tuple[TensorMapping, str]:
    """Return the origin of a tensor that `own` reads from `source`; see `TensorMapping.origin`."""
    return (own if isinstance(source, ArrayMapping) else source), name


Form = tuple[str, tuple[int, ...]]
"""TensorFlow's name of a dtype, and a shape."""


def require_same_form(
    mappings: list[TensorMapping], numbers: tuple[int, int], name: str, forms: tuple[Form, Form]
) -> None:
    """Raise ConflictError if a tensor's dtype or shape differs between two mappings.

    Args:
        mappings: all mappings.
        numbers: positions of the two.
        name: name of the tensor.
        forms: its form in each.
    """
    first, second = forms
    if first == second:
        return
    what = "shapes" if first[0] == second[0] else "dtypes"
    raise ConflictError(
        f"the tensors of this name have different {what}",
        tensor=name,
        expected=f"{_text(first)}, as in {label(mappings, numbers[0], name)}",
        found=f"{_text(second)} in {label(mappings, numbers[1], name)}",
    )


def _text(form: Form) -> str:
    dtype, shape = form
    return f"{dtype} {list(shape)}"
