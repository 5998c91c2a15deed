"""Blocks and entries decoded all at once: the same as one by one."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import Bundle, block, block_entry, bundle_entry, varint, write_bundle
from ckptparse import CorruptCheckpointError, open_checkpoint
from ckptparse.formats.bundle.columns import decode_entries
from ckptparse.formats.bundle.entries import Entry, decode_entry
from ckptparse.sstable.block import Block
from oracle import case_names, load_case

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
    """Whatever follows them, the restart array included."""
    for num_following in range(3):
        entries = b"\x00\x01\x01kv" + b"\xff" * nbytes + b"\x01" * num_following
        require_same_error(entries + bytes(4) + (1).to_bytes(4, "little"))


def test_keys_that_swell_are_an_error_of_both_ways() -> None:
    """20,000 keys of 100 kB in 220 kB: nothing of that size is made."""
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


usual_entries = st.builds(
    bundle_entry,
    st.sampled_from([1, 3, 9, 10, 14, 34]),
    st.lists(st.sampled_from([0, 1, 2, 127, 128, 300]), max_size=3),
    shard_id=st.sampled_from([0, 1, 2]),
    offset=st.sampled_from([0, 1, 127, 128, 2**31, 2**62, 2**63 - 1]),
    size=st.sampled_from([0, 4, 8, 2**40]),
    crc=st.integers(0, 2**32 - 1),
)
unusual_entries = st.sampled_from(
    [
        bundle_entry(7, (2,), size=9, crc=5),
        bundle_entry(1, (4,), slices=[[(0, 2)], [(2, 2)]]),
        bundle_entry(1, (), size=4, crc=1, extra=b"\x40\x01"),
        bundle_entry(1, (), size=4),
        b"",
        b"\x08",
        bundle_entry(1, (-1,), size=4, crc=1),
        bundle_entry(1, (), offset=-1, size=4, crc=1),
    ]
)


def sized(serialized: bytes) -> bytes:
    """The entry with the size of its elements, if it is one that numbers can have."""
    try:
        decode_entry(serialized, 4)
    except CorruptCheckpointError:
        return bundle_entry(1, (2, 3), shard_id=1, offset=300, size=24, crc=7)
    return serialized


@given(st.lists(usual_entries.map(sized) | usual_entries | unusual_entries, max_size=20))
def test_entries_at_once_are_the_entries_one_by_one(values: list[bytes]) -> None:
    columns = Block(block([(b"%03d" % i, value) for i, value in enumerate(values)])).columns()
    errors = []
    expected: list[Entry] = []
    for value in values:
        try:
            expected.append(decode_entry(value, 3))
        except CorruptCheckpointError as error:
            errors.append(error)
    if not errors:
        assert decode_entries(columns, 3).entries() == expected
        return
    with pytest.raises(CorruptCheckpointError) as raised:
        decode_entries(columns, 3)
    assert raised.value.tensor is not None
    assert raised.value.message == errors[0].message
    assert raised.value.found == errors[0].found


OPENABLE = [
    name for name in case_names() if "newer_version" not in name and "missing_shard" not in name
]


@pytest.mark.parametrize("case_name", OPENABLE)
def test_infos_are_what_info_says(case_name: str) -> None:
    with open_checkpoint(load_case(case_name).prefix) as ckpt:
        assert ckpt.infos() == [ckpt.info(name) for name in ckpt]


@pytest.mark.parametrize("entries_per_block", [7, 1000])
def test_often_asked_blocks_answer_the_same(tmp_path: Path, entries_per_block: int) -> None:
    tensors = {f"layer_{i:03d}": np.full(3, i, "f4") for i in range(300)}
    prefix = write_bundle(tmp_path, tensors, entries_per_block=entries_per_block)
    with open_checkpoint(prefix) as ckpt:
        for _ in range(3):
            for name, value in tensors.items():
                assert ckpt[name].tolist() == value.tolist()
                assert f"{name}x" not in ckpt
                assert "" not in ckpt


def test_a_damaged_neighbour_does_not_hurt_however_often_one_asks(tmp_path: Path) -> None:
    def damage(bundle: Bundle) -> None:
        bundle.index[b"b"] = b"\xff"

    prefix = write_bundle(tmp_path, {"a": np.ones(2), "b": np.ones(2)}, edit=damage)
    with open_checkpoint(prefix) as ckpt:
        for _ in range(2_000):
            assert ckpt["a"].tolist() == [1, 1]
        with pytest.raises(CorruptCheckpointError) as error:
            ckpt["b"]
    assert error.value.tensor == "b"


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_afterwards_as_it_was(tmp_path: Path, enabled: bool) -> None:
    prefix = write_bundle(tmp_path, {"a": np.ones(2)})
    was_enabled = gc.isenabled()
    try:
        gc.enable() if enabled else gc.disable()
        with open_checkpoint(prefix) as ckpt:
            ckpt.infos()
        assert gc.isenabled() == enabled
    finally:
        gc.enable() if was_enabled else gc.disable()
