"""List the variables of a graph: from its collections (TensorFlow 1) or objects (TensorFlow 2).

A collection of variables is a list of serialized VariableDefs.  Such a collection can be recognised
only by its name, because items of other collections (``cond_context``, ``savers``) can be parsed as
VariableDefs, too.

Source: tensorflow/core/framework/variable.proto, tensorflow/core/protobuf/saved_object_graph.proto
and the proto functions that tensorflow/python/ops/variables.py registers by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ckptparse.errors import CorruptCheckpointError
from ckptparse.messages.pool import load, parse
from ckptparse.metagraph.decode import decode_dtype, decode_partial_shape
from ckptparse.metagraph.graph import GraphVariable, SliceInfo
from ckptparse.metagraph.nodes import GraphFacts
from ckptparse.metagraph.roles import find_roles
from ckptparse.objectgraph.paths import escape_name
from ckptparse.objectgraph.walk import Walk
from ckptparse.tensors.names import ATTRIBUTES, OPTIMIZER_SLOT, decode_name

_TRAINABLE = "trainable_variables"
VARIABLE_COLLECTIONS = (
    "variables",
    _TRAINABLE,
    "moving_average_variables",
    "model_variables",
    "local_variables",
    "metric_variables",
    "global_step",
)
_VALUE = f"{ATTRIBUTES}VARIABLE_VALUE"


def list_graph_variables(
    collections: Mapping[str, Any], facts: GraphFacts
) -> tuple[GraphVariable, ...]:
    """Return the variables of a graph of TensorFlow 1.

    If no collection contains variables, return those of the graph's nodes.

    Args:
        collections: name -> CollectionDef.
        facts: the scanned graph.

    Raises:
        CorruptCheckpointError: an item of a collection of variables is not a valid VariableDef.
    """
    message_class = load("meta_graph.proto")["VariableDef"]
    definitions: dict[str, Any] = {}
    found_in: dict[str, list[str]] = {}
    for collection in VARIABLE_COLLECTIONS:
        if collection in collections:
            for item in collections[collection].bytes_list.value:
                definition = parse(message_class, item)
                name = decode_name(definition.variable_name).removesuffix(":0")
                definitions.setdefault(name, definition)
                found_in.setdefault(name, []).append(collection)
    if not definitions:
        definitions = dict.fromkeys(facts.variables)
    trainable = {name for name, places in found_in.items() if _TRAINABLE in places}
    trainable.update(name for name, item in definitions.items() if item and item.trainable)
    roles = find_roles(definitions, trainable, facts)
    variables = []
    for name, definition in definitions.items():
        part = None if definition is None else _decode_slice(definition)
        dtype, shape = facts.variables.get(name, (None, None))
        role, of = roles.get(name, (None, None))
        variables.append(
            GraphVariable(
                name,
                dtype,
                shape,
                # TensorFlow 1.4 does not write `trainable`, so False can also mean unknown.
                name in trainable if name in trainable or _TRAINABLE in collections else None,
                part.full_name if part else name,
                slice=part,
                collections=tuple(found_in.get(name, ())),
                role=role,
                of=of,
            )
        )
    return tuple(variables)


def _decode_slice(definition: Any) -> SliceInfo | None:
    """Return the part of a partitioned variable that a VariableDef describes, or None."""
    if not definition.HasField("save_slice_info_def"):
        return None
    message = definition.save_slice_info_def
    return SliceInfo(
        decode_name(message.full_name),
        tuple(message.full_shape),
        tuple(message.var_offset),
        tuple(message.var_shape),
    )


def list_object_variables(serialized: memoryview) -> tuple[GraphVariable, ...]:
    """Return the variables of a SavedModel of TensorFlow 2, in the order of their objects.

    Args:
        serialized: a serialized SavedObjectGraph; empty for a SavedModel of TensorFlow 1.

    Raises:
        CorruptCheckpointError: the bytes are not a valid SavedObjectGraph, or an id has no object.
    """
    nodes = parse(load("meta_graph.proto")["SavedObjectGraph"], serialized).nodes

    def require_id(node_id: int) -> int:
        if not 0 <= node_id < len(nodes):
            raise CorruptCheckpointError(
                "invalid object graph", expected=f"ids from 0 to {len(nodes) - 1}", found=node_id
            )
        return node_id

    def children(node_id: int) -> dict[str, int]:
        references = nodes[node_id].children
        return {decode_name(item.local_name): require_id(item.node_id) for item in references}

    if not nodes:
        return ()
    walk = Walk(0, children)
    slots = {}  # id of a slot variable -> ids of its variable and optimizer, name
    for node_id, node in enumerate(nodes):
        for slot in node.slot_variables:
            original = require_id(slot.original_variable_node_id)
            slot_variable = require_id(slot.slot_variable_node_id)
            if original in walk and node_id in walk:
                name = decode_name(slot.slot_name)
                slots[slot_variable] = original, node_id, name
    found = [i for i, node in enumerate(nodes) if node.HasField("variable")]
    wanted = [i for i in found if i in walk]
    wanted += [i for original, optimizer, _ in slots.values() for i in (original, optimizer)]
    walk.require_short_paths(wanted, len(serialized))
    originals = {original for original, _, _ in slots.values()}
    names = {i: decode_name(nodes[i].variable.name) for i in originals}
    variables = []
    for node_id in found:
        of = None
        if node_id in walk:
            path = walk.path(node_id)
        elif node_id in slots:
            original, optimizer, name = slots[node_id]
            path = walk.path(original) + OPTIMIZER_SLOT + walk.path(optimizer)
            path += f"/{escape_name(name)}"
            of = names[original]
        else:
            continue
        variable = nodes[node_id].variable
        variables.append(
            GraphVariable(
                decode_name(variable.name),
                decode_dtype(variable.dtype),
                decode_partial_shape(variable.shape),
                variable.trainable,
                path + _VALUE,
                role=None if of is None else "slot",
                of=of,
                node_id=node_id,
            )
        )
    return tuple(variables)
