"""Read TensorFlow checkpoints without TensorFlow.

>>> from ckptparse import open_checkpoint
>>> with open_checkpoint("vgg_16.ckpt") as ckpt:           # doctest: +SKIP
...     weights = ckpt["vgg_16/fc6/weights"]
"""

from ckptparse.checkpoint import Checkpoint, open_checkpoint
from ckptparse.errors import (
    CheckpointError,
    CheckpointNotFoundError,
    ChecksumError,
    CorruptCheckpointError,
    MissingShardError,
    NotACheckpointError,
    TensorNotFoundError,
    TruncatedError,
    UnreadableError,
    UnsupportedError,
)
from ckptparse.report import Damage, VerifyReport
from ckptparse.tensors import TensorInfo, TensorSlice

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "CheckpointNotFoundError",
    "ChecksumError",
    "CorruptCheckpointError",
    "Damage",
    "MissingShardError",
    "NotACheckpointError",
    "TensorInfo",
    "TensorNotFoundError",
    "TensorSlice",
    "TruncatedError",
    "UnreadableError",
    "UnsupportedError",
    "VerifyReport",
    "open_checkpoint",
]
__version__ = "0.1.0"
