"""The lazy mapping from names to arrays that checkpoints, selections and object graphs share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, ItemsView, Iterable, Iterator, Mapping, ValuesView
from typing import TYPE_CHECKING, Any, Literal

from ckptparse.errors import ConflictError
from ckptparse.tensors.info import TensorInfo
from ckptparse.tensors.names import require_names
from ckptparse.tensors.numpy_index import Index

if TYPE_CHECKING:  # numpy.typing is imported at first need
    from numpy.typing import NDArray

    from ckptparse.tensors.pieces import Piece

PIECE_NBYTES = 1 << 23
"""Size of the pieces in which large tensors are read and written.  At 8 MiB, the cost of a request
is small compared with the cost of its bytes, and a few pieces fit into any memory."""


_MOST_PARTS = 100
"""The number of parts of a name in `to_tree`: code that walks a tree may recurse."""


Role = Literal["weight", "average", "state"]
"""The purpose of a tensor: "weight" is a weight of a model; "average" is the moving average of one;
"state" is anything else: the state of an optimizer, a counter, a metric, an object graph."""


class TensorMapping(Mapping[str, "NDArray[Any]"]):
    """A lazy, read-only mapping from names to arrays.

    A subclass has `read`, `info`, ``__iter__`` and ``__len__``.  Two mappings are equal only if
    they are the same object: comparing them would read all arrays.
    """

    @abstractmethod
    def read(self, name: str, index: Index = ...) -> NDArray[Any]:
        """Return a tensor, or the part of it that a numpy index selects; never a bare scalar."""

    @abstractmethod
    def info(self, name: str) -> TensorInfo:
        """Return the metadata of a tensor.  A tensor with a transform is read to compute them."""

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return the whole tensor: ``read(name)``."""
        return self.read(name)

    def infos(self) -> list[TensorInfo]:
        """Return the metadata of all tensors.

        Returns:
            The result of `info` for each name, in the order of names.

        Raises:
            CheckpointError: reading the metadata of a tensor failed; see `info`.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> graph = open_checkpoint("fixtures/tf-2.13.1/backbone_head/model.ckpt").object_graph
            >>> [info.shape for info in graph.subtree("head").infos()]
            [(8, 3), (3,), (3, 2), (2,)]
        """
        return [self.info(name) for name in self]

    def items(self) -> ItemsView[str, NDArray[Any]]:
        """Return a view of the names and arrays; each array is read when a loop reaches it."""
        return _Items(self)

    def values(self) -> ValuesView[NDArray[Any]]:
        """Return a view of the arrays; each is read when a loop reaches it."""
        return _Values(self)

    def read_each(self, names: Iterable[str]) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield (name, array) of several tensors; each is read when the loop reaches it.

        `Checkpoint.read_each` describes the bound on the work of such a loop.
        """
        for name in require_names(names):
            yield name, self[name]

    def read_pieces(
        self, names: Iterable[str], piece_nbytes: int = PIECE_NBYTES
    ) -> Iterator[Piece]:
        """Yield several tensors piece by piece; each piece is read when the loop reaches it.

        A tensor of strings is one piece, because the sizes of strings are known only after they
        are read.

        Args:
            names: names of tensors, each once.
            piece_nbytes: the maximum number of bytes of a piece; a piece has at least one element.

        Yields:
            The pieces of the first tensor in order, then those of the second, and so on.

        Raises:
            TypeError: `names` is a string.
            CheckpointError: reading a tensor failed; see `Checkpoint.read_each`.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> graph = open_checkpoint("fixtures/tf-2.13.1/backbone_head/model.ckpt").object_graph
            >>> head = graph.subtree("head")
            >>> [(p.start, p.values.size) for p in head.read_pieces(["0/kernel"], 48)]
            [(0, 12), (12, 12)]
        """
        from ckptparse.tensors.pieces import cut_array  # not needed for whole arrays

        for name, array in self.read_each(names):
            yield from cut_array(name, array, piece_nbytes)

    def to_tree(self, separator: str = "/") -> dict[str, Any]:
        """Read all tensors and return them as nested dicts, a dict for each scope.

        Libraries for JAX call this form a pytree of parameters.  The arrays are those of the
        mapping, such as read-only views of a mapped file.

        Args:
            separator: the text between the parts of a name.

        Returns:
            A dict from the first parts of names to arrays, or to dicts of the same form.

        Raises:
            ConflictError: a name is also the scope of another one, or has more than 100 parts; no
                tensor is read.
            CheckpointError: reading a tensor failed; see `Checkpoint.read_each`.
            ValueError: `separator` is empty.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> with open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt") as ckpt:
            ...     tree = ckpt.select(include="vgg_16/fc6/*").to_tree()
            >>> tree["vgg_16"]["fc6"]["biases"].shape
            (12,)
        """
        tree: dict[str, Any] = {}
        for name in self:  # all names first: nothing is read if one of them does not fit
            _add_name(tree, name, name.split(separator, _MOST_PARTS))
        for name, array in self.items():
            *scopes, last = name.split(separator)
            scope = tree
            for part in scopes:
                scope = scope[part]
            scope[last] = array
        return tree

    def origin(self, name: str) -> tuple[TensorMapping, str]:
        """Return the mapping that this one reads a tensor from, and the tensor's name there.

        Args:
            name: name of a tensor.

        Returns:
            The mapping and the name in it.  If this mapping reads the tensor from no other
            `TensorMapping`: this mapping itself and `name`.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt")
            >>> ckpt.origin("global_step")[0] is ckpt
            True
        """
        return self, name

    def origins(self, name: str) -> list[tuple[TensorMapping, str]]:
        """Return `origin` of a tensor, and those of all others that its values depend on."""
        return [self.origin(name)]

    def fingerprint(self, name: str) -> Hashable | None:
        """Return the stored checksums of a tensor, if its values are those that are stored.

        Two tensors of the same dtype and shape, with equal results, have the same values: unless
        two different values have the same checksum of 32 bits, or one of the tensors is damaged.
        Reads none of the tensor's bytes.

        Args:
            name: name of a tensor.

        Returns:
            A value that can only be compared with other results; None if there is no checksum, or
            if the stored values are transformed or cast.

        Raises:
            TensorNotFoundError: there is no such tensor.
            CorruptCheckpointError: its entry in the index is damaged.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt")
            >>> same = ckpt.select(include="global_step", rename={"global_step": "step"})
            >>> same.fingerprint("step") == ckpt.fingerprint("global_step")
            True
        """
        return None

    def roles(self) -> Mapping[str, Role]:
        """Return the roles of tensors, as a graph that was saved with them defines them.

        Returns:
            Name -> "weight", "average" (the moving average of a weight) or "state" (anything else).
            Tensors that the graph does not describe are left out; {} if there is no graph.

        Examples:
            >>> from ckptparse import merge
            >>> merge({"x": 1.0}).roles()
            {}
        """
        return {}

    @property
    def variable_names(self) -> Mapping[str, str]:
        """Name of a tensor -> name of its variable in the program; see `Checkpoint`."""
        return {}

    __eq__ = object.__eq__
    __hash__ = object.__hash__


def _add_name(tree: dict[str, Any], name: str, parts: list[str]) -> None:
    """Put a name into a tree of names, at the path of its parts.

    Raises:
        ConflictError: there is another name on the path or below it, or the path is too long.
    """
    if len(parts) > _MOST_PARTS:
        raise ConflictError(
            "this name is too deep for a tree",
            tensor=name,
            expected=f"at most {_MOST_PARTS} parts",
            found="more",
        )
    node: Any = tree
    for part in parts[:-1]:
        node = node.setdefault(part, {})
        if isinstance(node, str):
            raise _at_scope(node, name)
    if parts[-1] in node:
        below = node[parts[-1]]
        while isinstance(below, dict):
            below = next(iter(below.values()))
        raise _at_scope(name, below)
    node[parts[-1]] = name


def _at_scope(name: str, below: str) -> ConflictError:
    """Return the error for a tensor that has the name of a scope, and one in this scope."""
    return ConflictError(
        "in a tree, a tensor cannot have the name of a scope",
        tensor=name,
        expected="other names: select(weights_only=True) leaves out slots of optimizers,"
        " select(rename=...) renames",
        found=repr(below),
    )


class _Items(ItemsView[str, "NDArray[Any]"]):
    _mapping: TensorMapping

    def __iter__(self) -> Iterator[tuple[str, NDArray[Any]]]:
        return self._mapping.read_each(self._mapping)


class _Values(ValuesView["NDArray[Any]"]):
    _mapping: TensorMapping

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (array for _, array in self._mapping.read_each(self._mapping))


def read_each(
    tensors: Mapping[str, NDArray[Any]], names: Iterable[str]
) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield (name, array) of several tensors of any mapping; see `TensorMapping.read_each`."""
    if isinstance(tensors, TensorMapping):
        return tensors.read_each(names)
    return ((name, tensors[name]) for name in names)


def read_pieces(
    tensors: Mapping[str, Any], names: Iterable[str], piece_nbytes: int = PIECE_NBYTES
) -> Iterator[Piece]:
    """Yield several tensors of any mapping piece by piece; see `TensorMapping.read_pieces`."""
    if isinstance(tensors, TensorMapping):
        yield from tensors.read_pieces(names, piece_nbytes)
    else:
        from ckptparse.tensors.conversion import to_array
        from ckptparse.tensors.pieces import cut_array

        for name in names:
            yield from cut_array(name, to_array(tensors[name]), piece_nbytes)


def find_roots(tensors: TensorMapping) -> dict[str, tuple[TensorMapping, str]]:
    """Return the mapping at the end of each tensor's chain of origins, and the tensor's name there.

    Returns:
        Name -> the mapping that reads the tensor from no other `TensorMapping`, and the name in it.
    """
    roots = {}
    for name in tensors:
        source, key = tensors, name
        while True:
            origin, origin_key = source.origin(key)
            if origin is source:
                break
            source, key = origin, origin_key
        roots[name] = source, key
    return roots


def find_all_roots(tensors: TensorMapping) -> list[TensorMapping]:
    """Return all mappings that any of these tensors is read from in the end."""
    roots: dict[int, TensorMapping] = {}
    left = [(tensors, name) for name in tensors]
    while left:
        source, name = left.pop()
        for origin, origin_name in source.origins(name):
            if origin is source:
                roots[id(source)] = source
            else:
                left.append((origin, origin_name))
    return list(roots.values())
