"""How the commands write columns and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ckptparse.tensors import TensorInfo


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
