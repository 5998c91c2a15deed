"""Print columns and JSON."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import chain, repeat
from typing import Any, TypeVar

from ckptparse.display.text import printable
from ckptparse.errors import CheckpointError
from ckptparse.tensors.info import TensorInfo

_WIDEST_COLUMN = 100
"""Wider cells push what comes after them to the right, in their own line only."""

_MANY = 1000


Item = TypeVar("Item")


def align(
    items: Iterable[Item],
    to_cells: Callable[[Item], Sequence[str]],
    to_text: Callable[[Item], str],
    right: Sequence[int] = (),
) -> Iterator[str]:
    """A line for each item: cells in columns, two blanks apart, and a text after them.

    Items are gone through twice, and what is written of them is made when it is needed, so that
    that of a million need not be held.

    Args:
        items: to be iterated over more than once.
        to_cells: the cells of an item.
        to_text: the text of an item.
        right: columns that are set to the right.
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
    """Write an error for people: one line for what is wrong, then an indented one for each detail.

    Args:
        error: any; only those of checkpoints have details.
        before: what the first line begins with.
        width: of the terminal; lines are broken between words.  None leaves them as they are.
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


def info_to_json(info: TensorInfo, full_name: str | None = None) -> dict[str, Any]:
    """A tensor's info as JSON has it."""
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
        "slices": info.slices,
    }


def print_json(value: Mapping[str, object]) -> None:
    """An object as JSON on standard output; stray bytes of names as lone surrogates, escaped.

    Its lists (or iterators) and objects stand with an item in each line, made one by one: there can
    be a million.  Dataclasses are objects.
    """
    before = "{"
    for key, part in value.items():
        print(f"{before}\n  {_dumps(key)}: ", end="")
        before = ","
        if isinstance(part, Mapping):
            items = (chain([f"{_dumps(name)}: "], _encode(item)) for name, item in part.items())
            _print_items(items, "{}")
        elif isinstance(part, Iterator) or (isinstance(part, (list, tuple)) and _is_long(part)):
            _print_items(map(_encode, part), "[]")
        else:
            print(_dumps(part), end="")
    print("\n}")


def _is_long(items: Sequence[object]) -> bool:
    """Return whether items contain more than numbers and words."""
    return any(not isinstance(item, (str, int, float, type(None))) for item in items)


def _print_items(items: Iterable[Iterable[str]], brackets: str) -> None:
    write = sys.stdout.write  # a third of what print() takes
    before, closing = brackets[0], brackets[1]
    for item in items:
        write(f"{before}\n    ")
        for piece in item:
            write(piece)
        before, closing = ",", f"\n  {brackets[1]}"
    write(before + closing if before == brackets[0] else closing)


def _encode(value: object) -> Iterator[str]:
    """The JSON of a value, in pieces if it has a long list: the encoder would need far more."""
    parts = value if isinstance(value, dict) else {}
    for part in parts.values():
        if isinstance(part, tuple) and len(part) > _MANY:
            break
    else:
        yield _dumps(value)
        return
    before = "{"
    for key, part in parts.items():
        yield f"{before}{_dumps(key)}: "
        before = ", "
        if isinstance(part, tuple) and len(part) > _MANY:
            previous, text = None, ""
            for i, item in enumerate(part):
                if item is not previous or not i:
                    previous, text = item, _dumps(item)
                yield f"{', ' if i else '['}{text}"
            yield "]"
        else:
            yield _dumps(part)
    yield "}"


def _dumps(value: object) -> str:
    return _ENCODER.encode(value)


def _fields_of(item: Any) -> dict[str, object]:
    names = _FIELD_NAMES.get(type(item))
    if names is None:
        names = _FIELD_NAMES[type(item)] = [field.name for field in fields(item)]
    return {name: getattr(item, name) for name in names}


_FIELD_NAMES: dict[type, list[str]] = {}
"""Of dataclasses; looking each of a hundred thousand up takes longer than writing it."""


_ENCODER = json.JSONEncoder(allow_nan=False, default=_fields_of)
