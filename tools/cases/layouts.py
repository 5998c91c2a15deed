"""Small files whose data has an unusual extent or position."""

import numpy as np

from harness import ops, oracle, values


def zero_elements_only():
    """Tensors without elements only: the data file has 0 bytes and cannot be mapped."""
    ops.save_arrays(
        oracle.PREFIX,
        {
            "float32": ("float32", np.zeros((0,), np.float32)),
            "int64": ("int64", np.zeros((3, 0, 2), np.int64)),
        },
    )
    oracle.record()


def misaligned():
    """A bool first, so that every wider dtype after it begins at an odd offset."""
    tensors = {"a": ("bool", np.array([True]))}
    wider = ["float32", "float64", "int64", "complex128", "float16", "bfloat16"]
    for number, dtype in enumerate(wider):
        tensors[f"b{number}/{dtype}"] = (dtype, values.array(dtype, (2,)))
    ops.save_arrays(oracle.PREFIX, tensors)
    oracle.record()


def single_scalar():
    """One float32 scalar and nothing else: the smallest real checkpoint."""
    ops.save_arrays(oracle.PREFIX, {"x": ("float32", np.float32(1.5))})
    oracle.record()
