"""`save` in all formats: nothing is lost after an error, and what is refused."""

from __future__ import annotations

import json
import os
from collections import UserDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckptparse import (
    CheckpointExistsError,
    InvalidTensorsError,
    UnwritableError,
    convert,
    open_checkpoint,
    save,
)
from ckptparse.outputs import local
from support.contents import contents
from support.killed import each_kill
from support.oracle import VGG, load_case

OLD = {"x": np.zeros(4, "f4"), "y/z": np.arange(3)}
NEW = {"x": np.ones(4, "f4"), "y/z": np.arange(5)}
PATHS = ["m.safetensors", "m.npz", "m.npy", "m.pt", "m.ckpt"]
FILES = [path for path in PATHS if path != "m.ckpt"]


def make(tmp_path: Path, path: str, tensors: Any, **options: Any) -> dict[str, Any]:
    """What a directory has after saving."""
    save(tmp_path / path, tensors, **options)
    return contents(tmp_path)


class Stopping(UserDict):
    """Arrays whose reading is stopped in the middle, after all of them were described."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(NEW)
        self.error = error
        self.num_reads = 0

    def __getitem__(self, name: str) -> np.ndarray:
        self.num_reads += 1
        if self.num_reads > 3:
            raise self.error
        return super().__getitem__(name)


@pytest.mark.parametrize("path", PATHS)
class TestEveryFormat:
    def test_what_is_there_is_refused(self, tmp_path: Path, path: str) -> None:
        before = make(tmp_path, path, OLD)
        with pytest.raises(CheckpointExistsError):
            save(tmp_path / path, NEW)
        assert contents(tmp_path) == before

    def test_overwrite(self, tmp_path: Path, path: str) -> None:
        make(tmp_path / "a", path, OLD)
        after = make(tmp_path / "a", path, NEW, overwrite=True)
        assert after == make(tmp_path / "b", path, NEW)

    def test_pairs_are_like_a_mapping(self, tmp_path: Path, path: str) -> None:
        pairs = ((name, array) for name, array in OLD.items())
        assert make(tmp_path / "a", path, pairs) == make(tmp_path / "b", path, OLD)

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("no")], ids=repr)
    @pytest.mark.parametrize("is_old", [False, True], ids=["new", "old"])
    def test_an_interrupted_call_leaves_what_was_there(
        self, tmp_path: Path, path: str, error: BaseException, is_old: bool
    ) -> None:
        before = make(tmp_path, path, OLD) if is_old else {}
        tensors = Stopping(error)
        tensors.num_reads = 2 if path == "m.ckpt" else 0  # a checkpoint is not described first
        with pytest.raises(type(error)):
            save(tmp_path / path, tensors, overwrite=True)
        assert contents(tmp_path) == before

    def test_directories_of_a_failed_call_are_removed(self, tmp_path: Path, path: str) -> None:
        tensors = Stopping(KeyError("no"))
        tensors.num_reads = 2
        with pytest.raises(KeyError):
            save(tmp_path / "a" / "b" / path, tensors, overwrite=True)
        assert list(tmp_path.iterdir()) == []

    def test_progress(self, tmp_path: Path, path: str) -> None:
        calls: list[tuple[int, int | None]] = []
        save(tmp_path / path, OLD, progress=lambda *call: calls.append(call))
        assert calls[-1] == (40, 40)
        assert [done for done, _ in calls] == sorted(done for done, _ in calls)

    @pytest.mark.parametrize(
        "tensors",
        [{}, [("x", 1.0), ("x", 2.0)], {"": 1.0}, [("x",)], {"x": [[1], [1, 2]]}, {1: 1.0}],
        ids=["none", "twice", "empty name", "no pair", "ragged", "number"],
    )
    def test_tensors_that_are_refused(self, tmp_path: Path, path: str, tensors: Any) -> None:
        with pytest.raises(InvalidTensorsError):
            save(tmp_path / path, tensors)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no permissions of directories")
    def test_a_place_that_cannot_be_written(self, tmp_path: Path, path: str) -> None:
        (tmp_path / "file").write_text("no directory")
        with pytest.raises((UnwritableError, NotADirectoryError)):
            save(tmp_path / "file" / path, OLD)

    def test_all_kinds_of_names(self, tmp_path: Path, path: str) -> None:
        """Each name reaches the format, or is refused by name before anything is written."""
        refused: list[str] = []
        with open_checkpoint(load_case("tf-2.21.0/names").prefix) as ckpt:
            while True:
                try:
                    save(tmp_path / path, ckpt.select(exclude=refused))
                    break
                except InvalidTensorsError as error:
                    refused.append(str(error.tensor))
                assert list(tmp_path.iterdir()) == []
            assert set(refused) <= set(ckpt)
        assert len(refused) == len(set(refused)) < 4


@pytest.mark.parametrize("path", ["m.npz", "m.pt", "m.safetensors"])
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_killed_writer(tmp_path: Path, path: str) -> None:
    """At each of its system calls: the old file or the new one is there, whole."""
    old = make(tmp_path / "old", path, OLD)[path]
    new = make(tmp_path / "new", path, NEW)[path]
    place = tmp_path / "place"

    def action() -> None:
        save(place / path, NEW, overwrite=True)

    found = set()
    for _ in each_kill(local, action):
        found.add(contents(place).get(path, b""))
        save(place / path, OLD, overwrite=True)
        assert contents(place) == {path: old}, "the next writer cleans up"
    assert found <= {old, new, b""}
    assert {old, new} <= found


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize("options", [{"metadata": {"a": "b"}}, {"shard_nbytes": 100}], ids=str)
def test_options_that_a_format_lacks(tmp_path: Path, path: str, options: Any) -> None:
    if path == "m.safetensors":
        options = {"shard_nbytes": 0}
    with pytest.raises(ValueError):
        save(tmp_path / path, OLD, **options)


def test_metadata_is_texts(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="metadata maps texts to texts"):
        save(tmp_path / "m.safetensors", OLD, metadata={"step": 1})  # type: ignore[dict-item]


METADATA = {"": "x", "a\0b": "x", "nul": "b\0c", "\ud800": "x", "bytes": "\udcff", "k" * 65_001: ""}
"""Metadata that HDF5 or JSON in UTF-8 cannot hold."""


@pytest.mark.parametrize(
    ("path", "keys"),
    [("m.safetensors", ["\ud800", "bytes"]), ("m.h5", list(METADATA))],
    ids=["safetensors", "h5"],
)
def test_metadata_that_a_format_cannot_hold(tmp_path: Path, path: str, keys: list[str]) -> None:
    for key in keys:
        with pytest.raises(ValueError, match="cannot hold metadata") as error:
            save(tmp_path / path, OLD, metadata={"a": "b", key: METADATA[key]})
        assert len(str(error.value)) < 400
        assert str(error.value).isascii()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["m.safetensors", "m.h5"])
def test_metadata_that_a_format_cannot_hold_are_left_out(tmp_path: Path, path: str) -> None:
    """Any text can be in a file of a stranger, as escapes."""
    h5py = None if path != "m.h5" else pytest.importorskip("h5py", reason="h5py is not installed")
    tensor = {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}
    metadata = {**METADATA, "k" * 65_000: "é", "empty": ""}
    header = json.dumps({"__metadata__": metadata, "x": tensor}).encode()
    source = tmp_path / "source.safetensors"
    source.write_bytes(len(header).to_bytes(8, "little") + header + b"\1\2")
    convert(source, tmp_path / path)
    with open_checkpoint(tmp_path / path) as ckpt:
        assert ckpt["x"].tolist() == [1, 2]
        kept = dict(ckpt.metadata)
    if h5py is not None:
        with h5py.File(tmp_path / path) as file:
            kept = dict(file.attrs)
    added = {"source", "source_format", "converted_by"}
    left_out = {"\ud800", "bytes"} if path == "m.safetensors" else set(METADATA)
    assert kept.keys() - {"format"} == metadata.keys() - left_out | added
    assert all(kept[key] == metadata[key] for key in metadata.keys() - left_out)


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize("name", [1, ""], ids=repr)
def test_names_of_other_mappings(tmp_path: Path, path: str, name: Any) -> None:
    with pytest.raises(InvalidTensorsError, match="cannot have this name"):
        save(tmp_path / path, UserDict({name: np.zeros(2)}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "path", ["m.pb", "m.onnx", "m.KERAS", "m.tar", "m.index", "m.data-00000-of-00001"]
)
def test_suffixes_of_other_formats(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match=r"the suffixes are .safetensors"):
        save(tmp_path / path, OLD)
    save(tmp_path / path, OLD, format="npz")
    assert set(np.load(tmp_path / path).files) == set(OLD)


def test_keras_archives_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Keras loads weights from .weights.h5"):
        save(tmp_path / "m.keras", OLD)


def test_an_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="format is one of checkpoint, safetensors"):
        save(tmp_path / "m", OLD, format="zip")


CASES: dict[str, Callable[[Any], Any]] = {
    "selection": lambda ckpt: ckpt.select(include="*/fc?/*", dtype="float16"),
    "dict": lambda ckpt: dict(ckpt.select(include="*/fc?/*", dtype="float16")),
}


@pytest.mark.parametrize("path", FILES)
def test_lazy_mappings_are_like_their_arrays(tmp_path: Path, path: str) -> None:
    with open_checkpoint(VGG.prefix) as ckpt:
        made = [make(tmp_path / name, path, of(ckpt)) for name, of in CASES.items()]
    assert made[0] == made[1]
