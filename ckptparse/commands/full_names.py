"""Find the full names of variables in the graphs of a checkpoint.

A TF2 checkpoint stores a variable under the path of its object (``variables/0/.ATTRIBUTES/
VARIABLE_VALUE``).  Its name in the program (``sequential/conv2d/kernel``) is stored in the
checkpoint's object graph, and in the graph of a SavedModel.  A file of Keras may have names of
variables, too.

Sources: tensorflow/core/protobuf/trackable_object_graph.proto, ``full_name``;
saved_object_graph.proto, ``SavedVariable.name``.
"""

from __future__ import annotations

from ckptparse.checkpoint import Checkpoint
from ckptparse.formats.containers import CONTAINERS

_UNNAMED = ("", "Variable")
"""The full names that TensorFlow gives to variables that a program did not name."""


def read_full_names(ckpt: Checkpoint) -> dict[str, str]:
    """Return key in the checkpoint -> full name, of variables for which the two differ.

    Raises:
        CheckpointError: a graph is damaged or cannot be read.
    """
    if ckpt.format in CONTAINERS:
        return dict(ckpt.variable_names)
    objects = ckpt.object_graph
    if objects is None:  # TensorFlow 1: the keys are full names
        return {}
    variables = [node.variable for node in objects.nodes()]
    names = {each.checkpoint_key: each.full_name for each in variables if each is not None}
    if any(name in _UNNAMED for name in names.values()):
        graph = ckpt.meta_graph
        for variable in () if graph is None else graph.variables:
            if names.get(variable.checkpoint_key) in _UNNAMED:
                names[variable.checkpoint_key] = variable.name
    return {key: name for key, name in names.items() if name not in (*_UNNAMED, key)}
