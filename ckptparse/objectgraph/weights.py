"""Separate the weights of a model from the state that only training needs.

The graph does not store the types of objects.  They are recognised by their children, as TensorFlow
2.0 to 2.21 and Keras 2 and 3 write them:

- An optimizer has slot variables (Keras until 2.10, and its legacy optimizers); or it has the
  children ``_iterations`` and ``_variables`` (Keras from 2.11 on); or all its children are
  variables, among them ``iter`` and one of ``learning_rate`` and ``decay`` (a legacy optimizer
  without slots); or it wraps another one (``base_optimizer``, ``inner_optimizer``).
- A metric has the children ``total`` and ``count``, or counts such as ``true_positives``, or a
  ``total_confusion_matrix``.  In a SavedModel, Keras 2 stores metrics, and
  its metadata of every layer, below ``keras_api``.
- A counter is an integer scalar that is a child of the root (``save_counter``, ``step``,
  ``global_step``, ``epoch``).  A scalar child of the root named ``learning_rate`` is also left out.
- The state of a random number generator is named ``StateVar`` or ``seed_generator_state``.

All these are left out, and so are objects that are not variables (tables, Python state, iterators).

A weight is listed under its path through the layers.  Some lists contain the variables again, and
are searched last, for variables that have no other path:

- the lists of a SavedModel (``variables`` and others);
- ``_trainable_variables`` of a Keras 3 optimizer, the variables that it trains.  It is the only
  path to the weights of layers that are in a Python list;
- ``_all_variables`` of Keras 3's ``export``.  It contains a copy of each weight: another variable
  with the same full name.
"""

from __future__ import annotations

from collections import Counter
from functools import cache, partial

import numpy as np

from ckptparse.errors import TensorNotFoundError
from ckptparse.objectgraph.nodes import KEY, ROOT, NodeTable, ObjectAttribute
from ckptparse.objectgraph.walk import Walk
from ckptparse.tensors.mapping import Role
from ckptparse.weights.training_state import METRIC_COUNTS

_METADATA = "keras_api"
_OF_METRIC = {"total", "count"}
_TRAINED = "_trainable_variables"
_COPIES = "_all_variables"
LISTS = ("variables", "trainable_variables", "non_trainable_variables", _TRAINED, _COPIES)
"""Local names of lists that contain variables again, in the order in which they are searched."""

_OF_OPTIMIZER = {"_iterations", "_variables"}
_WRAPPED = {"base_optimizer", "inner_optimizer"}
_RATE = "learning_rate"
_RANDOM_STATES = {"StateVar", "seed_generator_state"}


def find_weights(nodes: NodeTable, start: int) -> tuple[Walk, list[int]]:
    """Return the walk from a node, and the ids of the weights that it reaches."""
    of_optimizer = cache(partial(_is_optimizer, nodes))
    of_metric = cache(partial(_is_metric, nodes))

    def enter(node_id: int, name: str, child: int) -> bool:
        if name == _TRAINED:
            return True
        if of_optimizer(node_id) or name == _METADATA or child == ROOT or of_metric(child):
            return False
        return not (node_id == ROOT and _is_counter(nodes, name, child))

    walk = Walk(start, nodes.children, enter=enter, last=LISTS)
    found = []
    names: Counter[str] = Counter()
    for node_id in walk.order:
        variable = nodes.variable(node_id)
        if variable is None or _is_random_state(variable):
            continue
        name, container = variable.full_name, walk.first[node_id][0]
        if names[name] and walk.first[container][1] == _COPIES:
            names[name] -= 1
        else:
            names[name] += 1
            found.append(node_id)
    return walk, found


def find_roles_of_keys(nodes: NodeTable) -> dict[str, Role]:
    """Return the role of each tensor that belongs to an object; its key in the checkpoint -> role.

    The tensor with the graph is state, too.
    """
    roles: dict[str, Role] = {KEY: "state"}
    for node_id in range(len(nodes)):
        for attribute in nodes.attributes(node_id):
            roles.update(dict.fromkeys(attribute.keys, "state"))
    _, found = find_weights(nodes, ROOT)
    for node_id in found:
        variable = nodes.variable(node_id)
        if variable is not None:
            roles[variable.checkpoint_key] = "weight"
    return roles


def _is_optimizer(nodes: NodeTable, node_id: int) -> bool:
    """Return whether a node looks like an optimizer."""
    if nodes.message(node_id).slot_variables:
        return True
    children = nodes.children(node_id)
    if children.keys() >= _OF_OPTIMIZER or any(name in children for name in _WRAPPED):
        return True
    return (
        "iter" in children
        and ("decay" in children or _RATE in children)
        and all(nodes.variable(child) is not None for child in children.values())
    )


def _is_metric(nodes: NodeTable, node_id: int) -> bool:
    """Return whether a node looks like a metric."""
    names = nodes.children(node_id).keys()
    return names >= _OF_METRIC or not METRIC_COUNTS.isdisjoint(names)


def _is_counter(nodes: NodeTable, name: str, child: int) -> bool:
    """Return whether a child of the root is a counter or a learning rate."""
    variable = nodes.variable(child)
    if variable is None:
        return False
    try:
        info = variable.info
    except TensorNotFoundError:  # keep the variable: reading it raises the error
        return False
    return info.shape == () and (name == _RATE or np.issubdtype(info.dtype, np.integer))


def _is_random_state(variable: ObjectAttribute) -> bool:
    """Return whether a variable is the state of a random number generator."""
    return variable.full_name.rpartition("/")[2] in _RANDOM_STATES
