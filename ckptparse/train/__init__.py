"""The reading half of `tf.train`, by the same names and with the same results.

Code written for TensorFlow runs after ``import ckptparse as tf``, or with ``from ckptparse import
train`` in place of ``tf.train``.  Where TensorFlow is worse than it needs to be the right answer is
given instead; docs/train.md lists these differences.

Sources: tensorflow/python/training/{checkpoint_utils,py_checkpoint_reader,checkpoint_management}.py
and tensorflow/c/checkpoint_reader.cc.
"""

from ckptparse.train.directories import (
    checkpoint_exists,
    checkpoints_iterator,
    get_checkpoint_state,
    latest_checkpoint,
)
from ckptparse.train.dtype import DType
from ckptparse.train.reader import (
    CheckpointReader,
    NewCheckpointReader,
    list_variables,
    load_checkpoint,
    load_variable,
)

__all__ = [
    "CheckpointReader",
    "DType",
    "NewCheckpointReader",
    "checkpoint_exists",
    "checkpoints_iterator",
    "get_checkpoint_state",
    "latest_checkpoint",
    "list_variables",
    "load_checkpoint",
    "load_variable",
]
