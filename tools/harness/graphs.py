"""Record how TensorFlow describes a .meta file or a SavedModel, in expected_graph.json.

`fixtures/README.md` describes the file.
"""

import collections

import tensorflow as tf
from tensorflow.core.framework import variable_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from harness import documents, oracle

# The interface of TensorFlow 1, in any version.
v1 = getattr(getattr(tf, "compat", None), "v1", tf)
VARIABLES = (tf.Variable, v1.Variable)

try:
    from tensorflow.python.training.saving.saveable_object_util import op_list_to_dict
except ImportError:  # before 1.14
    from tensorflow.python.training.saver import BaseSaverBuilder

    op_list_to_dict = BaseSaverBuilder.OpListToDict


def record_meta(path=oracle.PREFIX + ".meta", **more):
    """Write expected_graph.json for a .meta file.

    more: results of `moving_averages` and `slots`, which only the graph in memory has.
    """
    meta_graph = meta_graph_pb2.MetaGraphDef()
    with open(path, "rb") as stream:
        meta_graph.ParseFromString(stream.read())
    with tf.Graph().as_default():
        v1.train.import_meta_graph(meta_graph)
        found = variables(meta_graph)
    described = dict(describe(meta_graph), **found)
    write({"path": path, "meta_graphs": [dict(described, **more)]})


def write(document):
    """Write expected_graph.json."""
    documents.write("expected_graph.json", document, depth=4)


def describe(meta_graph):
    """Return the content of a MetaGraphDef, as TensorFlow's classes parse it."""
    info, graph = meta_graph.meta_info_def, meta_graph.graph_def
    functions = graph.library.function
    return {
        "tags": list(info.tags),
        "tensorflow_version": info.tensorflow_version,
        "tensorflow_git_version": info.tensorflow_git_version,
        "meta_graph_version": info.meta_graph_version,
        "stripped_default_attrs": getattr(info, "stripped_default_attrs", None),
        "versions": fields(graph.versions, "producer", "min_consumer", "bad_consumers"),
        "op_counts": counted(node.op for node in graph.node),
        "function_op_counts": counted(node.op for item in functions for node in item.node_def),
        "num_functions": len(functions),
        "saver_def": saver(meta_graph),
        "signatures": {
            name: {
                "method_name": signature.method_name,
                "inputs": tensors(signature.inputs),
                "outputs": tensors(signature.outputs),
            }
            for name, signature in sorted(meta_graph.signature_def.items())
        },
        "assets": [fields(asset.tensor_info, "name") for asset in meta_graph.asset_file_def],
        "collections": {
            name: {
                "kind": collection.WhichOneof("kind"),
                "size": len(getattr(collection, collection.WhichOneof("kind")).value),
            }
            for name, collection in sorted(meta_graph.collection_def.items())
        },
    }


def counted(names):
    """Count how often each name occurs."""
    counts = collections.Counter(names)
    return {name: counts[name] for name in sorted(counts)}


def saver(meta_graph):
    """Return the SaverDef; None if there is none."""
    if not meta_graph.HasField("saver_def"):
        return None
    return fields(
        meta_graph.saver_def,
        *("filename_tensor_name", "save_tensor_name", "restore_op_name", "max_to_keep", "sharded"),
        *("keep_checkpoint_every_n_hours", "version"),
    )


def tensors(infos):
    """Return the TensorInfos of a signature, by their names in it."""
    return {
        name: {
            "name": info.name or None,
            "dtype": tf.as_dtype(info.dtype).name if info.dtype else None,
            "shape": shape_of(info.tensor_shape),
        }
        for name, info in sorted(infos.items())
    }


def shape_of(proto):
    """Return a shape as a list, with None for an unknown size; None for an unknown rank."""
    if proto.unknown_rank:
        return None
    return [None if dim.size < 0 else dim.size for dim in proto.dim]


def fields(message, *names):
    """Return fields of a message as a dict; None for a field that this version does not have."""
    found = {}
    for name in names:
        value = getattr(message, name, None)
        plain = value is None or isinstance(value, (bool, int, float, str))
        found[name] = value if plain else list(value)
    return found


def variables(meta_graph):
    """Return the variables that TensorFlow finds in the imported graph, and their collections."""
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    found, listed = {}, {}
    for name, collection in sorted(meta_graph.collection_def.items()):
        items = v1.get_collection(name)
        if not items or not all(isinstance(item, VARIABLES) for item in items):
            continue
        listed[name] = [item.name for item in items]
        for item, serialized in zip(items, collection.bytes_list.value):
            definition = variable_pb2.VariableDef.FromString(serialized)
            assert definition.variable_name == item.name
            found[item.name] = item, definition
    trainable = listed.get(v1.GraphKeys.TRAINABLE_VARIABLES, [])
    return {
        "variable_collections": listed,
        "variables": [
            dict(variable(*found[name], nodes), trainable=name in trainable)
            for name in sorted(found)
        ],
    }


def variable(item, definition, nodes):
    """Describe a variable; `definition` is its VariableDef."""
    info = item._save_slice_info
    return {
        "name": item.name,
        "dtype": item.dtype.base_dtype.name,
        "shape": dimensions(item.get_shape()),
        "op": nodes[item.op.name].op,
        "checkpoint_key": next(iter(op_list_to_dict([item]))),
        "save_slice_info": info
        and {
            "full_name": info.full_name,
            "full_shape": list(info.full_shape),
            "var_offset": list(info.var_offset),
            "var_shape": list(info.var_shape),
        },
        "definition": fields(definition, "initial_value_name", "is_resource", "trainable"),
    }


def dimensions(shape):
    """Return a TensorShape as a list, with None for an unknown size; None for an unknown rank."""
    return None if shape.ndims is None else shape.as_list()


def moving_averages(*averages):
    """Return the averages of each ExponentialMovingAverage, and its map for restoring.

    averages: pairs of the object and the variables and tensors that it was applied to.
    """
    return [
        {
            "name": getattr(ema, "name", None) or ema._name,
            "averages": [
                {
                    "of": item.name,
                    "average": ema.average(item).name,
                    "average_name": ema.average_name(item),
                }
                for item in items
            ],
            "variables_to_restore": {
                key: item.name for key, item in sorted(ema.variables_to_restore().items())
            },
        }
        for ema, items in averages
    ]


def slots(*optimizers):
    """Return the slots of each optimizer, and its other variables."""
    found = []
    for optimizer in optimizers:
        entries = [
            {"variable": optimizer.get_slot(item, slot).name, "of": item.name, "slot": slot}
            for slot in optimizer.get_slot_names()
            for item in v1.trainable_variables()
            if optimizer.get_slot(item, slot) is not None
        ]
        of_slots = [entry["variable"] for entry in entries]
        found.append(
            {
                "type": type(optimizer).__name__,
                "name": optimizer.get_name(),
                "slots": entries,
                "others": [item.name for item in kept_by(optimizer) if item.name not in of_slots],
            }
        )
    return found


def kept_by(optimizer):
    """Return the variables of an optimizer; 0.12.1 has no method for the powers of Adam."""
    if hasattr(optimizer, "variables"):
        return optimizer.variables()
    powers = [getattr(optimizer, name, None) for name in ("_beta1_power", "_beta2_power")]
    return [item for item in powers if item is not None]
