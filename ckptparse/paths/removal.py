"""List the files of checkpoints that a state file no longer names, and that may be deleted.

A state file may come from a stranger.  It must not make a program delete files elsewhere, files
that are not checkpoints, or checkpoints that are still in use.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Sequence

from ckptparse.errors import UnreadableError
from ckptparse.formats.file_names import (
    INDEX_SUFFIX,
    META_SUFFIX,
    V1_SHARD,
    V2_PART,
    shard_suffix,
)
from ckptparse.paths.candidates import is_v1_file
from ckptparse.paths.state_file import CheckpointState, last_part
from ckptparse.sources import LocalFiles
from ckptparse.sources.confined import Confinement


def group_files(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the files of each checkpoint in a directory, by the name that a state file gives it.

    Args:
        names: the names in the directory.

    Returns:
        A dict from the last part of a recorded path to names, in the order in which they should be
        deleted:

        - a V2 prefix: its index, its data files of any number of shards, its ``.meta``;
        - a V1 file: that file and its ``.meta``.  Any file can be a V1 file by its name, so the
          caller has to look at its contents;
        - V1 shards, as ``m-?????-of-00002``: the shards and ``m.meta``; also as ``m``, with the
          shards of all sets of that name.

        If there are files of a V2 and of a V1 checkpoint of one name, that name and the ``.meta``
        belong to V2.

    Examples:
        >>> from ckptparse.paths.removal import group_files
        >>> group_files(["m-1.index", "m-1.data-00000-of-00001", "m-10.index"])
        {'m-1': ['m-1.index', 'm-1.data-00000-of-00001'], 'm-10': ['m-10.index']}
    """
    indices: dict[str, list[str]] = {}
    data: dict[str, list[str]] = {}
    meta: dict[str, list[str]] = {}
    sets: dict[str, list[str]] = {}
    bases: dict[str, list[str]] = {}
    single: dict[str, list[str]] = {}
    set_base: dict[str, str] = {}
    for name in sorted(set(names)):
        part, shard = V2_PART.fullmatch(name), V1_SHARD.fullmatch(name)
        if part:
            is_index, is_meta = name.endswith(INDEX_SUFFIX), name.endswith(META_SUFFIX)
            kind = indices if is_index else meta if is_meta else data
            kind.setdefault(part["prefix"], []).append(name)
        elif shard and "?" not in name:
            key = shard["base"] + shard_suffix(None, shard["count"])
            set_base[key] = shard["base"]
            sets.setdefault(key, []).append(name)
            bases.setdefault(shard["base"], []).append(name)
        elif not shard:
            single[name] = [name]
    v2 = {
        prefix: indices.get(prefix, []) + data.get(prefix, [])
        for prefix in dict.fromkeys([*indices, *data])
    }
    found = {
        prefix: files + meta.get(prefix, []) for prefix, files in {**bases, **single, **v2}.items()
    }
    for key, files in sets.items():
        base = set_base[key]
        found[key] = files + ([] if base in v2 else meta.get(base, []))
    return found


def list_removable_files(
    state: CheckpointState, dropped: Sequence[str], directory: str
) -> list[str]:
    """Return the files of dropped checkpoints that may be deleted.

    A dropped path counts only if it is in the directory of the state file, or below it: by its
    text, without ``..``, and with symbolic links resolved.  Of V1 checkpoints, each file must be a
    table.  A checkpoint is left out if it has a file in common with one that has the name of a
    checkpoint in the state, in whatever directory, and without regard to upper and lower case.

    This reads directories, and the ends of V1 files; it deletes nothing.

    Args:
        state: the new state, whose checkpoints are kept.
        dropped: the paths that are no longer in it, as they were written in the old state.
        directory: the directory of the state file.

    Returns:
        Absolute paths.  Files that do not exist, and directories, are not among them.  Deleting in
        this order removes the index first, so that a part of a checkpoint is never found as one.

    Examples:
        >>> from ckptparse.paths.removal import list_removable_files
        >>> from ckptparse.paths.state_file import parse_state
        >>> run = "fixtures/tf-1.15.5/train_iterator/two"
        >>> state = parse_state(b'model_checkpoint_path: "model.ckpt-2"')
        >>> files = list_removable_files(state, ["model.ckpt-1", "../one/model.ckpt-1"], run)
        >>> [file.rpartition("two/")[2] for file in files]
        ['model.ckpt-1.index', 'model.ckpt-1.data-00000-of-00001']
        >>> list_removable_files(state, ["./model.ckpt-2"], run)
        []
    """
    directory = os.path.abspath(directory)
    confinement = Confinement(directory)
    inside = LocalFiles(mmap=False).within(directory)
    kept = _kept_names(state)
    listings: dict[str, tuple[dict[str, list[str]], set[str]]] = {}
    removable: dict[str, None] = {}
    for path in dropped:
        if not path or os.pardir in _SEPARATOR.split(path):
            continue
        folder, name = os.path.split(os.path.join(directory, path))
        try:
            folder = confinement.resolve(folder, path)
            if folder not in listings:
                listings[folder] = _list(folder, kept)
        except (UnreadableError, OSError, ValueError):  # outside, gone, or no possible name
            continue
        groups, protected = listings[folder]
        files = groups.get(name, [])
        if any(_fold(file) in protected for file in files):
            continue
        places = [os.path.join(folder, file) for file in files]
        if all(
            V2_PART.fullmatch(file) or is_v1_file(inside, place)
            for file, place in zip(files, places)
        ):
            removable.update(dict.fromkeys(place for place in places if _is_removable(place)))
    return list(removable)


_SEPARATOR = re.compile(r"[/\\]")


def _list(folder: str, kept: set[str]) -> tuple[dict[str, list[str]], set[str]]:
    """Return the checkpoints in a directory, and the folded names of files that must stay."""
    names = os.listdir(folder)
    folded = group_files(map(_fold, names))
    protected = {file for name in kept & folded.keys() for file in folded[name]}
    return group_files(names), protected


def _kept_names(state: CheckpointState) -> set[str]:
    """Return all folded names under which the kept checkpoints may be listed in a directory."""
    names = set()
    for path in {state.model_checkpoint_path, *state.all_model_checkpoint_paths}:
        for name in {last_part(path), os.path.basename(path)}:
            # A recorded path may also be that of a file of the checkpoint.
            part, shard = V2_PART.fullmatch(name), V1_SHARD.fullmatch(name)
            names.add("" if name == os.curdir else name)
            if part:
                names.add(part["prefix"])
            if shard:
                names.add(shard["base"] + shard_suffix(None, shard["count"]))
    return set(map(_fold, names))


def _fold(name: str) -> str:
    """Return a name that is equal for all names that some file system takes for the same."""
    from unicodedata import normalize  # imported only for deletion

    return normalize("NFC", normalize("NFC", name).casefold())


def _is_removable(place: str) -> bool:
    """Return whether a path is that of a file or link."""
    try:
        return not stat.S_ISDIR(os.lstat(place).st_mode)
    except (OSError, ValueError):
        return False
