"""The objects of a checkpoint, decoded from the nodes of a serialized TrackableObjectGraph.

::

    TrackableObjectGraph   nodes; the id of an object is its index, 0 is the root
    node                   children: (node id, local name)
                           attributes: (name, full name, checkpoint key), one for each tensor or
                           group of tensors; the attribute of a variable is VARIABLE_VALUE
                           slot variables: (id of a variable, slot name, id of the slot variable);
                           only optimizers have them, and no object has them as children
                           registered saver
                           has checkpoint values: whether it or an object below it has values

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
from ckptparse.tensors.names import OBJECT_GRAPH, decode_name

KEY = OBJECT_GRAPH
"""The name of the scalar string tensor with the graph; checkpoints of TF1 do not have it."""

VARIABLE_VALUE = "VARIABLE_VALUE"
ROOT = 0

_CACHED = 1024
"""Number of nodes whose children are cached, and of keys whose names are."""


@dataclass(frozen=True, slots=True)
class RegisteredSaver:
    """The registered saver of an object: a function of a program that saves the object's tensors.

    The saver chooses the keys of the tensors, and the object graph does not list them.  Programs
    register a saver with ``register_tf_checkpoint_saver`` of
    tensorflow/python/saved_model/registration.

    Attributes:
        name: name of the saver.
        object_name: name of the object for the saver.

    Examples:
        >>> from ckptparse import open_checkpoint
        >>> ckpt = open_checkpoint("fixtures/tf-2.21.0/tables_and_state/model.ckpt")
        >>> ckpt.object_graph.node("registered").registered_saver
        RegisteredSaver(name='tf.stateful', object_name='registered')
    """

    name: str
    object_name: str


@dataclass(frozen=True, slots=True)
class ObjectAttribute:
    """A tensor of an object, or a group of tensors whose keys have a common prefix.

    Attributes:
        name: name of the attribute: ``VARIABLE_VALUE``, ``py_state``, ``table``.
        full_name: the variable's name in the program that saved it; "" if it has none.  Several
            variables can have the same.
        checkpoint_key: key in the checkpoint, or the common prefix of the keys of a group.

    Examples:
        >>> from ckptparse import open_checkpoint
        >>> graph = open_checkpoint("fixtures/tf-2.13.1/keras_adam/model.ckpt").object_graph
        >>> variable = graph.node("model/layer_with_weights-0/kernel").variable
        >>> variable.full_name, variable.shape, str(variable.dtype)
        ('enc/kernel', (2, 3), 'float32')
        >>> variable.checkpoint_key
        'model/layer_with_weights-0/kernel/.ATTRIBUTES/VARIABLE_VALUE'
    """

    name: str
    full_name: str
    checkpoint_key: str
    _nodes: NodeTable = field(repr=False, compare=False)

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of its tensors in the checkpoint; () if the checkpoint has none of them.

        Usually this is one name, `checkpoint_key`.  A table has several names, which begin with
        `checkpoint_key`.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> ckpt = open_checkpoint("fixtures/tf-2.21.0/tables_and_state/model.ckpt")
            >>> ckpt.object_graph.node("table").attributes[0].keys
            ('table/.ATTRIBUTES/table-keys', 'table/.ATTRIBUTES/table-values')
        """
        return self._nodes.names_of_key(self.checkpoint_key)

    @property
    def info(self) -> TensorInfo:
        """The metadata of its tensor.

        Raises:
            TensorNotFoundError: the checkpoint has no tensor with the name `checkpoint_key`; also
                for a group of tensors (see `keys`).

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> graph = open_checkpoint("fixtures/tf-2.13.1/backbone_head/model.ckpt").object_graph
            >>> variable = graph.node("head/0/kernel").variable
            >>> variable.info.nbytes
            96
        """
        return self._nodes.tensors.info(self.checkpoint_key)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The numpy dtype of its tensor; raises the same errors as `info`.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> graph = open_checkpoint("fixtures/tf-2.13.1/backbone_head/model.ckpt").object_graph
            >>> variable = graph.node("head/0/kernel").variable
            >>> variable.dtype
            dtype('float32')
        """
        return self.info.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of its tensor, () for a scalar; raises the same errors as `info`.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> graph = open_checkpoint("fixtures/tf-2.13.1/backbone_head/model.ckpt").object_graph
            >>> variable = graph.node("head/0/kernel").variable
            >>> variable.shape
            (8, 3)
        """
        return self.info.shape


@dataclass(frozen=True, slots=True)
class SlotVariable:
    """A slot variable: a value that an optimizer keeps for a variable, such as a momentum.

    Optimizers of TensorFlow up to 2.10, and Keras's legacy optimizers later, have slot variables.

    Attributes:
        name: name of the slot: ``m``, ``v``, ``momentum``.
        optimizer: the optimizer.
        original: the variable that the slot belongs to.
        variable: the slot variable itself.

    Examples:
        >>> from ckptparse import open_checkpoint
        >>> graph = open_checkpoint("fixtures/tf-2.4.4/keras_adam/model.ckpt").object_graph
        >>> slot = graph.node("optimizer").slot_variables[0]
        >>> slot.name, slot.original.path
        ('m', 'model/layer_with_weights-0/kernel')
    """

    name: str
    optimizer: ObjectNode
    original: ObjectNode
    variable: ObjectNode


@dataclass(frozen=True, slots=True, repr=False)
class ObjectNode:
    """An object of a checkpoint: a model, a layer, a list, an optimizer, a variable.

    Attributes:
        node_id: its id, which is its index in the graph; 0 is the root.

    Examples:
        >>> from ckptparse import open_checkpoint
        >>> graph = open_checkpoint("fixtures/tf-2.13.1/backbone_head/model.ckpt").object_graph
        >>> list(graph.root.children)
        ['backbone', 'head', 'optimizer']
        >>> graph.root.children["head"].children["0"].children["kernel"].path
        'head/0/kernel'
    """

    node_id: int
    _nodes: NodeTable

    @property
    def children(self) -> dict[str, ObjectNode]:
        """A dict from local names, not escaped, to its children.

        The local name of a child is the name of the attribute that holds it; for an item of a list,
        its index ("0"); for an entry of a dictionary, its key.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> graph = open_checkpoint("fixtures/tf-2.13.1/backbone_head/model.ckpt").object_graph
            >>> graph.node("head").children
            {'0': <ObjectNode 7>, '1': <ObjectNode 8>}
        """
        ids = self._nodes.children(self.node_id)
        return {name: ObjectNode(child, self._nodes) for name, child in ids.items()}

    @property
    def path(self) -> str | None:
        """The shortest path from the root; None if no path leads to it, as for slot variables.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> graph = open_checkpoint("fixtures/tf-2.13.1/backbone_head/model.ckpt").object_graph
            >>> graph.node("backbone/layer-0").path
            'backbone/layer_with_weights-0'
        """
        walk = self._nodes.walk
        return walk.path(self.node_id) if self.node_id in walk else None

    @property
    def attributes(self) -> tuple[ObjectAttribute, ...]:
        """All its tensors, and groups of tensors.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> graph = open_checkpoint("fixtures/tf-2.13.1/backbone_head/model.ckpt").object_graph
            >>> [attribute.name for attribute in graph.node("head/0/kernel").attributes]
            ['VARIABLE_VALUE']
            >>> graph.root.attributes
            ()
        """
        return self._nodes.attributes(self.node_id)

    @property
    def variable(self) -> ObjectAttribute | None:
        """Its value, if it is a variable; otherwise None.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> graph = open_checkpoint("fixtures/tf-2.13.1/backbone_head/model.ckpt").object_graph
            >>> graph.node("head/0/kernel").variable.full_name
            'kernel'
            >>> graph.node("head").variable is None
            True
        """
        return self._nodes.variable(self.node_id)

    @property
    def slot_variables(self) -> tuple[SlotVariable, ...]:
        """The slot variables that it keeps, if it is an optimizer; otherwise ().

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> graph = open_checkpoint("fixtures/tf-2.4.4/keras_adam/model.ckpt").object_graph
            >>> slot = graph.node("optimizer").slot_variables[0]
            >>> slot.name, slot.original.path
            ('m', 'model/layer_with_weights-0/kernel')
        """
        return tuple(self._nodes.slot_variables(self.node_id))

    @property
    def slots(self) -> tuple[SlotVariable, ...]:
        """The slot variables that optimizers keep for it, if it is a variable; otherwise ().

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> graph = open_checkpoint("fixtures/tf-2.4.4/keras_adam/model.ckpt").object_graph
            >>> kernel = graph.node("model/layer_with_weights-0/kernel")
            >>> [slot.name for slot in kernel.slots]
            ['m', 'v']
        """
        return tuple(self._nodes.slots_by_original.get(self.node_id, ()))

    @property
    def registered_saver(self) -> RegisteredSaver | None:
        """The registered saver of the object; None if it has none.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> ckpt = open_checkpoint("fixtures/tf-2.21.0/tables_and_state/model.ckpt")
            >>> ckpt.object_graph.node("registered").registered_saver.name
            'tf.stateful'
        """
        return self._nodes.registered_saver(self.node_id)

    @property
    def has_checkpoint_values(self) -> bool | None:
        """Whether it or an object below it has values; None if TensorFlow did not store that.

        TensorFlow 2.7.4 does not store it, 2.10.1 does.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> graph = open_checkpoint("fixtures/tf-2.13.1/backbone_head/model.ckpt").object_graph
            >>> graph.node("head").has_checkpoint_values
            True
        """
        message = self._nodes.message(self.node_id)
        if not message.HasField("has_checkpoint_values"):
            return None
        return bool(message.has_checkpoint_values.value)

    def __repr__(self) -> str:
        return f"<ObjectNode {self.node_id}>"


def parse_graph(serialized: bytes) -> Any:
    """Return the TrackableObjectGraph that bytes encode; it has a root.

    Raises:
        CorruptCheckpointError: `serialized` is not such a message, or has no nodes.
    """
    graph = parse(load("trackable_object_graph.proto")["TrackableObjectGraph"], serialized)
    if not graph.nodes:
        raise CorruptCheckpointError("invalid object graph", expected="a root", found="no nodes")
    return graph


def require_id(node_id: int, num_nodes: int) -> int:
    """Return a node id, if it is one.

    Args:
        node_id: an id in a graph.
        num_nodes: the number of nodes of that graph.

    Raises:
        CorruptCheckpointError: no node has this id.
    """
    if not 0 <= node_id < num_nodes:
        raise CorruptCheckpointError(
            "invalid object graph",
            tensor=KEY,
            expected=f"ids from 0 to {num_nodes - 1}",
            found=node_id,
        )
    return node_id


class NodeTable:
    """The nodes of a graph; each is decoded when it is used."""

    def __init__(self, serialized: bytes, tensors: TensorMapping) -> None:
        """
        Args:
            serialized: a serialized TrackableObjectGraph.
            tensors: the checkpoint with the keys of the graph.

        Raises:
            CorruptCheckpointError: `serialized` is not such a message, or has no nodes.
        """
        self._messages = parse_graph(serialized).nodes
        self.nbytes = len(serialized)
        self.tensors = tensors
        self.children = lru_cache(_CACHED)(self._decode_children)
        self.names_of_key = lru_cache(_CACHED)(self._find_names)

    def __len__(self) -> int:
        return len(self._messages)

    def message(self, node_id: int) -> Any:
        """Return the TrackableObject of a node."""
        return self._messages[node_id]

    def _decode_children(self, node_id: int) -> Mapping[str, int]:
        """Return the children of a node: local name -> node id."""
        children: dict[str, int] = {}
        for reference in self._messages[node_id].children:
            name = decode_name(reference.local_name)
            child = require_id(reference.node_id, len(self))
            if children.setdefault(name, child) != child:
                raise CorruptCheckpointError(
                    f"object {node_id} of the object graph",
                    tensor=KEY,
                    expected="one child of each name",
                    found=f"objects {children[name]} and {child} as {name!r}",
                )
        return children

    def attributes(self, node_id: int) -> tuple[ObjectAttribute, ...]:
        """Return the tensors of a node."""
        return tuple(map(self._decode_attribute, self._messages[node_id].attributes))

    def variable(self, node_id: int) -> ObjectAttribute | None:
        """Return the value of a node that is a variable, None for other nodes."""
        for attribute in self._messages[node_id].attributes:
            if attribute.name == VARIABLE_VALUE.encode():
                return self._decode_attribute(attribute)
        return None

    def _decode_attribute(self, message: Any) -> ObjectAttribute:
        """Return the attribute that a SerializedTensor describes."""
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
        """Yield the slot variables of a node that is an optimizer."""
        for reference in self._messages[node_id].slot_variables:
            original = require_id(reference.original_variable_node_id, len(self))
            slot_variable = require_id(reference.slot_variable_node_id, len(self))
            yield SlotVariable(
                decode_name(reference.slot_name),
                ObjectNode(node_id, self),
                ObjectNode(original, self),
                ObjectNode(slot_variable, self),
            )

    @cached_property
    def slots_by_original(self) -> dict[int, list[SlotVariable]]:
        """Node id of a variable -> its slot variables."""
        slots: dict[int, list[SlotVariable]] = {}
        for node_id in range(len(self)):
            for slot in self.slot_variables(node_id):
                slots.setdefault(slot.original.node_id, []).append(slot)
        return slots

    @cached_property
    def walk(self) -> Walk:
        """The walk from the root to all objects that can be reached from it."""
        return Walk(ROOT, self.children)

    def require_short_paths(self, walk: Walk, node_ids: Iterable[int]) -> None:
        """Call `Walk.require_short_paths` with the size of this graph."""
        with located(tensor=KEY):
            walk.require_short_paths(node_ids, self.nbytes)

    def _find_names(self, key: str) -> tuple[str, ...]:
        """Return the names of an attribute's tensors: its key, or all names that begin with it."""
        if not key or key in self.tensors:
            return (key,) if key else ()
        names = self._sorted_names
        start = stop = bisect_left(names, key)
        while stop < len(names) and names[stop].startswith(key):
            stop += 1
        return tuple(names[start:stop])

    @cached_property
    def _sorted_names(self) -> list[str]:
        """The names of the checkpoint, sorted."""
        return sorted(self.tensors)
