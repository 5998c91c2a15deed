"""Find checkpoints in directories, as `tf.train` does.

Source: tensorflow/python/training/checkpoint_management.py.
"""

from __future__ import annotations

import glob
import os
import time
import warnings
from collections.abc import Callable, Iterator

from ckptparse.errors import CorruptCheckpointError, NotACheckpointError, UnreadableError
from ckptparse.formats.file_names import INDEX_SUFFIX, STATE_FILE_NAME
from ckptparse.paths.state_file import CheckpointState, last_part, read_state
from ckptparse.sources import LocalFiles

_POLL_SECONDS = 1


def get_checkpoint_state(
    checkpoint_dir: str | os.PathLike[str], latest_filename: str | None = None
) -> CheckpointState | None:
    """Return the contents of a directory's state file, as `tf.train.get_checkpoint_state` does.

    Args:
        checkpoint_dir: the directory, a local path.
        latest_filename: name of the state file; None for "checkpoint".

    Returns:
        A message with `model_checkpoint_path` (the latest checkpoint),
        `all_model_checkpoint_paths`, `all_model_checkpoint_timestamps` (seconds since the epoch)
        and `last_preserved_timestamp`.  Relative paths in the file are joined to `checkpoint_dir`.
        None if there is no state file, or, with a warning, if it is damaged or unreadable.

    Raises:
        CorruptCheckpointError: the state file names no checkpoint, or is not UTF-8; also a
            ValueError.

    Examples:
        >>> from ckptparse import train
        >>> state = train.get_checkpoint_state("fixtures/tf-1.15.5/train_iterator/two")
        >>> state.model_checkpoint_path
        'fixtures/tf-1.15.5/train_iterator/two/model.ckpt-2'
        >>> len(state.all_model_checkpoint_paths)
        2
    """
    directory = os.fsdecode(checkpoint_dir)
    path = os.path.join(directory, latest_filename or STATE_FILE_NAME)
    if not os.path.exists(path):
        return None
    try:
        state = read_state(LocalFiles(mmap=False), path)
    except (CorruptCheckpointError, NotACheckpointError, UnreadableError) as error:
        if isinstance(error.__cause__, UnicodeError):
            raise
        warnings.warn(f"checkpoint state ignored: {error}", stacklevel=2)
        return None
    if not state.model_checkpoint_path:
        raise CorruptCheckpointError(
            "invalid checkpoint state", file=path, expected="a model_checkpoint_path", found="none"
        )
    state.model_checkpoint_path = os.path.join(directory, state.model_checkpoint_path)
    for i, kept in enumerate(state.all_model_checkpoint_paths):
        state.all_model_checkpoint_paths[i] = os.path.join(directory, kept)
    return state


def latest_checkpoint(
    checkpoint_dir: str | os.PathLike[str], latest_filename: str | None = None
) -> str | None:
    """Return the path of a directory's latest checkpoint, as `tf.train.latest_checkpoint` does.

    If the directory was moved, and the checkpoint is no longer at the path in the state file, this
    returns its new path beside the state file.  TensorFlow returns None then.

    Args:
        checkpoint_dir: the directory, a local path.
        latest_filename: name of the state file; None for "checkpoint".

    Returns:
        The path; None if there is no state file or the checkpoint that it names does not exist.

    Raises:
        CorruptCheckpointError: the state file names no checkpoint, or is not UTF-8; also a
            ValueError.

    Examples:
        >>> from ckptparse import train
        >>> train.latest_checkpoint("fixtures/tf-1.15.5/train_iterator/two")
        'fixtures/tf-1.15.5/train_iterator/two/model.ckpt-2'
    """
    state = get_checkpoint_state(checkpoint_dir, latest_filename)
    if state is None:
        return None
    path: str = state.model_checkpoint_path
    if _exists(path):
        return path
    beside = os.path.join(os.fsdecode(checkpoint_dir), last_part(path))
    # Without a last part, the prefix is "dir/" and `beside` is a directory: test its index only.
    is_there = _exists(beside) if last_part(path) else os.path.exists(beside + INDEX_SUFFIX)
    return beside if is_there else None


def checkpoint_exists(checkpoint_prefix: str | os.PathLike[str]) -> bool:
    """Return whether a checkpoint exists, as `tf.train.checkpoint_exists` does.

    Args:
        checkpoint_prefix: a local path, or a glob pattern.

    Returns:
        True if there is a V2 index of that prefix, or a file or directory of that name or pattern.

    Examples:
        >>> from ckptparse import train
        >>> train.checkpoint_exists("fixtures/tf-1.15.5/vgg_16/model.ckpt")
        True
        >>> train.checkpoint_exists("fixtures/tf-1.15.5/vgg_16/other.ckpt")
        False
    """
    return _exists(os.fsdecode(checkpoint_prefix))


def _exists(path: str) -> bool:
    """Return whether a V2 index or a file of a name or glob pattern exists."""
    return any(
        os.path.exists(candidate) or bool(glob.glob(candidate))
        for candidate in (path + INDEX_SUFFIX, path)
        if path
    )


def checkpoints_iterator(
    checkpoint_dir: str | os.PathLike[str],
    min_interval_secs: float = 0,
    timeout: float | None = None,
    timeout_fn: Callable[[], bool] | None = None,
) -> Iterator[str]:
    """Yield each new latest checkpoint of a directory, as `tf.train.checkpoints_iterator` does.

    The state file is read once a second.  Checkpoints that appear and are replaced by a later one
    in the meantime are not yielded.

    Args:
        checkpoint_dir: the directory that has, or will have, the state file; a local path.
        min_interval_secs: minimum time between two checkpoints, in seconds.
        timeout: how long to wait for the next checkpoint, in seconds; None to wait without limit.
        timeout_fn: called after each checkpoint, and after each wait that ended without one.  The
            iteration ends if it returns True.  If it is None, the iteration ends after the first
            wait without a checkpoint.

    Yields:
        The path of the latest checkpoint, as `latest_checkpoint` returns it.

    Raises:
        CorruptCheckpointError: as `latest_checkpoint`.

    Examples:
        >>> from ckptparse import train
        >>> for path in train.checkpoints_iterator("fixtures/tf-1.15.5/vgg_16", timeout=0):
        ...     print(path)
        fixtures/tf-1.15.5/vgg_16/model.ckpt
    """
    latest: str | None = None
    while True:
        found = _wait_for_other(checkpoint_dir, latest, timeout)
        if found is not None:
            latest = found
            began = time.time()
            yield found
            pause = began + min_interval_secs - time.time()
            if pause > 0:
                time.sleep(pause)
        elif timeout_fn is None:
            return
        if timeout_fn is not None and timeout_fn():
            return


def _wait_for_other(
    directory: str | os.PathLike[str], known: str | None, timeout: float | None
) -> str | None:
    """Wait until the latest checkpoint is not `known`, and return it; None after the timeout."""
    began = time.time()
    while True:
        latest = latest_checkpoint(directory)
        if latest is not None and latest != known:
            return latest
        if timeout is not None and time.time() + _POLL_SECONDS > began + timeout:
            return None
        time.sleep(_POLL_SECONDS)
