"""Show one tensor: dtype, shape, place in the file, statistics, a histogram, and values.

Values are printed as numpy prints an array.  Statistics other than the smallest and the largest
value do not include NaNs and infinite values.
"""

from __future__ import annotations

import argparse
import os
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ckptparse.analysis.histogram import Bin, compute_histogram
from ckptparse.analysis.statistics import Statistics, describe
from ckptparse.commands.arguments import add_json, add_path, open_path, read_full_names_of
from ckptparse.commands.choosing import as_stored
from ckptparse.commands.output import align, info_to_json, print_json, to_json_value
from ckptparse.commands.usage import UsageError
from ckptparse.display.text import count, format_nbytes, format_shape, printable
from ckptparse.tensors.info import TensorInfo
from ckptparse.tensors.numpy_index import Index

NAME = "show"

_MOST_VALUES = 4
_MOST_LETTERS = 60
_WIDTH = 80
_BAR_WIDTH = 40
_LEAST_COUNTED = 20
"""Number of elements from which a histogram is printed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_path(parser)
    parser.add_argument("name", metavar="NAME", help="name of the tensor")
    parser.add_argument(
        "--index",
        metavar="INDEX",
        help="show only a part, given as in numpy: '0:5, :'",
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Show the tensor."""
    index = ... if arguments.index is None else parse_index(arguments.index)
    with open_path(arguments) as ckpt:
        (name,) = as_stored([arguments.name], ckpt)
        info = ckpt.info(name)
        full_name = read_full_names_of(ckpt).get(info.name)
        try:
            values = ckpt.read(name, index)
        except IndexError as error:
            raise UsageError(
                f"the index does not fit the shape {list(info.shape)}: {error}"
            ) from error
        found = describe(values)
        if arguments.json:
            flat = values.reshape(-1)
            ends = {"first": flat[:_MOST_VALUES], "last": flat[-_MOST_VALUES:]}
            numbers = {} if found is None else found._asdict()
            print_json(
                {
                    **info_to_json(info, full_name),
                    **{key: to_json_value(numbers[key]) for key in _NUMBERS if key in numbers},
                    "histogram": [each._asdict() for each in _count(values, found)],
                    **{key: [to_json_value(v) for v in end.tolist()] for key, end in ends.items()},
                }
            )
        else:
            _print(info, full_name, values, found)
    return 0


_NUMBERS = ("min", "max", "mean", "std", "norm", "zeros", "nan", "inf")


def parse_index(text: str) -> Index:
    """Return the index that a text such as ``0:5, :`` means: integers, slices and an ellipsis.

    Raises:
        UsageError: the text is no such index.
    """
    items: list[Any] = []
    for item in text.split(","):
        parts = [part.strip() for part in item.split(":")]
        if parts == ["..."]:
            items.append(...)
        elif all(re.fullmatch(r"[+-]?[0-9]{1,19}", part) for part in parts if part) and (
            len(parts) in (2, 3) or (len(parts) == 1 and parts[0])
        ):
            numbers = [int(part) if part else None for part in parts]
            items.append(slice(*numbers) if len(parts) > 1 else numbers[0])
        else:
            raise UsageError(f"not an index: {text!r}. An index is like '0:5, :' or '..., 0'")
    return tuple(items)


def _print(
    info: TensorInfo, full_name: str | None, values: NDArray[Any], found: Statistics | None
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
    if values.shape != info.shape:
        rows.append(("shown", format_shape(values.shape)))
    if found is not None and found.size:
        numbers = {"min": found.min, "max": found.max, "mean": found.mean, "std": found.std}
        rows += [(key, _to_text(value)) for key, value in numbers.items() if value is not None]
        counts = {"zeros": found.zeros, "NaN": found.nan, "inf": found.inf}
        rows += [(key, f"{number:,}") for key, number in counts.items() if number]
        if found.remark is not None:
            rows.append(("remark", found.remark))
    print(printable(info.name))
    for line in align(rows, lambda row: ("", row[0]), lambda row: row[1]):
        print(line)
    _print_histogram(_count(values, found))
    _print_values(values)


def _count(values: NDArray[Any], found: Statistics | None) -> list[Bin]:
    """Return a histogram of real numbers; [] for others, and for few elements."""
    if found is None or found.min is None or found.max is None or values.size < _LEAST_COUNTED:
        return []
    low, high = found.min, found.max
    if found.inf:
        finite = values[np.isfinite(values)]
        if not finite.size:
            return []
        low, high = finite.min().item(), finite.max().item()
    return compute_histogram(values, low, high)


def _print_histogram(bins: list[Bin]) -> None:
    """Print a bar for each range of values."""
    most = max((each.size for each in bins), default=0)
    rows = [
        (f"{each.start:.4g}", "to", f"{each.stop:.4g}", f"{each.size:,}", "#" * bar)
        for each in bins
        for bar in [-(-_BAR_WIDTH * each.size // most)]
    ]
    for line in align(rows, lambda row: ("", *row[:4]), lambda row: row[4], right=(1, 3, 4)):
        print(line)


def _print_values(values: NDArray[Any]) -> None:
    """Print an array as numpy does; strings with control characters escaped."""
    if values.dtype.kind in "OSUT":
        flat = values.reshape(-1)
        first, last = flat[:_MOST_VALUES].tolist(), flat[_MOST_VALUES:][-_MOST_VALUES:].tolist()
        rows = [("first" if i == 0 else "", _to_text(value)) for i, value in enumerate(first)]
        rows += [("last" if i == 0 else "", _to_text(value)) for i, value in enumerate(last)]
        for line in align(rows, lambda row: ("", row[0]), lambda row: row[1]):
            print(line)
    else:
        print(np.array2string(values, max_line_width=_WIDTH))


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
