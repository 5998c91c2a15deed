"""Save and restore tensors of any dtype, and slices of them, with TensorFlow's operations."""

from __future__ import annotations

from typing import Any

import numpy as np

from ckptparse.tensors.dtypes import numpy_dtype

# What numpy has as its plain integer has to be told to TensorFlow by a cast of bits.
QUANTISED = {11, 12, 13, 15, 16}


def index_of(box: tuple[tuple[int, int], ...]) -> tuple[slice, ...]:
    return tuple(slice(start, start + length) for start, length in box)


def slice_spec(shape: tuple[int, ...], box: tuple[tuple[int, int], ...]) -> str:
    """A box in TensorFlow's notation: whole axes in both forms; a length of 0 is not allowed."""
    extents = [
        "-" if n == size and (n == 0 or axis % 2) else f"{a},{n}"
        for axis, (size, (a, n)) in enumerate(zip(shape, box))
    ]
    return f"{' '.join(map(str, shape))} {':'.join(extents)}"


def to_tensorflow(tf: Any, dtype: int, values: np.ndarray) -> Any:
    if dtype in QUANTISED:
        return tf.bitcast(tf.constant(values), tf.dtypes.as_dtype(dtype))
    return tf.constant(values, tf.dtypes.as_dtype(dtype))


def restore_part(tf: Any, prefix: str, name: bytes, spec: str, dtype: Any) -> np.ndarray:
    (part,) = tf.raw_ops.RestoreV2(
        prefix=prefix, tensor_names=[name], shape_and_slices=[spec], dtypes=[dtype]
    )
    return np.asarray(part.numpy(), numpy_dtype(dtype.as_datatype_enum))
