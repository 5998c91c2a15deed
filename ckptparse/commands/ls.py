"""List the tensors: dtype, shape, size, name.

Partitioned tensors are marked with the number of their slices.
"""

from __future__ import annotations

import argparse
from fnmatch import fnmatchcase

from ckptparse.commands.arguments import add_json, add_path, open_path
from ckptparse.commands.text import align, info_to_json, print_json
from ckptparse.tensors import TensorInfo
from ckptparse.text import count, format_nbytes, format_shape, printable

NAME = "ls"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of this command."""
    add_path(parser)
    parser.add_argument(
        "patterns", metavar="PATTERN", nargs="*", help="only names like this: 'vgg_16/conv*'"
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """List; 1 when patterns are given and no name is like them."""
    with open_path(arguments) as ckpt:
        infos = [info for info in ckpt.infos() if _is_like(info.name, arguments.patterns)]
        size, nbytes = sum(info.size for info in infos), sum(info.nbytes for info in infos)
        if arguments.json:
            print_json(
                {
                    "path": ckpt.path,
                    "format": ckpt.format,
                    "num_tensors": len(infos),
                    "size": size,
                    "nbytes": nbytes,
                    "tensors": map(info_to_json, infos),
                }
            )
        else:
            for line in align(infos, _to_cells, _to_text, right=[2]):
                print(line)
            print(
                f"{count(len(infos), 'tensor')}, {count(size, 'element')}, {format_nbytes(nbytes)}"
            )
    return 1 if arguments.patterns and not infos else 0


def _is_like(name: str, patterns: list[str]) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def _to_cells(info: TensorInfo) -> tuple[str, str, str]:
    size = _UNKNOWN if info.size and not info.nbytes else format_nbytes(info.nbytes)
    return info.tensorflow_dtype, format_shape(info.shape), size


def _to_text(info: TensorInfo) -> str:
    note = f"  ({count(len(info.slices), 'slice')})" if info.slices else ""
    return printable(info.name) + note


_UNKNOWN = "?"
"""The size of strings of V1."""
