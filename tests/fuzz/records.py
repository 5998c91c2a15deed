"""Changes to V1 checkpoints: their contents, their records, and both together.

A checkpoint is a container of its files.
"""

from __future__ import annotations

from random import Random

from fuzz.container import join, split
from fuzz.messages import (
    FIXED32,
    FIXED64,
    LENGTH_DELIMITED,
    VARINT,
    Field,
    Message,
    Undecodable,
    change_message,
    decode,
    decode_extents,
    decode_varint,
)
from fuzz.noise import Noise, change_number
from fuzz.tables import (
    BlockParts,
    TableParts,
    change_entries,
    change_table,
    damage_checksum,
    decode_table,
)
from support.builders import Extent, slice_key, tensor_slice, varint

_SCHEMA = "SavedTensorSlices"
_META, _DATA = 1, 2
_NAME, _SHAPE, _TYPE, _SLICE = 1, 2, 3, 4
_FIELDS = {1: 5, 2: 6, 3: 7, 4: 7, 5: 7, 6: 7, 7: 8, 8: 9, 9: 10, 10: 11, 18: 12, 19: 13, 22: 16}
"""Number of a dtype -> field of its values; some."""


def change_record_files(data: bytes, rng: Random, noise: Noise) -> bytes:
    """V1 files that differ in some places; checksums of blocks are right but for a few."""
    files = split(data)
    place = rng.randrange(len(files))
    try:
        table = decode_table(files[place])
    except Undecodable:
        files[place] = noise(files[place])
        return join(files)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 6])):
        rng.choice(_CHANGES)(table, rng, noise)
    if rng.random() < 0.03:
        damage_checksum(table, rng)
    files[place] = bytes(table)
    if rng.random() < 0.03:
        files.insert(place, files[place])
    elif rng.random() < 0.03 and len(files) > 1:
        del files[place]
    return join(files)


def _change_message(table: TableParts, rng: Random, noise: Noise) -> None:
    """Any field of the contents or of a record, or its bytes."""
    places = list(table.entries())
    if not places:
        return
    part, i = rng.choice([places[0], *places])
    key, value = part.entries[i]
    try:
        message = decode(value, _SCHEMA)
    except Undecodable:
        part.entries[i] = key, noise(value)
        return
    change_message(message, rng, noise)
    part.entries[i] = key, bytes(message)


def _change_values(table: TableParts, rng: Random, noise: Noise) -> None:
    """The values of a record: cut, in pieces, one by one, other numbers."""
    tensors = []
    for part, i in table.entries():
        try:
            message = decode(part.entries[i][1], _SCHEMA)
        except Undecodable:
            continue
        for node in message.walk():
            if node.schema == "TensorProto" and node.fields:
                tensors.append((part, i, message, node))
    if not tensors:
        return
    part, i, message, tensor = rng.choice(tensors)
    place = rng.randrange(len(tensor.fields))
    item = tensor.fields[place]
    if not isinstance(item.value, bytes):
        return
    kind = rng.randrange(5)
    if kind == 0:
        cut = rng.randrange(len(item.value) + 1)
        pieces = [item.value[:cut], item.value[cut:]]
        tensor.fields[place : place + 1] = [
            Field(item.number, LENGTH_DELIMITED, piece) for piece in pieces
        ]
    elif kind == 1:
        tensor.fields[place : place + 1] = _unpack(item)
    elif kind == 2:
        pos = rng.randrange(len(item.value) + 1)
        number = varint(change_number(0, rng), rng.choice([0, 0, 2, 5, 10, 11]))
        item.value = item.value[:pos] + number + item.value[pos + rng.randrange(2) :]
    elif kind == 3:
        item.number = rng.choice([4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 17])
    else:
        item.value = noise(item.value)
    part.entries[i] = part.entries[i][0], bytes(message)


def _unpack(item: Field) -> list[Field]:
    """One field for each number of a packed one."""
    assert isinstance(item.value, bytes)
    if item.number in (5, 6, 9, 12):
        width, kind = (4, FIXED32) if item.number in (5, 9) else (8, FIXED64)
        starts = range(0, len(item.value) - width + 1, width)
        pieces = [item.value[start : start + width] for start in starts]
        return [Field(item.number, kind, int.from_bytes(piece, "little")) for piece in pieces]
    fields = []
    pos = 0
    while pos < len(item.value):
        try:
            value, pos = decode_varint(item.value, pos)
        except Undecodable:
            break
        fields.append(Field(item.number, VARINT, value))
    return fields


def _contents(table: TableParts) -> tuple[BlockParts, int, Message, list[Message]] | None:
    """The place of the contents, and the tensors in them."""
    for part, i in table.entries():
        if part.entries[i][0] == b"":
            try:
                message = decode(part.entries[i][1], _SCHEMA)
            except Undecodable:
                return None
            tensors = [node for node in message.walk() if node.schema == "SavedSliceMeta"]
            return (part, i, message, tensors) if tensors else None
    return None


def _change_type(table: TableParts, rng: Random, noise: Noise) -> None:
    """Another dtype in the contents, and the field that goes with it in the records."""
    found = _contents(table)
    if found is None:
        return
    part, i, message, tensors = found
    tensor = rng.choice(tensors)
    dtype = rng.choice([*_FIELDS, *_FIELDS, *range(36), 101])
    tensor.set(_TYPE, dtype)
    part.entries[i] = b"", bytes(message)
    keys = set(_keys(tensor))
    for part, i in table.entries():
        key, value = part.entries[i]
        if key in keys and dtype in _FIELDS:
            try:
                record = decode(value, _SCHEMA)
            except Undecodable:
                continue
            for node in record.walk():
                for item in node.fields if node.schema == "TensorProto" else []:
                    item.number = _FIELDS[dtype]
            part.entries[i] = key, bytes(record)


def _change_slices(table: TableParts, rng: Random, noise: Noise) -> None:
    """Another slice in the contents, and the record under its key."""
    found = _contents(table)
    if found is None:
        return
    part, i, message, tensors = found
    tensor = rng.choice(tensors)
    slices = tensor.all(_SLICE)
    if not slices:
        return
    chosen = rng.choice(slices)
    extents = decode_extents(chosen)
    if not extents:
        return
    name = _name(tensor)
    old_key = slice_key(name, extents)
    axis = rng.randrange(len(extents))
    start, length = extents[axis] or (0, rng.choice([1, 2, 5]))
    changed: Extent = rng.choice(
        [
            None,
            (start, change_number(length, rng) % 2**63),
            (change_number(start, rng) % 2**63, length),
            (start + 1, length),
            (start, max(0, length - 1)),
            (0, length),
        ]
    )
    extents = [*extents[:axis], changed, *extents[axis + 1 :]]
    if rng.random() < 0.2:
        tensor.fields.append(Field(_SLICE, LENGTH_DELIMITED, tensor_slice(extents)))
    else:
        chosen.value = tensor_slice(extents)
    part.entries[i] = b"", bytes(message)
    if rng.random() < 0.9:
        for part, i in table.entries():
            key, value = part.entries[i]
            if key == old_key:
                part.entries[i] = slice_key(name, extents), value
        for block in table.blocks:
            block.entries.sort()
            block.separator = None


def _change_shape(table: TableParts, rng: Random, noise: Noise) -> None:
    """One size of a tensor's shape; whole dimensions of slices follow by themselves."""
    found = _contents(table)
    if found is None:
        return
    part, i, message, tensors = found
    dims = [node for node in rng.choice(tensors).walk() if node.schema == "Dim"]
    if dims:
        dim = rng.choice(dims)
        dim.set(1, change_number(dim.get(1), rng))
        part.entries[i] = b"", bytes(message)


def _name(tensor: Message) -> bytes:
    names = [item.value for item in tensor.all(_NAME) if isinstance(item.value, bytes)]
    return names[-1] if names else b""


def _keys(tensor: Message) -> list[bytes]:
    found = map(decode_extents, tensor.all(_SLICE))
    return [slice_key(_name(tensor), extents) for extents in found if extents is not None]


_CHANGES = [
    change_table,
    change_table,
    change_entries,
    _change_message,
    _change_message,
    _change_values,
    _change_values,
    _change_type,
    _change_slices,
    _change_shape,
]
