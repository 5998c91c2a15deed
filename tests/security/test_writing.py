"""What is promised about directories in which checkpoints are saved."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from ckptparse import (
    CheckpointError,
    CheckpointExistsError,
    InvalidTensorsError,
    UnwritableError,
    open_checkpoint,
    save_checkpoint,
)
from ckptparse.outputs import LocalFolder
from ckptparse.outputs.base import temporary_name
from ckptparse.sources import LocalFiles

OLD = {"a": np.arange(1000.0), "b": np.array([b"old"], object)}
TOKEN = "0123456789abcdef"


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def broken() -> Iterator[tuple[str, object]]:
    yield "a", np.zeros(1 << 20)
    raise RuntimeError("half-way")


class TestErrors:
    """An error leaves what was there before, and nothing else."""

    @pytest.mark.parametrize("shard_nbytes", [None, 1000], ids=["one file", "many files"])
    def test_a_loop_that_raises(self, tmp_path: Path, shard_nbytes: int | None) -> None:
        prefix = save_checkpoint(tmp_path / "m", OLD)
        before = contents(tmp_path)
        with pytest.raises(RuntimeError, match="half-way"):
            save_checkpoint(prefix, broken(), shard_nbytes=shard_nbytes, overwrite=True)
        assert contents(tmp_path) == before

    @pytest.mark.parametrize(
        "tensors",
        [
            {"a": np.zeros(3), "": np.zeros(3)},
            [("a", np.zeros(3)), ("a", np.zeros(3))],
            {"a": np.zeros(3), "\0\1\2": np.array([object()])},
            {},
        ],
        ids=["empty name", "same name", "objects", "none"],
    )
    def test_tensors_that_cannot_be_saved(self, tmp_path: Path, tensors: object) -> None:
        with pytest.raises(CheckpointError):
            save_checkpoint(tmp_path / "new" / "m", tensors)
        assert list(tmp_path.iterdir()) == []

    def test_a_damaged_state_file(self, tmp_path: Path) -> None:
        (tmp_path / "checkpoint").write_bytes(b"\xff\xfe: {")
        with pytest.raises(CheckpointError):
            save_checkpoint(tmp_path / "m", OLD, update_state=True)
        assert os.listdir(tmp_path) == ["checkpoint"]

    @pytest.mark.parametrize("name", ["m.index", "m.data-00001-of-00007", "m", "m-00000-of-00002"])
    def test_files_of_a_checkpoint_of_this_name(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_bytes(b"mine")
        with pytest.raises(CheckpointExistsError):
            save_checkpoint(tmp_path / "m", OLD)
        assert contents(tmp_path) == {name: b"mine"}

    def test_a_state_file_that_cannot_be_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The error comes after the new checkpoint is in place."""
        rename = os.replace

        def replace(source: str, target: str) -> None:
            if target.endswith("checkpoint"):
                raise OSError(errno.ENOSPC, "no space")
            rename(source, target)

        monkeypatch.setattr(os, "replace", replace)
        with pytest.raises(UnwritableError, match="no space"):
            save_checkpoint(tmp_path / "m", OLD, update_state=True)
        assert open_checkpoint(tmp_path / "m").verify().ok
        assert sorted(os.listdir(tmp_path)) == ["m.data-00000-of-00001", "m.index"]

    def test_the_checkpoint_that_is_read(self, tmp_path: Path) -> None:
        prefix = save_checkpoint(tmp_path / "m", OLD)
        before = contents(tmp_path)
        with pytest.raises(InvalidTensorsError, match="read from this checkpoint"):
            save_checkpoint(prefix, open_checkpoint(prefix).select(include="a"), overwrite=True)
        assert contents(tmp_path) == before


def test_unfinished_files_are_no_checkpoints(tmp_path: Path) -> None:
    """While a checkpoint is written, its directory has only files with temporary names."""
    seen: set[str] = set()

    def look() -> Iterator[tuple[str, object]]:
        for name, array in OLD.items():
            seen.update(os.listdir(tmp_path))
            with pytest.raises(CheckpointError):
                open_checkpoint(tmp_path)
            yield name, array

    save_checkpoint(tmp_path / "m", look(), shard_nbytes=1)
    assert seen
    assert all(name.startswith("ckptparse-") and ".tempstate" in name for name in seen)


class TestFilesThatAreDeleted:
    """Old checkpoints of the directory, and unfinished files: nothing else."""

    @pytest.mark.parametrize("how", ["parent", "absolute", "link"])
    def test_a_state_file_of_a_stranger(self, tmp_path: Path, how: str) -> None:
        elsewhere, run = tmp_path / "elsewhere", tmp_path / "run"
        save_checkpoint(elsewhere / "m", OLD)
        run.mkdir()
        (run / "link").symlink_to(elsewhere)
        path = {"parent": "../elsewhere/m", "absolute": elsewhere / "m", "link": "link/m"}[how]
        (run / "checkpoint").write_text(
            f'model_checkpoint_path: "{path}"\nall_model_checkpoint_paths: "{path}"\n'
        )
        before = contents(elsewhere)
        save_checkpoint(run / "n", OLD, update_state=True, max_to_keep=1)
        assert contents(elsewhere) == before

    @pytest.mark.parametrize("name", ["notes.txt", "data", "checkpoint"])
    def test_files_that_are_no_checkpoints(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_text(
            f'model_checkpoint_path: "{name}"\nall_model_checkpoint_paths: "{name}"\n'
        )
        (tmp_path / "checkpoint").write_bytes((tmp_path / name).read_bytes())
        save_checkpoint(tmp_path / "m", OLD, update_state=True, max_to_keep=1)
        assert (tmp_path / name).exists()
        assert open_checkpoint(tmp_path).path == str(tmp_path / "m")

    def test_other_checkpoints(self, tmp_path: Path) -> None:
        save_checkpoint(tmp_path / "m-10", OLD)
        for step in range(3):
            save_checkpoint(tmp_path / f"m-{step}", OLD, update_state=True, max_to_keep=1)
        names = {name.partition(".")[0] for name in os.listdir(tmp_path)}
        assert names == {"checkpoint", "m-10", "m-2"}

    @pytest.mark.parametrize(
        "name",
        ["ckptparse-xyz.tempstate1", f"ckptparse-{TOKEN}.tempstate", f"x-{TOKEN}.tempstate1"],
    )
    def test_names_that_only_look_temporary(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_bytes(b"mine")
        save_checkpoint(tmp_path / "m", OLD)
        assert (tmp_path / name).read_bytes() == b"mine"

    def test_unfinished_files(self, tmp_path: Path) -> None:
        (tmp_path / temporary_name(TOKEN, 1)).write_bytes(b"of a writer that was killed")
        save_checkpoint(tmp_path / "m", OLD)
        assert sorted(os.listdir(tmp_path)) == ["m.data-00000-of-00001", "m.index"]

    def test_unfinished_files_of_a_live_writer(self, tmp_path: Path) -> None:
        output = LocalFolder(str(tmp_path / "n"), sync=False).create()
        save_checkpoint(tmp_path / "m", OLD)
        assert os.path.exists(output.path)
        output.discard()

    def test_a_checkpoint_with_a_temporary_name_as_well(self, tmp_path: Path) -> None:
        """A data file in use stays, whatever other names it has."""
        prefix = save_checkpoint(tmp_path / "m", OLD)
        os.link(f"{prefix}.data-00000-of-00001", tmp_path / temporary_name(TOKEN, 1))
        save_checkpoint(tmp_path / "n", OLD)
        assert open_checkpoint(prefix).verify().ok
        assert not (tmp_path / temporary_name(TOKEN, 1)).exists()


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/../../x", "checkpoint", "m.index"])
def test_names_of_tensors_are_no_paths(tmp_path: Path, name: str) -> None:
    run = tmp_path / "run"
    for object_graph in (None, "paths"):
        tensors = {name: np.zeros(3), "b": np.array([name], object)}
        with suppress(InvalidTensorsError):  # paths of objects have no empty parts
            save_checkpoint(run / "m", tensors, object_graph=object_graph, overwrite=True)
    assert os.listdir(tmp_path) == ["run"]
    assert sorted(os.listdir(run)) == ["m.data-00000-of-00001", "m.index"]


def test_links_are_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link under a name that is written is refused or replaced; its target stays."""
    target = tmp_path / "target"
    target.write_bytes(b"mine")
    run = tmp_path / "run"
    run.mkdir()
    for name in ("m.index", "m.data-00000-of-00001", "checkpoint"):
        (run / name).symlink_to(target)
    monkeypatch.setattr("ckptparse.outputs.local.new_token", lambda: TOKEN)
    for number in range(1, 20):
        (run / temporary_name(TOKEN, number)).symlink_to(target)
    with pytest.raises(CheckpointError):
        save_checkpoint(run / "m", OLD, overwrite=True)
    monkeypatch.undo()
    (run / "checkpoint").unlink()
    save_checkpoint(run / "m", OLD, overwrite=True, update_state=True)
    assert target.read_bytes() == b"mine"
    assert LocalFiles(mmap=False).open(str(run / "m.index")).nbytes > 4
    assert open_checkpoint(run).verify().ok
