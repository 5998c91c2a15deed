"""Tensors that are not as their metadata said: nothing wrong is ever saved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckptparse import InvalidTensorsError, save
from ckptparse.tensors.conversion import describe_array
from ckptparse.tensors.info import TensorInfo
from ckptparse.tensors.mapping import PIECE_NBYTES, TensorMapping
from ckptparse.tensors.pieces import Piece

SAID = np.arange(6, dtype="f4").reshape(2, 3)


class Lying(TensorMapping):
    """A tensor whose metadata is that of `SAID`, and other pieces."""

    def __init__(self, pieces: list[Piece]) -> None:
        self.pieces = pieces

    def read(self, name: str, index: Any = ...) -> np.ndarray:
        return SAID[index]

    def read_pieces(
        self, names: Iterable[str], piece_nbytes: int = PIECE_NBYTES
    ) -> Iterator[Piece]:
        return iter(self.pieces)

    def info(self, name: str) -> TensorInfo:
        return describe_array(name, SAID)

    def __iter__(self) -> Iterator[str]:
        return iter(["x"])

    def __len__(self) -> int:
        return 1


def piece(start: int, values: np.ndarray, **changes: Any) -> Piece:
    return Piece("x", "float32", (2, 3), start, values)._replace(**changes)


FIRST, SECOND = piece(0, SAID[0]), piece(3, SAID[1])

LIES: dict[str, list[Piece]] = {
    "nothing": [],
    "too little": [FIRST],
    "too much": [FIRST, piece(3, SAID)],
    "too much at once": [piece(0, np.zeros(7, "f4"))],
    "a gap": [FIRST, piece(4, SAID[1, 1:])],
    "an overlap": [FIRST, piece(2, np.zeros(4, "f4"))],
    "not from the start": [SECOND],
    "shifted": [FIRST, SECOND._replace(start=2)],
    "in another order": [SECOND, FIRST],
    "another name": [FIRST, SECOND._replace(name="y")],
    "another dtype": [FIRST, SECOND._replace(dtype="int32")],
    "another array": [FIRST, SECOND._replace(values=SAID[1].astype("i4"))],
    "a wider array": [piece(0, SAID.astype("f8"))],
    "another shape": [FIRST, SECOND._replace(shape=(3, 2))],
}


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".pt", ".safetensors"])
@pytest.mark.parametrize("lie", LIES)
def test_it_is_refused(tmp_path: Path, lie: str, suffix: str) -> None:
    with pytest.raises(InvalidTensorsError, match="changed while it was read") as caught:
        save(tmp_path / f"m{suffix}", Lying(LIES[lie]))
    assert caught.value.tensor == "x"
    assert caught.value.expected == "float32 [2, 3]"
    assert list(tmp_path.iterdir()) == []


def test_pieces_that_fit(tmp_path: Path) -> None:
    save(tmp_path / "m.npz", Lying([FIRST, SECOND]))
    with np.load(tmp_path / "m.npz") as arrays:
        assert np.array_equal(arrays["x"], SAID)


def test_pieces_in_the_other_byte_order(tmp_path: Path) -> None:
    swapped = SECOND._replace(values=SAID[1].astype(">f4"))
    save(tmp_path / "m.npz", Lying([FIRST, swapped]))
    with np.load(tmp_path / "m.npz") as arrays:
        assert np.array_equal(arrays["x"], SAID)
