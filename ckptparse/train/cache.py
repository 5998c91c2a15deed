"""Keep checkpoints open between calls of functions that take a path.

Converters call `load_variable(path, name)` thousands of times.  TensorFlow opens and parses the
checkpoint each time; this module keeps the last `MOST_KEPT` checkpoints open.
"""

from __future__ import annotations

import os

from ckptparse.checkpoint import Checkpoint
from ckptparse.formats.file_names import INDEX_SUFFIX, STATE_FILE_NAME
from ckptparse.opening import open_checkpoint
from ckptparse.sources import is_url

MOST_KEPT = 4

_Signature = tuple[tuple[int, int, int] | None, ...]
"""Size, time of modification and inode of each file; None for a file that does not exist."""

_kept: dict[str, tuple[tuple[str, ...], _Signature, Checkpoint]] = {}


def recent_checkpoint(path: str) -> Checkpoint:
    """Return the checkpoint at a path, which is kept open for later calls.

    It is opened again if one of its files, or a file that decides which checkpoint the path refers
    to, has changed.  Checkpoints at URLs are opened at every call.  Several threads may call this;
    at worst a checkpoint is opened twice.

    Raises:
        CheckpointError: `open_checkpoint` raised it.
    """
    if is_url(path):
        return open_checkpoint(path)
    key = os.path.abspath(path)
    kept = _kept.pop(key, None)
    if kept is not None and _sign(kept[0]) == kept[1]:
        _kept[key] = kept  # the most recently used is the last
        return kept[2]
    # The files that decide which checkpoint the path refers to; its other files are added below.
    files: tuple[str, ...] = (path, path + INDEX_SUFFIX, os.path.join(path, STATE_FILE_NAME))
    before = _sign(files)
    checkpoint = open_checkpoint(path)
    if checkpoint.path != path:  # other files were read: sign these too, then open it again
        files = (*files, os.path.dirname(checkpoint.path), *checkpoint.files)
        before = _sign(files)
        checkpoint = open_checkpoint(path)
    # Of a path inside of an archive, no file is seen here.
    if _sign(files) == before and any(before):  # no file has changed meanwhile
        # Data files are signed now, before tensors are read from them.
        files = (*files, *checkpoint.files)
        _kept[key] = files, _sign(files), checkpoint
        for oldest in list(_kept)[:-MOST_KEPT]:
            _kept.pop(oldest, None)
    return checkpoint


def _sign(files: tuple[str, ...]) -> _Signature:
    """Return the signature of files."""
    return tuple(map(_sign_file, files))


def _sign_file(path: str) -> tuple[int, int, int] | None:
    """Return size, time of modification and inode of a file; None if it does not exist."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino
