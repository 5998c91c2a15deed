"""The names of the files that checkpoints are made of.

::

    model.ckpt.index                        V2: the index
    model.ckpt.data-00000-of-00002          V2: a data file; the numbers have at least five digits
    model.ckpt.meta                         V1 and V2: the graph, if one was saved
    model.ckpt                              V1: the whole checkpoint
    model.ckpt-00000-of-00002               V1: one shard of it
    model.ckpt-?????-of-00002               V1: all of them, as state files call them
    checkpoint                              a directory's state file
    saved_model.pb, saved_model.pbtxt       a SavedModel's graph, beside variables/variables.*

Sources: tensorflow/core/util/tensor_bundle/naming.cc, core/util/tensor_slice_writer.cc,
python/training/saver.py, python/training/checkpoint_management.py.
"""

from __future__ import annotations

import re

STATE_FILE_NAME = "checkpoint"
SAVED_MODEL_NAMES = ("saved_model.pb", "saved_model.pbtxt")
INDEX_SUFFIX = ".index"
META_SUFFIX = ".meta"

V2_PART = re.compile(r"(?P<prefix>.*)(\.index|\.meta|\.data-\d{5,}-of-\d{5,})", re.DOTALL)
"""A file that belongs to a prefix."""

V1_SHARD = re.compile(
    r"(?P<base>.*)-(?P<number>\d{5,}|\?{5})-of-(?P<count>\d{5,}|\?{5})", re.DOTALL
)

_UNFINISHED = r".*_temp(_[0-9a-f]{32})?|.*\.tempstate[0-9]+"
"""Names that TensorFlow writes while it saves, and that remain if it is interrupted."""


def is_unfinished(name: str) -> bool:
    """Return whether a name is that of a file that is being written, or was not completed."""
    return re.fullmatch(_UNFINISHED, name, re.DOTALL) is not None


def data_suffix(shard_id: int, num_shards: int) -> str:
    """Return the suffix of the name of a V2 data file, after the prefix."""
    return f".data-{shard_id:05d}-of-{num_shards:05d}"


def shard_suffix(number: int | None, count: str) -> str:
    """Return the suffix of the name of a V1 shard, after the base name.

    Args:
        number: number of the shard; None for the pattern of all shards.
        count: number of shards, as text.
    """
    return f"-{'?????' if number is None else format(number, '05d')}-of-{count}"
