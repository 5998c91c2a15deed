"""The tensors that are being written: their metadata in advance, their bytes in pieces."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ckptparse.errors import CheckpointError, InvalidTensorsError, UnsupportedError
from ckptparse.tensors.dtypes import find_number, lookup, numpy_dtype
from ckptparse.tensors.info import TensorInfo
from ckptparse.tensors.mapping import PIECE_NBYTES, TensorMapping
from ckptparse.tensors.octets import to_octets
from ckptparse.tensors.pieces import Piece

if TYPE_CHECKING:
    from numpy.typing import NDArray

Progress = Callable[[int, int | None], object]
"""Called with the number of bytes written, and the total number or None."""


class Form(NamedTuple):
    """Name, dtype and shape of a tensor that is written.

    Attributes:
        name: name of the tensor.
        dtype: TensorFlow's name of the dtype, such as "float32" or "qint8".
        shape: shape of the tensor.
        nbytes: number of bytes that are written.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """The dtype of its array."""
        return numpy_dtype(find_number(self.dtype) or 0)


class Contents:
    """Tensors that are written to a file.

    Attributes:
        forms: name -> form of each tensor, in the order of the mapping.
    """

    def __init__(self, tensors: TensorMapping, progress: Progress | None = None) -> None:
        """
        Args:
            tensors: the tensors.
            progress: called after each piece.
        """
        self._tensors = tensors
        self._progress = progress
        self._done = 0
        self.forms = {info.name: _form(info) for info in tensors.infos()}
        self._total = sum(form.nbytes for form in self.forms.values())

    def require_dtypes(self, dtypes: Collection[str], what: str) -> None:
        """Check that a format can hold all tensors.

        Args:
            dtypes: TensorFlow's names of the dtypes that it has.
            what: what has them, for the message, such as "a .npz file".

        Raises:
            UnsupportedError: a tensor has another dtype.
        """
        refused = [form for form in self.forms.values() if form.dtype not in dtypes]
        if refused:
            form = refused[0]
            more = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
            raise UnsupportedError(
                f"{what} cannot hold {form.dtype}",
                tensor=form.name,
                expected=_hint(form, dtypes),
                found=f"{form.dtype} {list(form.shape)}{more}",
            )

    def read_each(self, names: Iterable[str]) -> Iterator[tuple[Form, Iterator[NDArray[np.uint8]]]]:
        """Yield the form of each tensor, and an iterator over its bytes, which must be exhausted.

        Args:
            names: names of tensors, each once.

        Raises:
            InvalidTensorsError: a tensor has another form than its metadata said.
            CheckpointError: reading a tensor failed.
        """
        names = list(names)
        pieces = self._tensors.read_pieces(names, PIECE_NBYTES)
        for name in names:
            form = self.forms[name]
            yield form, self._octets(form, pieces)

    def _octets(self, form: Form, pieces: Iterator[Piece]) -> Iterator[NDArray[np.uint8]]:
        """Yield the bytes of the next tensor of `pieces`."""
        number = find_number(form.dtype) or 0
        done, size = 0, prod(form.shape)
        while True:
            piece = next(pieces, None)
            if piece is None or piece.start != done or not _fits(piece, form):
                raise _changed(form, piece)
            done += piece.values.size
            octets = to_octets(piece.values, number)
            self._done += octets.nbytes
            yield octets
            if self._progress is not None:
                self._progress(self._done, self._total)
            if done >= size:
                break
        if done != size:
            raise _changed(form, piece)


def is_text(name: str) -> bool:
    """Return whether a name can be written in UTF-8; lone surrogates cannot."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _form(info: TensorInfo) -> Form:
    """Return the form of a tensor."""
    number = find_number(info.tensorflow_dtype)
    itemsize = None if number is None else lookup(number).itemsize
    nbytes = info.nbytes if itemsize is None else info.size * itemsize
    return Form(info.name, info.tensorflow_dtype, info.shape, nbytes)


def _fits(piece: Piece, form: Form) -> bool:
    """Return whether a piece has the dtype and the shape of its tensor."""
    dtype = piece.values.dtype
    return (piece.name, piece.dtype, piece.shape) == form[:3] and (
        dtype == form.numpy_dtype or dtype.newbyteorder("=") == form.numpy_dtype
    )


def _changed(form: Form, piece: Piece | None) -> CheckpointError:
    """Return the error for a tensor that is not as its metadata said."""
    found = "no more elements"
    if piece is not None:
        found = f"{piece.dtype} {list(piece.shape)}, {piece.values.size} elements from number"
        found += f" {piece.start} as {piece.values.dtype}"
    return InvalidTensorsError(
        "the tensor changed while it was read",
        tensor=form.name,
        expected=f"{form.dtype} {list(form.shape)}",
        found=found,
    )


def _hint(form: Form, dtypes: Collection[str]) -> str:
    """Return how a tensor of a dtype can be written all the same."""
    number = find_number(form.dtype)
    kind = "" if number is None else lookup(number).kind
    if kind == "string":
        return "numbers or booleans: exclude the strings, or save a checkpoint"
    if kind == "float" and "float32" in dtypes:
        size = {1: "uint8", 2: "uint16"}.get(lookup(number or 0).itemsize or 0, "uint8")
        return (
            f'another dtype: cast it with dtype="float32" (--dtype float32), which loses nothing,'
            f" or save its bits, as array.view(numpy.{size})"
        )
    if kind in ("int", "uint"):
        return "another dtype: transform it with array.astype(numpy.int8), or exclude it"
    if kind == "complex":
        return "real numbers: save the real and imaginary parts, or exclude it"
    return "another dtype, or without this tensor: exclude it"
