"""Write the tensors of one kind of data: ``python -m benchmarks.write FORM KIND SIZE PATH``.

FORM is "checkpoint" or "pb", which need TensorFlow, or another format, which does not.  It runs in
a separate process, with an interpreter that has the writer.
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
"""Number of tensors of one SaveV2 operation, whose time grows faster than this number."""


def write(form: str, data: Data, path: str) -> None:
    """Write data in a format; `path` is a checkpoint's prefix, a file or a folder."""
    _WRITERS[form](data, path)
    if hasattr(os, "sync"):
        os.sync()  # otherwise the disk is still busy when the clock starts


def _write_checkpoint(data: Data, prefix: str) -> None:
    """Write a V1 or V2 checkpoint, as the data says."""
    if data.format == "v1":
        _write_v1(data, prefix)
    else:
        _write_v2(data, prefix)


def _write_v1(data: Data, path: str) -> None:
    """Write one V1 file, as TF1's Saver with `write_version=1`."""
    import tensorflow as tf

    tf.raw_ops.Save(
        filename=path,
        tensor_names=[tensor.name for tensor in data],
        data=[tf.constant(tensor.values()) for tensor in data],
    )


def _write_v2(data: Data, prefix: str) -> None:
    """Write parts with SaveV2 and merge them with MergeV2Checkpoints, as `tf.train.Checkpoint`."""
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
    # This renames data files and does not copy them, so holes stay holes.
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=parts, destination_prefix=prefix, delete_old_dirs=True
    )


def _pieces(tensor: Tensor) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield (shape_and_slice of SaveV2, values) of each slice; "" is a tensor in one piece."""
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
    """Replace the zeros of a file by a hole."""
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
    with open(path, "wb") as file:  # with a path, numpy would add its own suffix
        np.savez(file, **{tensor.name: tensor.values() for tensor in data})


def _write_h5(data: Data, path: str) -> None:
    """Write datasets without chunks, as Keras does."""
    import h5py

    with h5py.File(path, "w") as file:
        for tensor in data:
            file[tensor.name] = tensor.values()


def _write_pb(data: Data, path: str) -> None:
    """Write a GraphDef of constants, as freezing a graph makes it."""
    import tensorflow as tf

    graph = tf.compat.v1.GraphDef()
    for tensor in data:
        node = graph.node.add(name=tensor.name, op="Const")
        node.attr["dtype"].type = tf.as_dtype(tensor.dtype).as_datatype_enum
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(tensor.values()))
    with open(path, "wb") as stream:
        stream.write(graph.SerializeToString())


_WRITERS: dict[str, Callable[[Data, str], None]] = {
    "checkpoint": _write_checkpoint,
    "safetensors": _write_safetensors,
    "npy": _write_npy,
    "npz": _write_npz,
    "h5": _write_h5,
    "pb": _write_pb,
}


if __name__ == "__main__":
    form, kind, size, path = sys.argv[1:]
    write(form, KINDS[kind](int(size)), path)
