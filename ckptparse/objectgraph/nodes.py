"""The objects of a checkpoint: a serialized TrackableObjectGraph, node by node.

::

    TrackableObjectGraph   nodes: an object's id is its place, 0 is the root
    node                   children: (node id, local name)
                           attributes: (name, full name, checkpoint key), one for each tensor or
                           group of tensors; a variable's is called VARIABLE_VALUE
                           slot variables: (id of a variable, slot name, id of the slot variable);
                           only optimizers have them, and they are nobody's children
                           registered saver, whether anything below has values

Source: tensorflow/core/protobuf/trackable_object_graph.proto and
tensorflow/python/checkpoint/{checkpoint,save_util}.py.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from ckptparse.errors import CorruptCheckpointError, located
from ckptparse.messages.pool import load, parse
from ckptparse.objectgraph.walk import Walk
from ckptparse.tensors.info import TensorInfo
from ckptparse.tensors.mapping import TensorMapping
from ckptparse.tensors.names import decode_name

KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
"""The name of the tensor, a scalar string, that holds the graph; checkpoints of TF1 have none."""

VARIABLE_VALUE = "VARIABLE_VALUE"
ROOT = 0

_CACHED = 1024


@dataclass(frozen=True, slots=True)
class RegisteredSaver:
    """The saver of an object that stores it under keys of its own, which no graph lists.

    Attributes:
        name: the saver.
        object_name: what it was told that the object is called.
    """

    name: str
    object_name: str


@dataclass(frozen=True, slots=True)
class ObjectAttribute:
    """A tensor of an object, or several under one key.

    Attributes:
        name: ``VARIABLE_VALUE``, ``py_state``, ``table`` ...
        full_name: the variable's name in its program, "" where it has none; need not be unique.
        checkpoint_key: its key in the checkpoint, or what its keys begin with.
    """

    name: str
    full_name: str
    checkpoint_key: str
    _nodes: NodeTable = field(repr=False, compare=False)

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of its tensors in the checkpoint.

        One, as a rule; of tables and iterators `checkpoint_key` is only how they begin
        (``…/table-keys``, ``…/table-values``); none where the checkpoint lacks them.
        """
        return self._nodes.names_of_key(self.checkpoint_key)

    @property
    def info(self) -> TensorInfo:
        """The metadata of its tensor.

        Raises:
            TensorNotFoundError: the checkpoint lacks it, or has it in several tensors (`keys`).
        """
        return self._nodes.tensors.info(self.checkpoint_key)

    @property
    def dtype(self) -> np.dtype[Any]:
        """As `info` has it."""
        return self.info.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """As `info` has it."""
        return self.info.shape


@dataclass(frozen=True, slots=True)
class SlotVariable:
    """A slot variable: a value that an optimizer keeps for a variable.

    Attributes:
        name: of the slot: ``m``, ``v``, ``momentum`` ...
        optimizer: the object that keeps it.
        original: the variable that it is kept for.
        variable: the variable that holds it.
    """

    name: str
    optimizer: ObjectNode
    original: ObjectNode
    variable: ObjectNode


@dataclass(frozen=True, slots=True, repr=False)
class ObjectNode:
    """An object of a checkpoint: a model, a layer, a list, an optimizer, a variable ...

    Attributes:
        node_id: its number in the graph; 0 is the root.
    """

    node_id: int
    _nodes: NodeTable

    @property
    def children(self) -> dict[str, ObjectNode]:
        """Local name -> object.  Those of lists are "0", "1" ..., those of dicts their keys."""
        ids = self._nodes.children(self.node_id)
        return {name: ObjectNode(child, self._nodes) for name, child in ids.items()}

    @property
    def path(self) -> str | None:
        """The first path from the root; None for what no path leads to (slot variables)."""
        walk = self._nodes.walk
        return walk.path(self.node_id) if self.node_id in walk else None

    @property
    def attributes(self) -> tuple[ObjectAttribute, ...]:
        """Its tensors."""
        return self._nodes.attributes(self.node_id)

    @property
    def variable(self) -> ObjectAttribute | None:
        """Its value, if it is a variable."""
        return self._nodes.variable(self.node_id)

    @property
    def slot_variables(self) -> tuple[SlotVariable, ...]:
        """The slot variables that it keeps, if it is an optimizer."""
        return tuple(self._nodes.slot_variables(self.node_id))

    @property
    def slots(self) -> tuple[SlotVariable, ...]:
        """The slot variables that optimizers keep for it, if it is a variable."""
        return tuple(self._nodes.slots_by_original.get(self.node_id, ()))

    @property
    def registered_saver(self) -> RegisteredSaver | None:
        """The registered saver of the object; None if TensorFlow saved it."""
        return self._nodes.registered_saver(self.node_id)

    @property
    def has_checkpoint_values(self) -> bool | None:
        """Whether it or an object below it has values; None before TensorFlow 2.10."""
        message = self._nodes.message(self.node_id)
        if not message.HasField("has_checkpoint_values"):
            return None
        return bool(message.has_checkpoint_values.value)

    def __repr__(self) -> str:
        return f"<ObjectNode {self.node_id}>"


class NodeTable:
    """The nodes of a graph, each decoded at its first use."""

    def __init__(self, serialized: bytes, tensors: TensorMapping) -> None:
        """
        Args:
            serialized: a TrackableObjectGraph.
            tensors: the checkpoint that its keys belong to.

        Raises:
            CorruptCheckpointError: it is none, or has no nodes.
        """
        message_class = load("trackable_object_graph.proto")["TrackableObjectGraph"]
        self._messages = parse(message_class, serialized).nodes
        self.nbytes = len(serialized)
        self.tensors = tensors
        if not self._messages:
            raise CorruptCheckpointError(
                "invalid object graph", expected="a root", found="no nodes"
            )
        self.children = lru_cache(_CACHED)(self._decode_children)
        self.names_of_key = lru_cache(_CACHED)(self._find_names)

    def __len__(self) -> int:
        return len(self._messages)

    def message(self, node_id: int) -> Any:
        """The TrackableObject of a node."""
        return self._messages[node_id]

    def _decode_children(self, node_id: int) -> Mapping[str, int]:
        """Local name -> node id."""
        children: dict[str, int] = {}
        for reference in self._messages[node_id].children:
            name = decode_name(reference.local_name)
            child = self._require_id(reference.node_id)
            if children.setdefault(name, child) != child:
                raise CorruptCheckpointError(
                    f"object {node_id} of the object graph",
                    tensor=KEY,
                    expected="one child of each name",
                    found=f"objects {children[name]} and {child} as {name!r}",
                )
        return children

    def _require_id(self, node_id: int) -> int:
        if not 0 <= node_id < len(self._messages):
            raise CorruptCheckpointError(
                "invalid object graph",
                tensor=KEY,
                expected=f"ids from 0 to {len(self) - 1}",
                found=node_id,
            )
        return node_id

    def attributes(self, node_id: int) -> tuple[ObjectAttribute, ...]:
        """The tensors of a node."""
        return tuple(map(self._decode_attribute, self._messages[node_id].attributes))

    def variable(self, node_id: int) -> ObjectAttribute | None:
        """The value of a node that is a variable, None for others."""
        for attribute in self._messages[node_id].attributes:
            if attribute.name == VARIABLE_VALUE.encode():
                return self._decode_attribute(attribute)
        return None

    def _decode_attribute(self, message: Any) -> ObjectAttribute:
        return ObjectAttribute(
            decode_name(message.name),
            decode_name(message.full_name),
            decode_name(message.checkpoint_key),
            self,
        )

    def registered_saver(self, node_id: int) -> RegisteredSaver | None:
        """Return the registered saver of a node; None if TensorFlow saved it."""
        message = self._messages[node_id]
        if not message.HasField("registered_saver"):
            return None
        saver = message.registered_saver
        return RegisteredSaver(decode_name(saver.name), decode_name(saver.object_name))

    def slot_variables(self, node_id: int) -> Iterator[SlotVariable]:
        """Yield the slot variables that a node keeps."""
        for reference in self._messages[node_id].slot_variables:
            original = self._require_id(reference.original_variable_node_id)
            slot_variable = self._require_id(reference.slot_variable_node_id)
            yield SlotVariable(
                decode_name(reference.slot_name),
                ObjectNode(node_id, self),
                ObjectNode(original, self),
                ObjectNode(slot_variable, self),
            )

    @cached_property
    def slots_by_original(self) -> dict[int, list[SlotVariable]]:
        """Node id of a variable -> its slots."""
        slots: dict[int, list[SlotVariable]] = {}
        for node_id in range(len(self)):
            for slot in self.slot_variables(node_id):
                slots.setdefault(slot.original.node_id, []).append(slot)
        return slots

    @cached_property
    def walk(self) -> Walk:
        """From the root to all that it leads to."""
        return Walk(ROOT, self.children)

    def require_short_paths(self, walk: Walk, node_ids: Iterable[int]) -> None:
        """`Walk.require_short_paths`, for this graph."""
        with located(tensor=KEY):
            walk.require_short_paths(node_ids, self.nbytes)

    def _find_names(self, key: str) -> tuple[str, ...]:
        """The names of the tensors that an attribute's key stands for."""
        if not key or key in self.tensors:
            return (key,) if key else ()
        names = self._sorted_names
        start = stop = bisect_left(names, key)
        while stop < len(names) and names[stop].startswith(key):
            stop += 1
        return tuple(names[start:stop])

    @cached_property
    def _sorted_names(self) -> list[str]:
        return sorted(self.tensors)
