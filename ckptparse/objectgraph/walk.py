"""From one object to all that it leads to."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from ckptparse.errors import CorruptCheckpointError
from ckptparse.limits import MAX_FREE_PATH_LETTERS, MAX_PATH_LETTERS_RATIO
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
        order: the node ids as they were reached, the start first.
        first: node id -> (id of the node before it, local name there); of the start (-1, "").
    """

    def __init__(
        self,
        start: int,
        children: Children,
        *,
        enter: Callable[[int, str, int], bool] = _enter_all,
        last: Sequence[str] = (),
    ) -> None:
        """
        Args:
            start: node id of the start.
            children: the children of a node.
            enter: called with (node id, local name, child's id); False leaves that child alone.
            last: local names to follow only when nothing else is left to follow, in this order.
        """
        self.order: list[int] = []
        self.first = {start: (-1, "")}
        self._path_sizes = {start: 0}
        ranks = {name: rank for rank, name in enumerate(last, 1)}
        pending: list[deque[tuple[int, str, int]]] = [deque() for _ in range(len(last) + 1)]

        def reach(node_id: int) -> None:
            self.order.append(node_id)
            for name, child in children(node_id).items():
                pending[ranks.get(name, 0)].append((node_id, name, child))

        reach(start)
        while queue := next(filter(None, pending), None):
            node_id, name, child = queue.popleft()
            if child not in self.first and enter(node_id, name, child):
                self.first[child] = node_id, name
                size = self._path_sizes[node_id] + len(escape_name(name)) + 1
                self._path_sizes[child] = size
                reach(child)

    def __contains__(self, node_id: int) -> bool:
        return node_id in self.first

    def names(self, node_id: int) -> tuple[str, ...]:
        """The local names on the first path to a node of this walk."""
        names = []
        parent, name = self.first[node_id]
        while parent != -1:
            names.append(name)
            parent, name = self.first[parent]
        return tuple(reversed(names))

    def path(self, node_id: int) -> str:
        """The first path to a node of this walk."""
        return "/".join(map(escape_name, self.names(node_id)))

    def require_short_paths(self, node_ids: Iterable[int], nbytes: int) -> None:
        """Raise before paths are made, if they would be longer than the file justifies.

        A writer puts each variable's path into its key, so all of them together are shorter than
        the graph.  A chain of objects with other keys could make them as long as its square.

        Args:
            node_ids: nodes of this walk whose paths are wanted.
            nbytes: the size of the graph that they are in.

        Raises:
            CorruptCheckpointError: the paths are longer.
        """
        most = max(MAX_FREE_PATH_LETTERS, MAX_PATH_LETTERS_RATIO * nbytes)
        total = sum(self._path_sizes[node_id] for node_id in node_ids)
        if total > most:
            raise CorruptCheckpointError(
                "invalid object graph",
                expected=f"paths of at most {most} letters in all",
                found=total,
            )
