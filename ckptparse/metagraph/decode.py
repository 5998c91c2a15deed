"""Decode the parts of graph messages: nested messages, dtypes and partial shapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ckptparse.messages.wire import LENGTH_DELIMITED, Field, iterate_fields
from ckptparse.metagraph.graph import Shape
from ckptparse.tensors.dtypes import lookup


def iterate_messages(buffer: memoryview, start: int, stop: int) -> Iterator[Field]:
    """Yield the places of messages and strings in the message at start..stop of a buffer.

    Raises:
        CorruptCheckpointError: there is no message at start..stop.
    """
    for field in iterate_fields(buffer, start, stop):
        if field.wire_type == LENGTH_DELIMITED:
            yield field


def decode_dtype(number: int) -> str | None:
    """TensorFlow's name of a type; None for DT_INVALID, which says nothing."""
    return lookup(number).name if number else None


def decode_partial_shape(message: Any) -> Shape:
    """The sizes of a TensorShapeProto, None for one that varies; None for any rank."""
    if message.unknown_rank:
        return None
    return tuple(None if dim.size < 0 else dim.size for dim in message.dim)
