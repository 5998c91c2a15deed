"""The base class of the readers of all formats; `Checkpoint` uses nothing else of a format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ckptparse.errors import CheckpointError, UnsupportedError
from ckptparse.tensors.info import TensorForms, TensorInfo
from ckptparse.tensors.mapping import PIECE_NBYTES, Role
from ckptparse.tensors.numpy_index import Index

if TYPE_CHECKING:
    from numpy.typing import NDArray

Entry = Any
"""The entry of one tensor; each format has a class of its own.  `find` returns it for `read`."""

OnPiece = Callable[[int, "NDArray[Any]"], object]
"""Called with the number of elements before a piece of a tensor, and the piece."""


class Reader(ABC):
    """An open file, or set of files, of some format.  Keys are names as bytes, in stored order.

    A format has to implement the abstract methods.  All others have a default, which a format
    overrides if it has more to tell (checksums, damage, roles) or a faster way.

    Attributes:
        format: the name of the format, such as "v2" or "npz".
        path: the path of the file, or the common prefix of the paths of its files.
        prefetches: whether `prefetch` reads anything.
        index_nbytes: the number of bytes that `keys` has to read.
    """

    format: str
    path: str
    prefetches: bool = False
    index_nbytes: int = 0

    @property
    @abstractmethod
    def files(self) -> list[str]:
        """The paths of all its files, including missing ones."""

    @abstractmethod
    def keys(self) -> list[bytes]:
        """Return the keys of all tensors; raises an error if any part of the index is damaged."""

    @abstractmethod
    def find(self, key: bytes) -> Entry | None:
        """Return the entry of a tensor; None if there is no such tensor."""

    @abstractmethod
    def info(self, key: bytes, entry: Entry) -> TensorInfo:
        """Return the metadata of a tensor; reads none of its bytes."""

    @abstractmethod
    def read(self, key: bytes, entry: Entry, index: Index) -> NDArray[Any]:
        """Return a tensor, or the part of it that a numpy index selects."""

    @abstractmethod
    def close(self) -> None:
        """Close the files."""

    def surviving_entries(self) -> tuple[list[tuple[bytes, Entry]], list[CheckpointError]]:
        """Return keys and entries of all readable tensors, and an error for each damaged part."""
        return [(key, self.find(key)) for key in self.keys()], []

    def nbytes(self, key: bytes, entry: Entry) -> int:
        """Return the number of bytes of a tensor's elements, as `TensorInfo.nbytes`."""
        return self.info(key, entry).nbytes

    def form(self, key: bytes, entry: Entry) -> tuple[str, tuple[int, ...]]:
        """Return TensorFlow's name of the dtype of a tensor, and its shape."""
        info = self.info(key, entry)
        return info.tensorflow_dtype, info.shape

    def infos(self) -> list[TensorInfo]:
        """Return `info` of all tensors; raises an error if any part of the index is damaged."""
        return [self.info(key, self.find(key)) for key in self.keys()]

    def forms(self) -> TensorForms:
        """Return names, shapes and dtypes of all tensors as three lists."""
        infos = self.infos()
        return TensorForms(
            [info.name for info in infos],
            [info.shape for info in infos],
            [info.tensorflow_dtype for info in infos],
        )

    def roles(self) -> Mapping[str, Role]:
        """Return the roles that the file gives to its tensors; see `TensorMapping.roles`."""
        return {}

    def metadata(self) -> Mapping[str, Any]:
        """Return what the file says of itself; see `Checkpoint.metadata`."""
        return {}

    def variable_names(self) -> Mapping[str, str]:
        """Return the names of variables; see `Checkpoint.variable_names`."""
        return {}

    def fingerprint(self, key: bytes, entry: Entry) -> Hashable | None:
        """Return the stored checksums of a tensor; see `TensorMapping.fingerprint`."""
        return None

    def verify(self, key: bytes, entry: Entry) -> bool:
        """Check all bytes of a tensor; raises an error if they are damaged.

        Returns:
            True if they are intact; False if they were read but not compared with a checksum,
            because the file has none, or because this version cannot check tensors of this dtype.
        """
        for _ in self.read_pieces(key, entry, PIECE_NBYTES):
            pass
        return False

    def verify_and_read(self, key: bytes, entry: Entry, on_piece: OnPiece) -> bool:
        """Check all bytes of a tensor, as `verify` does, and pass its pieces to a function.

        A format that can do both in one pass overrides this.  A tensor that cannot be read as an
        array is only checked.

        Returns:
            The result of `verify`.
        """
        is_checked = self.verify(key, entry)
        try:
            for start, values in self.read_pieces(key, entry, PIECE_NBYTES):
                on_piece(start, values)
        except UnsupportedError:
            pass
        return is_checked

    def for_one_loop(self) -> Reader:
        """Return a reader of the same open files, for one loop over many tensors.

        If tensors can share bytes, the new reader counts the bytes that the loop reads, and raises
        an error if they are far more than the files have: in a malicious file, each tensor can
        refer to all bytes of the file.  This reader itself counts nothing, so that a `read` does
        not depend on earlier ones.
        """
        return self

    def prefetch(self, tensors: list[tuple[bytes, Entry]]) -> None:  # noqa: B027  # the default
        """Read the bytes of several tensors in few requests, to have them when `read` needs them.

        Only for a reader from `for_one_loop`.  Forgets what it read before.  Raises nothing if the
        bytes cannot be read: `read` and `verify` do.
        """

    def read_pieces(
        self, key: bytes, entry: Entry, piece_nbytes: int
    ) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield a tensor in pieces of consecutive elements, in order.

        Strings, and numbers that must be decoded, are one piece.  With checksums, the last piece is
        yielded only after the checksum of all pieces was compared.

        Yields:
            The number of elements before the piece, and the piece.
        """
        from ckptparse.tensors.pieces import cut  # not needed for whole arrays

        array = self.read(key, entry, ...)
        if array.dtype.hasobject:
            yield 0, array
            return
        for start, index in cut(array.shape, array.itemsize, piece_nbytes):
            yield start, array[index]

    def forget_verified(self) -> None:  # noqa: B027  # the default
        """Forget which bytes were checked, so that each is checked again at its next use."""


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
