"""Separate the weights of a model from the state that only training needs.

The graph does not say what an object is.  It is told by its shape, as TensorFlow 2.0 to 2.21 and
Keras 2 and 3 write it:

- an optimizer keeps slot variables (Keras until 2.10 and its "legacy" ones); or has the children
  ``_iterations`` and ``_variables`` (Keras from 2.11 on); or has ``iter`` and either
  ``learning_rate`` or ``decay``, and nothing but variables as children (the legacy ones again,
  without slots); or wraps another one (``base_optimizer``, ``inner_optimizer``);
- a metric has the children ``total`` and ``count``; Keras 2 puts those of a SavedModel, and its own
  notes about every layer, below ``keras_api``;
- a counter is an integer scalar that is a child of the root (``save_counter``, ``step``,
  ``global_step``, ``epoch`` ...); a ``learning_rate`` there is none of the model's weights either;
- the state of random numbers is called ``StateVar`` or ``seed_generator_state``.

All this is left out, and so is whatever is not a variable (tables, Python state, iterators).

A weight is listed under its path through the layers.  Three kinds of lists are therefore looked at
only for what is nowhere else: those of a SavedModel (``variables`` ...); the weights that a Keras 3
optimizer trains (``_trainable_variables``), which for layers in a Python list is the only place;
and ``_all_variables`` of Keras 3's ``export``, which holds every weight again, as another variable
of the same name.
"""

from __future__ import annotations

from collections import Counter
from functools import cache, partial

import numpy as np

from ckptparse.errors import TensorNotFoundError
from ckptparse.objectgraph.nodes import ROOT, NodeTable, ObjectAttribute
from ckptparse.objectgraph.walk import Walk

_NOTES = "keras_api"
_METRIC = {"total", "count"}
_TRAINED = "_trainable_variables"
_COPIES = "_all_variables"
LISTS = ("variables", "trainable_variables", "non_trainable_variables", _TRAINED, _COPIES)
"""Children in which variables stand again, under paths that say nothing; the best first."""

_KEPT = {"_iterations", "_variables"}
_WRAPPED = {"base_optimizer", "inner_optimizer"}
_RATE = "learning_rate"
_RANDOM_STATES = {"StateVar", "seed_generator_state"}


def find_weights(nodes: NodeTable, start: int) -> tuple[Walk, list[int]]:
    """The ids of the weights below a node, and the walk to them."""
    of_optimizer = cache(partial(_is_optimizer, nodes))
    of_metric = cache(lambda node_id: nodes.children(node_id).keys() >= _METRIC)

    def enter(node_id: int, name: str, child: int) -> bool:
        if name == _TRAINED:
            return True
        if of_optimizer(node_id) or name == _NOTES or child == ROOT or of_metric(child):
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


def _is_optimizer(nodes: NodeTable, node_id: int) -> bool:
    """Return whether a node looks like an optimizer."""
    if nodes.message(node_id).slot_variables:
        return True
    children = nodes.children(node_id)
    if children.keys() >= _KEPT or any(name in children for name in _WRAPPED):
        return True
    return (
        "iter" in children
        and ("decay" in children or _RATE in children)
        and all(nodes.variable(child) is not None for child in children.values())
    )


def _is_counter(nodes: NodeTable, name: str, child: int) -> bool:
    variable = nodes.variable(child)
    if variable is None:
        return False
    try:
        info = variable.info
    except TensorNotFoundError:  # nothing is known of it; reading it will say so
        return False
    return info.shape == () and (name == _RATE or np.issubdtype(info.dtype, np.integer))


def _is_random_state(variable: ObjectAttribute) -> bool:
    return variable.full_name.rpartition("/")[2] in _RANDOM_STATES
