"""Changes to V2 checkpoints: their entries, slices and payloads, with checksums made right again.

A bundle is a container: its index, then its shards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from fuzz.container import join, split
from fuzz.messages import (
    FIXED32,
    LENGTH_DELIMITED,
    Field,
    Message,
    Undecodable,
    change_message,
    decode,
    decode_extents,
    decode_varint,
)
from fuzz.noise import NUMBERS, Noise, change_number
from fuzz.tables import (
    BlockParts,
    TableParts,
    change_entries,
    change_table,
    damage_checksum,
    decode_table,
)
from support.builders import (
    Entry,
    Extent,
    bundle_entry,
    bundle_header,
    masked_crc32c,
    slice_key,
    string_payload,
    tensor_shape,
    tensor_slice,
    variant_payload,
    varint,
)

STRING, VARIANT = 7, 21
ITEMSIZES = {
    **dict.fromkeys([4, 6, 10, 11, 12, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33], 1),
    **dict.fromkeys([5, 14, 15, 16, 17, 19], 2),
    **dict.fromkeys([1, 3, 13, 22], 4),
    **dict.fromkeys([2, 8, 9, 23], 8),
    18: 16,
}
"""Bytes of an element by number of the dtype, where they are all alike."""

_DTYPE, _SHAPE, _SHARD_ID, _OFFSET, _SIZE, _CRC32C, _SLICES = range(1, 8)
_MOST_STRINGS = 1000


@dataclass
class BundleParts:
    """A bundle, taken apart."""

    table: TableParts
    shards: list[bytearray]

    def __bytes__(self) -> bytes:
        return join([bytes(self.table), *map(bytes, self.shards)])

    def messages(self) -> Iterator[tuple[BlockParts, int, Message]]:
        """Block, place in the block and message of every entry that decodes."""
        for part, i in list(self.table.entries()):
            key, value = part.entries[i]
            try:
                message = decode(value, schema_of(key))
            except Undecodable:
                continue
            yield part, i, message


def schema_of(key: bytes) -> str:
    """The schema of the value under a key."""
    return "BundleEntryProto" if key else "BundleHeaderProto"


def decode_bundle(data: bytes) -> BundleParts:
    """A bundle from its container.

    Raises:
        Undecodable: the index is no table.
    """
    index, *shards = split(data)
    return BundleParts(decode_table(index), list(map(bytearray, shards)))


def cut_bundle(bundle: BundleParts, most_nbytes: int) -> Iterator[bytes]:
    """Small bundles of some tensors each, of one that is too large; without partitioned ones."""
    entries: list[Entry] = []
    shard = bytearray()
    cut = []
    for part, i, message in bundle.messages():
        key, value = part.entries[i]
        if not key or message.all(_SLICES):
            continue
        start, stop = _range(message)
        payload = bundle.shards[message.get(_SHARD_ID)][start:stop]
        if len(value) + len(payload) > most_nbytes // 2:
            continue
        if len(shard) + len(payload) + 40 * len(entries) > most_nbytes // 2:
            cut.append((entries, shard))
            entries, shard = [], bytearray()
        message.set(_SHARD_ID, 0)
        message.set(_OFFSET, len(shard))
        entries.append((key, bytes(message)))
        shard += payload
    for some, its_shard in [*cut, (entries, shard)]:
        table = TableParts([BlockParts([(b"", bundle_header(1)), *some])])
        yield bytes(BundleParts(table, [its_shard]))


def _range(message: Message) -> tuple[int, int]:
    return message.get(_OFFSET), message.get(_OFFSET) + message.get(_SIZE)


# Repair


def repair(bundle: BundleParts) -> None:
    """Make all checksums of tensors right for the bytes that they are of."""
    header = bundle.table.values().get(b"", b"")
    try:
        order = "big" if decode(header, "BundleHeaderProto").get(2) == 1 else "little"
    except Undecodable:
        order = "little"
    found = list(bundle.messages())
    for only_numbers in (False, True):  # those of strings and variants are in the shards
        for part, i, message in found:
            key = part.entries[i][0]
            shard_id = message.get(_SHARD_ID)
            start, stop = _range(message)
            is_number = message.get(_DTYPE) not in (STRING, VARIANT)
            known = shard_id < len(bundle.shards) and stop <= len(bundle.shards[shard_id])
            if not key or not known or is_number != only_numbers:
                continue
            shard = bundle.shards[shard_id]
            payload = bytes(shard[start:stop])
            try:
                if message.get(_DTYPE) == STRING:
                    payload, crc = _repair_strings(payload, _num_elements(message), order)
                elif message.get(_DTYPE) == VARIANT:
                    payload, crc = _repair_variants(payload, _num_elements(message))
                else:
                    crc = masked_crc32c(payload)
            except Undecodable:
                continue
            shard[start:stop] = payload
            if message.get(_CRC32C, -1) not in (-1, crc):
                message.set(_CRC32C, crc, FIXED32)
                part.entries[i] = key, bytes(message)


def _num_elements(message: Message) -> int:
    size = 1
    for shape in message.all(_SHAPE):
        if isinstance(shape.value, Message):
            for dim in shape.value.all(2):
                size *= dim.value.get(1) if isinstance(dim.value, Message) else 0
    if size > _MOST_STRINGS:
        raise Undecodable("too many")
    return size


def split_strings(payload: bytes, count: int) -> tuple[list[int], int]:
    """Lengths of strings, and where they end."""
    lengths = []
    pos = 0
    for _ in range(count):
        nbytes, pos = decode_varint(payload, pos)
        lengths.append(nbytes)
    return lengths, pos


def _repair_strings(payload: bytes, count: int, order: str) -> tuple[bytes, int]:
    lengths, pos = split_strings(payload, count)
    coded = b"".join(n.to_bytes(4 if n < 2**32 else 8, order) for n in map(_cut, lengths))
    stored = masked_crc32c(coded).to_bytes(4, order)
    payload = (payload[:pos] + stored + payload[pos + 4 :])[: len(payload)]
    return payload, masked_crc32c(coded, payload[pos:])


def _cut(length: int) -> int:
    return length % 2**64


def _repair_variants(payload: bytes, count: int) -> tuple[bytes, int]:
    hashed = b""
    pos = 0
    for _ in range(count):
        nbytes, start = decode_varint(payload, pos)
        pos = start + nbytes
        if pos + 4 > len(payload):
            raise Undecodable("variant")
        hashed += nbytes.to_bytes(8, "little") + payload[start:pos]
        stored = masked_crc32c(hashed).to_bytes(4, "little")
        payload = payload[:pos] + stored + payload[pos + 4 :]
        hashed += stored
        pos += 4
    return payload, masked_crc32c(hashed)


# Changes


def change_bundle(data: bytes, rng: Random, noise: Noise) -> bytes:
    """A bundle that differs in some places; its checksums are right, but for one time in twenty."""
    try:
        bundle = decode_bundle(data)
    except Undecodable:
        parts = split(data)
        place = rng.randrange(len(parts))
        parts[place] = noise(parts[place])
        return join(parts)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 6])):
        rng.choice(_CHANGES)(bundle, rng, noise)
    if rng.random() < 0.95:
        repair(bundle)
    elif rng.random() < 0.5:
        damage_checksum(bundle.table, rng)
    return bytes(bundle)


def _change_structure(bundle: BundleParts, rng: Random, noise: Noise) -> None:
    change_table(bundle.table, rng, noise)


def _change_entries(bundle: BundleParts, rng: Random, noise: Noise) -> None:
    change_entries(bundle.table, rng, noise)


def _change_message(bundle: BundleParts, rng: Random, noise: Noise) -> None:
    """Any field of any entry, or its bytes."""
    places = list(bundle.table.entries())
    if not places:
        return
    part, i = rng.choice(places)
    key, value = part.entries[i]
    try:
        message = decode(value, schema_of(key))
    except Undecodable:
        part.entries[i] = key, noise(value)
        return
    change_message(message, rng, noise)
    part.entries[i] = key, bytes(message)


def _change_shard(bundle: BundleParts, rng: Random, noise: Noise) -> None:
    """Bytes of one tensor, of the same or another number; or which shards there are."""
    if not bundle.shards:
        bundle.shards.append(bytearray(b"\0" * 16))
    place = rng.randrange(len(bundle.shards))
    kind = rng.randrange(6)
    if kind == 0:
        del bundle.shards[place]
    elif kind == 1:
        bundle.shards.insert(place, bundle.shards[place][: rng.choice([0, 1, 1000])])
    else:
        shard = bundle.shards[place]
        start = rng.randrange(len(shard) + 1)
        changed = noise(bytes(shard[start : start + 16]))
        nbytes = 16 if rng.random() < 0.3 else len(changed)
        shard[start : start + nbytes] = changed


def _change_place(bundle: BundleParts, rng: Random, noise: Noise) -> None:
    """Offset, size, shard: to what is there, and to one more or fewer."""
    chosen = _choose(bundle, rng)
    if chosen is None:
        return
    part, i, message = chosen
    sizes = [len(shard) for shard in bundle.shards] or [0]
    start, stop = _range(message)
    number = rng.choice([_OFFSET, _SIZE, _SHARD_ID])
    near = {
        _OFFSET: [rng.choice(sizes) - (stop - start) + d for d in (-1, 0, 1)],
        _SIZE: [rng.choice(sizes) - start + d for d in (-1, 0, 1)],
        _SHARD_ID: [len(sizes) - 1, len(sizes), 0],
    }[number]
    value = rng.choice([*near, change_number(message.get(number), rng)])
    message.set(number, value % 2**64)
    part.entries[i] = part.entries[i][0], bytes(message)


def _change_type(bundle: BundleParts, rng: Random, noise: Noise) -> None:
    """Another dtype, and a shape that agrees with it and the size, so that it can be read."""
    chosen = _choose(bundle, rng)
    if chosen is None:
        return
    part, i, message = chosen
    dtype = rng.choice([*range(36), 101])
    nbytes = message.get(_SIZE)
    count = nbytes // ITEMSIZES.get(dtype, 1)
    dims = rng.choice(
        [[count], [1, count], [count, 1], [2, count // 2], [0, count], [], [1] * 40, [1] * 70]
    )
    if rng.random() < 0.3:
        dims = [*dims, 0, rng.choice(NUMBERS) % 2**63]
    message.fields = [item for item in message.fields if item.number not in (_DTYPE, _SHAPE)]
    message.fields.insert(0, Field(_DTYPE, 0, dtype))
    message.fields.insert(1, Field(_SHAPE, LENGTH_DELIMITED, tensor_shape(dims)))
    if rng.random() < 0.7 and dtype in ITEMSIZES:
        size = ITEMSIZES[dtype]
        for dim in dims:
            size *= dim
        message.set(_SIZE, size % 2**64)
    part.entries[i] = part.entries[i][0], bytes(message)


def _change_strings(bundle: BundleParts, rng: Random, noise: Noise) -> None:
    """A tensor becomes one of strings or variants, whose payload is anew in a shard."""
    chosen = _choose(bundle, rng)
    if chosen is None or not bundle.shards:
        return
    part, i, _ = chosen
    strings = [noise(b"ab")[:40] for _ in range(rng.choice([0, 1, 2, 3, 8]))]
    if rng.random() < 0.3:
        dtype, (payload, crc) = VARIANT, variant_payload(strings)
    else:
        dtype, (payload, crc) = STRING, string_payload(strings)
        if rng.random() < 0.6:
            lengths = [len(string) for string in strings]
            for _ in range(rng.choice([1, 2])):
                if lengths:
                    lengths[rng.randrange(len(lengths))] = change_number(2, rng)
            pads = [rng.choice([0, 0, 0, 2, 9, 10, 11]) for _ in lengths]
            coded = b"".join(map(varint, lengths, pads))
            payload = coded + b"\0\0\0\0" + b"".join(strings)
    shard_id = rng.randrange(len(bundle.shards))
    shard = bundle.shards[shard_id]
    place = {"shard_id": shard_id, "offset": len(shard), "size": len(payload)}
    count = len(strings) if rng.random() < 0.9 else change_number(len(strings), rng)
    dims = rng.choice([[count], [count, 1], [1, count]])
    shard += payload
    part.entries[i] = part.entries[i][0], bundle_entry(dtype, dims, crc=crc, **place)


def _change_slices(bundle: BundleParts, rng: Random, noise: Noise) -> None:
    """A partitioned tensor with other slices, and entries under their keys."""
    entries = {part.entries[i][0]: (part, i, message) for part, i, message in bundle.messages()}
    owners = [key for key, (_, _, message) in entries.items() if key and message.all(_SLICES)]
    if not owners or rng.random() < 0.1:
        _partition(bundle, rng)
        return
    key = rng.choice(owners)
    part, i, owner = entries[key]
    slices = owner.all(_SLICES)
    chosen = rng.choice(slices)
    extents = decode_extents(chosen)
    if extents is None:
        return
    old_key = slice_key(key, extents)
    kind = rng.randrange(6)
    if kind == 0 or not extents:
        owner.fields.remove(chosen)
    elif kind == 1:
        owner.fields.append(Field(_SLICES, LENGTH_DELIMITED, tensor_slice(extents)))
    else:
        axis = rng.randrange(len(extents))
        start, length = extents[axis] or (0, 1)
        changed: Extent = rng.choice(
            [
                None,
                (start, change_number(length, rng) % 2**63),
                (change_number(start, rng) % 2**63, length),
                (start + 1, length),
                (start, length + 1),
                (start, 0),
            ]
        )
        extents = [*extents[:axis], changed, *extents[axis + 1 :]]
        chosen.value = tensor_slice(extents)
        if old_key in entries and rng.random() < 0.9:
            of_slice, j, piece = entries[old_key]
            if rng.random() < 0.8:
                _fit(piece, extents, owner)
            of_slice.entries[j] = slice_key(key, extents), bytes(piece)
            for block in bundle.table.blocks:
                block.separator = None
    part.entries[i] = key, bytes(owner)
    for block in bundle.table.blocks:
        block.entries.sort()


def _fit(piece: Message, extents: list[Extent], owner: Message) -> None:
    """Give the entry of a slice the shape of its extents, and the size of its shape."""
    whole = [
        dim.value.get(1) if isinstance(dim.value, Message) else 0
        for shape in owner.all(_SHAPE)
        if isinstance(shape.value, Message)
        for dim in shape.value.all(2)
    ]
    whole += [1] * len(extents)
    dims = [whole[axis] if e is None else e[1] for axis, e in enumerate(extents)]
    piece.fields = [item for item in piece.fields if item.number != _SHAPE]
    piece.fields.insert(0, Field(_SHAPE, LENGTH_DELIMITED, tensor_shape(dims)))
    size = ITEMSIZES.get(piece.get(_DTYPE), 1)
    for dim in dims:
        size *= dim
    piece.set(_SIZE, size % 2**64)


def _partition(bundle: BundleParts, rng: Random) -> None:
    """A tensor of bytes in a number of slices, right or nearly so."""
    num_slices = rng.choice([1, 2, 3, 7])
    length = rng.choice([1, 2, 5])
    shard_id = rng.randrange(len(bundle.shards) or 1)
    extents: list[list[Extent]] = [[(i * length, length), None] for i in range(num_slices)]
    whole = [num_slices * length, 2]
    entries = [(b"part", bundle_entry(4, whole, slices=extents))]
    for i, extent in enumerate(extents):
        nbytes = 2 * length
        place = {"shard_id": shard_id, "offset": i * nbytes, "size": nbytes}
        entries.append((slice_key(b"part", extent), bundle_entry(4, [length, 2], crc=1, **place)))
    if rng.random() < 0.3:
        del entries[rng.randrange(len(entries))]
    known = bundle.table.values()
    merged = sorted({**known, **dict(entries)}.items())
    bundle.table.blocks = [BlockParts(merged)]
    bundle.table.index = None


def _change_order(bundle: BundleParts, rng: Random, noise: Noise) -> None:
    """Another byte order or number of shards in the header."""
    count = rng.choice([1, len(bundle.shards), len(bundle.shards) + 1, change_number(1, rng)])
    header = bundle_header(count % 2**64, rng.choice([0, 1, 1, 2]), producer=rng.choice([0, 1, 9]))
    for part, i in bundle.table.entries():
        if part.entries[i][0] == b"":
            part.entries[i] = b"", header


def _choose(bundle: BundleParts, rng: Random) -> tuple[BlockParts, int, Message] | None:
    """Some entry of a tensor."""
    found = [item for item in bundle.messages() if item[0].entries[item[1]][0]]
    return rng.choice(found) if found else None


_CHANGES = [
    _change_structure,
    _change_structure,
    _change_entries,
    _change_message,
    _change_message,
    _change_message,
    _change_shard,
    _change_place,
    _change_type,
    _change_strings,
    _change_slices,
    _change_slices,
    _change_order,
]
