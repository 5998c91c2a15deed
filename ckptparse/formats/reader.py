"""The protocol that the reader of each format implements; `Checkpoint` uses nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from ckptparse.errors import CheckpointError
from ckptparse.tensors.info import TensorForms, TensorInfo
from ckptparse.tensors.mapping import PIECE_NBYTES
from ckptparse.tensors.numpy_index import Index

if TYPE_CHECKING:
    from numpy.typing import NDArray

Entry = Any
"""The entry of one tensor; each format has a class of its own.  `find` returns it for `read`.

It has the attributes `dtype`, which is the number of the DataType, and `shape`.
"""


class Reader(Protocol):
    """An open checkpoint of some format.  Keys are names as bytes, in stored order."""

    @property
    def format(self) -> str:
        """The name of the format: "v1" or "v2"."""
        ...

    @property
    def path(self) -> str:
        """The common prefix of the paths of its files."""
        ...

    @property
    def files(self) -> list[str]:
        """The paths of all its files, including missing ones."""
        ...

    @property
    def prefetches(self) -> bool:
        """Whether `prefetch` reads anything; False if all files are mapped."""
        ...

    @property
    def index_nbytes(self) -> int:
        """The number of bytes that `keys` has to read."""
        ...

    def keys(self) -> list[bytes]:
        """Return the keys of all tensors; raises an error if any part of the index is damaged."""
        ...

    def find(self, key: bytes) -> Entry | None:
        """Return the entry of a tensor; None if there is no such tensor."""
        ...

    def surviving_entries(self) -> tuple[list[tuple[bytes, Entry]], list[CheckpointError]]:
        """Return keys and entries of all readable tensors, and an error for each damaged part."""
        ...

    def info(self, key: bytes, entry: Entry) -> TensorInfo:
        """Return the metadata of a tensor; reads none of its bytes."""
        ...

    def nbytes(self, key: bytes, entry: Entry) -> int:
        """Return the number of bytes of a tensor's elements, as `TensorInfo.nbytes`."""
        ...

    def infos(self) -> list[TensorInfo]:
        """Return `info` of all tensors; raises an error if any part of the index is damaged."""
        ...

    def forms(self) -> TensorForms:
        """Return names, shapes and dtypes of all tensors as three lists."""
        ...

    def read(self, key: bytes, entry: Entry, index: Index) -> NDArray[Any]:
        """Return a tensor, or the part of it that a numpy index selects."""
        ...

    def verify(self, key: bytes, entry: Entry) -> bool:
        """Check all bytes of a tensor; raises an error if they are damaged.

        Returns:
            True if they are intact; False if this version cannot check tensors of this dtype.
        """
        ...

    def for_one_loop(self) -> Reader:
        """Return a reader of the same open files, for one loop over many tensors.

        The new reader counts the bytes that the loop reads, and raises an error if they are far
        more than the files have: in a malicious file, each tensor can refer to all bytes of the
        file.  This reader itself counts nothing, so that a `read` does not depend on earlier ones.
        """
        ...

    def prefetch(self, tensors: list[tuple[bytes, Entry]]) -> None:
        """Read the bytes of several tensors in few requests, to have them when `read` needs them.

        Only for a reader from `for_one_loop`.  Forgets what it read before.  Raises nothing if the
        bytes cannot be read: `read` and `verify` do.
        """
        ...

    def read_pieces(
        self, key: bytes, entry: Entry, piece_nbytes: int
    ) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield a tensor in pieces of consecutive elements, in order.

        Strings, and numbers that must be decoded, are one piece.  With checksums, the last piece is
        yielded only after the checksum of all pieces was compared.

        Yields:
            The number of elements before the piece, and the piece.
        """
        ...

    def forget_verified(self) -> None:
        """Forget which bytes were checked, so that each is checked again at its next use."""
        ...

    def close(self) -> None:
        """Close the files."""
        ...


_WINDOW_TENSORS = 4096


def prefetch_each(
    reader: Reader, tensors: Iterable[tuple[bytes, Entry]], window_nbytes: int = PIECE_NBYTES
) -> Iterable[tuple[bytes, Entry]]:
    """Return the same tensors, with the bytes of small ones prefetched, a window at a time.

    Args:
        reader: a reader from `for_one_loop`.
        tensors: keys and entries.  If the iterator raises an error, the tensors before it come
            first.
        window_nbytes: about how many bytes are prefetched at a time.
    """
    return _prefetch_windows(reader, tensors, window_nbytes) if reader.prefetches else tensors


def _prefetch_windows(
    reader: Reader, tensors: Iterable[tuple[bytes, Entry]], window_nbytes: int
) -> Iterator[tuple[bytes, Entry]]:
    """Yield the tensors of one window after the other, each window prefetched as a whole."""
    left = iter(tensors)
    is_more = True
    while is_more:
        window: list[tuple[bytes, Entry]] = []
        nbytes = 0
        raised: Exception | None = None
        while nbytes < window_nbytes and len(window) < _WINDOW_TENSORS:
            try:
                key, entry = next(left)
            except StopIteration:
                is_more = False
                break
            except Exception as error:
                raised = error
                break
            window.append((key, entry))
            nbytes += nbytes_of(reader, key, entry)
        reader.prefetch(window)
        yield from window
        if raised is not None:
            raise raised


def nbytes_of(reader: Reader, key: bytes, entry: Entry) -> int:
    """Return the size of a tensor; 0 if it is not known because of damage."""
    try:
        return reader.nbytes(key, entry)
    except CheckpointError:
        return 0


def closed_error(path: str) -> ValueError:
    """Return the error for a use of a checkpoint after `close`."""
    return ValueError(f"the checkpoint {path} is closed")
