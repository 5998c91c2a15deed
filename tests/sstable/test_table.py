"""Whole tables: lookups, scans, how little is read, and each structural field damaged in turn."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain

import pytest
import snappy

from ckptparse.errors import (
    CheckpointError,
    ChecksumError,
    CorruptCheckpointError,
    NotACheckpointError,
    TruncatedError,
)
from ckptparse.sources import MemorySource
from ckptparse.sstable import Table
from support import builders
from support.builders import (
    CountingSource,
    Entry,
    Stored,
    block,
    block_entry,
    bundle_entry,
    bundle_header,
    footer,
    handle,
    masked_crc32c,
    shortest_separator,
    split,
    table,
    varint,
)


def scan(table: Table) -> Iterator[tuple[bytes, bytes | memoryview]]:
    """All entries of all blocks."""
    return chain.from_iterable(map(table.scan_block, range(table.num_blocks)))


def open_table(contents: bytes) -> Table:
    return Table(MemorySource("x.index", contents))


def numbered(count: int) -> list[Entry]:
    """The empty key, which every checkpoint has, and names with long common prefixes."""
    names = [b"model/block_%d/layer_%03d/kernel" % (i % 3, i) for i in range(count - 1)]
    return [(key, b"value of " + key) for key in sorted([b"", *names])]


ENTRIES = numbered(100)
BLOCKS = split(ENTRIES, 7)

SHAPES: dict[str, tuple[Sequence[Entry], int, dict[str, object]]] = {
    "one entry": (numbered(1), 1, {}),
    "one block": (ENTRIES, 1000, {}),
    "an entry per block": (ENTRIES, 1, {}),
    "seven per block": (ENTRIES, 7, {}),
    "no prefixes": (ENTRIES, 20, {"restart_interval": 1}),
    "restarts every 2": (ENTRIES, 20, {"restart_interval": 2}),
    "restarts every 1000": (ENTRIES, 33, {"restart_interval": 1000}),
    "shared index keys": (ENTRIES, 3, {"index_restart_interval": 16}),
    "index of one restart": (ENTRIES, 3, {"index_restart_interval": 1000}),
    "snappy": (ENTRIES, 7, {"snappy_blocks": True}),
    "snappy index": (ENTRIES, 7, {"snappy_blocks": True, "snappy_index": True}),
    "padding of ff": (ENTRIES, 7, {"padding": 0xFF}),
    "any byte": (
        [(bytes([i]), b"") for i in range(256)] + [(b"\xff" * n, b"v" * n) for n in range(2, 9)],
        5,
        {},
    ),
    "empty values": ([(b"%03d" % i, b"") for i in range(50)], 4, {}),
    "long values": ([(b"%d" % i, bytes([i]) * 20_000) for i in range(9)], 2, {}),
}
by_shape = pytest.mark.parametrize(
    ("entries", "size", "options"), SHAPES.values(), ids=list(SHAPES)
)


@by_shape
def test_scan_gives_every_entry_in_order(
    entries: Sequence[Entry], size: int, options: dict[str, object]
) -> None:
    opened = open_table(table(*split(entries, size), **options))
    assert [(key, bytes(value)) for key, value in scan(opened)] == list(entries)
    assert opened.num_blocks == -(-len(entries) // size)


@by_shape
def test_get_equals_scan(entries: Sequence[Entry], size: int, options: dict[str, object]) -> None:
    opened = open_table(table(*split(entries, size), **options))
    scanned = dict(scan(opened))
    assert {key: opened.get(key) for key, _ in entries} == scanned
    assert {key: opened.get(key) for key, _ in reversed(entries)} == scanned


@by_shape
def test_get_of_a_key_that_is_not_there_is_none(
    entries: Sequence[Entry], size: int, options: dict[str, object]
) -> None:
    opened = open_table(table(*split(entries, size), **options))
    keys = {key for key, _ in entries}
    near = {key + b"\x00" for key in keys} | {key[:-1] for key in keys}
    near |= {key[:-1] + bytes([key[-1] ^ 1]) for key in keys if key}
    # separators are not names
    near |= {shortest_separator(key, None) for key in keys} | {b"\xff" * 20}
    assert {key for key in near - keys if opened.get(key) is not None} == set()


def test_the_annotated_table_of_the_format_is_built_and_read() -> None:
    entries = [
        (b"", bundle_header()),
        (b"a", bundle_entry(10, (1,), size=1, crc=masked_crc32c(b"\x01"))),
        (b"b", bundle_entry(1, (2,), offset=1, size=8, crc=0x35E53C59)),
    ]
    written_by_tensorflow = bytes.fromhex(
        "0000 0608 011a 0208 0100 010f 6108 0a12"
        "0412 0208 0128 0135 052b 2843 0001 1162"
        "0801 1204 1202 0802 2001 2808 3559 3ce5"
        "3500 0000 0001 0000 0000 3222 37ef 0000"
        "0000 0100 0000 00c0 f2a1 b000 0102 6300"
        "3900 0000 0001 0000 0000 a175 6bff 3e08"
        "4b0e" + "00" * 36 + "57fb 808b 2475 47db"
    )
    assert table(entries) == written_by_tensorflow
    assert list(scan(open_table(written_by_tensorflow))) == entries


@pytest.mark.parametrize(
    ("last", "following", "separator"),
    [
        (b"j/some/scope/number/08999", None, b"k"),
        (b"\x00beta", b"\x00gamma", b"\x00c"),
        (b"\x00gamma\x00\x01", b"\x00gamma2\x00\x01", b"\x00gamma\x01"),
        (b"\x00gamma", b"\x00gamma2", b"\x00gamma"),
        (b"", b"\x00a", b""),
        (b"", None, b""),
        (b"\xff\xff", None, b"\xff\xff"),
    ],
)
def test_separators_are_those_that_tensorflow_writes(
    last: bytes, following: bytes | None, separator: bytes
) -> None:
    assert shortest_separator(last, following) == separator


def test_the_first_separator_can_be_the_empty_key() -> None:
    opened = open_table(table(*split(ENTRIES, 1)))
    assert opened.get(b"") == ENTRIES[0][1]
    assert opened.get(ENTRIES[1][0]) == ENTRIES[1][1]


def test_a_table_without_blocks_is_empty() -> None:
    opened = open_table(table())
    assert list(scan(opened)) == []
    assert opened.get(b"") is None
    assert opened.num_blocks == 0


def test_an_empty_data_block_is_stepped_over() -> None:
    contents = table(
        ENTRIES[:5], Stored(block([])), ENTRIES[5:], separators={1: ENTRIES[4][0] + b"!"}
    )
    opened = open_table(contents)
    assert list(scan(opened)) == ENTRIES
    assert opened.get(ENTRIES[4][0] + b"!") is None


def test_bytes_behind_a_handle_are_ignored() -> None:
    nbytes = len(block(ENTRIES))
    opened = open_table(table(ENTRIES, handles={0: handle(0, nbytes) + b"more"}))
    assert list(scan(opened)) == ENTRIES


# Laziness


@pytest.mark.parametrize("copies", [True, False], ids=["copies", "views"])
@pytest.mark.parametrize("count", [10, 100, 10_000])
def test_opening_reads_footer_and_index_block_and_get_one_data_block(
    count: int, copies: bool
) -> None:
    entries = numbered(count)
    source = CountingSource(table(*split(entries, 7)), mapped=not copies)
    opened = Table(source)
    data_nbytes = sum(len(block(part)) + 5 for part in split(entries, 7))
    index_start = data_nbytes + len(block([])) + 5
    nbytes = len(source.contents)
    assert sorted(source.reads) == [(index_start, nbytes - 48), (nbytes - 48, nbytes)]

    key, value = entries[count // 2]
    i = (count // 2) // 7
    start = sum(len(block(part)) + 5 for part in split(entries, 7)[:i])
    source.reads.clear()
    assert opened.get(key) == value
    assert source.reads == [(start, start + len(block(split(entries, 7)[i])) + 5)]


@pytest.mark.parametrize("key", [b"zzz", b"\xff" * 9])
def test_a_key_behind_the_last_separator_reads_nothing(key: bytes) -> None:
    source = CountingSource(table(*BLOCKS))
    opened = Table(source)
    source.reads.clear()
    assert opened.get(key) is None
    assert source.reads == []


def test_scan_reads_every_block_once() -> None:
    source = CountingSource(table(*BLOCKS))
    opened = Table(source)
    source.reads.clear()
    assert len(list(scan(opened))) == len(ENTRIES)
    assert len(source.reads) == len(BLOCKS) == len(set(source.reads))


# Damage: each case is a field, the rest of the file with its checksums is right

KEY = BLOCKS[3][0][0]


def require_error(
    contents: bytes, error_class: type[CheckpointError], match: str, *, at_open: bool = False
) -> CheckpointError:
    """Check that opening, scanning and a lookup in the fourth block raise the same error."""
    if at_open:
        with pytest.raises(error_class, match=match) as error:
            open_table(contents)
    else:
        opened = open_table(contents)
        with pytest.raises(error_class, match=match):
            list(scan(opened))
        with pytest.raises(error_class, match=match) as error:
            opened.get(KEY)
        assert opened.get(BLOCKS[1][0][0]) == BLOCKS[1][0][1], "other blocks stay readable"
    assert type(error.value) is error_class
    assert error.value.file == "x.index"
    assert error.value.expected is not None
    assert error.value.found is not None
    return error.value


def start_of(i: int) -> int:
    return sum(len(block(part)) + 5 for part in BLOCKS[:i])


@pytest.mark.parametrize("block_type", [2, 3, 255])
def test_an_unknown_block_type_is_an_error(block_type: int) -> None:
    error = require_error(
        table(*BLOCKS, block_types={3: block_type}), CorruptCheckpointError, "block type"
    )
    assert (error.offset, error.found) == (start_of(3), str(block_type))


@pytest.mark.parametrize("crc_xor", [1, 0x80000000, 0xFFFFFFFF])
def test_a_wrong_checksum_of_a_data_block_is_an_error(crc_xor: int) -> None:
    error = require_error(
        table(*BLOCKS, crc_xors={3: crc_xor}), ChecksumError, "bytes of the block do not match"
    )
    assert error.offset == start_of(3)


@pytest.mark.parametrize("place", [0, 17, len(block(BLOCKS[3])) - 1, len(block(BLOCKS[3]))])
def test_a_flipped_bit_of_a_data_block_is_an_error(place: int) -> None:
    damaged = bytearray(table(*BLOCKS))
    damaged[start_of(3) + place] ^= 0x10
    require_error(bytes(damaged), ChecksumError, "bytes of the block do not match")


def test_a_wrong_checksum_of_the_index_block_is_an_error_at_open() -> None:
    index = Stored(block([(b"z", handle(0, 8))]), crc_xor=1)
    error = require_error(table(*BLOCKS, index=index), ChecksumError, "checksum", at_open=True)
    assert error.offset == start_of(len(BLOCKS)) + len(block([])) + 5


NBYTES = len(table(*BLOCKS))


@pytest.mark.parametrize(
    "place",
    [
        handle(NBYTES, 100),
        handle(2**32, 100),
        handle(2**63, 100),
        handle(2**64 - 1, 2**64 - 1),
        handle(start_of(3), NBYTES),
        handle(start_of(3), 2**40),
        handle(start_of(3), 2**64 - 1),
        handle(start_of(3), NBYTES - start_of(3) - 48 - 4),
    ],
    ids=["end", "4 GiB", "2**63", "2**64-1", "file", "1 TiB", "size 2**64-1", "into the footer"],
)
def test_an_index_handle_outside_the_file_is_an_error_at_open(place: bytes) -> None:
    contents = table(*BLOCKS, index_handle=place)
    tracemalloc.start()
    try:
        require_error(contents, CorruptCheckpointError, "block handle", at_open=True)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "place",
    [
        handle(start_of(3), NBYTES),
        handle(start_of(3), 2**40),
        handle(start_of(3), 2**64 - 1),
        handle(start_of(3), NBYTES - 48 - start_of(3) - 4),
    ],
    ids=["file", "1 TiB", "2**64-1", "into the footer"],
)
def test_a_data_handle_of_too_many_bytes_is_an_error(place: bytes) -> None:
    # Blocks after it would overlap it, so it is the last one.
    contents = table(*BLOCKS[:4], handles={3: place})
    require_error(contents, CorruptCheckpointError, "handle of block 3", at_open=True)


@pytest.mark.parametrize("offset", [NBYTES, 2**32, 2**63, 2**64 - 1])
def test_a_data_handle_behind_the_file_is_an_error(offset: int) -> None:
    contents = table(*BLOCKS[:4], handles={3: handle(offset, 100)})
    require_error(contents, CorruptCheckpointError, "handle of block 3", at_open=True)


@pytest.mark.parametrize(
    "offset", [0, start_of(2), start_of(3) - 6], ids=["backwards", "same", "overlapping"]
)
def test_data_handles_that_do_not_follow_each_other_are_an_error_at_open(offset: int) -> None:
    place = handle(offset, len(block(BLOCKS[3])))
    contents = table(*BLOCKS, handles={3: place})
    error = require_error(contents, CorruptCheckpointError, "handle of block 3", at_open=True)
    assert error.found == str(offset)


@pytest.mark.parametrize("into", range(1, 6))
def test_a_data_block_in_the_trailer_of_the_one_before_is_an_error_at_open(into: int) -> None:
    place = handle(start_of(3) - into, len(block(BLOCKS[3])))
    contents = table(*BLOCKS, handles={3: place})
    require_error(contents, CorruptCheckpointError, "handle of block 3", at_open=True)


@pytest.mark.parametrize("nbytes", range(4))
def test_a_handle_that_is_cut_is_an_error_at_open(nbytes: int) -> None:
    place = handle(start_of(3), len(block(BLOCKS[3])))
    assert len(place) == 4
    contents = table(*BLOCKS, handles={3: place[:nbytes]})
    require_error(contents, CorruptCheckpointError, "varint", at_open=True)


@pytest.mark.parametrize("shift", [-1, 1])
def test_a_handle_of_the_wrong_size_is_a_wrong_checksum(shift: int) -> None:
    place = handle(start_of(3), len(block(BLOCKS[3])) + shift)
    contents = table(*BLOCKS[:4], handles={3: place})
    require_error(contents, ChecksumError, "bytes of the block do not match")


@pytest.mark.parametrize(
    "separators",
    [
        {3: BLOCKS[2][0][0]},
        {2: BLOCKS[3][-1][0] + b"x", 3: BLOCKS[3][-1][0]},
        {2: b"m", 3: b"m"},
        {0: b"\xff"},
    ],
    ids=["falling", "crossed", "twice", "first above all"],
)
def test_separators_that_do_not_increase_are_an_error_at_open(
    separators: dict[int, bytes],
) -> None:
    contents = table(*BLOCKS, separators=separators)
    error = require_error(contents, CorruptCheckpointError, "order of keys", at_open=True)
    assert error.offset is not None
    assert error.offset > start_of(len(BLOCKS))


def test_a_separator_below_the_last_key_of_its_block_is_an_error() -> None:
    opened = open_table(table(*BLOCKS, separators={3: BLOCKS[3][2][0]}))
    with pytest.raises(
        CorruptCheckpointError, match=r"(?s:last key of block 3.*)at most its separator"
    ):
        list(scan(opened))


def test_a_separator_that_reaches_the_next_block_is_an_error() -> None:
    opened = open_table(table(*BLOCKS, separators={3: BLOCKS[4][0][0]}))
    with pytest.raises(
        CorruptCheckpointError, match=r"(?s:first key of block 4.*)one above"
    ) as error:
        list(scan(opened))
    assert error.value.file == "x.index"


SWAPPED = [BLOCKS[0], BLOCKS[2], BLOCKS[1], *BLOCKS[3:]]
DOUBLED = [*BLOCKS[:2], [BLOCKS[1][-1], *BLOCKS[2]], *BLOCKS[3:]]


def true_separators(blocks: Sequence[Sequence[Entry]]) -> dict[int, bytes]:
    """Separators that increase, from blocks in the right order."""
    return {i: blocks[i][-1][0] for i in range(len(blocks))}


@pytest.mark.parametrize("blocks", [SWAPPED, DOUBLED], ids=["swapped blocks", "key in two blocks"])
def test_keys_that_do_not_increase_across_blocks_are_an_error(
    blocks: Sequence[Sequence[Entry]],
) -> None:
    opened = open_table(table(*blocks, separators=true_separators(BLOCKS)))
    with pytest.raises(CorruptCheckpointError, match=r"key of block [12]") as error:
        list(scan(opened))
    assert error.value.file == "x.index"
    assert error.value.expected is not None
    assert error.value.found is not None


@pytest.mark.parametrize("keys", [[b"b", b"a"], [b"a", b"a"]], ids=["falling", "twice"])
def test_keys_that_do_not_increase_within_a_block_are_an_error_with_its_place(
    keys: list[bytes],
) -> None:
    damaged = Stored(block([(key, b"") for key in keys]))
    opened = open_table(table([(b"", b"")], damaged, separators={0: b"", 1: b"c"}))
    with pytest.raises(CorruptCheckpointError, match="order of keys") as error:
        list(scan(opened))
    start = len(block([(b"", b"")])) + 5
    assert error.value.offset == start + len(block_entry(b"", b"")) + 1


@pytest.mark.parametrize(
    "contents",
    [
        b"",
        bytes(7),
        block(BLOCKS[3], num_restarts=0),
        block(BLOCKS[3], num_restarts=2**32 - 1),
        block(BLOCKS[3], restarts=[4]),
        block(BLOCKS[3], restarts=[0, 2**32 - 1]),
        block(BLOCKS[3], restarts=[0, 0]),
    ],
    ids=["empty", "7 bytes", "none", "2**32-1", "not from 0", "outside", "twice"],
)
def test_wrong_restarts_are_an_error_within_their_block(contents: bytes) -> None:
    separators = {2: BLOCKS[2][-1][0], 3: BLOCKS[3][-1][0]}
    blocks = [*BLOCKS[:3], Stored(contents), *BLOCKS[4:]]
    error = require_error(
        table(*blocks, separators=separators), CorruptCheckpointError, "restarts of a block"
    )
    assert error.offset is not None
    assert start_of(3) <= error.offset <= start_of(3) + len(contents)


# Snappy

PLAIN = block(BLOCKS[3])


@pytest.mark.parametrize(
    "compressed",
    [
        b"",
        snappy.compress(PLAIN)[:-1],
        snappy.compress(PLAIN)[:20],
        snappy.compress(PLAIN) + b"\x00",
        varint(2**32 - 1) + snappy.compress(PLAIN)[2:],
        varint(2**32) + snappy.compress(PLAIN)[2:],
        varint(2**63) + snappy.compress(PLAIN)[2:],
        varint(len(PLAIN) - 1) + snappy.compress(PLAIN)[2:],
        varint(len(PLAIN) + 1) + snappy.compress(PLAIN)[2:],
        varint(10) + b"\xfe\xff\xff\xff\x00",
        b"\xff" * 20,
        PLAIN,
    ],
    ids=[
        "nothing",
        "cut by one",
        "cut",
        "longer",
        "4 GiB - 1",
        "4 GiB",
        "2**63",
        "one less",
        "one more",
        "copy from before the start",
        "endless length",
        "not compressed",
    ],
)
def test_damaged_snappy_blocks_are_an_error_without_allocation(compressed: bytes) -> None:
    assert varint(len(PLAIN)) == snappy.compress(PLAIN)[:2]
    separators = {2: BLOCKS[2][-1][0], 3: BLOCKS[3][-1][0]}
    blocks = [*BLOCKS[:3], Stored(compressed, 1), *BLOCKS[4:]]
    opened = open_table(table(*blocks, separators=separators))
    tracemalloc.start()
    try:
        with pytest.raises(CorruptCheckpointError, match=r"snappy|varint") as error:
            opened.get(KEY)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert error.value.file == "x.index"
    assert error.value.offset == start_of(3)
    assert error.value.expected is not None
    assert error.value.found is not None


def test_the_densest_snappy_block_is_read() -> None:
    entries = [(b"k%d" % i, bytes(60_000)) for i in range(5)]
    contents = table(entries, snappy_blocks=True)
    assert len(block(entries)) > 20 * len(contents)
    assert list(scan(open_table(contents))) == entries


# Footers, and files that are something else


@pytest.mark.parametrize("nbytes", [1, 46, 47, 48, 49, 100, 142, NBYTES // 2, NBYTES - 1])
def test_a_table_that_is_cut_is_truncated(nbytes: int) -> None:
    contents = table(*BLOCKS)[:nbytes]
    error = require_error(contents, TruncatedError, "ends before its table does", at_open=True)
    assert error.offset == max(nbytes - 48, 0)
    assert f"at the end of {nbytes} bytes" in str(error)


def test_an_empty_file_is_said_to_be_empty() -> None:
    require_error(b"", TruncatedError, "found: an empty file", at_open=True)


@pytest.mark.parametrize("nbytes", [8, 20, 47])
def test_a_magic_alone_is_no_footer(nbytes: int) -> None:
    require_error(builders.MAGIC.rjust(nbytes, b"\x00"), TruncatedError, "footer", at_open=True)


@pytest.mark.parametrize("place", range(8))
def test_every_byte_of_the_magic_counts(place: int) -> None:
    magic = bytearray(builders.MAGIC)
    magic[place] ^= 1
    entries = [(b"name", b"")]  # does not begin as a checkpoint does
    error = require_error(
        table(entries, magic=bytes(magic)), NotACheckpointError, "the magic 57 fb", at_open=True
    )
    assert error.found == magic.hex(" ")


@pytest.mark.parametrize(
    "handles",
    [
        b"\xff" * 40,
        handle(0, 8) + b"\xff" * 36,
        varint(0) + varint(8) + varint(0) + b"\x80" * 37,
        varint(2**64) + varint(8) + handle(0, 8),
    ],
    ids=["no end", "index no end", "size no end", "65 bits"],
)
def test_footer_handles_that_do_not_end_are_an_error(handles: bytes) -> None:
    contents = bytes(100) + footer(handles, b"")
    error = require_error(contents, CorruptCheckpointError, "varint", at_open=True)
    assert error.offset is not None
    assert 100 <= error.offset < 140


def test_an_unknown_file_shows_its_last_bytes() -> None:
    contents = b"something else entirely, of more than 48 bytes in all, ends here"
    error = require_error(contents, NotACheckpointError, "this is not a checkpoint", at_open=True)
    assert error.found == contents[-8:].hex(" ")


# Any damage

SMALL = table(*split(numbered(12), 4))


def test_every_strict_prefix_of_a_table_is_an_error() -> None:
    opened = []
    for nbytes in range(len(SMALL)):
        with suppress(TruncatedError, NotACheckpointError):
            open_table(SMALL[:nbytes])
            opened.append(nbytes)
    assert opened == []


UNREAD = range(
    sum(len(block(part)) + 5 for part in split(numbered(12), 4)),
    sum(len(block(part)) + 5 for part in split(numbered(12), 4)) + len(block([])) + 5,
)
"""The metaindex block, which is never read."""


def test_every_flipped_byte_of_a_block_is_a_wrong_checksum() -> None:
    found: dict[int, int | None] = {}
    for place in range(len(SMALL) - 48):
        damaged = bytearray(SMALL)
        damaged[place] ^= 0x41
        try:
            list(scan(open_table(bytes(damaged))))
        except ChecksumError as error:
            found[place] = error.offset
    assert [place for place in range(len(SMALL) - 48) if place not in found] == list(UNREAD)
    assert all(offset is not None and offset <= place for place, offset in found.items())


@pytest.mark.parametrize("flip", [0x01, 0x80])
def test_every_flipped_byte_of_the_footer_is_an_error_or_padding(flip: int) -> None:
    num_errors = 0
    for place in range(len(SMALL) - 48, len(SMALL)):
        damaged = bytearray(SMALL)
        damaged[place] ^= flip
        try:
            scanned = list(scan(open_table(bytes(damaged))))
        except (CorruptCheckpointError, NotACheckpointError):
            num_errors += 1
            continue
        assert scanned == numbered(12), place
    assert num_errors > 8  # each byte of the magic, and handles


@pytest.mark.parametrize(("mib", "is_kept"), [(2, True), (15, True), (17, False)])
def test_the_last_large_block_is_kept(mib: int, is_kept: bool) -> None:
    """The block is read once, because V1 has blocks of small tensors next to a large one."""
    values = bytes(mib << 20)
    source = CountingSource(
        table([(b"a", b"1"), (b"b", values), (b"c", b"3")], [(b"d", values)], [(b"x", b"5")])
    )
    opened = Table(source)
    source.reads.clear()
    for key in (b"a", b"c", b"a", b"c"):
        assert opened.get(key) is not None
    assert len(source.reads) == (1 if is_kept else 4)
    assert opened.get(b"d") == values  # and then it is this one
    source.reads.clear()
    assert opened.get(b"a") == b"1"
    assert len(source.reads) == 1
