"""Files that are not regular or not readable, in every place where a file is opened.

One child process asks all questions, so that a question that hangs fails the test.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from ckptparse import (
    CheckpointNotFoundError,
    MissingShardError,
    NotACheckpointError,
    UnreadableError,
    open_checkpoint,
)
from support.builders import write_bundle
from support.children import output_of
from support.shard_sets import write_v1_set, write_v2_set

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs files that Windows does not have")

# What takes the place of a file

Make = Callable[[Path], None]


def make_socket(path: Path) -> None:
    # A socket's path is short, so it is bound elsewhere and moved.
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as bound:
        bound.bind(f"{folder}/s")
        shutil.move(f"{folder}/s", path)


def make_endless_links(path: Path) -> None:
    other = path.with_name("other")
    path.symlink_to(other)
    other.symlink_to(path)


KINDS: dict[str, Make] = {
    "directory": lambda path: path.mkdir(),
    "FIFO": os.mkfifo,
    "socket": make_socket,
    "endless zeros": lambda path: path.symlink_to("/dev/zero"),
    "full device": lambda path: path.symlink_to("/dev/full"),
    "terminal": lambda path: path.symlink_to("/dev/tty"),
    "link to itself": lambda path: path.symlink_to(path),
    "endless links": make_endless_links,
    "link to nothing": lambda path: path.symlink_to(path.with_name("nothing")),
}
ENDLESS = ("link to itself", "endless links")

# Places, and the question that needs the file there

OPEN = "open_checkpoint({path!r}).close()"
READ_LAST = "open_checkpoint({path!r})[{name!r}]"
GRAPH = "open_checkpoint({path!r}).meta_graph.variables"


def at_index(folder: Path) -> tuple[Path, str]:
    prefix = write_bundle(folder, {"x": np.ones(2, "f4")})
    return Path(f"{prefix}.index"), OPEN.format(path=str(prefix))


def at_shard(folder: Path) -> tuple[Path, str]:
    prefix = write_bundle(folder, {"x": np.ones(2, "f4")})
    path = Path(f"{prefix}.data-00000-of-00001")
    return path, READ_LAST.format(path=str(prefix), name="x")


def at_late_shard(folder: Path) -> tuple[Path, str]:
    """A data file that is opened for every read."""
    prefix = write_v2_set(folder, 130)
    path = Path(f"{prefix}.data-00129-of-00130")
    return path, READ_LAST.format(path=str(prefix), name="v00129")


def at_v1_file(folder: Path) -> tuple[Path, str]:
    return folder / "v1.ckpt", OPEN.format(path=str(folder / "v1.ckpt"))


def at_v1_shard(folder: Path) -> tuple[Path, str]:
    prefix = write_v1_set(folder, 2)
    return Path(f"{prefix}-00001-of-00002"), OPEN.format(path=str(prefix))


def at_late_v1_shard(folder: Path) -> tuple[Path, str]:
    prefix = write_v1_set(folder, 130)
    return Path(f"{prefix}-00129-of-00130"), OPEN.format(path=str(prefix))


def at_state(folder: Path) -> tuple[Path, str]:
    write_bundle(folder, {"x": np.ones(2, "f4")})
    return folder / "checkpoint", OPEN.format(path=str(folder))


def at_meta(folder: Path) -> tuple[Path, str]:
    prefix = write_bundle(folder, {"x": np.ones(2, "f4")})
    return Path(f"{prefix}.meta"), GRAPH.format(path=str(prefix))


def at_saved_model(folder: Path) -> tuple[Path, str]:
    (folder / "variables").mkdir()
    write_bundle(folder / "variables", {"x": np.ones(2, "f4")}, name="variables")
    return folder / "saved_model.pb", OPEN.format(path=str(folder))


def at_variables(folder: Path) -> tuple[Path, str]:
    (folder / "saved_model.pb").touch()
    return folder / "variables", OPEN.format(path=str(folder))


def at_path(folder: Path) -> tuple[Path, str]:
    return folder / "x", OPEN.format(path=str(folder / "x"))


PLACES = (
    at_index,
    at_shard,
    at_late_shard,
    at_v1_file,
    at_v1_shard,
    at_late_v1_shard,
    at_state,
    at_meta,
    at_saved_model,
    at_variables,
    at_path,
)
OPENED = (at_shard, at_late_shard, at_v1_shard, at_late_v1_shard)
"""Known by name from elsewhere, and opened; the others are only looked for."""

ASK = """
    import json, sys
    from google.protobuf import text_format
    from ckptparse import CheckpointError, metagraph, open_checkpoint, train
    from ckptparse.messages.compiled import FILES
    from ckptparse.messages.pool import load

    for name in FILES:  # while everything can still be imported
        load(name)
    with open(sys.argv[1]) as file:
        questions = json.load(file)
    if sys.argv[2:]:
        import os
        os.setgroups([]), os.setgid(int(sys.argv[2])), os.setuid(int(sys.argv[2]))
    for key, question in questions:
        try:
            exec(question)
            answer = ["no error"]
        except CheckpointError as error:
            answer = [type(error).__name__, error.file, getattr(error, "errno", None)]
        except Exception as error:
            answer = [repr(error)]
        print(json.dumps([key, answer]), flush=True)
"""

Answers = dict[str, list[object]]


def ask_all(file: Path, questions: list[tuple[str, str]], *arguments: object) -> Answers:
    """The answers to questions, by their keys."""
    file.write_text(json.dumps(questions))
    return dict(map(json.loads, output_of(ASK, file, *arguments)))


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """The answers for every place and every kind of file."""
    root = tmp_path_factory.mktemp("special")
    questions = []
    for kind, make in KINDS.items():
        for place in PLACES:
            folder = root / f"{place.__name__}-{kind}"
            folder.mkdir()
            path, question = place(folder)
            path.unlink(missing_ok=True)
            make(path)
            questions.append((f"{place.__name__}, {kind}", question))
    return ask_all(root / "questions", questions)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_special_files_are_errors_at_once(answers: Answers, place: object, kind: str) -> None:
    said = answers[f"{place.__name__}, {kind}"]
    if place is at_meta:  # nothing there that could be a graph: `meta_graph` is None
        assert said == ["AttributeError(\"'NoneType' object has no attribute 'variables'\")"]
        return
    if place in (at_state, at_saved_model) and kind == "directory":
        assert said == ["no error"]  # without a state file, the only checkpoint is meant
        return
    error_name, file, number = said
    if place not in OPENED:
        expected = CheckpointNotFoundError, errno.ENOENT
    elif kind in ENDLESS:
        expected = UnreadableError, errno.ELOOP
    elif kind == "link to nothing":  # a V1 set is whole by its names, and then it is not
        v2 = place in (at_shard, at_late_shard)
        expected = MissingShardError if v2 else CheckpointNotFoundError, errno.ENOENT
    else:
        expected = NotACheckpointError, None
    assert (error_name, number) == (expected[0].__name__, expected[1])
    assert file is not None


def test_what_is_opened_is_named(tmp_path: Path) -> None:
    for place in OPENED:
        folder = tmp_path / place.__name__
        folder.mkdir()
        path, question = place(folder)
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(NotACheckpointError) as error:
            exec(question, {"open_checkpoint": open_checkpoint})
        assert error.value.file == str(path)


def test_a_device_is_not_even_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a device may rewind a tape or start a watchdog."""
    path, question = at_shard(tmp_path)
    path.unlink()
    path.symlink_to("/dev/zero")
    opened: list[object] = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda file, *rest: opened.append(file) or real(file, *rest))
    with pytest.raises(NotACheckpointError):
        exec(question, {"open_checkpoint": open_checkpoint})
    assert f"{tmp_path / 'model.ckpt.index'}" in opened
    assert str(path) not in opened


def test_a_fifo_that_appears_when_a_file_is_opened(tmp_path: Path) -> None:
    """It was a regular file when it was examined; opening must still not wait for a writer."""
    code = """
        import os, sys
        from ckptparse import NotACheckpointError
        from ckptparse.sources import LocalFiles
        path, look = sys.argv[1], os.stat

        def swap(file):
            status = look(file)
            if file == path:
                os.unlink(path), os.mkfifo(path)
            return status

        os.stat = swap
        try:
            LocalFiles(mmap=True).open(path)
        except NotACheckpointError as error:
            print(error.found)
    """
    path = tmp_path / "file"
    path.write_bytes(b"x")
    assert output_of(code, path) == ["a FIFO, socket or device"]


def test_state_files_of_train_that_are_no_files(tmp_path: Path) -> None:
    """The result is None, with a warning if anything is there, as for a state file that is invalid.

    TensorFlow's reader waits for the writer of a FIFO for ever.
    """
    questions = []
    for kind, make in KINDS.items():
        folder = tmp_path / kind
        folder.mkdir()
        make(folder / "checkpoint")
        questions.append((kind, f"assert train.latest_checkpoint({str(folder)!r}) is None"))
    said = ask_all(tmp_path / "questions", questions)
    for kind, (answer, *_) in said.items():
        if kind in (*ENDLESS, "link to nothing"):
            assert answer == "no error"
        else:  # warnings are errors here
            assert answer.startswith("UserWarning('checkpoint state ignored: ")
            assert "not a regular file" in answer
    assert said.keys() == KINDS.keys()


# Files without permission


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that any user may enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)
        for path in Path(folder).rglob("*"):
            path.chmod(0o755)


def test_files_without_permission_are_unreadable(public: Path) -> None:
    """Run as a user other than root, because root may read everything."""
    questions, paths = [], {}
    for place in (at_index, *OPENED, at_v1_file, at_state, at_meta):
        folder = public / place.__name__
        folder.mkdir()
        path, question = place(folder)
        path.touch()
        for file in folder.iterdir():
            file.chmod(0o644)
        path.chmod(0)
        questions.append((place.__name__, question))
        paths[place.__name__] = str(path)
    for name, mode in {"listed": 0o444, "entered": 0o111, "closed": 0}.items():
        folder = public / name
        folder.mkdir()
        prefix = write_bundle(folder, {"x": np.ones(2, "f4")})
        for file in folder.iterdir():
            file.chmod(0o644)
        folder.chmod(mode)
        questions.append((f"{name}, there", OPEN.format(path=str(prefix))))
        questions.append((f"{name}, not there", OPEN.format(path=str(folder / "y"))))
        paths[f"{name}, there"] = f"{prefix}.index"
        paths[f"{name}, not there"] = f"{folder / 'y'}.index"
    nobody = [65534] if os.geteuid() == 0 else []
    said = ask_all(public / "questions", questions, *nobody)
    (public / "questions").unlink()
    # The names in such a folder can be used, only not listed.
    assert said.pop("entered, there") == ["no error"]
    paths.pop("entered, there")
    paths["entered, not there"] = str(public / "entered")
    assert said == {key: ["UnreadableError", path, errno.EACCES] for key, path in paths.items()}


# Disks and networks that fail


def failing(number: int, name: str) -> Callable[..., object]:
    """Make a function of `os` fail for files whose names contain this."""
    real = getattr(os, name)

    def fail(file: object, *rest: object, **options: object) -> object:
        path = os.readlink(f"/proc/self/fd/{file}") if isinstance(file, int) else os.fspath(file)
        if "model.ckpt" in os.path.basename(path) or path.endswith("broken"):
            raise OSError(number, os.strerror(number))
        return real(file, *rest, **options)

    return fail


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="finds paths in /proc")
@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE], ids=["EIO", "ESTALE"])
class TestTrouble:
    @pytest.fixture
    def prefix(self, tmp_path: Path) -> Path:
        folder = tmp_path / "broken"
        folder.mkdir()
        return write_bundle(folder, {"x": np.arange(5, dtype="f4")})

    @pytest.mark.parametrize("function", ["stat", "open", "pread", "fstat"])
    def test_of_the_index(
        self, prefix: Path, number: int, function: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if function == "pread":
            monkeypatch.setattr("ckptparse.sources.pread._pread", failing(number, function))
        else:
            monkeypatch.setattr(os, function, failing(number, function))
        with pytest.raises(UnreadableError) as error:
            open_checkpoint(prefix)
        assert (error.value.errno, error.value.file) == (number, f"{prefix}.index")

    @pytest.mark.parametrize("mmap", [True, False])
    @pytest.mark.parametrize("function", ["stat", "open"])
    def test_of_a_shard(
        self,
        prefix: Path,
        number: int,
        function: str,
        mmap: bool,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        shard = f"{prefix}.data-00000-of-00001"
        with open_checkpoint(prefix, mmap=mmap) as ckpt:
            with monkeypatch.context() as patched:
                patched.setattr(os, function, failing(number, function))
                with pytest.raises(UnreadableError) as error:
                    ckpt["x"]
            said = error.value.errno, error.value.file, error.value.tensor
            assert said == (number, shard, "x")
            assert ckpt["x"].tolist() == [0, 1, 2, 3, 4]  # it passes

    @pytest.mark.parametrize("function", ["pread", "fstat"])
    def test_of_a_shard_that_is_open(
        self, prefix: Path, number: int, function: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with open_checkpoint(prefix, mmap=False) as ckpt:
            ckpt["x"]
            with monkeypatch.context() as patched:
                if function == "pread":
                    patched.setattr("ckptparse.sources.pread._pread", failing(number, function))
                else:
                    patched.setattr(os, function, failing(number, function))
                with pytest.raises(UnreadableError) as error:
                    ckpt["x"]
            said = error.value.errno, error.value.file, error.value.tensor
            assert said == (number, f"{prefix}.data-00000-of-00001", "x")
            assert ckpt["x"].tolist() == [0, 1, 2, 3, 4]

    def test_of_a_map(self, prefix: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file that cannot be mapped is read by position; one of unknown size is not read."""
        import mmap

        class Stale(mmap.mmap):
            def size(self) -> int:
                raise OSError(number, os.strerror(number))

        def refuse(*_: object, **__: object) -> None:
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patched:
            patched.setattr(mmap, "mmap", refuse)
            with open_checkpoint(prefix) as ckpt:
                assert ckpt["x"].tolist() == [0, 1, 2, 3, 4]
        with monkeypatch.context() as patched:
            patched.setattr(mmap, "mmap", Stale)
            with open_checkpoint(prefix) as ckpt, pytest.raises(UnreadableError) as error:
                ckpt["x"]
        assert error.value.errno == number
        assert error.value.file == f"{prefix}.data-00000-of-00001"

    @pytest.mark.parametrize("path", ["", "nothing"], ids=["directory", "prefix"])
    def test_of_a_listing(
        self, prefix: Path, number: int, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One cannot tell whether a checkpoint is there."""
        monkeypatch.setattr(os, "listdir", failing(number, "listdir"))
        with pytest.raises(UnreadableError) as error:
            open_checkpoint(prefix.parent / path)
        assert error.value.errno == number
        assert error.value.file.rstrip("/") == str(prefix.parent)

    @pytest.mark.parametrize("function", ["stat", "open"])
    def test_of_a_graph(
        self, prefix: Path, number: int, function: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A graph may exist, so None would be wrong."""
        path = Path(f"{prefix}.meta")
        path.touch()
        with open_checkpoint(prefix) as ckpt:
            monkeypatch.setattr(os, function, failing(number, function))
            with pytest.raises(UnreadableError) as error:
                ckpt.meta_graph  # noqa: B018  # a property that reads
        assert error.value.errno == number
        assert error.value.file.startswith(str(prefix))


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE], ids=["EMFILE", "ENFILE"])
def test_when_no_descriptor_is_to_be_had(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = write_bundle(tmp_path, {"x": np.ones(2, "f4")})
    with open_checkpoint(prefix) as ckpt:
        monkeypatch.setattr(os, "open", failing(number, "open"))
        with pytest.raises(UnreadableError) as error:
            ckpt["x"]
    assert (error.value.errno, error.value.tensor) == (number, "x")
    with pytest.raises(UnreadableError) as error:
        open_checkpoint(prefix)
    assert (error.value.errno, error.value.file) == (number, f"{prefix}.index")


def test_a_fifo_is_a_fifo() -> None:
    """Check that the kinds above are what their names say."""
    with tempfile.TemporaryDirectory() as folder:
        for kind, check in {"FIFO": stat.S_ISFIFO, "socket": stat.S_ISSOCK}.items():
            KINDS[kind](Path(folder, kind))
            assert check(os.stat(Path(folder, kind)).st_mode)
    assert sys.platform != "win32"
