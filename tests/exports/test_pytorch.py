"""`.pt` files: what PyTorch reads, and what Python's own pickle finds in them."""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from math import prod
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from ckptparse import InvalidTensorsError, UnsupportedError, open_checkpoint, save
from support.every_dtype import PYTORCH_DTYPES, arrays_of
from support.oracle import VGG

ARRAYS = {**arrays_of(PYTORCH_DTYPES), "large": np.arange(5_000_000.0), "é\n": np.ones((2, 3, 4))}

STORAGES = {  # torch/storage.py
    "Float": "f4", "Double": "f8", "Half": "f2", "Char": "i1", "Short": "i2", "Int": "i4",
    "Long": "i8", "Byte": "u1", "Bool": "?", "ComplexFloat": "c8", "ComplexDouble": "c16",
    "BFloat16": ml_dtypes.bfloat16,
}  # fmt: skip


class Reader(pickle.Unpickler):
    """Stands for ``torch.load``: makes numpy arrays."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        super().__init__(archive.open("archive/data.pkl"))
        self.archive = archive

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch._utils":
            return {"_rebuild_tensor_v2": self.rebuild, "_rebuild_tensor_v3": self.rebuild}[name]
        assert module in ("torch", "torch.storage")
        return name

    def persistent_load(self, place: Any) -> Any:
        kind, storage, key, device, size = place
        assert (kind, device) == ("storage", "cpu")
        return storage, self.archive.read(f"archive/data/{key}"), size

    def rebuild(self, place: Any, offset: int, shape: Any, strides: Any, *more: Any) -> np.ndarray:
        storage, contents, size = place
        assert offset == 0
        assert more[:2] == (False, OrderedDict())
        dtype = (
            np.dtype(getattr(ml_dtypes, more[2], None) or more[2])
            if more[2:]
            else np.dtype(STORAGES[storage.removesuffix("Storage")])
        )
        assert size * (1 if more[2:] else dtype.itemsize) == len(contents)
        assert len(contents) == prod(shape) * dtype.itemsize
        array = np.ndarray(shape, dtype, contents)
        if array.size:
            assert tuple(stride * dtype.itemsize for stride in strides) == array.strides
        return array


def test_the_pickle_and_the_members(tmp_path: Path) -> None:
    save(tmp_path / "m.pt", ARRAYS)
    with zipfile.ZipFile(tmp_path / "m.pt") as archive:
        assert archive.testzip() is None
        read = Reader(archive).load()
        assert archive.read("archive/version") == b"3\n"
        assert archive.read("archive/byteorder") == b"little"
    assert list(read) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert (read[name].dtype, read[name].shape) == (array.dtype, array.shape)
        assert read[name].tobytes() == array.tobytes()


def test_elements_are_aligned(tmp_path: Path) -> None:
    save(tmp_path / "m.pt", ARRAYS)
    raw = (tmp_path / "m.pt").read_bytes()
    with zipfile.ZipFile(tmp_path / "m.pt") as archive:
        for member in archive.infolist():
            if member.filename.startswith("archive/data/"):
                header = raw[member.header_offset :][:30]
                lengths = [int.from_bytes(header[i : i + 2], "little") for i in (26, 28)]
                assert (member.header_offset + 30 + sum(lengths)) % 64 == 0


@pytest.mark.parametrize("options", [{}, {"mmap": True}], ids=str)
def test_pytorch_reads_it(tmp_path: Path, options: dict[str, Any]) -> None:
    from support import pytorch

    if options:
        pytorch.require("2.1")
    arrays = {name: array for name, array in ARRAYS.items() if pytorch.has_dtype(array.dtype.name)}
    save(tmp_path / "m.pt", arrays)
    read = pytorch.load(tmp_path / "m.pt", **options)
    assert list(read) == list(arrays)
    for name, array in arrays.items():
        tensor = read[name]
        assert str(tensor.dtype) == f"torch.{array.dtype.name}"
        assert tuple(tensor.shape) == array.shape
        assert tensor.is_contiguous()
        assert pytorch.bits_of(tensor) == array.tobytes()


def test_pytorch_loads_it_into_a_module(tmp_path: Path) -> None:
    from support.pytorch import load, torch

    with open_checkpoint(VGG.prefix) as ckpt:
        save(
            tmp_path / "m.pt", ckpt.select(include="*/fc?/biases", rename=lambda n: n[7:10] + "_b")
        )
    module = torch.nn.ParameterDict(
        {f"fc{i}_b": torch.zeros(n) for i, n in ((6, 12), (7, 12), (8, 10))}
    )
    module.load_state_dict(load(tmp_path / "m.pt"))
    with open_checkpoint(VGG.prefix) as ckpt:
        expected = torch.from_numpy(ckpt["vgg_16/fc6/biases"].copy())
    assert torch.equal(module["fc6_b"].detach(), expected)


@pytest.mark.exhaustive
def test_more_than_4_gib(tmp_path: Path) -> None:
    from support import pytorch

    pytorch.require("2.1")
    large = np.broadcast_to(np.float32(1), (1 << 30) + 7)
    save(tmp_path / "m.pt", {"large": large, "next": np.arange(3)}, sync=False)
    read = pytorch.load(tmp_path / "m.pt", mmap=True)
    assert read["next"].tolist() == [0, 1, 2]
    assert read["large"].shape == large.shape
    assert read["large"][-1] == 1
    del read
    (tmp_path / "m.pt").unlink()


@pytest.mark.parametrize("dtype", ["int4", "uint2", "float4_e2m1fn"])
def test_dtypes_that_it_lacks(tmp_path: Path, dtype: str) -> None:
    with pytest.raises(UnsupportedError, match=f"a .pt file cannot hold {dtype}"):
        save(tmp_path / "m.pt", arrays_of([dtype]))


def test_names_that_are_no_text(tmp_path: Path) -> None:
    with pytest.raises(InvalidTensorsError, match="cannot have this name"):
        save(tmp_path / "m.pt", {"\udcff": np.zeros(2)})
