"""Large tensors of a bundle in pieces: a mapped one is checked one piece ahead of its use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ckptparse import ChecksumError, open_checkpoint, save_checkpoint
from ckptparse.formats.bundle import payload
from ckptparse.sources import parallel

VALUES = np.arange(1000, dtype="f4")
PIECE_NBYTES = 400  # ten pieces


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> str:
    return save_checkpoint(tmp_path / "m.ckpt", {"x": VALUES, "flags": VALUES % 2 == 0})


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("name", ["x", "flags"])
def test_the_pieces_are_the_tensor(path: str, name: str, mmap: bool) -> None:
    with open_checkpoint(path, mmap=mmap) as ckpt:
        for _ in range(2):  # checked, and checked before
            pieces = list(ckpt.read_pieces([name], PIECE_NBYTES))
            assert len(pieces) > 1
            assert all(piece.values.nbytes <= PIECE_NBYTES for piece in pieces)
            joined = np.concatenate([piece.values for piece in pieces])
            np.testing.assert_array_equal(joined, ckpt[name])


@pytest.mark.parametrize(
    ("mmap", "verify", "num_ahead", "num_touched"),
    [(True, True, 9, 0), (True, False, 9, 10), (False, True, 0, 0), (False, False, 0, 0)],
)
def test_a_map_is_read_one_piece_ahead(
    path: str,
    monkeypatch: pytest.MonkeyPatch,
    mmap: bool,
    verify: bool,
    num_ahead: int,
    num_touched: int,
) -> None:
    """By another thread.  A checksum accesses all pages; without one, they are touched."""
    ahead, touched = [], []
    begin, touch = parallel.begin, payload._touch
    monkeypatch.setattr(parallel, "begin", lambda read: ahead.append(read) or begin(read))
    monkeypatch.setattr(payload, "_touch", lambda piece: touched.append(len(piece)) or touch(piece))
    with open_checkpoint(path, mmap=mmap, verify=verify) as ckpt:
        for i, _ in enumerate(ckpt.read_pieces(["x"], PIECE_NBYTES), start=1):
            assert len(ahead) == min(i, num_ahead)
    assert touched == [PIECE_NBYTES] * num_touched


@pytest.mark.parametrize(("mmap", "sizes"), [(True, [25, 50, *[100] * 9, 25]), (False, [100] * 10)])
def test_the_first_pieces_of_a_map_are_small(
    path: str, monkeypatch: pytest.MonkeyPatch, mmap: bool, sizes: list[int]
) -> None:
    """The caller waits for the first one."""
    monkeypatch.setattr(payload, "_FIRST_NBYTES", 100)
    with open_checkpoint(path, mmap=mmap) as ckpt:
        assert [p.values.size for p in ckpt.read_pieces(["x"], PIECE_NBYTES)] == sizes


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("offset", [0, 399, 400, 2000, 3999])
def test_damage_is_raised_before_the_last_piece(path: str, offset: int, mmap: bool) -> None:
    data = Path(f"{path}.data-00000-of-00001")
    with open_checkpoint(path) as ckpt:
        start = ckpt.info("x").offset
    assert start is not None
    octets = bytearray(data.read_bytes())
    octets[start + offset] ^= 1
    data.write_bytes(octets)
    with open_checkpoint(path, mmap=mmap) as ckpt:
        sizes: list[int] = []
        with pytest.raises(ChecksumError, match="tensor 'x'"):
            sizes.extend(p.values.size for p in ckpt.read_pieces(["x"], PIECE_NBYTES))
        assert 0 < sum(sizes) < VALUES.size
        with pytest.raises(ChecksumError):  # it does not count as checked
            ckpt["x"]


@pytest.mark.parametrize("mmap", [True, False])
def test_a_loop_that_ends_early_checks_no_tensor(path: str, mmap: bool) -> None:
    data = Path(f"{path}.data-00000-of-00001")
    with open_checkpoint(path, mmap=mmap) as ckpt:
        next(ckpt.read_pieces(["x"], PIECE_NBYTES))
        start = ckpt.info("x").offset
        assert start is not None
        with data.open("r+b") as file:  # damage the last piece
            file.seek(start + 3999)
            file.write(b"\xff")
        with pytest.raises(ChecksumError):
            ckpt["x"]
