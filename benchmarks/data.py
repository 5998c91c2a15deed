"""The content of the checkpoints: every value is computed by a formula.

This module does not need TensorFlow.  `write` writes these values, and every row compares the
values that it reads with them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

PERIOD = 65_537
"""Values repeat after this number of elements.  It is a prime, so an array that is shifted by a
page or a row has other values."""


class WrongValuesError(Exception):
    """The values that were read are not those that were written."""


@dataclass(frozen=True)
class Tensor:
    """A tensor whose element j, in row-major order, is `start + j % PERIOD` (exact in float32).

    Attributes:
        name: the name in the checkpoint.
        shape, dtype: as in numpy; strings have the dtype "object".
        start: the first value.
        partitions: number of slices along the first axis.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    start: int
    partitions: int = 1

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The number of bytes of all elements."""
        return self.size * np.dtype(self.dtype).itemsize

    def values(self) -> NDArray[Any]:
        """Return the values of the whole tensor."""
        return np.resize(self._period(), self.size).reshape(self.shape)

    def require_equal(self, array: NDArray[Any]) -> None:
        """Compare every element of an array with the value that was written.

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


@dataclass(frozen=True)
class MixedIntegers(Tensor):
    """A tensor of pseudo-random integers, which take from 1 to 10 bytes as varints.

    Attributes:
        mix: items (percent, bits, sign): this percentage of the elements has a random magnitude of
            this number of bits, and this sign.
    """

    mix: tuple[tuple[int, int, int], ...] = ()

    def _period(self) -> NDArray[Any]:
        count = min(self.size, PERIOD)
        kinds = _draw(count, self.start) % np.uint64(100)
        draws = _draw(count, self.start + 1)
        values = np.zeros(count, np.int64)
        below = 0
        for percent, bits, sign in self.mix:
            chosen = (kinds >= below) & (kinds < below + percent)
            magnitudes = (draws[chosen] >> np.uint64(64 - bits)).astype(np.int64)
            values[chosen] = magnitudes if sign > 0 else ~magnitudes
            below += percent
        return values.astype(self.dtype)


@dataclass(frozen=True)
class Zeros(Tensor):
    """A tensor of zeros; a file may have a hole instead of its bytes."""

    def _period(self) -> NDArray[Any]:
        return np.zeros(min(self.size, PERIOD), self.dtype)


@dataclass(frozen=True)
class Strings(Tensor):
    """A tensor of strings of 5 to 60 bytes."""

    def _period(self) -> NDArray[Any]:
        count = min(self.size, PERIOD)
        draws = _draw(count, self.start).tolist()
        strings = np.empty(count, object)
        strings[:] = [(b"%016x" % draw * 4)[: 5 + draw % 56] for draw in draws]
        return strings


def _draw(count: int, seed: int) -> NDArray[np.uint64]:
    """Return pseudo-random numbers (SplitMix64), the same with every version of numpy."""
    z = np.arange(1, count + 1, dtype=np.uint64) + np.uint64(seed << 32)
    z *= np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


class SmallTensors(Sequence[Tensor]):
    """Any number of tensors of one or four floats, with names of a deep encoder and Adam's slots.

    The tensors are computed one by one.  A million objects in memory would slow down the garbage
    collector, and so the measured work.
    """

    kind = "small"
    format = "v2"

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

    def __getitem__(self, i: int) -> Tensor:  # type: ignore[override]  # no slices
        if not 0 <= i < self.size:
            raise IndexError(i)
        layer, k = divmod(i, len(self._SUFFIXES))
        suffix = self._SUFFIXES[k]
        shape = (4,) if "kernel" in suffix else ()
        return Tensor(f"model/encoder/layer_{layer:05d}/{suffix}", shape, "float32", 4 * i)

    def __str__(self) -> str:
        return f"{self.size:,} small tensors"


class Layers(Sequence[Tensor]):
    """A transformer: 32 layers, an embedding with a fifth of the bytes, a step counter.

    With 2 GB, a weight has from 1 KB to 400 MB.  With fewer bytes, each weight is smaller; the
    number of weights does not change.
    """

    kind = "layers"
    format = "v2"

    def __init__(self, size: int) -> None:
        """`size` is the approximate number of bytes."""
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

    def __getitem__(self, i: int) -> Tensor:  # type: ignore[override]  # no slices
        return self._tensors[i]

    def __str__(self) -> str:
        nbytes = sum(tensor.nbytes for tensor in self)
        return f"{nbytes / 1e6:,.0f} MB in {len(self)} tensors"


class _FewTensors(Sequence[Tensor]):
    """A few tensors.  The smallest is the first: contenders read it before the clock starts."""

    kind: str
    format = "v2"

    def __init__(self, size: int, tensors: Iterable[Tensor]) -> None:
        self.size = size
        self._tensors = tuple(tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __getitem__(self, i: int) -> Tensor:  # type: ignore[override]  # no slices
        return self._tensors[i]


class V1Floats(_FewTensors):
    """Weights in a V1 checkpoint.  Each is twice as large as the previous one.

    With 400 MB, they have from 3 to 200 MB.  A tensor of 512 KB or more has a block of its own.
    """

    kind = "v1-floats"
    format = "v1"

    def __init__(self, size: int) -> None:
        """`size` is the approximate number of bytes."""
        rows = [max(size // (4 * 64) >> halvings, 1) for halvings in (7, *range(7, 0, -1))]
        names = [f"model/layer_{i}/kernel" for i in range(len(rows))]
        super().__init__(
            size,
            [
                Tensor(name, (n, 64), "float32", 1_000 * i)
                for i, (name, n) in enumerate(zip(names, rows))
            ],
        )

    def __str__(self) -> str:
        nbytes = sum(tensor.nbytes for tensor in self)
        return f"{nbytes / 1e6:,.0f} MB of float32 in {len(self)} tensors, V1"


class V1Integers(_FewTensors):
    """Integers in a V1 checkpoint, which stores them as varints (negative ones take 10 bytes).

    There are four tensors, each with a quarter of the bytes: random fingerprints; small weights of
    both signs; ids of a large vocabulary; counters, most of them small.
    """

    kind = "v1-integers"
    format = "v1"

    _TENSORS = (
        # name, dtype, average number of bytes of a varint, mix
        ("table/fingerprints", "int64", 9.5, ((50, 63, 1), (50, 63, -1))),
        ("model/quantized_kernel", "int32", 5.5, ((50, 7, 1), (50, 7, -1))),
        ("table/ids", "int64", 2.9, ((100, 17, 1),)),
        ("table/counters", "int32", 1.65, ((60, 7, 1), (25, 14, 1), (10, 21, 1), (5, 31, 1))),
    )

    def __init__(self, size: int) -> None:
        """`size` is the approximate number of bytes in the file."""
        super().__init__(
            size,
            [
                MixedIntegers(name, (max(round(size / 4 / nbytes), 1),), dtype, 2 * i, mix=mix)
                for i, (name, dtype, nbytes, mix) in enumerate(self._TENSORS)
            ],
        )

    def __str__(self) -> str:
        count = sum(tensor.size for tensor in self)
        return f"{count:,} integers in {self.size / 1e6:,.0f} MB of varints, V1"


class Partitioned(_FewTensors):
    """A large and a small variable, each in 16 partitions, as TF1's partitioners made them."""

    kind = "partitioned"

    _PARTITIONS = 16

    def __init__(self, size: int) -> None:
        """`size` is the approximate number of bytes."""
        rows = max(size // (4 * 128), self._PARTITIONS)
        super().__init__(
            size,
            [
                Tensor("model/embedding/bias", (self._PARTITIONS,), "float32", 0, self._PARTITIONS),
                Tensor("model/embedding/table", (rows, 128), "float32", 1_000, self._PARTITIONS),
            ],
        )

    def __str__(self) -> str:
        nbytes = sum(tensor.nbytes for tensor in self)
        return f"{nbytes / 1e6:,.0f} MB of float32 in {self._PARTITIONS} partitions"


class Vocabulary(_FewTensors):
    """A tensor with any number of strings, and a small tensor of strings."""

    kind = "strings"

    def __init__(self, size: int) -> None:
        """`size` is the number of strings."""
        super().__init__(
            size,
            [
                Strings("vocabulary/special", (10,), "object", 0),
                Strings("vocabulary/words", (size,), "object", 1),
            ],
        )

    def __str__(self) -> str:
        return f"{self.size:,} strings of 5 to 60 bytes"


class Sparse(_FewTensors):
    """Zeros in sparse files: ten tensors with a tenth of the bytes each, and a small tensor.

    TensorFlow writes the zeros and their checksums.  Then `write` replaces the bytes by a hole,
    which takes no space on most file systems and is read as the same zeros.
    """

    kind = "sparse"

    def __init__(self, size: int) -> None:
        """`size` is the approximate number of bytes."""
        rows = max(size // (10 * 4 * 64), 1)
        super().__init__(
            size,
            [
                Zeros("model/bias", (64,), "float32", 0),
                *(Zeros(f"model/layer_{i}/kernel", (rows, 64), "float32", 0) for i in range(10)),
            ],
        )

    def __str__(self) -> str:
        nbytes = sum(tensor.nbytes for tensor in self)
        return f"{nbytes / 1e6:,.0f} MB of zeros in {len(self)} tensors, sparse files"


class Equal(_FewTensors):
    """20 tensors of the same size, and one element."""

    kind = "equal"

    def __init__(self, size: int) -> None:
        """`size` is the approximate number of bytes."""
        rows = max(size // (20 * 4 * 1_000), 1)
        super().__init__(
            size,
            [
                Tensor("global_step", (), "int64", 200_000),
                *(
                    Tensor(f"model/layer_{i:02d}/kernel", (rows, 1_000), "float32", 1_000 * i)
                    for i in range(20)
                ),
            ],
        )

    def __str__(self) -> str:
        nbytes = sum(tensor.nbytes for tensor in self)
        return f"{nbytes / 1e6:,.0f} MB in 20 equal tensors"


class Generated(_FewTensors):
    """Tensors of 4 MB, which are never in memory at the same time."""

    kind = "generated"

    def __init__(self, size: int) -> None:
        """`size` is the approximate number of bytes."""
        count = max(size // 4_000_000, 1)
        super().__init__(
            size,
            [
                Tensor(f"model/layer_{i:05d}/kernel", (1_000, 1_000), "float32", i)
                for i in range(count)
            ],
        )

    def __str__(self) -> str:
        return f"{len(self) * 4:,} MB in tensors of 4 MB, computed one by one"


Data = (
    SmallTensors
    | Layers
    | V1Floats
    | V1Integers
    | Partitioned
    | Vocabulary
    | Sparse
    | Equal
    | Generated
)
KINDS: dict[str, Callable[[int], Data]] = {
    kind.kind: kind
    for kind in (
        SmallTensors,
        Layers,
        V1Floats,
        V1Integers,
        Partitioned,
        Vocabulary,
        Sparse,
        Equal,
        Generated,
    )
}


def prefix_of(data: Data, folder: str) -> str:
    """Return the checkpoint's prefix, below the data folder."""
    return os.path.join(folder, f"{data.kind}-{data.size}", "model.ckpt")


def rival_path(prefix: str, form: str) -> str:
    """Return the path of the same tensors in a rival's format.

    It is beside the folder of the checkpoint: a file `.safetensors`, `.npz`, `.h5` or `.pb`, or a
    folder `.npy` with a file for each tensor (`npy_path`).
    """
    return f"{os.path.dirname(prefix)}.{form}"


def npy_path(folder: str, number: int) -> str:
    """Return the path of a tensor in a folder of .npy files, by its number in the data."""
    return os.path.join(folder, f"{number:07d}.npy")
