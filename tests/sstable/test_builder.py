"""Tables that are built: those of TensorFlow byte for byte, and any entries read back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptparse.encoding.varint import decode_varint
from ckptparse.errors import CheckpointError
from ckptparse.sources import LocalFiles, MemorySource
from ckptparse.sstable.builder import build_table, find_separator, find_successor
from ckptparse.sstable.table import Table
from support.repository import FIXTURES

OTHER_WRITERS = {
    "tf-2.21.0/snappy_index/model.ckpt": "its blocks are compressed",
    "tf-2.21.0/snappy_index_block/model.ckpt": "its index block is compressed",
    "tf-2.21.0/restart_interval_1/model.ckpt": "every key of a block is whole",
    "tf-2.21.0/restart_interval_1000/model.ckpt": "one key of a block is whole",
    "tf-2.21.0/big_endian/model.ckpt": "edited: the keys of its index block are not shortened",
    "tf-2.21.0/newer_version/model.ckpt": "edited, as big_endian",
    "tf-2.21.0/newer_version_bad_consumers/model.ckpt": "edited, as big_endian",
    "tf-2.21.0/padded/model.ckpt": "edited, as big_endian",
    "tf-2.21.0/unknown_fields/model.ckpt": "edited, as big_endian",
}
"""Indices that TensorFlow's checkpoint writer did not build as they are -> why."""


def read_entries(table: Table) -> list[tuple[bytes, bytes]]:
    return [
        (key, bytes(value)) for i in range(table.num_blocks) for key, value in table.scan_block(i)
    ]


def entries_of(contents: bytes) -> list[tuple[bytes, bytes]]:
    return read_entries(Table(MemorySource("t", contents)))


def intact_indices() -> dict[str, Path]:
    found = {}
    for path in sorted(FIXTURES.rglob("*.index")):
        if "train_damaged" not in path.parts:
            found[path.relative_to(FIXTURES).as_posix().removesuffix(".index")] = path
    return found


INDICES = intact_indices()


@pytest.mark.parametrize("name", [name for name in INDICES if name not in OTHER_WRITERS])
def test_the_bytes_of_tensorflow(name: str) -> None:
    contents = INDICES[name].read_bytes()
    assert b"".join(build_table(entries_of(contents))) == contents


@pytest.mark.parametrize("name", OTHER_WRITERS)
def test_other_options_give_the_same_entries(name: str) -> None:
    contents = INDICES[name].read_bytes()
    built = b"".join(build_table(entries_of(contents)))
    assert built != contents, "no reason to leave it out"
    assert entries_of(built) == entries_of(contents)


@pytest.mark.parametrize(
    "path",
    sorted(FIXTURES.glob("*/train_damaged/*.index")),
    ids=lambda p: f"{p.parts[-3]}-{p.stem}",
)
def test_intact_indices_of_damaged_checkpoints(path: Path) -> None:
    try:
        entries = read_entries(Table(LocalFiles(mmap=False).open(str(path), mapped=False)))
    except CheckpointError:
        return
    assert b"".join(build_table(entries)) == path.read_bytes()


KEYS = st.one_of(
    st.binary(max_size=20),
    st.integers(0, 200).map(lambda i: b"layer_%d/kernel" % i),
    st.integers(0, 300).map(lambda i: b"\xff" * i),
    st.binary(min_size=1, max_size=3).map(lambda b: b * 100),
)
VALUES = st.one_of(st.binary(max_size=30), st.sampled_from([1 << 17, (1 << 18) - 20, 1 << 19]))


@given(st.dictionaries(KEYS, VALUES, max_size=60))
def test_any_entries(drawn: dict[bytes, bytes | int]) -> None:
    values = {key: bytes(v) if isinstance(v, int) else v for key, v in drawn.items()}
    entries = sorted(values.items())
    contents = b"".join(build_table(entries))
    table = Table(MemorySource("t", contents))
    assert read_entries(table) == entries
    for key, value in entries[:5]:
        assert bytes(table.get(key) or b"") == value


def block_sizes(entries: list[tuple[bytes, bytes]]) -> list[int]:
    """Numbers of entries in the blocks."""
    table = Table(MemorySource("t", b"".join(build_table(entries))))
    return [len(list(table.scan_block(i))) for i in range(table.num_blocks)]


@pytest.mark.parametrize(
    ("sizes", "blocks"),
    [
        ([], []),
        ([0], [1]),
        # A block with one entry takes 14 bytes more than its value: lengths, key, restarts.
        ([(1 << 18) - 14] * 2, [1, 1]),
        ([(1 << 18) - 15] * 2, [2]),
        ([1 << 18, 1, 1], [1, 2]),
        # A large entry begins a block of its own, unless it is the first one.
        ([1, (1 << 19) - 1], [1, 1]),
        ([1, (1 << 19) - 2], [2]),
        ([1 << 19, 1], [1, 1]),
        ([1, 1, 1 << 19, 1, 1], [2, 1, 2]),
    ],
    ids=str,
)
def test_where_blocks_end(sizes: list[int], blocks: list[int]) -> None:
    entries = [(b"%c" % (97 + i), bytes(size)) for i, size in enumerate(sizes)]
    assert block_sizes(entries) == blocks


def test_every_16th_key_is_whole() -> None:
    entries = [(b"key-%02d" % i, b"") for i in range(40)]
    (contents, *_) = build_table(entries)
    restarts = [0]
    pos = 0
    for i in range(40):
        shared, start = decode_varint(contents, pos, len(contents))
        unshared, start = decode_varint(contents, start, len(contents))
        _, start = decode_varint(contents, start, len(contents))
        assert (shared == 0) == (i % 16 == 0)
        if i and i % 16 == 0:
            restarts.append(pos)
        pos = start + unshared
    tail = contents[pos:-5]
    assert [int.from_bytes(tail[i : i + 4], "little") for i in range(0, len(tail), 4)] == [
        *restarts,
        3,
    ]


@pytest.mark.parametrize(
    ("last", "following", "separator"),
    [
        (b"abc", b"abd", b"abc"),
        (b"abc", b"abe", b"abd"),
        (b"abc1", b"abe", b"abd"),
        (b"abc", b"abcd", b"abc"),
        (b"a\xff", b"b", b"a\xff"),
        (b"a", b"c", b"b"),
        (b"", b"a", b""),
        (b"\xfe\xff", b"\xff", b"\xfe\xff"),
    ],
)
def test_separators(last: bytes, following: bytes, separator: bytes) -> None:
    assert find_separator(last, following) == separator


@given(KEYS, KEYS)
def test_a_separator_separates(first: bytes, second: bytes) -> None:
    if first != second:
        last, following = sorted([first, second])
        assert last <= find_separator(last, following) < following
        assert len(find_separator(last, following)) <= len(last)


@pytest.mark.parametrize(
    ("last", "successor"),
    [
        (b"", b""),
        (b"abc", b"b"),
        (b"\xff", b"\xff"),
        (b"\xffa", b"\xffb"),
        (b"\xff\xff", b"\xff\xff"),
    ],
)
def test_successors(last: bytes, successor: bytes) -> None:
    assert find_successor(last) == successor
