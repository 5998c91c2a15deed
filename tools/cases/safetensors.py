"""Files of safetensors."""

import json

import ml_dtypes
import numpy as np
import safetensors
from safetensors import SafetensorError, TensorSpec, deserialize, safe_open, serialize_file
from safetensors.numpy import load_file, save_file

from harness import arrays

PATH = "model.safetensors"

# numpy's names, and the sizes of the elements that are smaller than a byte
NUMPY = (
    *("bool", "uint8", "int8", "int16", "uint16", "float16", "int32", "uint32", "float32"),
    *("complex64", "float64", "int64", "uint64"),
)
EXTENSIONS = (
    *("bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu"),
    *("float8_e4m3fnuz", "float8_e5m2fnuz"),
)
PACKED = {"float4_e2m1fn_x2": (2, 2)}

SHAPES = {"scalar": (), "matrix": (3, 4), "empty": (0, 4), "vector": (256,)}


def safetensors_dtypes():
    """A tensor of each dtype that the library writes, as scalar, vector, matrix and empty."""
    made = {}
    for name in (*NUMPY, *EXTENSIONS):
        dtype = np.dtype(getattr(ml_dtypes, name, None) or name)
        bits = np.arange(256, dtype="u1").repeat(dtype.itemsize)
        values = (bits % 2 if name == "bool" else bits).view(dtype)
        for form, shape in SHAPES.items():
            made[name + "/" + form] = values[: int(np.prod(shape))].reshape(shape)
    packed = {name: np.arange(4, dtype="u1").reshape(shape) for name, shape in PACKED.items()}
    write({name: (value, value.dtype.name) for name, value in made.items()}, packed)
    record()


def safetensors_names():
    """Odd names, and metadata; written by safetensors.numpy.save_file."""
    names = [
        "",
        "a/b",
        "\x00",
        "quote\"s'",
        "back\\slash",
        "漢字",
        "\U0001f600",
        "e\u0301",
        "\u00e9",
    ]
    names += ["line\nbreak", "__metadata", "\x7f\u009b", "x" * 300]
    made = {name: np.array([number], "<i2") for number, name in enumerate(names)}
    save_file(made, PATH, metadata={"format": "np", "é": "\n"})
    record()


def safetensors_header():
    """A header in another order, with spaces, escapes, and fields that are ignored."""
    made = {name: np.arange(6, dtype="<f4").reshape(2, 3) + i for i, name in enumerate("zyxé")}
    save_file(made, PATH)
    with open(PATH, "rb") as stream:
        nbytes = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(nbytes).decode())
        payload = stream.read()
    for entry in header.values():
        entry["ignored"] = [1.5, None, {"x": [True]}]
    text = json.dumps(dict(sorted(header.items())), indent=1).encode()
    text += b" " * (-len(text) % 8)
    with open(PATH, "wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text + payload)
    record()


def safetensors_empty():
    """A file without tensors."""
    save_file({}, PATH)
    record()


def write(made, packed):
    """Write arrays of (values, name of the dtype), and packed bytes by the name of the dtype."""
    specs = {name: spec(value, dtype) for name, (value, dtype) in made.items()}
    specs.update({name: spec(value, name) for name, value in packed.items()})
    serialize_file(specs, PATH)


def spec(value, dtype):
    """Return what the library writes for an array."""
    return TensorSpec(
        dtype=dtype, shape=value.shape, data_ptr=value.ctypes.data, data_len=value.nbytes
    )


def numpy_names():
    """Return the library's code for each dtype -> name in numpy or ml_dtypes."""
    one = np.zeros(16, "u1")
    return {spec_of(name, one): name for name in (*NUMPY, *EXTENSIONS)}


def spec_of(name, one):
    """Return the code of the library for a name of numpy."""
    nbytes = np.dtype(getattr(ml_dtypes, name, None) or name).itemsize
    return TensorSpec(dtype=name, shape=[1], data_ptr=one.ctypes.data, data_len=nbytes).dtype


def record():
    """Write expected.json and expected.bin.

    The library has numpy arrays of the dtypes of numpy only. For the others, the bytes and the code
    of the dtype are those that it reads, and the numpy name of the code is the one that it writes.
    """
    names = numpy_names()
    with open(PATH, "rb") as stream:
        read = dict(deserialize(stream.read()))
    with safe_open(PATH, "np") as opened:
        order = opened.offset_keys()
        found, errors = [], []
        for name in order:
            entry = read[name]
            dtype = names.get(entry["dtype"])
            if dtype is None:
                try:
                    opened.get_tensor(name)
                except (SafetensorError, AttributeError) as error:
                    errors.append(arrays.refusal("safe_open", error, name))
                found.append((name, None, None))
            elif dtype in EXTENSIONS:
                value = np.frombuffer(bytes(entry["data"]), getattr(ml_dtypes, dtype))
                found.append((name, value.reshape(entry["shape"]), "deserialize"))
            else:
                found.append((name, opened.get_tensor(name), "safe_open"))
    if not errors and all(read_by == "safe_open" for _, _, read_by in found):
        loaded = load_file(PATH)
        assert all(np.array_equal(loaded[name], value) for name, value, _ in found)
    assert safetensors.__version__
    arrays.record("safetensors", PATH, found, errors)
