"""The checkpoints that are read: what is in them, in closed form.

Nothing here needs TensorFlow: `write` does the writing, every row checks what it read against
these values.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

PERIOD = 65_537
"""Values repeat after so many elements: a prime, so that no shift by a page or a row fits."""


class WrongValuesError(Exception):
    """What was read is not what was written."""


@dataclass(frozen=True)
class Tensor:
    """A tensor whose element j, in row-major order, is `start + j % PERIOD`: exact in float32."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    start: int

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.size * np.dtype(self.dtype).itemsize

    def values(self) -> NDArray[Any]:
        """The whole tensor."""
        return np.resize(self._period(), self.size).reshape(self.shape)

    def require_equal(self, array: NDArray[Any]) -> None:
        """Compare every element with what was written.

        Raises:
            WrongValuesError: another shape, dtype or value.
        """
        if (array.shape, array.dtype.name) != (self.shape, self.dtype):
            found = f"{array.dtype.name} {array.shape}"
            raise WrongValuesError(f"{self.name}: {self.dtype} {self.shape} written, {found} read")
        flat = array.reshape(-1)
        period = self._period()
        whole = self.size - self.size % PERIOD
        same = (flat[:whole].reshape(-1, PERIOD) == period).all() if whole else True
        if not same or not np.array_equal(flat[whole:], period[: self.size - whole]):
            raise WrongValuesError(f"{self.name}: other values than those written")

    def _period(self) -> NDArray[Any]:
        return np.arange(self.start, self.start + min(self.size, PERIOD), dtype=self.dtype)


class SmallTensors(Sequence[Tensor]):
    """Any number of tensors of one or four floats, named as a deep encoder with Adam's slots.

    Computed one by one: a million of them held in memory would slow the garbage collector down,
    and with it what is being timed.
    """

    kind = "small"

    _PARTS = (
        "attention/query", "attention/key", "attention/value", "attention/output",
        "attention/layer_norm", "mlp/expand", "mlp/contract", "mlp/layer_norm",
    )  # fmt: skip
    _SUFFIXES = tuple(
        f"{part}/{variable}{slot}"
        for part, variable, slot in product(_PARTS, ("kernel", "bias"), ("", "/Adam", "/Adam_1"))
    )

    def __init__(self, size: int) -> None:
        """`size` is the number of tensors."""
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, i: int) -> Tensor:  # type: ignore[override]
        if not 0 <= i < self.size:
            raise IndexError(i)
        layer, k = divmod(i, len(self._SUFFIXES))
        suffix = self._SUFFIXES[k]
        shape = (4,) if "kernel" in suffix else ()
        return Tensor(f"model/encoder/layer_{layer:05d}/{suffix}", shape, "float32", 4 * i)

    def __str__(self) -> str:
        return f"{self.size:,} small tensors"


class Layers(Sequence[Tensor]):
    """A transformer: 32 layers, an embedding of a fifth of the bytes, a step counter.

    At 2 GB the weights are from 1 KB to 400 MB large; with fewer bytes each one shrinks, and their
    number stays.
    """

    kind = "layers"

    def __init__(self, size: int) -> None:
        """`size` is the number of bytes, roughly."""
        self.size = size
        shrink = math.sqrt(size / 2e9)
        width = max(round(1_024 * shrink), 1)
        vocabulary = max(round(97_656 * shrink), 1)
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in range(32):
            scope = f"model/encoder/layer_{layer:02d}"
            for part in ("query", "key", "value", "output"):
                shapes[f"{scope}/attention/{part}/kernel"] = (width, width)
                shapes[f"{scope}/attention/{part}/bias"] = (width,)
            shapes[f"{scope}/attention/head_scale"] = (min(width, 256),)
            shapes[f"{scope}/mlp/expand/kernel"] = (width, 4 * width)
            shapes[f"{scope}/mlp/expand/bias"] = (4 * width,)
            shapes[f"{scope}/mlp/contract/kernel"] = (4 * width, width)
            shapes[f"{scope}/mlp/contract/bias"] = (width,)
            shapes[f"{scope}/layer_norm/gamma"] = (width,)
            shapes[f"{scope}/layer_norm/beta"] = (width,)
        shapes["model/embedding"] = (vocabulary, width)
        tensors = [
            Tensor(name, shape, "float32", 1_000 * i)
            for i, (name, shape) in enumerate(shapes.items())
        ]
        self._tensors = (*tensors, Tensor("global_step", (), "int64", 200_000))

    def __len__(self) -> int:
        return len(self._tensors)

    def __getitem__(self, i: int) -> Tensor:  # type: ignore[override]
        return self._tensors[i]

    def __str__(self) -> str:
        nbytes = sum(tensor.nbytes for tensor in self)
        return f"{nbytes / 1e6:,.0f} MB in {len(self)} tensors"


Data = SmallTensors | Layers
KINDS: dict[str, type[SmallTensors] | type[Layers]] = {
    kind.kind: kind for kind in (SmallTensors, Layers)
}


def prefix_of(data: Data, folder: str) -> str:
    """The checkpoint's prefix below the data folder."""
    return os.path.join(folder, f"{data.kind}-{data.size}", "model.ckpt")
