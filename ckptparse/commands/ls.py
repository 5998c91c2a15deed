"""List the tensors: dtype, shape, size, name.

A partitioned tensor is marked with the number of its slices.  If the checkpoint has a graph with a
variable's full name, the full name is shown in parentheses.
"""

from __future__ import annotations

import argparse
import os

from ckptparse.commands.arguments import (
    add_json,
    add_path,
    add_sort,
    open_path,
    read_full_names_of,
)
from ckptparse.commands.choosing import add_choice, as_stored, choose_from, is_chosen
from ckptparse.commands.output import align, info_to_json, print_json
from ckptparse.display.text import count, format_nbytes, format_shape, printable
from ckptparse.tensors.info import TensorInfo
from ckptparse.tensors.names import natural_key
from ckptparse.weights.selection import require_match

NAME = "ls"

_UNKNOWN = "?"
"""Printed as the size of strings in V1, which the index does not store."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_path(parser)
    parser.add_argument(
        "patterns",
        metavar="PATTERN",
        nargs="*",
        default=[],
        help="list only these: a name, or a pattern such as 'vgg_16/conv*'",
    )
    parser.add_argument(
        "-l",
        "--long",
        action="store_true",
        help="show the byte offset and the file of each tensor",
    )
    add_sort(parser, ["size", "dtype"])
    add_choice(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """List the tensors."""
    with open_path(arguments) as ckpt:
        names = read_full_names_of(ckpt)
        if is_chosen(arguments):
            choice = choose_from(arguments, ckpt)
            infos = choice.tensors.infos()
            names = {new: names[old] for new, old in choice.sources.items() if old in names}
        else:
            infos = ckpt.infos()
        if arguments.patterns:
            infos = _find(infos, arguments.patterns)
        infos = _sort(infos, arguments.sort)
        size, nbytes = sum(info.size for info in infos), sum(info.nbytes for info in infos)
        if arguments.json:
            print_json(
                {
                    "path": ckpt.path,
                    "format": ckpt.format,
                    "num_tensors": len(infos),
                    "size": size,
                    "nbytes": nbytes,
                    "tensors": (info_to_json(info, names.get(info.name)) for info in infos),
                }
            )
        else:
            to_cells, right = (_to_long_cells, [2, 3]) if arguments.long else (_to_cells, [2])
            for line in align(infos, to_cells, lambda info: _to_text(info, names), right=right):
                print(line)
            print(
                f"{count(len(infos), 'tensor')}, {count(size, 'element')}, {format_nbytes(nbytes)}"
            )
    return 0


def _find(infos: list[TensorInfo], patterns: list[str]) -> list[TensorInfo]:
    """Return the tensors whose names match any pattern.

    Raises:
        TensorNotFoundError: a pattern matches no name.
    """
    names = dict.fromkeys(info.name for info in infos)
    found = {
        name for pattern in as_stored(patterns, names) for name in require_match(pattern, names)
    }
    return [info for info in infos if info.name in found]


def _sort(infos: list[TensorInfo], by: str | None) -> list[TensorInfo]:
    """Return the tensors sorted by name, size or dtype."""
    if by is None:
        return infos
    infos = sorted(infos, key=lambda info: natural_key(info.name))
    if by == "size":
        infos.sort(key=lambda info: -info.nbytes)
    elif by == "dtype":
        infos.sort(key=lambda info: info.tensorflow_dtype)
    return infos


def _to_cells(info: TensorInfo) -> tuple[str, ...]:
    """Return the cells of a row: dtype, shape, size."""
    size = _UNKNOWN if info.size and not info.nbytes else format_nbytes(info.nbytes)
    return info.tensorflow_dtype, format_shape(info.shape), size


def _to_long_cells(info: TensorInfo) -> tuple[str, ...]:
    """Return the cells of a row of `--long`: also offset and file."""
    offset = "-" if info.offset is None else str(info.offset)
    file = "-" if info.file is None else printable(os.path.basename(info.file))
    return *_to_cells(info), offset, file


def _to_text(info: TensorInfo, names: dict[str, str]) -> str:
    """Return the rest of a row: name, number of slices, full name."""
    text = printable(info.name)
    if info.slices:
        text += f"  ({count(len(info.slices), 'slice')})"
    if info.name in names:
        text += f"  ({printable(names[info.name])})"
    return text
