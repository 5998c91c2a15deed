"""Call TensorFlow's reading functions, and write the results to answers.json.

`fixtures/README.md` describes the file. In paths, a placeholder replaces the folder of the case and
the folder of the fixtures.
"""

import itertools
import os
import pathlib
import time

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2

from harness import oracle

FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "fixtures")
FIXTURES = os.path.normpath(FIXTURES)

# Arrays up to this number of bytes are recorded with all their bytes.
SMALL = 24

STATE_FIELDS = (
    "model_checkpoint_path",
    "all_model_checkpoint_paths",
    "all_model_checkpoint_timestamps",
    "last_preserved_timestamp",
)

# The attributes of a dtype that scripts use.
DTYPE_FIELDS = (
    *("name", "as_datatype_enum", "size", "is_bool", "is_complex", "is_floating"),
    *("is_integer", "is_quantized", "is_unsigned", "is_numpy_compatible"),
)


class Recorder:
    """Collects calls and their results."""

    def __init__(self):
        self.folder = os.getcwd()
        self.answers = []

    def ask(self, function, *arguments, **keywords):
        """Call a function of tf.train, or of tf.compat.v1.train if tf.train does not have it."""
        call = getattr(tf.train, function, None) or getattr(tf.compat.v1.train, function)
        question = {"function": function, "arguments": self.encode_all(arguments)}
        if keywords:
            question["keywords"] = {key: self.encode(value) for key, value in keywords.items()}
        return self.record(question, lambda: call(*arguments, **keywords))

    def ask_reader(self, path, method, *arguments):
        """Call a method of a CheckpointReader."""
        question = {"reader": self.encode(path), "function": method}
        question["arguments"] = self.encode_all(arguments)
        train = tf.train if hasattr(tf.train, "NewCheckpointReader") else tf.compat.v1.train
        return self.record(
            question, lambda: getattr(train.NewCheckpointReader(path), method)(*arguments)
        )

    def record(self, question, call):
        """Add a question with what `call` returns or raises; return whether it returned."""
        try:
            result = call()
        except Exception as error:
            question["raises"] = {
                "type": type(error).__name__,
                "bases": [base.__name__ for base in type(error).__mro__[1:-2]],
                "text": self.neutral(getattr(error, "message", None) or str(error)),
            }
        else:
            question["result"] = self.encode(result)
        self.answers.append(question)
        return "result" in question

    def save(self):
        """Write answers.json."""
        oracle.write_json("answers.json", {"answers": self.answers})

    def neutral(self, text):
        """Replace the paths of the case's folder and of the fixtures by placeholders."""
        return text.replace(self.folder, "{folder}").replace(FIXTURES, "{fixtures}")

    def encode_all(self, items):
        return [self.encode(item) for item in items]

    def encode(self, value):
        """Return a value as JSON: a string, number, None, list, or an object with its type."""
        if value is None or type(value) in (bool, int):
            return value
        if type(value) is float:
            return value if np.isfinite(value) else {"float": str(value)}
        if type(value) is str:
            return self.neutral(value)
        if type(value) is list:
            return self.encode_all(value)
        return {self.type_name(value): self.encode_content(value)}

    @staticmethod
    def type_name(value):
        if isinstance(value, np.generic):
            return "numpy." + type(value).__name__
        if isinstance(value, pathlib.PurePath):
            return "Path"
        return type(value).__name__

    def encode_content(self, value):
        if type(value) is tuple:
            return self.encode_all(value)
        if type(value) is dict:  # sorted, because TensorFlow's order is that of a hash map
            return [[self.encode(key), self.encode(value[key])] for key in sorted(value)]
        if type(value) is bytes:
            try:
                return self.neutral(value.decode("utf-8"))
            except UnicodeDecodeError:
                return {"hex": value.hex()}
        if isinstance(value, pathlib.PurePath):
            return self.neutral(str(value))
        if isinstance(value, np.ndarray):
            return self.encode_array(value)
        if isinstance(value, np.generic):
            return value.tobytes().hex()
        if isinstance(value, tf.DType):
            return value.name
        if type(value).__name__ == "CheckpointState":
            content = {field: getattr(value, field) for field in STATE_FIELDS}
            for field in STATE_FIELDS[1:3]:
                content[field] = list(content[field])
            return {field: self.encode(item) for field, item in content.items()}
        return None

    def encode_array(self, array):
        flags = array.flags
        content = {
            "dtype": str(array.dtype),
            "shape": list(array.shape),
            "writeable": bool(flags.writeable),
            "owndata": bool(flags.owndata),
        }
        assert flags.c_contiguous
        assert flags.aligned
        assert array.dtype.isnative
        if array.dtype == object:
            items = array.ravel().tolist()
            content["item_types"] = sorted({type(item).__name__ for item in items})
            if len(items) <= 8:
                content["items"] = self.encode_all(items)
        elif array.nbytes <= SMALL:
            content["hex"] = array.tobytes().hex()
        return content


def dtype_facts(dtype):
    """Return the attributes of a tf.DType, and the values that it is equal to."""
    facts = {}
    for name in DTYPE_FIELDS:
        if hasattr(dtype, name):
            facts[name] = getattr(dtype, name)
    facts["as_datatype_enum_name"] = types_pb2.DataType.Name(dtype.as_datatype_enum)
    facts["str"], facts["repr"] = str(dtype), repr(dtype)
    numpy_type = dtype.as_numpy_dtype
    facts["as_numpy_dtype"] = repr(numpy_type)
    facts["np.dtype(as_numpy_dtype)"] = str(np.dtype(numpy_type))
    facts["base_dtype"] = dtype.base_dtype.name
    facts["== its name"] = bool(dtype == dtype.name)
    facts["== as_numpy_dtype"] = bool(dtype == numpy_type)
    facts["== np.dtype(as_numpy_dtype)"] = bool(dtype == np.dtype(numpy_type))
    facts["np.dtype(as_numpy_dtype) =="] = bool(np.dtype(numpy_type) == dtype)
    facts["!= its name"] = bool(dtype != dtype.name)
    facts["== None"] = bool(dtype == None)  # noqa: E711
    facts["int()"] = int(dtype) if hasattr(dtype, "__int__") else None
    return facts


class Clock:
    """A replacement of the clock, which advances only during `time.sleep`.

    events: {number of the sleep, from 1: function to call after it}.
    """

    def __init__(self, events=()):
        self.now = 1500000000.0
        self.sleeps = []
        self.events = dict(events)

    def __enter__(self):
        self.real = time.time, time.sleep
        time.time, time.sleep = lambda: self.now, self.sleep
        return self

    def __exit__(self, *_):
        time.time, time.sleep = self.real

    def sleep(self, seconds):
        self.sleeps.append(seconds)
        assert len(self.sleeps) < 200, "never ends"
        self.now += seconds
        self.events.get(len(self.sleeps), lambda: None)()


def take(iterator, count):
    """Return up to `count` items as a list."""
    return list(itertools.islice(iterator, count))
