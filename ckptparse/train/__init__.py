"""The functions of `tf.train` that read checkpoints, with the same names and results.

Code written for TensorFlow runs after ``import ckptparse as tf``, or with ``from ckptparse import
train`` instead of ``tf.train``.  Where TensorFlow raises an error or returns a wrong result, these
functions return the right one; docs/train.md lists all differences.

>>> from ckptparse import train
>>> train.load_variable("fixtures/tf-1.15.5/vgg_16/model.ckpt", "vgg_16/mean_rgb").shape
(3,)

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
