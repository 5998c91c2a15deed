"""Call TensorFlow's ops that save and restore, with and without eager execution."""

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2, tensor_pb2, tensor_shape_pb2

# `tf.raw_ops` exists since 1.14; all versions have the generated module with the same ops.
from tensorflow.python.ops import gen_io_ops

restore_v2, save_v2 = gen_io_ops.restore_v2, gen_io_ops.save_v2
# In old versions, the names of the V1 ops begin with an underscore.
save_v1 = getattr(gen_io_ops, "save", None) or gen_io_ops._save
save_slices_v1 = getattr(gen_io_ops, "save_slices", None) or gen_io_ops._save_slices

EAGER = tf.__version__.startswith("2.")


def save(prefix, items, op=save_v2):
    """Write (key, spec, dtype name, value) items with one SaveV2, in the order given.

    `value` is a numpy array, or a tensor if numpy has no such type (eager only). `spec` is the
    op's `shape_and_slices` text: empty for a whole tensor, "7 4 0,3:-" for rows 0 to 2 of a [7, 4].
    op: `save_slices_v1` for a V1 file.
    """
    keys = [key for key, _, _, _ in items]
    specs = [spec for _, spec, _, _ in items]
    if EAGER:
        tensors = [tf.convert_to_tensor(value, dtype=dtype) for _, _, dtype, value in items]
        op(prefix, keys, specs, tensors)
        return
    with tf.Graph().as_default(), tf.Session() as session:
        tensors = [constant(dtype, np.asarray(value)) for _, _, dtype, value in items]
        session.run(op(prefix, keys, specs, tensors))


def constant(dtype, value):
    """Make a Const op with the bytes of an array; in 0.12.1, some dtypes cannot be fed."""
    dtype = tf.as_dtype(dtype)
    sizes = [tensor_shape_pb2.TensorShapeProto.Dim(size=size) for size in value.shape]
    proto = tensor_pb2.TensorProto(
        dtype=dtype.as_datatype_enum, tensor_shape=tensor_shape_pb2.TensorShapeProto(dim=sizes)
    )
    if dtype == tf.string:
        proto.string_val.extend(value.ravel().tolist())
    else:
        proto.tensor_content = value.tobytes()
    attributes = {
        "dtype": attr_value_pb2.AttrValue(type=dtype.as_datatype_enum),
        "value": attr_value_pb2.AttrValue(tensor=proto),
    }
    graph = tf.get_default_graph()
    return graph.create_op("Const", [], [dtype], attrs=attributes).outputs[0]


def save_arrays(prefix, tensors):
    """Write {key: (dtype name, array)} as whole tensors, in the order of the dict."""
    save(prefix, [(key, "", dtype, value) for key, (dtype, value) in tensors.items()])


def save_arrays_v1(path, tensors):
    """Write the same into one V1 file, with the op without slices."""

    def whole(path, keys, specs, values):
        return save_v1(path, keys, values)

    save(path, [(key, "", dtype, value) for key, (dtype, value) in tensors.items()], whole)


def save_slices(prefix, tensors, op=save_v2):
    """Write {key: (dtype name, array, specs)}, with each array cut into slices by its specs."""
    save(
        prefix,
        [
            (key, spec, dtype, value[region(spec)] if spec else value)
            for key, (dtype, value, specs) in tensors.items()
            for spec in specs
        ],
        op,
    )


def save_slices_v1_file(path, tensors):
    """Write the same into one V1 file."""
    save_slices(path, tensors, save_slices_v1)


def restore(prefix, key, spec, dtype):
    """Return the array that RestoreV2 reads."""
    if EAGER:
        return restore_v2(prefix, [key], [spec], [dtype])[0].numpy()
    with tf.Graph().as_default(), tf.Session() as session:
        return session.run(restore_v2(prefix, [key], [spec], [dtype]))[0]


def full_shape(spec):
    """Return the shape of the whole tensor: "7 4 0,3:-" -> (7, 4)."""
    return tuple(int(size) for size in spec.split(" ")[:-1])


def region(spec):
    """Return the index of a slice: "7 4 0,3:-" -> (slice(0, 3), slice(None))."""
    index = []
    for extent in spec.split(" ")[-1].split(":"):
        if extent == "-":
            index.append(slice(None))
        else:
            start, length = extent.split(",")
            index.append(slice(int(start), int(start) + int(length)))
    return tuple(index)
