"""A writer is killed at each of its system calls: there is always a whole checkpoint."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ckptparse.train
from ckptparse import open_checkpoint, save_checkpoint
from ckptparse.outputs import local
from support.killed import each_kill

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")

OLD = {"a": np.arange(10_000, dtype="f4"), "b": np.array([b"old"], object)}
NEW = {"a": np.arange(10_000, dtype="f4") * 2, "c": np.array([b"new", b"er"], object)}


def is_equal(prefix: Path, tensors: dict[str, Any]) -> bool:
    with open_checkpoint(prefix, mmap=False) as ckpt:
        assert ckpt.verify().ok
        return list(ckpt) == list(tensors) and all(
            np.array_equal(ckpt[name], array) for name, array in tensors.items()
        )


@pytest.mark.parametrize("new_shard_nbytes", [None, 40_000], ids=["one file", "two files"])
@pytest.mark.parametrize("old_shard_nbytes", [None, 40_000], ids=["from one", "from two"])
def test_a_replaced_checkpoint_is_the_old_one_or_the_new_one(
    tmp_path: Path, old_shard_nbytes: int | None, new_shard_nbytes: int | None
) -> None:
    prefix = tmp_path / "m.ckpt"

    def save_old() -> None:
        save_checkpoint(prefix, OLD, shard_nbytes=old_shard_nbytes, overwrite=True, sync=False)

    def save_new() -> None:
        save_checkpoint(prefix, NEW, shard_nbytes=new_shard_nbytes, overwrite=True)

    save_old()
    mapped = open_checkpoint(prefix)["a"]
    seen = set()
    number = 0
    for number in each_kill(local, save_new):
        is_new = is_equal(prefix, NEW)
        assert is_new or is_equal(prefix, OLD)
        seen.add(is_new)
        assert np.array_equal(mapped, OLD["a"])
        save_old()
        num_files = 2 if old_shard_nbytes is None else 3
        assert len(os.listdir(tmp_path)) == num_files, (number, os.listdir(tmp_path))
    assert number > 20
    assert seen == {False, True}
    assert is_equal(prefix, NEW)


def test_a_new_checkpoint_is_there_or_not(tmp_path: Path) -> None:
    prefix = tmp_path / "new" / "m.ckpt"
    seen = set()
    for _ in each_kill(local, lambda: save_checkpoint(prefix, NEW)):
        is_there = os.path.exists(f"{prefix}.index")
        seen.add(is_there)
        if is_there:
            assert is_equal(prefix, NEW)
        else:
            with pytest.raises(FileNotFoundError):
                open_checkpoint(prefix)
        # What is left is no checkpoint.
        save_checkpoint(prefix, OLD, overwrite=is_there, sync=False)
        assert is_equal(prefix, OLD)
        assert len(os.listdir(prefix.parent)) == 2
        shutil.rmtree(prefix.parent)
    assert seen == {False, True}
    assert is_equal(prefix, NEW)


def test_a_state_file_names_a_whole_checkpoint(tmp_path: Path) -> None:
    """The file `checkpoint` is the old one or the new one, and what it lists is there."""
    before = tmp_path / "before"
    for i in range(3):
        save_checkpoint(before / f"m-{i}", {**OLD, "b": i}, update_state=True, sync=False)
    run = tmp_path / "run"

    def save_new() -> None:
        save_checkpoint(run / "m-3", {**OLD, "b": 3}, update_state=True, max_to_keep=2)

    seen = set()
    shutil.copytree(before, run)
    for number in each_kill(local, save_new):
        state = ckptparse.train.get_checkpoint_state(str(run))
        listed = [os.path.basename(path) for path in state.all_model_checkpoint_paths]
        assert listed in (["m-0", "m-1", "m-2"], ["m-2", "m-3"]), number
        for name in listed:
            with open_checkpoint(run / name) as ckpt:
                assert ckpt.verify().ok
                assert ckpt["b"] == int(name[-1])
        with open_checkpoint(run) as ckpt:
            assert ckpt["b"] == int(listed[-1][-1])
        num_there = sum(os.path.exists(f"{run}/m-{i}.index") for i in range(4))
        seen.add((listed[-1], num_there))
        shutil.rmtree(run)
        shutil.copytree(before, run)
    # The oldest are deleted one after the other, once the state does not name them.
    assert {("m-2", 3), ("m-2", 4), ("m-3", 4), ("m-3", 3), ("m-3", 2)} == seen
    names = {f"m-{i}.{suffix}" for i in (2, 3) for suffix in ("index", "data-00000-of-00001")}
    assert {*os.listdir(run)} == {"checkpoint", *names}


@pytest.mark.parametrize("index", ["whole", "damaged", "unreadable", "of two files", "missing"])
def test_a_data_file_that_an_index_may_use_stays(tmp_path: Path, index: str) -> None:
    """A writer was killed after its files were in place, before it removed temporary names."""
    prefix = save_checkpoint(tmp_path / "m", OLD)
    path = Path(f"{prefix}.index")
    if index == "damaged":
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    elif index == "unreadable":
        path.unlink()
        path.mkdir()
    elif index == "of two files":
        save_checkpoint(tmp_path / "two", OLD, shard_nbytes=1)
        os.replace(tmp_path / "two.index", path)
    elif index == "missing":
        path.unlink()
    data, left = f"{prefix}.data-00000-of-00001", tmp_path / "ckptparse-0123456789abcdef.tempstate1"
    os.link(data, left)
    save_checkpoint(tmp_path / "other", NEW)
    assert os.path.exists(data) == (index in ("whole", "damaged", "unreadable"))
    assert not left.exists()
