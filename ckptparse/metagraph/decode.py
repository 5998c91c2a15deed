"""Decode parts of graph messages: nested messages, dtypes and partial shapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ckptparse.messages.wire import LENGTH_DELIMITED, Field, iterate_fields
from ckptparse.metagraph.graph import Shape
from ckptparse.tensors.dtypes import lookup


def iterate_messages(buffer: memoryview, start: int, stop: int) -> Iterator[Field]:
    """Yield the length-delimited fields (messages and strings) of the message at start..stop.

    Raises:
        CorruptCheckpointError: the bytes at start..stop are not a valid message.
    """
    for field in iterate_fields(buffer, start, stop):
        if field.wire_type == LENGTH_DELIMITED:
            yield field


def decode_dtype(number: int) -> str | None:
    """Return TensorFlow's name of a dtype; None for 0, DT_INVALID, which means "not set"."""
    return lookup(number).name if number else None


def decode_partial_shape(message: Any) -> Shape:
    """Return the sizes of a TensorShapeProto, None for an unknown size; None for unknown rank."""
    if message.unknown_rank:
        return None
    return tuple(None if dim.size < 0 else dim.size for dim in message.dim)
