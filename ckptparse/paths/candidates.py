"""List the checkpoints in a directory; for error messages, list what exists near a path."""

from __future__ import annotations

from ckptparse.errors import CheckpointError, UnreadableError
from ckptparse.formats.containers import CONTAINER_SUFFIXES
from ckptparse.formats.file_names import (
    INDEX_SUFFIX,
    META_SUFFIX,
    SAVED_MODEL_NAMES,
    STATE_FILE_NAME,
    V1_SHARD,
    V2_PART,
    is_unfinished,
    shard_suffix,
)
from ckptparse.limits import MAX_OPENED_CANDIDATES, MAX_SEARCHED_DIRECTORIES
from ckptparse.sources import Files
from ckptparse.sstable import is_table

_MARKS = {STATE_FILE_NAME, INDEX_SUFFIX, *SAVED_MODEL_NAMES}
"""If a directory contains one of these names, the directory itself refers to a checkpoint."""

_MAX_NAMES = 10_000
"""Number of names in a directory that are used for an error's text."""
_MAX_COMPARED = 500
_MAX_LETTERS = 200
"""Number of prefixes, and of letters of the wanted name, that are compared for similarity."""
_MAX_LISTED = 6
"""Number of names that an error's text lists."""


def list_candidates(files: Files, directory: str) -> list[str]:
    """Return the paths of the checkpoints in a directory that has no state file or SavedModel.

    These are the prefixes and V1 files in the directory.  If there are none, they are the
    subdirectories that refer to a checkpoint, and the prefixes and V1 files in the other
    subdirectories.

    Raises:
        UnreadableError: the directory cannot be listed.
    """
    names = files.list_names(directory)
    found = [files.join(directory, name) for name in find_prefixes(files, directory, names)]
    if found:
        return found
    folders = files.list_directories(directory)
    if len(folders) > MAX_SEARCHED_DIRECTORIES:
        return []
    for folder in folders:
        if folder.startswith(".") or is_unfinished(folder):
            continue
        below = files.join(directory, folder)
        try:
            names = files.list_names(below)
        except UnreadableError:
            continue
        if _MARKS.isdisjoint(names):
            found += [files.join(below, name) for name in find_prefixes(files, below, names)]
        else:
            found.append(below)
    return found


def find_prefixes(files: Files, directory: str, names: list[str]) -> list[str]:
    """Return the names of checkpoints among `names`: V2 prefixes, V1 sets and V1 files, sorted."""
    known = set(names)
    prefixes = set()
    num_opened = 0
    for name in names:
        shard = V1_SHARD.fullmatch(name)
        if name.startswith("._") or is_unfinished(name):  # "._": macOS's metadata
            continue
        if name.endswith(INDEX_SUFFIX):
            prefixes.add(name.removesuffix(INDEX_SUFFIX))
        elif V2_PART.fullmatch(name):
            continue
        elif shard:
            prefixes.add(shard["base"] + shard_suffix(None, shard["count"]))
        elif name + META_SUFFIX in known or "ckpt" in name.lower() or "checkpoint" in name.lower():
            num_opened += 1
            path = files.join(directory, name)
            if num_opened <= MAX_OPENED_CANDIDATES and is_v1_file(files, path):
                prefixes.add(name)
    return sorted(prefixes)


def is_v1_file(files: Files, path: str) -> bool:
    """Return whether a file is a table; False if it cannot be read."""
    try:
        if not files.is_file(path):
            return False
        source = files.open(path, mapped=False)
        try:
            return is_table(source)
        finally:
            source.close()
    except (FileNotFoundError, CheckpointError):
        return False


def describe(files: Files, path: str) -> str:
    """Return a text that lists what exists at a path and in its directory, similar names first."""
    if files.is_directory(path):
        return _list(files, path, "")
    folder, name = files.split(path)
    if not files.is_directory(folder):
        return f"no directory {folder}"
    there = "that file" if files.is_file(path) else "no file of that name"
    return f"{there}; {_list(files, folder, name)}"


def find_containers(names: list[str]) -> list[str]:
    """Return the names of files of containers among `names`, by their suffixes."""
    return [
        name
        for name in names
        if name.endswith(tuple(CONTAINER_SUFFIXES)) and not name.startswith("._")
    ]


def find_nearest(files: Files, path: str) -> str | None:
    """Return the checkpoint or container beside a path with the most similar name; None without."""
    folder, name = files.split(path)
    try:
        names = files.list_names(folder) if files.is_directory(folder) else []
    except UnreadableError:
        return None
    names = names[:_MAX_NAMES]
    known = [*find_prefixes(files, folder, names), *find_containers(names)]
    known = [each for each in known if each != name]  # a file of another format than the wanted one
    near = _nearest_first(name, known, 1)
    return files.join(folder, near[0]) if near else None


def _nearest_first(wanted: str, prefixes: list[str], most: int) -> list[str]:
    """Return up to `most` prefixes that are similar to `wanted`, the most similar first."""
    from difflib import get_close_matches  # imported only for errors

    return get_close_matches(wanted[:_MAX_LETTERS], prefixes[:_MAX_COMPARED], most)


def _list(files: Files, folder: str, wanted: str) -> str:
    """Return a text that lists the checkpoints, or else the files, in a directory."""
    try:
        names = files.list_names(folder)
    except UnreadableError as error:
        return f"the directory cannot be listed ({error.message})"
    prefixes = find_prefixes(files, folder, names[:_MAX_NAMES])
    if not prefixes:
        near = _nearest_first(wanted, find_containers(names[:_MAX_NAMES]), _MAX_LISTED)
        ordered = list(dict.fromkeys([*near, *names]))
        shown = ", ".join(ordered[:_MAX_LISTED]) + (" ..." if len(names) > _MAX_LISTED else "")
        return f"the directory holds no checkpoint, only {shown}" if names else "an empty directory"
    ordered = list(dict.fromkeys([*_nearest_first(wanted, prefixes, _MAX_LISTED), *prefixes]))
    more = len(ordered) - _MAX_LISTED
    shown = ", ".join(ordered[:_MAX_LISTED]) + (f" and {more} more" if more > 0 else "")
    return f"the directory holds the checkpoint{'s' if len(ordered) > 1 else ''} {shown}"
