"""The graph of objects that a checkpoint of TensorFlow 2 was saved from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from ckptparse.errors import CorruptCheckpointError, TensorNotFoundError, located
from ckptparse.objectgraph.nodes import KEY, ROOT, NodeTable, ObjectNode
from ckptparse.objectgraph.outline import outline
from ckptparse.objectgraph.paths import escape_name, split_path
from ckptparse.objectgraph.variables import ObjectVariables
from ckptparse.objectgraph.walk import Walk
from ckptparse.objectgraph.weights import find_roles_of_keys, find_weights
from ckptparse.tensors.info import TensorInfo
from ckptparse.tensors.mapping import Role, TensorMapping
from ckptparse.tensors.names import ATTRIBUTES, OPTIMIZER_SLOT
from ckptparse.tensors.outline import OutlineRow


def read_object_graph(tensors: TensorMapping) -> ObjectGraph | None:
    """Return the object graph of a checkpoint, or None if the checkpoint has none.

    Checkpoints that ``tf.compat.v1.train.Saver`` wrote, in any version of TensorFlow, have none.

    Args:
        tensors: the checkpoint.

    Raises:
        CorruptCheckpointError: the tensor `KEY` is not a scalar string, or not an object graph.
        CheckpointError: reading the tensor failed.
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
    """The graph of saved objects, and a mapping from their paths to the arrays of variables.

    A path consists of local names joined by ``/``, as in the checkpoint's keys but without
    ``/.ATTRIBUTES/VARIABLE_VALUE``: ``graph["model/layer_with_weights-0/kernel"]``.  In a local
    name, a dot is escaped as ``..`` and then a slash as ``.S``; see `join_path` and `split_path`.

    Iteration yields each variable once, under its shortest path, in the order of a breadth-first
    walk; then the slot variables of optimizers, as
    ``VARIABLE PATH/.OPTIMIZER_SLOT/OPTIMIZER PATH/SLOT NAME``.  Lookup also accepts every other
    path to a variable (through shared objects or cycles), every key of the checkpoint that belongs
    to an object, and the tensors of other objects by their keys: ``table/.ATTRIBUTES/table-keys``.

    Source: tensorflow/python/trackable/trackable_utils.py, which builds the keys from paths.

    Examples:
        >>> from ckptparse import open_checkpoint
        >>> ckpt = open_checkpoint("fixtures/tf-2.13.1/backbone_head/model.ckpt")
        >>> graph = ckpt.object_graph
        >>> kernel = graph["backbone/layer_with_weights-0/kernel"]
        >>> kernel.shape
        (3, 3, 1, 2)
        >>> bool((graph["backbone/layer-0/kernel"] == kernel).all())  # another path to it
        True
        >>> len(graph)
        16
    """

    def __init__(self, serialized: bytes, tensors: TensorMapping) -> None:
        """
        Args:
            serialized: the value of the tensor `KEY`: a serialized TrackableObjectGraph.
            tensors: the checkpoint that it was read from.

        Raises:
            CorruptCheckpointError: `serialized` is not such a message, or has no nodes.
        """
        super().__init__(self._list_all, tensors)
        self._nodes = NodeTable(serialized, tensors)

    # Objects

    @property
    def root(self) -> ObjectNode:
        """The root object; its children are the arguments of ``tf.train.Checkpoint``.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> graph = open_checkpoint("fixtures/tf-2.13.1/backbone_head/model.ckpt").object_graph
            >>> list(graph.root.children)
            ['backbone', 'head', 'optimizer']
        """
        return ObjectNode(ROOT, self._nodes)

    @property
    def num_nodes(self) -> int:
        """The number of objects; their ids are 0 to ``num_nodes - 1``.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> graph = open_checkpoint("fixtures/tf-2.13.1/backbone_head/model.ckpt").object_graph
            >>> graph.num_nodes
            29
        """
        return len(self._nodes)

    def node(self, where: str | Sequence[str] | int) -> ObjectNode:
        """Return an object.

        Args:
            where: its path ("" for the root); or the sequence of its local names from the root, not
                escaped; or its id.

        Returns:
            The object.

        Raises:
            TensorNotFoundError: there is no such object.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> graph = open_checkpoint("fixtures/tf-2.13.1/backbone_head/model.ckpt").object_graph
            >>> graph.node("backbone/layer_with_weights-0")
            <ObjectNode 4>
            >>> graph.node(["head", "0"]).path
            'head/0'
        """
        node_id: int | None
        if isinstance(where, int):
            node_id = where if 0 <= where < len(self._nodes) else None
        elif isinstance(where, str):
            node_id = self._find_object(where)
        else:
            node_id = self._follow(where)
        if node_id is None:
            raise TensorNotFoundError("no object at this path, or with this id", tensor=str(where))
        return ObjectNode(node_id, self._nodes)

    def nodes(self) -> Iterator[ObjectNode]:
        """Return an iterator over all objects.

        Returns:
            An iterator over the objects, in the order of their ids.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> graph = open_checkpoint("fixtures/tf-2.13.1/backbone_head/model.ckpt").object_graph
            >>> sum(node.variable is not None for node in graph.nodes())
            16
        """
        return (ObjectNode(node_id, self._nodes) for node_id in range(len(self._nodes)))

    # Parts

    def subtree(self, where: str | Sequence[str]) -> ObjectVariables:
        """Return the variables of an object and of all objects below it.

        Objects that also have paths outside of this object are included.  If the root is a child of
        one of these objects, it is left out: it would add all objects.  Slot variables are left out
        because they are not children of any object.

        Args:
            where: path of the object, or its local names, not escaped.

        Returns:
            A mapping from paths, relative to the object, to arrays.

        Raises:
            TensorNotFoundError: there is no such object.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> graph = open_checkpoint("fixtures/tf-2.13.1/backbone_head/model.ckpt").object_graph
            >>> list(graph.subtree("head"))
            ['0/kernel', '0/bias', '1/kernel', '1/bias']
        """
        start = self.node(where).node_id

        def enter(node_id: int, name: str, child: int) -> bool:
            return child != ROOT

        def list_keys() -> dict[str, str]:
            walk = Walk(start, self._nodes.children, enter=enter)
            return self._keys_by_path(walk, walk.order)

        return ObjectVariables(list_keys, self._tensors)

    def model_weights(self, where: str | Sequence[str] = "") -> ObjectVariables:
        """Return the weights of the model, or of one object, without the state of training.

        Leaves out optimizers, metrics, counters and states of random number generators.  Each
        weight is listed once, under its path through the layers if it has one.

        A checkpoint does not store the types of objects.  They are recognised by their children,
        as TensorFlow 2.0 to 2.21 and Keras 2 and 3 write them:

        - An optimizer has slot variables; or the children ``_iterations`` and ``_variables``; or
          only variables as children, among them ``iter`` and one of ``learning_rate`` and
          ``decay``; or a child ``base_optimizer`` or ``inner_optimizer``.  The weights below an
          optimizer's ``_trainable_variables`` (Keras 3) are included.
        - A metric has the children ``total`` and ``count``, or one such as ``true_positives``.
          Everything below ``keras_api`` is left out, too.
        - A counter is an integer scalar that is a child of the root.  A scalar ``learning_rate``
          there is left out, too.
        - The state of a random number generator is a variable whose full name is, after its last
          slash, ``StateVar`` or ``seed_generator_state``.

        Args:
            where: path of the object, or its local names, not escaped; "" for the root.

        Returns:
            A mapping from paths, relative to the object, to arrays.

        Raises:
            TensorNotFoundError: there is no such object.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> graph = open_checkpoint("fixtures/tf-2.13.1/backbone_head/model.ckpt").object_graph
            >>> weights = graph.model_weights()
            >>> len(graph), len(weights)
            (16, 10)
            >>> [path for path in graph if path not in weights][:3]
            ['optimizer/_iterations', 'optimizer/_learning_rate', 'optimizer/_variables/1']
        """
        start = self.node(where).node_id
        return ObjectVariables(
            lambda: self._keys_by_path(*find_weights(self._nodes, start)), self._tensors
        )

    def roles_of_keys(self) -> dict[str, Role]:
        """Return the role of each tensor of the checkpoint that belongs to an object.

        The weights are those of `model_weights`; all other tensors are state.

        Returns:
            Key in the checkpoint -> its role.  The keys that a registered saver chose are not
            listed, because the graph does not have them.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> graph = open_checkpoint("fixtures/tf-2.21.0/keras_adam/model.ckpt").object_graph
            >>> roles = graph.roles_of_keys()
            >>> roles["optimizer/_trainable_variables/0/.ATTRIBUTES/VARIABLE_VALUE"]
            'weight'
            >>> roles["optimizer/_variables/2/.ATTRIBUTES/VARIABLE_VALUE"]
            'state'
        """
        return find_roles_of_keys(self._nodes)

    def outline(self, infos: Mapping[str, TensorInfo]) -> list[OutlineRow]:
        """Return the objects that have tensors as the rows of a tree, with their sizes.

        ``ckptparse tree`` prints these rows.  Each object has one row with its size, under the
        shortest of its paths that do not lead through a list of all variables.  Rows for its other
        paths are aliases (`OutlineRow.same_as`).  Slot variables count as part of their optimizer.
        Tensors that belong to no object are listed at the end.

        Args:
            infos: the metadata of all tensors of the checkpoint, by name.

        Returns:
            The rows, each parent before its children.

        Raises:
            CorruptCheckpointError: the graph is damaged: an id has no object, or the paths are too
                long for the size of the graph.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> ckpt = open_checkpoint("fixtures/tf-2.13.1/backbone_head/model.ckpt")
            >>> rows = ckpt.object_graph.outline({info.name: info for info in ckpt.infos()})
            >>> [(row.path, row.num_tensors, row.same_as) for row in rows[1:3]]
            [('backbone', 6, None), ('backbone/layer-0', 0, 'backbone/layer_with_weights-0')]
        """
        return outline(self._nodes, infos)

    # Names

    @cached_property
    def full_names(self) -> dict[str, str]:
        """A dict from the full name of each variable to its key in the checkpoint.

        The full name is the variable's name in the program that saved the checkpoint.  Empty names,
        and names that several variables have (such as "Variable"), are left out.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> graph = open_checkpoint("fixtures/tf-2.13.1/backbone_head/model.ckpt").object_graph
            >>> graph.full_names["stem/kernel"]
            'backbone/layer_with_weights-0/kernel/.ATTRIBUTES/VARIABLE_VALUE'
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
        """Return path -> key of all variables, then of all slot variables."""
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
        """Return path -> key of those nodes of a walk that are variables."""
        variables = [(i, self._nodes.variable(i)) for i in node_ids]
        self._nodes.require_short_paths(walk, (i for i, variable in variables if variable))
        keys: dict[str, str] = {}
        for node_id, variable in variables:
            if variable is not None:
                keys.setdefault(walk.path(node_id), variable.checkpoint_key)
        return keys

    def _find(self, path: str) -> str | None:
        """Return the key of a variable or of another tensor of an object, or None."""
        object_path, _, suffix = path.partition(ATTRIBUTES)
        node_id = self._find_object(object_path)
        if node_id is None:
            return None
        if suffix:
            return self._find_attribute(node_id, suffix)
        variable = self._nodes.variable(node_id)
        if variable is None and not path:  # "" is also the path of a child with the name ""
            child = self._nodes.children(ROOT).get("")
            variable = None if child is None else self._nodes.variable(child)
        return None if variable is None else variable.checkpoint_key

    def _find_attribute(self, node_id: int, suffix: str) -> str | None:
        """Return the key of a node's tensor, by the part after /.ATTRIBUTES/, or None."""
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
        """Return the id of the object at a path, which can be a slot variable, or None."""
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
        """Return the id of the object at a path; for "" the root and its child named ""."""
        found = [self._follow_path(path), None if path else self._nodes.children(ROOT).get("")]
        return [node_id for node_id in found if node_id is not None]

    def _follow_path(self, path: str) -> int | None:
        """Return the id of the object at a path, or None."""
        try:
            names = split_path(path)
        except ValueError:  # not a valid path
            return None
        return self._follow(names)

    def _follow(self, names: Iterable[str]) -> int | None:
        """Return the id of the object at local names from the root, or None."""
        node_id: int | None = ROOT
        for name in names:
            if node_id is None:
                return None
            node_id = self._nodes.children(node_id).get(name)
        return node_id

    def __repr__(self) -> str:
        return f"<ObjectGraph of {self.num_nodes} objects>"
