"""What saving costs: memory, and calls of the operating system."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckptparse import average, merge, save, save_checkpoint
from ckptparse.outputs import local
from ckptparse.tensors.info import TensorInfo
from ckptparse.tensors.mapping import PIECE_NBYTES, TensorMapping
from ckptparse.tensors.pieces import Piece, cut

MIB = 1 << 20


class Disk:
    """Stands for the module `os`: counts writes, and keeps nothing of them."""

    def __init__(self) -> None:
        self.writes: list[tuple[int, int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def pwrite(self, _: int, contents: memoryview, position: int) -> int:
        self.writes.append((position, len(contents)))
        return len(contents)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    if not hasattr(os, "pwrite"):
        pytest.skip("no pwrite on this system")
    disk = Disk()
    monkeypatch.setattr(local, "os", disk)
    return disk


class Generated(TensorMapping):
    """Tensors that are computed piece by piece, and never whole."""

    def __init__(self, shapes: dict[str, tuple[int, ...]], dtype: str = "float32") -> None:
        self._shapes = shapes
        self._dtype = dtype

    def read(self, name: str, index: Any = ...) -> np.ndarray:
        if name not in self._shapes:
            raise KeyError(name)
        shape = self._shapes[name]
        if index is not Ellipsis:  # a part: its shape is that of a part of an array of no bytes
            shape = np.broadcast_to(np.float32(1), shape)[index].shape
        assert 4 * np.prod(shape) <= PIECE_NBYTES, "read whole"
        return np.ones(shape, self._dtype)

    def read_pieces(
        self, names: Iterable[str], piece_nbytes: int = PIECE_NBYTES
    ) -> Iterator[Piece]:
        for name in names:
            shape = self._shapes[name]
            for start, index in cut(shape, 4, piece_nbytes):
                yield Piece(name, self._dtype, shape, start, self.read(name, index))

    def info(self, name: str) -> TensorInfo:
        shape = self._shapes[name]
        size = int(np.prod(shape))
        return TensorInfo(
            name=name, dtype=np.dtype(self._dtype), tensorflow_dtype=self._dtype, shape=shape,
            size=size, nbytes=4 * size, slices=(), mapped=False, file=None, offset=None,
        )  # fmt: skip

    def __contains__(self, name: object) -> bool:
        return name in self._shapes

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)


SHAPES = {"a": (256, 1024, 512), "b": (100,), "c": (1 << 27,)}
"""One gigabyte in two tensors."""


def most_memory(action: Any) -> int:
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def save_gigabyte(prefix: Path, **options: Any) -> None:
    save_checkpoint(prefix, Generated(SHAPES), **options)


SAVED: dict[str, tuple[Any, int]] = {
    "pieces": (save_gigabyte, 1024),
    "shards": (lambda prefix: save_gigabyte(prefix, shard_nbytes=MIB), 1024),
    "slices": (lambda prefix: save_gigabyte(prefix, partitions={"a": (2, 1, 3), "c": 5}), 1024),
    "cast": (
        lambda prefix: save_checkpoint(prefix, merge(Generated(SHAPES)).select(dtype="bfloat16")),
        512,
    ),
    "npz": (lambda prefix: save(f"{prefix}.npz", Generated(SHAPES)), 1024),
    "pt": (lambda prefix: save(f"{prefix}.pt", Generated(SHAPES)), 1024),
    "npy": (lambda prefix: save(f"{prefix}.npy", Generated(SHAPES)), 1024),
    "safetensors": (lambda prefix: save(f"{prefix}.safetensors", Generated(SHAPES)), 1024),
    "safetensors in shards": (
        lambda prefix: save(f"{prefix}.safetensors", Generated(SHAPES), shard_nbytes=1 << 29),
        1024,
    ),
    "average": (
        lambda prefix: save_checkpoint(prefix, average([Generated({"a": SHAPES["a"]})] * 3)),
        512,
    ),
}
"""How a gigabyte is saved, and how many megabytes are written."""


@pytest.mark.parametrize(("save", "num_mib"), SAVED.values(), ids=SAVED)
def test_a_gigabyte_in_less_than_64_mib(
    tmp_path: Path, disk: Disk, save: Any, num_mib: int
) -> None:
    most = most_memory(lambda: save(tmp_path / "m"))
    assert most < 64 * MIB
    assert num_mib * MIB <= sum(nbytes for _, nbytes in disk.writes) < num_mib * MIB + 10_000


def test_small_tensors_are_written_together(tmp_path: Path, disk: Disk) -> None:
    """Up to a megabyte at a time, not one by one; the index block by block."""
    tensors = ((f"t{i:05}", np.float32(i)) for i in range(20_000))
    save_checkpoint(tmp_path / "m", tensors, sync=False)
    data, *index = disk.writes
    assert data == (0, 4 * 20_000)
    assert len(index) == 5  # two blocks of entries, an empty one, the index block, the footer


@pytest.mark.parametrize("suffix", [".npz", ".pt", ".safetensors"])
def test_small_tensors_of_a_file_are_written_together(
    tmp_path: Path, disk: Disk, suffix: str
) -> None:
    tensors = ((f"t{i:05}", np.float32(i)) for i in range(5_000))
    save(f"{tmp_path}/m{suffix}", tensors, sync=False)
    total = max(position + nbytes for position, nbytes in disk.writes)
    assert len(disk.writes) <= 4 + total // (1 << 20)  # a large member is written by itself


def test_the_memory_of_a_buffer_does_not_grow(tmp_path: Path, disk: Disk) -> None:
    """Arrays of up to 64 KiB are buffered, but only a megabyte of them."""
    arrays = ((f"t{i:05}", np.ones(1 << 14, "f4")) for i in range(1000))
    most = most_memory(lambda: save_checkpoint(tmp_path / "m", arrays, sync=False))
    assert most < 8 * MIB
    assert sum(nbytes for _, nbytes in disk.writes) >= 1000 << 16
