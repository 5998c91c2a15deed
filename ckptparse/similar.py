"""Names that look like another one."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

_MOST_COMPARED = 10_000
"""Comparing is slow; beyond this many names only those that contain the wanted one are offered."""


def nearest_names(wanted: str, names: Sequence[str], most: int = 3) -> list[str]:
    """Up to `most` of `names`, the likeliest to be meant first."""
    bare = wanted.removesuffix(":0")  # the name of the variable's tensor in the graph
    containing = sorted((name for name in names if bare and bare in name), key=len)[:most]
    close = get_close_matches(wanted, names, most) if len(names) <= _MOST_COMPARED else []
    return list(dict.fromkeys([*containing, *close]))[:most]
