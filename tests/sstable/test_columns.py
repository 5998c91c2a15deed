"""Decoding all entries of a block at once gives the same as one by one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptparse import CorruptCheckpointError
from ckptparse.sstable.block import Block
from support.builders import block, block_entry, varint

keys_of_blocks = st.sets(
    st.lists(st.sampled_from([0, 1, 97, 255]), max_size=5).map(bytes)
    | st.integers(0, 300).map(lambda n: b"k" * n),
    min_size=1,
    max_size=60,
)


ENTRIES = [(b"k", b"vv")]


def entries_of(contents: bytes) -> list[tuple[bytes, bytes]]:
    """The entries of a block by its columns."""
    columns = Block(contents).columns()
    values = zip(columns.keys, columns.starts.tolist(), columns.stops.tolist(), strict=True)
    return [(key, columns.contents[start:stop]) for key, start, stop in values]


@given(keys_of_blocks, st.sampled_from([1, 2, 3, 16, 100]), st.booleans())
def test_columns_are_the_entries(keys: set[bytes], interval: int, share: bool) -> None:
    entries = [(key, b"v" * (i * 17 % 300)) for i, key in enumerate(sorted(keys))]
    contents = block(entries, interval, share=share)
    assert entries_of(contents) == entries == list(Block(contents))


def test_an_empty_block_has_no_columns_to_speak_of() -> None:
    assert entries_of(block([])) == []


def require_same_error(contents: bytes) -> None:
    """Check that both ways refuse a block, with the same text."""
    errors = set()
    for decode in (entries_of, lambda contents: list(Block(contents))):
        with pytest.raises(CorruptCheckpointError) as error:
            decode(contents)
        errors.add(str(error.value))
    assert len(errors) == 1


@pytest.mark.parametrize("nbytes", [2, 4, 5])
@pytest.mark.parametrize("which", range(3))
def test_lengths_that_are_longer_than_need_be(which: int, nbytes: int) -> None:
    lengths = [varint(length, nbytes if i == which else 0) for i, length in enumerate((0, 1, 2))]
    contents = b"".join(lengths) + b"kvv" + bytes(4) + (1).to_bytes(4, "little")
    assert entries_of(contents) == ENTRIES
    assert list(Block(contents)) == ENTRIES


@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize("length", [b"\xff" * 4 + b"\x7f", b"\xff" * 5 + b"\x01"])
def test_lengths_that_are_too_large(which: int, length: bytes) -> None:
    lengths = [b"\x00", b"\x01", b"\x01"]
    lengths[which] = length
    require_same_error(b"".join(lengths) + b"kv" + bytes(4) + (1).to_bytes(4, "little"))


def test_runs_of_any_length() -> None:
    entries = [(b"%06d" % i, b"") for i in range(1000)]
    for interval in (1, 999, 1000):
        assert entries_of(block(entries, interval)) == entries


@pytest.mark.parametrize("nbytes", [2, 3, 4, 5])
def test_lengths_at_the_end_that_run_out_of_the_block(nbytes: int) -> None:
    """Even if the bytes after them, such as the restart array, could be taken for entries."""
    for num_following in range(3):
        entries = b"\x00\x01\x01kv" + b"\xff" * nbytes + b"\x01" * num_following
        require_same_error(entries + bytes(4) + (1).to_bytes(4, "little"))


def test_keys_that_swell_are_an_error_of_both_ways() -> None:
    """220 kB declare 20,000 keys of 100 kB, which are not made."""
    first = block_entry(b"k" * 99_990, b"")
    rest = b"".join(block_entry(i.to_bytes(2, "big"), b"", 99_990) for i in range(20_000))
    contents = first + rest + bytes(4) + (1).to_bytes(4, "little")
    said = set()
    for use in (Block.columns, list):
        with pytest.raises(
            CorruptCheckpointError, match="keys of a block\n  expected: at most"
        ) as e:
            use(Block(contents))
        said.add(str(e.value))
    assert len(said) == 1


@given(
    st.lists(st.tuples(st.integers(0, 2**32), st.integers(0, 255)), min_size=1, max_size=3),
    st.sampled_from([1, 2, 16]),
)
def test_damage_is_seen_by_both_ways_or_by_none(
    changes: list[tuple[int, int]], interval: int
) -> None:
    entries = [(b"model/layer_%d" % i, b"v" * (i % 7)) for i in range(10, 40)]
    contents = bytearray(block(entries, interval))
    for pos, byte in changes:
        contents[pos % len(contents)] = byte
    try:
        expected = list(Block(bytes(contents)))
    except CorruptCheckpointError:
        expected = None
    found = None
    try:
        found = entries_of(bytes(contents))
    except CorruptCheckpointError:
        assert expected is None  # its restarts are wrong
    assert found == expected
