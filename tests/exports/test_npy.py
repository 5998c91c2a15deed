"""Directories of `.npy` files: what numpy reads, and names that would lead elsewhere."""

from __future__ import annotations

import os
import shutil
from collections import UserDict
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

from ckptparse import (
    CheckpointExistsError,
    UnsupportedError,
    UnwritableError,
    open_checkpoint,
    save,
)
from ckptparse.exports.npy import to_path, to_paths
from ckptparse.outputs import local, tree
from support.contents import contents
from support.every_dtype import NUMPY_DTYPES, arrays_of
from support.killed import each_kill
from support.oracle import VGG, expected_array

HOSTILE = [
    "../../etc/passwd", "..", ".", "/etc/passwd", "a/../../b", "a//b", "//", "/", "a/", "/a",
    "a\\b", "..\\..\\b", "C:\\x", "C:/x", "nul", "NUL", "con.txt", "aux/x", "COM1/y", "a\0b",
    "a\nb", "\x1b[31m", "\udcff", "é", "%2F", "%", "a%", " a ", "a.", "a./b", "...", "~", "-rf",
    "$(id)", "a b", "*", "a:b", "x.npy", "x.npy/y", "X.NPY/y", "x", "Variable", "variable",
    "VARIABLE", "VariAble/x", "variable/x", "|<>\"?", "a/./b", "a/.../b", "lpt9 ", "con", "é/É",
    "É/é",
]  # fmt: skip


def test_files(tmp_path: Path) -> None:
    with open_checkpoint(VGG.prefix) as ckpt:
        path = save(f"{tmp_path}/m.npy/", ckpt)
    assert path == f"{tmp_path}/m.npy/"
    files = sorted(
        p.relative_to(tmp_path / "m.npy").as_posix() for p in tmp_path.rglob("*.npy/**/*.npy")
    )
    assert files == sorted(f"{tensor.name}.npy" for tensor in VGG.tensors)
    for tensor in VGG.tensors:
        array = np.load(tmp_path / "m.npy" / f"{tensor.name}.npy")
        expected = expected_array(VGG, tensor.name)
        assert array.dtype == expected.dtype
        assert np.array_equal(array, expected)
    assert os.listdir(tmp_path) == ["m.npy"]


def test_the_bytes_are_those_of_numpy(tmp_path: Path) -> None:
    arrays = arrays_of(NUMPY_DTYPES) | {"large": np.arange(5_000_000.0)}
    save(tmp_path / "m", arrays, format="npy")
    for name, array in arrays.items():
        np.save(tmp_path / "numpy.npy", array)
        assert (tmp_path / "m" / f"{name}.npy").read_bytes() == (
            tmp_path / "numpy.npy"
        ).read_bytes()


class TestNames:
    def test_every_file_is_inside(self, tmp_path: Path) -> None:
        arrays = {name: np.array([i]) for i, name in enumerate(HOSTILE)}
        save(tmp_path / "deep" / "m.npy", arrays)
        assert os.listdir(tmp_path) == ["deep"]
        assert os.listdir(tmp_path / "deep") == ["m.npy"]
        root = tmp_path / "deep" / "m.npy"
        files = [p for p in root.rglob("*") if p.is_file()]
        read = {
            unquote(
                p.relative_to(root).as_posix().removesuffix(".npy"), errors="surrogateescape"
            ): np.load(p)
            for p in files
        }
        assert {name: array.tolist() for name, array in read.items()} == {
            name: [i] for i, name in enumerate(HOSTILE)
        }

    def test_parts_are_plain(self) -> None:
        for path in to_paths(HOSTILE).values():
            for part in path:
                assert part.isascii()
                assert part.isprintable()
                assert not set(part) & set('/\\:*?"<>|')
                assert part.strip(". ") == part.lstrip(".").rstrip(" ")
                assert part not in ("", ".", "..")

    def test_no_two_differ_only_in_capitals(self) -> None:
        paths = ["/".join(path).lower() for path in to_paths(HOSTILE).values()]
        assert len(set(paths)) == len(HOSTILE)

    def test_a_directory_is_no_file_of_another_tensor(self) -> None:
        assert to_path("x") == ("x.npy",)
        assert to_path("x.npy/y") == ("x%2Enpy", "y.npy")

    def test_usual_names_stay(self) -> None:
        for name in ("a/b_1/c-d", "conv2d/kernel:0", "layer.0.weight", "a,b=c+d@(e)[1]{x}~"):
            assert to_path(name) == tuple(f"{name}.npy".replace(":", "%3A").split("/"))


OLD = {"a": np.zeros(2), "b/c": np.ones(2)}
NEW = {"a": np.full(3, 7.0), "d": np.ones(1)}


class TestReplacing:
    def test_an_old_directory_is_refused(self, tmp_path: Path) -> None:
        save(tmp_path / "m.npy", OLD)
        with pytest.raises(CheckpointExistsError):
            save(tmp_path / "m.npy", NEW)
        assert np.load(tmp_path / "m.npy" / "a.npy").tolist() == [0, 0]
        assert os.listdir(tmp_path) == ["m.npy"]

    def test_an_old_directory_is_replaced_whole(self, tmp_path: Path) -> None:
        save(tmp_path / "m.npy", OLD)
        save(tmp_path / "m.npy", NEW, overwrite=True)
        assert sorted(os.listdir(tmp_path / "m.npy")) == ["a.npy", "d.npy"]
        assert np.load(tmp_path / "m.npy" / "a.npy").tolist() == [7, 7, 7]
        assert os.listdir(tmp_path) == ["m.npy"]

    @pytest.mark.parametrize("other", ["file", "deep file", "symlink", "is file", "is symlink"])
    def test_nothing_else_is_ever_deleted(self, tmp_path: Path, other: str) -> None:
        path = tmp_path / "m.npy"
        if other == "is file":
            path.write_text("mine")
        elif other == "is symlink":
            save(tmp_path / "n.npy", OLD)
            path.symlink_to(tmp_path / "n.npy", target_is_directory=True)
        else:
            save(path, OLD)
        if other == "file":
            (path / "notes.txt").write_text("mine")
        elif other == "deep file":
            (path / "b" / "notes.txt").write_text("mine")
        elif other == "symlink":
            (path / "e.npy").symlink_to(path / "a.npy")
        before = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*"))
        with pytest.raises(CheckpointExistsError, match="only a directory"):
            save(path, NEW, overwrite=True)
        assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")) == before

    def test_after_an_error_nothing_is_there(self, tmp_path: Path) -> None:
        class Changing(UserDict):
            """Arrays are described first, then read."""

            num_reads = 0

            def __getitem__(self, name: str) -> np.ndarray:
                self.num_reads += 1
                return np.ones(5) if self.num_reads > 3 else np.ones(2)

        with pytest.raises(ValueError, match="changed while"):
            save(tmp_path / "x" / "m.npy", Changing(OLD))
        assert os.listdir(tmp_path) == []

    def test_leftovers_of_a_killed_writer_are_removed(self, tmp_path: Path) -> None:
        left = tmp_path / f"ckptparse-{'0' * 16}.tempdir"
        (left / "a").mkdir(parents=True)
        mine = tmp_path / "ckptparse-mine.tempdir"
        mine.mkdir()
        save(tmp_path / "m.npy", OLD)
        assert sorted(os.listdir(tmp_path)) == ["ckptparse-mine.tempdir", "m.npy"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_killed_writer(tmp_path: Path) -> None:
    """At each of its system calls: the old directory or the new one, whole, is there."""
    path = tmp_path / "m.npy"
    save(path, NEW)
    new = contents(path)
    save(path, OLD, overwrite=True)
    old = contents(path)
    found = []
    for _ in each_kill([local, tree], lambda: save(path, NEW, overwrite=True)):
        others = [p for p in tmp_path.iterdir() if p != path]
        if path.exists():
            found.append(contents(path))
        else:  # between the two renames
            assert sorted(contents(p) == old for p in others) == [False, True]
            found.append(None)
        save(path, OLD, overwrite=True)
        assert contents(path) == old
        assert os.listdir(tmp_path) == ["m.npy"]
    assert old in found
    assert new in found
    assert found.count(None) == 1
    assert all(each in (old, new, None) for each in found)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_an_old_directory_that_lost_its_name_stays(tmp_path: Path) -> None:
    """A writer was killed between its two renames: only a writer of this name ends this."""
    path, other = tmp_path / "m.npy", tmp_path / "other.npy"
    save(path, OLD)
    old = contents(path)
    for _ in each_kill([local, tree], lambda: save(path, NEW, overwrite=True)):
        if not path.exists():
            break
    (left,) = tmp_path.glob("*.tempdirold")
    save(other, NEW)
    assert contents(left) == old
    (new,) = tmp_path.glob("*.tempdir")
    shutil.rmtree(new)
    save(other, NEW, overwrite=True)
    assert contents(left) == old
    with pytest.raises(CheckpointExistsError):
        save(path, NEW)
    assert contents(path) == old
    assert sorted(os.listdir(tmp_path)) == ["m.npy", "other.npy"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_a_rename_that_cannot_be_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    """The old directory stays under its temporary name; the error is the first one."""
    path = tmp_path / "m.npy"
    save(path, OLD)
    old = contents(path)
    real = os.rename

    def rename(source: str, target: str) -> None:
        if source != str(path):
            raise error("first") if source.endswith(".tempdir") else OSError("second")
        real(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", rename)
        with pytest.raises((KeyboardInterrupt, UnwritableError), match="first"):
            save(path, NEW, overwrite=True)
    (left,) = tmp_path.iterdir()
    assert contents(left) == old
    save(path, NEW, overwrite=True)
    assert os.listdir(tmp_path) == ["m.npy"]


def test_urls_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="renamed"):
        save("memory://test_npy/m.npy", {"x": np.zeros(2)})
