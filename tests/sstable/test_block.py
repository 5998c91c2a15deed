"""The entries of a block: iterated, searched, and damaged in every way."""

from __future__ import annotations

from contextlib import suppress
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptparse.errors import CorruptCheckpointError
from ckptparse.sstable.block import Block
from support.builders import Entry, block, block_entry, block_of_bytes, varint
from support.counting import counted_steps

KEYS = {
    "one": [b"a"],
    "only the empty key": [b""],
    "prefixes of each other": [b"", b"a", b"aa", b"aaa", b"aab", b"ab", b"b"],
    "any byte": [b"\x00", b"\x00\x00", b"\x00\xff", b"\x7f", b"\x80", b"\xff", b"\xff\xff"],
    "numbered": [b"model/layer_%03d/weights" % i for i in range(100)],
    "long": [b"x" * 20_000 + b"%d" % i for i in range(5)],
    "long and short": [b"a" * 200, b"b", b"c" * 200, b"c" * 200 + b"d", b"d"],
}
by_keys = pytest.mark.parametrize("keys", KEYS.values(), ids=list(KEYS))
by_interval = pytest.mark.parametrize("interval", [1, 2, 16, 1000])


def with_values(keys: list[bytes]) -> list[Entry]:
    """Different values whose lengths are close to those where a varint gets longer."""
    return [(key, b"%d:" % i + bytes(i * 17 % 150)) for i, key in enumerate(keys)]


@pytest.mark.parametrize("share", [True, False], ids=["shared", "whole"])
@pytest.mark.parametrize("wrap", [bytes, memoryview])
@by_interval
@by_keys
def test_entries_come_in_order(keys: list[bytes], interval: int, wrap: type, share: bool) -> None:
    entries = with_values(keys)
    contents = wrap(block(entries, interval, share=share))
    assert list(Block(contents)) == entries


@by_interval
@by_keys
def test_seek_finds_every_key(keys: list[bytes], interval: int) -> None:
    entries = with_values(keys)
    searched = Block(block(entries, interval))
    assert [searched.seek(key) for key in keys] == entries


@by_interval
@by_keys
def test_seek_between_keys_finds_the_next_one(keys: list[bytes], interval: int) -> None:
    entries = with_values(keys)
    searched = Block(block(entries, interval))
    targets = [key + b"\x00" for key in keys]  # the least key above each
    following = [
        next((entry for entry in entries if entry[0] >= target), None) for target in targets
    ]
    assert [searched.seek(target) for target in targets] == following
    assert searched.seek(b"") == entries[0]
    assert searched.seek(b"\xff" * 3) is None


@given(
    st.sets(st.lists(st.sampled_from([0, 1, 97, 255]), max_size=5).map(bytes), max_size=40),
    st.sampled_from([1, 2, 3, 16, 1000]),
    st.lists(st.lists(st.sampled_from([0, 1, 97, 255]), max_size=6).map(bytes), max_size=20),
)
def test_seek_is_the_first_entry_of_the_order_that_is_not_below(
    keys: set[bytes], interval: int, targets: list[bytes]
) -> None:
    entries = with_values(sorted(keys))
    searched = Block(block(entries, interval))
    assert list(searched) == entries
    for target in targets:
        expected = next((entry for entry in entries if entry[0] >= target), None)
        assert searched.seek(target) == expected


def test_the_empty_block_of_tensorflow_holds_nothing() -> None:
    contents = bytes.fromhex("00000000 01000000")
    assert contents == block([])
    assert list(Block(contents)) == []
    assert Block(contents).seek(b"") is None


def test_the_annotated_block_of_the_format() -> None:
    contents = bytes.fromhex(
        "0000060801 1a0208010001 0f61080a12 0412020801280135052b2843"
        "0001116208 01120412020802200128 0835593ce535 00000000 01000000"
    )
    entries = list(Block(contents))
    assert [key for key, _ in entries] == [b"", b"a", b"b"]
    assert entries[0][1] == bytes.fromhex("08011a020801")
    assert [len(value) for _, value in entries] == [6, 15, 17]


def test_values_of_a_view_are_views() -> None:
    contents = memoryview(block([(b"a", b"value")]))
    ((_, value),) = Block(contents)
    assert isinstance(value, memoryview)
    assert value.obj is contents.obj


# Damage

ENTRIES = with_values([b"a%02d" % i for i in range(12)])
SOUND = block(ENTRIES, 4)
OFFSETS = [0] + [len(block(ENTRIES[:n], 4)) - 4 - 4 * (n // 4) for n in (4, 8)]


def test_the_offsets_that_are_damaged_below_are_the_true_ones() -> None:
    assert block(ENTRIES, 4, restarts=OFFSETS) == SOUND


@pytest.mark.parametrize("nbytes", range(8))
def test_a_block_shorter_than_eight_bytes_is_an_error(nbytes: int) -> None:
    with pytest.raises(CorruptCheckpointError, match="a block of 8 bytes or more"):
        Block(bytes(nbytes))


STOP = len(SOUND) - 16


@pytest.mark.parametrize(
    "num_restarts", [0, len(SOUND) // 4, 2**31, 2**32 - 1], ids=["0", "all", "2**31", "2**32-1"]
)
def test_a_number_of_restarts_that_does_not_fit_is_an_error(num_restarts: int) -> None:
    with pytest.raises(CorruptCheckpointError, match="number of restarts") as error:
        Block(block(ENTRIES, 4, num_restarts=num_restarts))
    assert error.value.offset == len(SOUND) - 4
    assert error.value.found == str(num_restarts)
    assert error.value.expected is not None


@pytest.mark.parametrize(
    "restarts",
    [
        [1, *OFFSETS[1:]],
        [OFFSETS[1], OFFSETS[2]],
        [0, 0, OFFSETS[1]],
        [0, OFFSETS[2], OFFSETS[1]],
        [0, OFFSETS[1], OFFSETS[1]],
        [*OFFSETS, STOP],
        [*OFFSETS, STOP + 1],
        [*OFFSETS, 2**31],
        [0, 2**32 - 1],
    ],
    ids=[
        "not from 0",
        "first one missing",
        "0 twice",
        "falling",
        "twice",
        "at the end",
        "in the restarts",
        "2**31",
        "2**32-1",
    ],
)
def test_restarts_out_of_order_or_outside_are_an_error(restarts: list[int]) -> None:
    contents = block(ENTRIES, 4, restarts=restarts)
    with pytest.raises(CorruptCheckpointError, match="restarts of a block") as error:
        Block(contents)
    assert error.value.offset == STOP
    assert error.value.found is not None


@pytest.mark.parametrize("restarts", [[0, 1], [0, 4], [0, 2**32 - 1]])
def test_an_empty_block_has_no_restart_but_the_first(restarts: list[int]) -> None:
    with pytest.raises(CorruptCheckpointError, match="restarts of a block"):
        Block(block([], restarts=restarts))


@pytest.mark.parametrize("moved", [-3, -1, 1, 2, 5])
@pytest.mark.parametrize("which", [1, 2])
def test_a_restart_inside_an_entry_is_an_error(which: int, moved: int) -> None:
    restarts = [offset + moved * (i == which) for i, offset in enumerate(OFFSETS)]
    damaged = Block(block(ENTRIES, 4, restarts=restarts))
    with pytest.raises(CorruptCheckpointError, match="restart of a block") as error:
        list(damaged)
    assert error.value.offset == restarts[which]


def test_a_restart_at_an_entry_that_shares_is_an_error_to_both() -> None:
    inner = len(block(ENTRIES[:1], 4)) - 8
    damaged = Block(block(ENTRIES, 4, restarts=[0, inner]))
    with pytest.raises(CorruptCheckpointError, match="restart of a block") as error:
        list(damaged)
    assert error.value.offset == inner
    with pytest.raises(CorruptCheckpointError, match="restart of a block"):
        damaged.seek(b"a05")


@pytest.mark.parametrize(
    ("entry_bytes", "match"),
    [
        (b"\x00", "varint"),
        (b"\x00\x01", "varint"),
        (b"\x00\x01\x00", "entry of a block"),
        (b"\x00\x01\x05a", "entry of a block"),
        (b"\x00\x02\x00a", "entry of a block"),
        (b"\x01\x01\x00a", "shared with the key before|restart of a block"),
        (varint(0) + varint(2**32 - 1) + varint(0) + b"a", "entry of a block"),
        (varint(0) + varint(1) + varint(2**32 - 1) + b"a", "entry of a block"),
        (varint(0) + varint(2**31) + varint(2**31) + b"a", "entry of a block"),
        (
            varint(2**32 - 1) + varint(1) + varint(0) + b"a",
            "shared with the key before|restart of a block",
        ),
        (varint(0) + varint(2**32) + varint(0) + b"a", "varint"),
        (varint(0, 6) + varint(1) + varint(0) + b"a", "varint"),
        (b"\xff" * 30, "varint"),
    ],
)
def test_the_first_entry_running_out_of_the_block_is_an_error(
    entry_bytes: bytes, match: str
) -> None:
    damaged = Block(block_of_bytes(entry_bytes))
    with pytest.raises(CorruptCheckpointError, match=match) as error:
        list(damaged)
    assert error.value.offset is not None
    assert error.value.offset <= len(entry_bytes)
    assert error.value.expected is not None
    assert error.value.found is not None
    with pytest.raises(CorruptCheckpointError, match=match):
        damaged.seek(b"a")


@pytest.mark.parametrize("cut", range(1, 9))
def test_a_last_entry_that_is_cut_is_an_error(cut: int) -> None:
    whole = block_entry(b"a", b"1") + block_entry(b"b", b"12345")
    damaged = Block(block_of_bytes(whole[:-cut]))
    with pytest.raises(CorruptCheckpointError):
        list(damaged)
    with pytest.raises(CorruptCheckpointError):
        damaged.seek(b"b")
    assert damaged.seek(b"a") == (b"a", b"1")


def test_sharing_more_than_the_key_before_has_is_an_error() -> None:
    damaged = Block(block_of_bytes(block_entry(b"ab", b"") + block_entry(b"c", b"", shared=3)))
    with pytest.raises(
        CorruptCheckpointError, match=r"at most 2 bytes shared(?s:.*)found: 3"
    ) as error:
        list(damaged)
    assert error.value.offset == 5
    with pytest.raises(CorruptCheckpointError, match="at most 2 bytes shared"):
        damaged.seek(b"b")


@pytest.mark.parametrize(
    "keys",
    [[b"b", b"a"], [b"a", b"a"], [b"", b""], [b"a", b"b", b"aa"], [b"\x80", b"\x7f"], [b"a", b""]],
    ids=repr,
)
@by_interval
def test_keys_that_do_not_increase_are_an_error(keys: list[bytes], interval: int) -> None:
    damaged = Block(block([(key, b"") for key in keys], interval))
    with pytest.raises(
        CorruptCheckpointError, match="order of keys\n  expected: a key above"
    ) as error:
        list(damaged)
    assert error.value.found == repr(keys[-1])
    assert error.value.offset is not None


@pytest.mark.parametrize("flip", [0x01, 0x80])
def test_any_damaged_byte_gives_entries_or_a_named_error(flip: int) -> None:
    for place in range(len(SOUND)):
        damaged = bytearray(SOUND)
        damaged[place] ^= flip
        keys: list[bytes] = []
        with suppress(CorruptCheckpointError):
            keys += [key for key, _ in Block(bytes(damaged))]
        assert keys == sorted(set(keys)), place
        found = None
        with suppress(CorruptCheckpointError):
            found = Block(bytes(damaged)).seek(b"a05")
        assert found is None or found[0] >= b"a05", place


def test_keys_that_swell_by_sharing_are_an_error_not_gigabytes() -> None:
    # 30 kB of key, then entries of 6 bytes that each share it all and add a byte.
    first = block_entry(b"k" * 30_000, b"")
    swelling = first + b"".join(block_entry(b"x", b"", 30_000 + i) for i in range(20_000))
    contents = block_of_bytes(swelling)
    taken = 0
    with pytest.raises(CorruptCheckpointError):
        for key, _ in Block(contents):
            taken += len(key)
            assert taken < 1000 * len(contents), "keys of 1000 times the bytes of their block"


def test_a_key_longer_than_its_block_is_stored_in() -> None:
    longest = 1 << 16
    entries = [(b"a", b"1"), (b"b" * longest, b"2"), (b"c" * (longest + 1), b"3"), (b"d", b"4")]
    contents = block(entries)
    assert list(Block(contents)) == entries  # not compressed: each of its bytes is there
    compressed = Block(contents, 10_000)
    assert compressed.get(b"b" * longest) == b"2"
    for use in (list, Block.columns, lambda made: made.get(b"d")):
        with pytest.raises(
            CorruptCheckpointError, match="key of a block\n  expected: at most 65536"
        ):
            use(Block(contents, 10_000))


def test_more_entries_than_a_compressed_block_can_hold() -> None:
    entries = [(b"%03d" % i, b"") for i in range(75)]
    sixty_stored = 60 // 6 + 64
    assert list(Block(block(entries))) == entries  # not compressed: each of its bytes is there
    assert list(Block(block(entries[:sixty_stored]), 60)) == entries[:sixty_stored]
    damaged = Block(block(entries, 1000), 60)
    for use in (list, Block.columns, lambda made: made.get(entries[-1][0])):
        with pytest.raises(CorruptCheckpointError, match=r"many entries(?s:.*)at most 74\n"):
            use(damaged)


def answer(searched: Block, key: bytes) -> bytes | str | None:
    """What `get` returns, or the text of its error."""
    try:
        return searched.get(key)
    except CorruptCheckpointError as error:
        return str(error)


@given(
    st.lists(st.tuples(st.integers(0, 2**32), st.integers(0, 255)), max_size=3),
    st.sampled_from([16, 50, 1000]),
    st.randoms(use_true_random=False),
)
def test_a_key_gets_the_same_answer_however_often_a_block_is_searched(
    changes: list[tuple[int, int]], interval: int, random: Random
) -> None:
    entries = with_values([b"layer_%03d" % i for i in range(0, 300, 3)])
    contents = bytearray(block(entries, interval))
    for pos, byte in changes:
        contents[pos % len(contents)] = byte
    with suppress(CorruptCheckpointError):
        searched = Block(bytes(contents))
        targets = [b"layer_%03d" % i for i in range(300)]
        first = {target: answer(Block(bytes(contents)), target) for target in targets}
        random.shuffle(targets)
        assert {target: answer(searched, target) for target in targets} == first


def test_a_long_run_with_damage_at_its_end_is_walked_once() -> None:
    """Every search decodes a few entries, although the block cannot be decoded as a whole."""
    entries = [(b"%06d" % i, b"") for i in range(3000)]
    damaged = Block(block_of_bytes(block(entries, 3000)[:-8] + b"\x00\x01\x05a"))
    keys = [key for key, _ in entries]
    Random(1).shuffle(keys)
    most_steps_per_search = 1000  # an entry takes about 20
    with counted_steps(most_steps_per_search * 2 * len(keys)):
        assert all(damaged.get(key) == b"" for key in keys)
        errors = {answer(damaged, b"1%d" % i) for i in range(len(keys))}
    (error,) = errors
    assert "invalid entry of a block" in error
