"""Random tensors and partitions, for tests with hypothesis that need an installed TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from ckptparse.tensors.dtypes import STRING, lookup, numpy_dtype

DTYPES = [*range(1, 20), *range(22, 34)]

live = settings(
    max_examples=150,
    deadline=None,
    derandomize=False,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@st.composite
def arrays(draw: st.DrawFn, dtypes: Sequence[int] = DTYPES) -> tuple[int, np.ndarray]:
    """The number of a dtype, and an array of random bits of it."""
    dtype = draw(st.sampled_from(dtypes))
    shape = tuple(draw(st.lists(st.integers(0, 5), max_size=4)))
    size = int(np.prod(shape, dtype=np.int64))
    if dtype == STRING:
        strings = draw(st.lists(st.binary(max_size=200), min_size=size, max_size=size))
        values = np.empty(size, object)
        values[:] = strings
        return dtype, values.reshape(shape)
    itemsize = lookup(dtype).itemsize or 0
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    raw = random.integers(0, 256, size * itemsize, np.uint8)
    bits = {"bool": 1, "int4": 4, "uint4": 4, "int2": 2, "uint2": 2, "float4_e2m1fn": 4}
    raw &= (1 << bits.get(lookup(dtype).name, 8)) - 1
    return dtype, raw.view(numpy_dtype(dtype)).reshape(shape)


@st.composite
def tilings(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[tuple[tuple[int, int], ...], ...]:
    """Boxes that cover a shape, made by repeated cuts; an empty list leaves it whole."""
    boxes = [tuple((0, size) for size in shape)]
    for _ in range(draw(st.integers(0, 4))):
        i = draw(st.integers(0, len(boxes) - 1))
        axes = [axis for axis, (_, length) in enumerate(boxes[i]) if length > 1]
        if not axes:
            break
        axis = draw(st.sampled_from(axes))
        start, length = boxes[i][axis]
        left = draw(st.integers(1, length - 1))
        for part in ((start, left), (start + left, length - left)):
            boxes.append((*boxes[i][:axis], part, *boxes[i][axis + 1 :]))
        del boxes[i]
    return tuple(draw(st.permutations(boxes))) if len(boxes) > 1 else ()
