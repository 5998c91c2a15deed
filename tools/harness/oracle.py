"""Have TensorFlow read a checkpoint back, and write what it read as expected.json and expected.bin.

`fixtures/README.md` says what is in the two files.
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
    """The slices do not make up the tensor, so there is no value to expect."""


class Checkpoint:
    """What to open, and in which of the two formats it is."""

    def __init__(self, path, version):
        # Readers of 0.12.1 find no files without a folder in the path.
        self.path = "./" + path
        self.version = version

    def open_reader(self):
        """A CheckpointReader, by the name that this TensorFlow has for it."""
        train = tf.train if hasattr(tf.train, "NewCheckpointReader") else tf.compat.v1.train
        return train.NewCheckpointReader(self.path)


def record(specs=None, written=None, errors=(), prefix=PREFIX):
    """Write expected.json and expected.bin for the checkpoint in the working directory.

    specs: {key: [spec, ...]}, the slices as they were saved.
    written: {key: (dtype name, shape)} for a checkpoint that TensorFlow's reader fails to list.
    errors: what TensorFlow refused to write, from `refusal`.
    """
    document = describe(Checkpoint(prefix, "v2"), "expected.bin", specs, written, errors)
    write_json("expected.json", dict({"prefix": prefix}, **document))


def record_v1(specs=None, written=None, errors=(), path=PREFIX, stem="expected"):
    """The same for V1 files.

    path: what to open, a file or a glob of shards.
    stem: what the two files are called.
    """
    document = describe(Checkpoint(path, "v1"), stem + ".bin", specs, written, errors)
    head = {"prefix": PREFIX, "format": "v1", "path": path}
    write_json(stem + ".json", dict(head, **document))


def describe(checkpoint, payloads, specs, written, errors):
    """What TensorFlow reads from a checkpoint; the values go to the file `payloads`."""
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
    """(key, dtype, shape, listed) of each tensor, as TensorFlow lists them or as written."""
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
    """The dtype of each tensor by name."""
    if hasattr(reader, "get_variable_to_dtype_map"):
        return {key: tf.as_dtype(d) for key, d in reader.get_variable_to_dtype_map().items()}
    # 0.12.1 tells dtypes only in text, one "name (DT_FLOAT) [2,3]" a line, which in V2 has the keys
    # of the slices (not UTF-8) in place of a sliced tensor, and in V1 ends in ", 3 slices".
    dtypes = {}
    for line in reader.debug_string().decode("utf-8", "replace").splitlines():
        name, dtype = re.match(r"(.*) \((DT_\w+)\) \[[^ ]*\](?:, \d+ slices)?$", line).groups()
        dtypes[name] = tf.as_dtype(types_pb2.DataType.Value(dtype))
    for name in set(reader.get_variable_to_shape_map()) - set(dtypes):
        dtypes[name] = tf.as_dtype(reader.get_tensor(name).dtype)
    return dtypes


def read(checkpoint, key, dtype, shape, specs, errors):
    """The value of a tensor and the way that gave it; (None, None) when there is no way.

    CheckpointReader comes first, as everybody's way; it refuses some tensors that the op can read.
    """
    path = checkpoint.path
    ways = [
        ("get_tensor", lambda: checkpoint.open_reader().get_tensor(key.decode("utf-8"))),
        ("RestoreV2", lambda: ops.restore(path, key, "", dtype)),
    ]
    if specs:
        ways.append(("RestoreV2 of each slice", lambda: assemble(path, key, dtype, shape, specs)))
    if dtype.name == "variant":
        ways = ways[:1]  # RestoreV2 gives an opaque tensor
    if checkpoint.version == "v1" and len(specs) == 1:
        ways = ways[1:]  # get_tensor gives uninitialised memory for what the slice leaves out
    for way, attempt in ways:
        try:
            return attempt(), way
        except IncompleteError:
            continue
        except Exception as error:
            errors.append(refusal(way, error, key))
    return None, None


def assemble(path, key, dtype, shape, specs):
    """Read each slice with RestoreV2 and put the pieces together."""
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
    """The bytes of a value in C order; for strings, each with its 8-byte length before it."""
    if dtype.name == "string":
        elements = np.asarray(value, dtype=object)
        assert elements.shape == shape, (elements.shape, shape)
        return b"".join(struct.pack("<Q", len(item)) + item for item in elements.ravel())
    value = np.asarray(value)
    assert value.shape == shape, (value.shape, shape)
    return value.tobytes()


def refusal(doing, error, key=None):
    """An entry for `errors`: TensorFlow's own words, without those about the op in its graph."""
    entry = {} if key is None else named(key)
    text = (getattr(error, "message", None) or str(error)).split("\n\t [[")[0]
    entry.update(doing=doing, type=type(error).__name__, text=text)
    return entry


def as_bytes(key):
    """The key as it is stored."""
    return key if isinstance(key, bytes) else key.encode("utf-8")


def named(key):
    """{"name": ...}, or {"name_hex": ...} for a key that is not UTF-8."""
    key = as_bytes(key)
    try:
        return {"name": key.decode("utf-8")}
    except UnicodeDecodeError:
        return {"name_hex": key.hex()}


def write_json(name, document):
    """One line per item of a list: short, and fit for reading and for a diff."""
    fields = []
    for field, value in document.items():
        if isinstance(value, list):
            text = "[" + ",".join("\n  " + json.dumps(entry) for entry in value) + "]"
        else:
            text = json.dumps(value)
        fields.append(json.dumps(field) + ": " + text)
    with open(name, "w") as stream:
        stream.write("{" + ",\n".join(fields) + "}\n")
