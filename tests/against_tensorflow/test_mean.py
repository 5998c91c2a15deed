"""Averages of checkpoints beside the mean that an installed TensorFlow computes of them.

Not part of the default run: use ``pytest -m tensorflow`` where TensorFlow is installed.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckptparse import average
from ckptparse.tensors.rounding import round_to

pytestmark = pytest.mark.tensorflow

CAST_ONCE = ["float16", "float32", "float64"]
CAST_THROUGH_FLOAT32 = ["bfloat16", "float8_e5m2", "float8_e4m3fn"]
"""TensorFlow rounds float64 to these twice, so that its mean is taken before the cast."""


@pytest.fixture(scope="module")
def tf() -> Any:
    return importlib.import_module("tensorflow")


def save(tf: Any, folder: Path, dtype: str, count: int) -> tuple[list[str], list[Any]]:
    """Write checkpoints of one tensor; return their prefixes and the tensors."""
    random = np.random.default_rng(count)
    tensors = []
    for number in range(count):
        values = random.normal(size=(33, 17))
        values[number] = np.nan, *[np.inf] * 16
        if dtype.startswith("complex"):
            values = random.normal(size=(33, 17)) + 1j * random.normal(size=(33, 17))
        tensors.append(tf.cast(tf.constant(values), dtype))
    prefixes = [f"{folder}/{number}" for number in range(count)]
    for prefix, tensor in zip(prefixes, tensors):
        tf.raw_ops.SaveV2(
            prefix=prefix, tensor_names=["w"], shape_and_slices=[""], tensors=[tensor]
        )
    return prefixes, tensors


@pytest.mark.parametrize("count", [1, 2, 3, 7], ids=str)
@pytest.mark.parametrize("dtype", [*CAST_ONCE, *CAST_THROUGH_FLOAT32])
def test_real_numbers(tf: Any, tmp_path: Path, dtype: str, count: int) -> None:
    prefixes, tensors = save(tf, tmp_path, dtype, count)
    mean = tf.reduce_mean(tf.stack([tf.cast(tensor, tf.float64) for tensor in tensors]), axis=0)
    found = average(prefixes)["w"]
    expected = tf.cast(mean, dtype).numpy()
    if dtype in CAST_THROUGH_FLOAT32:
        expected = round_to(mean.numpy(), expected.dtype)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found.astype(np.float64), expected.astype(np.float64))


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_numbers(tf: Any, tmp_path: Path, dtype: str) -> None:
    prefixes, tensors = save(tf, tmp_path, dtype, 3)
    parts = [
        tf.reduce_mean(tf.stack([tf.cast(part(tensor), tf.float64) for tensor in tensors]), axis=0)
        for part in (tf.math.real, tf.math.imag)
    ]
    expected = tf.cast(tf.complex(*parts), dtype).numpy()
    np.testing.assert_array_equal(average(prefixes)["w"], expected)
