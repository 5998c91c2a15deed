"""The names of tensors: `bytes` in files, `str` in Python; and suggestions for missing names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ckptparse.errors import TensorNotFoundError

_NUMBER = re.compile("0*([0-9]+)")


def natural_key(name: str) -> str:
    """Return a key that sorts names naturally: ``layer_2`` before ``layer_10``.

    The key has each number after its length, so that the order of texts is the order of numbers.
    """
    return _NUMBER.sub(_with_length, name)


def _with_length(found: re.Match[str]) -> str:
    """Return a number after its length; the length is written as 9s and a last digit below 9.

    Lengths 3, 9 and 26 are written 3, 90 and 998: as texts they have the same order.
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
    """Return the key of a name; b"", the key of no tensor, for a name that cannot be a key."""
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return b""


_MOST_COMPARED = 1_000
_MOST_LETTERS = 200
"""Finding similar names is slow, and slower for long names.  Beyond these limits only names that
contain the wanted one are suggested."""


def not_found(
    message: str, wanted: str, names: Iterable[str], *, file: str | None = None
) -> TensorNotFoundError:
    """Return the error for a missing name; it lists the most similar ones of `names`."""
    among = list(names)
    nearest = nearest_names(wanted, among)
    hint = f". The most similar of {len(among)} names: {', '.join(nearest)}" if nearest else ""
    return TensorNotFoundError(message + hint, file=file, tensor=wanted)


def nearest_names(wanted: str, names: Sequence[str], most: int = 3) -> list[str]:
    """Return up to `most` of `names`, the most similar first."""
    from difflib import get_close_matches  # imported only when a name is missing

    bare = wanted.removesuffix(":0")  # "x:0" is the tensor of the variable "x" in a graph
    containing = sorted((name for name in names if bare and bare in name), key=len)[:most]
    comparable = [name for name in names if len(name) <= _MOST_LETTERS]
    few = len(comparable) <= _MOST_COMPARED and len(wanted) <= _MOST_LETTERS
    close = get_close_matches(wanted, comparable, most) if few else []
    return list(dict.fromkeys([*containing, *close]))[:most]
