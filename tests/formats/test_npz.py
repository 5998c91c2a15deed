"""``.npz`` archives: the contract of containers over the fixtures, and what only they have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from ckptparse import ChecksumError, NotACheckpointError, UnsupportedError, open_checkpoint
from support.stored_arrays import ContainerContract, StoredCase, cases, load_stored

NEWEST = load_stored("numpy-2.5.1/npz_stored")
DEFLATED = load_stored("numpy-2.5.1/npz_compressed")


class TestNpz(ContainerContract):
    @pytest.fixture(params=cases("npz"))
    def case(self, request: pytest.FixtureRequest) -> Any:
        return request.param

    def test_stored_arrays_are_views_of_the_file(self, case: StoredCase) -> None:
        is_deflated = "compressed" in case.path.parent.name
        with open_checkpoint(case.path, format="npz") as ckpt:
            for info in ckpt.infos():
                wanted = bool(info.size) and info.dtype != object and not is_deflated
                assert info.mapped == wanted
                assert (info.offset is None) == (is_deflated and info.dtype != object)

    def test_every_checksum_is_compared(self, case: StoredCase) -> None:
        with open_checkpoint(case.path, format="npz") as ckpt:
            report = ckpt.verify()
            assert report.nbytes == sum(info.nbytes for info in ckpt.infos())
        assert not report.unchecked


def test_objects_are_listed_and_never_unpickled() -> None:
    with open_checkpoint(NEWEST.path) as ckpt:
        info = ckpt.info("objects")
        assert (info.dtype, info.tensorflow_dtype, info.shape) == (object, "object", (2,))
        with pytest.raises(UnsupportedError, match="pickle"):
            ckpt["objects"]
        with pytest.raises(UnsupportedError, match="pickle"):
            ckpt["record/objects"]


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "int4"])
def test_a_view_gives_the_dtype_of_ml_dtypes(name: str) -> None:
    with open_checkpoint(NEWEST.path) as ckpt:
        viewed = ckpt[name].view(getattr(ml_dtypes, name))
    assert viewed.astype(float).tolist() == [0, 1, 1, 0, 1]


def test_float8_e5m2_is_read_although_numpy_cannot() -> None:
    with open_checkpoint(NEWEST.path) as ckpt:
        assert ckpt["float8_e5m2"].dtype == ml_dtypes.float8_e5m2
    assert "float8_e5m2" in [error["name"] for error in NEWEST.errors]


@pytest.mark.parametrize("case", [NEWEST, DEFLATED], ids=["stored", "deflated"])
@pytest.mark.parametrize("mmap", [True, False], ids=["mapped", "copied"])
def test_a_flipped_bit_is_noticed_at_the_first_access(
    case: StoredCase, mmap: bool, tmp_path: Path
) -> None:
    with open_checkpoint(case.path) as ckpt:
        entry = ckpt._reader.find(b"big")
        start, stop = entry.span
    payload = bytearray(case.path.read_bytes())
    payload[(start + stop) // 2] ^= 1
    path = tmp_path / "flipped.npz"
    path.write_bytes(payload)
    damage = (ChecksumError,) if case is NEWEST else (ChecksumError, ValueError)
    with open_checkpoint(path, mmap=mmap) as ckpt:
        with pytest.raises(damage):
            ckpt["big"]
        with pytest.raises(damage):
            list(ckpt.read_pieces(["big"], 100))
        assert [each.name for each in ckpt.verify().damaged] == ["big"]
        assert ckpt["special"].size
    if case is NEWEST:
        with open_checkpoint(path, mmap=mmap, verify=False) as ckpt:
            assert ckpt["big"].shape == (30, 50)
            assert sum(piece.values.size for piece in ckpt.read_pieces(["big"], 100)) == 1500


@pytest.mark.parametrize("case", [NEWEST, DEFLATED], ids=["stored", "deflated"])
def test_a_changed_header_is_noticed(case: StoredCase, tmp_path: Path) -> None:
    """The checksum is that of the whole member, with its header."""
    made = case.readable["f4/matrix"]
    write = np.savez if case is NEWEST else np.savez_compressed
    path = tmp_path / "changed.npz"
    write(path, x=made)
    contents = path.read_bytes()
    if case is NEWEST:
        contents = contents.replace(b"'<f4'", b"'<i4'")
    else:  # the stored checksum instead, in the directory
        at = contents.rindex(b"PK\x01\x02") + 16
        contents = contents[:at] + bytes([contents[at] ^ 1]) + contents[at + 1 :]
    path.write_bytes(contents)
    with open_checkpoint(path) as ckpt:
        for index in (..., 0):
            with pytest.raises(ChecksumError):
                ckpt.read("x", index)
        assert not ckpt.verify().ok


def test_an_npy_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.arange(3))
    with pytest.raises(NotACheckpointError, match=r"npy"):
        open_checkpoint(path)
