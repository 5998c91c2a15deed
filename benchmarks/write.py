"""Write one checkpoint with TensorFlow: ``python -m benchmarks.write KIND SIZE PREFIX``.

Runs in a process of its own, of the interpreter that has TensorFlow.
"""

from __future__ import annotations

import os
import sys

from benchmarks.data import KINDS, Data

_AT_ONCE = 10_000
"""Tensors that one SaveV2 takes: its time grows faster than their number."""


def write(data: Data, prefix: str) -> None:
    """As `tf.train.Checkpoint` does it: parts by SaveV2, joined by MergeV2Checkpoints."""
    import tensorflow as tf

    parts: list[str] = []
    for start in range(0, len(data), _AT_ONCE):
        tensors = [data[i] for i in range(start, min(start + _AT_ONCE, len(data)))]
        part = f"{prefix}_temp/part-{len(parts):05d}"
        tf.raw_ops.SaveV2(
            prefix=part,
            tensor_names=[tensor.name for tensor in tensors],
            shape_and_slices=[""] * len(tensors),
            tensors=[tf.constant(tensor.values()) for tensor in tensors],
        )
        parts.append(part)
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=parts, destination_prefix=prefix, delete_old_dirs=True
    )
    if hasattr(os, "sync"):
        os.sync()  # or the disk is still busy when timing begins


if __name__ == "__main__":
    kind, size, prefix = sys.argv[1:]
    write(KINDS[kind](int(size)), prefix)
