"""`.npz` archives: the bytes of ``numpy.savez``, and what numpy reads."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from ckptparse import InvalidTensorsError, UnsupportedError, open_checkpoint, save
from support.every_dtype import NUMPY_DTYPES, arrays_of
from support.oracle import VGG, expected_array

ARRAYS = {**arrays_of(NUMPY_DTYPES), "large": np.arange(5_000_000.0), "é\n": np.ones(2)}
"""``large`` takes several pieces."""


def test_the_bytes_are_those_of_savez(tmp_path: Path) -> None:
    save(tmp_path / "ours.npz", ARRAYS)
    np.savez(tmp_path / "numpy.npz", **ARRAYS)
    assert (tmp_path / "ours.npz").read_bytes() == (tmp_path / "numpy.npz").read_bytes()


def test_values_of_a_checkpoint(tmp_path: Path) -> None:
    with open_checkpoint(VGG.prefix) as ckpt:
        save(tmp_path / "m.npz", ckpt)
    with np.load(tmp_path / "m.npz") as arrays:
        assert sorted(arrays.files) == sorted(tensor.name for tensor in VGG.tensors)
        for name in arrays.files:
            expected = expected_array(VGG, name)
            assert arrays[name].dtype == expected.dtype
            assert np.array_equal(arrays[name], expected)


def test_at_a_url_checksums_come_after_the_bytes(request: pytest.FixtureRequest) -> None:
    fsspec = pytest.importorskip("fsspec")
    request.addfinalizer(lambda: fsspec.filesystem("memory").rm("/test_npz", recursive=True))
    save("memory://test_npz/m.npz", ARRAYS)
    with fsspec.open("memory://test_npz/m.npz") as file, np.load(file) as arrays:
        for name, array in ARRAYS.items():
            assert arrays[name].tobytes() == array.tobytes()
    with fsspec.open("memory://test_npz/m.npz") as file, zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12.0).reshape(3, 4).T,
        np.arange(12, dtype=">i4").reshape(3, 4),
        np.arange(24.0)[::-2],
        np.frombuffer(b"\0\1\2\xff", bool),
    ],
    ids=["fortran", "big-endian", "strided", "bool"],
)
def test_layouts(tmp_path: Path, array: np.ndarray) -> None:
    save(tmp_path / "m.npz", {"x": array})
    with np.load(tmp_path / "m.npz") as arrays:
        assert arrays["x"].dtype == array.dtype.newbyteorder("=")
        assert np.array_equal(arrays["x"], array)


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_bfloat16_is_refused_with_a_hint(tmp_path: Path, dtype: str) -> None:
    arrays = {"a": np.ones(2, "f4"), **arrays_of([dtype])}
    with pytest.raises(UnsupportedError, match=f"an .npz file cannot hold {dtype}") as caught:
        save(tmp_path / "m.npz", arrays)
    assert "--dtype float32" in str(caught.value)
    assert f"numpy.uint{8 * arrays[f'{dtype}/cube'].itemsize}" in str(caught.value)
    assert "and 2 more" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_hint_is_right(tmp_path: Path) -> None:
    arrays = arrays_of(["bfloat16"])
    bits = {name: array.view(np.uint16) for name, array in arrays.items()}
    save(tmp_path / "m.npz", bits)
    with np.load(tmp_path / "m.npz") as read:
        for name, array in arrays.items():
            assert read[name].view(array.dtype).tobytes() == array.tobytes()


@pytest.mark.parametrize("name", ["\udcff", "a\0b", "x" * 65_600], ids=["bytes", "nul", "long"])
def test_names_that_it_cannot_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidTensorsError, match="cannot have this name"):
        save(tmp_path / "m.npz", {name: np.zeros(2)})


def test_names_that_numpy_confuses(tmp_path: Path) -> None:
    with pytest.raises(InvalidTensorsError, match="tell the names"):
        save(tmp_path / "m.npz", {"a": np.zeros(2), "a.npy": np.ones(2)})


@pytest.mark.exhaustive
def test_a_member_of_more_than_4_gib(tmp_path: Path) -> None:
    """Its sizes and the offset of the next one need 64 bits."""
    large = np.broadcast_to(np.float32(1), (1 << 30) + 7)
    save(tmp_path / "m.npz", {"large": large, "next": np.arange(3)}, sync=False)
    with np.load(tmp_path / "m.npz") as arrays:
        assert arrays["next"].tolist() == [0, 1, 2]
    with zipfile.ZipFile(tmp_path / "m.npz") as archive:
        assert archive.getinfo("large.npy").file_size == large.nbytes + 128
    (tmp_path / "m.npz").unlink()
