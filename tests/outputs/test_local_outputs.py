"""Local folders: locks, names that go away, files of killed writers."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ckptparse import UnwritableError
from ckptparse.outputs import LocalFolder, local

needs_locks = pytest.mark.skipif(local.fcntl is None, reason="no locks on this system")


def folder_at(path: Path) -> LocalFolder:
    return LocalFolder(str(path / "m"), sync=False)


@needs_locks
class TestLeftovers:
    def test_files_of_a_live_writer_are_not_left(self, tmp_path: Path) -> None:
        writer, other = folder_at(tmp_path), folder_at(tmp_path)
        output = writer.create()
        output.write(b"x")
        assert other.left_temporaries() == []
        output.finish()
        assert other.left_temporaries() == []
        writer.place(output, "m.data")
        assert other.left_temporaries() == []
        output.discard()
        assert os.listdir(tmp_path) == ["m.data"]

    def test_files_of_an_ended_writer_are(self, tmp_path: Path) -> None:
        writer, other = folder_at(tmp_path), folder_at(tmp_path)
        output = writer.create()
        writer.place(output, "m.data")
        os.close(output._descriptor)  # as the system does when a process ends
        output._descriptor = None
        name = os.path.basename(output.path)
        assert other.left_temporaries() == [name]
        assert other.other_names(name) == ["m.data"]

    @pytest.mark.parametrize(
        "name",
        [
            "ckptparse-0123456789abcdef.tempstate1",
            "ckptparse-0123456789abcdef.tempstate120",
        ],
    )
    def test_names_of_writers(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).touch()
        assert folder_at(tmp_path).left_temporaries() == [name]

    @pytest.mark.parametrize(
        "name",
        [
            "ckptparse-0123456789abcdef.tempstate",
            "ckptparse-0123456789ABCDEF.tempstate1",
            "ckptparse-0123456789abcdef.tempstate1.bak",
            "ckptparse-0123.tempstate1",
            "m.ckpt.data-00000-of-00001.tempstate1234",  # TensorFlow's
            "m.ckpt_temp",
        ],
    )
    def test_other_names(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).touch()
        assert folder_at(tmp_path).left_temporaries() == []

    def test_a_link_is_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "mine").touch()
        name = "ckptparse-0123456789abcdef.tempstate1"
        (tmp_path / name).symlink_to("mine")
        assert folder_at(tmp_path).left_temporaries() == []

    def test_a_file_that_its_writer_removes_meanwhile(self, tmp_path: Path) -> None:
        assert folder_at(tmp_path).other_names("ckptparse-0123456789abcdef.tempstate1") == []


def test_directories_are_made_and_removed(tmp_path: Path) -> None:
    folder = LocalFolder(str(tmp_path / "a" / "b" / "m"), sync=False)
    folder.prepare()
    assert (tmp_path / "a" / "b").is_dir()
    folder.abandon()
    assert os.listdir(tmp_path) == []


def test_a_directory_with_files_stays(tmp_path: Path) -> None:
    folder = LocalFolder(str(tmp_path / "a" / "b" / "m"), sync=False)
    folder.prepare()
    (tmp_path / "a" / "mine").touch()
    folder.abandon()
    assert os.listdir(tmp_path / "a") == ["mine"]


def test_a_directory_that_was_there_stays(tmp_path: Path) -> None:
    folder = folder_at(tmp_path)
    folder.prepare()
    folder.abandon()
    assert tmp_path.is_dir()


class TestIsPlaced:
    def test_a_file_that_has_its_name(self, tmp_path: Path) -> None:
        folder = folder_at(tmp_path)
        output = folder.create()
        output.finish()
        (tmp_path / "m").touch()
        assert folder.is_placed(output, "m") is False
        folder.replace(output, "m")
        assert folder.is_placed(output, "m") is True
        output.discard()

    def test_a_file_that_another_program_removes(self, tmp_path: Path) -> None:
        """Then the file of this name is the old one."""
        folder = folder_at(tmp_path)
        output = folder.create()
        output.finish()
        (tmp_path / "m").touch()
        os.unlink(output.path)
        with pytest.raises(UnwritableError):
            folder.replace(output, "m")
        assert folder.is_placed(output, "m") is None
        output.discard()

    def test_a_disk_that_fails(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = folder_at(tmp_path)
        output = folder.create()

        def fail(path: str) -> None:
            raise OSError(errno.EIO, path)

        with monkeypatch.context() as patched:
            patched.setattr(os, "lstat", fail)
            assert folder.is_placed(output, "m") is None
        output.discard()


@needs_locks
def test_a_file_system_without_permissions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is replaced; it has no permissions to keep."""

    def refuse(path: str, mode: int) -> None:
        raise PermissionError(errno.EPERM, path)

    monkeypatch.setattr(os, "chmod", refuse)
    folder = folder_at(tmp_path)
    (tmp_path / "m").touch()
    output = folder.create()
    output.write(b"new")
    folder.replace(output, "m")
    output.discard()
    assert (tmp_path / "m").read_bytes() == b"new"
