"""Where files are saved: prefixes that are directories, links, and what is never replaced."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import pytest

from ckptparse import CheckpointExistsError, UnwritableError, open_checkpoint, save, save_checkpoint

OLD, NEW = {"old": np.zeros(2)}, {"new": np.ones(3)}

SUFFIXES = ["m.npz", "m.safetensors", "m.ckpt"]
needs_posix = pytest.mark.skipif(os.name == "nt", reason="Windows has neither FIFOs nor modes")


def test_a_prefix_that_ends_with_a_slash_is_in_its_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorFlow saves it there, too."""
    monkeypatch.chdir(tmp_path)
    save_checkpoint("./", OLD)
    Path("folder").mkdir()
    save_checkpoint("folder/", NEW, overwrite=True)
    assert sorted(os.listdir("folder")) == [".data-00000-of-00001", ".index"]
    with open_checkpoint("folder/") as new, open_checkpoint("./") as old:
        assert (list(new), list(old)) == (["new"], ["old"])


@needs_posix
@pytest.mark.parametrize("name", SUFFIXES)
def test_a_link_is_followed_before_its_parent(tmp_path: Path, name: str) -> None:
    (tmp_path / "far" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to("far/deep")
    path = save(f"{tmp_path}/link/../{name}", NEW)
    assert any(each.startswith("m.") for each in os.listdir(tmp_path / "far"))
    with open_checkpoint(path) as ckpt:
        assert list(ckpt) == ["new"]


@needs_posix
@pytest.mark.parametrize(
    ("name", "fifo"),
    [(name, name) for name in SUFFIXES]
    + [("m.ckpt", "m.ckpt.index"), ("m.ckpt", "m.ckpt.data-00000-of-00001")],
)
def test_only_files_are_replaced(tmp_path: Path, name: str, fifo: str) -> None:
    os.mkfifo(tmp_path / fifo)
    with pytest.raises(CheckpointExistsError, match="there is a FIFO, socket or device of this"):
        save(tmp_path / name, NEW, overwrite=True)
    assert os.listdir(tmp_path) == [fifo]
    assert stat.S_ISFIFO((tmp_path / fifo).stat().st_mode)


@needs_posix
@pytest.mark.parametrize("name", SUFFIXES)
def test_a_new_file_has_the_permissions_of_the_old_one(tmp_path: Path, name: str) -> None:
    save(tmp_path / name, OLD)
    for each in tmp_path.iterdir():
        each.chmod(0o600)
    save(tmp_path / name, NEW, overwrite=True)
    assert {stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize("name", [*SUFFIXES, "m.npy"])
def test_an_error_names_the_directory(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> int:
        raise PermissionError(13, "Permission denied")

    save(tmp_path / "other.npz", OLD)  # imports
    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(UnwritableError) as caught:
        save(tmp_path / name, NEW)
    assert "ckptparse-" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)
