"""Print columns, error messages and JSON."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import repeat
from typing import Any, TextIO, TypeVar

from ckptparse.display.text import printable
from ckptparse.errors import CheckpointError
from ckptparse.tensors.info import TensorInfo

_WIDEST_COLUMN = 100
"""The maximum width of a column; a wider cell shifts only the rest of its own line."""

Item = TypeVar("Item")


def align(
    items: Iterable[Item],
    to_cells: Callable[[Item], Sequence[str]],
    to_text: Callable[[Item], str],
    right: Sequence[int] = (),
) -> Iterator[str]:
    """Yield a line for each item: cells in columns, two spaces apart, then a text.

    Iterates over the items twice, first for the widths of the columns, so that the lines of a
    million items are never held in memory.

    Args:
        items: an iterable that can be iterated over more than once.
        to_cells: returns the cells of an item.
        to_text: returns the text of an item.
        right: numbers of the columns that are aligned to the right.
    """
    widths: list[int] = []
    for item in items:
        widths = [*map(max, widths or repeat(0), map(len, to_cells(item)))]
    columns = [
        f"{{:{'>' if i in right else '<'}{min(width, _WIDEST_COLUMN)}}}  "
        for i, width in enumerate(widths)
    ]
    write = ("".join(columns) + "{}").format
    for item in items:
        yield write(*to_cells(item), to_text(item)).rstrip()


def error_lines(error: BaseException, before: str = "", width: int | None = None) -> Iterator[str]:
    """Yield the lines of an error message: what is wrong, then an indented line for each detail.

    Args:
        error: any error; only a `CheckpointError` has details.
        before: prefix of the first line.
        width: width of the terminal, at which lines are wrapped between words; None for no limit.
    """
    lines = error.lines() if isinstance(error, CheckpointError) else [str(error)]
    for i, line in enumerate(lines):
        text = printable(line)
        first, rest = (f"  {text}", "    ") if i else (before + text, "  ")
        if width is None:
            yield first
        else:
            yield from textwrap.wrap(
                first,
                width,
                subsequent_indent=rest,
                break_long_words=False,
                break_on_hyphens=False,
            )


def print_error(error: BaseException, before: str = "ckptparse: ") -> None:
    """Print an error on standard error, wrapped at the width of a terminal.

    Args:
        error: any error.
        before: prefix of the first line.
    """
    if isinstance(error, OSError) and not isinstance(error, CheckpointError) and error.strerror:
        error = OSError(f"{error.filename or 'standard output'}: {error.strerror}")
    elif isinstance(error, MemoryError) and not str(error):
        error = MemoryError("out of memory")
    if sys.stderr is None:  # closed; `print` would take standard output
        return
    width = shutil.get_terminal_size().columns if sys.stderr.isatty() else None
    first, _, _ = before.partition(" ")
    with suppress(OSError):  # standard error cannot be written; the exit status tells enough
        for i, line in enumerate(error_lines(error, before, width)):
            shown = coloured(first, "red", sys.stderr) + line[len(first) :] if i == 0 else line
            print(shown, file=sys.stderr)


_COLOURS = {"red": 31, "green": 32, "yellow": 33}


def coloured(text: str, colour: str, stream: TextIO | None = None) -> str:
    """Return text in a colour, for a terminal; the text itself for anything else.

    Also the text itself if the environment variable NO_COLOR is set and not empty, or if TERM is
    "dumb", empty or not set.  Lengths must be computed without the escapes that this adds.

    Args:
        text: the text.
        colour: "red", "green" or "yellow".
        stream: where it will be printed; None for standard output.
    """
    stream = sys.stdout if stream is None else stream
    has_colours = (
        stream is not None  # as of a process without a console
        and stream.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM") not in (None, "", "dumb")
    )
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if has_colours else text


def info_to_json(info: TensorInfo, full_name: str | None = None) -> dict[str, Any]:
    """Return the JSON object of a tensor's metadata."""
    return {
        "name": info.name,
        "full_name": full_name,
        "dtype": info.tensorflow_dtype,
        "shape": info.shape,
        "size": info.size,
        "nbytes": info.nbytes,
        "mapped": info.mapped,
        "file": info.file,
        "offset": info.offset,
        "slices": [part._asdict() for part in info.slices],
    }


def to_json_value(value: Any) -> Any:
    """Return one value for JSON; NaN, infinities and complex numbers, which JSON lacks, as text."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    number = getattr(value, "item", lambda: value)()
    if isinstance(number, float) and math.isfinite(number):
        return number
    return str(number)


def print_json(value: Mapping[str, object]) -> None:
    """Print a JSON object on standard output.

    Nested mappings, lists of objects and iterators are printed with one item per line.  Their items
    are encoded one by one, because there can be a million.  Bytes of names that are not UTF-8 are
    printed as escaped lone surrogates.

    Args:
        value: a mapping from names to values that `json` can encode, to dataclasses (printed as
            objects), or to iterators of these.
    """
    before = "{"
    for key, part in value.items():
        print(f"{before}\n  {_dumps(key)}: ", end="")
        before = ","
        if isinstance(part, Mapping):
            _print_items((f"{_dumps(name)}: {_dumps(item)}" for name, item in part.items()), "{}")
        elif isinstance(part, Iterator) or (isinstance(part, (list, tuple)) and _has_objects(part)):
            _print_items(map(_dumps, part), "[]")
        else:
            print(_dumps(part), end="")
    print("\n}")


def _has_objects(items: Sequence[object]) -> bool:
    """Return whether any item is not a number, a string or None."""
    return any(not isinstance(item, (str, int, float, type(None))) for item in items)


def _print_items(items: Iterable[str], brackets: str) -> None:
    """Print encoded items between brackets, one per line."""
    before = brackets[0]
    for item in items:
        print(f"{before}\n    {item}", end="")
        before = ","
    print(f"\n  {brackets[1]}" if before == "," else brackets, end="")


def _fields_of(item: Any) -> dict[str, object]:
    """Return the fields of a dataclass; unlike `dataclasses.asdict`, does not copy values."""
    # Printing 120,000 slices takes a third longer with `dataclasses.fields`.
    return {name: getattr(item, name) for name in item.__dataclass_fields__}


_dumps = json.JSONEncoder(allow_nan=False, default=_fields_of).encode
