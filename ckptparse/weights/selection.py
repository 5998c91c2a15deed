"""Select, rename and transform the tensors of a mapping; an array is read when it is accessed."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ckptparse.tensors.info import TensorInfo
from ckptparse.tensors.mapping import (
    PIECE_NBYTES,
    Role,
    TensorMapping,
    read_each,
    read_pieces,
)
from ckptparse.tensors.names import not_found, require_names
from ckptparse.tensors.numpy_index import Index, keep_array

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from ckptparse.tensors.pieces import Piece
    from ckptparse.weights.assignment import AssignmentMap
    from ckptparse.weights.casting import Cast

Arrays = Mapping[str, "NDArray[Any]"]
"""Names to numpy arrays: a `TensorMapping`, or any other mapping, such as a dict."""

Pattern = str | re.Pattern[str]
"""A name; a glob as in `fnmatch.fnmatchcase`, whose ``*`` also matches slashes; or a compiled
regular expression, which is searched for anywhere in the name."""

Transform = Callable[["NDArray[Any]"], Any]
"""A function of an array, which may be a read-only view; returns an array."""


def select(
    source: Arrays,
    *,
    weights_only: bool = False,
    moving_averages: bool = False,
    include: Pattern | Iterable[Pattern] | None = None,
    exclude: Pattern | Iterable[Pattern] = (),
    assignment_map: AssignmentMap | None = None,
    rename: Mapping[str, str] | Callable[[str], str] | None = None,
    transform: Mapping[Pattern, Transform] | Callable[[str, NDArray[Any]], Any] | None = None,
    dtype: DTypeLike | Mapping[Pattern, DTypeLike] | None = None,
) -> Selection:
    """Return a lazy mapping with some of the tensors, renamed and transformed.

    Reads no tensor.  The steps are applied in the order of the arguments, each to the names that
    the step before left: `include` matches the names in the source, `transform` and `dtype` the
    names in the result.

    Args:
        source: the mapping from names to arrays to select from.  Do not pass it when you call this
            as a method: ``ckpt.select(include=...)``.
        weights_only: leave out what only training needs: the slots and other variables of
            optimizers, moving averages, counters, loss scales, metrics, and the object graph.  The
            graph that was saved with a checkpoint decides: the object graph, or else the `.meta`
            file or SavedModel beside it.  Without one, names decide; a tensor with the name of a
            slot is left out only if the variable that it belongs to is there and has a shape that
            fits.
        moving_averages: give the value of ``v/ExponentialMovingAverage`` under the name ``v``, as
            ``tf.train.ExponentialMovingAverage.variables_to_restore`` does, and leave the name of
            the average out.  A variable without an average keeps its own value.  With
            `weights_only`, only the averages of weights are used.
        include: keep only these: a name, a glob whose ``*`` also matches slashes, a compiled
            regular expression, which is searched for anywhere in the name, or several of them.
            None keeps all.
        exclude: remove these; patterns as for `include`.  A pattern may match no name.
        assignment_map: an assignment map, as for ``tf.train.init_from_checkpoint``, such as
            ``{"vgg_16/": "my/vgg_16/"}``, or pairs of names.  Only the tensors in the map are kept;
            they get the names from the map.
        rename: a mapping from old names to new names, or a function of the old name.  Names that
            the mapping lacks are kept.  It may have names that a step before left out.
        transform: a mapping from names or patterns to functions of the array, or one function of
            (name, array).  It is called at each access.  The array that it gets may be a read-only
            view; its result is converted by ``numpy.asarray``.
        dtype: cast floating-point tensors to this dtype, rounded to the nearest even: TensorFlow's
            name of it, such as "bfloat16", or a dtype of numpy.  Integers, booleans and strings
            stay as they are.  A quantized dtype, such as "qint8", marks the plain integers of its
            size as quantized and leaves their values and all other tensors as they are.  Or a
            mapping from names or patterns to dtypes, which also casts integers and booleans to
            floating-point numbers; tensors that no pattern matches stay as they are.

    Returns:
        A `Selection`.  Its names are in the order of the source, with `assignment_map` in the order
        of the map.

    Raises:
        TensorNotFoundError: a name, pattern or scope, other than in `exclude`, matches no tensor.
        ValueError: two tensors would have the same name, two transforms or dtypes match the same
            tensor, `assignment_map` maps a scope to a name or a name to a scope, or there is no
            such dtype.
        TypeError: a new name is not a string.
        CheckpointError: reading a graph for `weights_only` failed.

    Examples:
        >>> from ckptparse import open_checkpoint
        >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt")
        >>> weights = ckpt.select(
        ...     include="vgg_16/fc6/*",
        ...     rename={"vgg_16/fc6/weights": "fc6.weight", "vgg_16/fc6/biases": "fc6.bias"},
        ...     transform={"fc6.weight": lambda w: w.reshape(-1, w.shape[-1])},
        ... )
        >>> list(weights)
        ['fc6.bias', 'fc6.weight']
        >>> ckpt["vgg_16/fc6/weights"].shape, weights["fc6.weight"].shape
        ((7, 7, 6, 12), (294, 12))
        >>> trained = open_checkpoint("fixtures/tf-1.15.5/training_graph/model.ckpt")
        >>> small = trained.select(weights_only=True, moving_averages=True, dtype="bfloat16")
        >>> len(trained), len(small), small.sources["conv/kernel"], str(small["conv/kernel"].dtype)
        (43, 7, 'conv/kernel/ExponentialMovingAverage', 'bfloat16')
    """
    names: Iterable[str] = source
    if weights_only:
        from ckptparse.weights.training_state import weight_names  # imported only when asked for

        names = weight_names(source, moving_averages)
    sources = {name: name for name in names}
    if moving_averages:
        # imported only when asked for
        from ckptparse.weights.moving_averages import prefer_averages

        sources = prefer_averages(sources)
    if include is not None:
        found = [require_match(pattern, sources) for pattern in _listed(include)]
        included = {name for names in found for name in names}
        sources = {name: sources[name] for name in sources if name in included}
    excluded = {name for pattern in _listed(exclude) for name in find_names(pattern, sources)}
    sources = {name: sources[name] for name in sources if name not in excluded}
    if assignment_map is not None:
        from ckptparse.weights.assignment import assign_names  # imported only when needed

        sources = _follow(assign_names(sources, assignment_map), sources)
    if rename is not None:
        sources = _follow(_rename(sources, rename, source), sources)
    return Selection(
        source, sources, _assign_transforms(sources, transform), _assign_casts(sources, dtype)
    )


class Selection(TensorMapping):
    """A lazy, read-only mapping from names to the arrays of another mapping; made by `select`.

    Each access reads the tensor from the source, and applies its transform and its cast; nothing is
    cached.  Two selections are equal only if they are the same object.

    Attributes:
        sources: maps each name of the selection to its name in the source; read-only.

    Examples:
        >>> from ckptparse import open_checkpoint
        >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt")
        >>> weights = ckpt.select(include="*/fc7/*", rename=lambda name: name[len("vgg_16/"):])
        >>> weights
        <Selection of 2 tensors>
        >>> weights.sources["fc7/weights"]
        'vgg_16/fc7/weights'
    """

    def __init__(
        self,
        source: Arrays,
        sources: dict[str, str],
        transforms: dict[str, Transform],
        casts: dict[str, Cast],
    ) -> None:
        """Create a selection; call `select` instead.

        Args:
            source: the mapping to read from.
            sources: name here -> name in the source.
            transforms: name here -> function of the array.
            casts: name here -> cast of the transformed array.
        """
        self.sources: Mapping[str, str] = MappingProxyType(sources)
        self._source = source
        self._transforms = transforms
        self._casts = casts

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return a whole tensor, transformed and cast.

        Returns:
            The source's array, which of a checkpoint may be a read-only view over the mapped file;
            with a transform its result, a view or a copy as the transform makes it; a copy if a
            cast changes its dtype.

        Raises:
            TensorNotFoundError: the selection has no such name.
            ValueError: the transform raised it; the message adds the tensor's name and shape.  Or
                the tensor cannot be cast.
            CheckpointError: reading the source failed, with the tensor's name in the source.
        """
        return self._cast(name, self._transformed(name, self._source[self._source_name(name)]))

    def read_each(self, names: Iterable[str]) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield (name, array) of several tensors, transformed; see `Checkpoint.read_each`.

        Args:
            names: names of the selection, each once.

        Yields:
            The name and the array, as `Selection.read` returns it.

        Raises:
            TensorNotFoundError: the selection has no such name.
            ValueError: a transform raised it; the message adds the tensor's name and shape.
            CheckpointError: reading the source failed; see `Checkpoint.read_each`.
            TypeError: `names` is a string.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt")
            >>> biases = ckpt.select(include="*/fc?/biases", transform={"*": lambda b: b[:2]})
            >>> [array.shape for _, array in biases.read_each(biases)]
            [(2,), (2,), (2,)]
        """
        names = list(require_names(names))
        arrays = read_each(self._source, map(self._source_name, names))
        for name, (_, array) in zip(names, arrays):
            yield name, self._cast(name, self._transformed(name, array))

    def read_pieces(
        self, names: Iterable[str], piece_nbytes: int = PIECE_NBYTES
    ) -> Iterator[Piece]:
        """Yield several tensors piece by piece, transformed and cast.

        A tensor with a transform is read and transformed as a whole, and then cut.  A cast is made
        piece by piece.

        Args:
            names: names of the selection, each once.
            piece_nbytes: the maximum number of bytes of a piece; a piece has at least one element.

        Yields:
            The pieces of the first tensor in order, then those of the second, and so on.

        Raises:
            TensorNotFoundError: the selection has no such name.
            ValueError: a transform raised it; the message adds the tensor's name and shape.
            CheckpointError: reading the source failed; see `Checkpoint.read_each`.
            TypeError: `names` is a string.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt")
            >>> small = ckpt.select(include="*/fc7/weights", dtype="bfloat16")
            >>> [(piece.start, piece.dtype) for piece in small.read_pieces(small, 144)]
            [(0, 'bfloat16'), (36, 'bfloat16'), (72, 'bfloat16'), (108, 'bfloat16')]
        """
        from ckptparse.tensors.pieces import cut_array, is_last, join, rename_pieces

        names = list(require_names(names))
        pieces = read_pieces(self._source, map(self._source_name, names), piece_nbytes)
        parts: list[Piece] = []
        for piece in rename_pieces(pieces, names):
            if piece.name not in self._transforms:
                yield from self._cast_pieces([piece], piece_nbytes)
                continue
            parts.append(piece)
            if is_last(piece):
                array = self._transformed(piece.name, join(parts))
                parts = []
                transformed = cut_array(piece.name, array, piece_nbytes)
                yield from self._cast_pieces(transformed, piece_nbytes)

    def _cast_pieces(self, pieces: Iterable[Piece], piece_nbytes: int) -> Iterator[Piece]:
        """Yield the cast pieces, none of more than `piece_nbytes` bytes."""
        for piece in pieces:
            if piece.name in self._casts:
                yield from self._casts[piece.name].pieces(piece, piece_nbytes)
            else:
                yield piece

    def origin(self, name: str) -> tuple[TensorMapping, str]:
        """Return the source and the name of a tensor in it.

        Args:
            name: a name of the selection.

        Returns:
            The source and the name in it; if the source is not a `TensorMapping` (a dict, for
            example): this selection and `name`.

        Raises:
            TensorNotFoundError: the selection has no such name.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt")
            >>> ckpt.select(rename={"global_step": "step"}).origin("step") == (ckpt, "global_step")
            True
        """
        if not isinstance(self._source, TensorMapping):
            return self, name
        return self._source, self._source_name(name)

    def fingerprint(self, name: str) -> Hashable | None:
        """Return the stored checksums of a tensor; None if it has a transform or a cast.

        Args:
            name: a name of the selection.

        Returns:
            The result of the source; see `TensorMapping.fingerprint`.

        Raises:
            TensorNotFoundError: the selection has no such name.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt")
            >>> ckpt.select(dtype="bfloat16").fingerprint("global_step") is None
            True
        """
        source = self._source_name(name)
        is_stored = name not in self._transforms and name not in self._casts
        if not is_stored or not isinstance(self._source, TensorMapping):
            return None
        return self._source.fingerprint(source)

    def roles(self) -> dict[str, Role]:
        """Return the role of each tensor, as the graph of the source or else its name defines it.

        Returns:
            Name -> "weight", "average" (the moving average of a weight) or "state" (anything else).
            With ``moving_averages=True``, an average under the name of its variable is a "weight".

        Raises:
            CheckpointError: reading the graph failed.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/training_graph/model.ckpt")
            >>> ckpt.select(include=["conv/kernel", "conv/kernel/Adam"]).roles()
            {'conv/kernel': 'weight', 'conv/kernel/Adam': 'state'}
        """
        from ckptparse.weights.moving_averages import average_name
        from ckptparse.weights.training_state import find_roles

        roles = find_roles(self._source)
        found = {name: roles[source] for name, source in self.sources.items()}
        suffix = average_name("")
        for name, role in found.items():
            if role == "average" and not name.endswith(suffix):
                found[name] = "weight"
        return found

    def _cast(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        if name not in self._casts:
            return array
        from ckptparse.tensors.conversion import to_array

        return self._casts[name].array(name, to_array(array))

    def _transformed(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        """Return the result of the transform of a name for an array."""
        transform = self._transforms.get(name)
        if transform is None:
            return array
        try:
            return np.asarray(transform(array))
        except ValueError as error:
            raise ValueError(
                f"transform of {name!r}, {array.dtype} {list(array.shape)}: {error}"
            ) from error

    def read(self, name: str, index: Index = ...) -> NDArray[Any]:
        """Return a tensor, or the part of it that a numpy index selects.

        Without a transform, only the part is read, as `Checkpoint.read` does, and cast.  With one,
        the whole tensor is read and transformed, and the index is applied to the result.

        Args:
            name: a name of the selection.
            index: any numpy index, such as ``np.s_[:, :, 0]``; ``...`` selects the whole tensor.

        Returns:
            An array, never a scalar; a view or a copy, as for `Selection.__getitem__`.

        Raises:
            TensorNotFoundError: the selection has no such name.
            IndexError: the index does not fit the shape.
            ValueError: the transform raised it; the message adds the tensor's name and shape.
            CheckpointError: reading the source failed.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt")
            >>> biases = ckpt.select(include="*/biases", transform={"*/fc6/*": lambda b: b[::-1]})
            >>> biases.read("vgg_16/fc6/biases", slice(0, 3)).shape
            (3,)
        """
        if name in self._transforms or not isinstance(self._source, TensorMapping):
            return np.asarray(self[name][keep_array(index)])
        return self._cast(name, self._source.read(self._source_name(name), index))

    def info(self, name: str) -> TensorInfo:
        """Return the metadata of a tensor, with its name in the selection.

        Reads nothing of a tensor without a transform.  Of a tensor with one, the shape and the
        dtype are those of the result, so it is read and transformed.  A tensor whose dtype a cast
        changes has no place in a file.

        Args:
            name: a name of the selection.

        Returns:
            Its dtype, shape and sizes; for a tensor without a transform, also where it is stored.

        Raises:
            TensorNotFoundError: the selection has no such name.
            ValueError: the transform raised it; the message adds the tensor's name and shape.
            CheckpointError: reading the source failed.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt")
            >>> flat = ckpt.select(include="*/fc8/weights", transform={"*": lambda w: w[0, 0]})
            >>> info = flat.info("vgg_16/fc8/weights")
            >>> info.shape, str(info.dtype), info.nbytes
            ((12, 10), 'float32', 480)
        """
        (info,) = self.info_each([name])
        return info

    def infos(self) -> list[TensorInfo]:
        """Return the metadata of all tensors.

        Returns:
            The result of `info` for each name, in the order of names.

        Raises:
            ValueError: a transform raised it; the message adds the tensor's name and shape.
            CheckpointError: reading the source failed.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt")
            >>> [info.shape for info in ckpt.select(include="*/fc8/*").infos()]
            [(10,), (1, 1, 12, 10)]
        """
        return list(self.info_each(self))

    def info_each(self, names: Iterable[str]) -> Iterator[TensorInfo]:
        """Yield the metadata of several tensors; those with a transform are read in one loop.

        Args:
            names: names of the selection, each once.

        Yields:
            The result of `info` for each name, in the order of `names`.

        Raises:
            TensorNotFoundError: the selection has no such name.
            ValueError: a transform raised it; the message adds the tensor's name and shape.
            CheckpointError: reading the source failed; see `Checkpoint.read_each`.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt")
            >>> flat = ckpt.select(include="*/weights", transform={"*": lambda w: w.reshape(-1)})
            >>> [info.shape for info in flat.info_each(["vgg_16/fc6/weights"])]
            [(3528,)]
        """
        names = list(names)
        sources = {name: self._source_name(name) for name in names}
        transformed = [name for name in names if name in self._transforms]
        arrays = read_each(self._source, [sources[name] for name in transformed])
        others = [sources[name] for name in names if name not in self._transforms]
        infos = info_each(self._source, others)
        for name in names:
            if name in self._transforms:
                from ckptparse.tensors.conversion import describe_array  # not for checkpoints

                info = describe_array(name, self._transformed(name, next(arrays)[1]))
            else:
                info = next(infos)._replace(name=name)
            yield info if name not in self._casts else self._casts[name].info(info)

    def _source_name(self, name: str) -> str:
        """Return the name in the source for a name in the selection."""
        try:
            return self.sources[name]
        except KeyError:
            raise not_found("no such tensor in the selection", name, self.sources) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.sources)

    def __len__(self) -> int:
        return len(self.sources)

    def __contains__(self, name: object) -> bool:
        return name in self.sources

    select = select

    def __repr__(self) -> str:
        return f"<Selection of {len(self)} tensors>"


def changes_of(selection: Selection, name: str) -> tuple[Transform | None, Cast | None]:
    """Return the transform and the cast of a tensor; None where there is none."""
    return selection._transforms.get(name), selection._casts.get(name)


def info_each(source: Arrays, names: Iterable[str]) -> Iterator[TensorInfo]:
    """Yield the metadata of several tensors of any mapping, in the order of `names`.

    Tensors that must be read for this are read in one loop; see `Checkpoint.read_each`.
    """
    if isinstance(source, Selection):
        yield from source.info_each(names)
    elif isinstance(source, TensorMapping):
        names = list(names)
        if len(names) > 1 and len(names) == len(source):  # all in one go is faster
            infos = {info.name: info for info in source.infos()}
            yield from (infos.get(name) or source.info(name) for name in names)
        else:
            yield from map(source.info, names)
    else:
        from ckptparse.tensors.conversion import describe_array

        for name, array in read_each(source, names):
            yield describe_array(name, array)


def _listed(patterns: Pattern | Iterable[Pattern]) -> Iterable[Pattern]:
    """Return one pattern or several as an iterable."""
    return (patterns,) if isinstance(patterns, (str, re.Pattern)) else patterns


def find_names(pattern: Pattern, names: Mapping[str, object]) -> list[str]:
    """Return the names that a pattern matches; a string that is a name matches only that name."""
    if isinstance(pattern, str):
        if pattern in names:
            return [pattern]
        if not any(char in pattern for char in "*?["):
            return []  # not a glob: comparing it with every name would be slow
        from fnmatch import translate

        return list(filter(re.compile(translate(pattern)).match, names))
    return list(filter(pattern.search, names))


def require_match(pattern: Pattern, names: Mapping[str, object]) -> list[str]:
    """Return the names that a pattern matches.

    Raises:
        TensorNotFoundError: the pattern matches no name.
    """
    found = find_names(pattern, names)
    if not found:
        wanted = pattern if isinstance(pattern, str) else pattern.pattern
        raise not_found("no tensor of this name or pattern", wanted, names)
    return found


def _rename(
    names: Iterable[str], rename: Mapping[str, str] | Callable[[str], str], source: Arrays
) -> list[tuple[str, str]]:
    """Return pairs (old name, new name).

    Args:
        names: the names that are left.
        rename: as for `select`.
        source: the mapping that `select` selects from.

    Raises:
        TensorNotFoundError: a name in `rename` is neither among the names nor in the source.
    """
    if not isinstance(rename, Mapping):
        return [(name, rename(name)) for name in names]
    names = list(names)
    absent = {name for name in rename.keys() - set(names) if name not in source}
    if absent:
        raise not_found("no such tensor to rename", min(absent), names)
    return [(name, rename.get(name, name)) for name in names]


def _follow(pairs: Iterable[tuple[str, str]], sources: Mapping[str, str]) -> dict[str, str]:
    """Return new name -> source name, from pairs (old name, new name).

    Raises:
        TypeError: a new name is not a string.
        ValueError: two tensors would have the same name.
    """
    followed: dict[str, str] = {}
    for old, new in pairs:
        if not isinstance(new, str):
            raise TypeError(f"the new name of {old!r} is not a str: {new!r}")
        if followed.setdefault(new, sources[old]) != sources[old]:
            raise ValueError(f"both {followed[new]!r} and {sources[old]!r} would be named {new!r}")
    return followed


def _assign_transforms(
    names: Mapping[str, str],
    transform: Mapping[Pattern, Transform] | Callable[[str, NDArray[Any]], Any] | None,
) -> dict[str, Transform]:
    """Return name -> transform, for the names that have one."""
    if transform is None:
        return {}
    if not isinstance(transform, Mapping):
        return {name: partial(transform, name) for name in names}
    transforms: dict[str, Transform] = {}
    for pattern, function in transform.items():
        for name in require_match(pattern, names):
            if name in transforms:
                raise ValueError(f"two transforms for {name!r}; {pattern!r} is the second")
            transforms[name] = function
    return transforms


def _assign_casts(
    names: Mapping[str, str], dtype: DTypeLike | Mapping[Pattern, DTypeLike] | None
) -> dict[str, Cast]:
    """Return name -> its cast, of the names that have one."""
    if dtype is None:
        return {}
    from ckptparse.weights.casting import cast_to  # imported only when asked for

    if not isinstance(dtype, Mapping):
        return dict.fromkeys(names, cast_to(dtype, leave_others=True))
    casts: dict[str, Cast] = {}
    for pattern, wanted in cast("Mapping[Pattern, DTypeLike]", dtype).items():
        new = cast_to(wanted, leave_others=False)
        for name in require_match(pattern, names):
            if name in casts:
                raise ValueError(f"two dtypes for {name!r}; {pattern!r} is the second")
            casts[name] = new
    return casts
