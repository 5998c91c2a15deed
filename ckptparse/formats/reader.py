"""The protocol that the reader of each format implements; `Checkpoint` uses nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from ckptparse.errors import CheckpointError
from ckptparse.tensors.info import TensorForms, TensorInfo
from ckptparse.tensors.numpy_index import Index

if TYPE_CHECKING:
    from numpy.typing import NDArray

Entry = Any
"""The entry of one tensor; each format has a class of its own.  `find` returns it for `read`."""


class Reader(Protocol):
    """An open checkpoint of some format.  Keys are names as bytes, in stored order."""

    @property
    def format(self) -> str:
        """The name of the format: "v1" or "v2"."""
        ...

    @property
    def path(self) -> str:
        """The common part of the names of its files."""
        ...

    @property
    def files(self) -> list[str]:
        """Paths of all its files, also of those that are missing."""
        ...

    @property
    def index_nbytes(self) -> int:
        """Bytes that `keys` has to read."""
        ...

    def keys(self) -> list[bytes]:
        """Keys of all tensors; an error if any part of the index is damaged."""
        ...

    def find(self, key: bytes) -> Entry | None:
        """A tensor's entry, None when there is none."""
        ...

    def surviving_entries(self) -> tuple[list[tuple[bytes, Entry]], list[CheckpointError]]:
        """Keys and entries of all tensors; damage is stepped over and returned as errors."""
        ...

    def info(self, key: bytes, entry: Entry) -> TensorInfo:
        """Return the metadata of a tensor; reads none of its bytes."""
        ...

    def nbytes(self, key: bytes, entry: Entry) -> int:
        """Bytes that a tensor's elements take."""
        ...

    def infos(self) -> list[TensorInfo]:
        """`info` of every tensor; an error if any part of the index is damaged."""
        ...

    def forms(self) -> TensorForms:
        """Return names, shapes and dtypes of all tensors, column by column."""
        ...

    def read(self, key: bytes, entry: Entry, index: Index) -> NDArray[Any]:
        """Return a tensor, or the part of it that a numpy index takes."""
        ...

    def verify(self, key: bytes, entry: Entry) -> bool:
        """Check all bytes of a tensor; False if its dtype's checksum is not known."""
        ...

    def one_pass(self) -> Reader:
        """Return a reader of the same open files for one loop over many tensors.

        It bounds the work of the whole loop, where a crafted file could make each tensor cost as
        much as the file.  The result of a single `read` never depends on earlier ones.
        """
        ...

    def forget_verified(self) -> None:
        """Have everything checked again when it is next needed."""
        ...

    def close(self) -> None:
        """Close the files."""
        ...
