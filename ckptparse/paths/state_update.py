"""Add a new checkpoint to the contents of a state file, as TensorFlow's savers do.

Only texts are compared here: nothing is read from or written to a disk.

Sources: tensorflow/python/checkpoint/checkpoint_management.py (`CheckpointManager`,
`update_checkpoint_state_internal`).
"""

from __future__ import annotations

import os

from ckptparse.paths.state_file import CheckpointState, new_state


def add_checkpoint(
    state: CheckpointState | None,
    prefix: str,
    *,
    directory: str,
    max_to_keep: int | None,
    now: float,
) -> tuple[CheckpointState, list[str]]:
    """Return the state after a checkpoint was saved, and the checkpoints that are dropped from it.

    Paths that are already in the state stay as they are.  Times are kept only if the state has one
    for each path: TensorFlow refuses to write a state with another number of times, and its
    `CheckpointManager` forgets the paths that have no time.

    Args:
        state: the state so far, which is not changed; None if there is no state file.
        prefix: the path of the new checkpoint, absolute or relative to the working directory.  It
            becomes the last in the list, also if it was in the list before.
        directory: the directory of the state file, absolute or relative to the working directory.
            The new path is written relative to it.
        max_to_keep: how many checkpoints stay in the list; None or 0 for all.
        now: the time of the new checkpoint, in seconds since the epoch.

    Returns:
        The new state, and the paths that were removed from the list, the oldest first, as they were
        written there.  `list_removable_files` says which of their files may be deleted.

    Raises:
        ValueError: `max_to_keep` is negative, or the path cannot be encoded in UTF-8.

    Examples:
        >>> from ckptparse.paths.state_file import format_state
        >>> from ckptparse.paths.state_update import add_checkpoint
        >>> state, _ = add_checkpoint(None, "run/m-1", directory="run", max_to_keep=1, now=0.0)
        >>> state, dropped = add_checkpoint(
        ...     state, "run/m-2", directory="run", max_to_keep=1, now=60.0
        ... )
        >>> state.model_checkpoint_path, dropped
        ('m-2', ['m-1'])
    """
    if max_to_keep is not None and max_to_keep < 0:
        raise ValueError(f"max_to_keep must be None, 0 or a positive number, not {max_to_keep}")
    path = relative_to_state(prefix, directory)
    try:
        path.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"a state file cannot name {prefix!r}: the path cannot be encoded in UTF-8"
        ) from error
    old = new_state() if state is None else state
    paths = list(old.all_model_checkpoint_paths)
    times = list(old.all_model_checkpoint_timestamps)
    is_timed = bool(times) and len(times) == len(paths)
    added = _place(path, directory)
    kept = [i for i, known in enumerate(paths) if _place(known, directory) != added]
    num_dropped = max(0, len(kept) + 1 - max_to_keep) if max_to_keep else 0

    new = new_state()
    new.model_checkpoint_path = path
    new.all_model_checkpoint_paths.extend([*(paths[i] for i in kept[num_dropped:]), path])
    if is_timed:
        new.all_model_checkpoint_timestamps.extend([*(times[i] for i in kept[num_dropped:]), now])
    new.last_preserved_timestamp = old.last_preserved_timestamp
    return new, [paths[i] for i in kept[:num_dropped]]


def relative_to_state(prefix: str, directory: str) -> str:
    """Return the path of a checkpoint as a state file names it.

    Args:
        prefix: the path, absolute or relative to the working directory.
        directory: the directory of the state file, in either form.

    Returns:
        The path relative to that directory.  On Windows, it is absolute if the two are on different
        drives.

    Examples:
        >>> from ckptparse.paths.state_update import relative_to_state
        >>> relative_to_state("run/ckpt-1", "run")
        'ckpt-1'
    """
    folder, name = os.path.split(prefix)
    try:
        relative = os.path.relpath(folder or os.curdir, directory or os.curdir)
    except ValueError:  # different drives
        return os.path.join(os.path.abspath(folder), name)
    if relative != os.curdir:
        return os.path.join(relative, name)
    # "./" is the prefix without a name.  TensorFlow reads it, but writes ".", which it cannot open.
    return name or os.path.join(os.curdir, "")


def _place(path: str, directory: str) -> tuple[str, str]:
    """Return the directory and the name of a path in a state file, equal for equal places."""
    folder, name = os.path.split(path)
    whole = os.path.abspath(os.path.join(directory, folder))
    return os.path.normcase(whole), os.path.normcase(name)
