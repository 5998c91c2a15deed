"""Frozen graphs, and SavedModels without variables: weights that are constants of a graph."""

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import graph_pb2, tensor_pb2

from harness import constants, oracle, values
from harness.graphs import v1

GRAPH = "frozen_inference_graph"


def frozen_conv_net():
    """A network with batch norm, frozen with its moving averages, beside its checkpoint."""
    with tf.Graph().as_default(), v1.Session() as session:
        v1.set_random_seed(0)  # the averages begin with the initial values
        make_network(is_training=True)
        average = v1.train.ExponentialMovingAverage(0.5)
        update = average.apply(v1.trainable_variables())
        saver = v1.train.Saver()
        session.run(v1.global_variables_initializer())
        for step in range(2):
            for seed, item in enumerate(v1.global_variables()):
                if not item.name.endswith("ExponentialMovingAverage:0"):
                    value = values.random(item.shape.as_list(), 10 * step + seed)
                    # Fed, so that the values are not stored in the graph.
                    session.run(item.initializer, {item.initial_value: np.abs(value)})
            session.run(update)
        saver.save(session, "./" + oracle.PREFIX, write_meta_graph=False, write_state=False)
    with tf.Graph().as_default() as graph, v1.Session() as session:
        make_network(is_training=False)
        averaged = v1.train.ExponentialMovingAverage(0.5).variables_to_restore()
        v1.train.Saver(averaged).restore(session, "./" + oracle.PREFIX)
        frozen = v1.graph_util.convert_variables_to_constants(
            session, graph.as_graph_def(), ["logits"]
        )
    v1.train.write_graph(frozen, ".", GRAPH + ".pb", as_text=False)
    v1.train.write_graph(frozen, ".", GRAPH + ".pbtxt", as_text=True)
    oracle.record()
    constants.record(GRAPH + ".pb", GRAPH + ".pbtxt")


def make_network(is_training):
    """A convolution with batch norm, and a layer."""
    x = v1.placeholder(tf.float32, [None, 8, 8, 3], name="image")
    x = v1.layers.conv2d(x, 4, 3, name="conv", use_bias=False)
    x = v1.layers.batch_normalization(x, name="norm", training=is_training)
    x = tf.reshape(tf.nn.relu(x), [-1, 144], name="flat")
    return tf.identity(v1.layers.dense(x, 5, name="dense"), name="logits")


def frozen_quantized():
    """The same network after the Graph Transform Tool: weights of 8 bits."""
    from tensorflow.tools.graph_transforms import TransformGraph

    transforms = ["fold_constants", "fold_batch_norms", "quantize_weights(minimum_size=8)"]
    quantized = TransformGraph(freeze_network(), ["image"], ["logits"], transforms)
    v1.train.write_graph(quantized, ".", "quantized_graph.pb", as_text=False)
    constants.record("quantized_graph.pb")


def saved_model_frozen():
    """The same network, frozen, as a SavedModel of TensorFlow 1: its folder variables is empty."""
    frozen = freeze_network()
    with tf.Graph().as_default(), v1.Session() as session:
        x, y = tf.import_graph_def(frozen, return_elements=["image:0", "logits:0"], name="")
        v1.saved_model.simple_save(session, "saved_model", inputs={"x": x}, outputs={"y": y})
    constants.record("saved_model")


def freeze_network():
    """Return the network as a frozen graph."""
    with tf.Graph().as_default() as graph, v1.Session() as session:
        make_network(is_training=False)
        session.run(v1.global_variables_initializer())
        for seed, item in enumerate(v1.global_variables()):
            value = np.abs(values.random(item.shape.as_list(), seed))
            session.run(item.initializer, {item.initial_value: value})
        return v1.graph_util.convert_variables_to_constants(
            session, graph.as_graph_def(), ["logits"]
        )


def frozen_functions():
    """convert_variables_to_constants_v2: constants of the graph, and in functions of branches."""
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    kernel = tf.Variable(values.random([3, 4], 0), name="kernel")
    bias = tf.Variable(values.random([4], 1), name="bias")

    @tf.function(input_signature=[tf.TensorSpec([None, 3])])
    def model(x):
        y = x @ kernel + bias
        return tf.cond(
            tf.reduce_sum(y) > 0,
            lambda: y * tf.constant(values.random([4], 2), name="scale"),
            lambda: tf.reshape(y + tf.constant(values.random([4], 3), name="shift"), [-1, 4]),
        )

    frozen = convert_variables_to_constants_v2(
        model.get_concrete_function(), lower_control_flow=False
    )
    graph = frozen.graph.as_graph_def()
    tf.io.write_graph(graph, ".", "frozen.pb", as_text=False)
    tf.io.write_graph(graph, ".", "frozen.pbtxt", as_text=True)
    constants.record("frozen.pb", "frozen.pbtxt")


def saved_model_constants():
    """A SavedModel of TensorFlow 2 whose weights are constants in a function."""
    weights = {"kernel": values.random([3, 4], 0), "bias": values.random([4], 1)}

    class Model(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 3])])
        def __call__(self, x):
            kernel = tf.constant(weights["kernel"], name="kernel")
            return x @ kernel + tf.constant(weights["bias"], name="bias")

    tf.saved_model.save(Model(), "saved_model")
    constants.record("saved_model")


FIELDS = {
    "float_val": ("float32",),
    "double_val": ("float64",),
    "scomplex_val": ("complex64",),
    "dcomplex_val": ("complex128",),
    "half_val": ("float16", "bfloat16"),
    "int64_val": ("int64",),
    "bool_val": ("bool",),
    "uint32_val": ("uint32",),
    "uint64_val": ("uint64",),
    "string_val": ("string",),
}


def constants_dtypes():
    """Each dtype: all elements as bytes; as values, fewer than elements, one and none; empty."""
    graph = graph_pb2.GraphDef()
    for name in values.DTYPES:
        dtype = tf.as_dtype(name)
        vector = values.vector(name)[:20]
        count = len(vector)
        if name != "string":
            add(graph, name + "/content", dtype, [count], tensor_content=vector.tobytes())
            written = write(vector, dtype)
            if written is not None:
                add(graph, name + "/serialized", dtype, written=written)
        for form, shape, stored in (
            ("values", [count], count),
            ("padded", [2, count], 3),
            ("splat", [2, 3, 4], 1),
            ("zeros", [3, 4], 0),
            ("scalar", [], 1),
            ("unset", [], 0),
            ("empty", [0, 4], 0),
        ):
            add(graph, name + "/" + form, dtype, shape, **field(name, vector[:stored]))
    strings = [b"one", b"", b"\xff\x00", b"x" * 200]
    for form, items, shape in (("list", strings, [2, 2]), ("single", [b"a vocabulary"], [])):
        add(graph, "string/" + form, tf.string, shape, string_val=items)
    lengths = bytes([3, 0, 2, 200, 1])
    add(graph, "string/content", tf.string, [4], tensor_content=lengths + b"".join(strings))
    graph.versions.producer = tf.version.GRAPH_DEF_VERSION
    with open("constants.pb", "wb") as stream:
        stream.write(graph.SerializeToString())
    constants.record("constants.pb")


def write(vector, dtype):
    """The TensorProto that TensorFlow writes for an array; None if it makes no such tensor."""
    try:
        serialized = tf.io.serialize_tensor(tf.constant(vector, dtype)).numpy()
    except Exception:
        return None
    return tensor_pb2.TensorProto.FromString(serialized)


def field(name, vector):
    """The field of TensorProto with the values of a vector."""
    if name == "string":
        return {"string_val": list(vector)}
    if name.startswith("float8") or name.startswith("float4"):
        return {"float8_val": vector.tobytes()}
    if name in FIELDS["half_val"]:
        return {"half_val": vector.view(np.uint16).tolist()}
    if name.startswith("complex"):
        parts = vector.view("float32" if name == "complex64" else "float64")
        return {"scomplex_val" if name == "complex64" else "dcomplex_val": parts.tolist()}
    for key, names in FIELDS.items():
        if name in names:
            return {key: vector.tolist()}
    if name.startswith("q"):
        vector = vector.view(name[1:])
    return {"int_val": vector.astype(np.int32).tolist()}


def add(graph, name, dtype, shape=(), written=None, **fields):
    """Add a constant to a GraphDef."""
    proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum, **fields)
    for size in shape:
        proto.tensor_shape.dim.add().size = size
    node = graph.node.add()
    node.name, node.op = name, "Const"
    node.attr["dtype"].type = proto.dtype
    node.attr["value"].tensor.CopyFrom(written or proto)
