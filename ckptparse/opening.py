"""Opening a checkpoint: from what the user typed to a `Checkpoint`."""

from __future__ import annotations

import os
from typing import Any

from ckptparse.bundle import BundleReader
from ckptparse.checkpoint import Checkpoint
from ckptparse.errors import CheckpointNotFoundError
from ckptparse.file_names import INDEX_SUFFIX
from ckptparse.locate import confine, find_checkpoint
from ckptparse.sources import MOST_KEPT_OPEN, files_for, is_url


def open_checkpoint(
    path: str | os.PathLike[str],
    *,
    verify: bool = True,
    mmap: bool = True,
    format: str | None = None,
    storage_options: dict[str, object] | None = None,
    confined: bool = False,
) -> Checkpoint:
    """Open a checkpoint that TensorFlow wrote.

    Of a V2 checkpoint this reads the index's footer and two of its blocks, of a V1 checkpoint the
    table of contents of each file, whatever the number and size of the tensors.

    Args:
        path: a prefix (``model.ckpt-200``); a file of the checkpoint (``.index``,
            ``.data-00000-of-00001``, ``.meta``, a V1 file, a V1 shard or ``-?????-of-00004``); a
            directory with a ``checkpoint`` state file, meaning its latest one; the directory of a
            SavedModel or TF-Hub module; or a URL of these (extra `remote`).
        verify: compare stored checksums with a tensor's bytes at its first access.  False touches
            no page before you do.  Indexes and tables of contents are always checked.
        mmap: map data files into memory, so that arrays are views and cost nothing.  False reads
            copies: the choice for storage whose files others change or take away, where touching
            a map can end the process with SIGBUS.  Data files from the 129th on are read as copies
            in any case, so that no number of them uses up the process's file descriptors.
        format: "v1" or "v2", where both lie under one prefix; without it V2, as TensorFlow does.
        storage_options: for URLs, what fsspec passes on to the file system.
        confined: open and look for nothing outside of the directory that `path` names (of a prefix
            or file the one it is in, else the directory itself), whatever a state file says and
            wherever symbolic links lead: for checkpoints from strangers.

    Returns:
        A `Checkpoint`; closing it (or ``with``) is good manners, its arrays outlive it.

    Raises:
        CheckpointNotFoundError: nothing there; the text says what was looked for.
        MissingShardError: a V1 set that is not complete.
        NotACheckpointError: a file of another kind.
        CorruptCheckpointError: a damaged index, table of contents or state file.
        UnsupportedError: a checkpoint for newer readers only.
        UnreadableError: the operating system, or the storage, refuses.
        ImportError: a URL without the extra `remote`.
    """
    if format not in (None, "v1", "v2"):
        raise ValueError(f'format is "v1", "v2" or None, not {format!r}')
    path = os.fsdecode(path)
    options: dict[str, Any] = {
        "verify": verify,
        "mmap": mmap,
        "format": format,
        "storage_options": storage_options,
        "confined": confined,
    }
    again = _open_again, (path if is_url(path) else os.path.abspath(path), options)
    files = files_for(path, mmap=mmap, storage_options=storage_options)
    if confined:
        files = confine(files, path, format)
    found = find_checkpoint(files, path, format)
    try:
        if found.format == "v1":
            from ckptparse.saved_slices import SavedSlicesReader  # not for V2

            shards = [
                files.open(shard, kept=i < MOST_KEPT_OPEN) for i, shard in enumerate(found.shards)
            ]
            return Checkpoint(SavedSlicesReader(found.prefix, shards, verify=verify), files, again)
        # An index is copied out of its file block by block, never mapped: what was checked stays.
        index = files.open(files.append(found.prefix, INDEX_SUFFIX), mapped=False)
    except FileNotFoundError as error:
        raise CheckpointNotFoundError(
            "this file disappeared while it was opened", file=found.prefix
        ) from error
    reader = BundleReader(
        found.prefix,
        index,
        files.open,
        append=files.append,
        verify=verify,
        mapped=files.maps,
    )
    return Checkpoint(reader, files, again)


def _open_again(path: str, options: dict[str, Any]) -> Checkpoint:
    return open_checkpoint(path, **options)
