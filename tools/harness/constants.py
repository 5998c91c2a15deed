"""Let TensorFlow read the constants of graphs, and write them to expected_constants.json and .bin.

`fixtures/README.md` describes the two files.
"""

import os

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.framework import attr_value_pb2, graph_pb2
from tensorflow.core.protobuf import saved_model_pb2

from harness import oracle
from harness.graphs import v1

make_ndarray = v1.make_ndarray


def record(*paths):
    """Write the two files for graphs: a GraphDef, binary or as text, or the folder of a SavedModel.

    Values that are equal are stored once in expected_constants.bin.
    """
    entries, errors, places = [], [], {}
    with open("expected_constants.bin", "wb") as stream:
        for path in paths:
            for function, node in nodes(read(path)):
                entry, payload = describe(node, errors)
                if payload not in places:
                    places[payload] = stream.tell()
                    stream.write(payload)
                entry.update(
                    path=path, function=function, offset=places[payload], nbytes=len(payload)
                )
                entries.append(entry)
    oracle.write_json("expected_constants.json", {"constants": entries, "errors": errors})


def read(path):
    """Return the GraphDef in a file."""
    graph, model = graph_pb2.GraphDef(), saved_model_pb2.SavedModel()
    is_model = os.path.isdir(path)
    message = model if is_model else graph
    with open(path + "/saved_model.pb" if is_model else path, "rb") as stream:
        content = stream.read()
    if path.endswith(".pbtxt"):
        text_format.Parse(content.decode("utf-8"), message)
    else:
        message.ParseFromString(content)
    return model.meta_graphs[0].graph_def if is_model else graph


def nodes(graph):
    """Yield the name of the function (None: of none) and the node of each constant."""
    for node in graph.node:
        if node.op == "Const":
            yield None, node
    for function in graph.library.function:
        for node in function.node_def:
            if node.op == "Const":
                yield function.signature.name, node


def describe(node, errors):
    """Return the entry of a constant, and its values as in expected.bin."""
    proto = node.attr["value"].tensor
    dtype = tf.as_dtype(proto.dtype)
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    value = read_by = None
    for way, attempt in (("make_ndarray", make_ndarray), ("Const", run)):
        try:
            value = attempt(proto)
            read_by = way
            break
        except Exception as error:
            errors.append(oracle.refusal(way, error, node.name))
    entry = oracle.named(node.name)
    entry.update(
        dtype=dtype.name, dtype_number=int(dtype.as_datatype_enum), shape=shape, read_by=read_by
    )
    return entry, b"" if value is None else encode(value, dtype, shape)


def encode(value, dtype, shape):
    """Return the values as in expected.bin.  A missing string is a `str` in make_ndarray."""
    if dtype.name == "string":
        flat = [item if isinstance(item, bytes) else item.encode() for item in value.ravel()]
        value = np.empty(len(flat), dtype=object)
        value[:] = flat
        value = value.reshape(shape)
    return oracle.encode(value, dtype, shape)


def run(proto):
    """Return what the operation Const returns."""
    with tf.Graph().as_default() as graph, v1.Session() as session:
        attrs = {
            "dtype": attr_value_pb2.AttrValue(type=proto.dtype),
            "value": attr_value_pb2.AttrValue(tensor=proto),
        }
        dtypes = [tf.as_dtype(proto.dtype)]
        return session.run(graph.create_op("Const", [], dtypes, attrs=attrs).outputs[0])
