"""Show the tree of objects, or of name scopes, with the size of each.

For an object-based checkpoint (TensorFlow 2, Keras), shows the objects that have tensors.  An
object with several paths is listed once, under its layer path; "= PATH" marks its other paths.
Slot variables count as part of their optimizer.  For any other checkpoint, shows the scopes of its
names.  For other files of weights, the scopes come in the order of the file.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator

from ckptparse.commands.arguments import add_json, add_path, open_path, read_full_names_of
from ckptparse.commands.output import align, print_json
from ckptparse.display.text import format_nbytes, format_shape, printable
from ckptparse.formats.containers import CONTAINERS
from ckptparse.tensors.outline import OutlineRow
from ckptparse.weights.scopes import ScopeTree

NAME = "tree"

_WIDEST_INDENT = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_path(parser)
    parser.add_argument("--depth", metavar="N", type=_depth, help="show at most N levels")
    add_json(parser)


def _depth(text: str) -> int:
    """Return a number of levels; argparse reports the error of a wrong one."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a number of levels, not {text!r}")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Show the tree."""
    with open_path(arguments) as ckpt:
        infos, graph, names = ckpt.infos(), ckpt.object_graph, read_full_names_of(ckpt)
        rows: Iterable[OutlineRow]
        if graph is None:
            rows = ScopeTree(infos, in_file_order=ckpt.format in CONTAINERS)
        else:
            rows = graph.outline({info.name: info for info in infos})
        if arguments.depth is not None:
            rows = [row for row in rows if row.depth <= arguments.depth]
        if arguments.json:
            kind = "scopes" if graph is None else "objects"
            print_json(
                {
                    "path": ckpt.path,
                    "format": ckpt.format,
                    "kind": kind,
                    "tree": _to_json(rows, names),
                }
            )
        else:
            for line in align(rows, _to_cells, lambda row: _to_text(row, names), right=[0, 1]):
                print(line)
    return 0


def _to_cells(row: OutlineRow) -> tuple[str, str]:
    """Return the cells of a row: size and number of tensors."""
    if row.same_as is not None:
        return "", ""
    is_tensor = row.info is not None and row.num_tensors == 1
    return format_nbytes(row.nbytes), "" if is_tensor else f"{row.num_tensors:,}"


def _to_text(row: OutlineRow, names: dict[str, str]) -> str:
    """Return the rest of a row: indented name, then dtype and shape, or the path of an alias."""
    text = " " * min(2 * row.depth, _WIDEST_INDENT) + (printable(row.name) if row.depth else ".")
    if row.same_as is not None:
        return f"{text}  = {printable(row.same_as) or 'the whole'}"
    if row.info is not None:
        text += f"  {row.info.tensorflow_dtype} {format_shape(row.info.shape)}"
        full_name = names.get(row.info.name, row.name)
        if full_name != row.name:
            text += f"  ({printable(full_name)})"
    if row.saver is not None:
        text += f"  (saved by {printable(row.saver)})"
    return text


def _to_json(rows: Iterable[OutlineRow], names: dict[str, str]) -> Iterator[dict[str, object]]:
    """Return an iterator over the JSON objects of the rows."""
    return (
        {
            "depth": row.depth,
            "path": row.path,
            "num_tensors": row.num_tensors,
            "nbytes": row.nbytes,
            "tensor": row.info and row.info.name,
            "full_name": row.info and names.get(row.info.name),
            "dtype": row.info and row.info.tensorflow_dtype,
            "shape": row.info and row.info.shape,
            "same_as": row.same_as,
            "saver": row.saver,
        }
        for row in rows
    )
