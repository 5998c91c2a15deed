"""An interrupt before or after each system call: the old file or the new one is there, whole."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckptparse import CheckpointError, open_checkpoint, save, save_checkpoint
from ckptparse.outputs import folder_for, local, tree
from ckptparse.outputs.files import write_file
from support.contents import contents
from support.interrupted import each_interrupt

OLD = {f"t{i}": np.full(200, 1, "f4") for i in range(3)}
NEW = {f"t{i}": np.full(200, 2, "f4") for i in range(3)}

pytestmark = pytest.mark.skipif(local.fcntl is None, reason="files of live writers stay")


def is_whole(path: Path, tensors: dict[str, Any]) -> bool:
    """Return whether a file, a checkpoint, or the set of an index has these tensors."""
    try:
        if path.suffix == ".json":
            files = {*json.loads(path.read_text())["weight_map"].values()}
            arrays = {k: v for file in files for k, v in load_file(path.parent / file).items()}
        else:
            arrays = load_file(path)
        return arrays.keys() == tensors.keys() and all(
            np.array_equal(arrays[name], tensors[name]) for name in tensors
        )
    except (CheckpointError, FileNotFoundError):
        return False


def load_file(path: Path) -> dict[str, np.ndarray]:
    with open_checkpoint(path, mmap=False) as ckpt:
        return dict(ckpt)


SETS = {"one to one": (None, None), "one to three": (None, 800), "three to one": (800, None),
        "three to two": (800, 1600), "two to two": (1600, 1600)}  # fmt: skip


def require_each(
    folder: Path,
    save_old: Callable[[], object],
    save_new: Callable[[], object],
    is_old: Callable[[], bool],
    is_new: Callable[[], bool],
) -> None:
    """Interrupt the second save at each call, then save the old one again."""
    save_old()
    names = list(contents(folder))
    seen = []
    for place in each_interrupt([local, tree], save_new):
        there = (is_old(), is_new())
        assert any(there), (place, sorted(contents(folder)))
        seen.append(there)
        save_old()
        assert is_old(), place
        left = list(contents(folder))
        assert len(left) == len(names), (place, left)  # the numbers in names of sets alternate
    assert {(True, False), (False, True)} <= {*seen}
    assert len(seen) > 20
    assert is_new()


@pytest.mark.parametrize(("old", "new"), SETS.values(), ids=SETS)
def test_a_checkpoint(tmp_path: Path, old: int | None, new: int | None) -> None:
    prefix = tmp_path / "m.ckpt"
    require_each(
        tmp_path,
        lambda: save_checkpoint(prefix, OLD, shard_nbytes=old, overwrite=True, sync=False),
        lambda: save_checkpoint(prefix, NEW, shard_nbytes=new, overwrite=True),
        lambda: is_whole(prefix, OLD),
        lambda: is_whole(prefix, NEW),
    )


@pytest.mark.parametrize(("old", "new"), SETS.values(), ids=SETS)
def test_a_set_of_safetensors(tmp_path: Path, old: int | None, new: int | None) -> None:
    def path(shard_nbytes: int | None) -> Path:
        return tmp_path / f"m.safetensors{'' if shard_nbytes is None else '.index.json'}"

    def save_as(tensors: dict[str, Any], shard_nbytes: int | None) -> None:
        save(tmp_path / "m.safetensors", tensors, shard_nbytes=shard_nbytes, overwrite=True)

    require_each(
        tmp_path,
        lambda: save_as(OLD, old),
        lambda: save_as(NEW, new),
        lambda: is_whole(path(old), OLD),
        lambda: is_whole(path(new), NEW),
    )


@pytest.mark.parametrize("name", ["m.npz", "m.npy"])
def test_a_file_or_directory(tmp_path: Path, name: str) -> None:
    path = tmp_path / name

    def is_there(tensors: dict[str, Any]) -> bool:
        if name == "m.npz":
            return is_whole(path, tensors)
        return path.is_dir() and {p.stem: np.load(p)[0] for p in path.iterdir()} == {
            name: array[0] for name, array in tensors.items()
        }

    require_each(
        tmp_path,
        lambda: save(path, OLD, overwrite=True, sync=False),
        lambda: save(path, NEW, overwrite=True),
        lambda: is_there(OLD),
        lambda: is_there(NEW),
    )


def test_a_page(tmp_path: Path) -> None:
    """The command `report` writes its page like this."""
    path = tmp_path / "page.html"

    def write(page: bytes) -> None:
        write_file(folder_for(str(path), sync=True), str(path), [page, page], overwrite=True)

    require_each(
        tmp_path,
        lambda: write(b"old"),
        lambda: write(b"new"),
        lambda: path.read_bytes() == b"oldold",
        lambda: path.read_bytes() == b"newnew",
    )


@pytest.mark.parametrize("name", ["m.ckpt", "m.safetensors", "m.npz", "m.npy"])
def test_a_first_save(tmp_path: Path, name: str) -> None:
    """Nothing is there, not even the directory; or all of it."""
    folder = tmp_path / "new"

    def save_new() -> None:
        if name == "m.ckpt":
            save_checkpoint(folder / name, NEW, shard_nbytes=800)
        else:
            save(folder / name, NEW, shard_nbytes=800 if name == "m.safetensors" else None)

    save_new()
    whole = contents(folder)
    shutil.rmtree(folder)
    for place in each_interrupt([local, tree], save_new):
        if folder.exists() and contents(folder) != whole:
            assert not any(".temp" not in path for path in contents(folder)), place
            save_new()  # removes what is left
        if folder.exists():
            assert contents(folder) == whole, place
            shutil.rmtree(folder)
    assert contents(folder) == whole


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt; it is ignored in background jobs."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("name", ["m.ckpt", "m.safetensors"])
def test_a_signal_during_the_last_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Python raises it when `os.replace` has renamed the index."""
    function = save_checkpoint if name == "m.ckpt" else save
    function(tmp_path / name, OLD, shard_nbytes=800)
    real = os.replace

    def replace(source: str, target: str) -> None:
        real(source, target)
        if target.endswith((".index", ".index.json")):
            monkeypatch.undo()
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        function(tmp_path / name, NEW, shard_nbytes=800, overwrite=True)
    assert is_whole(tmp_path / (name if name == "m.ckpt" else "m.safetensors.index.json"), NEW)
    assert len(os.listdir(tmp_path)) == 4
