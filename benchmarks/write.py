"""Write one checkpoint with TensorFlow: ``python -m benchmarks.write KIND SIZE PREFIX``.

Runs in a process of its own, of the interpreter that has TensorFlow.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.data import KINDS, Data, Tensor

_AT_ONCE = 10_000
"""Tensors that one SaveV2 takes: its time grows faster than their number."""


def write(data: Data, prefix: str) -> None:
    """In the data's format."""
    if data.format == "v1":
        _write_v1(data, prefix)
    else:
        _write_v2(data, prefix)
    if hasattr(os, "sync"):
        os.sync()  # or the disk is still busy when timing begins


def _write_v1(data: Data, path: str) -> None:
    """As TF1's Saver does it with `write_version=1`: one file."""
    import tensorflow as tf

    tf.raw_ops.Save(
        filename=path,
        tensor_names=[tensor.name for tensor in data],
        data=[tf.constant(tensor.values()) for tensor in data],
    )


def _write_v2(data: Data, prefix: str) -> None:
    """As `tf.train.Checkpoint` does it: parts by SaveV2, joined by MergeV2Checkpoints."""
    import tensorflow as tf

    parts: list[str] = []
    for start in range(0, len(data), _AT_ONCE):
        tensors = [data[i] for i in range(start, min(start + _AT_ONCE, len(data)))]
        pieces = [(tensor.name, *piece) for tensor in tensors for piece in _pieces(tensor)]
        part = f"{prefix}_temp/part-{len(parts):05d}"
        tf.raw_ops.SaveV2(
            prefix=part,
            tensor_names=[name for name, _, _ in pieces],
            shape_and_slices=[place for _, place, _ in pieces],
            tensors=[tf.constant(values) for _, _, values in pieces],
        )
        parts.append(part)
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=parts, destination_prefix=prefix, delete_old_dirs=True
    )


def _pieces(tensor: Tensor) -> Iterator[tuple[str, NDArray[Any]]]:
    """(its place as SaveV2 wants it, values) of each stored slice; "" is the place of a whole."""
    values = tensor.values()
    if tensor.partitions == 1:
        yield "", values
        return
    shape = " ".join(map(str, tensor.shape))
    others = "".join(f":0,{size}" for size in tensor.shape[1:])
    start = 0
    for part in np.array_split(values, tensor.partitions):
        yield f"{shape} {start},{len(part)}{others}", part
        start += len(part)


if __name__ == "__main__":
    kind, size, prefix = sys.argv[1:]
    write(KINDS[kind](int(size)), prefix)
