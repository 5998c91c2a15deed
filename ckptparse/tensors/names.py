"""Names of tensors: `bytes` in files, `str` in Python."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ckptparse.errors import TensorNotFoundError

_NUMBER = re.compile("0*([0-9]+)")


def natural_key(name: str) -> str:
    """Return a key that sorts names as people do: ``layer_2`` before ``layer_10``.

    A number is preceded by its length, so that comparing letters compares numbers.
    """
    return _NUMBER.sub(_with_length, name)


def _with_length(found: re.Match[str]) -> str:
    """A number after its length, which is written as 9s and a last digit below 9: 3, 90, 998."""
    digits = found[1]
    nines, rest = divmod(len(digits), 9)
    return f"{'9' * nines}{rest}{digits}"


def decode_name(key: bytes) -> str:
    """The name of a key; bytes that are not UTF-8 become lone surrogates."""
    return key.decode("utf-8", "surrogateescape")


def decode_names(keys: list[bytes]) -> list[str]:
    """The name of each key."""
    try:
        return list(map(bytes.decode, keys))  # for a million of them
    except UnicodeDecodeError:
        return list(map(decode_name, keys))


def encode_name(name: str) -> bytes:
    """The key of a name; of a name that no key can have the empty key, which is no tensor."""
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return b""


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
