"""From one object to all that it leads to."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from ckptparse.objectgraph.paths import escape_name

Children = Callable[[int], Mapping[str, int]]
"""Local name -> node id, of a node id."""


def _enter_all(node_id: int, name: str, child: int) -> bool:
    return True


class Walk:
    """The nodes that one node leads to, breadth-first, each under the first path that reaches it.

    That is how TensorFlow finds the path that goes into a key: the shortest, and among those of one
    length the one whose names come first (`_breadth_first_traversal` in
    tensorflow/python/checkpoint/graph_view.py).

    Attributes:
        order: the node ids, the start first.
    """

    def __init__(
        self,
        start: int,
        children: Children,
        *,
        enter: Callable[[int, str, int], bool] = _enter_all,
    ) -> None:
        """
        Args:
            start: node id of the start.
            children: the children of a node.
            enter: called with (node id, local name, child's id); False leaves that child alone.
        """
        self.order = [start]
        self._first: dict[int, tuple[int, str]] = {start: (-1, "")}
        self._path_sizes = {start: 0}
        pending = deque([start])
        while pending:
            node_id = pending.popleft()
            for name, child in children(node_id).items():
                if child in self._first or not enter(node_id, name, child):
                    continue
                self._first[child] = node_id, name
                size = self._path_sizes[node_id] + len(escape_name(name)) + 1
                self._path_sizes[child] = size
                self.order.append(child)
                pending.append(child)

    def __contains__(self, node_id: int) -> bool:
        return node_id in self._first

    def names(self, node_id: int) -> tuple[str, ...]:
        """The local names on the first path to a node of this walk."""
        names = []
        parent, name = self._first[node_id]
        while parent != -1:
            names.append(name)
            parent, name = self._first[parent]
        return tuple(reversed(names))

    def path(self, node_id: int) -> str:
        """The first path to a node of this walk."""
        return "/".join(map(escape_name, self.names(node_id)))

    def path_size(self, node_id: int) -> int:
        """The length of the first path to a node of this walk, made or not, and one letter more."""
        return self._path_sizes[node_id]
