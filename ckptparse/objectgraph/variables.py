"""Variables under the paths of the objects that hold them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from ckptparse.tensors.info import TensorInfo
from ckptparse.tensors.mapping import TensorMapping, read_each
from ckptparse.tensors.names import not_found
from ckptparse.tensors.numpy_index import Index
from ckptparse.weights.selection import select


class ObjectVariables(TensorMapping):
    """A read-only mapping from paths of objects to arrays; nothing is read before it is asked for.

    Each variable is listed once, and is looked up by the path under which it is listed.
    """

    def __init__(self, list_keys: Callable[[], dict[str, str]], tensors: TensorMapping) -> None:
        """
        Args:
            list_keys: makes path -> key in the checkpoint; called once, at the first need.
            tensors: the checkpoint.
        """
        self._list_keys = list_keys
        self._tensors = tensors

    @cached_property
    def _keys(self) -> dict[str, str]:
        return self._list_keys()

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and self._find(path) is not None

    def read(self, path: str, index: Index = ...) -> NDArray[Any]:
        """A variable, or the part of it that a numpy index takes: as `Checkpoint.read` gives it.

        Raises:
            TensorNotFoundError: nothing of that path, or the checkpoint lacks its tensor.
            CheckpointError: whatever else reading it raises.
        """
        return self._tensors.read(self.checkpoint_key(path), index)

    def read_each(self, names: Iterable[str]) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield (path, array) of several variables; see `Checkpoint.read_each`."""
        names = list(names)
        arrays = read_each(self._tensors, map(self.checkpoint_key, names))
        for path, (_, array) in zip(names, arrays):
            yield path, array

    def info(self, path: str) -> TensorInfo:
        """Return the metadata of a variable; its `name` is the key in the checkpoint.

        Raises:
            TensorNotFoundError: nothing of that path, or the checkpoint lacks its tensor.
        """
        return self._tensors.info(self.checkpoint_key(path))

    select = select

    def checkpoint_key(self, path: str) -> str:
        """The name, in the checkpoint, of what is at a path.

        Raises:
            TensorNotFoundError: nothing of that path.
        """
        key = self._find(path)
        if key is not None:
            return key
        raise not_found("no variable at that path", path, self)

    def _find(self, path: str) -> str | None:
        return self._keys.get(path)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} variables>"
