"""Open what the user typed: a checkpoint, or the graph beside it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ckptparse.checkpoint import Checkpoint
from ckptparse.errors import CheckpointNotFoundError
from ckptparse.formats.bundle import BundleReader
from ckptparse.formats.file_names import INDEX_SUFFIX
from ckptparse.paths.locate import confine, find_checkpoint
from ckptparse.sources import MOST_KEPT_OPEN, files_for, is_url

if TYPE_CHECKING:  # imported at first need
    from ckptparse.metagraph import MetaGraph


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
        format: "v1" or "v2", if both exist under one prefix; without it V2, as TensorFlow does.
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
            from ckptparse.formats.saved_slices import SavedSlicesReader  # not for V2

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
        mapped=files.mapped,
    )
    return Checkpoint(reader, files, again)


def _open_again(path: str, options: dict[str, Any]) -> Checkpoint:
    return open_checkpoint(path, **options)


def read_graph(
    path: str, tags: Iterable[str] | None = None, *, confined: bool = False
) -> tuple[str, MetaGraph]:
    """Read the graph that `path` names, or the one beside the checkpoint that it names.

    Args:
        path: a `.meta` file, a SavedModel's directory or file, or any path of `open_checkpoint`.
        tags: of a SavedModel, the graph with exactly these tags; None for the first one.
        confined: as for `open_checkpoint`.

    Returns:
        The path of the graph's file, and the graph.

    Raises:
        CheckpointNotFoundError: there is neither a graph nor a checkpoint with one.
        CorruptCheckpointError: the graph is damaged.
    """
    from ckptparse.metagraph import find_graph_file, read_graph_file

    files = files_for(path, mmap=True)
    if confined:
        files = confine(files, path)
    found = find_graph_file(files, path)
    if found is None:
        with open_checkpoint(path, confined=confined) as ckpt:
            found = find_graph_file(files, ckpt.path)
    if found is None:
        raise CheckpointNotFoundError(
            "there is no graph beside this checkpoint",
            file=path,
            expected="a .meta file, or a SavedModel's saved_model.pb",
            found="neither",
        )
    return found, read_graph_file(files, found, tags)
