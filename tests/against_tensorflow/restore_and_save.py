"""Restore checkpoints with TensorFlow, and save them again.

    python restore_and_save.py CASES.json ANSWERS.json

This is a script for the Python of an installed TensorFlow: 1.15, for which ckptparse is too new, or
the newest.  It runs with Python 3.7 and imports nothing of this repository.

A case is a checkpoint with its tensors, in the order in which they were saved.  The answer has what
each of TensorFlow's readers returned: dtypes, shapes, and the values as digests.  The tensors are
saved again, in the same order, by the operation SaveV2 under `prefix` + "-again".
"""

import hashlib
import json
import sys
import traceback

import numpy as np
import tensorflow as tf

v1 = tf.compat.v1

MANY = 10000
"""More tensors are not restored, as this takes TensorFlow 2.21 a minute for 100,000 of them."""


def digest(array):
    """Return a digest of values; the test computes the same of the arrays that were saved."""
    array = np.asarray(array, object if isinstance(array, bytes) else None)
    if array.dtype == object:
        values = b"".join(len(x).to_bytes(8, "little") + x for x in array.ravel().tolist())
    else:
        values = array.tobytes()
    return hashlib.sha256(values).hexdigest()[:16]


def values_of_data_file(prefix, tensors):
    """Return the vectors of floats that follow each other in a data file."""
    stored = np.fromfile(prefix + ".data-00000-of-00001", np.float32)
    stops = np.cumsum([size for (size,) in (tensor["shape"] for tensor in tensors)])
    return [tf.constant(part) for part in np.split(stored, stops[:-1])]


def restore_and_save(prefix, tensors):
    """Restore each tensor, slices one by one, and save them all again; return the digests."""
    names, specs, dtypes = [], [], []
    for tensor in tensors:
        for spec in tensor["slices"] or [""]:
            names.append(bytes.fromhex(tensor["name"]))
            specs.append(spec)
            dtypes.append(tf.as_dtype(tensor["dtype"]))
    if len(names) > MANY:
        values = values_of_data_file(prefix, tensors)
    else:
        values = tf.raw_ops.RestoreV2(
            prefix=prefix, tensor_names=names, shape_and_slices=specs, dtypes=dtypes
        )
    tf.raw_ops.SaveV2(
        prefix=prefix + "-again", tensor_names=names, shape_and_slices=specs, tensors=values
    )
    return [[value.dtype.name, value.shape.as_list(), digest(value.numpy())] for value in values]


def read(prefix):
    """Return what `tf.train.load_checkpoint` reads: the name of each tensor -> its answer."""
    reader = tf.train.load_checkpoint(prefix)
    shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    found = {}
    for name in shapes:
        try:
            value = digest(reader.get_tensor(name))
        except Exception as error:  # some dtypes cannot be read so
            value = str(error)
        found[name] = [tf.as_dtype(dtypes[name]).name, shapes[name], value]
    return found


def restore_variables(prefix, variables):
    """Restore variables, some of them partitioned, with a Saver; return their digests."""
    with tf.Graph().as_default(), v1.Session() as session:
        found = []
        for variable in variables:
            count, axis = variable["partitions"]
            partitioner = v1.fixed_size_partitioner(count, axis) if count > 1 else None
            kept = v1.get_variable(
                variable["name"],
                variable["shape"],
                tf.as_dtype(variable["dtype"]),
                v1.zeros_initializer(),
                partitioner=partitioner,
                use_resource=variable["resource"],
            )
            parts = list(kept) if partitioner else [kept]
            assert len(parts) == count
            found.append([part.read_value() for part in parts])
        v1.train.Saver().restore(session, prefix)
        values = session.run(found)
    return [
        digest(np.concatenate(parts, variable["partitions"][1]) if len(parts) > 1 else parts[0])
        for variable, parts in zip(variables, values)
    ]


def answer(case):
    """Return the answers for one case."""
    prefix = case["prefix"]
    answers = {}
    for key, call, wanted in (
        ("restored", restore_and_save, case.get("tensors")),
        ("read", lambda prefix, _: read(prefix), case.get("read")),
        ("variables", restore_variables, case.get("variables")),
    ):
        if wanted:
            try:
                answers[key] = call(prefix, wanted)
            except Exception:
                answers[key] = traceback.format_exc()
    return answers


if __name__ == "__main__":
    v1.enable_eager_execution()
    with open(sys.argv[1]) as file:
        cases = json.load(file)
    answers = {name: answer(case) for name, case in cases.items()}
    with open(sys.argv[2], "w") as file:
        json.dump({"version": tf.__version__, "answers": answers}, file)
