"""Checkpoints of any number of data files: tensor ``v00000`` and so on, one in each file.

Tensor number i is ``[i, -i]``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from support.builders import (
    Bundle,
    bundle_entry,
    bundle_header,
    bytes_field,
    masked_crc32c,
    slice_key,
    table,
    write_bundle,
)
from support.saved_slices import FLOAT, FLOAT_VAL, contents, record, tensor_entry


def write_v2_set(folder: Path, num_shards: int) -> Path:
    """A V2 checkpoint with a data file for each tensor."""
    tensors = {f"v{i:05d}": np.array([i, -i], "f4") for i in range(num_shards)}
    return write_bundle(folder, tensors, num_shards=num_shards)


def link_v2_set(folder: Path, num_shards: int) -> Path:
    """The same, quicker to make: all data files are hard links to one that has all tensors."""
    arrays = [np.array([i, -i], "f4") for i in range(num_shards)]

    def spread(bundle: Bundle) -> None:
        bundle.index[b""] = bundle_header(num_shards)
        for i, array in enumerate(arrays):
            crc = masked_crc32c(array.tobytes())
            entry = bundle_entry(1, (2,), shard_id=i, offset=8 * i, size=8, crc=crc)
            bundle.index[b"v%05d" % i] = entry
        bundle.shards[0] += b"".join(array.tobytes() for array in arrays)

    prefix = write_bundle(folder, {}, edit=spread)
    for i in range(num_shards):
        os.link(f"{prefix}.data-00000-of-00001", f"{prefix}.data-{i:05d}-of-{num_shards:05d}")
    return prefix


def write_v1_set(folder: Path, num_shards: int) -> Path:
    """A V1 checkpoint with a file for each tensor; each file has its own table of contents."""
    prefix = folder / "v1.ckpt"
    for i in range(num_shards):
        name = b"v%05d" % i
        values = record(bytes_field(FLOAT_VAL, np.array([i, -i], "<f4").tobytes()))
        entries = {
            b"": contents(tensor_entry(name, (2,), FLOAT, [[None]])),
            slice_key(name, [None]): values,
        }
        path = folder / f"{prefix.name}-{i:05d}-of-{num_shards:05d}"
        path.write_bytes(table(sorted(entries.items())))
    return prefix


Writer = Callable[[Path, int], Path]
WRITERS: dict[str, Writer] = {"v1": write_v1_set, "v2": write_v2_set}
"""By format."""
