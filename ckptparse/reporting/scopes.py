"""The scopes of the tensors on a page, with their totals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ckptparse.reporting.examination import Row
from ckptparse.tensors.names import ATTRIBUTES

_DEEPEST = 20
"""Names are split at this number of slashes at most."""

_FREE_SCOPES = 10_000
"""There are at most this many scopes more than tensors; names beyond have fewer scopes."""


class Scope:
    """A scope, or a tensor, which is a scope without children.

    Attributes:
        name: its whole name.
        label: the last part of it.
        num_tensors: number of tensors in it.
        nbytes: number of their bytes.
        num_damaged: number of those that are damaged.
        children: the scopes and tensors in it, the largest first.
    """

    __slots__ = ("_by_label", "children", "label", "name", "nbytes", "num_damaged", "num_tensors")

    def __init__(self, name: str, label: str) -> None:
        self.name = name
        self.label = label
        self.num_tensors = 0
        self.nbytes = 0
        self.num_damaged = 0
        self.children: list[Scope] = []
        self._by_label: dict[str, Scope] = {}

    @property
    def is_tensor(self) -> bool:
        """Whether there is nothing in it."""
        return not self.children

    @property
    def scopes(self) -> list[Scope]:
        """The children that are no tensors."""
        return [child for child in self.children if not child.is_tensor]

    def _count(self, row: Row) -> None:
        self.num_tensors += 1
        self.nbytes += row.nbytes
        self.num_damaged += row.state == "damaged"

    def _child(self, name: str, label: str) -> Scope:
        child = self._by_label.get(label)
        if child is None:
            child = self._by_label[label] = Scope(name, label)
            self.children.append(child)
        return child

    def _finish(self) -> None:
        """Sort the children, and join each scope with its only child, if that is a scope."""
        for child in self.children:
            child._finish()
        while len(self.children) == 1 and self.children[0].children and self.name:
            (only,) = self.children
            self.name, self.label = only.name, f"{self.label}/{only.label}"
            self.children = only.children
        self._by_label = {}
        self.children.sort(key=lambda child: (-child.nbytes, child.name))


def build_scopes(rows: Iterable[Row]) -> Scope:
    """Return the root of the scopes of tensors; its name is ""."""
    root = Scope("", "")
    rows = list(rows)
    left = _FREE_SCOPES + len(rows)
    for row in rows:
        path = row.name.partition(ATTRIBUTES)[0]
        parts = path.split("/", _DEEPEST)
        scope = root
        scope._count(row)
        for i, label in enumerate(parts[:-1], 1):
            if label not in scope._by_label:
                if not left:
                    break
                left -= 1
            scope = scope._child("/".join(parts[:i]), label)
            scope._count(row)
        # A tensor gets a place of its own beside a scope, or another tensor, of its name.
        leaf = Scope(row.name, row.name[len(scope.name) :].lstrip("/").partition(ATTRIBUTES)[0])
        leaf._count(row)
        scope.children.append(leaf)
    root._finish()
    return root


def walk(scope: Scope, depth: int = 0) -> Iterator[tuple[int, Scope]]:
    """Yield the scopes in a scope, without tensors, with their depth."""
    for child in scope.scopes:
        yield depth, child
        yield from walk(child, depth + 1)
