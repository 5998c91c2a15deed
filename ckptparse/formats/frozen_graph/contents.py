"""Find the GraphDef in a file, and say what a file without one seems to be."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from ckptparse.encoding.varint import Buffer
from ckptparse.errors import CorruptCheckpointError
from ckptparse.messages.wire import LENGTH_DELIMITED, VARINT, Field, iterate_fields

Range = tuple[int, int]

_SCHEMA_VERSION, _META_GRAPH = 1, 2
_GRAPH = 2

_FIRST_BYTES = {
    *(number << 3 | LENGTH_DELIMITED for number in (1, 2, 4)),
    *(number << 3 | VARINT for number in (1, 3)),
}
"""The tags of the fields of a GraphDef and of a SavedModel."""

_MOST_FIELDS = 10_000
"""Fields that are looked at to say what a file is."""


def find_first_graph(buffer: Buffer, nbytes: int) -> list[Range]:
    """Return start and stop of the GraphDef of the first graph of a SavedModel.

    Protocol buffers allow several, which are merged; without a graph, the result is empty.

    Raises:
        CorruptCheckpointError: the bytes are not a message.
    """
    for model in iterate_fields(buffer, 0, nbytes):
        if (model.number, model.wire_type) == (_META_GRAPH, LENGTH_DELIMITED):
            return [
                (field.start, field.stop)
                for field in iterate_fields(buffer, model.start, model.stop)
                if (field.number, field.wire_type) == (_GRAPH, LENGTH_DELIMITED)
            ]
    return []


def begins_with_version(buffer: Buffer, nbytes: int) -> bool:
    """Return whether a file begins with field 1 as a number, as a SavedModel does.

    Raises:
        CorruptCheckpointError: the first field is invalid.
    """
    first = next(iterate_fields(buffer, 0, nbytes), None)
    return first is not None and first[:2] == (_SCHEMA_VERSION, VARINT)


def describe(buffer: Buffer, nbytes: int) -> str | None:
    """Return what a file that is no frozen graph seems to be, in words; None if that is unknown."""
    if nbytes >= 8 and bytes(buffer[4:8]) == b"TFL3":
        return "a TensorFlow Lite model"
    kinds = set(islice(_kinds(buffer, nbytes), _MOST_FIELDS))
    if nbytes and buffer[0] not in _FIRST_BYTES:
        return "a file of another format"
    numbers = {number for number, _ in kinds}
    if (1, VARINT) in kinds:  # a version, as a SavedModel has
        if max(numbers) >= 200:
            return "a CoreML model"
        if {(7, LENGTH_DELIMITED), (8, LENGTH_DELIMITED)} & kinds:
            return "an ONNX model"
        return None
    if (3, LENGTH_DELIMITED) in kinds or {6, 7} & numbers:
        return "a MetaGraphDef: the content of a .meta file"
    return None


def _kinds(buffer: Buffer, nbytes: int) -> Iterator[tuple[int, int]]:
    """Yield number and wire type of the fields of a message, as far as it is one."""
    fields: Iterator[Field] = iterate_fields(buffer, 0, nbytes)
    try:
        for field in fields:
            yield field.number, field.wire_type
    except CorruptCheckpointError:
        return
