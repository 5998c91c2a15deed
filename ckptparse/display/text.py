"""Format names, sizes and numbers as text for people."""

from __future__ import annotations

import re
from functools import lru_cache


def printable(text: str) -> str:
    """Return text that is safe for a terminal.

    Control characters, and bytes that are not UTF-8, are replaced by escapes.
    """
    return text if text.isprintable() else text.translate(_ESCAPES)


class _Escapes(dict[int, str]):
    """Code point -> text, for `str.translate`; each code point is computed when first needed."""

    def __missing__(self, code: int) -> str:
        escape = chr(code)
        if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
            escape = f"\\x{code - 0xDC00:02x}"
        elif not escape.isprintable():
            escape = escape.encode("unicode_escape").decode("ascii")
        if len(self) < _MOST_ESCAPES:
            self[code] = escape
        return escape


_MOST_ESCAPES = 1024
"""Number of code points that are cached."""

_ESCAPES = _Escapes()


def format_nbytes(nbytes: int) -> str:
    """Return a number of bytes with a binary unit: "512 B", "1.5 KiB", "392.0 MiB"."""
    if nbytes < 1024:
        return f"{nbytes} B"
    size = float(nbytes)
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 1000:
            return f"{size:.1f} {unit}"
    return f"{size / 1024:.1f} TiB"


_UNITS = {"": 1, "b": 1}
_UNITS |= {f"{letter}b": 1000**power for power, letter in enumerate("kmgt", 1)}
_UNITS |= {f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", 1)}


def parse_nbytes(text: str) -> int:
    """Return the number of bytes of a size such as "2GB" or "500 MiB".

    Raises:
        ValueError: the text is no size, or the size is less than a byte, or 2**63 bytes or more.
    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([a-z]*)", text.strip().lower())
    nbytes = float(found[1]) * _UNITS.get(found[2], 0) if found else 0  # infinite: many digits
    if not 1 <= nbytes < 2**63:
        raise ValueError(f"expected a size such as 2GB or 500MiB, not {text!r}")
    return int(nbytes)


@lru_cache(maxsize=1024)
def format_shape(shape: tuple[int, ...]) -> str:
    """Return a shape without spaces: "[3,3,64]"; "[]" for a scalar."""
    return f"[{','.join(map(str, shape))}]"


def count(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural if needed: "1 tensor", "1,234 tensors"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def format_number(number: complex | None) -> str:
    """Return a number with four significant digits, or all digits of an integer; "" for None."""
    if number is None:
        return ""
    return str(int(number)) if isinstance(number, int) else f"{number:.4g}"
