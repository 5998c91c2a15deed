"""How the commands write names, sizes and values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ckptparse.tensors import TensorInfo


def printable(text: str) -> str:
    """Text from a file, safe for a terminal: control characters and stray bytes as escapes."""
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")


def format_nbytes(nbytes: int) -> str:
    """A size for people: 512 B, 1.5 KiB, 392.0 MiB."""
    if nbytes < 1024:
        return f"{nbytes} B"
    size = float(nbytes)
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 1000:
            return f"{size:.1f} {unit}"
    return f"{size / 1024:.1f} TiB"


def format_shape(shape: tuple[int, ...]) -> str:
    """A shape without blanks: [3,3,64]; [] for a scalar."""
    return f"[{','.join(map(str, shape))}]"


def count(number: int, noun: str) -> str:
    """A number and its noun: 1 tensor, 1,234 tensors."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def align(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Rows as lines, columns two blanks apart; those in `right` are set to the right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def info_to_json(info: TensorInfo) -> dict[str, Any]:
    """A tensor's info as JSON has it."""
    return {
        "name": info.name,
        "dtype": info.tensorflow_dtype,
        "shape": info.shape,
        "size": info.size,
        "nbytes": info.nbytes,
        "mapped": info.mapped,
        "file": info.file,
        "offset": info.offset,
        "slices": [
            {
                "start": piece.start,
                "shape": piece.shape,
                "file": piece.file,
                "offset": piece.offset,
                "nbytes": piece.nbytes,
            }
            for piece in info.slices
        ],
    }


def print_json(value: object) -> None:
    """A value as JSON on standard output; stray bytes of names as lone surrogates, escaped."""
    print(json.dumps(value, indent=2, allow_nan=False))
