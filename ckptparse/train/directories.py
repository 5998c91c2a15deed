"""Finding checkpoints, as `tf.train` does."""

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
    """`tf.train.get_checkpoint_state`: what the state file of a directory says.

    Returns:
        A message with `model_checkpoint_path`, `all_model_checkpoint_paths`,
        `all_model_checkpoint_timestamps` and `last_preserved_timestamp`; relative paths are made
        relative to where the directory's are.  None if there is no state file, or (with a warning)
        if it does not parse.

    Raises:
        ValueError: the state file names no checkpoint.
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
    """`tf.train.latest_checkpoint`: the path of a directory's latest checkpoint.

    None if the state file is missing or names a checkpoint that is not there.  After a move of the
    directory, that is the checkpoint's new place.
    """
    state = get_checkpoint_state(checkpoint_dir, latest_filename)
    if state is None:
        return None
    path: str = state.model_checkpoint_path
    if _exists(path):
        return path
    beside = os.path.join(os.fsdecode(checkpoint_dir), last_part(path))
    # Saved under the prefix "dir/", its path ends in a slash: then only an index will do.
    is_there = _exists(beside) if last_part(path) else os.path.exists(beside + INDEX_SUFFIX)
    return beside if is_there else None


def checkpoint_exists(checkpoint_prefix: str | os.PathLike[str]) -> bool:
    """`tf.train.checkpoint_exists`: whether a V2 prefix, or any file of that name, is there.

    The prefix may be a pattern; a name that is there literally is found in any case.
    """
    return _exists(os.fsdecode(checkpoint_prefix))


def _exists(path: str) -> bool:
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
    """`tf.train.checkpoints_iterator`: every new latest checkpoint of a directory, as it appears.

    Args:
        checkpoint_dir: where the state file is, or will be.
        min_interval_secs: least time between two checkpoints.
        timeout: seconds to wait for the next one; None to wait for ever.
        timeout_fn: called after every checkpoint and after every wait that ended without one; the
            iteration ends if it returns True.  Without it, it ends at the first such wait.
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
    """The latest checkpoint as soon as it is another than `known`; None after the timeout."""
    began = time.time()
    while True:
        latest = latest_checkpoint(directory)
        if latest is not None and latest != known:
            return latest
        if timeout is not None and time.time() + _POLL_SECONDS > began + timeout:
            return None
        time.sleep(_POLL_SECONDS)
