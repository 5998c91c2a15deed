"""Arrays of every dtype that is saved, with special values, in several shapes."""

from __future__ import annotations

import numpy as np

from ckptparse.tensors.dtypes import STRING, lookup, numpy_dtype

NUMBERS = [number for number in (*range(1, 20), *range(22, 34)) if number != STRING]
QUANTIZED = {11, 12, 13, 15, 16}


def arrays_of(dtypes: list[str]) -> dict[str, np.ndarray]:
    """A vector of random bits, a matrix without elements and a scalar of each dtype."""
    random = np.random.default_rng(0)
    arrays = {}
    for number in NUMBERS:
        row = lookup(number)
        if row.name not in dtypes or number in QUANTIZED:
            continue
        bits = {"bool": 1, "int4": 4, "uint4": 4, "int2": 2, "uint2": 2, "float4_e2m1fn": 4}
        raw = random.integers(0, 256, 15 * (row.itemsize or 0), np.uint8)
        raw &= (1 << bits.get(row.name, 8)) - 1
        vector = raw.view(numpy_dtype(number))
        arrays[f"{row.name}/cube"] = vector.reshape(3, 1, 5)
        arrays[f"{row.name}/none"] = vector[:0].reshape(0, 2)
        arrays[f"{row.name}/scalar"] = vector[3]
    return {name: np.asarray(array) for name, array in arrays.items()}


NUMPY_DTYPES = [
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "float32",
    "float64",
    "complex64",
    "complex128",
]
"""Those of numpy itself."""

PYTORCH_DTYPES = [
    *NUMPY_DTYPES,
    *["bfloat16", "float8_e5m2", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2fnuz"],
]
"""Those of PyTorch 2.14."""

SAFETENSORS_DTYPES = [
    *(name for name in NUMPY_DTYPES if name != "complex128"),
    *["bfloat16", "float8_e5m2", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2fnuz"],
]
"""Those of the library safetensors 0.8.0, except float4_e2m1fn_x2 and float8_e8m0fnu."""
