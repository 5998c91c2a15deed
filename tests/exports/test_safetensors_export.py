"""`.safetensors` files: the bytes of the official library, and what it reads."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from ckptparse import InvalidTensorsError, UnsupportedError, open_checkpoint, save
from ckptparse.outputs import local
from support.every_dtype import SAFETENSORS_DTYPES, arrays_of
from support.killed import each_kill
from support.oracle import FC6, VGG, expected_array

RECORDED = Path(__file__).parent / "safetensors-0.8.0.safetensors"
"""What ``safetensors.numpy.save_file`` of safetensors 0.8.0 wrote, of `ARRAYS` and `METADATA`."""

ARRAYS = {
    **arrays_of(SAFETENSORS_DTYPES),
    'names: é \x1f\x7f "\\/': np.float32([1, 2]),
}
METADATA = {"source": "é\n"}


def header_of(path: Path) -> dict[str, object]:
    contents = path.read_bytes()
    nbytes = int.from_bytes(contents[:8], "little")
    header: dict[str, object] = json.loads(contents[8 : 8 + nbytes])
    return header


def read_set(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a file, or else of the set whose index is beside it, as readers find them."""
    index = path.with_name(f"{path.name}.index.json")
    if path.exists():
        files = [path]
    else:
        names = set(json.loads(index.read_text())["weight_map"].values())
        files = [path.with_name(name) for name in names]
    tensors: dict[str, np.ndarray] = {}
    for file in files:
        with open_checkpoint(file, mmap=False) as ckpt:
            tensors |= dict(ckpt.items())
    return tensors


def test_the_bytes_are_those_of_the_official_library(tmp_path: Path) -> None:
    save(tmp_path / "m.safetensors", ARRAYS, metadata=METADATA)
    assert (tmp_path / "m.safetensors").read_bytes() == RECORDED.read_bytes()


def test_values_of_a_checkpoint(tmp_path: Path) -> None:
    """Bytes are looked up as the format says: 8, the header, the offset."""
    path = tmp_path / "m.safetensors"
    with open_checkpoint(VGG.prefix) as ckpt:
        save(path, ckpt)
    header = header_of(path)
    contents = path.read_bytes()
    base = 8 + int.from_bytes(contents[:8], "little")
    assert base % 8 == 0
    assert header.pop("__metadata__") == {"format": "np"}
    for tensor in VGG.tensors:
        entry = header.pop(tensor.name)
        start, stop = entry["data_offsets"]
        assert contents[base + start : base + stop] == tensor.payload
        assert tuple(entry["shape"]) == tensor.shape
    assert header == {}


def test_no_metadata(tmp_path: Path) -> None:
    save(tmp_path / "m.safetensors", {"x": np.zeros(2)}, metadata={})
    assert "__metadata__" not in header_of(tmp_path / "m.safetensors")


@pytest.mark.parametrize("dtype", ["complex128", "int4", "float4_e2m1fn"])
def test_dtypes_that_it_lacks(tmp_path: Path, dtype: str) -> None:
    with pytest.raises(UnsupportedError, match=f"cannot hold {dtype}") as caught:
        save(tmp_path / "m.safetensors", arrays_of([dtype]))
    assert caught.value.tensor == f"{dtype}/cube"
    assert caught.value.expected
    assert list(tmp_path.iterdir()) == []


def test_strings(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="exclude the strings"):
        save(tmp_path / "m.safetensors", {"x": np.array([b"a"], object)})


@pytest.mark.parametrize("name", ["__metadata__", "\udcff"])
def test_names_that_it_cannot_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidTensorsError, match="cannot have this name"):
        save(tmp_path / "m.safetensors", {name: np.zeros(2)})


class TestShards:
    ARRAYS: ClassVar = {
        name: np.full(9 if name == "e" else 4, i, "f4") for i, name in enumerate("cabed")
    }
    """``e`` is larger than a file of 32 bytes, and comes while the file of ``b`` is not full."""

    def test_files_and_index(self, tmp_path: Path) -> None:
        path = save(tmp_path / "m.safetensors", self.ARRAYS, shard_nbytes=32)
        assert path == str(tmp_path / "m.safetensors")
        index = json.loads((tmp_path / "m.safetensors.index.json").read_text())
        first, second, third = (f"m-0000{i}-of-00003.safetensors" for i in (1, 2, 3))
        assert index == {
            "metadata": {"total_size": 4 * (16 + 9)},
            "weight_map": {"a": first, "b": third, "c": first, "d": third, "e": second},
        }
        assert {p.name for p in tmp_path.iterdir()} == {
            first, second, third, "m.safetensors.index.json",
        }  # fmt: skip
        for file in (first, second, third):
            held = [name for name, of in index["weight_map"].items() if of == file]
            assert [name for name in header_of(tmp_path / file) if name[0] != "_"] == held

    def test_one_shard_is_a_plain_file(self, tmp_path: Path) -> None:
        save(tmp_path / "m.safetensors", self.ARRAYS, shard_nbytes=1000)
        assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]

    @pytest.mark.parametrize("old", [16, 32, None])
    @pytest.mark.parametrize("new", [16, 32, None])
    def test_the_old_set_is_replaced(
        self, tmp_path: Path, old: int | None, new: int | None
    ) -> None:
        (tmp_path / "m-extra.safetensors").touch()
        save(tmp_path / "m.safetensors", self.ARRAYS, shard_nbytes=old)
        with pytest.raises(FileExistsError):
            save(tmp_path / "m.safetensors", self.ARRAYS, shard_nbytes=new)
        save(tmp_path / "m.safetensors", self.ARRAYS, shard_nbytes=new, overwrite=True)
        fresh = tmp_path / "fresh"
        save(fresh / "m.safetensors", self.ARRAYS, shard_nbytes=new)
        names = {p.name: p.name for p in fresh.iterdir()}
        if old == new is not None:  # the names of the old files are not used
            count = len(names) - 1
            names = {name: name.replace(f"of-0000{count}", f"of-0000{count + 1}") for name in names}
        assert {p.name for p in tmp_path.iterdir()} == {
            *names.values(), "m-extra.safetensors", "fresh"
        }  # fmt: skip
        for name, here in names.items():
            found, expected = (tmp_path / here).read_bytes(), (fresh / name).read_bytes()
            if name.endswith(".json"):
                for before, after in names.items():
                    expected = expected.replace(before.encode(), after.encode())
            assert found == expected

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
    @pytest.mark.parametrize("new", [16, 32, None])
    def test_a_killed_writer_leaves_the_old_set_whole(
        self, tmp_path: Path, new: int | None
    ) -> None:
        """At each of its system calls: the index refers to complete old files, or to new ones."""
        path = tmp_path / "m.safetensors"
        old = {name: array + 1 for name, array in self.ARRAYS.items()}
        save(path, old, shard_nbytes=32)
        found = []
        for _ in each_kill(
            local, lambda: save(path, self.ARRAYS, shard_nbytes=new, overwrite=True)
        ):
            values = read_set(path)
            is_old = all((values[name] == old[name]).all() for name in old)
            is_new = all((values[name] == self.ARRAYS[name]).all() for name in old)
            assert is_old != is_new
            found.append(is_new)
            save(path, old, shard_nbytes=32, overwrite=True)
        assert set(found) == {False, True}


class TestReadByTheLibrary:
    """The official library, if it is installed."""

    def test_every_dtype(self, tmp_path: Path) -> None:
        """With PyTorch, because numpy cannot read float8 with the library."""
        from support import pytorch

        library = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
        arrays = {
            name: array for name, array in ARRAYS.items() if pytorch.has_dtype(array.dtype.name)
        }
        save(tmp_path / "m.safetensors", arrays)
        read = library.load_file(tmp_path / "m.safetensors")
        assert read.keys() == arrays.keys()
        for name, tensor in read.items():
            array = arrays[name]
            assert str(tensor.dtype) == f"torch.{array.dtype.name}"
            assert tuple(tensor.shape) == array.shape
            assert pytorch.bits_of(tensor) == array.tobytes()

    def test_numpy(self, tmp_path: Path) -> None:
        library = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
        with open_checkpoint(VGG.prefix) as ckpt:
            save(tmp_path / "m.safetensors", ckpt)
        assert (
            library.load_file(tmp_path / "m.safetensors")[FC6] == expected_array(VGG, FC6)
        ).all()

    def test_shards_of_hugging_face(self, tmp_path: Path) -> None:
        """Its own function splits the same way, and loads what was saved."""
        from support.pytorch import torch

        hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
        state = {name: torch.from_numpy(array) for name, array in TestShards.ARRAYS.items()}
        plan = hub.split_torch_state_dict_into_shards(
            state, max_shard_size=32, filename_pattern="m{suffix}.safetensors"
        )
        save(tmp_path / "m.safetensors", state, shard_nbytes=32, metadata={"format": "pt"})
        index = json.loads((tmp_path / "m.safetensors.index.json").read_text())
        assert index["weight_map"] == plan.tensor_to_filename
        assert index["metadata"] == plan.metadata
        model = torch.nn.Module()
        for name, tensor in state.items():
            model.register_buffer(name, torch.zeros_like(tensor))
        (tmp_path / "m.safetensors.index.json").rename(tmp_path / "model.safetensors.index.json")
        hub.load_torch_model(model, tmp_path)
        assert all(torch.equal(model.state_dict()[name], state[name]) for name in state)
