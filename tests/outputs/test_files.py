"""Files that are written under a temporary name: whole, or not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptparse import CheckpointExistsError, UnwritableError
from ckptparse.errors import InvalidTensorsError
from ckptparse.outputs import folder_for, local
from ckptparse.outputs.files import write_file
from support.killed import each_kill

OLD, NEW = b"old " * 1000, b"new " * 2000


def write(path: Path | str, parts: object = (NEW[:3000], NEW[3000:]), *, overwrite: bool) -> int:
    path = str(path)
    return write_file(folder_for(path, sync=True), path, parts, overwrite=overwrite)


def test_new_directories_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "page.html"
    assert write(path, overwrite=False) == len(NEW)
    assert path.read_bytes() == NEW
    assert os.listdir(path.parent) == ["page.html"]


def test_an_old_file_is_replaced_only_if_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_bytes(OLD)
    with pytest.raises(CheckpointExistsError, match="there is a file of this name already"):
        write(path, overwrite=False)
    assert path.read_bytes() == OLD
    assert write(path, overwrite=True) == len(NEW)
    assert path.read_bytes() == NEW


def test_a_directory_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "page.html").mkdir()
    for overwrite in (True, False):
        with pytest.raises(CheckpointExistsError, match="there is a directory of this name"):
            write(tmp_path / "page.html", overwrite=overwrite)
    assert os.listdir(tmp_path) == ["page.html"]


@pytest.mark.skipif(os.name == "nt", reason="Windows makes links for administrators only")
def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(OLD)
    (tmp_path / "page.html").symlink_to("other")
    write(tmp_path / "page.html", overwrite=True)
    assert (tmp_path / "other").read_bytes() == OLD
    assert not (tmp_path / "page.html").is_symlink()


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, MemoryError])
def test_an_interrupt_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def parts() -> Iterator[bytes]:
        yield NEW
        raise error

    with pytest.raises(error):
        write(tmp_path / "new" / "page.html", parts(), overwrite=False)
    assert os.listdir(tmp_path) == []


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "page.html"

    def parts() -> Iterator[bytes]:
        yield NEW
        path.write_bytes(OLD)

    with pytest.raises(CheckpointExistsError):
        write(path, parts(), overwrite=False)
    assert path.read_bytes() == OLD
    assert os.listdir(tmp_path) == ["page.html"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_killed_writer_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_bytes(OLD)
    seen = set()
    for _ in each_kill(local, lambda: write(path, overwrite=True)):
        seen.add(path.read_bytes())
        path.write_bytes(OLD)
    assert seen == {OLD, NEW}
    write(path, overwrite=True)
    assert os.listdir(tmp_path) == ["page.html"]  # leftovers are removed


def test_names_that_no_file_can_have(tmp_path: Path) -> None:
    with pytest.raises(InvalidTensorsError):
        write(f"{tmp_path}/", overwrite=False)
    with pytest.raises(UnwritableError):
        write(tmp_path / ("x" * 300), overwrite=False)
    (tmp_path / "file").write_bytes(OLD)
    with pytest.raises(UnwritableError):
        write(tmp_path / "file" / "page.html", overwrite=False)


def test_urls() -> None:
    fsspec = pytest.importorskip("fsspec")
    url = "memory://single/page.html"
    assert write(url, overwrite=False) == len(NEW)
    with pytest.raises(CheckpointExistsError):
        write(url, overwrite=False)
    with fsspec.open(url) as file:
        assert file.read() == NEW
