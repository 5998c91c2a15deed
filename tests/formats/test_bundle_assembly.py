"""Large partitioned tensors and many strings, which several threads assemble in pieces."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from ckptparse import ChecksumError, CorruptCheckpointError, open_checkpoint
from support.builders import Partitioned, write_bundle
from support.damage import flip_bit

LARGE = np.random.default_rng(0).integers(0, 256, (600, 500, 4), np.uint8)
"""1.2 MB: above what one thread assembles, in rows of 2,000 bytes."""

ROWS = [[(0, 1), None, None], [(1, 299), None, None], [(300, 300), None, None]]
BLOCKS = [
    [(0, 500), (0, 250), None],
    [(0, 500), (250, 250), None],
    [(500, 100), None, (0, 3)],
    [(500, 100), None, (3, 1)],
]
LONG_ROW = [[None, None, (0, 2)], [None, None, (2, 2)]]


@pytest.mark.parametrize("big_endian", [False, True], ids=["little", "big"])
@pytest.mark.parametrize("slices", [ROWS, BLOCKS, LONG_ROW], ids=["rows", "blocks", "columns"])
@pytest.mark.parametrize(
    "dtype", ["u1", *(pytest.param(t, marks=pytest.mark.exhaustive) for t in "?f")]
)
def test_every_element_is_in_its_place(
    tmp_path: Path, dtype: str, slices: list, big_endian: bool
) -> None:
    array = (LARGE % 2).astype(bool) if dtype == "?" else LARGE.astype(dtype)
    tensors = {"x": Partitioned(array, slices)}
    prefix = write_bundle(tmp_path, tensors, num_shards=2, big_endian=big_endian)
    for verify, mmap in itertools.product([True, False], repeat=2):
        with open_checkpoint(prefix, verify=verify, mmap=mmap) as ckpt:
            for _ in range(2):  # verified, and not again
                found = ckpt["x"]
                assert found.dtype == array.dtype
                assert found.tobytes() == array.tobytes()
            part = ckpt.read("x", np.s_[::-3, 1:400:7, 1])
            assert part.tobytes() == array[::-3, 1:400:7, 1].tobytes()


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("at", [0, 2_000, 599_999, 600_000, 1_199_999])
def test_damage_anywhere_is_an_error(tmp_path: Path, at: int, mmap: bool) -> None:
    prefix = write_bundle(tmp_path, {"x": Partitioned(LARGE, ROWS)})
    shard = f"{prefix}.data-00000-of-00001"
    flip_bit(shard, at)
    with open_checkpoint(prefix, mmap=mmap) as ckpt:
        for _ in range(2):  # what was wrong once is not taken for checked
            with pytest.raises(ChecksumError) as error:
                ckpt["x"]
            assert error.value.tensor == "x"
            assert error.value.file == shard
        rows = [
            ckpt.read("x", np.s_[a:b])
            for a, b in ((0, 1), (1, 300), (300, 600))
            if not a <= at // 2000 < b
        ]
        assert len(rows) == 2


def test_a_boolean_that_is_neither(tmp_path: Path) -> None:
    array = LARGE.clip(0, 1)
    array[500, 3, 2] = 2
    prefix = write_bundle(tmp_path, {"x": Partitioned(array.view(bool), ROWS)})
    with open_checkpoint(prefix) as ckpt, pytest.raises(CorruptCheckpointError, match="boolean"):
        ckpt["x"]


@pytest.mark.parametrize("slices", [ROWS, [[None, None, None]]], ids=["slices", "one"])
def test_a_boolean_that_was_damaged_is_an_error_of_its_checksum(
    tmp_path: Path, slices: list
) -> None:
    array = LARGE.clip(0, 1).view(bool)
    prefix = write_bundle(tmp_path, {"x": Partitioned(array, slices), "y": array})
    flip_bit(f"{prefix}.data-00000-of-00001", 700_000, 4)
    flip_bit(f"{prefix}.data-00000-of-00001", 1_900_000, 4)
    with open_checkpoint(prefix) as ckpt:
        for name in ("x", "y"):
            with pytest.raises(ChecksumError):
                ckpt[name]
        assert [type(damage.error) for damage in ckpt.verify().damaged] == [ChecksumError] * 2


STRINGS = {
    "short": [b"%d" % i for i in range(100_000)],
    "around the size of a piece": [b"a" * n for n in (0, 1, 2**18 - 1, 2**18, 2**18 + 1, 0, 5)],
    "long": [b"x" * 1_000_000, b"", b"y" * 300_000],
    "empty": [b""] * 1_000,
}


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("strings", STRINGS.values(), ids=list(STRINGS))
def test_strings_of_all_lengths(tmp_path: Path, strings: list[bytes], mmap: bool) -> None:
    prefix = write_bundle(tmp_path, {"x": strings})
    for verify in (True, False):
        with open_checkpoint(prefix, verify=verify, mmap=mmap) as ckpt:
            assert ckpt["x"].tolist() == strings


@pytest.mark.parametrize("strings", [STRINGS["short"], STRINGS["long"]], ids=["short", "long"])
def test_a_flipped_bit_in_any_piece_of_strings(tmp_path: Path, strings: list[bytes]) -> None:
    prefix = write_bundle(tmp_path, {"x": strings})
    shard = Path(f"{prefix}.data-00000-of-00001")
    for at in np.linspace(0, shard.stat().st_size - 1, 30).astype(int).tolist():
        flip_bit(shard, at)
        with open_checkpoint(prefix) as ckpt, pytest.raises(CorruptCheckpointError):
            ckpt["x"]
        flip_bit(shard, at)
