"""Record how TensorFlow describes the object graph of a checkpoint, in expected_objects.json.

`fixtures/README.md` describes the file.
"""

import collections

import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

from harness import documents, ops, oracle

KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"


def record(checkpoint, groups=None, prefix=oracle.PREFIX):
    """Write expected_objects.json for the files of a tf.train.Checkpoint.

    groups: {name: [variable, ...]}, lists of TensorFlow or Keras; they are written as node ids.
    """
    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    graph.ParseFromString(ops.restore(prefix, KEY, "", tf.string))
    objects, path = live_objects(checkpoint, graph)
    paths = paths_to_values(graph)
    view = tf.train.CheckpointView(prefix) if hasattr(tf.train, "CheckpointView") else None
    view_path = {} if view is None else view._descendants_with_paths()
    nodes = []
    for node_id, node in enumerate(graph.nodes):
        entry = described(node_id, node)
        assert view is None or entry["children"] == view.children(node_id)
        entry["type"] = type(objects[node_id]).__name__
        entry["variable"] = variable(objects[node_id])
        entry["path"] = path.get(node_id)
        entry["view_path"] = view_path.get(node_id)
        if holds_values(node):
            entry["paths"] = paths[node_id]
        nodes.append(entry)
    # By identity, because == compares the values of variables.
    numbers = {id(item): node_id for node_id, item in objects.items()}
    documents.write(
        "expected_objects.json",
        {
            "prefix": prefix,
            "read_by": "TrackableObjectGraph" if view is None else "CheckpointView",
            "nodes": nodes,
            "groups": {
                name: [numbers.get(id(item)) for item in items]
                for name, items in (groups or {}).items()
            },
        },
    )


def described(node_id, node):
    """Describe a node, as it is stored."""
    saver = node.registered_saver if has(node, "registered_saver") else None
    flag = node.has_checkpoint_values if has(node, "has_checkpoint_values") else None
    return {
        "node_id": node_id,
        "children": {child.local_name: child.node_id for child in node.children},
        "attributes": [
            fields(attribute, "name", "full_name", "checkpoint_key")
            for attribute in node.attributes
        ],
        "slot_variables": [
            fields(slot, "original_variable_node_id", "slot_name", "slot_variable_node_id")
            for slot in node.slot_variables
        ],
        "registered_saver": saver and fields(saver, "name", "object_name"),
        "has_checkpoint_values": flag and flag.value,
    }


def has(message, name):
    """Return whether a field is set; old versions do not have all fields."""
    return name in message.DESCRIPTOR.fields_by_name and message.HasField(name)


def fields(message, *names):
    """Return fields of a message as a dict."""
    return {name: getattr(message, name) for name in names}


def holds_values(node):
    """Return whether the checkpoint has tensors of the node itself."""
    return bool(node.attributes) or has(node, "registered_saver")


def traverse(view):
    """Return each object of a graph view, with the local names of its path."""
    search = getattr(view, "breadth_first_traversal", None) or view._breadth_first_traversal
    found, references = search()
    return [(item, [reference.name for reference in references[item]]) for item in found]


def live_objects(checkpoint, graph):
    """Return the Python object of each node, and the local names of the first path to it."""
    found = traverse(checkpoint._saver._graph_view)
    objects = {node_id: item for node_id, (item, _) in enumerate(found)}
    paths = {node_id: path for node_id, (_, path) in enumerate(found)}
    # Slot variables are not children of any object; their optimizer returns them.
    for node_id, node in enumerate(graph.nodes):
        for slot in node.slot_variables:
            original = objects[slot.original_variable_node_id]
            slot_variable = objects[node_id].get_slot(original, slot.slot_name)
            objects[slot.slot_variable_node_id] = slot_variable
    assert sorted(objects) == list(range(len(graph.nodes))), "the objects changed since they saved"
    return objects, paths


def paths_to_values(graph):
    """Return all paths to each node with values, by node id; a path contains no node twice.

    The search is breadth-first: shorter paths are first, and paths of one length are in the order
    of the children.
    """
    paths = collections.defaultdict(list)
    to_visit = collections.deque([((), (0,))])
    while to_visit:
        names, visited = to_visit.popleft()
        node = graph.nodes[visited[-1]]
        if holds_values(node):
            paths[visited[-1]].append(list(names))
        for child in node.children:
            if child.node_id not in visited:
                to_visit.append(((*names, child.local_name), (*visited, child.node_id)))
    return paths


def variable(item):
    """Return the attributes of a live variable; None for other objects."""
    if not hasattr(item, "handle") or not hasattr(item, "trainable"):
        return None
    return {
        "name": item.name,
        "dtype": tf.as_dtype(item.dtype).name,
        "shape": list(item.shape),
        "trainable": bool(item.trainable),
    }
