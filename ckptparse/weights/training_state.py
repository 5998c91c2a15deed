"""Separate the weights of a model from the state that only training needs.

A graph that was saved with the tensors decides, if there is one; see `TensorMapping.roles`.  Names
decide about all other tensors, by the tables in this module.  A name alone is no proof: a layer may
have the name ``Adam``.  So the slot of an optimizer is recognised only if the variable that it
belongs to is there, too, and has a shape that fits.

Names of variables, as ``tf.train.Saver`` writes them::

    v/Adam, v/Adam_1, v/adam_m, v_slot_vr      slots of v
    S/v/Adam                                   the same, made inside the variable scope S
    Adam/v/m, Adam/m/v, adam/v_momentum        slots of v of Keras 2, Keras 2.11 and Keras 3
    v/ExponentialMovingAverage                 the moving average of v
    v/biased and v/local_step                  kept for a moving average v with zero_debias
    global_step, beta1_power, loss_scale ...   scalars
    Adam/iter and Adam/decay ...               scalars of an optimizer of Keras
    S/total and S/count                        scalars of a metric

Paths in files of Keras are in `ckptparse.tensors.keras_paths`; they may have been converted to
another format.

Keys of objects, as ``tf.train.Checkpoint`` writes them, end in ``/.ATTRIBUTES/...``.  The rules for
them are those of `ckptparse.objectgraph.weights`, as far as keys show the objects.

Sources: tensorflow/python/training/{slot_creator,moving_averages,optimizer}.py; the ``add_slot``
and ``add_weight`` of tensorflow/python/keras/optimizer_v2/optimizer_v2.py; ``add_variable`` of
keras/src/optimizers/base_optimizer.py; mesh_tensorflow/optimize.py.  Fixtures of
tools/cases/optimizers.py have the names that each optimizer writes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

from ckptparse.tensors.keras_paths import is_state
from ckptparse.tensors.mapping import Role, TensorMapping
from ckptparse.tensors.names import ATTRIBUTES, OBJECT_GRAPH, OPTIMIZER_SLOT
from ckptparse.weights.moving_averages import AVERAGE, DEBIASING, average_name

Shape = tuple[int, ...]
ShapeOf = Callable[[str], "Shape | None"]
"""Returns the shape of a tensor; None if it is not known without reading the tensor."""

_MOST_SCOPES = 16
"""The maximum number of scopes around a slot, so that the work is linear in the size of a name."""


# Which shapes fit


def _is_same(slot: Shape, variable: Shape) -> bool:
    return slot == variable


def _is_factor(slot: Shape, variable: Shape) -> bool:
    """Return whether a slot has the variable's shape, or lacks one of its axes (Adafactor)."""
    axes = range(len(variable))
    return slot == variable or any(slot == variable[:i] + variable[i + 1 :] for i in axes)


def _is_square(slot: Shape, variable: Shape) -> bool:
    """Return whether a slot has the variable's shape, or is a square matrix for an axis."""
    return slot == variable or (len(slot) == 2 and slot[0] == slot[1] and slot[0] in variable)


# Slots by name


class _SlotNames(NamedTuple):
    """One row of the table of slots.

    Attributes:
        ending: regular expression for the text after the name of the variable.
        fits: returns whether a shape of a slot fits the shape of its variable.
        program: the library that uses these names.
    """

    ending: str
    fits: Callable[[Shape, Shape], bool]
    program: str


_SLOT_NAMES = (
    _SlotNames(
        r"/(Momentum|Adam|Adagrad|AdagradDA|Adadelta|RMSProp|Ftrl|ProximalAdagrad)(_\d+)?",
        _is_same,
        "tf.train",
    ),
    _SlotNames(
        r"/(AdaMax|AdamW|MomentumW|RegAdagrad|AddSignOptimizer|PowerSignOptimizer|LARSOptimizer)"
        r"(_\d+)?",
        _is_same,
        "tf.contrib.opt",
    ),
    _SlotNames(r"/Shampoo(_\d+)?", _is_square, "tf.contrib.opt"),
    _SlotNames(r"/(adam|lamb)_[mv]", _is_same, "BERT, ALBERT, Mesh TensorFlow"),
    _SlotNames(r"/(LAMB|Lamb)(_\d+)?", _is_same, "LAMB with slots of tf.train"),
    _SlotNames(r"/Adafactor(_\d+)?", _is_factor, "Tensor2Tensor"),
    _SlotNames(r"_slot_[mv]", _is_same, "Mesh TensorFlow"),
    _SlotNames(r"_slot_v[rc]", _is_factor, "Mesh TensorFlow"),
    _SlotNames(r"_momentum_v", _is_same, "Mesh TensorFlow"),
)
_SLOT_ENDINGS = [(re.compile(f"({row.ending})$", re.DOTALL), row.fits) for row in _SLOT_NAMES]
_ANY_SLOT_ENDING = re.compile(f"({'|'.join(row.ending for row in _SLOT_NAMES)})$")

_KERAS_OPTIMIZER = re.compile(
    r"(SGD|Adam|AdamW|Adamax|Nadam|RMSprop|Adagrad|Adadelta|Ftrl|Adafactor|Lion|Lamb|LAMB|Muon"
    r"|sgd|adam|adam_w|adamax|nadam|rm_sprop|adagrad|adadelta|ftrl|adafactor|lion|lamb|muon"
    r"|loss_scale_optimizer)(_\d+)?"
)
"""A scope with the name of an optimizer of Keras 2 or 3."""

_KERAS_SLOTS = frozenset(
    {
        "m",
        "v",
        "vhat",
        "momentum",
        "velocity",
        "velocity_hat",
        "norm",
        "rms",
        "mg",
        "r",
        "c",
        "u",
        "average_gradient",
        "accumulator",
        "accum_grad",
        "accum_var",
        "accumulated_grad",
        "accumulated_delta_var",
        "linear",
    }
)


def find_variable(name: str, known: Collection[str], shape_of: ShapeOf) -> str | None:
    """Return the variable that a tensor is a slot of, or None if its name is not that of a slot.

    A moving average is not a slot.  The tensors that are kept for it with zero_debias are slots.

    Args:
        name: name of the tensor.
        known: the names of all tensors.
        shape_of: returns the shape of a tensor.
    """
    if _ANY_SLOT_ENDING.search(name):
        for pattern, fits in _SLOT_ENDINGS:
            found = pattern.search(name)
            if found:
                for variable, _ in _without_scopes(name[: found.start()]):
                    if variable in known and _fits(fits, shape_of(name), shape_of(variable)):
                        return variable
    above, _, last = name.rpartition("/")
    if last in DEBIASING:
        return _find_debiased(name, above, last, known, shape_of)
    if "/" in above and last in _KERAS_SLOTS:  # Keras 2: SCOPES/Adam/VARIABLE/m
        for variable, scopes in _without_scopes(above):
            if (
                variable in known
                and any(map(_KERAS_OPTIMIZER.fullmatch, scopes))
                and _fits(_is_same, shape_of(name), shape_of(variable))
            ):
                return variable
    for variable, scopes in _without_scopes(name):  # Keras 2.11: SCOPES/Adam/m/VARIABLE
        if (
            len(scopes) > 1
            and scopes[-1] in _KERAS_SLOTS
            and _KERAS_OPTIMIZER.fullmatch(scopes[-2])
            and variable in known
            and _fits(_is_factor, shape_of(name), shape_of(variable))
        ):
            return variable
    return None


def _find_debiased(
    name: str, above: str, last: str, known: Collection[str], shape_of: ShapeOf
) -> str | None:
    """Return the moving average that a tensor with a name of `DEBIASING` is kept for, or None."""
    if not all(f"{above}/{other}" in known for other in DEBIASING):
        return None
    for variable, _ in _without_scopes(above):
        if variable in known:
            shape = shape_of(variable) if last == "biased" else ()
            return variable if _fits(_is_same, shape_of(name), shape) else None
    return None


def _without_scopes(name: str) -> Iterator[tuple[str, list[str]]]:
    """Yield a name without its first 0, 1, 2, ... scopes, and the list of these scopes."""
    scopes: list[str] = []
    for _ in range(_MOST_SCOPES):
        yield name, scopes
        scope, slash, name = name.partition("/")
        if not slash:
            return
        scopes = [*scopes, scope]


def _fits(fits: Callable[[Shape, Shape], bool], slot: Shape | None, variable: Shape | None) -> bool:
    """Return whether the shapes fit, or one of them is not known."""
    return slot is None or variable is None or fits(slot, variable)


# Scalars by name

_SCALARS = re.compile(
    r"(global_step|save_counter|iteration|iterations|learning_rate|beta[12]_power"
    r"|_?u_product|loss_scale|current_loss_scale|good_steps|bad_steps)(_\d+)?"
)
"""Counters, learning rates, the powers of Adam, and the state of a loss scale."""

_BESIDE_SETTINGS = ("iter", "iteration"), ("decay", "learning_rate")
_SETTINGS = frozenset(
    {
        "iter",
        "iteration",
        "learning_rate",
        "decay",
        "beta",
        "beta_1",
        "beta_2",
        "momentum",
        "rho",
        "momentum_cache",
        "l1_regularization_strength",
        "l2_regularization_strength",
        "learning_rate_power",
        "epsilon",
        "variable",
        "u_product",
        "step_counter",
        "dynamic_scale",
    }
)
"""Scalars of an optimizer of Keras.  They are recognised only if the same scope has a count of
iterations and a learning rate or decay."""

_METRIC = {"total": "count", "count": "total"}
_LAST_NUMBER = re.compile(r"_\d+$")


def _is_scalar_state(name: str, known: Collection[str]) -> bool:
    """Return whether a scalar has the name of a counter or of another number of training."""
    above, slash, last = name.rpartition("/")
    if _SCALARS.fullmatch(last):
        return True
    if last in _SETTINGS:
        return all(
            any(f"{above}{slash}{other}" in known for other in names) for names in _BESIDE_SETTINGS
        )
    stem = _LAST_NUMBER.sub("", last)
    number = last.removeprefix(stem)
    return stem in _METRIC and f"{above}{slash}{_METRIC[stem]}{number}" in known


# Keys of objects

_VALUE = f"{ATTRIBUTES}VARIABLE_VALUE"
_TRAINED = "_trainable_variables"
METRIC_COUNTS = frozenset(
    {
        "true_positives",
        "true_negatives",
        "false_positives",
        "false_negatives",
        "total_confusion_matrix",
        "total_cm",
        "squared_sum",
    }
)
"""Names that only variables of Keras's metrics have."""

_STATES_OF_ROOT = frozenset({"save_counter", "step", "global_step", "epoch", "learning_rate"})
_RANDOM_STATES = frozenset({"_state_var", "seed_generator", "seed_generator_state"})


def _find_optimizers_and_metrics(keys: Collection[str]) -> tuple[set[str], set[str]]:
    """Return the paths of the optimizers and metrics that can be recognised by keys."""
    slots = (key.partition(OPTIMIZER_SLOT)[2].partition(ATTRIBUTES)[0] for key in keys)
    optimizers = {path.rpartition("/")[0] for path in slots if path}
    metrics = set()
    for key in keys:
        if not key.endswith(_VALUE):
            continue
        above, _, last = key.removesuffix(_VALUE).rpartition("/")
        has = [f"{above}/{name}{_VALUE}" in keys for name in ("decay", "learning_rate", "count")]
        if last == "_iterations" or (last == "iter" and any(has[:2])):
            optimizers.add(above)
        elif last in METRIC_COUNTS or (last == "total" and has[2]):
            metrics.add(above)
    return optimizers, metrics


def _is_object_state(key: str, shape_of: ShapeOf, optimizers: set[str], metrics: set[str]) -> bool:
    """Return whether a key of an object is that of a slot, an optimizer, a metric or a counter."""
    if OPTIMIZER_SLOT in key or not key.endswith(_VALUE):
        return True
    path = key.removesuffix(_VALUE)
    above, slash, last = path.rpartition("/")
    if above in metrics:
        return True
    if not slash and last in _STATES_OF_ROOT:
        return shape_of(key) in (None, ())
    names = path.split("/", _MOST_SCOPES)
    if "keras_api" in names or _RANDOM_STATES.intersection(names):
        return True
    for depth in range(1, len(names)):
        if "/".join(names[:depth]) in optimizers:
            return _TRAINED not in names[depth:]
    return False


# Roles


def find_roles(tensors: Mapping[str, Any]) -> dict[str, Role]:
    """Return the role of each tensor, as a graph defines it, or else as its name suggests.

    Reads the graph that was saved with a checkpoint, and no other tensor.  Shapes are compared only
    in a `TensorMapping` and in a dict; in other mappings, it could be slow to get them.

    Args:
        tensors: any mapping from names to arrays.

    Raises:
        CheckpointError: reading the graph failed, or the metadata of a tensor.
    """
    roles = dict(tensors.roles()) if isinstance(tensors, TensorMapping) else {}
    known = set(tensors)
    if len(roles) < len(known):
        shape_of = _shapes(tensors)
        keys = {name for name in known if ATTRIBUTES in name}
        optimizers, metrics = _find_optimizers_and_metrics(keys)
        paths = {name.replace("/", "_"): name for name in known} if _has_keras_3(known) else {}
        for name in known - roles.keys():
            if name in keys:
                is_state = _is_object_state(name, shape_of, optimizers, metrics)
                roles[name] = "state" if is_state else "weight"
            else:
                roles[name] = _role_by_name(name, known, shape_of, paths)
    for name, role in roles.items():
        if role == "average" and roles.get(name.removesuffix(average_name(""))) == "state":
            roles[name] = "state"
    return roles


def _shapes(tensors: Mapping[str, Any]) -> ShapeOf:
    """Return a function that returns the shapes of tensors."""
    if not isinstance(tensors, (TensorMapping, dict)):
        return lambda name: None

    def shape_of(name: str) -> Shape | None:
        if isinstance(tensors, TensorMapping):
            return tensors.info(name).shape
        shape = getattr(tensors[name], "shape", None)
        return None if shape is None else tuple(shape)

    return shape_of


def _role_by_name(
    name: str, known: Collection[str], shape_of: ShapeOf, paths: Mapping[str, str]
) -> Role:
    """Return the role of a tensor that is not of an object-based checkpoint."""
    above, _, last = name.rpartition("/")
    if last == AVERAGE:
        if above in known and _fits(_is_same, shape_of(name), shape_of(above)):
            return "average"
        is_of_tensor = all(f"{name}/{other}" in known for other in DEBIASING)
        is_in_scope = any(
            variable in known and _fits(_is_same, shape_of(name), shape_of(variable))
            for variable, _ in _without_scopes(above)
        )
        return "state" if is_of_tensor or is_in_scope else "weight"
    if name == OBJECT_GRAPH or find_variable(name, known, shape_of) is not None:
        return "state"
    if _is_scalar_state(name, known) and shape_of(name) in (None, ()):
        return "state"
    if _LAST_NUMBER.sub("", last) in METRIC_COUNTS:
        return "state"
    if is_state(name):
        return "state"
    return "state" if _is_keras_3_slot(name, shape_of, paths) else "weight"


def _has_keras_3(known: Collection[str]) -> bool:
    """Return whether there is a count of iterations of Keras 3, ``adam/iteration``."""
    return any(name.endswith("/iteration") for name in known)


def _is_keras_3_slot(name: str, shape_of: ShapeOf, paths: Mapping[str, str]) -> bool:
    """Return whether a name is ``adam/PATH_momentum``, where PATH has underscores for slashes."""
    if not paths:
        return False
    for rest, scopes in _without_scopes(name):
        if scopes and _KERAS_OPTIMIZER.fullmatch(scopes[-1]) and "/" not in rest:
            for slot in _KERAS_SLOTS:
                variable = paths.get(rest.removesuffix(f"_{slot}"))
                if variable is not None and rest.endswith(f"_{slot}"):
                    return _fits(_is_same, shape_of(name), shape_of(variable))
    return False


def weight_names(tensors: Mapping[str, Any], moving_averages: bool) -> list[str]:
    """Return the names of the weights, in the order of the mapping.

    Args:
        tensors: any mapping from names to arrays.
        moving_averages: whether to return the names of their moving averages as well.

    Raises:
        CheckpointError: see `find_roles`.
    """
    roles = find_roles(tensors)
    wanted = ("weight", "average") if moving_averages else ("weight",)
    return [name for name in tensors if roles[name] in wanted]
