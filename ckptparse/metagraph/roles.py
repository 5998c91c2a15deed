"""Find the slots of optimizers and the moving averages in a graph of TensorFlow 1.

If the graph contains the training step, they are found by its operations:

- An operation that applies gradients (``ApplyAdam``, ``ResourceSparseApplyMomentum``) has as inputs
  the variable, then its slots, then other tensors.
- A moving average is updated by nodes named ``…/AssignMovingAvg``, and its name is
  ``VARIABLE/NAME OF THE AVERAGE``.  (The statistics of batch normalisation are updated in the same
  way, but the part of their names before the last slash is not the name of a variable.)

Otherwise, and for optimizers that a program implements itself, they are found by their names: for
moving averages, `ckptparse.weights.moving_averages` has the rules; slots are named by TensorFlow's
slot_creator ``VARIABLE/NAME OF THE OPTIMIZER``, with a number from the second slot on.

Source: tensorflow/python/training/{slot_creator,moving_averages,optimizer}.py.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Literal

from ckptparse.metagraph.nodes import GraphFacts
from ckptparse.weights.moving_averages import AVERAGE, DEBIASING

Role = tuple[Literal["average", "slot", "optimizer"], str | None]

_UPDATE = re.compile(r"(^|/)AssignMovingAvg(_\d+)?(/|$)")
_OPTIMIZERS = re.compile(
    r"(Momentum|Adam|AdaMax|Adagrad|AdagradDA|Adadelta|RMSProp|Ftrl|ProximalAdagrad)(_\d+)?"
    r"|adam_[mv]"  # BERT's own AdamWeightDecay
)
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
    averaged, slots = _read_updates(facts)
    roles: dict[str, Role] = {}
    for name in known - trainable:
        of, _, last = name.rpartition("/")
        if last == AVERAGE or (name in averaged and of in known and last not in DEBIASING):
            roles[name] = "average", of
        elif slots.get(name) in known:
            roles[name] = "slot", slots[name]
        elif of in known and (
            _OPTIMIZERS.fullmatch(last) or (last in DEBIASING and of.endswith(AVERAGE))
        ):
            roles[name] = "slot", of
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
