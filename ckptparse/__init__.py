"""Read and write TensorFlow checkpoints without TensorFlow.

`open_checkpoint` opens a checkpoint, which is a mapping from tensor names to numpy arrays:

>>> from ckptparse import open_checkpoint
>>> with open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt") as ckpt:
...     weights = ckpt["vgg_16/fc6/weights"]
>>> weights.shape
(7, 7, 6, 12)

`save_checkpoint` saves such a mapping, or a dict of arrays, so that TensorFlow restores it.  `save`
saves it in other formats, and `convert` converts a checkpoint in one call.
`ckptparse.train` has the functions of `tf.train` that read checkpoints.  The errors are described
in `ckptparse.errors`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ckptparse.checkpoint import Checkpoint
from ckptparse.errors import (
    CheckpointError,
    CheckpointExistsError,
    CheckpointNotFoundError,
    ChecksumError,
    ConflictError,
    CorruptCheckpointError,
    DataLossError,
    InvalidTensorsError,
    MissingShardError,
    NotACheckpointError,
    NotFoundError,
    TensorNotFoundError,
    TruncatedError,
    UnreadableError,
    UnsupportedError,
    UnwritableError,
)
from ckptparse.opening import open_checkpoint
from ckptparse.tensors.info import TensorInfo, TensorSlice
from ckptparse.verification import Cause, Damage, VerifyReport

__all__ = [
    "Cause",
    "Checkpoint",
    "CheckpointError",
    "CheckpointExistsError",
    "CheckpointNotFoundError",
    "ChecksumError",
    "ConflictError",
    "CorruptCheckpointError",
    "Damage",
    "DataLossError",
    "DiffReport",
    "InvalidTensorsError",
    "MismatchError",
    "MissingShardError",
    "NotACheckpointError",
    "NotFoundError",
    "TensorInfo",
    "TensorNotFoundError",
    "TensorSlice",
    "TruncatedError",
    "UnreadableError",
    "UnsupportedError",
    "UnwritableError",
    "VerifyReport",
    "as_tensorflow",
    "average",
    "convert",
    "diff",
    "load_into",
    "match",
    "merge",
    "open_checkpoint",
    "save",
    "save_checkpoint",
    "stats",
    "to_dask",
    "train",
]
__version__ = "0.2.0"

if TYPE_CHECKING:
    from ckptparse import train
    from ckptparse.combining import average, merge
    from ckptparse.comparing import DiffReport, diff
    from ckptparse.converting import convert, save
    from ckptparse.dask_arrays import to_dask
    from ckptparse.measuring import stats
    from ckptparse.saving import save_checkpoint
    from ckptparse.train.tensorflow_module import as_tensorflow
    from ckptparse.weights.loading import MismatchError, load_into
    from ckptparse.weights.matching import match

_LOADED_AT_NEED = {
    "train": "ckptparse.train",
    "as_tensorflow": "ckptparse.train.tensorflow_module",
    "save_checkpoint": "ckptparse.saving",
    "load_into": "ckptparse.weights.loading",
    "MismatchError": "ckptparse.weights.loading",
    "match": "ckptparse.weights.matching",
    "average": "ckptparse.combining",
    "merge": "ckptparse.combining",
    "save": "ckptparse.converting",
    "convert": "ckptparse.converting",
    "stats": "ckptparse.measuring",
    "diff": "ckptparse.comparing",
    "DiffReport": "ckptparse.comparing",
    "to_dask": "ckptparse.dask_arrays",
}
"""Exported names that are imported at their first use -> their modules."""

_TENSORFLOW_NAMES = ("compat", "contrib", "pywrap_tensorflow")
"""Modules of TensorFlow that scripts use after ``import ckptparse as tf``."""


def __getattr__(name: str) -> Any:
    if name in _LOADED_AT_NEED:
        module = import_module(_LOADED_AT_NEED[name])
        return module if module.__name__ == f"ckptparse.{name}" else getattr(module, name)
    if name in _TENSORFLOW_NAMES:
        from ckptparse.train.tensorflow_module import build_modules

        return build_modules()[f"tensorflow.{name}"]
    raise AttributeError(f"module 'ckptparse' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LOADED_AT_NEED})
