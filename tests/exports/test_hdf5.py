"""`.h5` files, as h5py reads them."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from ckptparse import (
    InvalidTensorsError,
    UnsupportedError,
    UnwritableError,
    convert,
    open_checkpoint,
    save,
)
from ckptparse.commands import main
from support.contents import contents
from support.every_dtype import NUMPY_DTYPES, arrays_of
from support.oracle import VGG, expected_array
from support.repository import FIXTURES

KERAS_DTYPES = FIXTURES / "tf-2.21.0/keras_dtypes/model.weights.h5"
ARRAYS = {**arrays_of(NUMPY_DTYPES), "large": np.arange(5_000_000.0), "é\n/..": np.ones((2, 3))}


def test_without_h5py(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"ckptparse\[keras\]"):
        save(tmp_path / "m.h5", ARRAYS)
    assert main(["convert", str(VGG.prefix), str(tmp_path / "m.h5")]) == 2
    assert "pip install 'ckptparse[keras]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


class TestWithH5py:
    h5py = property(lambda self: pytest.importorskip("h5py", reason="h5py is not installed"))

    def test_every_dtype(self, tmp_path: Path) -> None:
        h5py = self.h5py
        save(tmp_path / "m.h5", ARRAYS)
        with h5py.File(tmp_path / "m.h5") as file:
            for name, array in ARRAYS.items():
                assert (file[name].dtype, file[name].shape) == (array.dtype, array.shape)
                assert file[name][()].tobytes() == array.tobytes()
            assert dict(file.attrs) == {}
            names: list[str] = []
            file.visititems(
                lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
            )
        assert sorted(names) == sorted(ARRAYS)

    def test_a_checkpoint_and_metadata(self, tmp_path: Path) -> None:
        h5py = self.h5py
        convert(VGG.prefix, tmp_path / "m.h5")
        with h5py.File(tmp_path / "m.h5") as file:
            for tensor in VGG.tensors:
                assert np.array_equal(file[tensor.name][()], expected_array(VGG, tensor.name))
            metadata = dict(file.attrs)
        assert metadata.pop("converted_by").startswith("ckptparse ")
        assert metadata == {"source": "model.ckpt", "source_format": "v2"}

    def test_replacing_and_refusing(self, tmp_path: Path) -> None:
        h5py = self.h5py
        path = tmp_path / "m.h5"
        save(path, {"x": np.zeros(4)})
        before = contents(tmp_path)
        with pytest.raises(FileExistsError):
            save(path, {"x": np.ones(4)})
        with pytest.raises(KeyboardInterrupt):
            save(path, {"x": np.ones(4)}, overwrite=True, progress=_interrupt)
        assert contents(tmp_path) == before
        save(path, {"x": np.ones(4)}, overwrite=True)
        assert [p.name for p in tmp_path.iterdir()] == ["m.h5"]
        with h5py.File(path) as file:
            assert file["x"][()].tolist() == [1, 1, 1, 1]

    @pytest.mark.parametrize("limit", [0, 2048, 20480, 100_000])
    def test_a_limit_on_the_size_of_files(self, tmp_path: Path, limit: int) -> None:
        """The operating system itself refuses to write more: HDF5, or the last tensor."""
        assert self.h5py
        resource = pytest.importorskip("resource")
        import signal

        arrays = {f"scope{i}/w": np.ones(3) for i in range(200)} | {"x": np.ones(100_000)}
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
            with pytest.raises(UnwritableError) as error:
                save(tmp_path / "m.h5", arrays)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, handler)
        assert error.value.errno == errno.EFBIG
        assert error.value.message == os.strerror(errno.EFBIG)
        assert list(tmp_path.iterdir()) == []

    def test_the_same_call_gives_the_same_bytes(self, tmp_path: Path) -> None:
        assert self.h5py
        for name in ("a.h5", "b.h5"):
            with open_checkpoint(VGG.prefix) as ckpt:
                save(tmp_path / name, ckpt)
        assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()

    @pytest.mark.parametrize("name", ["a//b", "/a", "a/", ".", "a/./b", "a\0b", "\udcff"], ids=repr)
    def test_names_that_it_cannot_have(self, tmp_path: Path, name: str) -> None:
        assert self.h5py
        with pytest.raises(InvalidTensorsError, match="cannot have this name"):
            save(tmp_path / "m.h5", {name: np.zeros(2)})
        assert list(tmp_path.iterdir()) == []

    def test_a_tensor_and_a_scope(self, tmp_path: Path) -> None:
        assert self.h5py
        with pytest.raises(InvalidTensorsError, match="name of a scope") as caught:
            save(tmp_path / "m.h5", {"a/b": np.zeros(2), "a": np.zeros(2)})
        assert (caught.value.tensor, caught.value.found) == ("a", "'a/b'")

    def test_dimensions(self, tmp_path: Path) -> None:
        h5py = self.h5py
        save(tmp_path / "m.h5", {"x": np.zeros((1,) * 32)})
        with h5py.File(tmp_path / "m.h5") as file:
            assert file["x"].shape == (1,) * 32
        if np.lib.NumpyVersion(np.__version__) < "2.0.0":
            return  # arrays have at most 32 dimensions
        with pytest.raises(UnsupportedError, match="more than 32 dimensions") as caught:
            save(tmp_path / "n.h5", {"x": np.zeros((1,) * 33)})
        assert (caught.value.tensor, caught.value.found) == ("x", "33 dimensions")
        assert [path.name for path in tmp_path.iterdir()] == ["m.h5"]

    def test_bfloat16_is_stored_as_keras_stores_it(self, tmp_path: Path) -> None:
        h5py = self.h5py
        arrays = arrays_of(["bfloat16"])
        save(tmp_path / "m.h5", arrays)
        with h5py.File(KERAS_DTYPES) as keras_file, h5py.File(tmp_path / "m.h5") as file:
            like = keras_file["layers/dense/vars/0"]
            for name, array in arrays.items():
                assert file[name].id.get_type() == like.id.get_type()
                assert dict(file[name].attrs) == dict(like.attrs)
                assert file[name].shape == array.shape
                assert file[name][()].tobytes() == array.tobytes()
        with open_checkpoint(tmp_path / "m.h5") as ckpt:
            for name, array in arrays.items():
                assert (ckpt[name].dtype, ckpt[name].tobytes()) == (array.dtype, array.tobytes())

    def test_a_file_of_keras_comes_back(self, tmp_path: Path) -> None:
        assert self.h5py
        convert(KERAS_DTYPES, tmp_path / "m.safetensors")
        convert(tmp_path / "m.safetensors", tmp_path / "m.weights.h5")
        datasets = self.datasets_of(tmp_path / "m.weights.h5")
        assert datasets == self.datasets_of(KERAS_DTYPES)
        assert {dtype.str for dtype, *_ in datasets.values()} >= {"|V2", "<f2", "<f4", "<f8"}

    def datasets_of(self, path: Path) -> dict[str, tuple[np.dtype, tuple[int, ...], dict, bytes]]:
        h5py, found = self.h5py, {}

        def visit(name: str, item: object) -> None:
            if isinstance(item, h5py.Dataset):
                found[name] = (item.dtype, item.shape, dict(item.attrs), item[()].tobytes())

        with h5py.File(path) as file:
            file.visititems(visit)
        return found

    @pytest.mark.parametrize(
        ("names", "members"),
        [
            (["layers/a/vars/0"], {"layers", "vars"}),
            (["vars/0", "layers/a/vars/0"], {"layers", "vars"}),
            (["layers/a/vars/0", "vars"], {"layers", "vars"}),
            (["layers/vars", "vars_/0"], {"layers", "vars_"}),
        ],
        ids=["layer", "model", "dataset", "other"],
    )
    def test_a_file_of_keras_has_the_group_of_the_model(
        self, tmp_path: Path, names: list[str], members: set[str]
    ) -> None:
        h5py = self.h5py
        save(tmp_path / "m.weights.h5", dict.fromkeys(names, np.zeros(2)))
        with h5py.File(tmp_path / "m.weights.h5") as file:
            assert set(file) == members
            assert all(isinstance(file[name], h5py.Dataset) for name in names)
        with open_checkpoint(tmp_path / "m.weights.h5") as ckpt:
            assert sorted(ckpt) == sorted(names)

    @pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2", "int4"])
    def test_dtypes_that_it_lacks(self, tmp_path: Path, dtype: str) -> None:
        assert self.h5py
        with pytest.raises(UnsupportedError, match=f"an .h5 file cannot hold {dtype}"):
            save(tmp_path / "m.h5", arrays_of([dtype]))

    def test_urls_are_refused(self) -> None:
        assert self.h5py
        with pytest.raises(UnsupportedError, match="not written in order"):
            save("memory://test_hdf5/m.h5", {"x": np.zeros(2)})


def _interrupt(done: int, total: int | None) -> None:
    raise KeyboardInterrupt
