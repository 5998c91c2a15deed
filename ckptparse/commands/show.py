"""Show one tensor: dtype, shape, place in the file, range, first and last values."""

from __future__ import annotations

import argparse
import math
import os
from typing import Any

from numpy.typing import NDArray

from ckptparse.analysis.stats import compute_statistics
from ckptparse.commands.arguments import add_json, add_path, open_path, read_full_names_of
from ckptparse.commands.output import align, info_to_json, print_json
from ckptparse.display.text import count, format_nbytes, format_shape, printable
from ckptparse.tensors.info import TensorInfo

NAME = "show"

_MOST_VALUES = 4
_MOST_LETTERS = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_path(parser)
    parser.add_argument("name", metavar="NAME", help="name of the tensor")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Show the tensor."""
    with open_path(arguments) as ckpt:
        info = ckpt.info(arguments.name)
        full_name = read_full_names_of(ckpt).get(info.name)
        values = ckpt[arguments.name].reshape(-1)
        statistics = compute_statistics(values)
        if arguments.json:
            ends = {"first": values[:_MOST_VALUES], "last": values[-_MOST_VALUES:]}
            print_json(
                {
                    **info_to_json(info, full_name),
                    **{key: _to_json(value) for key, value in statistics.items()},
                    **{key: [_to_json(v) for v in end.tolist()] for key, end in ends.items()},
                }
            )
        else:
            _print(info, full_name, values, statistics)
    return 0


def _print(
    info: TensorInfo, full_name: str | None, values: NDArray[Any], statistics: dict[str, Any]
) -> None:
    """Print a tensor as text."""
    rows = [] if full_name is None else [("variable", printable(full_name))]
    rows += [
        ("dtype", info.tensorflow_dtype),
        ("shape", format_shape(info.shape)),
        ("size", f"{count(info.size, 'element')}, {format_nbytes(info.nbytes)}"),
    ]
    if info.slices:
        rows.append(("stored", f"in {count(len(info.slices), 'slice')}"))
        for piece in info.slices:
            box = ",".join(f"{part.start}:{part.stop}" for part in piece.index)
            rows.append(("", f"[{box}] {_place(piece.file, piece.offset)}"))
    else:
        rows.append(("stored", _place(info.file, info.offset)))
    rows += [(key, _to_text(value)) for key, value in statistics.items()]
    first, last = values[:_MOST_VALUES].tolist(), values[_MOST_VALUES:][-_MOST_VALUES:].tolist()
    rows += [("first" if i == 0 else "", _to_text(value)) for i, value in enumerate(first)]
    rows += [("last" if i == 0 else "", _to_text(value)) for i, value in enumerate(last)]
    print(printable(info.name))
    for line in align(rows, lambda row: ("", row[0]), lambda row: row[1]):
        print(line)


def _place(file: str | None, offset: int | None) -> str:
    """Return where a tensor or slice is stored, as text."""
    name = printable(os.path.basename(file or "no file"))
    return f"in {name}" if offset is None else f"at byte {offset} of {name}"


def _to_text(value: Any) -> str:
    """Return one value as text."""
    if isinstance(value, bytes):
        text = value.decode("utf-8", "backslashreplace")
        more = f"... ({count(len(value), 'byte')})" if len(text) > _MOST_LETTERS else ""
        return f'"{printable(text[:_MOST_LETTERS])}"{more}'
    if isinstance(value, float):
        return f"{value:.8g}"
    return str(value)


def _to_json(value: Any) -> Any:
    """Return one value for JSON; NaN, infinities and complex numbers, which JSON lacks, as text."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    number = getattr(value, "item", lambda: value)()
    if isinstance(number, float) and math.isfinite(number):
        return number
    return str(number)
