"""Record how TensorFlow describes a SavedModel, in expected_graph.json, and its tensors.

`fixtures/README.md` describes the files.
"""

import glob
import os

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.protobuf import saved_model_pb2, trackable_object_graph_pb2

from harness import graphs, objects, ops, oracle
from harness.graphs import v1

FOLDER = "saved_model"
PREFIX = FOLDER + "/variables/variables"


def record(specs=None):
    """Write the files for the SavedModel in the folder `saved_model`.

    specs: {key: [spec, ...]}, the slices as they were saved.
    """
    has_tensors = bool(glob.glob(PREFIX + ".index"))
    if has_tensors:
        oracle.record(specs=specs, prefix=PREFIX)
    path, saved_model = read()
    object_based = saved_model.meta_graphs[0].HasField("object_graph_def")
    document = {
        "path": FOLDER,
        "file": path,
        "schema_version": saved_model.saved_model_schema_version,
        "empty_folders": sorted(
            folder for folder, folders, files in os.walk(FOLDER) if not folders and not files
        ),
        "meta_graphs": [],
    }
    for meta_graph in saved_model.meta_graphs:
        described = graphs.describe(meta_graph)
        if object_based:
            described["saved_variables"] = saved_variables(meta_graph)
            described.update(loaded_objects(has_tensors))
        else:
            described.update(loaded_graph(meta_graph))
        document["meta_graphs"].append(described)
    graphs.write(document)


def read():
    """Return the path of the file with the SavedModel, and the message."""
    saved_model = saved_model_pb2.SavedModel()
    path = FOLDER + "/saved_model.pb"
    if os.path.exists(path):
        with open(path, "rb") as stream:
            saved_model.ParseFromString(stream.read())
        return path, saved_model
    path += "txt"
    with open(path) as stream:
        text_format.Merge(stream.read(), saved_model)
    return path, saved_model


def loaded_graph(meta_graph):
    """Return the variables that TensorFlow 1's loader finds in the graph with these tags."""
    with tf.Graph().as_default(), v1.Session() as session:
        v1.saved_model.load(session, list(meta_graph.meta_info_def.tags), FOLDER)
        return graphs.variables(meta_graph)


def saved_variables(meta_graph):
    """Return the variables of the SavedObjectGraph, with their keys in the checkpoint."""
    checkpoint = trackable_object_graph_pb2.TrackableObjectGraph()
    checkpoint.ParseFromString(ops.restore(PREFIX, objects.KEY, "", tf.string))
    found = []
    for node_id, node in enumerate(meta_graph.object_graph_def.nodes):
        if node.WhichOneof("kind") == "variable":
            entry = graphs.fields(node.variable, "name", "trainable")
            entry.update(
                node_id=node_id,
                dtype=tf.as_dtype(node.variable.dtype).name,
                shape=graphs.shape_of(node.variable.shape),
                checkpoint_keys=[
                    attribute.checkpoint_key for attribute in checkpoint.nodes[node_id].attributes
                ],
            )
            found.append(entry)
    return found


def loaded_objects(has_tensors):
    """Return the signatures, and the variables with their paths, that tf.saved_model.load finds.

    Each variable has the names of all tensors with the same value.
    """
    loaded = tf.saved_model.load(FOLDER)
    reader = tf.train.load_checkpoint(PREFIX) if has_tensors else None
    tensors = {}
    for name in reader.get_variable_to_shape_map() if has_tensors else ():
        tensors[name] = np.asarray(reader.get_tensor(name))
    variables = []
    for item, path in objects.traverse(tf.train.Checkpoint(loaded)._saver._graph_view):
        entry = objects.variable(item)
        if entry is not None:
            value = item.numpy()
            equal = [name for name in sorted(tensors) if np.array_equal(tensors[name], value)]
            variables.append(dict(entry, path=path, equal_tensors=equal))
    return {
        "loaded_signatures": {
            name: {
                "inputs": specs_of(signature.structured_input_signature[1]),
                "outputs": specs_of(signature.structured_outputs),
            }
            for name, signature in sorted(loaded.signatures.items())
        },
        "loaded_variables": variables,
    }


def specs_of(structure):
    """Return the dtypes and shapes of a signature's inputs or outputs, by name."""
    return {
        name: {
            "dtype": structure[name].dtype.name,
            "shape": graphs.dimensions(structure[name].shape),
        }
        for name in sorted(structure)
    }
