"""Checkpoints kept open between calls that each name a path.

Converters call `load_variable(path, name)` thousands of times; TensorFlow opens and parses the
checkpoint each time.
"""

from __future__ import annotations

import os

from ckptparse.checkpoint import Checkpoint
from ckptparse.formats.file_names import INDEX_SUFFIX, STATE_FILE_NAME
from ckptparse.opening import open_checkpoint
from ckptparse.sources import is_url

MOST_KEPT = 4

_Signature = tuple[tuple[int, int, int] | None, ...]
"""Size, time of change and inode of each file; None for one that is not there."""

_kept: dict[str, tuple[tuple[str, ...], _Signature, Checkpoint]] = {}


def recent_checkpoint(path: str) -> Checkpoint:
    """The open checkpoint of a path: a new one if there is none, or if any of its files changed.

    Safe in threads: at the worst a checkpoint is opened twice.
    """
    if is_url(path):
        return open_checkpoint(path)
    key = os.path.abspath(path)
    kept = _kept.pop(key, None)
    if kept is not None and _sign(kept[0]) == kept[1]:
        _kept[key] = kept  # the latest used is the last
        return kept[2]
    # What decides which checkpoint a path means, and the checkpoint's own files.
    files: tuple[str, ...] = (path, path + INDEX_SUFFIX, os.path.join(path, STATE_FILE_NAME))
    before = _sign(files)
    checkpoint = open_checkpoint(path)
    if checkpoint.path != path:  # it was another file that was read: once more, signed before
        files = (*files, os.path.dirname(checkpoint.path), *checkpoint.files)
        before = _sign(files)
        checkpoint = open_checkpoint(path)
    if _sign(files) == before:  # nobody saved meanwhile
        # Data files are read later, and signed before.
        files = (*files, *checkpoint.files)
        _kept[key] = files, _sign(files), checkpoint
        for oldest in list(_kept)[:-MOST_KEPT]:
            _kept.pop(oldest, None)
    return checkpoint


def _sign(files: tuple[str, ...]) -> _Signature:
    return tuple(map(_sign_file, files))


def _sign_file(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino
