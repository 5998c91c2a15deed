"""Scan the nodes of a GraphDef, one at a time.

::

    GraphDef       node*, library, versions
    library        function*
    function       node*

A graph can have hundreds of megabytes, mostly constants.  Therefore it is not parsed as a whole:
each node is parsed by itself and then dropped, and attributes of large nodes are skipped.

Source: tensorflow/core/framework/{graph,node_def,function}.proto.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ckptparse.messages.pool import load, parse
from ckptparse.messages.wire import Field, iterate_fields
from ckptparse.metagraph.decode import decode_dtype, decode_partial_shape, iterate_messages
from ckptparse.metagraph.graph import Shape
from ckptparse.tensors.names import decode_name

VARIABLE_OPS = frozenset({b"Variable", b"VariableV2", b"VarHandleOp"})

_NODE, _LIBRARY, _VERSIONS = 1, 2, 4
_FUNCTION = 1
_NODE_OF_FUNCTION = 3
_ATTR = 5

_LARGE = 1 << 16
"""A node of this size in bytes or more is parsed without attributes.  Nodes of variables are far
smaller."""


@dataclass
class GraphFacts:
    """The result of scanning a GraphDef.

    Attributes:
        producer: version of the graph format.
        op_counts: operation -> number of nodes outside functions.
        function_op_counts: operation -> number of nodes in functions.
        num_functions: number of functions.
        variables: name of a variable's node -> dtype and shape.
        updates: (name, operation, inputs) of the nodes that change variables.
    """

    producer: int = 0
    op_counts: dict[str, int] = field(default_factory=dict)
    function_op_counts: dict[str, int] = field(default_factory=dict)
    num_functions: int = 0
    variables: dict[str, tuple[str | None, Shape]] = field(default_factory=dict)
    updates: list[tuple[str, str, tuple[str, ...]]] = field(default_factory=list)


def scan_graph(buffer: memoryview, graphs: list[Field]) -> GraphFacts:
    """Scan the GraphDef in a buffer.

    Args:
        buffer: the contents of the file.
        graphs: the fields with the GraphDef; protocol buffers allow several, which are merged.

    Raises:
        CorruptCheckpointError: the bytes are not a valid GraphDef.
    """
    classes = load("meta_graph.proto")
    facts = GraphFacts()
    ops: Counter[bytes] = Counter()
    function_ops: Counter[bytes] = Counter()
    for graph in graphs:
        for part in iterate_messages(buffer, graph.start, graph.stop):
            if part.number == _NODE:
                node = _parse_node(buffer, part, classes["NodeDef"])
                ops[node.op] += 1
                _add_variable_or_update(node, facts)
            elif part.number == _LIBRARY:
                for nodes in _functions(buffer, part):
                    facts.num_functions += 1
                    for field_of_node in nodes:
                        node = _parse_node(buffer, field_of_node, classes["NodeDef"])
                        function_ops[node.op] += 1
            elif part.number == _VERSIONS:
                versions = parse(classes["VersionDef"], buffer[part.start : part.stop])
                facts.producer = versions.producer
    facts.op_counts = {decode_name(op): number for op, number in ops.items()}
    facts.function_op_counts = {decode_name(op): number for op, number in function_ops.items()}
    return facts


def _functions(buffer: memoryview, library: Field) -> Iterator[list[Field]]:
    """Yield the fields with the nodes of each function."""
    for function in iterate_messages(buffer, library.start, library.stop):
        if function.number == _FUNCTION:
            parts = iterate_messages(buffer, function.start, function.stop)
            yield [part for part in parts if part.number == _NODE_OF_FUNCTION]


def _parse_node(buffer: memoryview, node: Field, message_class: Any) -> Any:
    """Parse a node; a large one without its attributes."""
    if node.stop - node.start < _LARGE:
        return parse(message_class, buffer[node.start : node.stop])
    pos, kept = node.start, []
    for part in iterate_fields(buffer, node.start, node.stop):
        if part.number != _ATTR:
            kept.append(bytes(buffer[pos : part.stop]))
        pos = part.stop
    return parse(message_class, b"".join(kept))


def _add_variable_or_update(node: Any, facts: GraphFacts) -> None:
    """Add a node to the facts, if it is a variable or changes one."""
    op = node.op
    if op in VARIABLE_OPS:
        attributes = {entry.key: entry.value for entry in node.attr}
        dtype, shape = attributes.get(b"dtype"), attributes.get(b"shape")
        facts.variables[decode_name(node.name)] = (
            None if dtype is None else decode_dtype(dtype.type),
            None if shape is None else decode_partial_shape(shape.shape),
        )
    elif b"Apply" in op or op.startswith(b"Assign"):
        inputs = tuple(map(decode_name, node.input))
        facts.updates.append((decode_name(node.name), decode_name(op), inputs))
