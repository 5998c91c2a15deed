"""The mean of several checkpoints, computed piece by piece when it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from math import fsum, inf, isfinite, prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ckptparse.errors import ConflictError
from ckptparse.tensors.dtypes import lookup, number_of, numpy_dtype
from ckptparse.tensors.info import TensorInfo
from ckptparse.tensors.mapping import PIECE_NBYTES, Role, TensorMapping
from ckptparse.tensors.names import not_found, require_names
from ckptparse.tensors.numpy_index import Index
from ckptparse.tensors.pieces import Piece, is_last, join
from ckptparse.tensors.rounding import round_to
from ckptparse.weights.inputs import (
    Form,
    as_tensor_mapping,
    label,
    own_origin,
    require_same_form,
)
from ckptparse.weights.selection import info_each, select

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SUM_NBYTES_PER_BYTE = 4
"""Sums take 8 bytes for each element: four times those of bfloat16, twice those of float32.  The
pieces are made smaller by this factor, so that a sum takes little more than a piece; and by the
number of mappings, because each mapping can hold as much that it has read ahead."""

_KINDS_WITH_A_MEAN = ("float", "complex")
"""Kinds of `DataType` whose elements are averaged; those of the others must agree."""


class Average(TensorMapping):
    """The element-wise mean of mappings with the same tensors; made by `ckptparse.average`.

    Each access reads the tensor from all mappings; nothing is cached.

    Examples:
        >>> import numpy as np
        >>> from ckptparse import average
        >>> mean = average([{"w": np.float32([1, 2])}, {"w": np.float32([2, 4])}])
        >>> mean
        <Average of 2 mappings, 1 tensors>
        >>> mean["w"]
        array([1.5, 3. ], dtype=float32)
    """

    def __init__(
        self,
        mappings: Iterable[Mapping[str, Any]],
        weights: Iterable[float] | None = None,
        *,
        takes_last: bool = False,
    ) -> None:
        """Use `ckptparse.average`.

        Args:
            mappings: mappings from names to arrays.
            weights: a number for each mapping; None for equal weights.
            takes_last: whether tensors that have no mean are those of the last mapping, without a
                comparison.

        Raises:
            ValueError: there are no mappings; or the number of weights is wrong, a weight is
                negative or not finite, or all are 0.
            ConflictError: the mappings have different names.
            TypeError: an argument is not a mapping.
        """
        self._mappings = [
            as_tensor_mapping(mapping, number) for number, mapping in enumerate(mappings)
        ]
        if not self._mappings:
            raise ValueError("there is nothing to average: no checkpoints")
        self._weights = None if weights is None else _require_weights(weights, self._mappings)
        self._total = float(len(self._mappings)) if self._weights is None else fsum(self._weights)
        self._takes_last = takes_last
        self._names = dict.fromkeys(self._mappings[0])
        for number in range(1, len(self._mappings)):
            self._require_same_names(number)

    def _require_same_names(self, number: int) -> None:
        """Raise ConflictError if a mapping has other names than the first one."""
        there = set(self._mappings[number])
        missing = [name for name in self._names if name not in there]
        extra = sorted(there.difference(self._names))
        if not missing and not extra:
            return
        first, place = (label(self._mappings, each) for each in (0, number))
        lacks, has = (place, first) if missing else (first, place)
        found = [
            f"{len(names)} {text}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
            for names, text in (
                (missing, f"missing in {place}"),
                (extra, f"missing in {first}"),
            )
            if names
        ]
        raise ConflictError(
            f"the checkpoints have different tensors: {lacks} lacks this one, which {has} has",
            tensor=(missing or extra)[0],
            expected="the same names in all checkpoints",
            found="; ".join(found),
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def read(self, name: str, index: Index = ...) -> NDArray[Any]:
        """Return the mean of a tensor, or of the part that a numpy index takes.

        Only the part is read from each mapping, as its own `read` does.

        Args:
            name: name of a tensor.
            index: anything that numpy accepts between square brackets (``np.s_[:, :, 0]``).

        Returns:
            An array, never a bare scalar: a new one of real or complex numbers; of other types the
            array of a mapping, which may be a read-only view.

        Raises:
            TensorNotFoundError: there is no such tensor.
            ConflictError: its shape or dtype differs between the mappings, or its values differ
                and have no mean.
            IndexError: the index does not fit the shape.
            CheckpointError: reading a mapping failed.

        Examples:
            >>> import numpy as np
            >>> from ckptparse import average
            >>> mean = average([{"w": np.float32([1, 2])}, {"w": np.float32([2, 4])}])
            >>> mean.read("w", np.s_[1:])
            array([3.], dtype=float32)
        """
        if index is Ellipsis:
            ((_, array),) = self.read_each([name])
            return array
        dtype = self.info(name).tensorflow_dtype
        shape: tuple[int, ...] = ()
        run = self._new_run(name, dtype)
        for number, mapping in enumerate(self._mappings):
            part = mapping.read(name, index)
            shape = part.shape
            run.add(number, 0, part.reshape(-1))
            del part
        return run.result().reshape(shape)

    def read_each(self, names: Iterable[str]) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield (name, mean) of several tensors; each is computed when the loop reaches it.

        Args:
            names: names of tensors, each once.

        Yields:
            The name and the array, as `read` returns it.

        Raises:
            TensorNotFoundError: there is no such tensor.
            ConflictError: the shape or dtype of a tensor differs between the mappings; or its
                values differ and have no mean.
            CheckpointError: reading a mapping failed.
            TypeError: `names` is a string.

        Examples:
            >>> import numpy as np
            >>> from ckptparse import average
            >>> mean = average([{"w": np.float32([1, 2])}, {"w": np.float32([2, 4])}])
            >>> list(mean.read_each(["w"]))
            [('w', array([1.5, 3. ], dtype=float32))]
        """
        parts: list[Piece] = []
        for piece in self.read_pieces(names):
            parts.append(piece)
            if is_last(piece):
                array = join(parts)
                parts = []
                yield piece.name, array

    def read_pieces(
        self, names: Iterable[str], piece_nbytes: int = PIECE_NBYTES
    ) -> Iterator[Piece]:
        """Yield the means of several tensors piece by piece.

        For each piece, the mappings are read one after the other, and added to one sum.  So the
        memory does not grow with the number of mappings.  The exception is a tensor that a mapping
        has to decode or to transform as a whole: each mapping holds one such tensor.

        Args:
            names: names of tensors, each once.
            piece_nbytes: the maximum number of bytes of a piece; a piece has at least one element.

        Yields:
            The pieces of the first tensor in order, then those of the second, and so on.

        Raises:
            TensorNotFoundError: there is no such tensor.
            ConflictError: the shape or dtype of a tensor differs between the mappings; or its
                values differ and have no mean.
            CheckpointError: reading a mapping failed.
            TypeError: `names` is a string.

        Examples:
            >>> import numpy as np
            >>> from ckptparse import average
            >>> mean = average([{"w": np.zeros(4, np.float32)}, {"w": np.ones(4, np.float32)}])
            >>> [(piece.start, piece.values.tolist()) for piece in mean.read_pieces(["w"], 64)]
            [(0, [0.5, 0.5]), (2, [0.5, 0.5])]
        """
        names = list(map(self._require, require_names(names)))
        piece_nbytes = max(piece_nbytes // (_SUM_NBYTES_PER_BYTE * len(self._mappings)), 1)
        cursors = [_Cursor(mapping.read_pieces(names, piece_nbytes)) for mapping in self._mappings]
        for name in names:
            yield from self._average_pieces(name, cursors, piece_nbytes)

    def _average_pieces(
        self, name: str, cursors: list[_Cursor], piece_nbytes: int
    ) -> Iterator[Piece]:
        """Yield the pieces of the next tensor of all mappings."""
        dtype, shape = form = cursors[0].begin()
        itemsize = lookup(number_of(dtype)).itemsize
        size = prod(shape)
        most = size if itemsize is None else max(piece_nbytes // itemsize, 1)
        start = 0
        while True:
            # The pieces of the first mapping, or parts of them, are those of the mean.
            values = cursors[0].take(min(most, size - start))
            stop = start + values.size
            run = self._new_run(name, dtype)
            run.add(0, 0, values)
            del values  # the sum has them; only one piece is held beside it
            for number, cursor in enumerate(cursors[1:], 1):
                if not start:
                    numbers = 0, number
                    require_same_form(self._mappings, numbers, name, (form, cursor.begin()))
                for done, values in cursor.take_all(stop - start):
                    run.add(number, done, values)
                    del values
            yield Piece(name, dtype, shape, start, run.result())
            start = stop
            if start == size:
                return

    def _new_run(self, name: str, dtype: str) -> _MeanRun | _AgreedRun:
        """Return the object that combines some elements of a tensor over the mappings."""
        if lookup(number_of(dtype)).kind in _KINDS_WITH_A_MEAN:
            return _MeanRun(numpy_dtype(number_of(dtype)), self._weights, self._total)
        if self._takes_last:
            return _AgreedRun(len(self._mappings) - 1, None)
        return _AgreedRun(0, partial(self._conflict, name))

    def _conflict(self, name: str, number: int, first: object, other: object) -> ConflictError:
        """Return the error for values that differ and have no mean."""
        return ConflictError(
            "the checkpoints have different values, and this dtype has no mean"
            ' (on_conflict="last", --on-conflict last: takes the value of the last checkpoint)',
            tensor=name,
            expected=f"{first!r}, as in {label(self._mappings, 0, name)}",
            found=f"{other!r} in {label(self._mappings, number, name)}",
        )

    def info(self, name: str) -> TensorInfo:
        """Return the metadata of the mean of a tensor.

        It calls `info` of each mapping, which reads a tensor only if the tensor has a transform.

        Args:
            name: name of a tensor.

        Returns:
            Its dtype, shape and sizes.  It has no place in a file.

        Raises:
            TensorNotFoundError: there is no such tensor.
            ConflictError: its shape or dtype differs between the mappings.

        Examples:
            >>> import numpy as np
            >>> from ckptparse import average
            >>> mean = average([{"w": np.float32([1, 2])}, {"w": np.float32([2, 4])}])
            >>> mean.info("w").shape
            (2,)
        """
        (info,) = self.info_each([name])
        return info

    def infos(self) -> list[TensorInfo]:
        """Return the metadata of all tensors.

        Returns:
            The result of `info` for each name, in the order of names.

        Raises:
            ConflictError: the shape or dtype of a tensor differs between the mappings.

        Examples:
            >>> import numpy as np
            >>> from ckptparse import average
            >>> mean = average([{"w": np.float32([1, 2])}, {"w": np.float32([2, 4])}])
            >>> [(info.name, info.shape) for info in mean.infos()]
            [('w', (2,))]
        """
        return list(self.info_each(self))

    def info_each(self, names: Iterable[str]) -> Iterator[TensorInfo]:
        """Yield the metadata of several tensors.

        Args:
            names: names of tensors.

        Yields:
            The result of `info` for each name.

        Raises:
            TensorNotFoundError: there is no such tensor.
            ConflictError: the shape or dtype of a tensor differs between the mappings.

        Examples:
            >>> import numpy as np
            >>> from ckptparse import average
            >>> mean = average([{"w": np.float32([1, 2])}, {"w": np.float32([2, 4])}])
            >>> [info.nbytes for info in mean.info_each(["w"])]
            [8]
        """
        names = list(map(self._require, names))
        columns = (info_each(mapping, names) for mapping in self._mappings)
        for name, infos in zip(names, zip(*columns)):
            first = infos[0]
            for number, other in enumerate(infos):
                forms = (first.tensorflow_dtype, first.shape), (other.tensorflow_dtype, other.shape)
                require_same_form(self._mappings, (0, number), name, forms)
            has_mean = lookup(number_of(first.tensorflow_dtype)).kind in _KINDS_WITH_A_MEAN
            taken = infos[-1] if self._takes_last and not has_mean else first
            yield taken._replace(name=name, slices=(), mapped=False, file=None, offset=None)

    def origin(self, name: str) -> tuple[TensorMapping, str]:
        """Return the first mapping, and a tensor's name in it.

        A saved average of object-based checkpoints gets the object graph of the first one by this.

        Args:
            name: name of a tensor.

        Returns:
            The first mapping and `name`; if it is not a `TensorMapping` (a dict, for example): this
            average and `name`.

        Raises:
            TensorNotFoundError: there is no such tensor.

        Examples:
            >>> from ckptparse import average, open_checkpoint
            >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt")
            >>> average([ckpt, ckpt]).origin("global_step") == (ckpt, "global_step")
            True
        """
        return own_origin(self, self._mappings[0], self._require(name))

    def origins(self, name: str) -> list[tuple[TensorMapping, str]]:
        """Return `origin` for each of the mappings.

        Args:
            name: name of a tensor.

        Returns:
            For each averaged mapping: a mapping and the tensor's name in it.

        Examples:
            >>> from ckptparse import average, open_checkpoint
            >>> path = "fixtures/tf-1.15.5/vgg_16/model.ckpt"
            >>> mean = average([open_checkpoint(path), open_checkpoint(path)])
            >>> [name for _, name in mean.origins("vgg_16/fc6/biases")]
            ['vgg_16/fc6/biases', 'vgg_16/fc6/biases']
        """
        name = self._require(name)
        return [own_origin(self, mapping, name) for mapping in self._mappings]

    def roles(self) -> dict[str, Role]:
        """Return the roles of tensors, as the graphs of the mappings define them.

        Returns:
            Name -> role, as for `Checkpoint.roles`, of the first mapping that has one.

        Raises:
            CheckpointError: reading a graph failed.

        Examples:
            >>> from ckptparse import average, open_checkpoint
            >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/training_graph/model.ckpt")
            >>> average([ckpt, ckpt]).roles()["conv/kernel/Adam"]
            'state'
        """
        found: dict[str, Role] = {}
        for mapping in reversed(self._mappings):
            found.update(mapping.roles())
        return found

    def _require(self, name: str) -> str:
        """Return the name, after checking that there is such a tensor.

        Raises:
            TensorNotFoundError: there is no such tensor.
        """
        if name not in self._names:
            raise not_found("no such tensor in the average", name, self._names)
        return name

    select = select

    def __repr__(self) -> str:
        return f"<Average of {len(self._mappings)} mappings, {len(self)} tensors>"


class _Cursor:
    """The pieces of one mapping, from which any number of elements can be taken."""

    def __init__(self, pieces: Iterator[Piece]) -> None:
        self._pieces = pieces
        self._left: NDArray[Any] = _NOTHING

    def begin(self) -> Form:
        """Go to the next tensor, and return its dtype and shape."""
        piece = next(self._pieces)
        self._left = piece.values.reshape(-1)
        return piece.dtype, piece.shape

    def take(self, most: int) -> NDArray[Any]:
        """Return up to `most` of the next elements of the tensor: those that its piece has."""
        if not self._left.size and most:
            self._left = next(self._pieces).values.reshape(-1)
        taken, self._left = self._left[:most], self._left[most:]
        if not self._left.size:
            self._left = _NOTHING  # an empty view would keep the piece
        return taken

    def take_all(self, size: int) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield the next `size` elements in parts, each with the number of elements before it.

        If `size` is 0, there is one empty part.
        """
        done = 0
        while True:
            values = self.take(size - done)
            done += values.size
            yield done - values.size, values
            del values  # before the next piece is read
            if done == size:
                return


_NOTHING = np.empty(0)


class _MeanRun:
    """The sum of some elements of a tensor over the mappings.

    Real and imaginary parts are divided separately.  Division of complex numbers would turn
    infinite numbers into NaN.
    """

    def __init__(self, dtype: np.dtype[Any], weights: Sequence[float] | None, total: float) -> None:
        self._dtype = dtype
        self._sum_dtype = np.dtype(np.complex128 if dtype.kind == "c" else np.float64)
        self._weights = weights
        self._total = total
        self._sum: NDArray[np.float64] = _NOTHING

    def add(self, number: int, done: int, values: NDArray[Any]) -> None:
        """Add elements of a mapping, of which `done` elements were added before.

        The elements of the first mapping must be added in one call.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            terms = values.astype(self._sum_dtype).view(np.float64)
            if self._weights is not None:
                terms *= self._weights[number]
            if number == 0:
                self._sum = terms
                return
            start = done * self._sum_dtype.itemsize // 8
            self._sum[start : start + terms.size] += terms

    def result(self) -> NDArray[Any]:
        """Return the mean in the dtype of the tensor."""
        with np.errstate(over="ignore", invalid="ignore"):
            self._sum /= self._total
        return round_to(self._sum.view(self._sum_dtype), self._dtype)


class _AgreedRun:
    """Some elements of a tensor that has no mean (integers, for example): those of one mapping."""

    def __init__(
        self, chosen: int, conflict: Callable[[int, object, object], ConflictError] | None
    ) -> None:
        """
        Args:
            chosen: the number of the mapping whose elements are returned.
            conflict: returns the error for an element that differs in another mapping; None allows
                differences.
        """
        self._chosen = chosen
        self._conflict = conflict
        self._parts: list[NDArray[Any]] = []

    def add(self, number: int, done: int, values: NDArray[Any]) -> None:
        """Add or compare elements of a mapping, of which `done` elements were added before."""
        if number == self._chosen:
            self._parts.append(values)
        elif self._conflict is not None:
            mine = self._parts[0][done : done + values.size]
            differing = _first_difference(mine, values)
            if differing is not None:
                raise self._conflict(number, *(_value(each, differing) for each in (mine, values)))

    def result(self) -> NDArray[Any]:
        """Return the elements of the chosen mapping."""
        return self._parts[0] if len(self._parts) == 1 else np.concatenate(self._parts)


def _first_difference(first: NDArray[Any], other: NDArray[Any]) -> int | None:
    """Return the position of the first elements that differ, or None."""
    if first.dtype.kind in "OSUT" or other.dtype.kind in "OSUT":
        pairs = zip(first.tolist(), other.tolist())
        return next((i for i, (a, b) in enumerate(pairs) if _as_bytes(a) != _as_bytes(b)), None)
    differs = np.asarray(first != other)
    return int(np.argmax(differs)) if differs.any() else None


def _as_bytes(value: Any) -> Any:
    """Return a string as it is saved: checkpoints have `bytes`, other mappings may have `str`."""
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value


def _value(values: NDArray[Any], position: int) -> Any:
    """Return an element as a Python object, for the text of an error."""
    return values[position : position + 1].tolist()[0]


def _require_weights(weights: Iterable[float], mappings: Sequence[object]) -> list[float]:
    """Return the weights as numbers.

    Raises:
        ValueError: there is not one for each mapping, one is negative, infinite or NaN, or they
            have no positive and finite sum.
    """
    numbers = [float(weight) for weight in weights]
    if len(numbers) != len(mappings):
        raise ValueError(f"{len(numbers)} weights for {len(mappings)} checkpoints")
    for number in numbers:
        if not isfinite(number) or number < 0:
            raise ValueError(f"a weight is a finite number, 0 or more, not {number}")
    if not 0 < sum(numbers) < inf:
        raise ValueError(f"the sum of the weights is {sum(numbers)}, not a positive finite number")
    return numbers
