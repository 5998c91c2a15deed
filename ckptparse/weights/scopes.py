"""The tree of scopes that the slashes in names make."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

from ckptparse.tensors.info import OutlineRow, TensorInfo
from ckptparse.tensors.names import natural_key

_DEEPEST_SCOPE = 100
"""Names are cut at no more slashes: a name can consist of slashes alone."""


class ScopeTree:
    """The scopes of tensors, which iteration gives as rows, parents before their children.

    The infos are sorted by name, so all names below a scope follow each other; only a tensor that
    has the scope itself as its name may come earlier.  The tree is held in arrays of numbers,
    one element for each scope.
    """

    def __init__(self, infos: Sequence[TensorInfo]) -> None:
        self._infos = infos
        names = self._names = [""]
        values = self._values = array("q", [-1])  # number of the info, of a scope that is a tensor
        parents = array("q", [-1])
        tensors: dict[str, int] = {}
        path: list[int] = []
        for number, info in enumerate(infos):
            parts = info.name.split("/", _DEEPEST_SCOPE)
            depth = stop = 0
            for scope, part in zip(path, parts):
                if names[scope] != part:
                    break
                depth += 1
                stop += len(part) + 1
            del path[depth:]
            for part in parts[depth:-1]:
                stop += len(part) + 1
                scope = tensors.get(info.name[: stop - 1], len(names))
                if scope == len(names):
                    names.append(part)
                    values.append(-1)
                    parents.append(path[-1] if path else 0)
                path.append(scope)
            tensors[info.name] = len(names)  # what is below it comes later
            parents.append(path[-1] if path else 0)
            path.append(len(names))
            names.append(parts[-1])
            values.append(number)
        self._add_up(parents)

    def _add_up(self, parents: array[int]) -> None:
        """Sizes and children, which come after their parents."""
        none = bytes(parents.itemsize * len(parents))
        self._num_tensors, self._nbytes = array("q", none), [0] * len(parents)
        self._first_child, self._next_sibling = array("q", none), array("q", none)
        for scope in reversed(range(len(parents))):
            if self._values[scope] >= 0:
                self._num_tensors[scope] += 1
                self._nbytes[scope] += self._infos[self._values[scope]].nbytes
            if scope:
                parent = parents[scope]
                self._num_tensors[parent] += self._num_tensors[scope]
                self._nbytes[parent] += self._nbytes[scope]
                self._next_sibling[scope] = self._first_child[parent]
                self._first_child[parent] = scope

        self._sort_siblings()

    def _sort_siblings(self) -> None:
        """Put the children of each scope in the order of their names, numbers by value."""
        next_sibling = self._next_sibling
        for scope, child in enumerate(self._first_child):
            if not child or not next_sibling[child]:
                continue
            children = []
            while child:
                children.append(child)
                child = next_sibling[child]
            children.sort(key=lambda child: natural_key(self._names[child]))
            self._first_child[scope] = children[0]
            for child, sibling in zip(children, [*children[1:], 0]):
                next_sibling[child] = sibling

    def __iter__(self) -> Iterator[OutlineRow]:
        names, values, infos = self._names, self._values, self._infos
        next_sibling, first_child = self._next_sibling, self._first_child
        num_tensors, nbytes = self._num_tensors, self._nbytes
        pending = [(0, 0, "")]  # scope, depth, what is before its name in its path
        while pending:
            scope, depth, above = pending.pop()
            name, value = names[scope], values[scope]
            path = above + name
            info = infos[value] if value >= 0 else None
            yield OutlineRow(depth, name, path, num_tensors[scope], nbytes[scope], info)
            if sibling := next_sibling[scope]:
                pending.append((sibling, depth, above))
            if child := first_child[scope]:
                pending.append((child, depth + 1, f"{path}/" if depth else ""))
