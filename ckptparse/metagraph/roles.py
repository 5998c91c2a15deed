"""Find the slots of optimizers and the moving averages in a graph of TensorFlow 1.

If the graph contains the training step, they are found by its operations:

- An operation that applies gradients (``ApplyAdam``, ``ResourceSparseApplyMomentum``) has as inputs
  the variable, then its slots, then other tensors.
- A moving average is updated by nodes named ``…/AssignMovingAvg``, and its name is
  ``VARIABLE/NAME OF THE AVERAGE``.  (The statistics of batch normalisation are updated in the same
  way, but the part of their names before the last slash is not the name of a variable.)

Otherwise, and for optimizers that a program implements itself, names tell them: moving averages as
`ckptparse.weights.moving_averages` states, slots as `ckptparse.weights.training_state` does.

Source: tensorflow/python/training/{slot_creator,moving_averages,optimizer}.py.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Literal

from ckptparse.metagraph.nodes import GraphFacts
from ckptparse.weights.moving_averages import AVERAGE, DEBIASING
from ckptparse.weights.training_state import find_variable

Role = tuple[Literal["average", "slot", "optimizer"], str | None]

_UPDATE = re.compile(r"(^|/)AssignMovingAvg(_\d+)?(/|$)")
_POWERS = re.compile(r"(.*/)?beta[12]_power(_\d+)?", re.DOTALL)


def find_roles(names: Collection[str], trainable: set[str], facts: GraphFacts) -> dict[str, Role]:
    """Return name of a variable -> its role, and the variable that it belongs to (or None).

    Variables without a role are left out.

    Args:
        names: names of all variables.
        trainable: names of the variables that are trained; these have no role.
        facts: the scanned graph.
    """
    known = set(names)

    def shape_of(name: str) -> tuple[int, ...] | None:
        _, shape = facts.variables.get(name, (None, None))
        sizes = tuple(size for size in shape or () if size is not None)
        return None if shape is None or len(sizes) < len(shape) else sizes

    averaged, slots = _read_updates(facts)
    roles: dict[str, Role] = {}
    for name in known - trainable:
        of, _, last = name.rpartition("/")
        if last == AVERAGE or (name in averaged and of in known and last not in DEBIASING):
            roles[name] = "average", of
        elif slots.get(name) in known:
            roles[name] = "slot", slots[name]
        elif (variable := find_variable(name, known, shape_of)) is not None:
            roles[name] = "slot", variable
        elif _POWERS.fullmatch(name):
            roles[name] = "optimizer", None
    return roles


def _read_updates(facts: GraphFacts) -> tuple[set[str], dict[str, str]]:
    """Return the names of updated moving averages, and slot of an optimizer -> its variable."""
    averaged = set()
    slots = {}
    for name, op, inputs in facts.updates:
        variable, *others = inputs or ("",)
        if "Apply" in op:
            slots.update(dict.fromkeys(others, variable))
        elif _UPDATE.search(name):
            averaged.add(variable)
    return averaged, slots
