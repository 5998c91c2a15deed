"""The paths of variables in files of Keras, and which of them only training needs.

::

    model_weights/LAYER/WEIGHT      Keras 1 and 2: a weight
    optimizer_weights/WEIGHT        a variable of the optimizer
    layers/dense/vars/0             Keras 2.12 and later: the first variable of a layer
    optimizer/vars/0                a variable of the optimizer
    NAME_optimizer/vars/0           the same, in an optimizer around it
    metrics/..., loss_tracker/...   the state of metrics
    .../seed_generator/vars/0       the state of a random number generator

Parts of a path are names of attributes.  Below ``layers`` and ``_layer_checkpoint_dependencies``,
they are made from the names of the classes of layers.

Source: keras/src/saving/saving_lib.py of Keras 3.15.
"""

from __future__ import annotations

import re

OPTIMIZER_WEIGHTS = "optimizer_weights"

_STATE = re.compile(r"optimizer|.*_optimizer|metrics|loss_tracker|seed_generator(_\d+)?")
_LISTS_OF_LAYERS = ("layers", "_layer_checkpoint_dependencies")


def is_state(path: str) -> bool:
    """Return whether only training needs a variable; False for paths of no such form.

    Args:
        path: the path of a dataset in a file of Keras.

    Examples:
        >>> from ckptparse.tensors.keras_paths import is_state
        >>> is_state("optimizer/vars/0"), is_state("layers/optimizer/vars/0")
        (True, False)
    """
    first, *others = path.split("/")
    if first == OPTIMIZER_WEIGHTS:
        return bool(others)
    if others[-2:-1] != ["vars"]:
        return False
    pairs = zip(("", first, *others), (first, *others))
    return any(_STATE.fullmatch(name) for above, name in pairs if above not in _LISTS_OF_LAYERS)
