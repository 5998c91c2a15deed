"""Record which tensors of a checkpoint are weights of a model, in expected_weights.json.

`fixtures/README.md` describes the file.
"""

import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

from harness import objects, ops, oracle
from harness.graphs import op_list_to_dict


def record(weights, averages=None):
    """Write the file for a checkpoint of tf.train.Saver.

    weights: the variables that are weights; parts of partitioned variables among them.
    averages: {variable: its moving average}; both are variables, or None.
    """
    keys = {key for item in weights for key in op_list_to_dict([item])}
    pairs = [(item.op.name, average.op.name) for item, average in (averages or [])]
    write(keys, averages=dict(pairs))


def record_objects(checkpoint, weights, prefix=oracle.PREFIX):
    """Write the file for a tf.train.Checkpoint; `weights` are live variables."""
    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    graph.ParseFromString(ops.restore(prefix, objects.KEY, "", tf.string))
    live, _ = objects.live_objects(checkpoint, graph)
    wanted = {id(item) for item in weights}  # by identity, because == compares values
    keys = {
        attribute.checkpoint_key
        for node_id, item in live.items()
        if id(getattr(item, "value_container", item)) in wanted or id(item) in wanted
        for attribute in graph.nodes[node_id].attributes
    }
    write(keys)


def write(keys, **more):
    """Write the keys of the weights in the order of the checkpoint."""
    document = {"weights": sorted(keys, key=oracle.as_bytes)}
    document.update(more)
    oracle.write_json("expected_weights.json", document)
