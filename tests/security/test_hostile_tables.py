"""Index tables with one wrong field, every checksum right: footer, handles, blocks, entries."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import snappy

from ckptparse import (
    ChecksumError,
    CorruptCheckpointError,
    NotACheckpointError,
    TensorNotFoundError,
    TruncatedError,
    open_checkpoint,
)
from support.builders import (
    Stored,
    block,
    block_entry,
    block_of_bytes,
    build_bundle,
    bundle_entry,
    compressed,
    handle,
    masked_crc32c,
    table,
    varint,
)
from support.hostile import (
    FIND,
    LIST,
    OPEN,
    Refused,
    Right,
    coded,
    each_case,
    field,
    field_rows,
    found_by_verify,
    opened,
    with_outcome,
)

VALUES = {"a": [1.0], "x": [2.0, 3.0], "xy": [4.0]}
BUNDLE = build_bundle({name: np.array(value, "f4") for name, value in VALUES.items()})
FIRST = [(b"", BUNDLE.index[b""]), (b"a", BUNDLE.index[b"a"])]
SECOND = [(b"x", BUNDLE.index[b"x"]), (b"xy", BUNDLE.index[b"xy"])]
"""Entries of two data blocks; the second one, or what leads to it, is what is wrong."""

FIRST_NBYTES, SECOND_NBYTES = len(block(FIRST)), len(block(SECOND))
SECOND_START = FIRST_NBYTES + 5
METAINDEX_START = SECOND_START + SECOND_NBYTES + 5
INDEX_START = METAINDEX_START + len(block([])) + 5
INDEX_NBYTES = len(table(FIRST, SECOND)) - 48 - 5 - INDEX_START

RIGHT = Right(VALUES)


def refused(at: int, words: str, error_class: Any = CorruptCheckpointError) -> Refused:
    return Refused(at, words, error_class, of_index=True, suffix=".index")


def write(folder: Path, index: bytes) -> Path:
    """A checkpoint of `VALUES` with this index."""
    (folder / "m.index").write_bytes(index)
    (folder / "m.data-00000-of-00001").write_bytes(bytes(BUNDLE.shards[0]))
    return folder / "m"


def write_second(folder: Path, second: bytes | Stored, separator: bytes = b"y") -> Path:
    """A checkpoint with this second block: its contents, or its stored form."""
    stored = second if isinstance(second, Stored) else Stored(second)
    return write(folder, table(FIRST, stored, separators={0: b"b", 1: separator}))


@dataclass(frozen=True)
class Unlistable:
    """Only a walk through the whole block sees the damage: listing raises, verification reports.

    A search decodes a few entries of a block only.  It finds the same error, the stored value, or
    nothing; the result is the same in all ways of reading.
    """

    words: str

    def check(self, path: Path) -> None:
        answers = set()
        for ckpt in opened(path):
            for listing in (list, len, lambda ckpt: ckpt.infos()):
                with pytest.raises(CorruptCheckpointError, match=self.words) as error:
                    listing(ckpt)
                assert error.value.file == f"{path}.index"
                assert error.value.offset is not None
            assert {name for name, _ in found_by_verify(ckpt)} == {None}
            try:
                answers.add(str(ckpt["x"].tolist()))
            except (CorruptCheckpointError, TensorNotFoundError) as refusal:
                answers.add(str(refusal))
            assert ckpt["a"].tolist() == VALUES["a"]
        assert len(answers) == 1, answers


# What handles say

NO_VARINT = refused(OPEN, "varint\n  expected: one that ends within 10 bytes")
OUTSIDE = refused(OPEN, "block handle\n  expected: a block before the footer")
DATA_OUTSIDE = refused(OPEN, "handle of block 1\n  expected: a block before the foot")
OTHER_BYTES = refused(OPEN, "bytes of the block do not match", ChecksumError)
OTHER_BYTES_LATER = replace(OTHER_BYTES, at=LIST)
NOT_BEHIND = refused(OPEN, "handle of block 1\n  expected: an offset from")

PLACES = {
    "metaindex": (METAINDEX_START, len(block([]))),
    "index": (INDEX_START, INDEX_NBYTES),
    "data": (SECOND_START, SECOND_NBYTES),
}


def wrong_handle(name: str, value: bytes) -> bytes:
    """The index with this value of one part of one handle."""
    which, part = name.split()
    offset, nbytes = map(varint, PLACES[which])
    wrong = value + nbytes if part == "offset" else offset + value
    options: dict[str, Any] = {f"{which}_handle": wrong}
    return table(FIRST, SECOND, **({"handles": {1: wrong}} if which == "data" else options))


HANDLES = {
    # TensorFlow never reads the metaindex block: its handle has to be one, no more.
    "metaindex offset": field(METAINDEX_START, RIGHT, RIGHT, NO_VARINT),
    "metaindex size": field(len(block([])), RIGHT, RIGHT, NO_VARINT),
    "index offset": field(INDEX_START, RIGHT, OUTSIDE, NO_VARINT, below=OTHER_BYTES),
    "index size": field(INDEX_NBYTES, RIGHT, OUTSIDE, NO_VARINT, below=OTHER_BYTES),
    "data offset": field(
        SECOND_START, RIGHT, DATA_OUTSIDE, NO_VARINT, below=NOT_BEHIND, one_more=OTHER_BYTES_LATER
    ),
    "data size": field(
        SECOND_NBYTES,
        RIGHT,
        DATA_OUTSIDE,
        NO_VARINT,
        below=OTHER_BYTES_LATER,
        one_more=OTHER_BYTES_LATER,
    ),
}

test_handles = each_case(write, field_rows(HANDLES, wrong_handle))


FOOTER_START = INDEX_START + INDEX_NBYTES + 5

PADDINGS = {f"{byte:02x}": table(FIRST, SECOND, padding=byte) for byte in (0x00, 0x01, 0x80, 0xFF)}

test_padding_of_the_footer_means_nothing = each_case(write, PADDINGS, RIGHT)

# It begins as every index does, so it is taken for one whose end is lost.
test_another_magic_is_a_table_that_ends_too_early = each_case(
    write,
    {
        magic.hex(): table(FIRST, SECOND, magic=magic)
        for magic in (bytes(8), b"\xff" * 8, bytes.fromhex("57fb808b247547da"))
    },
    replace(refused(OPEN, "ends before its table does", TruncatedError), offset=FOOTER_START),
)


# Handles that overlap or loop


def with_index_handle(*place: int) -> bytes:
    return table(FIRST, SECOND, index_handle=handle(*place))


def with_data_handles(*places: tuple[int, int]) -> bytes:
    """The last data blocks are at these places."""
    number = 2 - len(places)
    handles = {number + i: handle(*place) for i, place in enumerate(places)}
    return table(FIRST, SECOND, handles=handles)


def first_block_again(times: int) -> bytes:
    entries = [(b"%d" % i, handle(0, FIRST_NBYTES)) for i in range(times)]
    return table(FIRST, SECOND, index=Stored(block(entries, 1)))


def index_of_itself() -> bytes:
    """An index whose only data block is itself."""
    index = Stored(block([(b"y", handle(0, 14))], 1))
    assert len(index.contents) == 14
    return bytes(index) + table(index=index, index_handle=handle(0, 14))


NO_HEADER = refused(OPEN, "header\n  expected: an entry under the empty key.*none")
test_handles_that_overlap_or_loop = each_case(
    write,
    {
        # The header's first two bytes are taken for a handle, (8, 1), and so are those of "a".
        "index at the first data block": (
            with_index_handle(0, FIRST_NBYTES),
            refused(OPEN, "handle of block 1\n  expected: an offset from 14 on"),
        ),
        # Its value is no block: (8, 1) are bytes of the header.
        "index at a block of one entry": (
            table(FIRST[:1], SECOND, index_handle=handle(0, len(block(FIRST[:1])))),
            replace(OTHER_BYTES, offset=8),
        ),
        "index at the metaindex block": (
            with_index_handle(METAINDEX_START, len(block([]))),
            NO_HEADER,
        ),
        **with_outcome(
            OUTSIDE,
            {
                f"index at {nbytes} bytes of the footer": with_index_handle(FOOTER_START, nbytes)
                for nbytes in (0, 35, 43, 48)
            },
        ),
        # A search in it finds nothing; listing sees that its keys are not after the block before.
        "data at the index block": (
            with_data_handles((INDEX_START, INDEX_NBYTES)),
            Unlistable("first key of block 1\n  expected: one above"),
        ),
        "index of nothing but itself": (index_of_itself(), NO_HEADER),
        # An empty block is a sound one: these names are not in the file.
        "data at the metaindex block": (
            with_data_handles((METAINDEX_START, len(block([])))),
            Right({"a": VALUES["a"]}),
        ),
        "one data block twice": (first_block_again(2), NOT_BEHIND),
        "one data block thrice": (first_block_again(3), NOT_BEHIND),
        "data blocks in another order than their keys": (
            with_data_handles((SECOND_START, SECOND_NBYTES), (0, FIRST_NBYTES)),
            NOT_BEHIND,
        ),
    },
)


# Types and checksums of blocks


def index_of_type(kind: int) -> bytes:
    entries = [(b"b", handle(0, FIRST_NBYTES)), (b"y", handle(SECOND_START, SECOND_NBYTES))]
    return table(FIRST, SECOND, index=Stored(block(entries, 1), kind))


def unknown_type(at: int, kind: int, offset: int) -> Refused:
    words = f"block type\n  expected: 0 (?s:.*)found: {kind}$"
    return replace(refused(at, words), offset=offset)


CHECKSUM = masked_crc32c(block(SECOND) + b"\x00")
ROTATED = (CHECKSUM - 0xA282EAD8) % 2**32
CRC_XORS = {
    "^1": 1,
    "^0x8000": 0x8000,
    "^0xffffffff": 0xFFFFFFFF,
    "not masked": CHECKSUM ^ (ROTATED << 15 | ROTATED >> 17) % 2**32,
}

test_wrong_checksums_of_a_data_block = each_case(
    write,
    {name: table(FIRST, SECOND, crc_xors={1: crc_xor}) for name, crc_xor in CRC_XORS.items()},
    replace(OTHER_BYTES_LATER, offset=SECOND_START),
)

test_unknown_types_of_blocks = each_case(
    write,
    {
        f"data-{kind}": (
            table(FIRST, SECOND, block_types={1: kind}),
            unknown_type(LIST, kind, SECOND_START),
        )
        for kind in (2, 3, 0x7F, 0x80, 0xFF)
    }
    | {
        f"index-{kind}": (index_of_type(kind), unknown_type(OPEN, kind, INDEX_START))
        for kind in (2, 0xFF)
    },
)

METAINDEXES = {
    "empty": Stored(b""),
    "type 77": Stored(block([]), 77),
    "wrong checksum": Stored(block([]), crc_xor=1),
    "noise": Stored(b"\xff" * 40),
}

test_a_damaged_metaindex_block_is_not_read = each_case(
    lambda folder, metaindex: write(folder, table(FIRST, SECOND, metaindex=metaindex)),
    METAINDEXES,
    RIGHT,
)

# Restarts

MANY = [(b"x%d" % i, BUNDLE.index[b"x"]) for i in range(6)]
TRUE_RESTARTS = [0] + [len(block(MANY[:n], 2)) - 4 - 4 * (n // 2) for n in (2, 4)]
RESTARTS_OFFSET = len(block(MANY, 2)) - 16

WRONG_COUNT = refused(LIST, "number of restarts of a block\n  expected: 1 to")
WRONG_ARRAY = refused(LIST, "restarts of a block\n  expected: offsets that increase")


def test_the_restarts_that_are_damaged_below_are_the_true_ones() -> None:
    assert block(MANY, 2) == block(MANY, 2, restarts=TRUE_RESTARTS)


def with_count(count: int) -> bytes:
    return block(MANY, 2, num_restarts=count)


test_numbers_of_restarts = each_case(
    write_second,
    {
        "zero": (with_count(0), WRONG_COUNT),
        "one less": (with_count(2), WRONG_ARRAY),  # the first one is taken for an entry
        "one more": (with_count(4), WRONG_ARRAY),  # the end of an entry is taken for one
        "negative": (with_count(2**32 - 1), WRONG_COUNT),
        "2**31": (with_count(2**31), WRONG_COUNT),
        "2**30, 2**32 bytes": (with_count(2**30), WRONG_COUNT),
        **{
            f"a block of {nbytes} bytes": (
                bytes(nbytes),
                refused(LIST, "number of restarts of a block"),
            )
            for nbytes in range(8)
        },
    },
)


def with_restart(which: int, wrong: int) -> bytes:
    restarts = list(TRUE_RESTARTS)
    restarts[which] = wrong
    return block(MANY, 2, restarts=restarts)


test_each_restart_out_of_order_or_outside = each_case(
    write_second,
    {
        f"{which}-{wrong}": with_restart(which, wrong)
        for which, first in enumerate((1, 0, 0))
        for wrong in (first, TRUE_RESTARTS[which - 1], 2**31, 2**32 - 1)
    },
    replace(WRONG_ARRAY, offset=SECOND_START + RESTARTS_OFFSET),
)

test_each_restart_inside_an_entry = each_case(
    write_second,
    {
        f"{which}{moved:+}": with_restart(which, TRUE_RESTARTS[which] + moved)
        for which in (1, 2)
        for moved in (-1, 1)
    },
    Unlistable("restart of a block\n  expected: an entry that begins there"),
)

# Entries of a block

X, XY = BUNDLE.index[b"x"], BUNDLE.index[b"xy"]
BEGIN = block_entry(b"x", X)


@dataclass(frozen=True)
class EntryRefused:
    """The second entry is damaged: listing and looking it up raise, the first one is found."""

    words: str

    def check(self, path: Path) -> None:
        Unlistable(self.words).check(path)
        texts = set()
        for ckpt in opened(path):
            for put in (ckpt.info, ckpt.read, ckpt.__contains__):
                with pytest.raises(CorruptCheckpointError, match=self.words) as error:
                    put("xy")
                texts.add(str(error.value))
            assert found_by_verify(ckpt, "xy") == [("xy", CorruptCheckpointError)]
        assert len(texts) == 1, texts
        assert error.value.offset is not None
        assert SECOND_START + len(BEGIN) <= error.value.offset <= SECOND_START + len(BEGIN) + 11


NO_VARINT32 = EntryRefused("varint\n  expected: one that ends within 5 bytes")
RUNS_OUT = EntryRefused("entry of a block\n  expected: its key and value to end by")
SHARES_MORE = EntryRefused("key of a block\n  expected: at most 1 bytes shared")
KEY_OF_ITS_OWN = Right({"a": [1.0], "x": [2.0, 3.0], "y": [4.0]})


def second_entry(name: str, value: bytes) -> bytes:
    """Entries of `x` and `xy`, the latter with this value of a field."""
    fields = {"shared": varint(1), "non_shared": varint(1), "value size": varint(len(XY))}
    fields[name] = value
    return block_of_bytes(BEGIN + b"".join(fields.values()) + b"y" + XY)


ENTRY_FIELDS = {
    "shared": field(
        1,
        RIGHT,
        NO_VARINT32,
        NO_VARINT32,
        zero=KEY_OF_ITS_OWN,
        one_more=SHARES_MORE,
        two_31=SHARES_MORE,
    ),
    "non_shared": field(
        1, RIGHT, NO_VARINT32, NO_VARINT32, below=None, one_more=None, two_31=RUNS_OUT
    ),
    "value size": field(
        len(XY), RIGHT, NO_VARINT32, NO_VARINT32, below=None, one_more=RUNS_OUT, two_31=RUNS_OUT
    ),
}

test_entry_fields = each_case(
    lambda folder, contents: write_second(folder, contents, separator=b"z"),
    field_rows(ENTRY_FIELDS, second_entry, max_nbytes=5),
)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("non_shared", "zero"),
        ("non_shared", "one more"),
        ("value size", "zero"),
        ("value size", "one less"),
        ("value size", "one more"),
    ],
)
def test_entry_sizes_that_shift_all_that_follows(tmp_path: Path, field: str, change: str) -> None:
    """The sizes of the first entry are wrong, so the second one begins at a wrong byte."""
    true = {"non_shared": 1, "value size": len(X)}
    sizes = {key: varint(value) for key, value in true.items()}
    sizes[field] = coded(true[field], change, max_nbytes=5)
    shifted = varint(0) + sizes["non_shared"] + sizes["value size"] + b"x" + X
    path = write_second(tmp_path, block_of_bytes(shifted + block_entry(b"y", XY, 1)), b"\xff" * 9)
    for ckpt in opened(path):
        for listing in (list, lambda ckpt: ckpt.infos()):
            with pytest.raises(CorruptCheckpointError) as error:
                listing(ckpt)
            assert error.value.file == f"{path}.index"
        damaged = found_by_verify(ckpt)
        assert damaged
        assert {found for _, found in damaged} == {CorruptCheckpointError}
        assert ckpt["a"].tolist() == VALUES["a"]


# Keys out of order, or twice

ORDERS = {
    "falling": [(b"xy", XY), (b"x", X)],
    "twice": [(b"x", X), (b"x", XY)],
    "twice, the empty one": [(b"", X), (b"", X)],
    "thrice": [(b"x", X)] * 3,
    "below the block before": [(b"a", X), (b"x", X)],
    "not above the separator before": [(b"b", X), (b"x", X)],
    "above its own separator": [(b"x", X), (b"z", X)],
}

test_keys_out_of_order = each_case(
    write_second,
    {
        f"{interval}-{name}": block(entries, interval)
        for interval in (1, 16)
        for name, entries in ORDERS.items()
    },
    Unlistable("order of keys|first key of block 1|last key of block 1"),
)


def test_a_header_in_every_block(tmp_path: Path) -> None:
    """The empty key is below every separator: only the first block can hold it."""
    path = write_second(tmp_path, block([FIRST[0], *SECOND]))
    Unlistable("first key of block 1\n  expected: one above the separator").check(path)


test_separators_that_do_not_increase = each_case(
    lambda folder, keys: write(folder, table(FIRST, SECOND, separators=dict(enumerate(keys)))),
    {"falling": (b"y", b"b"), "first": (b"b", b"b"), "empty": (b"", b""), "last": (b"y", b"y")},
    refused(OPEN, "order of keys\n  expected: a key"),
)

test_headers = each_case(
    write,
    {
        "none": (table(FIRST[1:], SECOND), NO_HEADER),
        "no blocks": (table(), NO_HEADER),
        "no entries": (table(Stored(block([])), separators={0: b"y"}), NO_HEADER),
        "not in the first block": (
            table([(b"!", BUNDLE.index[b"a"])], FIRST, separators={0: b"#", 1: b"z"}),
            NO_HEADER,
        ),
        "a V1 value": (
            table([(b"", b"\x0a\x00"), *FIRST[1:]], SECOND),
            refused(OPEN, "not the index of a V2 checkpoint.*V1 checkpoint", NotACheckpointError),
        ),
    },
)

# Snappy

PLAIN = block(SECOND)
ELEMENTS = snappy.compress(PLAIN)[1:]
NO_SNAPPY = replace(refused(LIST, "snappy block|varint"), offset=SECOND_START)


def literal(contents: bytes, declared: int | None = None) -> bytes:
    """A snappy element: length - 1 in 4 bytes, bytes."""
    return b"\xfc" + struct.pack("<I", (declared or len(contents)) - 1) + contents


def copy(offset: int, nbytes: int) -> bytes:
    """A snappy element: up to 64 bytes from before, the distance in 4 bytes."""
    return bytes([(nbytes - 1) << 2 | 3]) + struct.pack("<I", offset)


def test_the_elements_that_are_damaged_below_are_the_true_ones() -> None:
    assert snappy.compress(PLAIN) == varint(len(PLAIN)) + ELEMENTS


test_snappy_lengths = each_case(
    write_second,
    field_rows(
        {"declared length": field(len(PLAIN), RIGHT, NO_SNAPPY, NO_SNAPPY)},
        lambda name, value: Stored(value + ELEMENTS, 1),
        max_nbytes=5,
    ),
)

SNAPPY_ELEMENTS = {
    "no element": b"",
    "plain bytes": PLAIN,
    "literal past the end": literal(PLAIN, len(PLAIN) + 1),
    "literal of 4 GiB": literal(PLAIN, 2**32),
    "literal cut": literal(PLAIN)[:-1],
    "literal longer than declared": literal(PLAIN + b"!"),
    "literal shorter than declared": literal(PLAIN[:-1]),
    "copy from before the start": copy(1, 30) + literal(PLAIN[30:]),
    "copy from distance 0": literal(PLAIN[:1]) + copy(0, 30) + literal(PLAIN[31:]),
    "copy from far before the start": literal(PLAIN[:1]) + copy(2**32 - 1, 30),
    "copy past the end": literal(PLAIN) + copy(1, 1),
    "copy cut": literal(PLAIN[:-1]) + copy(1, 1)[:-1],
    "bytes behind the end": literal(PLAIN) + literal(b"!"),
}

test_snappy_elements = each_case(
    lambda folder, elements: write_second(folder, Stored(varint(len(PLAIN)) + elements, 1)),
    with_outcome(NO_SNAPPY, SNAPPY_ELEMENTS) | {"longest form": (literal(PLAIN), RIGHT)},
)

test_ten_bytes_that_declare_gigabytes = each_case(
    lambda folder, bomb: write_second(folder, Stored(bomb.ljust(10, b"\x00"), 1)),
    {
        hex(declared): varint(declared) + copy(1, 64)
        for declared in (2**32 - 1, 2**32, 2**35 - 1, 2**63 - 1)
    },
    NO_SNAPPY,
    most_allocated=1 << 20,
)


def dense() -> Stored:
    """A zero and 16,384 copies of 64 bytes, 3 bytes each: a megabyte from 49 kB, all sound."""
    unknown = bytes(64 * 16_384)
    entry = BUNDLE.index[b"x"] + varint(15 << 3 | 2) + varint(len(unknown)) + unknown
    contents = block([(b"x", entry), SECOND[1]])
    stored = compressed(contents)
    assert len(contents) > 20 * len(stored.contents)
    return stored


test_compressed_blocks = each_case(
    write_second,
    {
        "as dense as can be": (dense(), RIGHT),
        "a damaged entry": (
            compressed(block([(b"x", bundle_entry(1, (2,), size=7)), SECOND[1]])),
            Refused(FIND, "^.*tensor 'x': invalid size\n  expected: 8 bytes"),
        ),
    },
)


def test_a_snappy_index_block(tmp_path: Path) -> None:
    RIGHT.check(write(tmp_path, table(FIRST, SECOND, snappy_index=True, snappy_blocks=True)))


def test_the_place_of_damage_behind_compression_is_the_block(tmp_path: Path) -> None:
    """An offset in decompressed bytes is not an offset in the file."""
    contents = block([(b"x", X), (b"x", XY)])
    path = write_second(tmp_path, compressed(contents))
    with open_checkpoint(path) as ckpt:
        with pytest.raises(CorruptCheckpointError, match="order of keys") as error:
            list(ckpt)
        assert (error.value.file, error.value.offset) == (f"{path}.index", SECOND_START)
    path = write_second(tmp_path, compressed(block(SECOND, restarts=[0, 3])))
    with open_checkpoint(path) as ckpt:
        with pytest.raises(CorruptCheckpointError, match="restart of a block") as error:
            _ = ckpt["x"]
        assert (error.value.file, error.value.offset) == (f"{path}.index", SECOND_START)
