"""Full disks, missing rights and failing calls: the old checkpoint stays, and nothing else."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckptparse import CheckpointError, UnwritableError, open_checkpoint, save_checkpoint
from ckptparse.outputs import local
from support.contents import contents

OLD = {"a": np.arange(10_000, dtype="f4"), "b": np.array([b"old"], object)}
NEW = {"a": np.arange(100_000, dtype="f8"), "b": np.array([b"new", b"er"], object), "c": 1.5}


def is_equal(prefix: Path, tensors: dict[str, Any]) -> bool:
    with open_checkpoint(prefix, mmap=False) as ckpt:
        assert ckpt.verify().ok
        return list(ckpt) == list(tensors) and all(
            np.array_equal(ckpt[name], array) for name, array in tensors.items()
        )


class Failing:
    """Stands for the module `os`: the call of a number of one function fails."""

    def __init__(self, function: str, number: int, error: int) -> None:
        self._function = function
        self._number = number
        self._error = error
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name != self._function:
            return real

        def call(*arguments: Any, **options: Any) -> Any:
            self.calls += 1
            if self.calls == self._number:
                raise OSError(self._error, os.strerror(self._error))
            return real(*arguments, **options)

        return call


def count_calls(monkeypatch: pytest.MonkeyPatch, function: str, action: Callable[[], Any]) -> int:
    counting = Failing(function, 0, 0)
    with monkeypatch.context() as patched:
        patched.setattr(local, "os", counting)
        action()
    return counting.calls


TROUBLE = [
    ("pwrite", errno.ENOSPC),
    ("pwrite", errno.EDQUOT),
    ("fsync", errno.EIO),
    ("replace", errno.EACCES),
    ("open", errno.EACCES),
    ("open", errno.EMFILE),
]


@pytest.mark.skipif(not hasattr(os, "pwrite"), reason="no pwrite on this system")
@pytest.mark.parametrize("shard_nbytes", [None, 500_000], ids=["one file", "two files"])
@pytest.mark.parametrize(
    ("function", "number"), TROUBLE, ids=[f"{f}-{errno.errorcode[n]}" for f, n in TROUBLE]
)
class TestEachCall:
    def test_a_replaced_checkpoint(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        function: str,
        number: int,
        shard_nbytes: int | None,
    ) -> None:
        prefix = tmp_path / "m.ckpt"

        def save(tensors: dict[str, Any], **options: Any) -> None:
            save_checkpoint(prefix, tensors, shard_nbytes=shard_nbytes, overwrite=True, **options)

        save(OLD, sync=False)
        num_calls = count_calls(monkeypatch, function, lambda: save(NEW))
        assert num_calls > 2
        seen = set()
        for call in range(1, num_calls + 1):
            save(OLD, sync=False)
            before = contents(tmp_path)
            failed = None
            with monkeypatch.context() as patched:
                patched.setattr(local, "os", Failing(function, call, number))
                try:
                    save(NEW)
                except CheckpointError as error:
                    failed = error
            if failed is not None:
                assert type(failed) is UnwritableError
                assert failed.errno == number
                assert failed.file.startswith(str(tmp_path))
                assert os.strerror(number) in str(failed)
            if is_equal(prefix, OLD):
                assert failed is not None
                assert contents(tmp_path) == before, call
            else:  # the index has its name by then
                assert is_equal(prefix, NEW)
                assert not list(tmp_path.glob("*.tempstate*"))
            seen.add(failed is not None)
        assert True in seen

    def test_a_new_directory(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        function: str,
        number: int,
        shard_nbytes: int | None,
    ) -> None:
        """The first call of each kind comes before the index has its name."""
        with monkeypatch.context() as patched:
            patched.setattr(local, "os", Failing(function, 1, number))
            with pytest.raises(UnwritableError):
                save_checkpoint(tmp_path / "new" / "m.ckpt", NEW, shard_nbytes=shard_nbytes)
        assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_directory_that_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The second one: the first one is removed again."""
    monkeypatch.setattr(local, "os", Failing("mkdir", 2, number))
    with pytest.raises(UnwritableError) as error:
        save_checkpoint(tmp_path / "new" / "er" / "m.ckpt", NEW)
    assert error.value.errno == number
    assert error.value.file == str(tmp_path / "new" / "er")
    assert os.listdir(tmp_path) == []


class FullDisk:
    """Stands for the module `os`: a disk with room for some bytes."""

    def __init__(self, room: int) -> None:
        self.room = room

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def pwrite(self, descriptor: int, contents: Any, position: int) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = contents[: self.room]  # the system writes what it can, and then says so
        self.room -= len(taken)
        return os.pwrite(descriptor, taken, position)


@pytest.mark.skipif(not hasattr(os, "pwrite"), reason="no pwrite on this system")
class TestFullDisk:
    @pytest.mark.parametrize("missing", [1, 2, 100, 1000, 800_000])
    def test_any_room(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: int) -> None:
        prefix = tmp_path / "m.ckpt"
        save_checkpoint(tmp_path / "size", NEW, sync=False)
        needed = sum(os.path.getsize(path) for path in tmp_path.iterdir())
        for path in tmp_path.iterdir():
            path.unlink()
        save_checkpoint(prefix, OLD, sync=False)
        before = contents(tmp_path)
        with monkeypatch.context() as patched:
            patched.setattr(local, "os", FullDisk(needed - missing))
            with pytest.raises(UnwritableError, match=os.strerror(errno.ENOSPC)) as error:
                save_checkpoint(prefix, NEW, overwrite=True, sync=False)
        assert error.value.errno == errno.ENOSPC
        assert contents(tmp_path) == before
        assert is_equal(prefix, OLD)

    def test_enough_room(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        save_checkpoint(tmp_path / "size", NEW, sync=False)
        needed = sum(os.path.getsize(path) for path in tmp_path.iterdir())
        monkeypatch.setattr(local, "os", FullDisk(needed))
        save_checkpoint(tmp_path / "m.ckpt", NEW, sync=False)
        assert is_equal(tmp_path / "m.ckpt", NEW)

    def test_large_tensors_that_several_threads_write(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(local, "os", FullDisk(10_000_000))
        with pytest.raises(UnwritableError, match=os.strerror(errno.ENOSPC)):
            save_checkpoint(tmp_path / "new" / "m.ckpt", {"a": np.zeros(5_000_000, "f4")})
        assert os.listdir(tmp_path) == []


def test_a_limit_on_the_size_of_files(tmp_path: Path) -> None:
    """The operating system itself refuses to write more."""
    resource = pytest.importorskip("resource")
    import signal

    prefix = tmp_path / "m.ckpt"
    save_checkpoint(prefix, OLD, sync=False)
    before = contents(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        with pytest.raises(UnwritableError) as error:
            save_checkpoint(prefix, NEW, overwrite=True, sync=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert error.value.errno == errno.EFBIG
    assert contents(tmp_path) == before


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere"
)
def test_a_directory_without_write_permission(tmp_path: Path) -> None:
    run = tmp_path / "run"
    prefix = save_checkpoint(run / "m.ckpt", OLD)
    before = contents(run)
    run.chmod(0o555)
    try:
        with pytest.raises(UnwritableError) as error:
            save_checkpoint(prefix, NEW, overwrite=True)
    finally:
        run.chmod(0o755)
    assert error.value.errno == errno.EACCES
    assert contents(run) == before


def test_a_state_file_that_cannot_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new checkpoint is there, and nothing was deleted."""
    for i in range(2):
        save_checkpoint(tmp_path / f"m-{i}", {**OLD, "i": i}, update_state=True, sync=False)
    before = contents(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(local, "os", Failing("replace", 3, errno.EIO))
        with pytest.raises(UnwritableError) as error:
            save_checkpoint(tmp_path / "m-2", NEW, update_state=True, max_to_keep=1, sync=False)
    assert error.value.file == str(tmp_path / "checkpoint")
    after = contents(tmp_path)
    assert {name: after[name] for name in before} == before
    assert is_equal(tmp_path / "m-2", NEW)
    assert after.keys() - before.keys() == {"m-2.index", "m-2.data-00000-of-00001"}
