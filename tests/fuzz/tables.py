"""Tables taken apart and put together again, with every checksum right, or wrong on purpose."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

import snappy

from fuzz.messages import Undecodable, decode_varint
from fuzz.noise import Noise, change_number
from support.builders import (
    FOOTER_NBYTES,
    MAGIC,
    TRAILER_NBYTES,
    Entry,
    Stored,
    block,
    block_entry,
    block_of_bytes,
    compressed,
    handle,
    shortest_separator,
    table,
    varint,
)

_MOST_PLAIN_NBYTES = 1 << 17
_MOST_KEY_NBYTES = 1 << 18


@dataclass
class BlockParts:
    """A data block, field by field; None means the value that a writer would use."""

    entries: list[Entry] = field(default_factory=list)
    snappy: bool = False
    restart_interval: int = 16
    share: bool = True
    restarts: list[int] | None = None
    num_restarts: int | None = None
    contents: bytes | None = None
    block_type: int | None = None
    crc_xor: int = 0
    separator: bytes | None = None
    handle: bytes | None = None

    def store(self) -> Stored:
        """The block as stored in the file."""
        contents = self.contents
        if contents is None:
            contents = block(
                self.entries,
                self.restart_interval,
                share=self.share,
                restarts=self.restarts,
                num_restarts=self.num_restarts,
            )
        stored = compressed(contents) if self.snappy else Stored(contents)
        kind = stored.block_type if self.block_type is None else self.block_type
        return Stored(stored.contents, kind, self.crc_xor)


@dataclass
class TableParts:
    """A table, block by block."""

    blocks: list[BlockParts]
    snappy_index: bool = False
    index_restart_interval: int = 1
    index: Stored | None = None
    index_handle: bytes | None = None
    padding: int = 0
    magic: bytes = MAGIC

    def entries(self) -> Iterator[tuple[BlockParts, int]]:
        """Every entry that is known: its block and its place there."""
        for part in self.blocks:
            if part.contents is None:
                yield from ((part, i) for i in range(len(part.entries)))

    def values(self) -> dict[bytes, bytes]:
        """Key -> value."""
        return dict(part.entries[i] for part, i in self.entries())

    def __bytes__(self) -> bytes:
        separators = {}
        for i, part in enumerate(self.blocks):
            following = self.blocks[i + 1] if i + 1 < len(self.blocks) else None
            last = part.entries[-1][0] if part.entries else b""
            first = following.entries[0][0] if following and following.entries else None
            separators[i] = shortest_separator(last, first)
            if part.separator is not None:
                separators[i] = part.separator
        handles = {i: p.handle for i, p in enumerate(self.blocks) if p.handle is not None}
        return table(
            *(part.store() for part in self.blocks),
            separators=separators,
            handles=handles,
            snappy_index=self.snappy_index,
            index_restart_interval=self.index_restart_interval,
            index=self.index,
            index_handle=self.index_handle,
            padding=self.padding,
            magic=self.magic,
        )


# Decoding


def decode_table(data: bytes) -> TableParts:
    """A table's parts.  What is wrong with a block stays in its contents.

    Raises:
        Undecodable: no footer, or no index block.
    """
    footer = data[-FOOTER_NBYTES:]
    if len(footer) < FOOTER_NBYTES:
        raise Undecodable("footer")
    pos = 0
    for _ in range(2):
        _, pos = decode_varint(footer, pos)
    offset, pos = decode_varint(footer, pos)
    nbytes, pos = decode_varint(footer, pos)
    contents, snappy_index = _contents(data, offset, nbytes)
    entries, _ = decode_block(contents)
    parts = TableParts([], snappy_index)
    for separator, value in entries:
        offset, pos = decode_varint(value, 0)
        nbytes, pos = decode_varint(value, pos)
        try:
            contents, is_snappy = _contents(data, offset, nbytes)
        except Undecodable:
            parts.blocks.append(BlockParts(separator=separator, handle=value))
            continue
        part = BlockParts(snappy=is_snappy, separator=separator)
        try:
            part.entries, part.restart_interval = decode_block(contents)
        except Undecodable:
            part.contents = contents
        parts.blocks.append(part)
    return parts


def _contents(data: bytes, offset: int, nbytes: int) -> tuple[bytes, bool]:
    """The plain contents of a block, and whether they were compressed."""
    end = offset + nbytes + TRAILER_NBYTES
    if end > len(data) - FOOTER_NBYTES:
        raise Undecodable("handle")
    contents = data[offset : offset + nbytes]
    if data[offset + nbytes] != 1:
        return contents, False
    declared, _ = decode_varint(contents, 0)
    if declared > _MOST_PLAIN_NBYTES:
        raise Undecodable("a bomb")
    try:
        return snappy.uncompress(contents), True
    except Exception as error:
        raise Undecodable("snappy") from error


def decode_block(contents: bytes) -> tuple[list[Entry], int]:
    """Entries, and how many there are from one restart to the next."""
    if len(contents) < 8:
        raise Undecodable("block")
    (count,) = struct.unpack("<I", contents[-4:])
    stop = len(contents) - 4 - 4 * count
    if not count or stop < 0:
        raise Undecodable("restarts")
    restarts = struct.unpack(f"<{count}I", contents[stop:-4])
    entries: list[Entry] = []
    interval = 16
    key = b""
    key_nbytes = pos = 0
    while pos < stop:
        if count > 1 and pos == restarts[1]:
            interval = len(entries) or 16
        shared, pos = decode_varint(contents, pos)
        non_shared, pos = decode_varint(contents, pos)
        nbytes, pos = decode_varint(contents, pos)
        value_pos = pos + non_shared
        if value_pos + nbytes > stop or shared > len(key):
            raise Undecodable("entry")
        key = key[:shared] + contents[pos:value_pos]
        key_nbytes += len(key)
        if key_nbytes > _MOST_KEY_NBYTES:
            raise Undecodable("keys that swell")
        pos = value_pos + nbytes
        entries.append((key, contents[value_pos:pos]))
    return entries, interval


# Changes


def change_table(parts: TableParts, rng: Random, noise: Noise) -> None:
    """Change one thing of a table's structure."""
    if not parts.blocks or rng.random() < 0.1:
        _change_index(parts, rng, noise)
        return
    place = rng.randrange(len(parts.blocks))
    part = parts.blocks[place]
    kind = rng.randrange(15)
    if kind == 0:
        part.contents = noise(part.store().contents if not part.snappy else _plain(part))
    elif kind == 1:
        part.snappy = not part.snappy
    elif kind == 2:
        part.restart_interval = rng.choice([1, 1, 2, 3, 16, 1000])
    elif kind == 3:
        part.share = not part.share
    elif kind == 4:
        interesting = [0, 1, 2, 3, 5, 10, 2**31, 2**32 - 1]
        part.restarts = [rng.choice(interesting) for _ in range(rng.randrange(4))]
    elif kind == 5:
        part.num_restarts = rng.choice([0, 1, 2, 3, 1000, 2**30, 2**31, 2**32 - 1])
    elif kind == 6:
        part.block_type = rng.choice([0, 1, 2, 255])
    elif kind == 7:
        near = part.separator or b""
        part.separator = rng.choice([None, b"", b"\xff", near + b"\0", near[:-1], noise(near)])
    elif kind == 8:
        start = change_number(0, rng) if rng.random() < 0.5 else 0
        part.handle = rng.choice([None, handle(start, change_number(10, rng)), noise(handle(0, 9))])
    elif kind == 9:
        other = rng.randrange(len(parts.blocks))
        parts.blocks[place], parts.blocks[other] = parts.blocks[other], part
    elif kind == 10:
        parts.blocks.insert(place, BlockParts(list(part.entries)))
    elif kind == 11 and len(part.entries) > 1:
        cut = rng.randrange(1, len(part.entries))
        parts.blocks.insert(place, BlockParts(part.entries[:cut], part.snappy))
        part.entries = part.entries[cut:]
    elif kind == 12 and part.entries:  # lengths of an entry, written out with their lies
        part.contents = _lying_block(part, rng)
    elif kind == 13:
        _swell(part, rng)
    else:
        change_entries(parts, rng, noise)


def _plain(part: BlockParts) -> bytes:
    return part.contents if part.contents is not None else block(part.entries)


def _lying_block(part: BlockParts, rng: Random) -> bytes:
    """The entries with a wrong or unusual varint somewhere; shares nothing."""
    wrong = rng.randrange(len(part.entries)), rng.randrange(3)
    out = b""
    for i, (key, value) in enumerate(part.entries):
        for j, number in enumerate((0, len(key), len(value))):
            if wrong == (i, j):
                changed = number if rng.random() < 0.3 else change_number(number, rng)
                out += varint(changed, rng.choice([0, 0, 2, 5, 6, 10]))
            else:
                out += varint(number)
        out += key + value
    return out + struct.pack("<2I", 0, 1)


def _swell(part: BlockParts, rng: Random) -> None:
    """Keys that share nearly all of themselves: few bytes on disk, many in memory."""
    key = b"k" * rng.choice([100, 2000, 50_000])
    out = block_entry(key, b"")
    for i in range(rng.choice([9, 900])):
        out += block_entry(bytes([i // 256, i % 256]), b"", len(key))
    part.contents = block_of_bytes(out)
    part.snappy = True
    part.separator = b"\xff"


def change_entries(parts: TableParts, rng: Random, noise: Noise) -> None:
    """Change which entries there are: remove, repeat, swap, rename, give it another's value."""
    places = list(parts.entries())
    if not places:
        return
    part, i = rng.choice(places)
    other_part, j = rng.choice(places)
    key, value = part.entries[i]
    kind = rng.randrange(6)
    if kind == 0:
        del part.entries[i]
    elif kind == 1:
        part.entries.insert(i, (key, value))
    elif kind == 2:
        part.entries[i], other_part.entries[j] = other_part.entries[j], part.entries[i]
    elif kind == 3:
        part.entries[i] = other_part.entries[j][0], value
    elif kind == 4:
        part.entries[i] = noise(key), value
        part.entries.sort()
    else:
        part.entries[i] = key, other_part.entries[j][1]


def _change_index(parts: TableParts, rng: Random, noise: Noise) -> None:
    kind = rng.randrange(6)
    if kind == 0:
        parts.snappy_index = not parts.snappy_index
    elif kind == 1:
        parts.index_restart_interval = rng.choice([1, 2, 16])
    elif kind == 2:
        parts.padding = rng.choice([0, 0xFF])
    elif kind == 3:
        parts.magic = noise(parts.magic)[:8].ljust(8, b"\0")
    elif kind == 4:
        parts.index_handle = handle(change_number(0, rng), change_number(20, rng))
        if len(parts.index_handle) > 20:
            parts.index_handle = handle(0, 2**63)
    else:
        entries = [(part.separator or b"\xff", handle(i, 0)) for i, part in enumerate(parts.blocks)]
        contents = noise(block(entries))
        parts.index = Stored(contents, rng.choice([0, 0, 0, 1]))


def damage_checksum(parts: TableParts, rng: Random) -> None:
    """Have the checksum of one block wrong."""
    if parts.blocks:
        rng.choice(parts.blocks).crc_xor = 1 << rng.randrange(32)
