"""What a user's path means: names only, no file is opened here."""

from __future__ import annotations

import os
import re

from ckptparse.errors import CheckpointNotFoundError

INDEX_SUFFIX = ".index"

_PARTS = re.compile(r"(?P<prefix>.*)(\.index|\.meta|\.data-\d{5,}-of-\d{5,})", re.DOTALL)
_MOST_LISTED = 8


def find_prefix(path: str) -> str:
    """The prefix of the V2 checkpoint that a path stands for.

    The path is the prefix itself, or one of the files ``.index``, ``.meta``, ``.data-I-of-N``.
    Nothing in it is a pattern.

    Raises:
        CheckpointNotFoundError: saying what was looked for and what is there.
    """
    if os.path.isfile(path + INDEX_SUFFIX):
        return path
    part = _PARTS.fullmatch(path)
    prefix = part["prefix"] if part else path
    if part and os.path.isfile(prefix + INDEX_SUFFIX):
        return prefix
    raise CheckpointNotFoundError(
        "no checkpoint here",
        file=path,
        expected=f"the file {prefix + INDEX_SUFFIX}",
        found=_describe_surroundings(path, prefix),
    )


def _describe_surroundings(path: str, prefix: str) -> str:
    """What is there instead, in words."""
    if os.path.isdir(path):
        return f"a directory with {_list_checkpoints(path)}"
    folder = os.path.dirname(prefix) or "."
    if not os.path.isdir(folder):
        return f"no directory {folder}"
    there = "a file of that name without an index, and " if os.path.exists(path) else ""
    return f"{there}beside it {_list_checkpoints(folder)}"


def _list_checkpoints(folder: str) -> str:
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        return f"what cannot be listed ({error.strerror})"
    prefixes = [name.removesuffix(INDEX_SUFFIX) for name in names if name.endswith(INDEX_SUFFIX)]
    if not prefixes:
        return "no .index file"
    more = len(prefixes) - _MOST_LISTED
    shown = ", ".join(prefixes[:_MOST_LISTED]) + (f" and {more} more" if more > 0 else "")
    return f"the checkpoint{'s' if len(prefixes) > 1 else ''} {shown}"
