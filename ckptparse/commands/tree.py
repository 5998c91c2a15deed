"""Show the tree of objects, or of scopes, with the size of each part.

Of an object-based checkpoint (TF2, Keras) the objects that have tensors.  What is there under
several paths stands under the one through the layers; elsewhere "= path" stands for it.  Slot
variables are counted as their optimizer's.  Of any other checkpoint the scopes of its names.
"""

from __future__ import annotations

import argparse
from array import array
from collections.abc import Iterable, Iterator, Sequence

from ckptparse.commands.arguments import add_json, add_path, open_path, read_full_names_of
from ckptparse.commands.text import align, print_json
from ckptparse.names import natural_key
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
        infos, graph, names = ckpt.infos(), ckpt.object_graph, read_full_names_of(ckpt)
        rows: Iterable[OutlineRow]
        if graph is None:
            rows = _Scopes(infos)
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


class _Scopes:
    """The tree of names, cut at their slashes; its rows are made each time that they are wanted.

    In order of names, whatever begins with the same scope and a slash stands together; only the
    tensor that has the scope for its name may stand further up.
    """

    def __init__(self, infos: Sequence[TensorInfo]) -> None:
        self._infos = infos
        names = self._names = [""]
        values = self._values = array("q", [-1])  # number of the info, of a scope that is a tensor
        parents = array("q", [-1])
        tensors: dict[str, int] = {}
        path: list[int] = []
        for number, info in enumerate(infos):
            parts = info.name.split("/", _DEEPEST_SCOPE)
            depth = stop = 0
            for scope, part in zip(path, parts):
                if names[scope] != part:
                    break
                depth += 1
                stop += len(part) + 1
            del path[depth:]
            for part in parts[depth:-1]:
                stop += len(part) + 1
                scope = tensors.get(info.name[: stop - 1], len(names))
                if scope == len(names):
                    names.append(part)
                    values.append(-1)
                    parents.append(path[-1] if path else 0)
                path.append(scope)
            tensors[info.name] = len(names)  # what is below it comes later
            parents.append(path[-1] if path else 0)
            path.append(len(names))
            names.append(parts[-1])
            values.append(number)
        self._add_up(parents)

    def _add_up(self, parents: array[int]) -> None:
        """Sizes and children, which come behind their parents."""
        none = bytes(parents.itemsize * len(parents))
        self._num_tensors, self._nbytes = array("q", none), [0] * len(parents)
        self._first_child, self._next_sibling = array("q", none), array("q", none)
        for scope in reversed(range(len(parents))):
            if self._values[scope] >= 0:
                self._num_tensors[scope] += 1
                self._nbytes[scope] += self._infos[self._values[scope]].nbytes
            if scope:
                parent = parents[scope]
                self._num_tensors[parent] += self._num_tensors[scope]
                self._nbytes[parent] += self._nbytes[scope]
                self._next_sibling[scope] = self._first_child[parent]
                self._first_child[parent] = scope

        self._sort_siblings()

    def _sort_siblings(self) -> None:
        """Put the children of each scope in the order of their names, numbers by value."""
        next_sibling = self._next_sibling
        for scope, child in enumerate(self._first_child):
            if not child or not next_sibling[child]:
                continue
            children = []
            while child:
                children.append(child)
                child = next_sibling[child]
            children.sort(key=lambda child: natural_key(self._names[child]))
            self._first_child[scope] = children[0]
            for child, sibling in zip(children, [*children[1:], 0]):
                next_sibling[child] = sibling

    def __iter__(self) -> Iterator[OutlineRow]:
        names, values, infos = self._names, self._values, self._infos
        next_sibling, first_child = self._next_sibling, self._first_child
        num_tensors, nbytes = self._num_tensors, self._nbytes
        pending = [(0, 0, "")]  # scope, depth, what is before its name in its path
        while pending:
            scope, depth, above = pending.pop()
            name, value = names[scope], values[scope]
            path = above + name
            info = infos[value] if value >= 0 else None
            yield OutlineRow(depth, name, path, num_tensors[scope], nbytes[scope], info)
            if sibling := next_sibling[scope]:
                pending.append((sibling, depth, above))
            if child := first_child[scope]:
                pending.append((child, depth + 1, f"{path}/" if depth else ""))


def _to_cells(row: OutlineRow) -> tuple[str, str]:
    """Size and number of tensors."""
    if row.same_as is not None:
        return "", ""
    is_tensor = row.info is not None and row.num_tensors == 1
    return format_nbytes(row.nbytes), "" if is_tensor else f"{row.num_tensors:,}"


def _to_text(row: OutlineRow, names: dict[str, str]) -> str:
    """The rest of a line."""
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
