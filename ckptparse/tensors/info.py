"""The metadata of tensors."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class TensorSlice(NamedTuple):
    """One stored slice of a partitioned tensor.

    Attributes:
        start: first index of the slice in the tensor, for each dimension.
        shape: size of the slice, for each dimension.
        file: path of the file that contains the slice; None if the slice is not in the checkpoint.
        offset: byte offset in that file; None if the slice is not in the checkpoint, and in V1.
        nbytes: number of bytes of its elements, as `TensorInfo.nbytes`.

    Examples:
        >>> from ckptparse import open_checkpoint
        >>> with open_checkpoint("fixtures/tf-2.21.0/slices/model.ckpt") as ckpt:
        ...     info = ckpt.info("rows")
        >>> info.shape
        (7, 4)
        >>> [(part.start, part.shape, part.offset) for part in info.slices]
        [((0, 0), (3, 4), 4), ((3, 0), (4, 4), 52)]
    """

    start: tuple[int, ...]
    shape: tuple[int, ...]
    file: str | None
    offset: int | None
    nbytes: int

    @property
    def index(self) -> tuple[slice, ...]:  # type: ignore[override]  # no search, as tuples have
        """The numpy index of this slice in the whole tensor.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> with open_checkpoint("fixtures/tf-2.21.0/slices/model.ckpt") as ckpt:
            ...     ckpt.info("rows").slices[1].index
            (slice(3, 7, None), slice(0, 4, None))
        """
        return tuple(slice(a, a + n) for a, n in zip(self.start, self.shape))


class TensorForms(NamedTuple):
    """Names, shapes and data types of many tensors, as three lists of equal length.

    Attributes:
        names: names of the tensors.
        shapes: their shapes; () for a scalar.
        tensorflow_dtypes: TensorFlow's names of the stored data types, such as "float32".

    Examples:
        >>> from ckptparse import open_checkpoint
        >>> with open_checkpoint("fixtures/tf-2.21.0/slices/model.ckpt") as ckpt:
        ...     forms = ckpt.forms()
        >>> dict(zip(forms.names, forms.shapes))["rows"]
        (7, 4)
    """

    names: list[str]
    shapes: list[tuple[int, ...]]
    tensorflow_dtypes: list[str]


class TensorInfo(NamedTuple):
    """The metadata of a tensor.

    Attributes:
        name: name in the checkpoint.  Bytes that are not UTF-8 are lone surrogates
            ("surrogateescape").
        dtype: numpy dtype of the array that reading returns.  `object` for strings, whose elements
            are `bytes`, and for tensors that cannot be read: variants, resources and data types
            of a newer TensorFlow.
        tensorflow_dtype: TensorFlow's name of the stored data type, such as "float32", "string" or
            "qint8"; numpy's name for an array of another file whose dtype TensorFlow does not have.
        shape: shape; () for a scalar.
        size: number of elements.
        nbytes: number of bytes of the elements.  In V2, this is the size on disk, which for all
            types but strings is also the size in memory.  Elsewhere, this is the size in memory; in
            V1, it is 0 for strings, whose size is unknown until they are read, and for tensors that
            cannot be read.
        slices: the stored slices of a partitioned tensor; () for a tensor stored whole.
        mapped: whether reading returns a view of the mapped file instead of a copy, as far as this
            is known without reading.
        file: path of the file that contains the tensor; None for a partitioned tensor.
        offset: byte offset in that file; None for a partitioned tensor, and for elements that are
            not stored as they are in memory: in the records of V1, or compressed.

    Examples:
        >>> from ckptparse import open_checkpoint
        >>> with open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt") as ckpt:
        ...     info = ckpt.info("vgg_16/fc6/weights")
        >>> info.dtype.name, info.shape, info.size, info.nbytes
        ('float32', (7, 7, 6, 12), 3528, 14112)
        >>> info.mapped, info.file, info.slices
        (True, 'fixtures/tf-1.15.5/vgg_16/model.ckpt.data-00000-of-00001', ())
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
