"""Paths of objects: local names from the root on, as they are in a checkpoint's keys.

::

    path        local name "/" local name ...; "" for the root
    local name  "." written "..", then "/" written ".S"
    key         path "/.ATTRIBUTES/" attribute
    of a slot   path of the variable "/.OPTIMIZER_SLOT/" path of the optimizer "/" slot name
                "/.ATTRIBUTES/" attribute

A name never holds a lone dot once it is written, so ``.ATTRIBUTES`` and ``.OPTIMIZER_SLOT`` cannot
be names.  The one path that says two things is "": the root, and a child of the root whose name is
empty.  Its keys say both as well.

Source: tensorflow/python/trackable/trackable_utils.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

ATTRIBUTES = "/.ATTRIBUTES/"
OPTIMIZER_SLOT = "/.OPTIMIZER_SLOT/"

_ESCAPED = re.compile(r"\.(.?)", re.DOTALL)
_MEANING = {".": ".", "S": "/"}


def escape_name(name: str) -> str:
    """A local name as paths have it."""
    return name.replace(".", "..").replace("/", ".S")


def unescape_name(text: str) -> str:
    """Return the local name that a part of a path encodes.

    Raises:
        ValueError: no name is written so.
    """

    def meaning(escaped: re.Match[str]) -> str:
        if escaped[1] not in _MEANING:
            raise ValueError(f"not a name of a path (. is written .., / is written .S): {text!r}")
        return _MEANING[escaped[1]]

    # One scan from the left: "..S" is ".S", not "/" after a dot.
    return _ESCAPED.sub(meaning, text)


def join_path(names: Sequence[str]) -> str:
    """The path of local names: ``["by_key", "a/b"]`` gives ``by_key/a.Sb``."""
    return "/".join(map(escape_name, names))


def split_path(path: str) -> tuple[str, ...]:
    """The local names of a path; () for "", the root.

    Raises:
        ValueError: it is not a path.
    """
    return tuple(map(unescape_name, path.split("/"))) if path else ()
