"""Constants of graphs: what TensorFlow read of those in fixtures/, and graphs field by field."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from support.builders import bytes_field, tensor_shape, varint_field
from support.repository import FIXTURES

GRAPHS = (
    "tf-1.15.5/frozen_conv_net/frozen_inference_graph.pb",
    "tf-1.15.5/frozen_conv_net/frozen_inference_graph.pbtxt",
    "tf-1.15.5/frozen_quantized/quantized_graph.pb",
    "tf-1.15.5/saved_model_frozen/saved_model",
    "tf-2.21.0/constants_dtypes/constants.pb",
    "tf-2.21.0/frozen_functions/frozen.pb",
    "tf-2.21.0/frozen_functions/frozen.pbtxt",
    "tf-2.21.0/saved_model_constants/saved_model",
)
"""The graphs of the fixtures: files, and directories of SavedModels."""


@dataclass(frozen=True)
class ExpectedConstant:
    """A constant as TensorFlow listed and read it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    read_by: str | None
    payload: bytes


@lru_cache(maxsize=None)
def load_constants(graph: str) -> tuple[ExpectedConstant, ...]:
    """The constants of one of GRAPHS, in the order of the file, under the names of ckptparse."""
    folder = FIXTURES / Path(*Path(graph).parts[:2])
    path = "/".join(Path(graph).parts[2:])
    document = json.loads((folder / "expected_constants.json").read_text())
    payloads = (folder / "expected_constants.bin").read_bytes()
    return tuple(
        ExpectedConstant(
            f"{item['function']}/{item['name']}" if item["function"] else item["name"],
            item["dtype"],
            tuple(item["shape"]),
            item["read_by"],
            payloads[item["offset"] : item["offset"] + item["nbytes"]],
        )
        for item in document["constants"]
        if item["path"] == path
    )


# Messages, field by field

FLOAT, INT32, STRING = 1, 3, 7


def tensor(
    dtype: int = FLOAT, shape: Sequence[int] | bytes = (), content: bytes = b"", values: bytes = b""
) -> bytes:
    """A TensorProto; `values` are whole fields."""
    serialized = shape if isinstance(shape, bytes) else tensor_shape(shape)
    parts = [varint_field(1, dtype), bytes_field(2, serialized)]
    if content:
        parts.append(bytes_field(4, content))
    return b"".join(parts) + values


def attr(key: bytes, value: bytes) -> bytes:
    """The field of an attribute of a node; `value` is an AttrValue."""
    return bytes_field(5, bytes_field(1, key) + bytes_field(2, value))


def node(name: bytes, op: bytes = b"Const", attrs: bytes = b"") -> bytes:
    """A NodeDef."""
    return bytes_field(1, name) + bytes_field(2, op) + attrs


def const(name: bytes, proto: bytes) -> bytes:
    """The NodeDef of a constant."""
    return node(name, attrs=attr(b"value", bytes_field(8, proto)))


def graph(*nodes: bytes, functions: Sequence[bytes] = ()) -> bytes:
    """A GraphDef."""
    library = b"".join(bytes_field(1, each) for each in functions)
    serialized = b"".join(bytes_field(1, each) for each in nodes)
    return serialized + (bytes_field(2, library) if functions else b"")


def function(name: bytes, *nodes: bytes) -> bytes:
    """A FunctionDef."""
    signature = bytes_field(1, bytes_field(1, name))
    return signature + b"".join(bytes_field(3, each) for each in nodes)


def saved_model(*graphs: bytes) -> bytes:
    """A SavedModel."""
    return varint_field(1, 1) + b"".join(bytes_field(2, bytes_field(2, each)) for each in graphs)
