"""Names of tensors: `bytes` in files, `str` in Python."""

from __future__ import annotations

import re

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
