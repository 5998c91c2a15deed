"""Read tensors, as `tf.train` does.

Sources: tensorflow/python/training/checkpoint_utils.py and py_checkpoint_reader.py,
tensorflow/c/checkpoint_reader.cc.
"""

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
    """There is no checkpoint in a directory; also a ValueError.

    `tf.train.load_checkpoint` raises ValueError for such a directory, and NotFoundError for a path
    that does not exist; so this is a class of its own.  It is not exported: programs catch
    ValueError, as with TensorFlow, or CheckpointNotFoundError.
    """


class CheckpointReader:
    """Reads tensors of one checkpoint by name, as `tf.train.CheckpointReader` does.

    Arrays are writable copies.

    Examples:
        >>> from ckptparse import train
        >>> reader = train.CheckpointReader("fixtures/tf-1.15.5/vgg_16/model.ckpt")
        >>> reader.get_variable_to_shape_map()["vgg_16/mean_rgb"]
        [3]
        >>> reader.get_tensor("vgg_16/mean_rgb").flags.writeable
        True
    """

    def __init__(self, filename: str | bytes | os.PathLike[str]) -> None:
        """
        Args:
            filename: any path that `open_checkpoint` accepts.

        Raises:
            CheckpointError: as `open_checkpoint`.
        """
        self._checkpoint = open_checkpoint(_path(filename))

    @classmethod
    def _of(cls, checkpoint: Checkpoint) -> CheckpointReader:
        """Return a reader of an open checkpoint."""
        reader = cls.__new__(cls)
        reader._checkpoint = checkpoint
        return reader

    def get_variable_to_shape_map(self) -> dict[str, list[int]]:
        """Return the shape of every tensor by name.

        Returns:
            A new dict from name to shape; a shape is a list of int, [] for a scalar.

        Raises:
            CorruptCheckpointError: any part of the index is damaged.

        Examples:
            >>> from ckptparse import train
            >>> reader = train.load_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt")
            >>> reader.get_variable_to_shape_map()["vgg_16/fc6/weights"]
            [7, 7, 6, 12]
        """
        names, shapes, _ = self._forms
        with collector_paused():
            return dict(zip(names, map(list, shapes)))

    def get_variable_to_dtype_map(self) -> dict[str, DType]:
        """Return the data type of every tensor by name.

        Returns:
            A new dict from name to `DType`, which is equal to the numpy dtype.

        Raises:
            CorruptCheckpointError: any part of the index is damaged.

        Examples:
            >>> from ckptparse import train
            >>> reader = train.load_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt")
            >>> reader.get_variable_to_dtype_map()["global_step"]
            tf.int64
        """
        names, _, dtypes = self._forms
        known = {name: _dtype_of(name) for name in set(dtypes)}
        return dict(zip(names, map(known.__getitem__, dtypes)))

    @cached_property
    def _forms(self) -> TensorForms:
        """Names, shapes and data types of all tensors."""
        return self._checkpoint.forms()

    def has_tensor(self, tensor_str: str | bytes) -> bool:
        """Return whether the checkpoint has a tensor of that name.

        Args:
            tensor_str: the name; `bytes` are decoded as UTF-8.

        Returns:
            True if there is; False for the key of a slice of a partitioned tensor.

        Examples:
            >>> from ckptparse import train
            >>> reader = train.load_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt")
            >>> reader.has_tensor("global_step"), reader.has_tensor("missing")
            (True, False)
        """
        return _name(tensor_str) in self._checkpoint

    def get_tensor(self, tensor_str: str | bytes) -> Any:
        """Return a tensor.

        Args:
            tensor_str: the name; `bytes` are decoded as UTF-8.

        Returns:
            A writable array that is a copy; an `object` array of `bytes` for strings.  For a
            scalar, a numpy scalar or `bytes`.

        Raises:
            TensorNotFoundError: the checkpoint has no tensor of that name.
            CheckpointError: as `Checkpoint.read`.

        Examples:
            >>> from ckptparse import train
            >>> reader = train.load_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt")
            >>> print(reader.get_tensor("global_step"))
            12345
        """
        array = self._checkpoint[_name(tensor_str)]
        if array.ndim == 0:
            return array[()]
        return array if array.flags.writeable else array.copy()

    def debug_string(self) -> bytes:
        """Return a line with name, data type and shape for every tensor, sorted by name.

        Returns:
            Lines such as ``name (DT_FLOAT) [3,3]``, with ``, 4 slices`` at the end for a tensor in
            several slices, as one `bytes`.

        Raises:
            CorruptCheckpointError: any part of the index is damaged.

        Examples:
            >>> from ckptparse import train
            >>> reader = train.load_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt")
            >>> reader.debug_string().splitlines()[0]
            b'global_step (DT_INT64) []'
        """
        return b"".join(_debug_lines(self._checkpoint))


def _debug_lines(checkpoint: Checkpoint) -> Iterator[bytes]:
    """Yield the lines of `CheckpointReader.debug_string`."""
    for info in checkpoint.infos():
        shape = ",".join(map(str, info.shape))
        slices = f", {len(info.slices)} slices" if len(info.slices) > 1 else ""
        line = f"{info.name} ({_dtype_of(info.tensorflow_dtype).enum_name}) [{shape}]{slices}\n"
        yield line.encode("utf-8", "surrogateescape")


def NewCheckpointReader(  # TensorFlow's name
    filepattern: str | bytes | os.PathLike[str],
) -> CheckpointReader:
    """Return a reader of a checkpoint, as `tf.train.NewCheckpointReader` does.

    Args:
        filepattern: any path that `open_checkpoint` accepts.  Unlike in TensorFlow it is not a
            pattern.

    Returns:
        A `CheckpointReader`.

    Raises:
        CheckpointError: as `open_checkpoint`.

    Examples:
        >>> from ckptparse import train
        >>> reader = train.NewCheckpointReader("fixtures/tf-1.15.5/vgg_16/model.ckpt")
        >>> reader.has_tensor("global_step")
        True
    """
    return CheckpointReader(filepattern)


def load_checkpoint(ckpt_dir_or_file: str | bytes | os.PathLike[str]) -> CheckpointReader:
    """Return a reader of a checkpoint, as `tf.train.load_checkpoint` does.

    The checkpoint is kept open for later calls, until its files change or four other checkpoints
    have been used.

    Args:
        ckpt_dir_or_file: any path that `open_checkpoint` accepts.  For a directory, the checkpoint
            is that of `latest_checkpoint`: if the state file has an absolute path, the checkpoint
            at this path is read, even if the directory also contains one of the same name.

    Returns:
        A `CheckpointReader`.

    Raises:
        CheckpointNotFoundError: there is no checkpoint.  For a directory it is also a ValueError,
            as in TensorFlow.
        CheckpointError: as `open_checkpoint`.

    Examples:
        >>> from ckptparse import train
        >>> reader = train.load_checkpoint("fixtures/tf-1.15.5/vgg_16")
        >>> reader.get_tensor("vgg_16/mean_rgb").shape
        (3,)
    """
    return CheckpointReader._of(_open(ckpt_dir_or_file))


def list_variables(
    ckpt_dir_or_file: str | bytes | os.PathLike[str],
) -> list[tuple[str, list[int]]]:
    """Return names and shapes of all tensors, as `tf.train.list_variables` does.

    The checkpoint is kept open for later calls; see `load_checkpoint`.

    Args:
        ckpt_dir_or_file: as in `load_checkpoint`.

    Returns:
        A new list of (name, shape), sorted by name; a shape is a list of int, [] for a scalar.

    Raises:
        CheckpointNotFoundError: there is no checkpoint.  For a directory it is also a ValueError,
            as in TensorFlow.
        CorruptCheckpointError: any part of the index is damaged.
        CheckpointError: as `open_checkpoint`.

    Examples:
        >>> from ckptparse import train
        >>> train.list_variables("fixtures/tf-1.15.5/vgg_16")[:2]
        [('global_step', []), ('vgg_16/conv1/conv1_1/biases', [4])]
    """
    names, shapes, _ = _open(ckpt_dir_or_file).forms()
    with collector_paused():
        variables = list(zip(names, map(list, shapes)))
        variables.sort()  # fast, because nearly all checkpoints have sorted names
    return variables


def load_variable(ckpt_dir_or_file: str | bytes | os.PathLike[str], name: str) -> Any:
    """Return one tensor of a checkpoint, as `tf.train.load_variable` does.

    The checkpoint is kept open for later calls; see `load_checkpoint`.

    Args:
        ckpt_dir_or_file: as in `load_checkpoint`.
        name: the name.  ``name:0`` is the tensor ``name``, unless there is a tensor ``name:0``.

    Returns:
        As `CheckpointReader.get_tensor`: a writable copy; for a scalar, a numpy scalar or `bytes`.

    Raises:
        TensorNotFoundError: the checkpoint has no tensor of that name.
        CheckpointNotFoundError: there is no checkpoint.  For a directory it is also a ValueError,
            as in TensorFlow.
        CheckpointError: as `open_checkpoint` and `Checkpoint.read`.
        TypeError: `name` is not a str.

    Examples:
        >>> from ckptparse import train
        >>> print(train.load_variable("fixtures/tf-1.15.5/vgg_16", "global_step:0"))
        12345
    """
    reader = CheckpointReader._of(_open(ckpt_dir_or_file))
    if not isinstance(name, str):
        raise TypeError(f"the name of a variable is a str, not {type(name).__name__}")
    if name.endswith(":0") and not reader.has_tensor(name):
        name = name.removesuffix(":0")
    return reader.get_tensor(name)


def _open(path: str | bytes | os.PathLike[str]) -> Checkpoint:
    """Return the open checkpoint at a path; in a directory, the latest as in TensorFlow."""
    path = _path(path)
    if not os.path.isdir(path):
        return recent_checkpoint(path)
    try:
        # A state file is resolved as in TensorFlow, a directory without one as in open_checkpoint.
        return recent_checkpoint(_latest(path) or path)
    except CheckpointNotFoundError as error:
        raise NoLatestCheckpointError(
            error.message, file=error.file, expected=error.expected, found=error.found
        ) from error


def _latest(directory: str) -> str | None:
    """Return the latest checkpoint of a directory; None if its state file is damaged."""
    try:
        return latest_checkpoint(directory)
    except CorruptCheckpointError:  # opening the directory raises a better error
        return None


def _path(path: str | bytes | os.PathLike[str]) -> str:
    """Return a path as str; raises TypeError for None."""
    if path is None:
        raise TypeError("the path of a checkpoint is a str, bytes or PathLike, not None")
    return os.fsdecode(path)


def _name(name: str | bytes) -> str:
    """Return a tensor's name as str."""
    if isinstance(name, bytes):
        return name.decode("utf-8", "surrogateescape")
    if not isinstance(name, str):
        raise TypeError(f"the name of a tensor is str or bytes, not {type(name).__name__}")
    return name


@lru_cache(maxsize=None)  # one entry for each data type
def _dtype_of(tensorflow_dtype: str) -> DType:
    """Return the `DType` of a name."""
    return DType(number_of(tensorflow_dtype))
