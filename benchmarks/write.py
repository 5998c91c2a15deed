"""Write the tensors of one kind of data: ``python -m benchmarks.write FORM KIND SIZE PATH``.

FORM is "checkpoint", which TensorFlow writes, or a rival's, which needs no TensorFlow.  Runs in a
process of its own, of an interpreter that has the writer.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.data import KINDS, Data, Sparse, Tensor, npy_path

_AT_ONCE = 10_000
"""Tensors that one SaveV2 takes: its time grows faster than their number."""


def write(form: str, data: Data, path: str) -> None:
    """In the form that is asked for; `path` is a checkpoint's prefix, a file or a folder."""
    _WRITERS[form](data, path)
    if hasattr(os, "sync"):
        os.sync()  # or the disk is still busy when timing begins


def _write_checkpoint(data: Data, prefix: str) -> None:
    """In the data's format."""
    if data.format == "v1":
        _write_v1(data, prefix)
    else:
        _write_v2(data, prefix)


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

    is_sparse = isinstance(data, Sparse)
    at_once = 1 if is_sparse else _AT_ONCE
    parts: list[str] = []
    for start in range(0, len(data), at_once):
        tensors = [data[i] for i in range(start, min(start + at_once, len(data)))]
        pieces = [(tensor.name, *piece) for tensor in tensors for piece in _pieces(tensor)]
        part = f"{prefix}_temp/part-{len(parts):05d}"
        tf.raw_ops.SaveV2(
            prefix=part,
            tensor_names=[name for name, _, _ in pieces],
            shape_and_slices=[place for _, place, _ in pieces],
            tensors=[tf.constant(values) for _, _, values in pieces],
        )
        parts.append(part)
        if is_sparse:
            _make_hole(f"{part}.data-00000-of-00001")
    # Data files are renamed, not copied: holes stay holes.
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


def _make_hole(path: str) -> None:
    """Put a hole in the place of a file's zeros."""
    assert not np.memmap(path, np.uint8, "r").any(), "only zeros can be a hole"
    nbytes = os.path.getsize(path)
    os.truncate(path, 0)
    os.truncate(path, nbytes)


def _write_safetensors(data: Data, path: str) -> None:
    from safetensors.numpy import save_file

    save_file({tensor.name: tensor.values() for tensor in data}, path)


def _write_npy(data: Data, folder: str) -> None:
    os.mkdir(folder)
    for i, tensor in enumerate(data):
        np.save(npy_path(folder, i), tensor.values())


def _write_npz(data: Data, path: str) -> None:
    with open(path, "wb") as file:  # or numpy would add its own ending to the name
        np.savez(file, **{tensor.name: tensor.values() for tensor in data})


_WRITERS: dict[str, Callable[[Data, str], None]] = {
    "checkpoint": _write_checkpoint,
    "safetensors": _write_safetensors,
    "npy": _write_npy,
    "npz": _write_npz,
}


if __name__ == "__main__":
    form, kind, size, path = sys.argv[1:]
    write(form, KINDS[kind](int(size)), path)
