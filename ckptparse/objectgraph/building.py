"""Build the object graph of tensors whose names are paths of objects.

TensorFlow restores an object-based checkpoint by its graph.  A plain dict of arrays has no graph,
but its names can be paths of objects: ``model/layer1/kernel`` is the variable ``kernel`` of the
object ``layer1`` of the object ``model``.

Source: tensorflow/python/checkpoint/save_util.py and util.py of TensorFlow 2.21, for the fields
that a node has and for their values.
"""

from __future__ import annotations

from collections.abc import Iterable

from ckptparse.messages.pool import load
from ckptparse.objectgraph.nodes import KEY, VARIABLE_VALUE
from ckptparse.objectgraph.paths import split_path, unescape_name
from ckptparse.tensors.names import ATTRIBUTES, OPTIMIZER_SLOT, encode_name


def build_graph(names: Iterable[str]) -> tuple[bytes, dict[str, str]]:
    """Return an object graph for tensors whose names are paths of objects.

    A name is the path of a variable (see `join_path`), as in ``model/layer1/kernel``; or its key,
    which has ``/.ATTRIBUTES/VARIABLE_VALUE`` at its end.  Other attributes are allowed as well
    (``state/.ATTRIBUTES/py_state``), and so are slot variables
    (``model/kernel/.OPTIMIZER_SLOT/optimizer/m``).  An object can be a variable and have children.

    Args:
        names: names of tensors.

    Returns:
        The serialized TrackableObjectGraph, and the key in the checkpoint of each name.

    Raises:
        ValueError: a name is not a path, or two names have the same path.  The message has the
            names.

    Examples:
        >>> from ckptparse.objectgraph.building import build_graph
        >>> from ckptparse.objectgraph.nodes import parse_graph
        >>> serialized, keys = build_graph(["dense/kernel", "dense/bias"])
        >>> keys["dense/kernel"]
        'dense/kernel/.ATTRIBUTES/VARIABLE_VALUE'
        >>> len(parse_graph(serialized).nodes)  # the root, dense, kernel, bias
        4
    """
    root = _Object()
    keys: dict[str, str] = {}
    owners: dict[str, str] = {}  # key -> name
    for name in names:
        path, is_key, attribute = name.partition(ATTRIBUTES)
        key = name if is_key else f"{name}{ATTRIBUTES}{VARIABLE_VALUE}"
        if name == KEY or not encode_name(key) or (is_key and not attribute):
            raise ValueError(f"the name of tensor {name!r} is not a path of an object")
        try:
            owner = root.follow_path(path)
            local_name = unescape_name(attribute or VARIABLE_VALUE)
        except ValueError as error:
            raise ValueError(f"the name of tensor {name!r} is not a path: {error}") from error
        if key in owners:
            raise ValueError(f"tensors {owners[key]!r} and {name!r} have the same path")
        owners[key], keys[name] = name, key
        owner.attributes.append((local_name, path if local_name == VARIABLE_VALUE else "", key))
    return _write(root), keys


class _Object:
    """An object of the graph that is built.

    Attributes:
        children: local name -> object.
        attributes: (name, full name, key) of each.
        slots: the slot variables that it has as an optimizer: (variable, slot name) -> object.
    """

    def __init__(self) -> None:
        self.children: dict[str, _Object] = {}
        self.attributes: list[tuple[str, str, str]] = []
        self.slots: dict[tuple[_Object, str], _Object] = {}

    def follow_path(self, path: str) -> _Object:
        """Return the object, or the slot variable, at a path; missing objects are added.

        Raises:
            ValueError: the text is not a path.
        """
        object_path, is_slot, slot_path = path.partition(OPTIMIZER_SLOT)
        target = self._follow(split_path(object_path))
        if not is_slot:
            return target
        optimizer_path, _, slot_name = slot_path.rpartition("/")
        optimizer = self._follow(split_path(optimizer_path))
        return optimizer.slots.setdefault((target, unescape_name(slot_name)), _Object())

    def _follow(self, names: Iterable[str]) -> _Object:
        """Return the object at the end of a path of local names; missing objects are added."""
        target = self
        for name in names:
            target = target.children.setdefault(name, _Object())
        return target


def _write(root: _Object) -> bytes:
    """Return the serialized graph of an object and of all below it.

    The order of nodes is TensorFlow's: breadth-first, the slot variables at the end.
    """
    objects = [root]
    for current in objects:  # the list grows
        objects += current.children.values()
    slots = [slot for current in objects for slot in current.slots.values()]
    ids = {current: node_id for node_id, current in enumerate([*objects, *slots])}
    graph = load("trackable_object_graph.proto")["TrackableObjectGraph"]()
    for current in ids:
        node = graph.nodes.add()
        for local_name, child in current.children.items():
            node.children.add(node_id=ids[child], local_name=encode_name(local_name))
        for name, full_name, key in current.attributes:
            node.attributes.add(
                name=encode_name(name),
                full_name=encode_name(full_name),
                checkpoint_key=encode_name(key),
            )
        for (original, slot_name), slot in current.slots.items():
            node.slot_variables.add(
                original_variable_node_id=ids[original],
                slot_name=encode_name(slot_name),
                slot_variable_node_id=ids[slot],
            )
        # Each object has a value or leads to one, except a root without children.
        node.has_checkpoint_values.value = len(ids) > 1 or bool(current.attributes)
    return bytes(graph.SerializeToString(deterministic=True))
