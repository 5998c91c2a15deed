"""Variables as a mapping from the paths of their objects to arrays."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ckptparse.tensors.info import TensorInfo
from ckptparse.tensors.mapping import (
    PIECE_NBYTES,
    Role,
    TensorMapping,
    read_each,
    read_pieces,
)
from ckptparse.tensors.names import not_found, require_names
from ckptparse.tensors.numpy_index import Index
from ckptparse.weights.selection import select

if TYPE_CHECKING:
    from ckptparse.tensors.pieces import Piece


class ObjectVariables(TensorMapping):
    """A lazy, read-only mapping from the paths of objects to the arrays of their variables.

    Each variable is listed once, under one path, and only this path finds it.  (`ObjectGraph` finds
    a variable by all its paths.)  Arrays are read at access, as `Checkpoint.read` reads them.

    Examples:
        >>> from ckptparse import open_checkpoint
        >>> graph = open_checkpoint("fixtures/tf-2.13.1/backbone_head/model.ckpt").object_graph
        >>> head = graph.subtree("head")
        >>> list(head)
        ['0/kernel', '0/bias', '1/kernel', '1/bias']
        >>> head["1/bias"].shape
        (2,)
    """

    def __init__(self, list_keys: Callable[[], dict[str, str]], tensors: TensorMapping) -> None:
        """
        Args:
            list_keys: returns path -> key in the checkpoint; called once, at first use.
            tensors: the checkpoint.
        """
        self._list_keys = list_keys
        self._tensors = tensors

    @cached_property
    def _keys(self) -> dict[str, str]:
        """Path -> key in the checkpoint."""
        return self._list_keys()

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and self._find(path) is not None

    def read(self, path: str, index: Index = ...) -> NDArray[Any]:
        """Return a variable, or the part of it that a numpy index selects.

        Args:
            path: path of the variable.
            index: any numpy index, such as ``np.s_[:, :, 0]``; ``...`` selects the whole tensor.

        Returns:
            An array, never a scalar; a view or a copy, as for `Checkpoint.read`.

        Raises:
            TensorNotFoundError: no variable has this path, or the checkpoint lacks its tensor.
            IndexError: the index does not fit the shape.
            CheckpointError: reading the tensor failed; see `Checkpoint.read`.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> graph = open_checkpoint("fixtures/tf-2.13.1/backbone_head/model.ckpt").object_graph
            >>> graph.read("head/0/kernel", (slice(None), 0)).shape
            (8,)
        """
        return self._tensors.read(self.checkpoint_key(path), index)

    def read_each(self, names: Iterable[str]) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield (path, array) of several variables; see `Checkpoint.read_each`.

        Args:
            names: paths of variables, each once.

        Yields:
            The path and the array, as `read` returns it.

        Raises:
            TensorNotFoundError: no variable has this path, or the checkpoint lacks its tensor.
            CheckpointError: reading a tensor failed; see `Checkpoint.read_each`.
            TypeError: `names` is a string.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> graph = open_checkpoint("fixtures/tf-2.13.1/backbone_head/model.ckpt").object_graph
            >>> [(path, array.shape) for path, array in graph.read_each(["head/0/bias"])]
            [('head/0/bias', (3,))]
        """
        names = list(require_names(names))
        arrays = read_each(self._tensors, map(self.checkpoint_key, names))
        for path, (_, array) in zip(names, arrays):
            yield path, array

    def read_pieces(
        self, names: Iterable[str], piece_nbytes: int = PIECE_NBYTES
    ) -> Iterator[Piece]:
        """Yield several variables piece by piece; each piece is read when the loop reaches it.

        Args:
            names: paths of variables, each once.
            piece_nbytes: the maximum number of bytes of a piece; a piece has at least one element.

        Yields:
            The pieces of the first variable in order, then those of the second, and so on.  The
            name of a piece is the path.

        Raises:
            TensorNotFoundError: there is no variable of such a path.
            CheckpointError: reading a variable failed; see `Checkpoint.read_each`.
            TypeError: `names` is a string.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> graph = open_checkpoint("fixtures/tf-2.13.1/backbone_head/model.ckpt").object_graph
            >>> head = graph.subtree("head")
            >>> [(p.name, p.start, p.values.size) for p in head.read_pieces(["0/kernel"], 48)]
            [('0/kernel', 0, 12), ('0/kernel', 12, 12)]
        """
        from ckptparse.tensors.pieces import rename_pieces

        names = list(require_names(names))
        pieces = read_pieces(self._tensors, map(self.checkpoint_key, names), piece_nbytes)
        return rename_pieces(pieces, names)

    def origin(self, name: str) -> tuple[TensorMapping, str]:
        """Return the checkpoint, and the key of a variable in it.

        Args:
            name: path of the variable.

        Returns:
            The checkpoint and the key.

        Raises:
            TensorNotFoundError: there is no variable of this path.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> ckpt = open_checkpoint("fixtures/tf-2.13.1/backbone_head/model.ckpt")
            >>> mapping, key = ckpt.object_graph.origin("head/0/bias")
            >>> mapping is ckpt, key
            (True, 'head/0/bias/.ATTRIBUTES/VARIABLE_VALUE')
        """
        return self._tensors, self.checkpoint_key(name)

    def fingerprint(self, name: str) -> Hashable | None:
        """Return the stored checksums of a variable; see `TensorMapping.fingerprint`.

        Args:
            name: path of the variable.

        Returns:
            The result of the checkpoint for the variable's key.

        Raises:
            TensorNotFoundError: no variable has this path, or the checkpoint lacks its tensor.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> ckpt = open_checkpoint("fixtures/tf-2.13.1/backbone_head/model.ckpt")
            >>> key = ckpt.object_graph.checkpoint_key("head/0/bias")
            >>> ckpt.object_graph.fingerprint("head/0/bias") == ckpt.fingerprint(key)
            True
        """
        return self._tensors.fingerprint(self.checkpoint_key(name))

    def roles(self) -> dict[str, Role]:
        """Return the role of each variable, as the graph or else the name defines it.

        Returns:
            Path -> "weight", "average" (the moving average of a weight) or "state" (anything else).

        Raises:
            CheckpointError: reading the graph failed.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> graph = open_checkpoint("fixtures/tf-2.21.0/keras_adam/model.ckpt").object_graph
            >>> set(graph.roles().values()) == {"weight", "state"}
            True
        """
        from ckptparse.weights.training_state import find_roles

        roles = find_roles(self._tensors)
        return {path: roles[key] for path, key in self._keys.items() if key in roles}

    def info(self, path: str) -> TensorInfo:
        """Return the metadata of a variable.  Reads none of its bytes.

        `TensorInfo.name` is the key in the checkpoint, not the path.

        Args:
            path: path of the variable.

        Returns:
            Its dtype, shape and sizes, and where it is stored.

        Raises:
            TensorNotFoundError: no variable has this path, or the checkpoint lacks its tensor.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> graph = open_checkpoint("fixtures/tf-2.13.1/backbone_head/model.ckpt").object_graph
            >>> info = graph.info("head/0/kernel")
            >>> info.shape, str(info.dtype), info.nbytes
            ((8, 3), 'float32', 96)
        """
        return self._tensors.info(self.checkpoint_key(path))

    select = select

    def checkpoint_key(self, path: str) -> str:
        """Return the key in the checkpoint of the variable at a path.

        The checkpoint may lack a tensor of this key.

        Args:
            path: path of the variable.

        Returns:
            The key, which is the name of the variable's tensor in the checkpoint.

        Raises:
            TensorNotFoundError: no variable has this path.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> graph = open_checkpoint("fixtures/tf-2.13.1/backbone_head/model.ckpt").object_graph
            >>> graph.checkpoint_key("head/0/kernel")
            'head/0/kernel/.ATTRIBUTES/VARIABLE_VALUE'
        """
        key = self._find(path)
        if key is not None:
            return key
        raise not_found("no variable at that path", path, self)

    def _find(self, path: str) -> str | None:
        """Return the key of the variable at a path, or None."""
        return self._keys.get(path)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} variables>"
