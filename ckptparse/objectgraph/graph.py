"""The tree of objects that a TF2 checkpoint was made from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from ckptparse.errors import CorruptCheckpointError, TensorNotFoundError, located
from ckptparse.objectgraph.nodes import KEY, ROOT, NodeTable, ObjectNode
from ckptparse.objectgraph.outline import outline
from ckptparse.objectgraph.paths import ATTRIBUTES, OPTIMIZER_SLOT, escape_name, split_path
from ckptparse.objectgraph.variables import ObjectVariables
from ckptparse.objectgraph.walk import Walk
from ckptparse.objectgraph.weights import find_weights
from ckptparse.tensors.info import OutlineRow, TensorInfo
from ckptparse.tensors.mapping import TensorMapping


def read_object_graph(tensors: TensorMapping) -> ObjectGraph | None:
    """The object graph of a checkpoint; None where it has none, being of TF1 or name-based.

    Raises:
        CorruptCheckpointError: there is something else in its place.
        CheckpointError: whatever else reading it raises.
    """
    if KEY not in tensors:
        return None
    value = tensors.read(KEY)
    if value.shape != () or value.dtype != object:
        raise CorruptCheckpointError(
            "invalid object graph",
            tensor=KEY,
            expected="one string",
            found=f"{value.dtype} {value.shape}",
        )
    with located(tensor=KEY):
        return ObjectGraph(value.item(), tensors)


class ObjectGraph(ObjectVariables):
    """A mapping from the paths of objects to the arrays of their variables.

    A path is local names joined by ``/``, as in the checkpoint's keys but without
    ``/.ATTRIBUTES/VARIABLE_VALUE``: ``graph["model/layer_with_weights-0/kernel"]``.  In a name, a
    dot is written ``..`` and then a slash ``.S`` (`join_path` and `split_path` translate).

    Iteration gives every variable once, under its first path, shortest first; then the slot
    variables of optimizers, as ``variable path/.OPTIMIZER_SLOT/optimizer path/slot name``.  Looked
    up are also all other paths to them (of shared objects, through cycles), every key of the
    checkpoint that belongs to an object, and, of what is not a variable, its tensors:
    ``table/.ATTRIBUTES/table-keys``.
    """

    def __init__(self, serialized: bytes, tensors: TensorMapping) -> None:
        """
        Args:
            serialized: the element of the tensor `KEY`.
            tensors: the checkpoint that it was read from.

        Raises:
            CorruptCheckpointError: it is not an object graph.
        """
        super().__init__(self._list_all, tensors)
        self._nodes = NodeTable(serialized, tensors)

    # Objects

    @property
    def root(self) -> ObjectNode:
        """The object that was saved; its children are the arguments of ``tf.train.Checkpoint``."""
        return ObjectNode(ROOT, self._nodes)

    @property
    def num_nodes(self) -> int:
        """The number of objects; ids count from 0."""
        return len(self._nodes)

    def node(self, where: str | Sequence[str] | int) -> ObjectNode:
        """An object by its path, by its local names (not escaped), or by its id.

        Raises:
            TensorNotFoundError: no such object.
        """
        node_id: int | None
        if isinstance(where, int):
            node_id = where if 0 <= where < len(self._nodes) else None
        elif isinstance(where, str):
            node_id = self._find_object(where)
        else:
            node_id = self._follow(where)
        if node_id is None:
            raise TensorNotFoundError("no object there", tensor=str(where))
        return ObjectNode(node_id, self._nodes)

    def nodes(self) -> Iterator[ObjectNode]:
        """Yield all objects in the order of their ids."""
        return (ObjectNode(node_id, self._nodes) for node_id in range(len(self._nodes)))

    # Parts

    def subtree(self, where: str | Sequence[str]) -> ObjectVariables:
        """The variables of one object and of all below it, under paths that start from it.

        Shared objects count, wherever else they are.  A child that is the root is not entered (it
        would bring everything), and slot variables are nobody's children.

        Raises:
            TensorNotFoundError: no such object.
        """
        start = self.node(where).node_id

        def enter(node_id: int, name: str, child: int) -> bool:
            return child != ROOT

        def list_keys() -> dict[str, str]:
            walk = Walk(start, self._nodes.children, enter=enter)
            return self._keys_by_path(walk, walk.order)

        return ObjectVariables(list_keys, self._tensors)

    def model_weights(self, where: str | Sequence[str] = "") -> ObjectVariables:
        """The weights of the model, or of one object, without what only training needs.

        Left out are optimizers, metrics, counters, states of random numbers; the weights that a
        Keras 3 optimizer claims are listed where the model has them.  `ckptparse.objectgraph.
        weights` says how all these are told.

        Raises:
            TensorNotFoundError: no such object.
        """
        start = self.node(where).node_id
        return ObjectVariables(
            lambda: self._keys_by_path(*find_weights(self._nodes, start)), self._tensors
        )

    def outline(self, infos: Mapping[str, TensorInfo]) -> list[OutlineRow]:
        """The tree of objects with the size of each, every object once: `objectgraph.outline`.

        Args:
            infos: every tensor of the checkpoint, by name.
        """
        return outline(self._nodes, infos)

    # Names

    @cached_property
    def full_names(self) -> dict[str, str]:
        """Full name of a variable -> its key in the checkpoint.

        Names that several variables share ("Variable" is one) are not here, nor is "".
        """
        keys: dict[str, str | None] = {}
        for node_id in range(len(self._nodes)):
            variable = self._nodes.variable(node_id)
            if variable is not None and variable.full_name:
                taken = variable.full_name in keys
                keys[variable.full_name] = None if taken else variable.checkpoint_key
        return {name: key for name, key in keys.items() if key is not None}

    # Mapping

    def _list_all(self) -> dict[str, str]:
        walk = self._nodes.walk
        keys = self._keys_by_path(walk, walk.order)
        slots = [
            slot
            for of_variable in self._nodes.slots_by_original.values()
            for slot in of_variable
            if slot.variable.node_id not in walk
            and slot.original.node_id in walk
            and slot.optimizer.node_id in walk
        ]
        self._nodes.require_short_paths(walk, (slot.original.node_id for slot in slots))
        self._nodes.require_short_paths(walk, (slot.optimizer.node_id for slot in slots))
        for slot in slots:
            if slot.variable.variable is not None:
                path = f"{slot.original.path}{OPTIMIZER_SLOT}{slot.optimizer.path}"
                key = slot.variable.variable.checkpoint_key
                keys.setdefault(f"{path}/{escape_name(slot.name)}", key)
        return keys

    def _keys_by_path(self, walk: Walk, node_ids: list[int]) -> dict[str, str]:
        """Path -> key, of those nodes of a walk that are variables."""
        variables = [(i, self._nodes.variable(i)) for i in node_ids]
        self._nodes.require_short_paths(walk, (i for i, variable in variables if variable))
        keys: dict[str, str] = {}
        for node_id, variable in variables:
            if variable is not None:
                keys.setdefault(walk.path(node_id), variable.checkpoint_key)
        return keys

    def _find(self, path: str) -> str | None:
        object_path, _, suffix = path.partition(ATTRIBUTES)
        node_id = self._find_object(object_path)
        if node_id is None:
            return None
        if suffix:
            return self._find_attribute(node_id, suffix)
        variable = self._nodes.variable(node_id)
        if variable is None and not path:  # "" is also the path of a child called ""
            child = self._nodes.children(ROOT).get("")
            variable = None if child is None else self._nodes.variable(child)
        return None if variable is None else variable.checkpoint_key

    def _find_attribute(self, node_id: int, suffix: str) -> str | None:
        """The key of a node's tensor, by the part after /.ATTRIBUTES/."""
        for attribute in self._nodes.attributes(node_id):
            key = attribute.checkpoint_key
            own = key.partition(ATTRIBUTES)[2]
            if own == suffix:
                return key
            longer = key + suffix.removeprefix(own)
            if own and suffix.startswith(own) and longer in self._tensors:
                return longer
        return None

    def _find_object(self, path: str) -> int | None:
        object_path, is_slot, slot_path = path.partition(OPTIMIZER_SLOT)
        if not is_slot:
            return self._follow_path(object_path)
        optimizer_path, _, name = slot_path.rpartition("/")
        optimizers = self._objects_at(optimizer_path)
        found = [
            slot.variable
            for node_id in self._objects_at(object_path)
            for slot in self._nodes.slots_by_original.get(node_id, ())
            if slot.optimizer.node_id in optimizers and escape_name(slot.name) == name
        ]
        valued = [node for node in found if node.variable is not None]
        return next((node.node_id for node in valued or found), None)

    def _objects_at(self, path: str) -> list[int]:
        """The object at a path; at "" the root, and its child called ""."""
        found = [self._follow_path(path), None if path else self._nodes.children(ROOT).get("")]
        return [node_id for node_id in found if node_id is not None]

    def _follow_path(self, path: str) -> int | None:
        try:
            names = split_path(path)
        except ValueError:  # no path is written so
            return None
        return self._follow(names)

    def _follow(self, names: Iterable[str]) -> int | None:
        node_id: int | None = ROOT
        for name in names:
            if node_id is None:
                return None
            node_id = self._nodes.children(node_id).get(name)
        return node_id

    def __repr__(self) -> str:
        return f"<ObjectGraph of {self.num_nodes} objects>"
