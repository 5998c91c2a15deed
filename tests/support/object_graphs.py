"""Serialized object graphs, field by field, and a checkpoint of scalars for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ckptparse import TensorNotFoundError
from ckptparse.tensors.mapping import TensorMapping
from support.builders import bytes_field, varint_field


def node(*fields: bytes) -> bytes:
    return bytes_field(1, b"".join(fields))


def child(name: str | bytes, node_id: int = 0) -> bytes:
    """A child; as in files, the id 0 is left out."""
    name = name.encode() if isinstance(name, str) else name
    id_field = varint_field(1, node_id) if node_id else b""
    return bytes_field(1, id_field + bytes_field(2, name))


def value(key: str, full_name: str = "") -> bytes:
    return attribute("VARIABLE_VALUE", key, full_name)


def attribute(name: str, key: str, full_name: str = "", more: bytes = b"") -> bytes:
    """An attribute; as in files, a full name "" is left out."""
    full = bytes_field(2, full_name.encode()) if full_name else b""
    return bytes_field(
        2, bytes_field(1, name.encode()) + full + bytes_field(3, key.encode()) + more
    )


def slot(original: int, name: str, variable: int) -> bytes:
    fields = varint_field(1, original) + bytes_field(2, name.encode()) + varint_field(3, variable)
    return bytes_field(3, fields)


def saver(name: str, object_name: str) -> bytes:
    return bytes_field(4, bytes_field(1, name.encode()) + bytes_field(2, object_name.encode()))


class Tensors(TensorMapping):
    """A checkpoint of scalars, by name."""

    def __init__(self, **tensors: float) -> None:
        self.tensors = tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def __contains__(self, name: object) -> bool:
        return name in self.tensors

    def info(self, name: str) -> Any:
        return self.read(name)

    def read(self, name: str, index: object = ...) -> Any:
        if name not in self.tensors:
            raise TensorNotFoundError("no such tensor", tensor=name)
        return np.array(self.tensors[name])
