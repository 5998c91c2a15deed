"""Write what a library reads from a file of named arrays to expected.json and expected.bin.

`fixtures/README.md` describes the two files.
"""

import json
import sys

import numpy as np

assert sys.byteorder == "little", "expected.bin is little-endian"


def record(format, path, arrays, errors=()):
    """Write expected.json and expected.bin.

    format: the name of the format.
    path: the file, in the working directory.
    arrays: (name, array, way of reading), in the order of the library; None as array if there is no
        way to read it.
    errors: results of `refusal`.
    """
    tensors = []
    with open("expected.bin", "wb") as stream:
        for name, array, read_by in arrays:
            payload = b"" if array is None else encode(array)
            entry = {"name": name}
            if array is not None:
                dtype = array.dtype
                entry.update(dtype=dtype.name, shape=list(array.shape))
                if dtype.name not in np.sctypeDict or dtype.byteorder == ">":
                    entry["descr"] = dtype.descr if dtype.fields else dtype.str
            entry.update(offset=stream.tell(), nbytes=len(payload), read_by=read_by)
            tensors.append(entry)
            stream.write(payload)
    document = {"prefix": path, "format": format, "path": path}
    write_json(dict(document, tensors=tensors, errors=list(errors)))


def encode(array):
    """Return the bytes of an array in C order; zeros between the fields of records."""
    if not array.dtype.fields:
        return array.tobytes()
    copied = np.zeros(array.shape, array.dtype)
    for name in array.dtype.names:
        copied[name] = array[name]
    return copied.tobytes()


def refusal(doing, error, name=None):
    """Return an entry for `errors`."""
    entry = {} if name is None else {"name": name}
    entry.update(doing=doing, type=type(error).__name__, text=str(error))
    return entry


def write_json(document):
    """Write expected.json with one line per item of a list, as `oracle.write_json` does."""
    fields = []
    for field, value in document.items():
        if isinstance(value, list):
            text = "[" + ",".join("\n  " + json.dumps(entry) for entry in value) + "]"
        else:
            text = json.dumps(value)
        fields.append(json.dumps(field) + ": " + text)
    with open("expected.json", "w") as stream:
        stream.write("{" + ",\n".join(fields) + "}\n")
