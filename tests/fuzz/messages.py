"""Protocol buffers as trees of wire-format fields, and changes to them.

A message is a list of fields; `SCHEMAS` lists the fields that are messages.  Bytes that do not
decode as the expected message stay bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from random import Random

from fuzz.noise import Noise, change_number
from support.builders import Extent, varint

VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5
_FIXED_NBYTES = {FIXED64: 8, FIXED32: 4}
_KINDS = {"varint": VARINT, "fixed64": FIXED64, "fixed32": FIXED32}  # all else has a length

SCHEMAS: dict[str, dict[int, str]] = {
    "VersionDef": {1: "varint", 2: "varint", 3: "varint"},
    "Dim": {1: "varint", 2: "bytes"},
    "TensorShapeProto": {2: "Dim", 3: "varint"},
    "Extent": {1: "varint", 2: "varint"},
    "TensorSliceProto": {1: "Extent"},
    # V2
    "BundleHeaderProto": {1: "varint", 2: "varint", 3: "VersionDef"},
    "BundleEntryProto": {
        1: "varint",
        2: "TensorShapeProto",
        3: "varint",
        4: "varint",
        5: "varint",
        6: "fixed32",
        7: "TensorSliceProto",
    },
    # V1
    "SavedTensorSlices": {1: "SavedTensorSliceMeta", 2: "SavedSlice"},
    "SavedTensorSliceMeta": {1: "SavedSliceMeta", 2: "VersionDef"},
    "SavedSliceMeta": {1: "bytes", 2: "TensorShapeProto", 3: "varint", 4: "TensorSliceProto"},
    "SavedSlice": {1: "bytes", 2: "TensorSliceProto", 3: "TensorProto"},
    "TensorProto": {
        1: "varint",
        2: "TensorShapeProto",
        4: "bytes",
        **dict.fromkeys([5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 17, 18], "bytes"),
    },
    # Objects
    "TrackableObjectGraph": {1: "TrackableObject"},
    "TrackableObject": {
        1: "ObjectReference",
        2: "SerializedTensor",
        3: "SlotVariableReference",
        4: "RegisteredSaver",
        5: "BoolValue",
    },
    "ObjectReference": {1: "varint", 2: "bytes"},
    "SerializedTensor": {1: "bytes", 2: "bytes", 3: "bytes"},
    "SlotVariableReference": {1: "varint", 2: "bytes", 3: "varint"},
    "RegisteredSaver": {1: "bytes", 2: "bytes"},
    "BoolValue": {1: "varint"},
    # Graphs
    "SavedModel": {1: "varint", 2: "MetaGraphDef"},
    "MetaGraphDef": {
        1: "MetaInfoDef",
        2: "GraphDef",
        3: "SaverDef",
        4: "CollectionEntry",
        5: "SignatureEntry",
        7: "SavedObjectGraph",
    },
    "MetaInfoDef": {4: "bytes", 5: "bytes", 6: "bytes"},
    "GraphDef": {1: "NodeDef", 2: "FunctionDefLibrary", 4: "VersionDef"},
    "FunctionDefLibrary": {1: "FunctionDef"},
    "FunctionDef": {1: "OpDef", 3: "NodeDef"},
    "OpDef": {1: "bytes"},
    "NodeDef": {1: "bytes", 2: "bytes", 3: "bytes", 5: "AttrEntry"},
    "AttrEntry": {1: "bytes", 2: "AttrValue"},
    "AttrValue": {6: "varint", 7: "TensorShapeProto", 8: "TensorProto"},
    "SaverDef": {4: "varint", 5: "varint", 7: "varint"},
    "CollectionEntry": {1: "bytes", 2: "CollectionDef"},
    "CollectionDef": {1: "BytesList", 2: "VariableList", 3: "BytesList", 4: "BytesList"},
    "BytesList": {1: "bytes"},
    "VariableList": {1: "VariableDef"},
    "VariableDef": {1: "bytes", 4: "SaveSliceInfoDef", 7: "varint"},
    "SaveSliceInfoDef": {1: "bytes", 2: "varint", 3: "varint", 4: "varint"},
    "SignatureEntry": {1: "bytes", 2: "SignatureDef"},
    "SignatureDef": {1: "TensorInfoEntry", 2: "TensorInfoEntry", 3: "bytes"},
    "TensorInfoEntry": {1: "bytes", 2: "TensorInfo"},
    "TensorInfo": {1: "bytes", 2: "varint", 3: "TensorShapeProto"},
    "SavedObjectGraph": {1: "SavedObject"},
    "SavedObject": {1: "ObjectReference", 3: "SlotVariableReference", 7: "SavedVariable"},
    "SavedVariable": {1: "varint", 2: "TensorShapeProto", 3: "varint", 6: "bytes"},
}
"""Message -> number of field -> kind: varint, fixed64, fixed32, bytes, or a message."""

_MOST_DEPTH = 40


_SHORT = [bytes([value]) for value in range(128)]


def _varint(value: int, nbytes: int = 0) -> bytes:
    return _SHORT[value] if value < 128 and nbytes < 2 else varint(value, nbytes)


class Undecodable(ValueError):
    """Bytes that are not what they should be."""


@dataclass
class Field:
    """One field.

    Attributes:
        pad: bytes that its varint (the value, or the length) is stretched to.
        lie: what is added to its length.
    """

    number: int
    wire_type: int
    value: int | bytes | Message
    pad: int = 0
    lie: int = 0

    def __bytes__(self) -> bytes:
        tag = _varint(self.number << 3 | self.wire_type)
        if self.wire_type == LENGTH_DELIMITED:
            payload = bytes(self.value)
            return tag + _varint(max(0, len(payload) + self.lie), self.pad) + payload
        if self.wire_type in _FIXED_NBYTES:
            nbytes = _FIXED_NBYTES[self.wire_type]
            return tag + (self.value % 256**nbytes).to_bytes(nbytes, "little")
        return tag + (_varint(self.value, self.pad) if self.wire_type == VARINT else b"")


@dataclass
class Message:
    """A message of one of the `SCHEMAS`."""

    schema: str
    fields: list[Field] = field(default_factory=list)

    def __bytes__(self) -> bytes:
        return b"".join(map(bytes, self.fields))

    def all(self, number: int) -> list[Field]:
        """The fields of a number."""
        return [item for item in self.fields if item.number == number]

    def get(self, number: int, default: int = 0) -> int:
        """The number in a field, the last one of several."""
        found = [item.value for item in self.all(number) if isinstance(item.value, int)]
        return found[-1] if found else default

    def set(self, number: int, value: int, wire_type: int = VARINT) -> None:
        """Give a field a number, whether or not it was there."""
        for item in reversed(self.all(number)):
            if item.wire_type == wire_type:
                item.value, item.pad = value, 0
                return
        self.fields.append(Field(number, wire_type, value))

    def walk(self) -> Iterator[Message]:
        """This message and all in it."""
        yield self
        for item in self.fields:
            if isinstance(item.value, Message):
                yield from item.value.walk()


def decode_varint(data: bytes, pos: int) -> tuple[int, int]:
    """Return (value, position after it)."""
    if pos < len(data) and data[pos] < 0x80:
        return data[pos], pos + 1
    value = 0
    for i in range(10):
        if pos + i >= len(data):
            break
        value |= (data[pos + i] & 0x7F) << 7 * i
        if data[pos + i] < 0x80:
            return value, pos + i + 1
    raise Undecodable("varint")


def decode(data: bytes, schema: str, depth: int = 0) -> Message:
    """A message from its bytes.

    Raises:
        Undecodable: they are none.
    """
    kinds = SCHEMAS[schema]
    message = Message(schema)
    pos = 0
    while pos < len(data):
        tag, pos = decode_varint(data, pos)
        number, wire_type = tag >> 3, tag & 7
        start = pos
        value: int | bytes | Message
        if wire_type == VARINT:
            value, pos = decode_varint(data, pos)
            message.fields.append(Field(number, wire_type, value, pos - start))
            continue
        if wire_type == LENGTH_DELIMITED:
            nbytes, start = decode_varint(data, pos)
        elif wire_type in _FIXED_NBYTES:
            nbytes = _FIXED_NBYTES[wire_type]
        else:
            raise Undecodable("wire type")
        value, pos = data[start : start + nbytes], start + nbytes
        if pos > len(data):
            raise Undecodable("length")
        if wire_type != LENGTH_DELIMITED:
            value = int.from_bytes(value, "little")
        elif kinds.get(number) in SCHEMAS and depth < _MOST_DEPTH:
            with suppress(Undecodable):
                value = decode(value, kinds[number], depth + 1)
        message.fields.append(Field(number, wire_type, value))
    return message


def decode_extents(item: Field) -> list[Extent] | None:
    """What a TensorSliceProto says; None of one that does not decode."""
    if not isinstance(item.value, Message):
        return None
    extents: list[Extent] = []
    for extent in item.value.all(1):
        if not isinstance(extent.value, Message):
            return None
        whole = not extent.value.all(2)
        start, length = extent.value.get(1), extent.value.get(2)
        extents.append(None if whole else (start % 2**63, length % 2**63))
    return extents


# Changes


def change_message(message: Message, rng: Random, noise: Noise) -> None:
    """Change one thing in a message, or in one of those in it."""
    nodes = list(message.walk())
    node = rng.choice(nodes)
    if not node.fields or rng.random() < 0.1:
        _insert_field(node, rng, noise)
        return
    place = rng.randrange(len(node.fields))
    item = node.fields[place]
    kind = rng.randrange(12)
    if kind == 0:
        del node.fields[place]
    elif kind == 1:
        copies = rng.choice([1, 1, 1, 2, 16, 300])
        node.fields[place:place] = [deepcopy(item) for _ in range(copies)]
    elif kind == 2:
        other = rng.randrange(len(node.fields))
        node.fields[place], node.fields[other] = node.fields[other], node.fields[place]
    elif kind == 3:  # the same field of another message of the same kind
        twins = [twin for twin in nodes if twin.schema == node.schema]
        others = rng.choice(twins).all(item.number)
        if others:
            node.fields[place] = deepcopy(rng.choice(others))
    elif kind == 4:  # move everything there: two messages become one
        twins = [twin for twin in nodes if twin.schema == node.schema and twin is not node]
        if twins:
            node.fields += deepcopy(rng.choice(twins).fields)
    elif kind == 5:
        item.pad = rng.choice([0, 2, 3, 5, 9, 10, 11])
    elif kind == 6:
        item.lie = rng.choice([-2, -1, 1, 2, 100, 2**31, 2**32, 2**63, 2**64])
    elif kind == 7:
        _change_wire_type(item, rng)
    elif kind == 8:  # a message in itself, so deep that parsers take offence
        _nest(node, item, rng)
    else:
        _change_value(item, rng, noise)


def _insert_field(node: Message, rng: Random, noise: Noise) -> None:
    kinds = SCHEMAS[node.schema]
    number = rng.choice([*kinds, *kinds, rng.choice([0, 1, 15, 16, 99, 2**29 - 1])])
    kind = kinds.get(number, rng.choice(["varint", "bytes", "fixed32", "fixed64"]))
    value: int | bytes | Message
    if kind in _KINDS:
        wire_type, value = _KINDS[kind], change_number(0, rng)
    else:
        wire_type = LENGTH_DELIMITED
        value = Message(kind) if kind in SCHEMAS else noise(rng.randbytes(rng.randrange(8)))
    node.fields.insert(rng.randrange(len(node.fields) + 1), Field(number, wire_type, value))


def _change_wire_type(item: Field, rng: Random) -> None:
    payload = bytes(item.value) if not isinstance(item.value, int) else varint(item.value)
    item.wire_type = rng.choice([VARINT, FIXED64, LENGTH_DELIMITED, FIXED32, 3, 4, 6])
    number = int.from_bytes(payload[:8], "little")
    item.value = payload if item.wire_type == LENGTH_DELIMITED else number


def _nest(node: Message, item: Field, rng: Random) -> None:
    payload = bytes(item)
    for _ in range(rng.choice([1, 2, 50, 101, 1000])):
        payload = bytes(Field(item.number, LENGTH_DELIMITED, payload))
    if len(payload) < 3000:
        node.fields.append(Field(item.number, LENGTH_DELIMITED, payload))


def _change_value(item: Field, rng: Random, noise: Noise) -> None:
    if isinstance(item.value, int):
        item.value, item.pad = change_number(item.value, rng), 0
    elif isinstance(item.value, bytes):
        item.value = noise(item.value)
    else:
        item.value = noise(bytes(item.value))
