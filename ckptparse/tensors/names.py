"""The names of tensors: `bytes` in files, `str` in Python; and suggestions for missing names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ckptparse.errors import TensorNotFoundError

OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
"""The name of the scalar string tensor with the object graph; checkpoints of TF1 lack it."""

ATTRIBUTES = "/.ATTRIBUTES/"
OPTIMIZER_SLOT = "/.OPTIMIZER_SLOT/"
"""Parts of the keys of objects; see `ckptparse.objectgraph.paths`."""

DEEPEST_SCOPE = 20
"""Statistics and reports have the scopes of a name's first parts, up to this number."""

FREE_SCOPES = 10_000
"""There are at most this many scopes more than tensors; names beyond have fewer scopes.  A
compressed index of a megabyte can hold 100,000 names of a hundred slashes: 10 million scopes."""

_NUMBER = re.compile("0*([0-9]+)")
_WILDCARD = re.compile(r"[*?]|\[[^]]*\]")


def natural_key(name: str) -> str:
    """Return a key that sorts names naturally: ``layer_2`` before ``layer_10``.

    In the key, each number has its length before it, so that comparing keys as texts compares the
    numbers.
    """
    return _NUMBER.sub(_with_length, name)


def _with_length(found: re.Match[str]) -> str:
    """Return a number with its length before it.

    The length is written so that lengths have the same order as texts: as one digit 9 for each 9 in
    it, then the remainder.  The lengths 3, 9 and 26 are written 3, 90 and 998.
    """
    digits = found[1]
    nines, rest = divmod(len(digits), 9)
    return f"{'9' * nines}{rest}{digits}"


def decode_name(key: bytes) -> str:
    """Return the name of a key; bytes that are not UTF-8 become lone surrogates."""
    return key.decode("utf-8", "surrogateescape")


def decode_names(keys: list[bytes]) -> list[str]:
    """Return the name of each key."""
    try:
        return list(map(bytes.decode, keys))  # the fast way, if all keys are UTF-8
    except UnicodeDecodeError:
        return list(map(decode_name, keys))


def encode_name(name: str) -> bytes:
    """Return the key of a name; b"", which is the key of no tensor, if it cannot be encoded."""
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return b""


def require_names(names: Iterable[str]) -> Iterable[str]:
    """Return the names, and refuse a single one, whose letters would be taken for names.

    Raises:
        TypeError: `names` is a string.
    """
    if isinstance(names, (str, bytes)):
        raise TypeError(f"expected a list of names, not a single one: [{names!r}]")
    return names


_MOST_COMPARED = 1_000
_MOST_LETTERS = 200
"""Limits on the number and length of names that are compared for similarity, which is slow.  Beyond
them, only names that contain the wanted name are suggested."""


def not_found(
    message: str, wanted: str, names: Iterable[str], *, file: str | None = None
) -> TensorNotFoundError:
    """Return the error for a missing name; it lists the most similar ones of `names`."""
    among = list(names)
    nearest = nearest_names(wanted, among)
    hint = f". The most similar of {len(among)} names: {', '.join(nearest)}" if nearest else ""
    return TensorNotFoundError(message + hint, file=file, tensor=wanted)


def nearest_names(wanted: str, names: Sequence[str], most: int = 3) -> list[str]:
    """Return up to `most` of `names`, the most similar first.

    For a glob, names that contain its longest part without wildcards are similar.
    """
    from difflib import get_close_matches  # imported only when a name is missing

    bare = wanted.removesuffix(":0")  # "x:0" is the tensor of the variable "x" in a graph
    containing: list[str] = []
    for part in dict.fromkeys((bare, max(_WILDCARD.split(bare), key=len))):
        containing += sorted((name for name in names if part and part in name), key=len)[:most]
    comparable = [name for name in names if len(name) <= _MOST_LETTERS]
    few = len(comparable) <= _MOST_COMPARED and len(wanted) <= _MOST_LETTERS
    close = get_close_matches(wanted, comparable, most) if few else []
    return list(dict.fromkeys([*containing, *close]))[:most]
