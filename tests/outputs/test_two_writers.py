"""Several writers of one checkpoint: afterwards one of theirs is there, whole."""

from __future__ import annotations

import errno
import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckptparse import CheckpointExistsError, open_checkpoint, save_checkpoint
from ckptparse.outputs import LocalFolder, local

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
needs_locks = pytest.mark.skipif(local.fcntl is None, reason="no locks on this system")
NUM_WRITERS = 4


def tensors_of(writer: int) -> dict[str, Any]:
    """Each writer has a number of tensors of its own, all with its number as value."""
    return {f"t{i}": np.full(1000 * (i + 1), writer, "f4") for i in range(writer + 1)}


def writer_of(prefix: Path) -> int:
    """The one whose checkpoint it is."""
    with open_checkpoint(prefix) as ckpt:
        assert ckpt.verify().ok
        values = {float(value) for array in ckpt.values() for value in np.unique(array)}
        assert len(values) == 1
        (writer,) = map(int, values)
        assert list(ckpt) == list(tensors_of(writer))
        return writer


def names_of(writer: int, shard_nbytes: int | None) -> set[str]:
    count = writer + 1 if shard_nbytes else 1
    return {f"m.data-{i:05d}-of-{count:05d}" for i in range(count)} | {"m.index"}


@needs_locks
@pytest.mark.parametrize("shard_nbytes", [None, 1], ids=["one file", "many files"])
class TestAtOnce:
    def test_threads(self, tmp_path: Path, shard_nbytes: int | None) -> None:
        prefix = tmp_path / "m"
        errors: list[BaseException] = []
        start = threading.Barrier(NUM_WRITERS)

        def write(writer: int) -> None:
            try:
                for _ in range(5):
                    start.wait()
                    tensors = tensors_of(writer)
                    save_checkpoint(
                        prefix, tensors, shard_nbytes=shard_nbytes, overwrite=True, sync=False
                    )
            except BaseException as error:
                errors.append(error)
                start.abort()

        threads = [threading.Thread(target=write, args=(i,)) for i in range(NUM_WRITERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert {*os.listdir(tmp_path)} == names_of(writer_of(prefix), shard_nbytes)

    @needs_fork
    def test_processes(self, tmp_path: Path, shard_nbytes: int | None) -> None:
        prefix = tmp_path / "m"
        children = []
        for writer in range(NUM_WRITERS):
            child = os.fork()
            if not child:
                status = 1
                try:
                    for _ in range(10):
                        tensors = tensors_of(writer)
                        save_checkpoint(
                            prefix, tensors, shard_nbytes=shard_nbytes, overwrite=True, sync=False
                        )
                    status = 0
                finally:
                    os._exit(status)
            children.append(child)
        statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        assert statuses == [0] * NUM_WRITERS
        assert {*os.listdir(tmp_path)} == names_of(writer_of(prefix), shard_nbytes)


class Nested(dict[str, Any]):
    """Tensors of which the last one is read after another checkpoint was saved."""

    def __init__(self, tensors: dict[str, Any], action: Any) -> None:
        super().__init__(tensors)
        self._action = action

    def __getitem__(self, name: str) -> Any:
        if name == list(self)[-1]:
            self._action()
        return super().__getitem__(name)


@needs_locks
class TestInterleaved:
    """A writer that saves while another one is in the middle of its tensors."""

    def test_the_last_one_to_end_is_there(self, tmp_path: Path) -> None:
        prefix = tmp_path / "m"
        save_checkpoint(prefix, tensors_of(0), sync=False)
        inner = Nested(
            tensors_of(2),
            lambda: save_checkpoint(prefix, tensors_of(1), overwrite=True, sync=False),
        )
        save_checkpoint(prefix, inner, shard_nbytes=1, overwrite=True, sync=False)
        assert writer_of(prefix) == 2
        assert {*os.listdir(tmp_path)} == names_of(2, 1)

    def test_one_that_does_not_overwrite_comes_too_late(self, tmp_path: Path) -> None:
        prefix = tmp_path / "m"
        inner = Nested(tensors_of(2), lambda: save_checkpoint(prefix, tensors_of(1), sync=False))
        with pytest.raises(CheckpointExistsError):
            save_checkpoint(prefix, inner, sync=False)
        assert writer_of(prefix) == 1
        assert {*os.listdir(tmp_path)} == names_of(1, None)

    def test_neighbours(self, tmp_path: Path) -> None:
        inner = Nested(
            tensors_of(2), lambda: save_checkpoint(tmp_path / "n", tensors_of(1), sync=False)
        )
        save_checkpoint(tmp_path / "m", inner, sync=False)
        assert writer_of(tmp_path / "m") == 2
        assert writer_of(tmp_path / "n") == 1


@needs_fork
@needs_locks
def test_files_of_a_writer_are_removed_when_it_was_killed(tmp_path: Path) -> None:
    ready, tell_ready = os.pipe()
    child = os.fork()
    if not child:
        folder = LocalFolder(str(tmp_path / "m"), sync=False)
        output = folder.create()
        output.write(b"half")
        os.write(tell_ready, b"x")
        signal.pause()
        os._exit(1)
    os.read(ready, 1)
    os.close(ready)
    os.close(tell_ready)
    try:
        (temporary,) = os.listdir(tmp_path)
        save_checkpoint(tmp_path / "other", tensors_of(0), sync=False)
        assert (tmp_path / temporary).read_bytes() == b"half"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert (tmp_path / temporary).exists()
    save_checkpoint(tmp_path / "other", tensors_of(1), overwrite=True, sync=False)
    assert {*os.listdir(tmp_path)} == {"other.index", "other.data-00000-of-00001"}


class WithoutLinks:
    """Stands for the module `os` on a file system without hard links."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def link(self, *_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


class TestPoorSystems:
    @pytest.fixture(params=["no hard links", "no locks", "neither"])
    def system(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
        if request.param != "no locks":
            monkeypatch.setattr(local, "os", WithoutLinks())
        if request.param != "no hard links":
            monkeypatch.setattr(local, "fcntl", None)
        return request.param

    @pytest.mark.parametrize("new", [None, 1], ids=["one file", "three files"])
    @pytest.mark.parametrize("old", [None, 1], ids=["from one", "from three"])
    def test_replacing(self, tmp_path: Path, system: str, old: int | None, new: int | None) -> None:
        prefix = tmp_path / "m"
        for writer, shard_nbytes in ((2, old), (3, new), (2, old), (3, new)):
            save_checkpoint(
                prefix, tensors_of(writer), shard_nbytes=shard_nbytes, overwrite=True, sync=False
            )
            assert writer_of(prefix) == writer
            num_files = writer + 1 if shard_nbytes else 1
            assert len(os.listdir(tmp_path)) == num_files + 1
        save_checkpoint(tmp_path / "n", tensors_of(1), sync=True)
        assert writer_of(tmp_path / "n") == 1

    @pytest.mark.skipif(os.name == "nt", reason="a mapped file cannot be replaced there")
    def test_mapped_arrays_stay_right(self, tmp_path: Path, system: str) -> None:
        prefix = save_checkpoint(tmp_path / "m", tensors_of(1), sync=False)
        arrays = dict(open_checkpoint(prefix))
        for writer in (2, 3, 0):
            save_checkpoint(prefix, tensors_of(writer), overwrite=True, sync=False)
            for name, array in tensors_of(1).items():
                assert np.array_equal(arrays[name], array)
