"""Use everything of an object graph."""

from __future__ import annotations

from collections.abc import Iterable

from ckptparse import TensorInfo
from ckptparse.objectgraph import ObjectGraph, join_path, split_path
from fuzz.outcomes import outcome, require

_MOST = 40


def use_objects(graph: ObjectGraph, infos: Iterable[TensorInfo]) -> None:
    """Call every method of a graph.

    Args:
        graph: the graph.
        infos: every tensor of its checkpoint.
    """
    repr(graph)
    outcome(lambda: list(graph.root.children.items()))
    for node in list(graph.nodes())[:_MOST]:
        repr(node)
        children = outcome(lambda n=node: n.children)
        path = outcome(lambda n=node: n.path)
        outcome(lambda n=node: n.variable)
        outcome(lambda n=node: n.slot_variables)
        outcome(lambda n=node: n.slots)
        outcome(lambda n=node: (n.registered_saver, n.has_checkpoint_values))
        for attribute in (outcome(lambda n=node: n.attributes).value or ())[:_MOST]:
            outcome(lambda a=attribute: a.keys)
            outcome(lambda a=attribute: (a.info, a.dtype, a.shape))
        for name in list(children.value or ())[:_MOST]:
            if name:  # "" is the path of the object itself as well
                require(tuple(split_path(join_path([name]))) == (name,), "path of", name)
        if path.value:  # "" is the root, and also what a child called "" is at
            found = outcome(lambda p=path.value: graph.node(p))
            require(found.value == node, "object", node, path, found)
    paths = outcome(lambda: list(graph))
    for path in (paths.value or [])[:_MOST]:
        key = outcome(lambda p=path: graph.checkpoint_key(p))
        require(key.error is None and path in graph, "listed path", path, key)
        outcome(lambda p=path: graph.info(p))
        outcome(lambda p=path: graph.read(p))
    outcome(lambda: graph["no such path"])
    outcome(lambda: graph.full_names)
    outcome(lambda: list(graph.subtree("")))
    outcome(lambda: list(graph.model_weights()))
    outcome(lambda: graph.outline({info.name: info for info in infos}))
