"""Show the graph of a .meta file, a SavedModel or a frozen graph, or the layers of a Keras file.

Prints the version of TensorFlow that wrote it, its variables (trained or not, moving averages,
slots of optimizers), collections, signatures and operations.  Of a file of Keras, prints what it
says of itself: versions, layers, optimizer; of a .safetensors file, its metadata.
"""

from __future__ import annotations

import argparse
import os
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from ckptparse.commands.arguments import add_json, add_path, open_path
from ckptparse.commands.output import align, print_json
from ckptparse.display.text import count, format_shape, printable
from ckptparse.errors import CheckpointNotFoundError
from ckptparse.formats.containers import CONTAINERS
from ckptparse.metagraph import GraphVariable, MetaGraph, TensorSpec
from ckptparse.opening import read_graph

NAME = "graph"

_WIDTH = 80
_HARD_BLANK = "\N{NO-BREAK SPACE}"  # `textwrap` does not break lines at it
_SAVERS = {0: "from before V2", 1: "V1", 2: "V2"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_path(parser)
    parser.add_argument(
        "--tags",
        metavar="TAG,...",
        help="tags of the graph to show, if a SavedModel has several (default: the first graph)",
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Show the graph, or what another file says of itself."""
    tags = None if arguments.tags is None else list(filter(None, arguments.tags.split(",")))
    try:
        path, graph = read_graph(arguments.path, tags, confined=arguments.confined)
    except CheckpointNotFoundError:
        described = _read_metadata(arguments)
        if described is None:
            raise
        if arguments.json:
            print_json(described)
        else:
            _print_metadata(described)
        return 0
    if arguments.json:
        print_json(
            {"path": path, **{part.name: getattr(graph, part.name) for part in fields(graph)}}
        )
    else:
        _print(path, graph)
    return 0


def _read_metadata(arguments: argparse.Namespace) -> dict[str, Any] | None:
    """Return path, format and metadata of a container; None for a file that has graphs."""
    try:
        with open_path(arguments) as ckpt:
            if ckpt.format not in CONTAINERS or ckpt.format == "frozen-graph":  # it is a graph
                return None
            return {"path": ckpt.path, "format": ckpt.format, "metadata": dict(ckpt.metadata)}
    except CheckpointNotFoundError:
        return None


def _print_metadata(described: Mapping[str, Any]) -> None:
    """Print what a file says of itself as text."""
    print(printable(os.path.basename(described["path"])))
    metadata = dict(described["metadata"])
    layers = metadata.pop("layers", [])
    settings = metadata.pop("optimizer_settings", {})
    rows = [("format", described["format"])]
    rows += [(key.replace("_", " "), str(value)) for key, value in metadata.items()]
    _print_rows(rows)
    if not metadata and not layers:
        print("  The file has no metadata.")
    if settings:
        print("settings of the optimizer")
        _print_rows([(key, str(value)) for key, value in settings.items() if value is not None])
    if layers:
        print(count(_count_layers(layers), "layer"))
        _print_rows(list(_layer_rows(layers, 0)))


def _count_layers(layers: list[dict[str, Any]]) -> int:
    """Return the number of layers, with those of models inside of the model."""
    return sum(1 + _count_layers(layer["layers"]) for layer in layers)


def _layer_rows(layers: list[dict[str, Any]], depth: int) -> Iterator[tuple[str, ...]]:
    """Yield class and name of each layer; the layers of a layer are indented below it."""
    for layer in layers:
        yield "  " * depth + (layer["class_name"] or "?"), layer["name"]
        yield from _layer_rows(layer["layers"], depth + 1)


def _print(path: str, graph: MetaGraph) -> None:
    """Print a graph as text."""
    print(printable(os.path.basename(path)))
    git = f" ({graph.tensorflow_git_version})" if graph.tensorflow_git_version else ""
    rows: list[tuple[str, ...]] = []
    if graph.tensorflow_version:  # a GraphDef has none
        rows.append(("written by", f"TensorFlow {graph.tensorflow_version}{git}"))
    rows.append(("graph format", str(graph.graph_def_producer)))
    if graph.tags or len(graph.all_tags) > 1:
        rows.append(("tags", _join_tags(graph.tags)))
    rows += [("other graphs", _join_tags(t)) for t in graph.all_tags if t != graph.tags]
    if graph.saver is not None:
        version = _SAVERS.get(graph.saver.version, f"of version {graph.saver.version}")
        rows.append(("saver", version + (", sharded" if graph.saver.sharded else "")))
    _print_rows(rows)
    if graph.variables:
        averages, slots = len(graph.moving_averages), len(graph.slot_variables)
        more = f", {count(averages, 'moving average')}" if averages else ""
        more += f", {count(slots, 'slot')}" if slots else ""
        num_trained = len(graph.trainable_variables)
        print(f"{count(len(graph.variables), 'variable')}, {num_trained:,} trained{more}")
        _print_rows([_describe(variable) for variable in graph.variables])
    if graph.collections:
        print(count(len(graph.collections), "collection"))
        _print_rows([(f"{size:,}", name) for name, size in graph.collections.items()])
    for name, signature in graph.signatures.items():
        print(printable(f"signature {name}  {signature.method_name}".rstrip()))
        specs = [("in", *item) for item in signature.inputs.items()]
        specs += [("out", *item) for item in signature.outputs.items()]
        _print_rows([(way, key, _format(spec), spec.name or "") for way, key, spec in specs])
    _print_ops("graph", graph.op_counts)
    if graph.num_functions:
        _print_ops(count(graph.num_functions, "function"), graph.function_op_counts)


def _print_rows(rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows in aligned columns."""
    for line in align(rows, _to_cells, lambda row: printable(row[-1])):
        print(line)


def _to_cells(row: tuple[str, ...]) -> tuple[str, ...]:
    return "", *map(printable, row[:-1])


def _print_ops(where: str, op_counts: Mapping[str, int]) -> None:
    """Print operations with the number of their nodes, the most frequent first."""
    total = sum(op_counts.values())
    print(f"{where}: {count(total, 'node')}, {count(len(op_counts), 'operation')}")
    ordered = sorted(op_counts.items(), key=lambda item: (-item[1], item[0]))
    text = ", ".join(f"{printable(op)}{_HARD_BLANK}{number:,}" for op, number in ordered)
    for line in textwrap.wrap(text, _WIDTH, initial_indent="  ", subsequent_indent="  "):
        print(line.replace(_HARD_BLANK, " "))


def _join_tags(tags: tuple[str, ...]) -> str:
    return ",".join(tags) or "(none)"


def _describe(variable: GraphVariable) -> tuple[str, ...]:
    """Return the cells of a variable's row."""
    kind = variable.role or {True: "trained", False: "", None: "?"}[variable.trainable]
    dtype = (variable.dtype or "?") + _format_shape(variable.shape)
    part = variable.slice
    if part is None:
        return kind, dtype, variable.name
    box = ",".join(f"{start}:{start + size}" for start, size in zip(part.start, part.shape))
    return kind, dtype, f"{variable.name}  [{box}] of {format_shape(part.full_shape)}"


def _format(spec: TensorSpec) -> str:
    """Return the dtype and shape of an input or output."""
    return (spec.dtype or "nothing") + _format_shape(spec.shape)


def _format_shape(shape: tuple[int | None, ...] | None) -> str:
    """Return a shape without spaces, with ? for an unknown size; [...] for an unknown rank."""
    if shape is None:
        return "[...]"
    return f"[{','.join('?' if size is None else str(size) for size in shape)}]"
