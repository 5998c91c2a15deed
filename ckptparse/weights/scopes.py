"""The tree of scopes that the slashes in tensor names form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ckptparse.tensors.info import TensorInfo
from ckptparse.tensors.names import FREE_SCOPES, natural_key
from ckptparse.tensors.outline import OutlineRow

_DEEPEST_SCOPE = 100
"""A name is split at this number of slashes at most; the rest is the name of the tensor."""


class _Scope:
    """A scope, a tensor, or a tensor whose name is also a scope."""

    __slots__ = ("children", "info", "name", "nbytes", "num_tensors", "rank")

    def __init__(self, name: str, info: TensorInfo | None = None, rank: int = 0) -> None:
        self.name = name
        self.info = info
        self.rank = rank  # the number of its first tensor in the file, once it is finished
        self.num_tensors = 0
        self.nbytes = 0
        self.children: list[_Scope] | None = None  # an empty list would double a tensor's size

    def add(self, child: _Scope) -> _Scope:
        """Add a child and return it."""
        if self.children is None:
            self.children = [child]
        else:
            self.children.append(child)
        return child

    def finish(self, key: Callable[[_Scope], Any]) -> None:
        """Compute sizes and sort children by a key, of this scope and of all below it."""
        if self.info is not None:
            self.num_tensors = 1
            self.nbytes = self.info.nbytes
        if self.children is None:
            return
        for child in self.children:
            child.finish(key)
            self.num_tensors += child.num_tensors
            self.nbytes += child.nbytes
        if self.info is None:
            self.rank = min(child.rank for child in self.children)
        if len(self.children) > 1:
            self.children.sort(key=key)


class ScopeTree:
    """The scopes of tensors.

    Iteration yields an `OutlineRow` for each scope and tensor, a parent before its children.
    """

    def __init__(self, infos: Sequence[TensorInfo], *, in_file_order: bool = False) -> None:
        """Create the tree.

        Args:
            infos: the metadata of the tensors, in the order of the file.
            in_file_order: whether children come in the order of the file, by their first tensors,
                instead of the natural order of their names (``layer_2`` before ``layer_10``).
        """
        self._root = _Scope("")
        scopes_left = FREE_SCOPES + len(infos)
        path: list[_Scope] = []  # to the previous tensor, without the root
        # Tensors that may be scopes of later names: "a.b" is sorted between "a" and "a/c".
        interrupted: dict[str, _Scope] = {}
        previous: str | None = None
        names = [info.name for info in infos]
        for rank in sorted(range(len(infos)), key=names.__getitem__):
            info = infos[rank]
            if previous is not None and info.name.startswith(previous):
                interrupted[previous] = path[-1]
            previous = info.name
            parts = info.name.split("/", _DEEPEST_SCOPE)
            depth = 0
            for scope, part in zip(path, parts):
                if scope.name != part:
                    break
                depth += 1
            del path[depth:]
            num_new = len(parts) - depth - 1
            if num_new > scopes_left:
                parts, num_new, scopes_left = info.name.split("/", depth), 0, 0
            scopes_left -= num_new
            parent = path[-1] if path else self._root
            for i in range(depth, len(parts) - 1):
                tensor = interrupted.get("/".join(parts[: i + 1])) if interrupted else None
                parent = tensor or parent.add(_Scope(parts[i]))
                path.append(parent)
            path.append(parent.add(_Scope(parts[-1], info, rank)))
        self._root.finish(_rank if in_file_order else _natural_name)

    def __iter__(self) -> Iterator[OutlineRow]:
        pending = [(self._root, 0, "")]  # scope, depth, path up to its name
        while pending:
            scope, depth, above = pending.pop()
            path = above + scope.name
            yield OutlineRow(depth, scope.name, path, scope.num_tensors, scope.nbytes, scope.info)
            if scope.children is not None:
                below = f"{path}/" if depth else ""
                pending += [(child, depth + 1, below) for child in reversed(scope.children)]


def _natural_name(scope: _Scope) -> str:
    """Return the key for the natural order of names."""
    return natural_key(scope.name)


def _rank(scope: _Scope) -> int:
    """Return the key for the order of the file."""
    return scope.rank
