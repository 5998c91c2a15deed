"""What is at and around a path, in words: the "found" of an error about a wrong path."""

from __future__ import annotations

import re

from ckptparse.errors import UnreadableError
from ckptparse.sources import Files

_MOST_LISTED = 6
_MOST_NAMES = 10_000
_MOST_COMPARED = 500
_MOST_LETTERS = 200

_V1_SET = re.compile(r"(?P<base>.+)-\d{5,}-of-(?P<count>\d{5,})")


def describe_surroundings(files: Files, path: str) -> str:
    """What is there instead of a checkpoint, the nearest one first."""
    if files.is_directory(path):
        return f"a directory with {_list_checkpoints(files, path, '')}"
    folder, name = files.split(path)
    there = "a file of that name, and " if files.is_file(path) else ""
    if not files.is_directory(folder):
        return f"{there}no directory {folder}"
    return f"{there}in {folder} {_list_checkpoints(files, folder, name)}"


def _list_checkpoints(files: Files, folder: str, wanted: str) -> str:
    try:
        names = files.list_names(folder)
    except UnreadableError as error:
        return f"what cannot be listed ({error.message})"
    prefixes = _find_prefixes(set(names[:_MOST_NAMES]))
    if not prefixes:
        if not names:
            return "nothing"
        shown = ", ".join(names[:_MOST_LISTED])
        return f"no checkpoint, only {shown}{' ...' if len(names) > _MOST_LISTED else ''}"
    from difflib import get_close_matches  # only errors need it

    near = get_close_matches(wanted[:_MOST_LETTERS], prefixes[:_MOST_COMPARED], _MOST_LISTED)
    ordered = list(dict.fromkeys([*near, *prefixes]))
    more = len(ordered) - _MOST_LISTED
    shown = ", ".join(ordered[:_MOST_LISTED]) + (f" and {more} more" if more > 0 else "")
    return f"the checkpoint{'s' if len(ordered) > 1 else ''} {shown}"


def _find_prefixes(names: set[str]) -> list[str]:
    """Names that could be opened: V2 prefixes, V1 sets, and V1 files that have a `.meta`."""
    prefixes = set()
    for name in names:
        shard = _V1_SET.fullmatch(name)
        if name.endswith(".index"):
            prefixes.add(name.removesuffix(".index"))
        elif name.endswith(".meta") and name.removesuffix(".meta") in names:
            prefixes.add(name.removesuffix(".meta"))
        elif shard and not shard["base"].endswith(".data"):
            prefixes.add(f"{shard['base']}-?????-of-{shard['count']}")
    return sorted(prefixes)
