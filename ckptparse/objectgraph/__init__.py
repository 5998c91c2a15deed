"""Object-based checkpoints (TensorFlow 2, Keras): the graph of objects that was saved."""

from ckptparse.objectgraph.graph import ObjectGraph, read_object_graph
from ckptparse.objectgraph.nodes import (
    KEY,
    ObjectAttribute,
    ObjectNode,
    RegisteredSaver,
    SlotVariable,
)
from ckptparse.objectgraph.paths import join_path, split_path
from ckptparse.objectgraph.variables import ObjectVariables
from ckptparse.tensors.outline import OutlineRow

__all__ = [
    "KEY",
    "ObjectAttribute",
    "ObjectGraph",
    "ObjectNode",
    "ObjectVariables",
    "OutlineRow",
    "RegisteredSaver",
    "SlotVariable",
    "join_path",
    "read_object_graph",
    "split_path",
]
