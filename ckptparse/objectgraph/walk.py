"""Walk from one object to all objects that can be reached from it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from ckptparse.errors import CorruptCheckpointError
from ckptparse.limits import max_path_letters
from ckptparse.objectgraph.paths import escape_name

Children = Callable[[int], Mapping[str, int]]
"""A function from the id of a node to its children: local name -> node id."""


def _enter_all(node_id: int, name: str, child: int) -> bool:
    return True


class Walk:
    """The nodes that can be reached from a node, breadth first, each with the first path to it.

    TensorFlow uses the same path in the key of a variable: the shortest one.  If several paths are
    the shortest, it uses the one that is found first when children are followed in their stored
    order (``_breadth_first_traversal`` in tensorflow/python/checkpoint/graph_view.py).

    Attributes:
        order: node ids in the order in which they were reached; the start is the first.
        first: node id -> (id of its parent on the first path, local name there); (-1, "") for the
            start.
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
            start: id of the node to start from.
            children: returns the children of a node.
            enter: called with (node id, local name, child's id); if it returns False, the child is
                not reached by this path.
            last: local names of children that are followed only after all other children, in this
                order.
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
        """Return the local names on the first path to a node of this walk."""
        names = []
        parent, name = self.first[node_id]
        while parent != -1:
            names.append(name)
            parent, name = self.first[parent]
        return tuple(reversed(names))

    def path(self, node_id: int) -> str:
        """Return the first path to a node of this walk."""
        return "/".join(map(escape_name, self.names(node_id)))

    def require_short_paths(self, node_ids: Iterable[int], nbytes: int) -> None:
        """Raise if the paths of nodes would together be too long for the size of the graph.

        TensorFlow stores the path of each variable in its key, so that all paths together are
        shorter than the graph.  In a damaged or malicious graph, a chain of n objects with short
        keys would have paths of n² characters.

        Args:
            node_ids: nodes of this walk.
            nbytes: the size of the graph in bytes.

        Raises:
            CorruptCheckpointError: the paths are too long.
        """
        most = max_path_letters(nbytes)
        total = sum(self._path_sizes[node_id] for node_id in node_ids)
        if total > most:
            raise CorruptCheckpointError(
                "invalid object graph",
                expected=f"paths of at most {most} letters in all",
                found=total,
            )
