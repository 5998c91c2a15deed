"""Reduce an object graph to the objects of those tensors that are kept.

TensorFlow fails to restore a checkpoint if its graph has the key of a tensor that is not there.

Sources: tensorflow/python/checkpoint/restore.py, which finds all tensors of an object by the part
of a key before ``.ATTRIBUTES/`` and by their own names; ``assert_existing_objects_matched`` in
tensorflow/python/checkpoint/checkpoint.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from ckptparse.messages.pool import load
from ckptparse.objectgraph.nodes import KEY, ROOT, parse_graph, require_id
from ckptparse.tensors.names import ATTRIBUTES, decode_name, encode_name


def prune_graph(serialized: bytes, keys: Mapping[str, str], names: Collection[str]) -> bytes:
    """Return the object graph of some of a checkpoint's tensors, which may have new names.

    If all tensors are kept under their names, the result is `serialized`.  Otherwise:

    - An object has its attributes if all tensors of all of them are kept; else it has none,
      because TensorFlow restores all tensors of an object together.  The key of an attribute may be
      only the beginning of the names of its tensors (tables, iterators).
    - An optimizer has a slot variable if the slot variable's value is kept.
    - The graph does not have the keys of a registered saver.  Its tensors are those that belong to
      no attribute and whose names begin with the name of its object and a slash; if there are none,
      all tensors that belong to nothing else.  An object has its saver if all of these are kept:
      the former with one new name of the object, the latter under their names.
    - Objects that lead to something kept are kept: by their children, or because they are the
      optimizer or the variable of a slot variable.  Of the others, those that led to a tensor are
      removed.  Objects that never led to a tensor, such as a dropout layer, are kept if a kept
      object has them as children, because ``assert_existing_objects_matched`` of TensorFlow 1.15
      requires them.  (TensorFlow 2.4 to 2.21 does not.)

    Nodes keep their order and get new ids.  Fields that ckptparse does not know are kept.

    Args:
        serialized: a serialized TrackableObjectGraph.
        keys: the tensors that are kept: name in the checkpoint of the graph -> new name.
        names: the names of all tensors of the checkpoint of the graph.

    Returns:
        The serialized TrackableObjectGraph.  The same arguments give the same bytes.

    Raises:
        CorruptCheckpointError: `serialized` is not an object graph, or has ids without nodes.
        ValueError: TensorFlow would not find the tensors of an object under their new names.  It
            requires that a name keeps ``/.ATTRIBUTES/`` and all that follows, and that the tensors
            of one object have the same path before it.

    Examples:
        >>> from ckptparse import open_checkpoint
        >>> from ckptparse.objectgraph import KEY, ObjectGraph
        >>> from ckptparse.objectgraph.pruning import prune_graph
        >>> ckpt = open_checkpoint("fixtures/tf-2.13.1/backbone_head/model.ckpt")
        >>> keys = {name: f"my_{name}" for name in ckpt if name.startswith("head/")}
        >>> graph = ObjectGraph(prune_graph(ckpt[KEY].item(), keys, list(ckpt)), ckpt)
        >>> list(graph)
        ['head/0/kernel', 'head/0/bias', 'head/1/kernel', 'head/1/bias']
        >>> graph.checkpoint_key("head/1/bias")
        'my_head/1/bias/.ATTRIBUTES/VARIABLE_VALUE'
    """
    nodes = parse_graph(serialized).nodes
    unowned = set(names) - {KEY}
    if all(keys.get(name) == name for name in unowned):
        return serialized
    tensors = _find_tensors(nodes, unowned)
    unowned.difference_update(*tensors.values())
    new_keys = _rename_attributes(nodes, tensors, keys)
    new_objects = _rename_savers(nodes, unowned, keys)
    return _write(nodes, _choose_nodes(nodes, new_keys, new_objects), new_keys, new_objects)


# Tensors


def _find_tensors(nodes: Any, names: set[str]) -> dict[str, list[str]]:
    """Return key of an attribute -> the names of its tensors."""
    keys = {
        decode_name(attribute.checkpoint_key) for node in nodes for attribute in node.attributes
    }
    whole = keys & names
    prefixes = keys - whole - {""}
    return {**{key: [key] for key in whole}, **_group(names - whole, prefixes)}


def _group(names: Collection[str], prefixes: Collection[str]) -> dict[str, list[str]]:
    """Return prefix -> the names that begin with it, but with no longer one of the prefixes.

    Each name is in one group, so that the work is linear, apart from sorting.
    """
    groups: dict[str, list[str]] = {prefix: [] for prefix in prefixes}
    if not groups:
        return groups
    texts = [*((prefix, False) for prefix in prefixes), *((name, True) for name in names)]
    current: list[str] = []  # the prefixes of the last text, the longest at the end
    for text, is_name in sorted(texts):
        while current and not text.startswith(current[-1]):
            current.pop()
        if not is_name:
            current.append(text)
        elif current:
            groups[current[-1]].append(text)
    return groups


def _rename_prefixes(
    tensors: Mapping[str, list[str]], keys: Mapping[str, str]
) -> dict[str, str | None]:
    """Return prefix -> new prefix, for those whose tensors are all kept.

    The new prefix is None if the new names do not all replace the old prefix by the same new one.
    """
    renamed: dict[str, str | None] = {}
    for prefix, names in tensors.items():
        if names and all(name in keys for name in names):
            rests = [name[len(prefix) :] for name in names]
            found = {keys[name].removesuffix(rest) for name, rest in zip(names, rests)}
            ends = all(keys[name].endswith(rest) for name, rest in zip(names, rests))
            renamed[prefix] = found.pop() if ends and len(found) == 1 else None
    return renamed


def _rename_attributes(
    nodes: Any, tensors: Mapping[str, list[str]], keys: Mapping[str, str]
) -> dict[int, list[str]]:
    """Return node id -> the new keys of its attributes, for the nodes that keep them.

    Raises:
        ValueError: TensorFlow would not find the tensors of a node under their new names.
    """
    renamed = _rename_prefixes(tensors, keys)
    new_keys: dict[int, list[str]] = {}
    for node_id, node in enumerate(nodes):
        old = [decode_name(attribute.checkpoint_key) for attribute in node.attributes]
        if old and all(key in renamed for key in old):
            new_keys[node_id] = []
            new_paths: dict[str, str] = {}
            for key in old:
                path, *end = key.partition(ATTRIBUTES)
                new_key = renamed[key]
                new_path, *new_end = (new_key or "").partition(ATTRIBUTES)
                same_path = new_paths.setdefault(path, new_path) == new_path
                if new_key is None or new_end != end or not same_path:
                    name = tensors[key][0]
                    raise ValueError(
                        f"an object graph cannot have tensor {name!r} as {keys[name]!r}: the name "
                        f"must have {''.join(end)!r} after a path, the same one for all tensors of "
                        "the object"
                    )
                new_keys[node_id].append(new_key)
    return new_keys


def _rename_savers(nodes: Any, names: set[str], keys: Mapping[str, str]) -> dict[int, str]:
    """Return node id -> the new object name of its registered saver, for the nodes that keep it.

    Args:
        nodes: the nodes.
        names: the tensors that belong to no attribute.
        keys: the tensors that are kept: name -> new name.
    """
    objects = {
        node_id: decode_name(node.registered_saver.object_name)
        for node_id, node in enumerate(nodes)
        if node.HasField("registered_saver")
    }
    tensors = _group(names, {f"{name}/" for name in objects.values()})
    renamed = _rename_prefixes(tensors, keys)
    unowned_are_kept = all(keys.get(name) == name for name in names.difference(*tensors.values()))
    new_objects = {}
    for node_id, name in objects.items():
        prefix = f"{name}/"
        if not tensors[prefix]:
            new_prefix = prefix if unowned_are_kept else None
        else:
            new_prefix = renamed.get(prefix)
        if new_prefix is not None and new_prefix.endswith("/"):
            new_objects[node_id] = new_prefix.removesuffix("/")
    return new_objects


# Nodes


def _choose_nodes(nodes: Any, new_keys: Collection[int], new_objects: Collection[int]) -> list[int]:
    """Return the ids of the nodes that are kept, in ascending order.

    Args:
        nodes: the nodes.
        new_keys: ids of the nodes that keep their attributes.
        new_objects: ids of the nodes that keep their registered savers.
    """
    parents: dict[int, list[int]] = {}
    valued = {*new_keys, *new_objects}
    reduced = set()
    for node_id, node in enumerate(nodes):
        loses_keys = node.attributes and node_id not in new_keys
        if loses_keys or (node.HasField("registered_saver") and node_id not in new_objects):
            reduced.add(node_id)
        for child in node.children:
            parents.setdefault(require_id(child.node_id, len(nodes)), []).append(node_id)
        for slot in node.slot_variables:
            original = require_id(slot.original_variable_node_id, len(nodes))
            variable = require_id(slot.slot_variable_node_id, len(nodes))
            parents.setdefault(variable, []).append(node_id)
            if variable in new_keys:
                valued.add(original)
    kept = _add_reached(valued, lambda node_id: parents.get(node_id, ())) | {ROOT}
    removed = _add_reached(reduced, lambda node_id: parents.get(node_id, ())) - kept

    def children_to_keep(node_id: int) -> list[int]:
        return [c.node_id for c in nodes[node_id].children if c.node_id not in removed]

    return sorted(_add_reached(kept, children_to_keep))


def _add_reached(start: Collection[int], step: Callable[[int], Iterable[int]]) -> set[int]:
    """Return some nodes, and all nodes that can be reached from them by steps."""
    reached = set(start)
    pending = list(start)
    while pending:
        for node_id in step(pending.pop()):
            if node_id not in reached:
                reached.add(node_id)
                pending.append(node_id)
    return reached


def _write(
    nodes: Any,
    node_ids: list[int],
    new_keys: Mapping[int, list[str]],
    new_objects: Mapping[int, str],
) -> bytes:
    """Return the serialized graph of some of the nodes."""
    new_ids = {node_id: new_id for new_id, node_id in enumerate(node_ids)}
    graph = load("trackable_object_graph.proto")["TrackableObjectGraph"]()
    for node_id in node_ids:
        old, new = nodes[node_id], graph.nodes.add()
        new.CopyFrom(old)
        del new.children[:], new.slot_variables[:]
        for child in old.children:
            if child.node_id in new_ids:
                reference = new.children.add()
                reference.CopyFrom(child)
                reference.node_id = new_ids[child.node_id]
        for slot in old.slot_variables:
            if slot.slot_variable_node_id in new_keys:
                reference = new.slot_variables.add()
                reference.CopyFrom(slot)
                reference.original_variable_node_id = new_ids[slot.original_variable_node_id]
                reference.slot_variable_node_id = new_ids[slot.slot_variable_node_id]
        if node_id not in new_keys:
            del new.attributes[:]
        for attribute, key in zip(new.attributes, new_keys.get(node_id, ())):
            attribute.checkpoint_key = encode_name(key)
        if node_id in new_objects:
            new.registered_saver.object_name = encode_name(new_objects[node_id])
        else:
            new.ClearField("registered_saver")
    return bytes(graph.SerializeToString(deterministic=True))
