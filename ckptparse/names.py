"""Names of tensors: `bytes` in files, `str` in Python."""

from __future__ import annotations


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
