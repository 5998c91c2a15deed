"""Entries of a bundle decoded all at once: the same as one by one."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptparse import CorruptCheckpointError, open_checkpoint
from ckptparse.formats.bundle.entries import Entry, decode_entry
from ckptparse.formats.bundle.entry_columns import decode_entries
from ckptparse.sstable.block import Block
from support.builders import Bundle, block, bundle_entry, write_bundle
from support.oracle import case_names, load_case

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
    """Return the entry if it is valid, otherwise one that is."""
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
