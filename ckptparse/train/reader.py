"""Reading tensors, as `tf.train` does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property, lru_cache
from typing import Any

from ckptparse.checkpoint import Checkpoint
from ckptparse.encoding.records import collector_paused
from ckptparse.errors import CheckpointNotFoundError, CorruptCheckpointError
from ckptparse.opening import open_checkpoint
from ckptparse.tensors.dtypes import number_of
from ckptparse.tensors.info import TensorForms
from ckptparse.train.cache import recent_checkpoint
from ckptparse.train.directories import latest_checkpoint
from ckptparse.train.dtype import DType


class NoLatestCheckpointError(CheckpointNotFoundError, ValueError):
    """A directory without a checkpoint, for which `tf.train` raises ValueError."""


class CheckpointReader:
    """`tf.train.CheckpointReader`: tensors by name, as copies that are the caller's own."""

    def __init__(self, filename: str | bytes | os.PathLike[str]) -> None:
        """
        Args:
            filename: whatever `open_checkpoint` takes.

        Raises:
            CheckpointError: as `open_checkpoint`.
        """
        self._checkpoint = open_checkpoint(_path(filename))

    @classmethod
    def _of(cls, checkpoint: Checkpoint) -> CheckpointReader:
        reader = cls.__new__(cls)
        reader._checkpoint = checkpoint
        return reader

    def get_variable_to_shape_map(self) -> dict[str, list[int]]:
        """Return the shape of every tensor, a list of int, by name."""
        names, shapes, _ = self._forms
        with collector_paused():
            return dict(zip(names, map(list, shapes)))

    def get_variable_to_dtype_map(self) -> dict[str, DType]:
        """Return the dtype of every tensor, equal to numpy's, by name."""
        names, _, dtypes = self._forms
        known = {name: _dtype_of(name) for name in set(dtypes)}
        return dict(zip(names, map(known.__getitem__, dtypes)))

    @cached_property
    def _forms(self) -> TensorForms:
        return self._checkpoint.forms()

    def has_tensor(self, tensor_str: str | bytes) -> bool:
        """Return whether there is a tensor of that name."""
        return _name(tensor_str) in self._checkpoint

    def get_tensor(self, tensor_str: str | bytes) -> Any:
        """A tensor: a writable array; of a scalar, a numpy scalar or `bytes`.

        Raises:
            TensorNotFoundError: no such tensor.
            CheckpointError: as `Checkpoint.read`.
        """
        array = self._checkpoint[_name(tensor_str)]
        if array.ndim == 0:
            return array[()]
        return array if array.flags.writeable else array.copy()

    def debug_string(self) -> bytes:
        """A line ``name (DT_FLOAT) [3,3]`` for every tensor; with ``, 4 slices`` if it has them."""
        return b"".join(_debug_lines(self._checkpoint))


def _debug_lines(checkpoint: Checkpoint) -> Iterator[bytes]:
    for info in checkpoint.infos():
        shape = ",".join(map(str, info.shape))
        slices = f", {len(info.slices)} slices" if len(info.slices) > 1 else ""
        line = f"{info.name} ({_dtype_of(info.tensorflow_dtype).enum_name}) [{shape}]{slices}\n"
        yield line.encode("utf-8", "surrogateescape")


def NewCheckpointReader(  # TensorFlow's name
    filepattern: str | bytes | os.PathLike[str],
) -> CheckpointReader:
    """`tf.train.NewCheckpointReader`: a reader of the checkpoint at a path."""
    return CheckpointReader(filepattern)


def load_checkpoint(ckpt_dir_or_file: str | bytes | os.PathLike[str]) -> CheckpointReader:
    """`tf.train.load_checkpoint`: a reader of a checkpoint, or of a directory's latest.

    Raises:
        NoLatestCheckpointError: a directory without one; also a ValueError, as in TensorFlow.
    """
    return CheckpointReader._of(_open(ckpt_dir_or_file))


def list_variables(
    ckpt_dir_or_file: str | bytes | os.PathLike[str],
) -> list[tuple[str, list[int]]]:
    """`tf.train.list_variables`: (name, shape) of all tensors, sorted by name."""
    names, shapes, _ = _open(ckpt_dir_or_file).forms()
    with collector_paused():
        variables = list(zip(names, map(list, shapes)))
        variables.sort()  # fast, as the names of nearly all checkpoints are in order already
    return variables


def load_variable(ckpt_dir_or_file: str | bytes | os.PathLike[str], name: str) -> Any:
    """`tf.train.load_variable`: one tensor; ``name:0`` means ``name``.

    The checkpoint stays open for the next call, until its files change or others are used.
    """
    reader = CheckpointReader._of(_open(ckpt_dir_or_file))
    if not isinstance(name, str):
        raise TypeError(f"the name of a variable is a str, not {type(name).__name__}")
    if name.endswith(":0") and not reader.has_tensor(name):
        name = name.removesuffix(":0")
    return reader.get_tensor(name)


def _open(path: str | bytes | os.PathLike[str]) -> Checkpoint:
    path = _path(path)
    if not os.path.isdir(path):
        return recent_checkpoint(path)
    try:
        # As TensorFlow resolves a state file; other directories as open_checkpoint does.
        return recent_checkpoint(_latest(path) or path)
    except CheckpointNotFoundError as error:
        raise NoLatestCheckpointError(
            error.message, file=error.file, expected=error.expected, found=error.found
        ) from error


def _latest(directory: str) -> str | None:
    try:
        return latest_checkpoint(directory)
    except CorruptCheckpointError:  # opening the directory says what is wrong
        return None


def _path(path: str | bytes | os.PathLike[str]) -> str:
    if path is None:
        raise TypeError("the path of a checkpoint is a str, bytes or PathLike, not None")
    return os.fsdecode(path)


def _name(name: str | bytes) -> str:
    if isinstance(name, bytes):
        return name.decode("utf-8", "surrogateescape")
    if not isinstance(name, str):
        raise TypeError(f"the name of a tensor is str or bytes, not {type(name).__name__}")
    return name


@lru_cache(maxsize=None)  # one for each type that TensorFlow has
def _dtype_of(tensorflow_dtype: str) -> DType:
    return DType(number_of(tensorflow_dtype))
