"""A part of a mapping of tensors, under other names and in other forms, read when asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from ckptparse.tensors.info import TensorInfo
from ckptparse.tensors.mapping import TensorMapping, read_each
from ckptparse.tensors.names import not_found
from ckptparse.tensors.numpy_index import Index, keep_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ckptparse.weights.assignment import AssignmentMap

Tensors = Mapping[str, "NDArray[Any]"]
"""Names to arrays; `info_of` asks its method ``info``, if it has one, instead of reading."""

Pattern = str | re.Pattern[str]
"""A name; or a glob as in `fnmatch.fnmatchcase`, of which ``*`` takes slashes too; or a compiled
regular expression, which may match anywhere in the name."""

Transform = Callable[["NDArray[Any]"], Any]

AVERAGE_SUFFIX = "/ExponentialMovingAverage"
"""tensorflow/python/training/moving_averages.py, ``ExponentialMovingAverage.average_name``."""


def select(
    source: Tensors,
    *,
    moving_averages: bool = False,
    include: Pattern | Iterable[Pattern] | None = None,
    exclude: Pattern | Iterable[Pattern] = (),
    assignment_map: AssignmentMap | None = None,
    rename: Mapping[str, str] | Callable[[str], str] | None = None,
    transform: Mapping[Pattern, Transform] | Callable[[str, NDArray[Any]], Any] | None = None,
) -> Selection:
    """Choose tensors, and give them other names and other forms; reads none of them.

    The steps are taken in the order of the arguments, each on the names that the last one left:
    `include` knows a tensor by its name in the source, `transform` by its name in the result.
    Whatever is named must be there, so that a slip of the pen does not lose a weight; only
    `exclude` may name what is not.

    Args:
        source: any mapping from names to arrays; as a method, the object itself.
        moving_averages: give the value of ``v/ExponentialMovingAverage`` under the name ``v``, as
            restoring by ``ExponentialMovingAverage.variables_to_restore`` does, and not under its
            own.  A variable without an average keeps its value.
        include: take only these names: a name, a glob whose ``*`` takes slashes too, a compiled
            regular expression, which is searched for in the name, or several of them.
        exclude: leave these out; the same.
        assignment_map: take only what an assignment map of ``tf.train.init_from_checkpoint`` names,
            under the names that it gives (``{"vgg_16/": "my/vgg_16/"}``); a dict or pairs.
        rename: old name to new name, a mapping or a function.  Names not in a mapping stay.
        transform: what to make of arrays: a mapping from names or patterns to functions of the
            array, or one function of (name, array).  The array may be a read-only view.

    Returns:
        A `Selection`.

    Raises:
        TensorNotFoundError: a name, pattern or scope that no tensor has.
        ValueError: two tensors under one name, two transforms for one tensor, or an assignment map
            from a scope to a name.
    """
    sources = _prefer_averages(source) if moving_averages else {name: name for name in source}
    if include is not None:
        included = {name for pattern in _listed(include) for name in _require(pattern, sources)}
        sources = {name: sources[name] for name in sources if name in included}
    excluded = {name for pattern in _listed(exclude) for name in _find(pattern, sources)}
    sources = {name: sources[name] for name in sources if name not in excluded}
    if assignment_map is not None:
        from ckptparse.weights.assignment import assign_names  # few programs have such a map

        sources = _follow(assign_names(sources, assignment_map), sources)
    if rename is not None:
        sources = _follow(_rename(sources, rename), sources)
    return Selection(source, sources, _assign_transforms(sources, transform))


class Selection(TensorMapping):
    """A lazy, read-only mapping from names to arrays of another mapping.

    Looks up, reads and transforms at each access, and keeps nothing.  Two selections are equal only
    if they are the same object.

    Attributes:
        sources: the name in the source of each name here.
    """

    def __init__(
        self, source: Tensors, sources: dict[str, str], transforms: dict[str, Transform]
    ) -> None:
        """Use `select`."""
        self.sources: Mapping[str, str] = MappingProxyType(sources)
        self._source = source
        self._transforms = transforms

    def __getitem__(self, name: str) -> NDArray[Any]:
        """The array, transformed; a view or a copy, as the source and the transform have it.

        Raises:
            TensorNotFoundError: no such name here.
            ValueError: the transform says so; the text names the tensor and its shape.
            CheckpointError: whatever the source raises, about the tensor's name there.
        """
        return self._transformed(name, self._source[self._source_name(name)])

    def read_each(self, names: Iterable[str]) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield (name, array) of several tensors; see `Checkpoint.read_each`."""
        names = list(names)
        arrays = read_each(self._source, map(self._source_name, names))
        for name, (_, array) in zip(names, arrays):
            yield name, self._transformed(name, array)

    def _transformed(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
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
        """Return a tensor, or the part of it that a numpy index takes; never a bare scalar.

        Of a tensor without a transform, the source reads no more than it must.

        Raises:
            TensorNotFoundError: no such name here.
            IndexError: the index does not fit the shape.
            CheckpointError: whatever the source raises.
        """
        if name in self._transforms or not hasattr(self._source, "read"):
            return np.asarray(self[name][keep_array(index)])
        part: NDArray[Any] = self._source.read(self._source_name(name), index)
        return part

    def info(self, name: str) -> TensorInfo:
        """Return the metadata of a tensor, under its name here.

        Reads nothing, unless the tensor has a transform: only its result has the shape and the
        dtype, so it is made for this.

        Raises:
            TensorNotFoundError: no such name here.
        """
        if name in self._transforms:
            return _describe(name, self[name])
        return info_of(self._source, self._source_name(name))._replace(name=name)

    def _source_name(self, name: str) -> str:
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


def info_of(source: Tensors, name: str) -> TensorInfo:
    """Return metadata from the mapping's method ``info``, or else from the array."""
    if hasattr(source, "info"):
        info: TensorInfo = source.info(name)
        return info
    return _describe(name, source[name])


def _describe(name: str, array: NDArray[Any]) -> TensorInfo:
    return TensorInfo(
        name=name,
        dtype=array.dtype,
        tensorflow_dtype="string" if array.dtype == object else array.dtype.name,
        shape=array.shape,
        size=array.size,
        nbytes=array.nbytes,
        slices=(),
        mapped=False,
        file=None,
        offset=None,
    )


def _prefer_averages(names: Iterable[str]) -> dict[str, str]:
    """Name to source name, with averages under the names of their variables."""
    sources, averages = {}, {}
    for name in names:
        if name.endswith(AVERAGE_SUFFIX):
            averages[name.removesuffix(AVERAGE_SUFFIX)] = name
        else:
            sources[name] = name
    return sources | averages


def _listed(patterns: Pattern | Iterable[Pattern]) -> Iterable[Pattern]:
    return (patterns,) if isinstance(patterns, (str, re.Pattern)) else patterns


def _find(pattern: Pattern, names: Mapping[str, str]) -> list[str]:
    """The names that a pattern takes; a name takes itself, whatever a glob would read in it."""
    if isinstance(pattern, str):
        if pattern in names:
            return [pattern]
        if not any(char in pattern for char in "*?["):  # lists of names to exclude can be long
            return []
        from fnmatch import translate

        return list(filter(re.compile(translate(pattern)).match, names))
    return list(filter(pattern.search, names))


def _require(pattern: Pattern, names: Mapping[str, str]) -> list[str]:
    found = _find(pattern, names)
    if not found:
        wanted = pattern if isinstance(pattern, str) else pattern.pattern
        raise not_found("no tensor of this name or pattern", wanted, names)
    return found


def _rename(
    names: Iterable[str], rename: Mapping[str, str] | Callable[[str], str]
) -> list[tuple[str, str]]:
    """Pairs (old name, new name)."""
    if not isinstance(rename, Mapping):
        return [(name, rename(name)) for name in names]
    names = list(names)
    absent = rename.keys() - set(names)
    if absent:
        raise not_found("no such tensor to rename", min(absent), names)
    return [(name, rename.get(name, name)) for name in names]


def _follow(pairs: Iterable[tuple[str, str]], sources: Mapping[str, str]) -> dict[str, str]:
    """New name to source name, from pairs (old name, new name)."""
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
    if transform is None:
        return {}
    if not isinstance(transform, Mapping):
        return {name: partial(transform, name) for name in names}
    transforms: dict[str, Transform] = {}
    for pattern, function in transform.items():
        for name in _require(pattern, names):
            if name in transforms:
                raise ValueError(f"two transforms for {name!r}; {pattern!r} is the second")
            transforms[name] = function
    return transforms
