"""What a comparison costs: memory, and which tensors are read."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckptparse import diff, open_checkpoint, save_checkpoint
from ckptparse.tensors.info import TensorInfo
from ckptparse.tensors.mapping import PIECE_NBYTES, TensorMapping
from ckptparse.tensors.pieces import Piece, cut

MIB = 1 << 20
DATA = ".data-00000-of-00001"


class Generated(TensorMapping):
    """A tensor of 256 MiB that is computed piece by piece, and never whole."""

    def __init__(self, value: float, dtype: str = "float32") -> None:
        self._value = value
        self._dtype = np.dtype(dtype)
        self._shape = (256 * MIB // self._dtype.itemsize,)

    def read(self, name: str, index: Any = ...) -> np.ndarray:
        raise AssertionError("read whole")

    def read_pieces(
        self, names: Iterable[str], piece_nbytes: int = PIECE_NBYTES
    ) -> Iterator[Piece]:
        for name in names:
            for start, (part,) in cut(self._shape, self._dtype.itemsize, piece_nbytes):
                values = np.full(part.stop - part.start, self._value, self._dtype)
                yield Piece(name, self._dtype.name, self._shape, start, values)

    def info(self, name: str) -> TensorInfo:
        (size,) = self._shape
        return TensorInfo(
            name=name, dtype=self._dtype, tensorflow_dtype=self._dtype.name, shape=self._shape,
            size=size, nbytes=256 * MIB, slices=(), mapped=False, file=None, offset=None,
        )  # fmt: skip

    def __iter__(self) -> Iterator[str]:
        return iter(["x"])

    def __len__(self) -> int:
        return 1


def most_memory(action: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("value", [1.0, 1.5, np.nan], ids=["same", "changed", "nan"])
def test_the_memory_does_not_grow_with_a_tensor(value: float) -> None:
    found: list[Any] = []
    assert most_memory(lambda: found.append(diff(Generated(1), Generated(value)))) < 64 * MIB
    assert found[0].equal is (value == 1)


def test_the_memory_of_two_dtypes() -> None:
    a, b = Generated(1.5, "int32"), Generated(1.5, "float32")
    found: list[Any] = []
    assert most_memory(lambda: found.append(diff(a, b))) < 64 * MIB
    assert found[0].different_form[0].values.num_different == 64 * MIB


def test_tensors_of_equal_checksums_need_no_data_file(tmp_path: Path) -> None:
    arrays = {f"t{i:03}": np.full(100, i, "f4") for i in range(100)}
    for name in "a", "b":
        save_checkpoint(tmp_path / name, arrays, sync=False)
        (tmp_path / f"{name}{DATA}").unlink()
    report = diff(tmp_path / "a", tmp_path / "b")
    assert report.equal
    assert len(report.not_read) == 100


def test_only_tensors_that_may_differ_are_read(tmp_path: Path) -> None:
    """All bytes of the others are wrong, which reading them would notice."""
    arrays = {f"t{i:03}": np.full(1000, i, "f4") for i in range(100)}
    changed = {**arrays, "t050": arrays["t050"] + 1}
    for name, tensors in ("a", arrays), ("b", changed):
        save_checkpoint(tmp_path / name, tensors, sync=False)
        offset = open_checkpoint(tmp_path / name).info("t050").offset
        assert offset is not None
        contents = bytearray(b"\xff" * 400_000)
        contents[offset : offset + 4000] = tensors["t050"].tobytes()
        (tmp_path / f"{name}{DATA}").write_bytes(contents)
    report = diff(tmp_path / "a", tmp_path / "b")
    assert [change.name for change in report.changed] == ["t050"]
    assert len(report.not_read) == 99
