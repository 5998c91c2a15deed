"""Recognise moving averages, and the variables that belong to them, by their names.

``tf.train.ExponentialMovingAverage`` stores the average of a variable ``v`` as
``v/ExponentialMovingAverage``.  With ``zero_debias=True``, the average of a tensor that is not a
variable has two more variables, which are named ``biased`` and ``local_step`` below its own name.

Source: tensorflow/python/training/moving_averages.py, ``ExponentialMovingAverage.average_name`` and
``_zero_debias``.
"""

from __future__ import annotations

from collections.abc import Iterable

AVERAGE = "ExponentialMovingAverage"
"""The default name of a moving average, which is the last part of its variables' names."""

DEBIASING = frozenset({"biased", "local_step"})
"""The last parts of the names of the variables that an average with ``zero_debias`` keeps."""


def average_name(variable: str, average: str = AVERAGE) -> str:
    """Return the name of a variable's moving average."""
    return f"{variable}/{average}"


def prefer_averages(names: Iterable[str]) -> dict[str, str]:
    """Return name -> name to read; for a variable with an average, read the average."""
    suffix = average_name("")
    sources, averages = {}, {}
    for name in names:
        if name.endswith(suffix):
            averages[name.removesuffix(suffix)] = name
        else:
            sources[name] = name
    return sources | averages
