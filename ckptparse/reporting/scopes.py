"""The scopes of the tensors on a page, with their totals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ckptparse.reporting.examination import Row
from ckptparse.tensors.names import ATTRIBUTES, DEEPEST_SCOPE, FREE_SCOPES


class Scope:
    """A scope; or a tensor, which has no children.

    Attributes:
        label: its name in the scope around it.
        num_tensors: number of tensors in it.
        nbytes: number of their bytes.
        num_damaged: number of those that are damaged.
        children: the scopes and tensors in it, the largest first.
    """

    # A scope does not hold its whole name: the names of all scopes of a tensor with a long name
    # together would be much longer than this name.
    __slots__ = (
        "_by_label",
        "_row",
        "_scope",
        "children",
        "label",
        "nbytes",
        "num_damaged",
        "num_tensors",
    )

    def __init__(self, label: str, scope: Scope | None, row: Row | None = None) -> None:
        """
        Args:
            label: its name in the scope around it.
            scope: the scope around it; None for the root.
            row: the tensor; None for a scope.
        """
        self.label = label
        self.num_tensors = 0
        self.nbytes = 0
        self.num_damaged = 0
        self.children: list[Scope] = []
        self._scope = scope
        self._row = row
        self._by_label: dict[str, Scope] = {}

    @property
    def name(self) -> str:
        """Its whole name; "" for the root."""
        if self._row is not None:
            return self._row.name
        if self._scope is None or self._scope._scope is None:
            return self.label
        return f"{self._scope.name}/{self.label}"

    @property
    def is_tensor(self) -> bool:
        """Whether it is a tensor."""
        return self._row is not None

    @property
    def scopes(self) -> list[Scope]:
        """The children that are scopes."""
        return [child for child in self.children if not child.is_tensor]

    def _count(self, row: Row) -> None:
        self.num_tensors += 1
        self.nbytes += row.nbytes
        self.num_damaged += row.state == "damaged"

    def _finish(self) -> None:
        """Sort the children, and join each scope with its only child, if that is a scope."""
        self._by_label = {}
        for child in self.children:
            child._finish()
        while self._scope is not None and len(self.children) == len(self.scopes) == 1:
            (only,) = self.children
            self.label = f"{self.label}/{only.label}"
            self.children = only.children
            for child in self.children:
                child._scope = self
        self.children.sort(key=lambda child: -child.nbytes)


def build_scopes(rows: Sequence[Row]) -> Scope:
    """Return the root of the scopes of tensors.  Of equal size, the first tensors come first."""
    root = Scope("", None)
    left = FREE_SCOPES + len(rows)
    for row in rows:
        *labels, label = row.name.partition(ATTRIBUTES)[0].split("/", DEEPEST_SCOPE)
        scope = root
        scope._count(row)
        for i, part in enumerate(labels):
            inner = scope._by_label.get(part)
            if inner is None:
                if not left:
                    label = "/".join([*labels[i:], label])
                    break
                left -= 1
                inner = scope._by_label[part] = Scope(part, scope)
                scope.children.append(inner)
            scope = inner
            scope._count(row)
        # A tensor gets a place of its own beside a scope, or another tensor, of its name.
        leaf = Scope(label, scope, row)
        leaf._count(row)
        scope.children.append(leaf)
    root._finish()
    return root


def walk(scope: Scope, depth: int = 0) -> Iterator[tuple[int, Scope]]:
    """Yield the scopes in a scope, without tensors, with their depth."""
    for child in scope.scopes:
        yield depth, child
        yield from walk(child, depth + 1)
