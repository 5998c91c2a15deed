"""Show the tree of objects, or of scopes, with the size of each part.

Of an object-based checkpoint (TF2, Keras) the objects that have tensors.  What is there under
several paths stands under the one through the layers; elsewhere "= path" stands for it.  Slot
variables are counted as their optimizer's.  Of any other checkpoint the scopes of its names.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator

from ckptparse.commands.arguments import add_json, add_path, open_path
from ckptparse.commands.text import align, print_json
from ckptparse.objectgraph import OutlineRow
from ckptparse.tensors import TensorInfo
from ckptparse.text import format_nbytes, format_shape, printable

NAME = "tree"

_DEEPEST_SCOPE = 100
"""Scopes below are not taken apart: a name can consist of slashes alone."""

_WIDEST_INDENT = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of this command."""
    add_path(parser)
    parser.add_argument("--depth", metavar="N", type=int, help="show no more than N levels")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Show."""
    with open_path(arguments) as ckpt:
        infos, graph = ckpt.infos(), ckpt.object_graph
        if graph is None:
            rows = _scopes(infos)
        else:
            rows = graph.outline({info.name: info for info in infos})
        if arguments.depth is not None:
            rows = [row for row in rows if row.depth <= arguments.depth]
        if arguments.json:
            kind = "scopes" if graph is None else "objects"
            print_json(
                {"path": ckpt.path, "format": ckpt.format, "kind": kind, "tree": _to_json(rows)}
            )
        else:
            for line in align([_to_cells(row) for row in rows], right=[0, 1]):
                print(line)
    return 0


def _scopes(infos: Iterable[TensorInfo]) -> list[OutlineRow]:
    """The tree of names, cut at their slashes."""
    names, parents, values = [""], [-1], {}
    known: dict[tuple[int, str], int] = {}
    for info in infos:
        scope = 0
        for part in info.name.split("/", _DEEPEST_SCOPE):
            found = known.setdefault((scope, part), len(names))
            if found == len(names):
                names.append(part)
                parents.append(scope)
            scope = found
        values[scope] = info
    num_tensors, nbytes = [0] * len(names), [0] * len(names)
    children: list[list[int]] = [[] for _ in names]
    for scope in reversed(range(len(names))):
        if scope in values:
            num_tensors[scope] += 1
            nbytes[scope] += values[scope].nbytes
        if scope:
            num_tensors[parents[scope]] += num_tensors[scope]
            nbytes[parents[scope]] += nbytes[scope]
            children[parents[scope]].append(scope)  # the last one first
    rows = []
    pending = [(0, 0, "")]
    while pending:
        scope, depth, path = pending.pop()
        rows.append(
            OutlineRow(
                depth, names[scope], path, num_tensors[scope], nbytes[scope], values.get(scope)
            )
        )
        for child in children[scope]:
            below = names[child] if not depth else f"{path}/{names[child]}"
            pending.append((child, depth + 1, below))
    return rows


def _to_cells(row: OutlineRow) -> tuple[str, str, str]:
    """Size, number of tensors, and the rest of a line."""
    text = " " * min(2 * row.depth, _WIDEST_INDENT) + (printable(row.name) if row.depth else ".")
    if row.same_as is not None:
        return "", "", f"{text}  = {printable(row.same_as) or 'the whole'}"
    if row.info is not None:
        text += f"  {row.info.tensorflow_dtype} {format_shape(row.info.shape)}"
    if row.saver is not None:
        text += f"  (saved by {printable(row.saver)})"
    is_tensor = row.info is not None and row.num_tensors == 1
    return format_nbytes(row.nbytes), "" if is_tensor else f"{row.num_tensors:,}", text


def _to_json(rows: Iterable[OutlineRow]) -> Iterator[dict[str, object]]:
    return (
        {
            "depth": row.depth,
            "path": row.path,
            "num_tensors": row.num_tensors,
            "nbytes": row.nbytes,
            "tensor": row.info and row.info.name,
            "dtype": row.info and row.info.tensorflow_dtype,
            "shape": row.info and row.info.shape,
            "same_as": row.same_as,
            "saver": row.saver,
        }
        for row in rows
    )
