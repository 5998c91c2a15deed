"""Damaged files give the right values or an error of the tree, nothing else."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckptparse import (
    CheckpointError,
    CorruptCheckpointError,
    NotACheckpointError,
    TruncatedError,
    open_checkpoint,
)
from support.builders import Bundle, bundle_entry, bundle_header, string_payload, write_bundle
from support.damage import copy_case
from support.flips import (
    IN_BLOCKS,
    LONG,
    MASKS,
    SHORT,
    Contents,
    copy_for_flips,
    files_of,
    flip_every_byte,
    one_bit,
    read_all,
)
from support.oracle import load_case

SMALL = [
    "tf-2.21.0/single_scalar",
    "tf-2.21.0/misaligned",
    "tf-2.21.0/padded",
    "tf-2.21.0/max_shard_size",
    "tf-2.21.0/variants",
]
SMALL_V1 = ["tf-2.21.0/v1_repeated", "tf-2.21.0/v1_hole", "tf-2.21.0/v1_snappy"]


def contents_of(prefix: Path) -> Contents:
    with open_checkpoint(prefix) as ckpt:
        return read_all(ckpt)


exhaustive = pytest.mark.exhaustive


def sampled(names: Iterable[str], *sample: str) -> list[Any]:
    """Mark all parameters but a sample as exhaustive."""
    return [name if name in sample else pytest.param(name, marks=exhaustive) for name in names]


LONG_READ_BY_POSITION = ["tf-2.21.0/v1_snappy", "tf-2.21.0/v1_slices_dtypes"]
"""The others are mapped: each takes seconds, and the short ones are read in both ways."""


@pytest.mark.parametrize(
    ("mask_name", "mmap"), [("one bit", True), ("the highest bit", False)], ids=["mapped", "pread"]
)
@pytest.mark.parametrize(
    "case_name",
    sampled([*SHORT.values(), IN_BLOCKS], "tf-2.21.0/single_scalar", "tf-2.21.0/padded"),
)
def test_a_flipped_byte_is_an_error_unless_no_value_depends_on_it(
    case_name: str, mask_name: str, mmap: bool, tmp_path: Path
) -> None:
    require_explained(case_name, MASKS[mask_name], mmap, tmp_path)


@pytest.mark.parametrize("case_name", sampled(LONG.values()))
def test_a_flipped_bit_is_an_error_unless_no_value_depends_on_it(
    case_name: str, tmp_path: Path
) -> None:
    require_explained(case_name, one_bit, case_name not in LONG_READ_BY_POSITION, tmp_path)


def require_explained(
    case_name: str, mask_of: Callable[[int], int], mmap: bool, folder: Path
) -> None:
    """Flip every byte, and check that exactly the bytes without a meaning have no effect."""
    prefix = copy_for_flips(case_name, folder)
    flips = list(flip_every_byte(prefix, mask_of, mmap=mmap))
    assert [flip for flip in flips if not flip.is_explained] == []
    assert len(flips) == sum(map(os.path.getsize, files_of(prefix)))


@pytest.mark.parametrize("case_name", sampled(SMALL, "tf-2.21.0/misaligned"))
def test_an_index_cut_anywhere_does_not_open(case_name: str, tmp_path: Path) -> None:
    prefix = copy_case(case_name, tmp_path)
    whole = Path(f"{prefix}.index").read_bytes()
    for nbytes in range(len(whole)):
        Path(f"{prefix}.index").write_bytes(whole[:nbytes])
        with pytest.raises(TruncatedError) as error:
            open_checkpoint(prefix)
        assert error.value.file == f"{prefix}.index"
        assert f"{nbytes} bytes" in str(error.value) or nbytes == 0


@pytest.mark.parametrize("case_name", sampled(SMALL_V1, "tf-2.21.0/v1_hole"))
def test_a_v1_file_cut_anywhere_does_not_open(case_name: str, tmp_path: Path) -> None:
    prefix = copy_case(case_name, tmp_path)
    for nbytes in reversed(range(os.path.getsize(prefix))):
        os.truncate(prefix, nbytes)
        # A compressed first block does not look like the beginning of a table.
        with pytest.raises((TruncatedError, NotACheckpointError)):
            open_checkpoint(prefix)


@pytest.mark.parametrize("mmap", [True, False], ids=["mapped", "pread"])
@pytest.mark.parametrize(
    "case_name", sampled([name for name in SMALL if "padded" not in name], "tf-2.21.0/misaligned")
)
def test_a_shard_cut_anywhere_loses_only_what_was_cut(
    case_name: str, mmap: bool, tmp_path: Path
) -> None:
    prefix = copy_case(case_name, tmp_path)
    intact = contents_of(prefix)
    shard = max(tmp_path.glob(f"{prefix.name}.data-*"), key=os.path.getsize)
    for nbytes in reversed(range(os.path.getsize(shard))):
        os.truncate(shard, nbytes)
        with open_checkpoint(prefix, mmap=mmap) as ckpt:
            found = read_all(ckpt)
            assert not ckpt.verify().ok
        assert found.keys() == intact.keys()
        for name, contents in intact.items():
            assert found[name] in (contents, "TruncatedError")


def test_bytes_behind_the_last_tensor_do_not_matter(tmp_path: Path) -> None:
    prefix = copy_case("tf-2.21.0/misaligned", tmp_path)
    intact = contents_of(prefix)
    with open(f"{prefix}.data-00000-of-00001", "ab") as file:
        file.write(b"junk")
    assert contents_of(prefix) == intact


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(bundle_entry(1, (2,), offset=1, size=8, crc=0), id="ends behind the file"),
        pytest.param(bundle_entry(1, (2,), offset=2**62, size=8, crc=0), id="begins far behind"),
        pytest.param(bundle_entry(1, (2**40,), size=2**42, crc=0), id="4 TiB"),
        pytest.param(bundle_entry(1, (2**61,), size=2**63 - 4, crc=0), id="2**63 - 4 bytes"),
        pytest.param(bundle_entry(1, (2**62,), size=8, crc=0), id="shape of 2**62"),
        pytest.param(bundle_entry(7, (2**40,), size=8, crc=0), id="2**40 strings in 8 bytes"),
        pytest.param(bundle_entry(7, (4,), size=2**40, crc=0), id="strings of 1 TiB"),
        pytest.param(bundle_entry(1, (2**31, 2**31, 2**31), size=8, crc=0), id="overflowing shape"),
        pytest.param(bundle_entry(1, (2**20,), size=2**22, crc=0), id="4 MiB of 8 bytes"),
        pytest.param(bundle_entry(1, (2**32, 2**28), slices=[[None, None]]), id="slice of 2**62"),
        pytest.param(bundle_entry(1, (2**40,), slices=[[(0, 2**40)]]), id="slice of 2**40"),
    ],
)
@pytest.mark.parametrize("mmap", [True, False])
def test_nothing_is_allocated_for_a_size_that_is_not_there(
    tmp_path: Path, entry: bytes, mmap: bool
) -> None:
    def lie(bundle: Bundle) -> None:
        bundle.index[b"x"] = entry

    prefix = write_bundle(tmp_path, {"x": np.ones(2, "f4")}, edit=lie)
    tracemalloc.start()
    with open_checkpoint(prefix, mmap=mmap, verify=False) as ckpt, pytest.raises(CheckpointError):
        ckpt["x"]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3_000_000


@pytest.mark.parametrize("num_shards", [0, -1, 2**31 - 1, -(2**31)])
def test_numbers_of_shards_that_cannot_be(tmp_path: Path, num_shards: int) -> None:
    def lie(bundle: Bundle) -> None:
        bundle.index[b""] = bundle_header(num_shards)

    prefix = write_bundle(tmp_path, {"x": np.ones(2, "f4")}, edit=lie)
    with pytest.raises(CheckpointError), open_checkpoint(prefix) as ckpt:
        ckpt["x"]


def test_lengths_of_strings_that_run_over_64_bits(tmp_path: Path) -> None:
    payload, _ = string_payload([b"ab", b"cd"])
    lengths = b"\xff" * 9 + b"\x01" + b"\x05"  # 2**64 - 1 and 5: 4 in 64 bits

    def lie(bundle: Bundle) -> None:
        bundle.shards[0][:] = lengths + payload[2:]
        bundle.index[b"x"] = bundle_entry(7, (2,), size=len(bundle.shards[0]), crc=1)

    prefix = write_bundle(tmp_path, {"x": [b"ab", b"cd"]}, edit=lie)
    for verify in (True, False):
        with open_checkpoint(prefix, verify=verify) as ckpt, pytest.raises(CorruptCheckpointError):
            ckpt["x"]


def test_a_boolean_that_is_neither(tmp_path: Path) -> None:
    prefix = write_bundle(tmp_path, {"x": np.array([1, 2, 0], "u1").view(bool)})
    with open_checkpoint(prefix) as ckpt, pytest.raises(CorruptCheckpointError, match="boolean"):
        ckpt["x"]


def test_more_dimensions_than_numpy_has(tmp_path: Path) -> None:
    def deepen(bundle: Bundle) -> None:
        bundle.index[b"x"] = bundle_entry(1, (1,) * 250, size=4, crc=1)

    prefix = write_bundle(tmp_path, {"x": np.ones(2, "f4")}, edit=deepen)
    with open_checkpoint(prefix) as ckpt:
        assert len(ckpt.info("x").shape) == 250
        with pytest.raises(CheckpointError, match="dimensions"):
            ckpt["x"]


def test_fixtures_are_whole() -> None:
    assert all(load_case(name).tensors for name in SMALL)
