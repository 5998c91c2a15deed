"""The lazy mapping from names to arrays that checkpoints, selections and object graphs share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ckptparse.tensors.info import TensorInfo
from ckptparse.tensors.numpy_index import Index

if TYPE_CHECKING:  # numpy.typing is imported at first need
    from numpy.typing import NDArray


class TensorMapping(Mapping[str, "NDArray[Any]"]):
    """A lazy, read-only mapping from names to arrays.

    A subclass has `read`, `info`, ``__iter__`` and ``__len__``.  Two mappings are equal only if
    they are the same object: comparing them would read all arrays.
    """

    @abstractmethod
    def read(self, name: str, index: Index = ...) -> NDArray[Any]:
        """Return a tensor, or the part of it that a numpy index takes; never a bare scalar."""

    @abstractmethod
    def info(self, name: str) -> TensorInfo:
        """Return the metadata of a tensor; only a transformed one is read for it."""

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return the whole tensor: ``read(name)``."""
        return self.read(name)

    def infos(self) -> list[TensorInfo]:
        """Return `info` of every tensor, in the order of names."""
        return [self.info(name) for name in self]

    __eq__ = object.__eq__
    __hash__ = object.__hash__
