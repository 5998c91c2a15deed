"""Let TensorFlow read a checkpoint, and write the values to expected.json and expected.bin.

`fixtures/README.md` describes the two files.
"""

import json
import re
import struct
import sys

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2

from harness import ops

assert sys.byteorder == "little", "expected.bin is little-endian"

PREFIX = "model.ckpt"


class IncompleteError(Exception):
    """The slices do not cover the tensor exactly once, so there is no expected value."""


class Checkpoint:
    """The path of a checkpoint, and its format."""

    def __init__(self, path, version):
        # Readers of 0.12.1 find a file only if its path has a folder.
        self.path = "./" + path
        self.version = version

    def open_reader(self):
        """Open a CheckpointReader, whose name depends on the version of TensorFlow."""
        train = tf.train if hasattr(tf.train, "NewCheckpointReader") else tf.compat.v1.train
        return train.NewCheckpointReader(self.path)


def record(specs=None, written=None, errors=(), prefix=PREFIX):
    """Write expected.json and expected.bin for the checkpoint in the working directory.

    specs: {key: [spec, ...]}, the slices as they were saved.
    written: {key: (dtype name, shape)} for a checkpoint that TensorFlow's reader fails to list.
    errors: results of `refusal` for tensors that TensorFlow refused to write.
    """
    document = describe(Checkpoint(prefix, "v2"), "expected.bin", specs, written, errors)
    write_json("expected.json", dict({"prefix": prefix}, **document))


def record_v1(specs=None, written=None, errors=(), path=PREFIX, stem="expected"):
    """Write the same for V1 files.

    path: the path to open, a file or a glob of shards.
    stem: the name of the two files, without suffix.
    """
    document = describe(Checkpoint(path, "v1"), stem + ".bin", specs, written, errors)
    head = {"prefix": PREFIX, "format": "v1", "path": path}
    write_json(stem + ".json", dict(head, **document))


def describe(checkpoint, payloads, specs, written, errors):
    """Describe a checkpoint as TensorFlow reads it; write the values into the file `payloads`."""
    specs = {as_bytes(key): value for key, value in (specs or {}).items()}
    errors = list(errors)
    tensors = []
    with open(payloads, "wb") as stream:
        for key, dtype, shape, listed in contents(checkpoint, written, errors):
            value, read_by = read(checkpoint, key, dtype, shape, specs.get(key, []), errors)
            payload = b"" if value is None else encode(value, dtype, shape)
            entry = named(key)
            entry.update(
                dtype=dtype.name,
                dtype_number=int(dtype.as_datatype_enum),
                shape=list(shape),
                offset=stream.tell(),
                nbytes=len(payload),
                read_by=read_by,
            )
            if not listed:
                entry["listed"] = False
            tensors.append(entry)
            stream.write(payload)
    slices = [dict(named(key), specs=specs[key]) for key in sorted(specs)]
    return {"tensors": tensors, "slices": slices, "errors": errors}


def contents(checkpoint, written, errors):
    """Return (key, dtype, shape, listed) of each tensor, as TensorFlow lists them or as written."""
    try:
        reader = checkpoint.open_reader()
        shapes = reader.get_variable_to_shape_map()
        dtypes = dtype_map(reader)
    except Exception as error:
        if written is None:
            raise
        errors.append(refusal("list", error))
        shapes = {key: shape for key, (_, shape) in written.items()}
        dtypes = {key: tf.as_dtype(dtype) for key, (dtype, _) in written.items()}
        listed = False
    else:
        listed = True
    found = [(as_bytes(key), dtypes[key], tuple(shapes[key]), listed) for key in shapes]
    return sorted(found, key=lambda tensor: tensor[0])


def dtype_map(reader):
    """Return the dtype of each tensor, by name."""
    if hasattr(reader, "get_variable_to_dtype_map"):
        return {key: tf.as_dtype(d) for key, d in reader.get_variable_to_dtype_map().items()}
    # 0.12.1 returns dtypes only in a text of lines such as "name (DT_FLOAT) [2,3]". For a tensor in
    # slices, V2 has lines with the keys of the slices (not UTF-8), and V1 adds ", 3 slices".
    dtypes = {}
    for line in reader.debug_string().decode("utf-8", "replace").splitlines():
        name, dtype = re.match(r"(.*) \((DT_\w+)\) \[[^ ]*\](?:, \d+ slices)?$", line).groups()
        dtypes[name] = tf.as_dtype(types_pb2.DataType.Value(dtype))
    for name in set(reader.get_variable_to_shape_map()) - set(dtypes):
        dtypes[name] = tf.as_dtype(reader.get_tensor(name).dtype)
    return dtypes


def read(checkpoint, key, dtype, shape, specs, errors):
    """Read a tensor; return its value and the way of reading, or (None, None) if there is no way.

    CheckpointReader is the first way, because most programs use it. It refuses some tensors that
    the op can read.
    """
    path = checkpoint.path
    ways = [
        ("get_tensor", lambda: checkpoint.open_reader().get_tensor(key.decode("utf-8"))),
        ("RestoreV2", lambda: ops.restore(path, key, "", dtype)),
    ]
    if specs:
        ways.append(("RestoreV2 of each slice", lambda: assemble(path, key, dtype, shape, specs)))
    if dtype.name == "variant":
        ways = ways[:1]  # RestoreV2 returns an opaque tensor
    if checkpoint.version == "v1" and len(specs) == 1:
        ways = ways[1:]  # get_tensor returns uninitialised memory outside of the slice
    for way, attempt in ways:
        try:
            return attempt(), way
        except IncompleteError:
            continue
        except Exception as error:
            errors.append(refusal(way, error, key))
    return None, None


def assemble(path, key, dtype, shape, specs):
    """Read each slice with RestoreV2, and assemble the tensor."""
    pieces = [(ops.region(spec), ops.restore(path, key, spec, dtype)) for spec in specs]
    result = np.empty(shape, dtype=pieces[0][1].dtype)
    times_covered = np.zeros(shape, dtype=int)
    for region, piece in pieces:
        result[region] = piece
        times_covered[region] += 1
    if not (times_covered == 1).all():
        raise IncompleteError(key)
    return result


def encode(value, dtype, shape):
    """Return the bytes of a value in C order; each string follows its length in 8 bytes."""
    if dtype.name == "string":
        elements = np.asarray(value, dtype=object)
        assert elements.shape == shape, (elements.shape, shape)
        return b"".join(struct.pack("<Q", len(item)) + item for item in elements.ravel())
    value = np.asarray(value)
    assert value.shape == shape, (value.shape, shape)
    return value.tobytes()


def refusal(doing, error, key=None):
    """Return an entry for `errors`, without the part of the message about the op in the graph."""
    entry = {} if key is None else named(key)
    text = (getattr(error, "message", None) or str(error)).split("\n\t [[")[0]
    entry.update(doing=doing, type=type(error).__name__, text=text)
    return entry


def as_bytes(key):
    """Return a key as it is stored."""
    return key if isinstance(key, bytes) else key.encode("utf-8")


def named(key):
    """Return {"name": ...}, or {"name_hex": ...} if the key is not UTF-8."""
    key = as_bytes(key)
    try:
        return {"name": key.decode("utf-8")}
    except UnicodeDecodeError:
        return {"name_hex": key.hex()}


def write_json(name, document):
    """Write JSON with one line per item of a list: short, readable, suitable for a diff."""
    fields = []
    for field, value in document.items():
        if isinstance(value, list):
            text = "[" + ",".join("\n  " + json.dumps(entry) for entry in value) + "]"
        else:
            text = json.dumps(value)
        fields.append(json.dumps(field) + ": " + text)
    with open(name, "w") as stream:
        stream.write("{" + ",\n".join(fields) + "}\n")
