"""Parse `.meta` files, `saved_model.pb` files and GraphDefs.

::

    .meta             MetaGraphDef
    frozen graphs     GraphDef
    saved_model.pb    SavedModel: schema version, MetaGraphDef*
    MetaGraphDef      1 meta info (tags, versions), 2 GraphDef, 3 SaverDef, 4 collections,
                      5 signatures, 7 SavedObjectGraph (TF2)

A SavedModel and a GraphDef can also be stored as text (``.pbtxt``).

Source: tensorflow/core/protobuf/{meta_graph,saved_model}.proto and
tensorflow/python/saved_model/loader_impl.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from ckptparse.errors import CheckpointNotFoundError, CorruptCheckpointError
from ckptparse.limits import max_path_letters
from ckptparse.messages.pool import load, parse
from ckptparse.messages.text_format import parse_text
from ckptparse.messages.wire import LENGTH_DELIMITED, Field, iterate_fields
from ckptparse.metagraph.decode import decode_dtype, decode_partial_shape, iterate_messages
from ckptparse.metagraph.graph import GraphVariable, MetaGraph, Saver, Signature, TensorSpec
from ckptparse.metagraph.nodes import scan_graph
from ckptparse.metagraph.variables import (
    VARIABLE_COLLECTIONS,
    list_graph_variables,
    list_object_variables,
)
from ckptparse.tensors.names import decode_name

_META_GRAPH = 2
_META_INFO, _GRAPH, _SAVER, _COLLECTION, _SIGNATURE, _OBJECTS = 1, 2, 3, 4, 5, 7

Parts = dict[int, list[Field]]
"""Field number of a MetaGraphDef -> its fields."""


def parse_meta_graph(buffer: bytes | memoryview) -> MetaGraph:
    """Parse the contents of a `.meta` file.

    Args:
        buffer: all bytes of the file.  With a memory map, constants in the graph are not read.

    Raises:
        CorruptCheckpointError: the bytes are not a valid MetaGraphDef.
    """
    view = memoryview(buffer)
    parts = _find_parts(view, 0, len(view))
    tags = _parse_info(view, parts)[0]
    return _parse_parts(view, parts, (tags,))


def parse_saved_model(
    buffer: bytes | memoryview, tags: Iterable[str] | None = None, *, text: bool = False
) -> MetaGraph:
    """Parse one graph of a `saved_model.pb` file.

    Args:
        buffer: all bytes of the file.  With a memory map, constants in the graph are not read.
        tags: all tags of the graph, in any order; None for the first graph.
        text: whether the file is a `saved_model.pbtxt`.

    Raises:
        CheckpointNotFoundError: no graph has exactly these tags.
        CorruptCheckpointError: the bytes are not a valid SavedModel.
    """
    view = _text_to_binary(buffer) if text else memoryview(buffer)
    graphs = [
        _find_parts(view, field.start, field.stop)
        for field in iterate_messages(view, 0, len(view))
        if field.number == _META_GRAPH
    ]
    all_tags = tuple(_parse_info(view, parts)[0] for parts in graphs)
    if tags is None and graphs:
        return _parse_parts(view, graphs[0], all_tags)
    wanted = {tags} if isinstance(tags, str) else set(tags or ())
    for parts, its_tags in zip(graphs, all_tags):
        if set(its_tags) == wanted:
            return _parse_parts(view, parts, all_tags)
    raise CheckpointNotFoundError(
        "no such graph in the SavedModel",
        expected="any graph" if tags is None else f"one with the tags {sorted(wanted)}",
        found="; ".join(map(str, map(list, all_tags))) or "none",
    )


def is_graph_def(buffer: bytes | memoryview, *, text: bool) -> bool:
    """Return whether the first field of a file is one of a GraphDef, not one of a SavedModel.

    Raises:
        CorruptCheckpointError: the first bytes are not a field.
    """
    if text:
        return _GRAPH_AS_TEXT.match(bytes(buffer[:_HEAD_NBYTES])) is not None
    first = next(iterate_fields(memoryview(buffer), 0, len(buffer)), None)
    return first is not None and first[:2] in _FIRST_OF_GRAPH


_GRAPH_AS_TEXT = re.compile(rb"\s*(?:#[^\n]*\n\s*)*(?:node|library|versions?)\s*[:{]")
_HEAD_NBYTES = 1 << 12
_FIRST_OF_GRAPH = {(1, LENGTH_DELIMITED), (4, LENGTH_DELIMITED)}


def parse_graph_def(buffer: bytes | memoryview, *, text: bool = False) -> MetaGraph:
    """Parse a GraphDef, such as a frozen graph; it has no tags, signatures and collections.

    Args:
        buffer: all bytes of the file.  With a memory map, constants in the graph are not read.
        text: whether the file is text.

    Raises:
        CorruptCheckpointError: the bytes are not a valid GraphDef.
    """
    view = _text_to_binary(buffer, "GraphDef") if text else memoryview(buffer)
    facts = scan_graph(view, [Field(0, LENGTH_DELIMITED, 0, len(view))])
    return MetaGraph(
        (),
        (),
        "",
        "",
        facts.producer,
        None,
        (),
        {},
        {},
        dict(sorted(facts.op_counts.items())),
        dict(sorted(facts.function_op_counts.items())),
        facts.num_functions,
    )


def _text_to_binary(buffer: bytes | memoryview, name: str = "SavedModel") -> memoryview:
    """Parse a message as text and return it serialized."""
    message = load("meta_graph.proto")[name]()
    parse_text(bytes(buffer), message, f"a {name}")
    return memoryview(message.SerializeToString())


def _find_parts(view: memoryview, start: int, stop: int) -> Parts:
    """Find the parts of a MetaGraphDef by field number."""
    parts: Parts = {}
    for field in iterate_messages(view, start, stop):
        parts.setdefault(field.number, []).append(field)
    return parts


def _join(view: memoryview, fields: list[Field]) -> bytes:
    """Return the bytes of a message; concatenating several fields merges them (protobuf)."""
    return b"".join(view[field.start : field.stop] for field in fields)


def _parse_info(view: memoryview, parts: Parts) -> tuple[tuple[str, ...], str, str]:
    """Return tags, TensorFlow version and git version."""
    message_class = load("meta_graph.proto")["MetaGraphDef.MetaInfoDef"]
    info = parse(message_class, _join(view, parts.get(_META_INFO, [])))
    return (
        tuple(map(decode_name, info.tags)),
        decode_name(info.tensorflow_version),
        decode_name(info.tensorflow_git_version),
    )


def _parse_parts(
    view: memoryview, parts: Parts, all_tags: tuple[tuple[str, ...], ...]
) -> MetaGraph:
    """Parse the parts of one MetaGraphDef."""
    classes = load("meta_graph.proto")
    collections: dict[str, Any] = {}
    sizes: dict[str, int] = {}
    for name, message in _iterate_entries(view, parts, _COLLECTION, "CollectionEntry"):
        sizes[name] = _count_items(message)
        if name in VARIABLE_COLLECTIONS:
            collections[name] = message
    signatures = {
        name: _decode_signature(message)
        for name, message in _iterate_entries(view, parts, _SIGNATURE, "SignatureEntry")
    }
    facts = scan_graph(view, parts.get(_GRAPH, []))
    tags, version, git_version = _parse_info(view, parts)
    objects = memoryview(_join(view, parts.get(_OBJECTS, [])))
    variables = list_object_variables(objects) or list_graph_variables(collections, facts)
    _require_short_names(variables, len(view))
    saver = parse(classes["SaverDef"], _join(view, parts[_SAVER])) if _SAVER in parts else None
    return MetaGraph(
        tags,
        all_tags,
        version,
        git_version,
        facts.producer,
        None if saver is None else Saver(saver.version, saver.sharded, saver.max_to_keep),
        variables,
        dict(sorted(sizes.items())),
        {name: signatures[name] for name in sorted(signatures)},
        dict(sorted(facts.op_counts.items())),
        dict(sorted(facts.function_op_counts.items())),
        facts.num_functions,
    )


def _iterate_entries(
    view: memoryview, parts: Parts, number: int, entry_class: str
) -> Iterator[tuple[str, Any]]:
    """Yield the entries of a map of a MetaGraphDef: keys and messages."""
    message_class = load("meta_graph.proto")[f"MetaGraphDef.{entry_class}"]
    for field in parts.get(number, ()):
        entry = parse(message_class, view[field.start : field.stop])
        yield decode_name(entry.key), entry.value


def _require_short_names(variables: Iterable[GraphVariable], nbytes: int) -> None:
    """Raise if the names in `GraphVariable.of` would be too long for the size of the file.

    TensorFlow stores the name of a variable in the name of each slot.  In a damaged or malicious
    file, a million slots could refer to one variable with a name of a megabyte.

    Raises:
        CorruptCheckpointError: the names are too long.
    """
    most = max_path_letters(nbytes)
    total = sum(len(variable.of or "") for variable in variables)
    if total > most:
        raise CorruptCheckpointError(
            "the names of the variables that slots belong to are too long",
            expected=f"names of at most {most} letters in all",
            found=total,
        )


def _count_items(collection: Any) -> int:
    """Return the number of items of a CollectionDef."""
    kind = collection.WhichOneof("kind")
    return 0 if kind is None else len(getattr(collection, kind).value)


def _decode_signature(message: Any) -> Signature:
    """Return the signature that a SignatureDef describes."""
    return Signature(
        decode_name(message.method_name),
        _decode_specs(message.inputs),
        _decode_specs(message.outputs),
    )


def _decode_specs(entries: Any) -> dict[str, TensorSpec]:
    """Return the inputs or outputs of a signature, sorted by name."""
    ordered = sorted(entries, key=lambda entry: entry.key)
    return {decode_name(entry.key): _decode_spec(entry.value) for entry in ordered}


def _decode_spec(message: Any) -> TensorSpec:
    """Return the tensor that a TensorInfo message describes."""
    return TensorSpec(
        decode_name(message.name) or None,
        decode_dtype(message.dtype),
        decode_partial_shape(message.tensor_shape),
    )
