"""Add an object graph to tensors that are saved.  Without one, TensorFlow 2 cannot restore them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ckptparse.errors import InvalidTensorsError
from ckptparse.objectgraph.building import build_graph
from ckptparse.objectgraph.pruning import prune_graph
from ckptparse.tensors.mapping import TensorMapping, find_roots
from ckptparse.tensors.names import ATTRIBUTES, OBJECT_GRAPH
from ckptparse.weights.merge import Merge
from ckptparse.weights.selection import select


def carry_graph(tensors: TensorMapping) -> TensorMapping:
    """Return tensors of one object-based checkpoint with its graph, pruned to these tensors.

    The graph is left out if no name contains ``/.ATTRIBUTES/``, for example after the tensors were
    renamed to names of TensorFlow 1.

    Returns:
        The tensors and the pruned graph; the mapping itself, if it needs no change, or if its
        tensors come from no object-based checkpoint or from several.

    Raises:
        InvalidTensorsError: TensorFlow would not find a tensor under its new name; see
            `prune_graph`.
    """
    roots = find_roots(tensors)
    by_id = {id(root): root for root, _ in roots.values()}
    sources = [root for root in by_id.values() if OBJECT_GRAPH in root]
    if len(sources) != 1:
        return tensors
    (source,) = sources
    keys = {
        key: name
        for name, (root, key) in roots.items()
        if root is source and OBJECT_GRAPH not in (key, name)
    }
    without_graph = select(tensors, exclude=OBJECT_GRAPH) if OBJECT_GRAPH in tensors else tensors
    if not any(ATTRIBUTES in name for name in keys.values()):
        return without_graph
    graph = source[OBJECT_GRAPH].item()
    try:
        pruned = prune_graph(graph, keys, list(source))
    except ValueError as error:
        raise InvalidTensorsError(str(error)) from error
    if pruned == graph and roots.get(OBJECT_GRAPH) == (source, OBJECT_GRAPH):
        return tensors
    return _with_graph(without_graph, pruned)


def attach_built_graph(tensors: Mapping[str, Any]) -> tuple[TensorMapping, dict[str, str]]:
    """Return tensors under the keys of the objects that their names are paths of, with a graph.

    Returns:
        The tensors, and their names in `tensors` to their keys.

    Raises:
        InvalidTensorsError: a name is not a path, or two names are the same path.
    """
    try:
        graph, keys = build_graph(name for name in tensors if name != OBJECT_GRAPH)
    except ValueError as error:
        raise InvalidTensorsError(str(error)) from error
    return _with_graph(select(tensors, exclude=OBJECT_GRAPH, rename=keys), graph), keys


def _with_graph(tensors: TensorMapping, graph: bytes) -> TensorMapping:
    return Merge([tensors, {OBJECT_GRAPH: np.array(graph, object)}])
