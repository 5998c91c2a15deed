"""Files that are changed while they are read, and signals: what is promised and what is not."""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import ckptparse.sources.pread
from ckptparse import TruncatedError, UnreadableError, open_checkpoint
from support.builders import Partitioned, write_bundle
from support.children import output_of, run_child
from support.shard_sets import write_v1_set

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

SIZE = 1 << 16
"""Elements of the tensors here: 256 KiB, many pages."""

VALUES = np.arange(SIZE, dtype="f4")
HALVES = Partitioned(VALUES, [[(0, SIZE // 2)], [(SIZE // 2, SIZE // 2)]])


def write_v2(folder: Path) -> Path:
    """One tensor `x` in one piece, and the same values in two as `p`; the file with both."""
    prefix = write_bundle(folder, {"x": VALUES, "p": HALVES})
    return Path(f"{prefix}.data-00000-of-00001")


def without_core() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


# A file that is shortened


@pytest.mark.parametrize("mmap", [True, False], ids=["mmap", "pread"])
@pytest.mark.parametrize("verify", [True, False], ids=["verified", "unverified"])
def test_shortened_between_two_accesses(tmp_path: Path, mmap: bool, verify: bool) -> None:
    """Run in a child, which would die if it touched the lost pages."""
    code = """
        import os, sys
        from ckptparse import TruncatedError, open_checkpoint
        path, mmap, verify = sys.argv[1], sys.argv[2] == "True", sys.argv[3] == "True"
        ckpt = open_checkpoint(path, mmap=mmap, verify=verify)
        assert ckpt["x"].sum() == ckpt["p"].sum()
        os.truncate(path, 5000)
        for name in "x", "p":
            for read in (ckpt.__getitem__, lambda name: ckpt.read(name, -1)):
                try:
                    read(name)
                except TruncatedError as error:
                    print(os.path.basename(error.file), error.found)
        print(len(ckpt.verify().damaged))
    """
    path = write_v2(tmp_path)
    said = output_of(code, path, mmap, verify)
    assert said == [f"{path.name} a file of 5000 bytes"] * 4 + ["2"]


TOUCH_AFTER = """
    import os, sys
    from ckptparse import open_checkpoint
    path, name, mmap = sys.argv[1], sys.argv[2], sys.argv[3] == "True"
    ckpt = open_checkpoint(path, mmap=mmap)
    array = ckpt[name]
    before = float(array[-1])
    os.truncate(path, 4096)
    print("touch", flush=True)
    assert float(array[-1]) == before
    print("alive")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="what a lost page does differs by system")
def test_an_array_over_a_map_cannot_survive_that_its_file_is_shortened(tmp_path: Path) -> None:
    """No library over maps can prevent it; README.md and SECURITY.md say so."""
    done = run_child(TOUCH_AFTER, write_v2(tmp_path), "x", True, before=without_core)
    assert done.returncode == -signal.SIGBUS
    assert done.stdout.split() == ["touch"]


@pytest.mark.parametrize(
    ("name", "mmap"), [("p", True), ("x", False), ("p", False)], ids=["slices", "pread", "both"]
)
def test_copies_do_survive_it(tmp_path: Path, name: str, mmap: bool) -> None:
    said = output_of(TOUCH_AFTER, write_v2(tmp_path), name, mmap, before=without_core)
    assert said == ["touch", "alive"]


def test_without_maps_a_file_may_be_shortened_before_any_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shorten it before the first read, the second read and so on."""
    path = write_v2(tmp_path)
    contents = path.read_bytes()
    pread = ckptparse.sources.pread._pread
    num_reads = 0

    def shorten_before(number: int) -> Callable[[int, int, int], bytes]:
        def read(descriptor: int, nbytes: int, offset: int) -> bytes:
            nonlocal num_reads
            if num_reads == number:
                os.truncate(path, 5000)
            num_reads += 1
            return pread(descriptor, nbytes, offset)

        return read

    answers = []
    while not answers or num_reads >= len(answers):
        path.write_bytes(contents)
        num_reads = 0
        with open_checkpoint(path, mmap=False) as ckpt:
            monkeypatch.setattr(ckptparse.sources.pread, "_pread", shorten_before(len(answers)))
            try:
                right = all(ckpt[name].tobytes() == VALUES.tobytes() for name in "xp")
                answers.append("right" if right else "wrong")
            except TruncatedError:
                answers.append("truncated")
    assert len(answers) > 3
    assert answers == ["truncated"] * (len(answers) - 1) + ["right"]


def test_without_maps_a_file_may_be_shortened_at_any_time(tmp_path: Path) -> None:
    """This process shortens and restores the file while a child reads it repeatedly."""
    code = """
        import sys
        from ckptparse import TruncatedError, open_checkpoint
        answers = set()
        for _ in range(200):
            ckpt = open_checkpoint(sys.argv[1], mmap=False)
            for name in "x", "p":
                (damage,) = ckpt.verify([name]).damaged or (None,)
                answers.add("right" if damage is None else type(damage.error).__name__)
                if damage is None:  # and that was checked a moment ago
                    try:
                        ckpt[name]
                    except TruncatedError:
                        answers.add("TruncatedError")
        print(*sorted(answers))
    """
    path = write_v2(tmp_path)
    contents = path.read_bytes()
    stop = threading.Event()

    def change() -> None:
        while not stop.wait(0.001):
            os.truncate(path, 5000)
            stop.wait(0.001)
            with path.open("r+b") as file:
                file.write(contents)

    changing = threading.Thread(target=change)
    changing.start()
    try:
        said = output_of(code, path)
    finally:
        stop.set()
        changing.join()
    (answers,) = said
    # A hole of zeros, while it grows again, is a wrong checksum.
    assert set(answers.split()) <= {"right", "TruncatedError", "ChecksumError"}


# A file that is replaced


@pytest.mark.parametrize("mmap", [True, False], ids=["mmap", "pread"])
def test_replaced_by_rename_the_old_values_stay(tmp_path: Path, mmap: bool) -> None:
    path = write_v2(tmp_path)
    with open_checkpoint(path, mmap=mmap) as ckpt:
        array = ckpt["x"]
        other = path.with_name("other")
        other.write_bytes(bytes(path.stat().st_size))
        os.replace(other, path)
        assert ckpt["x"].tobytes() == array.tobytes() == VALUES.tobytes()
        assert ckpt["p"].tobytes() == VALUES.tobytes()
        assert ckpt.verify().ok


@pytest.mark.parametrize("mmap", [True, False], ids=["mmap", "pread"])
def test_a_v1_file_replaced_by_rename(tmp_path: Path, mmap: bool) -> None:
    prefix = write_v1_set(tmp_path, 2)
    path = Path(f"{prefix}-00001-of-00002")
    with open_checkpoint(prefix, mmap=mmap) as ckpt:
        other = path.with_name("other")
        other.write_bytes(bytes(path.stat().st_size))
        os.replace(other, path)
        assert ckpt["v00001"].tolist() == [1, -1]
        assert ckpt.verify().ok


# Signals


class Alarms:
    """A signal handler in Python that is called a thousand times a second."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.count = 0
        self.then = then

    def __enter__(self) -> Alarms:
        self.before = signal.signal(signal.SIGALRM, self.count_one)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        return self

    def count_one(self, *_: object) -> None:
        self.count += 1
        self.then()

    def stop(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)

    def __exit__(self, *_: object) -> None:
        self.stop()
        signal.signal(signal.SIGALRM, self.before)


@pytest.mark.parametrize("mmap", [True, False], ids=["mmap", "pread"])
def test_reads_go_on_after_signals(tmp_path: Path, mmap: bool) -> None:
    big = np.arange(1 << 23, dtype="i4")  # 32 MiB
    prefix = write_bundle(tmp_path, {"x": big})
    with open_checkpoint(prefix, mmap=mmap) as ckpt, Alarms() as alarms:
        while alarms.count < 20:
            assert ckpt.verify().ok
        alarms.stop()
        assert ckpt["x"].tobytes() == big.tobytes()


class ComeBackLater(Exception):
    """The exception that a handler raises."""


@pytest.mark.parametrize("mmap", [True, False], ids=["mmap", "pread"])
def test_what_a_handler_raises_passes_and_the_checkpoint_goes_on(
    tmp_path: Path, mmap: bool, request: pytest.FixtureRequest
) -> None:
    def complain() -> None:
        # Not at every alarm: the next one must not interrupt `Alarms.__exit__`.
        if alarms.count % 50 == 1:
            raise ComeBackLater

    # pytest reports an exception that is raised inside a callback of the garbage collector
    # (hypothesis has one) as a failure: without collections, no callback is ever interrupted.
    gc.disable()
    request.addfinalizer(gc.enable)
    alarms = Alarms(complain)
    prefix = write_bundle(tmp_path, {"x": np.arange(1 << 20, dtype="i4")})
    with open_checkpoint(prefix, mmap=mmap) as ckpt:
        with pytest.raises(ComeBackLater), alarms:
            while True:
                ckpt.verify()
        assert ckpt.verify().ok
        assert ckpt["x"][-1] == (1 << 20) - 1


def test_an_interrupted_read_that_is_not_taken_up_again_is_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python retries interrupted reads; a file system may still report one."""

    def interrupt(*_: object) -> bytes:
        raise InterruptedError(errno.EINTR, os.strerror(errno.EINTR))

    path = write_v2(tmp_path)
    with open_checkpoint(path, mmap=False) as ckpt:
        with monkeypatch.context() as patched:
            patched.setattr(ckptparse.sources.pread, "_pread", interrupt)
            with pytest.raises(UnreadableError) as error:
                ckpt["x"]
        assert (error.value.errno, error.value.file) == (errno.EINTR, str(path))
        assert error.value.offset == ckpt.info("x").offset
        assert error.value.tensor == "x"
        assert ckpt["x"].tobytes() == VALUES.tobytes()


@pytest.mark.parametrize("at_most", [1, 4096, 5000])
def test_reads_that_give_less_than_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_most: int
) -> None:
    whole = ckptparse.sources.pread._pread
    monkeypatch.setattr(
        ckptparse.sources.pread, "_pread", lambda fd, n, at: whole(fd, min(n, at_most), at)
    )
    prefix = write_bundle(tmp_path, {"x": VALUES[:2000]})
    with open_checkpoint(prefix, mmap=False) as ckpt:
        assert ckpt["x"].tobytes() == VALUES[:2000].tobytes()


def test_a_read_that_gives_nothing_is_truncated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_v2(tmp_path)
    with open_checkpoint(path, mmap=False) as ckpt:
        monkeypatch.setattr(ckptparse.sources.pread, "_pread", lambda *_: b"")
        with pytest.raises(TruncatedError) as error:
            ckpt["x"]
        assert error.value.file == str(path)
