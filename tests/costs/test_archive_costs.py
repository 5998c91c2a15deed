"""How many bytes of an archive are read and inflated."""

from __future__ import annotations

import io
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckptparse import open_checkpoint, save_checkpoint
from support.counting_files import counted

NBYTES = 20 << 20


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A checkpoint of 20 MiB in two tensors, and one small tensor between them."""
    folder = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(1)
    large = rng.integers(0, 200, (2, NBYTES // 2), np.uint8)
    save_checkpoint(folder / "m.ckpt", {"a": large[0], "b": np.float32(1), "c": large[1]})
    return {
        f"top/{path.name}": path.read_bytes()
        for path in sorted(folder.iterdir())
        if path.name.startswith("m.ckpt")
    }


def make_zip(files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    contents = io.BytesIO()
    with zipfile.ZipFile(contents, "w", method, compresslevel=1) as archive:
        for name, each in files.items():
            archive.writestr(name, each)
    return contents.getvalue()


def make_tar(files: dict[str, bytes], mode: str = "w") -> bytes:
    contents = io.BytesIO()
    with tarfile.open(fileobj=contents, mode=mode) as archive:
        for name, each in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(each)
            archive.addfile(info, io.BytesIO(each))
    return contents.getvalue()


@pytest.mark.parametrize("name", ["m.zip", "m.tar"])
def test_opening_and_listing_read_little(files: dict[str, bytes], name: str) -> None:
    contents = make_zip(files) if name == "m.zip" else make_tar(files)
    with counted({name: contents}) as requests:
        ckpt = open_checkpoint(f"counted://{name}")
        assert len(ckpt.infos()) == 3
        assert len(requests) <= 12
        assert sum(nbytes for _, _, nbytes in requests) < 2 << 20
        del requests[:]
        assert ckpt["b"] == 1
        assert sum(nbytes for _, _, nbytes in requests) < 100


class CountingDecompressor:
    """Counts the bytes that zlib inflates."""

    total = 0

    def __init__(self, wrapped: Any) -> None:
        self._wrapped = wrapped

    def decompress(self, fed: bytes, most: int) -> bytes:
        piece: bytes = self._wrapped.decompress(fed, most)
        type(self).total += len(piece)
        return piece

    def copy(self) -> CountingDecompressor:
        return CountingDecompressor(self._wrapped.copy())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)


@pytest.fixture
def inflated(monkeypatch: pytest.MonkeyPatch) -> type[CountingDecompressor]:
    make = zlib.decompressobj
    monkeypatch.setattr(zlib, "decompressobj", lambda wbits: CountingDecompressor(make(wbits)))
    CountingDecompressor.total = 0
    return CountingDecompressor


SPAN = 1 << 20


def test_verifying_a_deflated_zip_inflates_each_member_once(
    files: dict[str, bytes], tmp_path: Path, inflated: type[CountingDecompressor]
) -> None:
    path = tmp_path / "m.zip"
    path.write_bytes(make_zip(files, zipfile.ZIP_DEFLATED))
    with open_checkpoint(path) as ckpt:
        assert ckpt.verify().ok
    assert inflated.total < NBYTES + SPAN


def test_a_tar_gz_is_inflated_once_and_then_from_snapshots(
    files: dict[str, bytes], tmp_path: Path, inflated: type[CountingDecompressor]
) -> None:
    contents = make_tar(files, "w:gz")
    path = tmp_path / "m.tgz"
    path.write_bytes(contents)
    with open_checkpoint(path) as ckpt:
        assert inflated.total < NBYTES + 8 * SPAN  # the index, at the end, is read again
        inflated.total = 0
        assert ckpt["b"] == 1
        assert inflated.total <= 2 * SPAN
        inflated.total = 0
        assert ckpt.verify().ok
        assert inflated.total < NBYTES + 4 * SPAN
