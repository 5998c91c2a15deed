"""Index tables with one wrong field, every checksum right: footer, handles, blocks, entries."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import snappy

from ckptparse import (
    CheckpointError,
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
    WAYS,
    codings_of,
    found_by_verify,
    require_refused,
    require_right,
    rows,
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

RIGHT = None
"""In place of an error: the file is read, with the right values."""


def write(folder: Path, index: bytes) -> Path:
    """A checkpoint of `VALUES` with this for an index."""
    (folder / "m.index").write_bytes(index)
    (folder / "m.data-00000-of-00001").write_bytes(bytes(BUNDLE.shards[0]))
    return folder / "m"


def write_second(folder: Path, second: bytes | Stored, separator: bytes = b"y") -> Path:
    """One whose second block is this: contents, or as it stands in the file."""
    stored = second if isinstance(second, Stored) else Stored(second)
    return write(folder, table(FIRST, stored, separators={0: b"b", 1: separator}))


def require(path: Path, expected: tuple[Any, ...] | None, *, offset: int | None = None) -> None:
    """The right values, or (question, class of error, words) with damage of the index."""
    if expected is RIGHT:
        require_right(path, VALUES)
        return
    at, error_class, words = expected
    error = require_refused(path, error_class, words, at=at, of_index=True)
    assert error.file == f"{path}.index"
    if offset is not None:
        assert error.offset == offset


# What handles say

NO_VARINT = (OPEN, CorruptCheckpointError, "varint\n  expected: one that ends within 10 bytes")
OUTSIDE = (OPEN, CorruptCheckpointError, "block handle\n  expected: a block before the footer")
DATA_OUTSIDE = (
    OPEN,
    CorruptCheckpointError,
    "handle of block 1\n  expected: a block before the foot",
)
OTHER_BYTES = (OPEN, ChecksumError, "bytes of the block do not match")
NOT_BEHIND = (OPEN, CorruptCheckpointError, "handle of block 1\n  expected: an offset from")
OTHER_BYTES_LATER = (LIST, *OTHER_BYTES[1:])

HANDLES: Mapping[str, Mapping[str, Any]] = {
    # TensorFlow never reads the metaindex block: its handle has to be one, no more.
    "metaindex offset": {
        "zero": RIGHT,
        "one less": RIGHT,
        "one more": RIGHT,
        "negative": RIGHT,
        "2**31": RIGHT,
        "2**63-1": RIGHT,
        "not minimal": RIGHT,
        "overlong": NO_VARINT,
    },
    "metaindex size": {
        "zero": RIGHT,
        "one less": RIGHT,
        "one more": RIGHT,
        "negative": RIGHT,
        "2**31": RIGHT,
        "2**63-1": RIGHT,
        "not minimal": RIGHT,
        "overlong": NO_VARINT,
    },
    "index offset": {
        "zero": OTHER_BYTES,
        "one less": OTHER_BYTES,
        "one more": OUTSIDE,
        "negative": OUTSIDE,
        "2**31": OUTSIDE,
        "2**63-1": OUTSIDE,
        "not minimal": RIGHT,
        "overlong": NO_VARINT,
    },
    "index size": {
        "zero": OTHER_BYTES,
        "one less": OTHER_BYTES,
        "one more": OUTSIDE,
        "negative": OUTSIDE,
        "2**31": OUTSIDE,
        "2**63-1": OUTSIDE,
        "not minimal": RIGHT,
        "overlong": NO_VARINT,
    },
    "data offset": {
        "zero": NOT_BEHIND,
        "one less": NOT_BEHIND,
        "one more": OTHER_BYTES_LATER,
        "negative": DATA_OUTSIDE,
        "2**31": DATA_OUTSIDE,
        "2**63-1": DATA_OUTSIDE,
        "not minimal": RIGHT,
        "overlong": NO_VARINT,
    },
    "data size": {
        "zero": OTHER_BYTES_LATER,
        "one less": OTHER_BYTES_LATER,
        "one more": OTHER_BYTES_LATER,
        "negative": DATA_OUTSIDE,
        "2**31": DATA_OUTSIDE,
        "2**63-1": DATA_OUTSIDE,
        "not minimal": RIGHT,
        "overlong": NO_VARINT,
    },
}
PLACES = {
    "metaindex": (METAINDEX_START, len(block([]))),
    "index": (INDEX_START, INDEX_NBYTES),
    "data": (SECOND_START, SECOND_NBYTES),
}


@pytest.mark.parametrize(("field", "coding", "expected"), rows(HANDLES))
def test_handles(tmp_path: Path, field: str, coding: str, expected: Any) -> None:
    which, part = field.split()
    offset, nbytes = PLACES[which]
    wrong = (
        codings_of(offset)[coding] + varint(nbytes)
        if part == "offset"
        else varint(offset) + codings_of(nbytes)[coding]
    )
    options: dict[str, Any] = {f"{which}_handle": wrong}
    if which == "data":
        options = {"handles": {1: wrong}}
    index = table(FIRST, SECOND, **options)
    require(write(tmp_path, index), expected)


@pytest.mark.parametrize("padding", [0x00, 0x01, 0x80, 0xFF])
def test_padding_of_the_footer_means_nothing(tmp_path: Path, padding: int) -> None:
    require(write(tmp_path, table(FIRST, SECOND, padding=padding)), RIGHT)


@pytest.mark.parametrize("magic", [bytes(8), b"\xff" * 8, bytes.fromhex("57fb808b247547da")])
def test_another_magic_is_a_table_that_ends_too_early(tmp_path: Path, magic: bytes) -> None:
    # It begins as every index does, so it is taken for one whose end is lost.
    path = write(tmp_path, table(FIRST, SECOND, magic=magic))
    error = require_refused(path, TruncatedError, "ends before its table does", at=OPEN)
    assert error.offset == INDEX_START + INDEX_NBYTES + 5


# Handles that overlap or loop


def test_an_index_handle_that_points_at_the_first_data_block(tmp_path: Path) -> None:
    # The header's first two bytes are taken for a handle, (8, 1), and so are those of "a".
    index = table(FIRST, SECOND, index_handle=handle(0, FIRST_NBYTES))
    expected = OPEN, CorruptCheckpointError, "handle of block 1\n  expected: an offset from 14 on"
    require(write(tmp_path, index), expected)


def test_an_index_handle_that_points_at_a_block_of_one_entry(tmp_path: Path) -> None:
    # Its value is no block: (8, 1) are bytes of the header.
    index = table(FIRST[:1], SECOND, index_handle=handle(0, len(block(FIRST[:1]))))
    require(
        write(tmp_path, index), (OPEN, ChecksumError, "bytes of the block do not match"), offset=8
    )


def test_an_index_handle_that_points_at_the_metaindex_block(tmp_path: Path) -> None:
    place = handle(METAINDEX_START, len(block([])))
    expected = OPEN, CorruptCheckpointError, "header\n  expected: an entry under the empty key"
    require(write(tmp_path, table(FIRST, SECOND, index_handle=place)), expected)


@pytest.mark.parametrize("nbytes", [0, 35, 43, 48])
def test_an_index_handle_that_points_at_the_footer(tmp_path: Path, nbytes: int) -> None:
    place = handle(INDEX_START + INDEX_NBYTES + 5, nbytes)
    require(write(tmp_path, table(FIRST, SECOND, index_handle=place)), OUTSIDE)


def test_an_index_that_lists_itself_as_a_data_block(tmp_path: Path) -> None:
    # A search in it finds nothing; a listing sees that its keys are not behind the block before.
    index = table(FIRST, SECOND, handles={1: handle(INDEX_START, INDEX_NBYTES)})
    require_unlistable(write(tmp_path, index), "first key of block 1\n  expected: one above")


def test_an_index_whose_only_data_block_is_itself(tmp_path: Path) -> None:
    index = Stored(block([(b"y", handle(0, 14))], 1))
    assert len(index.contents) == 14
    alone = bytes(index) + table(index=index, index_handle=handle(0, 14))
    expected = OPEN, CorruptCheckpointError, "header\n  expected: an entry under the empty key"
    require(write(tmp_path, alone), expected)


def test_a_data_handle_that_points_at_the_metaindex_block(tmp_path: Path) -> None:
    # An empty block is a sound one: these names are not in the file.
    index = table(FIRST, SECOND, handles={1: handle(METAINDEX_START, len(block([])))})
    require_right(write(tmp_path, index), {"a": VALUES["a"]})


@pytest.mark.parametrize("times", [2, 3])
def test_the_same_data_block_twice(tmp_path: Path, times: int) -> None:
    first = handle(0, FIRST_NBYTES)
    entries = [(b"%d" % i, first) for i in range(times)]
    index = table(FIRST, SECOND, index=Stored(block(entries, 1)))
    require(write(tmp_path, index), NOT_BEHIND)


def test_data_blocks_in_another_order_than_their_keys(tmp_path: Path) -> None:
    places = [handle(SECOND_START, SECOND_NBYTES), handle(0, FIRST_NBYTES)]
    index = table(FIRST, SECOND, handles=dict(enumerate(places)))
    require(write(tmp_path, index), NOT_BEHIND)


# Types and checksums of blocks


@pytest.mark.parametrize("crc_xor", [1, 0x8000, 0xFFFFFFFF])
def test_a_wrong_checksum_of_a_data_block(tmp_path: Path, crc_xor: int) -> None:
    index = table(FIRST, SECOND, crc_xors={1: crc_xor})
    require(write(tmp_path, index), OTHER_BYTES_LATER, offset=SECOND_START)


def test_a_checksum_that_is_not_masked(tmp_path: Path) -> None:
    checked = block(SECOND) + b"\x00"
    masked = masked_crc32c(checked)
    rotated = (masked - 0xA282EAD8) % 2**32
    plain = (rotated << 15 | rotated >> 17) % 2**32
    index = table(FIRST, SECOND, crc_xors={1: plain ^ masked})
    require(write(tmp_path, index), OTHER_BYTES_LATER, offset=SECOND_START)


@pytest.mark.parametrize("kind", [2, 3, 0x7F, 0x80, 0xFF])
def test_an_unknown_type_of_a_data_block(tmp_path: Path, kind: int) -> None:
    expected = LIST, CorruptCheckpointError, f"block type\n  expected: 0 (?s:.*)found: {kind}$"
    index = table(FIRST, SECOND, block_types={1: kind})
    require(write(tmp_path, index), expected, offset=SECOND_START)


@pytest.mark.parametrize("kind", [2, 0xFF])
def test_an_unknown_type_of_the_index_block(tmp_path: Path, kind: int) -> None:
    entries = [(b"b", handle(0, FIRST_NBYTES)), (b"y", handle(SECOND_START, SECOND_NBYTES))]
    index = table(FIRST, SECOND, index=Stored(block(entries, 1), kind))
    expected = OPEN, CorruptCheckpointError, f"block type\n  expected: 0 (?s:.*)found: {kind}$"
    require(write(tmp_path, index), expected, offset=INDEX_START)


@pytest.mark.parametrize(
    "metaindex",
    [Stored(b""), Stored(block([]), 77), Stored(block([]), crc_xor=1), Stored(b"\xff" * 40)],
    ids=["empty", "type 77", "wrong checksum", "noise"],
)
def test_a_damaged_metaindex_block_is_not_read(tmp_path: Path, metaindex: Stored) -> None:
    require(write(tmp_path, table(FIRST, SECOND, metaindex=metaindex)), RIGHT)


# Restarts

MANY = {b"x%d" % i: BUNDLE.index[b"x"] for i in range(6)}
TRUE_RESTARTS = [0] + [len(block(list(MANY.items())[:n], 2)) - 4 - 4 * (n // 2) for n in (2, 4)]
RESTARTS_OFFSET = len(block(list(MANY.items()), 2)) - 16

WRONG_COUNT = (LIST, CorruptCheckpointError, "number of restarts of a block\n  expected: 1 to")
WRONG_ARRAY = (
    LIST,
    CorruptCheckpointError,
    "restarts of a block\n  expected: offsets that increase",
)


def test_the_restarts_that_are_damaged_below_are_the_true_ones() -> None:
    assert block(list(MANY.items()), 2) == block(list(MANY.items()), 2, restarts=TRUE_RESTARTS)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        pytest.param(0, WRONG_COUNT, id="zero"),
        pytest.param(2, WRONG_ARRAY, id="one less"),  # the first one is taken for an entry
        pytest.param(4, WRONG_ARRAY, id="one more"),  # the end of an entry is taken for one
        pytest.param(2**32 - 1, WRONG_COUNT, id="negative"),
        pytest.param(2**31, WRONG_COUNT, id="2**31"),
        pytest.param(2**30, WRONG_COUNT, id="2**30, 2**32 bytes"),
    ],
)
def test_numbers_of_restarts(tmp_path: Path, count: int, expected: Any) -> None:
    contents = block(list(MANY.items()), 2, num_restarts=count)
    require(write_second(tmp_path, contents), expected)


@pytest.mark.parametrize("wrong", [0, -1, 2**31, 2**32 - 1], ids=["0", "-1", "2**31", "2**32-1"])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_each_restart_out_of_order_or_outside(tmp_path: Path, which: int, wrong: int) -> None:
    restarts = list(TRUE_RESTARTS)
    restarts[which] = restarts[which - 1] if wrong == -1 else wrong
    if restarts == TRUE_RESTARTS:
        restarts[which] = 1
    contents = block(list(MANY.items()), 2, restarts=restarts)
    require(write_second(tmp_path, contents), WRONG_ARRAY, offset=SECOND_START + RESTARTS_OFFSET)


@pytest.mark.parametrize("moved", [-1, 1])
@pytest.mark.parametrize("which", [1, 2])
def test_each_restart_inside_an_entry(tmp_path: Path, which: int, moved: int) -> None:
    restarts = list(TRUE_RESTARTS)
    restarts[which] += moved
    path = write_second(tmp_path, block(list(MANY.items()), 2, restarts=restarts))
    require_unlistable(path, "restart of a block\n  expected: an entry that begins there")


@pytest.mark.parametrize("nbytes", range(8))
def test_a_block_too_short_for_one_restart(tmp_path: Path, nbytes: int) -> None:
    expected = LIST, CorruptCheckpointError, "number of restarts of a block"
    require(write_second(tmp_path, bytes(nbytes)), expected)


def require_unlistable(path: Path, words: str) -> None:
    """What only a walk through the whole block sees: listing is refused, verification reports.

    A search decodes a few entries of a block.  It ends in the same error, in the stored value, or
    in nothing found; in all ways of reading the same.
    """
    answers = set()
    for way in WAYS:
        with open_checkpoint(path, **way) as ckpt:
            for listing in (list, len, lambda ckpt: ckpt.infos()):
                with pytest.raises(CorruptCheckpointError, match=words) as error:
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


# Entries of a block

X, XY = BUNDLE.index[b"x"], BUNDLE.index[b"xy"]
BEGIN = block_entry(b"x", X)

NO_VARINT32 = (LIST, CorruptCheckpointError, "varint\n  expected: one that ends within 5 bytes")
RUNS_OUT = (
    LIST,
    CorruptCheckpointError,
    "entry of a block\n  expected: its key and value to end by",
)
SHARES_MORE = (LIST, CorruptCheckpointError, "key of a block\n  expected: at most 1 bytes shared")
LEFT_OVER = (LIST, CorruptCheckpointError, "varint")

ENTRY_FIELDS: Mapping[str, Mapping[str, Any]] = {
    "shared": {
        "zero": {"a": [1.0], "x": [2.0, 3.0], "y": [4.0]},  # a key of its own
        "one more": SHARES_MORE,
        "negative": NO_VARINT32,
        "2**31": SHARES_MORE,
        "2**63-1": NO_VARINT32,
        "not minimal": RIGHT,
        "overlong": NO_VARINT32,
    },
    "non_shared": {
        "negative": NO_VARINT32,
        "2**31": RUNS_OUT,
        "2**63-1": NO_VARINT32,
        "not minimal": RIGHT,
        "overlong": NO_VARINT32,
    },
    "value size": {
        "one more": RUNS_OUT,
        "negative": NO_VARINT32,
        "2**31": RUNS_OUT,
        "2**63-1": NO_VARINT32,
        "not minimal": RIGHT,
        "overlong": NO_VARINT32,
    },
}


@pytest.mark.parametrize(("field", "coding", "expected"), rows(ENTRY_FIELDS))
def test_entry_fields(tmp_path: Path, field: str, coding: str, expected: Any) -> None:
    coded = {"shared": varint(1), "non_shared": varint(1), "value size": varint(len(XY))}
    true = {"shared": 1, "non_shared": 1, "value size": len(XY)}[field]
    coded[field] = codings_of(true, max_nbytes=5)[coding]
    contents = block_of_bytes(BEGIN + b"".join(coded.values()) + b"y" + XY)
    path = write_second(tmp_path, contents, separator=b"z")
    if isinstance(expected, dict):
        require_right(path, expected)
    elif expected is RIGHT:
        require(path, RIGHT)
    else:
        # The entry before it is found without the damaged one.
        require_unlistable(path, expected[2])
        error = require_not_found(path, "xy", expected[1], expected[2])
        assert error.offset is not None
        assert SECOND_START + len(BEGIN) <= error.offset <= SECOND_START + len(BEGIN) + 11


def require_not_found(
    path: Path, name: str, error_class: type[CheckpointError], words: str
) -> CheckpointError:
    """A lookup that meets the damage gives its error, in every way."""
    texts = set()
    for way in WAYS:
        with open_checkpoint(path, **way) as ckpt:
            for put in (ckpt.info, ckpt.read, ckpt.__contains__):
                with pytest.raises(error_class, match=words) as error:
                    put(name)
                texts.add(str(error.value))
            assert found_by_verify(ckpt, name) == [(name, error_class)]
    assert len(texts) == 1, texts
    return error.value


@pytest.mark.parametrize("field", ["non_shared", "value size"])
@pytest.mark.parametrize("change", ["zero", "one less", "one more"])
def test_entry_sizes_that_shift_all_that_follows(tmp_path: Path, field: str, change: str) -> None:
    """Of the first entry, so that the second one begins at a wrong byte."""
    true = {"non_shared": 1, "value size": len(X)}
    coded = {key: varint(value) for key, value in true.items()}
    coded[field] = codings_of(true[field], max_nbytes=5)[change]
    shifted = varint(0) + coded["non_shared"] + coded["value size"] + b"x" + X
    path = write_second(tmp_path, block_of_bytes(shifted + block_entry(b"y", XY, 1)), b"\xff" * 9)
    for way in WAYS:
        with open_checkpoint(path, **way) as ckpt:
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


@pytest.mark.parametrize("entries", ORDERS.values(), ids=list(ORDERS))
@pytest.mark.parametrize("restart_interval", [1, 16])
def test_keys_out_of_order(tmp_path: Path, entries: Any, restart_interval: int) -> None:
    path = write_second(tmp_path, block(entries, restart_interval))
    require_unlistable(path, "order of keys|first key of block 1|last key of block 1")


def test_a_header_in_every_block(tmp_path: Path) -> None:
    # The empty key is below every separator: only the first block can hold it.
    path = write_second(tmp_path, block([FIRST[0], *SECOND]))
    require_unlistable(path, "first key of block 1\n  expected: one above the separator")


@pytest.mark.parametrize("separators", [(b"y", b"b"), (b"b", b"b"), (b"", b""), (b"y", b"y")])
def test_separators_that_do_not_increase(tmp_path: Path, separators: tuple[bytes, bytes]) -> None:
    index = table(FIRST, SECOND, separators=dict(enumerate(separators)))
    require(
        write(tmp_path, index), (OPEN, CorruptCheckpointError, "order of keys\n  expected: a key")
    )


def test_no_header(tmp_path: Path) -> None:
    expected = (
        OPEN,
        CorruptCheckpointError,
        "header\n  expected: an entry under the empty key.*none",
    )
    require(write(tmp_path, table(FIRST[1:], SECOND)), expected)


def test_no_entries_at_all(tmp_path: Path) -> None:
    expected = (
        OPEN,
        CorruptCheckpointError,
        "header\n  expected: an entry under the empty key.*none",
    )
    require(write(tmp_path, table()), expected)
    require(write(tmp_path, table(Stored(block([])), separators={0: b"y"})), expected)


def test_a_header_that_is_not_in_the_first_block(tmp_path: Path) -> None:
    entries = [(b"!", BUNDLE.index[b"a"])], [FIRST[0], *FIRST[1:]]
    index = table(*entries, separators={0: b"#", 1: b"z"})
    expected = (
        OPEN,
        CorruptCheckpointError,
        "header\n  expected: an entry under the empty key.*none",
    )
    require(write(tmp_path, index), expected)


def test_a_v1_value_in_place_of_the_header(tmp_path: Path) -> None:
    index = table([(b"", b"\x0a\x00"), *FIRST[1:]], SECOND)
    expected = OPEN, NotACheckpointError, "not the index of a V2 checkpoint.*V1 checkpoint"
    require(write(tmp_path, index), expected)


# Snappy

PLAIN = block(SECOND)
ELEMENTS = snappy.compress(PLAIN)[1:]
NO_SNAPPY = (LIST, CorruptCheckpointError, "snappy block|varint")

SNAPPY_LENGTHS: Mapping[str, Mapping[str, Any]] = {
    "declared length": {
        "zero": NO_SNAPPY,
        "one less": NO_SNAPPY,
        "one more": NO_SNAPPY,
        "negative": NO_SNAPPY,
        "2**31": NO_SNAPPY,
        "2**63-1": NO_SNAPPY,
        "not minimal": RIGHT,
        "overlong": NO_SNAPPY,
    }
}


@pytest.mark.parametrize(("field", "coding", "expected"), rows(SNAPPY_LENGTHS))
def test_snappy_lengths(tmp_path: Path, field: str, coding: str, expected: Any) -> None:
    assert snappy.compress(PLAIN) == varint(len(PLAIN)) + ELEMENTS
    prefix = codings_of(len(PLAIN), max_nbytes=5)[coding]
    require(write_second(tmp_path, Stored(prefix + ELEMENTS, 1)), expected)


def literal(contents: bytes, declared: int | None = None) -> bytes:
    """A snappy element: length - 1 in 4 bytes, bytes."""
    return b"\xfc" + struct.pack("<I", (declared or len(contents)) - 1) + contents


def copy(offset: int, nbytes: int) -> bytes:
    """A snappy element: up to 64 bytes from before, the distance in 4 bytes."""
    return bytes([(nbytes - 1) << 2 | 3]) + struct.pack("<I", offset)


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


@pytest.mark.parametrize("elements", SNAPPY_ELEMENTS.values(), ids=list(SNAPPY_ELEMENTS))
def test_snappy_elements(tmp_path: Path, elements: bytes) -> None:
    stored = Stored(varint(len(PLAIN)) + elements, 1)
    require(write_second(tmp_path, stored), NO_SNAPPY, offset=SECOND_START)


def test_a_literal_in_its_longest_form(tmp_path: Path) -> None:
    require(write_second(tmp_path, Stored(varint(len(PLAIN)) + literal(PLAIN), 1)), RIGHT)


@pytest.mark.parametrize("declared", [2**32 - 1, 2**32, 2**35 - 1, 2**63 - 1], ids=hex)
def test_ten_bytes_that_declare_gigabytes(tmp_path: Path, declared: int) -> None:
    bomb = Stored((varint(declared) + copy(1, 64)).ljust(10, b"\x00"), 1)
    assert len(bomb.contents) <= 15
    path = write_second(tmp_path, bomb)
    tracemalloc.start()
    try:
        require(path, NO_SNAPPY, offset=SECOND_START)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_snappy_index_block(tmp_path: Path) -> None:
    require(write(tmp_path, table(FIRST, SECOND, snappy_index=True, snappy_blocks=True)), RIGHT)


def test_the_densest_snappy_block_that_can_be(tmp_path: Path) -> None:
    """A zero and 16,384 copies of 64 bytes, 3 bytes each: a megabyte from 49 kB, all sound."""
    unknown = bytes(64 * 16_384)
    entry = BUNDLE.index[b"x"] + varint(15 << 3 | 2) + varint(len(unknown)) + unknown
    contents = block([(b"x", entry), SECOND[1]])
    stored = compressed(contents)
    assert len(contents) > 20 * len(stored.contents)
    require(write_second(tmp_path, stored), RIGHT)


def test_an_entry_damaged_behind_compression(tmp_path: Path) -> None:
    stored = compressed(block([(b"x", bundle_entry(1, (2,), size=7)), SECOND[1]]))
    path = write_second(tmp_path, stored)
    require_refused(
        path, CorruptCheckpointError, "^.*tensor 'x': invalid size\n  expected: 8 bytes", at=FIND
    )


def test_the_place_of_damage_behind_compression_is_the_block(tmp_path: Path) -> None:
    """Where in the decompressed bytes is not where in the file."""
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
