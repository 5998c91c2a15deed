"""Find the slots of optimizers and the moving averages in a TF1 graph.

The graph says so where it holds the training step:

- an operation that applies gradients (``ApplyAdam``, ``ResourceSparseApplyMomentum`` ...) has as
  inputs the variable, then its slots, then what is no variable;
- a moving average is changed by nodes called ``…/AssignMovingAvg``, and stands below what it
  averages: ``<variable>/<name of the average>``.  (So are the statistics of batch normalisation
  changed, which stand below no variable.)

Where it does not, or the optimizer is made by hand, names do, by the rule of TensorFlow's
slot_creator: ``<variable>/<name of the optimizer>``, numbered from the second on.

Source: tensorflow/python/training/{slot_creator,moving_averages,optimizer}.py.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Literal

from ckptparse.metagraph.nodes import GraphFacts

Role = tuple[Literal["average", "slot", "optimizer"], str | None]

_AVERAGE = "ExponentialMovingAverage"
_UPDATE = re.compile(r"(^|/)AssignMovingAvg(_\d+)?(/|$)")
_OF_AVERAGE = {"biased", "local_step"}
_OPTIMIZERS = re.compile(
    r"(Momentum|Adam|AdaMax|Adagrad|AdagradDA|Adadelta|RMSProp|Ftrl|ProximalAdagrad)(_\d+)?"
    r"|adam_[mv]"  # BERT's own AdamWeightDecay
)
_POWERS = re.compile(r"(.*/)?beta[12]_power(_\d+)?", re.DOTALL)


def find_roles(names: Collection[str], trainable: set[str], facts: GraphFacts) -> dict[str, Role]:
    """Name of a variable -> its role and what it is kept for; only those that have one.

    Args:
        names: all variables.
        trainable: those that are trained, which have no role.
        facts: the graph.
    """
    known = set(names)
    averaged, slots = _read_updates(facts)
    roles: dict[str, Role] = {}
    for name in known - trainable:
        of, _, last = name.rpartition("/")
        if last == _AVERAGE or (name in averaged and of in known and last not in _OF_AVERAGE):
            roles[name] = "average", of
        elif slots.get(name) in known:
            roles[name] = "slot", slots[name]
        elif of in known and (
            _OPTIMIZERS.fullmatch(last) or (last in _OF_AVERAGE and of.endswith(_AVERAGE))
        ):
            roles[name] = "slot", of
        elif _POWERS.fullmatch(name):
            roles[name] = "optimizer", None
    return roles


def _read_updates(facts: GraphFacts) -> tuple[set[str], dict[str, str]]:
    """The variables that averages are assigned to; slot (or another input) -> variable."""
    averaged = set()
    slots = {}
    for name, op, inputs in facts.updates:
        variable, *others = inputs or ("",)
        if "Apply" in op:
            slots.update(dict.fromkeys(others, variable))
        elif _UPDATE.search(name):
            averaged.add(variable)
    return averaged, slots
