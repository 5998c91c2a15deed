"""Names that look like another one, for the error about a name that is not there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ckptparse.errors import TensorNotFoundError

_MOST_COMPARED = 1_000
_MOST_LETTERS = 200
"""Comparing is slow, and slower with longer names; beyond these numbers a name is only offered if
it contains the wanted one."""


def not_found(
    message: str, wanted: str, names: Iterable[str], *, file: str | None = None
) -> TensorNotFoundError:
    """The error for a name that is not among others; it offers the nearest of them."""
    among = list(names)
    nearest = nearest_names(wanted, among)
    hint = f". The most similar of {len(among)} names: {', '.join(nearest)}" if nearest else ""
    return TensorNotFoundError(message + hint, file=file, tensor=wanted)


def nearest_names(wanted: str, names: Sequence[str], most: int = 3) -> list[str]:
    """Up to `most` of `names`, the likeliest to be meant first."""
    from difflib import get_close_matches  # who finds what he asks for does not need it

    bare = wanted.removesuffix(":0")  # the name of the variable's tensor in the graph
    containing = sorted((name for name in names if bare and bare in name), key=len)[:most]
    comparable = [name for name in names if len(name) <= _MOST_LETTERS]
    few = len(comparable) <= _MOST_COMPARED and len(wanted) <= _MOST_LETTERS
    close = get_close_matches(wanted, comparable, most) if few else []
    return list(dict.fromkeys([*containing, *close]))[:most]
