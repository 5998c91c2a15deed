"""Paths of objects: the escaped local names from the root, as in the keys of a checkpoint.

::

    path           local name "/" local name ...; "" is the root
    local name     "." escaped as "..", then "/" escaped as ".S"
    key            path "/.ATTRIBUTES/" attribute
    key of a slot  path of the variable "/.OPTIMIZER_SLOT/" path of the optimizer "/" slot name
                   "/.ATTRIBUTES/" attribute

An escaped name contains no single dot, so ``.ATTRIBUTES`` and ``.OPTIMIZER_SLOT`` cannot be names.
The path "" is ambiguous: it is the path of the root, and of a child of the root with an empty name.
The keys of both are ambiguous in the same way.

Source: tensorflow/python/trackable/trackable_utils.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_ESCAPED = re.compile(r"\.(.?)", re.DOTALL)
_MEANING = {".": ".", "S": "/"}


def escape_name(name: str) -> str:
    """Return a local name escaped for a path."""
    return name.replace(".", "..").replace("/", ".S")


def unescape_name(text: str) -> str:
    """Return the local name of an escaped name.

    Raises:
        ValueError: a dot is followed by neither a dot nor ``S``.
    """

    def meaning(escaped: re.Match[str]) -> str:
        if escaped[1] not in _MEANING:
            raise ValueError(f"not a name of a path (. is written .., / is written .S): {text!r}")
        return _MEANING[escaped[1]]

    # One pass from the left: "..S" means ".S", not a dot and "/".
    return _ESCAPED.sub(meaning, text)


def join_path(names: Sequence[str]) -> str:
    """Return the path of local names, with dots and slashes in the names escaped.

    Args:
        names: local names from the root; none for the root itself.

    Returns:
        The path; "" for the root.

    Examples:
        >>> from ckptparse.objectgraph import join_path
        >>> join_path(["by_key", "a/b.c"])
        'by_key/a.Sb..c'
    """
    return "/".join(map(escape_name, names))


def split_path(path: str) -> tuple[str, ...]:
    """Return the local names of a path, not escaped.

    Args:
        path: a path; "" for the root.

    Returns:
        The local names from the root; () for the root.

    Raises:
        ValueError: a dot of the path is followed by neither a dot nor ``S``.

    Examples:
        >>> from ckptparse.objectgraph import split_path
        >>> split_path("by_key/a.Sb..c")
        ('by_key', 'a/b.c')
    """
    return tuple(map(unescape_name, path.split("/"))) if path else ()
