"""Metadata of tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np


@dataclass(frozen=True, slots=True)
class TensorSlice:
    """One stored slice of a partitioned tensor.

    Attributes:
        start: first index of the slice in the tensor, per dimension.
        shape: its size, per dimension.
        file: path of the file that holds it; None when the checkpoint lacks the slice.
        offset: byte offset in that file; None when the checkpoint lacks the slice, and in V1.
        nbytes: as `TensorInfo.nbytes`.
    """

    start: tuple[int, ...]
    shape: tuple[int, ...]
    file: str | None
    offset: int | None
    nbytes: int

    @property
    def index(self) -> tuple[slice, ...]:
        """The numpy index of this slice in the whole tensor."""
        return tuple(slice(a, a + n) for a, n in zip(self.start, self.shape))


class TensorForms(NamedTuple):
    """Names, shapes and dtypes of many tensors, column by column.

    Attributes:
        names: their names.
        shapes: () for a scalar.
        tensorflow_dtypes: TensorFlow's names of the stored types, as in `TensorInfo`.
    """

    names: list[str]
    shapes: list[tuple[int, ...]]
    tensorflow_dtypes: list[str]


class TensorInfo(NamedTuple):
    """The metadata of a tensor; none of its bytes were read for this.

    Attributes:
        name: name in the checkpoint; bytes that are not UTF-8 become lone surrogates
            ("surrogateescape").
        dtype: numpy dtype of the array that reading gives; `object` for strings (of `bytes`) and
            for what cannot be read (variants, resources, types of a newer TensorFlow).
        tensorflow_dtype: TensorFlow's name of the stored type: "float32", "string", "qint8" ...
        shape: () for a scalar.
        size: number of elements.
        nbytes: bytes that its elements take, in V2 on disk (which is in memory as well, but for
            strings).  0 for strings of V1 and for what is not readable there: only reading tells.
        slices: the stored slices of a partitioned tensor; () for one stored whole.
        mapped: whether reading gives a view over the mapped file instead of a copy, as far as can
            be told without reading.
        file: path of the file that holds it; None for a partitioned tensor.
        offset: byte offset in that file; None for a partitioned tensor and in V1, where elements
            stand inside of records.
    """

    name: str
    dtype: np.dtype[Any]
    tensorflow_dtype: str
    shape: tuple[int, ...]
    size: int
    nbytes: int
    slices: tuple[TensorSlice, ...]
    mapped: bool
    file: str | None
    offset: int | None


class OutlineRow(NamedTuple):
    """A row of a tree of tensors: a scope, an object, a tensor, an optimizer's slots, or an alias.

    Attributes:
        depth: how far from the root.
        name: the last part of its path, as paths have it.
        path: its path.
        num_tensors: how many tensors it and all below it have; 0 for an alias.
        nbytes: how many bytes those take.
        info: the tensor, if it is a variable.
        same_as: of an alias the path under which the object is listed; else None.
        saver: who saved it, if not TensorFlow.
    """

    depth: int
    name: str
    path: str
    num_tensors: int
    nbytes: int
    info: TensorInfo | None = None
    same_as: str | None = None
    saver: str | None = None
