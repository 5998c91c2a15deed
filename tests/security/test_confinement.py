"""Confinement: the files that a state file, an index or a SavedModel can make the library open."""

from __future__ import annotations

import builtins
import errno
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from ckptparse import (
    CheckpointError,
    CheckpointNotFoundError,
    UnreadableError,
    open_checkpoint,
    train,
)
from ckptparse.commands import main
from ckptparse.sources import LocalFiles
from support.builders import write_bundle
from support.directories import value_at, write_escaped_state, write_value
from support.shard_sets import write_v1_set

INSIDE, OUTSIDE = 1.0, 666.0

needs_links = pytest.mark.skipif(os.name == "nt", reason="making links needs a privilege there")
both = pytest.mark.parametrize("confined", [False, True], ids=["default", "confined"])


# What was opened, and what was asked for


@dataclass
class Touched:
    """Records every path that this process passes to the operating system, with links resolved."""

    roots: list[Path]
    paths: list[str] = field(default_factory=list)

    def note(self, path: object, *, follow: bool) -> None:
        if isinstance(path, int):
            return
        place = os.path.join(os.getcwd(), os.fsdecode(path))
        folder, name = os.path.split(place)
        self.paths.append(real_path(place) if follow else os.path.join(real_path(folder), name))

    @property
    def outside(self) -> list[str]:
        """Those that are neither in the roots nor on the way to them.

        A directory's own path could also be a prefix, so its index is looked for next to it.
        """
        roots = [real_path(root) for root in self.roots]
        return [
            path
            for path in self.paths
            if path not in [f"{root}.index" for root in roots]
            and not any(path == root or path.startswith(f"{root}{os.sep}") for root in roots)
            and not any(root.startswith(path.rstrip(os.sep) + os.sep) for root in roots)
        ]


def real_path(path: str | Path) -> str:
    """`os.path.realpath` without being recorded."""
    with unpatched():
        return os.path.realpath(path)


class unpatched:
    """Suspend the recorder while it resolves a path itself."""

    depth = 0

    def __enter__(self) -> None:
        unpatched.depth += 1

    def __exit__(self, *_: object) -> None:
        unpatched.depth -= 1


FOLLOWING = [(os, "stat"), (os, "open"), (os, "listdir"), (os, "scandir"), (builtins, "open")]
NOT_FOLLOWING = [(os, "lstat"), (os, "readlink")]


@pytest.fixture
def touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Touched]:
    """Record what is touched from here on; only `run` is allowed."""
    seen = Touched([tmp_path / "run"])

    def record(module: object, name: str, follow: bool) -> None:
        real = getattr(module, name)

        def call(path: object = ".", *rest: object, **options: object) -> object:
            if not unpatched.depth:
                with unpatched():
                    seen.note(path, follow=follow and options.get("follow_symlinks", True))
            return real(path, *rest, **options)

        monkeypatch.setattr(module, name, call)

    for module, name in FOLLOWING:
        record(module, name, True)
    for module, name in NOT_FOLLOWING:
        record(module, name, False)
    yield seen
    monkeypatch.undo()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """An untrusted directory, next to one that it must not reach."""
    for name in ("model.ckpt", "x", "secret"):
        write_value(tmp_path / "outside", OUTSIDE, name)
    write_v1_set(tmp_path / "outside", 2)
    shutil.copytree(tmp_path / "outside", tmp_path / "run" / "sub" / "outside")
    shutil.rmtree(tmp_path / "run" / "sub" / "outside")
    return tmp_path / "run"


def test_the_recorder_sees_what_is_opened_outside(run: Path, touched: Touched) -> None:
    write_escaped_state(run, str(run.parent / "outside" / "model.ckpt"))
    touched.paths.clear()
    assert value_at(run) == OUTSIDE
    assert {os.path.basename(path) for path in touched.outside} >= {
        "model.ckpt.index",
        "model.ckpt.data-00000-of-00001",
    }


# State files

CLIMBING = [
    "../outside/model.ckpt",
    "sub/../../outside/model.ckpt",
    "./../outside/model.ckpt",
    "..//outside//model.ckpt",
    "..\\outside\\model.ckpt",
    "sub\\..\\..\\outside\\model.ckpt",
    "../outside/model.ckpt.index",
    "../outside/model.ckpt.data-00000-of-00001",
    "../outside/v1.ckpt",
    "../outside/v1.ckpt-00000-of-00002",
    "../outside/v1.ckpt-?????-of-00002",
    "../outside/v1.ckpt-?????-of-?????",
    "../" * 5000 + "outside/model.ckpt",
    "../outside/model.ckpt\0",
    "../outside/\x1b[31m",
    "../../../../../../../../etc/passwd",
]
ODD = [
    "..",
    "../",
    "sub/..",
    "../run/..",
    ".",
    "./",
    "\0",
    "model.ckpt\0",
    "a" * 5000,
    "a/" * 5000,
    "\x1b]0;title\x07",
    "a\nb",
    "\u202eabc",
    "~/x",
    "~root/x",
    "$HOME/x",
    "%2e%2e/outside/model.ckpt",
    "*",
    "[x]",
    "?????-of-00002",
    "-00000-of-00001",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    "CON",
    "C:x",
    "C:..\\x",
    "x:y",
    "checkpoint",
    "con.index",
]
NOT_OF_THIS_MACHINE = [
    "file:///etc/passwd",
    "memory://outside/model.ckpt",
    "http://127.0.0.1:9/model.ckpt",
    "gs://bucket/model.ckpt",
    "x://../../outside/model.ckpt",
    "local://outside/model.ckpt",
]


def shorten(text: object) -> str:
    return ascii(text)[:40]


@both
@pytest.mark.parametrize("latest", [*CLIMBING, *ODD, *NOT_OF_THIS_MACHINE], ids=shorten)
def test_no_path_in_a_state_file_leads_out(
    run: Path,
    touched: Touched,
    latest: str | bytes,
    confined: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By default an absolute path may lead out, a relative one may not."""
    (run / "x:").mkdir()  # so that `x://..` would lead somewhere
    monkeypatch.chdir(run)
    write_escaped_state(run, latest)
    touched.paths.clear()
    with pytest.raises(CheckpointError) as error:
        open_checkpoint(run, confined=confined).meta_graph  # noqa: B018  # a property that reads
    assert touched.paths
    assert touched.outside == []
    assert error.value.file is not None


@both
@pytest.mark.parametrize("latest", CLIMBING[:2], ids=shorten)
def test_the_error_says_what_the_state_file_named(run: Path, latest: str, confined: bool) -> None:
    write_escaped_state(run, latest)
    with pytest.raises(CheckpointNotFoundError, match="leads out of its directory") as error:
        open_checkpoint(run, confined=confined)
    assert repr(latest) in str(error.value)
    assert "Open that path itself" in str(error.value)
    assert error.value.file == str(run / "checkpoint")


@both
@pytest.mark.parametrize(
    "latest", ["../gone/model.ckpt", "..\\gone\\model.ckpt", "/gone/model.ckpt"]
)
def test_a_file_of_that_name_beside_the_state_file_is_taken(
    run: Path, latest: str, confined: bool
) -> None:
    """As in a directory that was moved."""
    write_value(run, INSIDE)
    write_escaped_state(run, latest)
    assert value_at(run, confined=confined) == INSIDE


@both
@pytest.mark.parametrize("latest", ["sub/model.ckpt", "./sub/../sub/model.ckpt", "sub//model.ckpt"])
def test_a_path_below_the_directory_is_followed(run: Path, latest: str, confined: bool) -> None:
    write_value(run / "sub", INSIDE)
    write_escaped_state(run, latest)
    assert value_at(run, confined=confined) == INSIDE


@both
def test_an_absolute_path_below_the_directory_is_followed(run: Path, confined: bool) -> None:
    write_escaped_state(run, str(write_value(run / "sub", INSIDE)))
    assert value_at(run, confined=confined) == INSIDE


@pytest.mark.parametrize("way", ["{}", "{}/../outside", "/{}", "{}/."])
def test_an_absolute_path_elsewhere_is_followed_unless_confined(
    run: Path, touched: Touched, way: str
) -> None:
    outside = way.format(run.parent / "outside") + "/model.ckpt"
    write_escaped_state(run, outside)
    assert value_at(run) == OUTSIDE
    touched.paths.clear()
    with pytest.raises(CheckpointNotFoundError, match="leads out") as error:
        open_checkpoint(run, confined=True)
    assert repr(outside) in str(error.value)
    assert touched.outside == []


def test_train_follows_what_tensorflow_follows(run: Path) -> None:
    """`ckptparse.train` promises the results of TensorFlow."""
    write_escaped_state(run, "../outside/model.ckpt")
    assert train.load_variable(run, "x")[0] == OUTSIDE


def test_a_checkpoint_called_like_the_directory_above(run: Path, touched: Touched) -> None:
    """`..` would be a prefix, whose graph would then be looked for above."""
    write_value(run, INSIDE, "..")
    assert (run / "...index").exists()
    (run.parent / "saved_model.pb").write_bytes(b"")
    for latest in ("..", "sub/.."):
        write_escaped_state(run, latest)
        touched.paths.clear()
        with pytest.raises(CheckpointError):
            open_checkpoint(run).meta_graph  # noqa: B018  # a property that reads
        assert touched.outside == []


# Indexes and SavedModels


@both
def test_names_of_tensors_are_never_paths(run: Path, touched: Touched, confined: bool) -> None:
    names = ["../outside/model.ckpt", str(run.parent / "outside/x"), "..", "/etc/passwd", "a\0b"]
    tensors = {name: np.full(2, INSIDE, "f4") for name in names}
    prefix = write_bundle(run, tensors)
    touched.paths.clear()
    with open_checkpoint(prefix, confined=confined) as ckpt:
        assert {float(ckpt[name][0]) for name in names} == {INSIDE}
        assert ckpt.verify().ok
        assert ckpt.meta_graph is None
        assert "nothing like it" not in ckpt
    assert touched.outside == []


@both
def test_a_saved_model_is_its_own_directory(run: Path, touched: Touched, confined: bool) -> None:
    write_value(run / "variables", INSIDE, "variables")
    (run / "saved_model.pb").write_bytes(b"")
    (run.parent / "saved_model.pb").write_bytes(b"")
    touched.paths.clear()
    with open_checkpoint(run, confined=confined) as ckpt:
        assert ckpt["x"][0] == INSIDE
        with pytest.raises(CheckpointError) as error:
            ckpt.meta_graph  # noqa: B018  # a property that reads
    assert error.value.file == str(run / "saved_model.pb")
    assert touched.outside == []


def test_the_graph_above_a_prefix_is_not_looked_for_when_confined(
    run: Path, touched: Touched
) -> None:
    """The graph of `dir/variables/variables` is in `dir`, outside the confined directory."""
    prefix = write_value(run / "variables", INSIDE, "variables")
    (run / "saved_model.pb").write_bytes(b"")
    touched.roots = [run / "variables"]
    touched.paths.clear()
    with open_checkpoint(prefix, confined=True) as ckpt:
        assert ckpt.meta_graph is None
    assert touched.outside == []


# Links


def link_index(run: Path) -> tuple[Path, Path]:
    prefix = write_value(run, INSIDE)
    return prefix, Path(f"{prefix}.index")


def link_shard(run: Path) -> tuple[Path, Path]:
    prefix = write_value(run, INSIDE)
    return prefix, Path(f"{prefix}.data-00000-of-00001")


def link_v1_file(run: Path) -> tuple[Path, Path]:
    shards = write_v1_set(run, 1)
    path = Path(f"{shards}-00000-of-00001").rename(run / "v1")
    return path, path


def link_v1_shard(run: Path) -> tuple[Path, Path]:
    prefix = write_v1_set(run, 2)
    return prefix, Path(f"{prefix}-00001-of-00002")


def link_state(run: Path) -> tuple[Path, Path]:
    write_value(run, INSIDE)
    write_escaped_state(run, "model.ckpt")
    return run, run / "checkpoint"


def link_folder(run: Path) -> tuple[Path, Path]:
    write_value(run / "folder", INSIDE)
    write_escaped_state(run, "folder/model.ckpt")
    return run, run / "folder"


def link_variables(run: Path) -> tuple[Path, Path]:
    write_value(run / "variables", INSIDE, "variables")
    (run / "saved_model.pb").touch()
    return run, run / "variables"


def link_saved_model(run: Path) -> tuple[Path, Path]:
    write_value(run / "variables", INSIDE, "variables")
    (run / "saved_model.pb").touch()
    return run, run / "saved_model.pb"


def link_meta(run: Path) -> tuple[Path, Path]:
    prefix = write_value(run, INSIDE)
    meta = Path(f"{prefix}.meta")
    meta.touch()
    return prefix, meta


LINKS: list[Callable[[Path], tuple[Path, Path]]] = [
    link_index,
    link_shard,
    link_v1_file,
    link_v1_shard,
    link_state,
    link_folder,
    link_variables,
    link_saved_model,
    link_meta,
]


def link_absolute(path: Path, target: Path) -> None:
    path.symlink_to(target.resolve())


def link_relative(path: Path, target: Path) -> None:
    path.symlink_to(os.path.relpath(target, path.parent))


def link_twice(path: Path, target: Path) -> None:
    step = path.with_name("step")
    step.symlink_to(target)
    path.symlink_to("step")


def link_around(path: Path, target: Path) -> None:
    """A link that goes through a directory and out of it again."""
    relative = os.path.relpath(target, path.parent)
    path.symlink_to(os.path.join("sub", "..", relative))


WAYS = [link_absolute, link_relative, link_twice, link_around]


def read_all(path: Path, **options: object) -> object:
    with open_checkpoint(path, **options) as ckpt:
        return [array.tolist() for array in ckpt.values()], ckpt.meta_graph is None


@needs_links
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("make", LINKS, ids=lambda make: make.__name__)
def test_links_that_lead_out(run: Path, touched: Touched, make: Callable, way: Callable) -> None:
    path, linked = make(run)
    before = answer_of(path)
    target = run.parent / f"moved-{linked.name}"
    linked.rename(target)
    way(linked, target)
    assert answer_of(path) == before  # by default links are followed
    touched.paths.clear()
    with pytest.raises(UnreadableError, match="out of the directory") as error:
        read_all(path, confined=True)
    assert error.value.errno == errno.EACCES
    assert error.value.file.startswith(str(linked))
    assert touched.outside == []


def answer_of(path: Path) -> object:
    try:
        return read_all(path)
    except CheckpointError as error:  # of an empty graph
        return str(error)


@needs_links
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("make", LINKS, ids=lambda make: make.__name__)
def test_links_that_stay_inside(run: Path, touched: Touched, make: Callable, way: Callable) -> None:
    path, linked = make(run)
    before = answer_of(path)
    target = run / "sub" / linked.name
    linked.rename(target)
    way(linked, target)
    touched.paths.clear()
    try:
        after = read_all(path, confined=True)
    except CheckpointError as error:
        after = str(error)
    assert after == before
    assert touched.outside == []


@needs_links
def test_a_file_that_is_opened_for_every_read_becomes_a_link(run: Path, touched: Touched) -> None:
    prefix = write_v1_set(run, 130)
    path = Path(f"{prefix}-00129-of-00130")
    with open_checkpoint(prefix, confined=True) as ckpt:
        assert ckpt["v00129"].tolist() == [129, -129]
        path.rename(run.parent / "moved")
        path.symlink_to(run.parent / "moved")
        (damage,) = ckpt.verify(["v00129"]).damaged
    assert isinstance(damage.error, UnreadableError)
    assert (damage.error.errno, damage.error.file) == (errno.EACCES, str(path))
    assert touched.outside == []


@needs_links
def test_endless_links(run: Path, touched: Touched) -> None:
    prefix, index = link_index(run)
    index.unlink()
    index.symlink_to("b")
    (run / "b").symlink_to(index.name)
    with pytest.raises(UnreadableError) as error:
        open_checkpoint(prefix, confined=True)
    assert (error.value.errno, error.value.file) == (errno.ELOOP, str(index))
    index.unlink()
    index.symlink_to("gone")
    with pytest.raises(CheckpointNotFoundError):
        open_checkpoint(prefix, confined=True)
    assert touched.outside == []


@needs_links
@pytest.mark.skipif(not os.path.isdir("/proc/self/root"), reason="needs such a link")
def test_links_of_the_system_itself(run: Path, touched: Touched) -> None:
    """A link into /proc can lead anywhere; it is not even looked at."""
    prefix, index = link_index(run)
    index.unlink()
    index.symlink_to(f"/proc/self/root{prefix}.index")
    with pytest.raises(UnreadableError):
        open_checkpoint(prefix, confined=True)
    assert touched.outside == []


# What the user says


@needs_links
def test_links_on_the_way_to_the_directory_are_the_users_own(run: Path, tmp_path: Path) -> None:
    write_value(run, INSIDE)
    write_escaped_state(run, "model.ckpt")
    (tmp_path / "latest").symlink_to(run)
    assert value_at(tmp_path / "latest", confined=True) == INSIDE
    assert value_at(tmp_path / "latest" / "model.ckpt", confined=True) == INSIDE
    assert value_at(tmp_path / "latest" / "sub" / ".." / "model.ckpt", confined=True) == INSIDE
    write_escaped_state(run, str(run / "model.ckpt"))
    assert value_at(tmp_path / "latest", confined=True) == INSIDE


def test_paths_of_every_kind(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_value(run, INSIDE)
    write_escaped_state(run, "model.ckpt")
    monkeypatch.chdir(run)
    for path in (".", "", "./", "model.ckpt", "./model.ckpt.index", "sub/..", "../run", "../run/"):
        if path:
            assert value_at(path, confined=True) == INSIDE
    monkeypatch.chdir(run / "sub")
    assert value_at("..", confined=True) == INSIDE
    assert value_at("../model.ckpt", confined=True) == INSIDE


def test_a_prefix_that_is_also_a_directory_is_the_prefix(run: Path) -> None:
    prefix = write_value(run, INSIDE)
    write_value(prefix, OUTSIDE)
    assert value_at(prefix) == value_at(prefix, confined=True) == INSIDE
    write_escaped_state(prefix, "model.ckpt")
    assert value_at(f"{prefix}/") == value_at(f"{prefix}/", confined=True) == OUTSIDE


@both
@pytest.mark.parametrize(
    "name", ["a\0b", "\ud800", "a" * 5000, "\x1b[2J", "a\nb", "*", ""], ids=shorten
)
def test_what_no_file_can_be_called(run: Path, name: str, confined: bool) -> None:
    with pytest.raises(CheckpointNotFoundError):
        open_checkpoint(f"{run}/{name}", confined=confined)


@needs_links
def test_it_survives_pickling_and_a_change_of_directory(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, shard = link_shard(run)
    monkeypatch.chdir(run)
    with open_checkpoint("model.ckpt", confined=True) as ckpt:
        monkeypatch.chdir("/")
        assert ckpt["x"][0] == INSIDE
        with pickle.loads(pickle.dumps(ckpt)) as other:
            shard.rename(run.parent / "moved")
            shard.symlink_to(run.parent / "moved")
            with pytest.raises(UnreadableError, match="out of the directory"):
                other["x"]


def test_a_graph_is_found_after_a_change_of_directory(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path keeps its meaning, confined or not."""
    prefix = write_value(run, INSIDE)
    Path(f"{prefix}.meta").write_bytes(b"\x0a\x00")
    for confined in (False, True):
        monkeypatch.chdir(run)
        with open_checkpoint("model.ckpt", confined=confined) as ckpt:
            monkeypatch.chdir("/")
            assert ckpt.meta_graph is not None


# While it is opened


@needs_links
def test_a_folder_that_becomes_a_link_while_a_file_is_opened(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_value(run / "sub", INSIDE)
    real = os.open

    def swap_and_open(path: str, *rest: object) -> int:
        if os.path.basename(path) == "model.ckpt.index":
            (run / "sub").rename(run / "away")
            (run / "sub").symlink_to(run.parent / "outside")
        return real(path, *rest)

    files = LocalFiles(mmap=True).within(str(run))
    files.open(str(run / "sub" / "model.ckpt.index")).close()
    monkeypatch.setattr(os, "open", swap_and_open)
    with pytest.raises(UnreadableError, match=r"outside|moved"):
        files.open(str(run / "sub" / "model.ckpt.index"))


@needs_links
def test_a_folder_that_is_swapped_back_in_time(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The opened file is compared with the file at the path."""
    write_value(run / "sub", INSIDE)
    real = os.open

    def swap_open_and_swap_back(path: str, *rest: object) -> int:
        (run / "sub").rename(run / "away")
        (run / "sub").symlink_to(run.parent / "outside")
        descriptor = real(path, *rest)
        (run / "sub").unlink()
        (run / "away").rename(run / "sub")
        return descriptor

    files = LocalFiles(mmap=True).within(str(run))
    monkeypatch.setattr(os, "open", swap_open_and_swap_back)
    with pytest.raises(UnreadableError, match="moved while it was opened"):
        files.open(str(run / "sub" / "model.ckpt.index"))


# The command line


@needs_links
@pytest.mark.parametrize("command", ["ls", "tree", "show", "verify", "graph"])
def test_commands_take_it(run: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    prefix = write_value(run.parent / "outside", OUTSIDE, "secret")
    Path(f"{prefix}.meta").write_bytes(b"\x0a\x00")
    write_escaped_state(run, str(prefix))
    more = ["x"] if command == "show" else []
    assert main([command, str(run), *more]) == 0
    capsys.readouterr()
    assert main([command, "--confined", str(run), *more]) == 2
    assert "leads out of its directory" in capsys.readouterr().err


@needs_links
def test_the_graph_command_takes_no_link_that_leads_out(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prefix, meta = link_meta(run)
    meta.unlink()
    outside = run.parent / "graph.meta"
    outside.write_bytes(b"\x0a\x00")
    meta.symlink_to(outside)
    assert main(["graph", str(prefix)]) == 0
    assert main(["graph", str(prefix), "--confined"]) == 2
    assert "out of the directory" in capsys.readouterr().err
