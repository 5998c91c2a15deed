"""Files that are written at URLs, through fsspec."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from ckptparse import UnsupportedError, UnwritableError, open_checkpoint, save_checkpoint
from support.contents import url_contents

URL = "memory://run/m.ckpt"
OLD = {"old": np.arange(10_000, dtype="f4")}
NEW = {"new": np.arange(20_000, dtype="f4"), "text": np.array([b"x"], object)}


@pytest.fixture(autouse=True)
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    system = fsspec.filesystem("memory")
    system.rm("/", recursive=True)  # what other tests left
    yield system
    system.rm("/", recursive=True)


def is_equal(tensors: dict[str, Any]) -> bool:
    with open_checkpoint(URL) as ckpt:
        assert ckpt.verify().ok
        return list(ckpt) == sorted(tensors) and all(
            np.array_equal(ckpt[name], array) for name, array in tensors.items()
        )


@pytest.mark.parametrize("new", [None, 50_000], ids=["one file", "two files"])
@pytest.mark.parametrize("old", [None, 50_000], ids=["from one", "from two"])
def test_a_replaced_checkpoint(old: int | None, new: int | None) -> None:
    tensors = {**OLD, **NEW}
    save_checkpoint(URL, tensors, shard_nbytes=old)
    save_checkpoint(URL, NEW, shard_nbytes=new, overwrite=True)
    assert is_equal(NEW)
    num_files = 2 if new is None else 3
    assert len(url_contents()) == num_files
    save_checkpoint(URL, tensors, overwrite=True)
    assert is_equal(tensors)
    assert len(url_contents()) == 2


class Trouble(Exception):
    """An error of a storage."""


def break_once(file: Any, function: str) -> None:
    """Have the next call of a method of a file fail."""

    def fail(*_: object) -> None:
        delattr(file, function)
        raise Trouble("no quota")

    setattr(file, function, fail)


@pytest.mark.parametrize("is_new", [False, True], ids=["replaced", "new"])
@pytest.mark.parametrize("number", range(1, 4))
@pytest.mark.parametrize("function", ["_open", "mv", "write", "close"])
def test_trouble_at_any_file(
    monkeypatch: pytest.MonkeyPatch, function: str, number: int, is_new: bool
) -> None:
    """The third file is the index: until it is in its place, the old one is."""
    if not is_new:
        save_checkpoint(URL, OLD)
    before = url_contents()
    real = getattr(MemoryFileSystem, "mv" if function == "mv" else "_open")
    left = number

    def fail(self, *arguments: Any, **options: Any) -> Any:
        nonlocal left
        if function != "mv" and (options.get("mode") or arguments[1]) != "wb":
            return real(self, *arguments, **options)
        left -= 1
        if left == 0 and function in ("mv", "_open"):
            raise Trouble("no quota")
        file = real(self, *arguments, **options)
        if left == 0:
            break_once(file, function)
        return file

    with monkeypatch.context() as patched:
        patched.setattr(MemoryFileSystem, real.__name__, fail)
        with pytest.raises(UnwritableError, match="Trouble: no quota") as error:
            save_checkpoint(URL, NEW, shard_nbytes=80_000, overwrite=True)
    assert error.value.file
    assert url_contents() == before
    save_checkpoint(URL, NEW, shard_nbytes=80_000, overwrite=True)
    assert is_equal(NEW)


def copy_only(system: Any, source: str, target: str) -> None:
    """Do the first half of what moves a file in an object store."""
    system.cp_file(source, target)


MOVES = {"before": None, "copied": copy_only, "after": MemoryFileSystem.mv}


@pytest.mark.parametrize("error", [KeyboardInterrupt, Trouble])
@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("number", range(1, 4))
def test_a_move_that_ends_early(
    monkeypatch: pytest.MonkeyPatch, number: int, move: str, error: type[BaseException]
) -> None:
    """Whether the storage still copies the file is not known after an interrupt."""
    save_checkpoint(URL, OLD)
    before = url_contents()
    real = MemoryFileSystem.mv
    left = number

    def end_early(self, source: str, target: str) -> None:
        nonlocal left
        left -= 1
        function = real if left else MOVES[move]
        if function is not None:
            function(self, source, target)
        if not left:
            raise error("once")

    with monkeypatch.context() as patched:
        patched.setattr(MemoryFileSystem, "mv", end_early)
        with pytest.raises((KeyboardInterrupt, UnwritableError), match="once"):
            save_checkpoint(URL, NEW, shard_nbytes=80_000, overwrite=True)
    if number == 3 and move != "before":
        assert is_equal(NEW)
    else:
        assert is_equal(OLD)
        assert before.items() <= url_contents().items()
        if error is Trouble:
            assert url_contents() == before
    assert not any(".tempstate" in name for name in url_contents())


def test_the_index_comes_last(monkeypatch: pytest.MonkeyPatch) -> None:
    moved = []
    real = MemoryFileSystem.mv

    def note(self, source: str, target: str, **options: Any) -> None:
        moved.append(target.rpartition("/")[2])
        real(self, source, target, **options)

    monkeypatch.setattr(MemoryFileSystem, "mv", note)
    save_checkpoint(URL, NEW, shard_nbytes=80_000)
    assert moved == ["m.ckpt.data-00000-of-00002", "m.ckpt.data-00001-of-00002", "m.ckpt.index"]


@pytest.mark.parametrize("protocol", ["http", "https"])
def test_a_web_server(protocol: str) -> None:
    """Refused before it is asked for anything."""
    with pytest.raises(UnsupportedError, match=r"m\.ckpt: checkpoints .* web server"):
        save_checkpoint(f"{protocol}://localhost:9/run/m.ckpt", NEW)


@pytest.mark.parametrize(
    "url", ["simplecache::memory://run/m.ckpt", "zip://m.ckpt::memory://file.zip", "zip::file.zip"]
)
def test_a_chained_url(url: str) -> None:
    with pytest.raises(UnsupportedError, match="chained URL") as error:
        save_checkpoint(url, NEW)
    assert error.value.file == url


@pytest.mark.parametrize("error", [NotImplementedError(), NotImplementedError("read-only")])
def test_a_file_system_that_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(MemoryFileSystem, "_open", refuse)
    with pytest.raises(UnsupportedError, match=r"run/.*: this file system cannot be written"):
        save_checkpoint(URL, NEW)
    assert url_contents() == {}


def test_files_of_another_writer_are_left_alone(memory: fsspec.AbstractFileSystem) -> None:
    """Whether it is still at work is not known."""
    name = "/run/ckptparse-0123456789abcdef.tempstate1"
    memory.pipe(name, b"half")
    save_checkpoint(URL, NEW)
    assert memory.cat_file(name) == b"half"
    assert is_equal(NEW)
