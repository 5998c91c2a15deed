"""Checkpoints at URLs, through fsspec."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from urllib.parse import unquote

import fsspec
import numpy as np
import pytest

from ckptparse import (
    CheckpointNotFoundError,
    DataLossError,
    MissingShardError,
    TruncatedError,
    UnreadableError,
    UnsupportedError,
    open_checkpoint,
    save_checkpoint,
)
from ckptparse.sources import files_for
from support.oracle import load_case, payload_of

CASES = [
    "tf-1.15.5/vgg_16",
    "tf-2.21.0/max_shard_size",
    "tf-1.15.5/v1_sharded",
    "tf-2.21.0/strings",
]


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    """fsspec's file system in memory, with copies of some cases."""
    system = fsspec.filesystem("memory")
    for name in CASES:
        for path in load_case(name).folder.iterdir():
            system.pipe(f"/{name}/{path.name}", path.read_bytes())
    yield system
    system.rm("/", recursive=True)


@pytest.mark.parametrize("name", CASES)
def test_a_url_reads_like_a_path(memory: fsspec.AbstractFileSystem, name: str) -> None:
    case = load_case(name)
    with open_checkpoint(f"memory://{name}/{case.path.name}") as ckpt:
        assert list(ckpt) == [tensor.name for tensor in case.tensors]
        for tensor in case.tensors:
            assert payload_of(ckpt[tensor.name]) == tensor.payload
            assert not ckpt.info(tensor.name).mapped
        assert ckpt.verify().ok
        assert ckpt.files[0].startswith("memory://")


def test_a_directory_at_a_url(memory: fsspec.AbstractFileSystem) -> None:
    with open_checkpoint("memory://tf-1.15.5/vgg_16") as ckpt:
        assert len(ckpt) == 34


def test_a_part_asks_for_its_bytes_only(
    memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    cat_file = type(memory).cat_file

    def count(self, path, start=None, end=None, **options):
        asked.append((path.rsplit(".", 1)[-1], end - start))
        return cat_file(self, path, start=start, end=end, **options)

    monkeypatch.setattr(type(memory), "cat_file", count)
    with open_checkpoint("memory://tf-1.15.5/vgg_16/model.ckpt", verify=False) as ckpt:
        part = ckpt.read("vgg_16/fc6/weights", np.s_[3])
    assert part.shape == (7, 6, 12)
    assert [size for kind, size in asked if kind.startswith("data")] == [part.nbytes]


def test_a_checked_tensor_is_read_once(
    memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    cat_file = type(memory).cat_file

    def count(self, path, start=None, end=None, **options):
        asked.append((path.rsplit(".", 1)[-1][:5], start, end))
        return cat_file(self, path, start=start, end=end, **options)

    monkeypatch.setattr(type(memory), "cat_file", count)
    with open_checkpoint("memory://tf-1.15.5/vgg_16/model.ckpt") as ckpt:
        assert len(asked) == 3  # footer, index block, one block of entries
        ckpt["vgg_16/fc6/weights"]
    assert len(asked) == 4


def test_an_answer_that_is_too_long_is_not_damage(
    memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = type(memory).cat_file
    monkeypatch.setattr(type(memory), "cat_file", lambda self, path, **_: whole(self, path))
    with pytest.raises(UnreadableError, match="ignored the byte range"):
        open_checkpoint("memory://tf-1.15.5/vgg_16/model.ckpt")


def test_nothing_there(memory: fsspec.AbstractFileSystem) -> None:
    with pytest.raises(CheckpointNotFoundError, match=r"memory://tf-1\.15\.5/vgg_16/modle\.ckpt"):
        open_checkpoint("memory://tf-1.15.5/vgg_16/modle.ckpt")


def test_a_missing_shard(memory: fsspec.AbstractFileSystem) -> None:
    memory.rm("/tf-1.15.5/vgg_16/model.ckpt.data-00000-of-00001")
    ckpt = open_checkpoint("memory://tf-1.15.5/vgg_16/model.ckpt")
    with pytest.raises(MissingShardError):
        ckpt["global_step"]


def test_a_short_answer_is_an_error(
    memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    cat_file = type(memory).cat_file
    monkeypatch.setattr(type(memory), "cat_file", lambda *a, **k: cat_file(*a, **k)[:-1])
    with pytest.raises(TruncatedError):
        open_checkpoint("memory://tf-1.15.5/vgg_16/model.ckpt")


def test_trouble_of_the_storage(
    memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("token expired")

    monkeypatch.setattr(type(memory), "cat_file", fail)
    with pytest.raises(UnreadableError, match="token expired"):
        open_checkpoint("memory://tf-1.15.5/vgg_16/model.ckpt")


@pytest.mark.parametrize("nbytes", [1 << 12, 1 << 25], ids=["small", "large"])
def test_trouble_in_one_of_several_ranges(
    memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch, nbytes: int
) -> None:
    """Ranges that are asked for at once: fsspec returns their errors, unless told to raise them."""
    arrays = {name: np.zeros(nbytes, "u1") for name in "abcdefgh"}
    save_checkpoint("memory://run/m.ckpt", arrays)
    cat_file = type(memory).cat_file

    def fail(self, path, start=None, end=None, **options):
        if ".data" in path and start <= 6 * nbytes + 1000 < end:
            raise RuntimeError("token expired")
        return cat_file(self, path, start=start, end=end, **options)

    monkeypatch.setattr(type(memory), "cat_file", fail)
    with open_checkpoint("memory://run/m.ckpt") as ckpt:
        assert np.array_equal(ckpt["a"], arrays["a"])
        with pytest.raises(UnreadableError, match="token expired"):
            ckpt["g"]
        read = []
        with pytest.raises(UnreadableError, match="token expired") as error:
            read.extend(name for name, _ in ckpt.items())
        assert read == list("abcdef")
        assert error.value.tensor == "g"
        assert [damage.name for damage in ckpt.verify().damaged] == ["g"]


@pytest.mark.parametrize(
    "said",
    [None, {}, {"size": None}, {"size": "many"}, {"size": -1}, {"size": float("inf")}, [], 7],
    ids=repr,
)
def test_a_size_that_is_none(
    memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch, said: object
) -> None:
    monkeypatch.setattr(type(memory), "info", lambda *_, **__: said)
    monkeypatch.setattr(type(memory), "isfile", lambda *_, **__: True)
    with pytest.raises(UnreadableError, match="size of this file is unknown") as error:
        open_checkpoint("memory://tf-1.15.5/vgg_16/model.ckpt")
    assert error.value.file == "memory://tf-1.15.5/vgg_16/model.ckpt.index"


@pytest.mark.parametrize("more", [-1, 1, 1000])
def test_a_size_that_is_wrong(
    memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    """The footer is then missing or misplaced: an error that names the right file."""
    info = type(memory).info

    def lie(self, path, **options):
        said = info(self, path, **options)
        return {**said, "size": said["size"] + more} if said["size"] else said

    monkeypatch.setattr(type(memory), "info", lie)
    with pytest.raises(DataLossError) as error:
        open_checkpoint("memory://tf-1.15.5/vgg_16/model.ckpt")
    assert error.value.file == "memory://tf-1.15.5/vgg_16/model.ckpt.index"


@pytest.mark.parametrize("function", ["isfile", "isdir", "ls", "info", "cat_file"])
@pytest.mark.parametrize(
    "trouble",
    [OSError(errno.ESTALE, "stale"), TimeoutError(errno.ETIMEDOUT, "slow"), KeyError("x")],
    ids=["ESTALE", "ETIMEDOUT", "KeyError"],
)
def test_trouble_anywhere_is_unreadable(
    memory: fsspec.AbstractFileSystem,
    monkeypatch: pytest.MonkeyPatch,
    function: str,
    trouble: Exception,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise trouble

    if function == "info":  # which some versions of fsspec ask in `isfile`, where they expect it
        monkeypatch.setattr(type(memory), "isfile", lambda *_, **__: True)
    monkeypatch.setattr(type(memory), function, fail)
    name = "model.ckpt" if function in ("isfile", "info", "cat_file") else "v1.ckpt"
    with pytest.raises(UnreadableError, match=type(trouble).__name__) as error:
        open_checkpoint(f"memory://tf-1.15.5/vgg_16/{name}")
    assert error.value.errno == getattr(trouble, "errno", None)
    assert error.value.file.startswith("memory://tf-1.15.5/vgg_16")


@pytest.mark.parametrize("function", ["isfile", "isdir", "ls", "info"])
def test_a_question_answered_by_not_found_is_no(
    memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    def deny(*_: object, **__: object) -> None:
        raise FileNotFoundError("gone")

    monkeypatch.setattr(type(memory), function, deny)
    name = "model.ckpt" if function in ("isfile", "info") else "v1.ckpt"
    with pytest.raises(CheckpointNotFoundError):
        open_checkpoint(f"memory://tf-1.15.5/vgg_16/{name}")


STATES = [
    "../secret/model.ckpt",
    "a/../../secret/model.ckpt",
    "..\\\\secret\\\\model.ckpt",
    "%2e%2e/secret/model.ckpt",
    "%2E%2E%2Fsecret/model.ckpt",
    "/secret/model.ckpt",
    "/etc/passwd",
    "file:///etc/passwd",
    "http://127.0.0.1:9/secret/model.ckpt",
    "..",
]
ABSOLUTE = ["memory://secret/model.ckpt", "memory:///secret/model.ckpt", "memory://run2/model.ckpt"]


@pytest.fixture
def asked(memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the paths that the storage is asked for; `run` is an untrusted directory in it."""
    for path in load_case("tf-1.15.5/vgg_16").folder.iterdir():
        for folder in ("secret", "run2"):
            memory.pipe(f"/{folder}/{path.name}", path.read_bytes())
    paths: list[str] = []
    for function in ("isfile", "isdir", "ls", "info", "cat_file"):
        real = getattr(type(memory), function)

        def note(self, path, *rest, real=real, **options):
            paths.append(path)
            return real(self, path, *rest, **options)

        monkeypatch.setattr(type(memory), function, note)
    return paths


def led_out(asked: list[str]) -> list[str]:
    """The paths that are neither in `run` nor above it, and not `run` as a prefix."""
    places = ["/" + unquote(path).removeprefix("memory:").strip("/\\") for path in asked]
    return [
        place
        for place in places
        if ".." in place.replace("\\", "/").split("/")
        or not (place in ("/", "/run", "/run.index") or place.startswith("/run/"))
    ]


@pytest.mark.parametrize("confined", [False, True], ids=["default", "confined"])
@pytest.mark.parametrize("latest", [*STATES, *ABSOLUTE])
def test_state_files_at_urls_lead_nowhere_else(
    memory: fsspec.AbstractFileSystem, asked: list[str], latest: str, confined: bool
) -> None:
    """An absolute path in the same storage is followed, unless confined."""
    memory.pipe("/run/checkpoint", f'model_checkpoint_path: "{latest}"'.encode())
    if latest in ABSOLUTE and not confined:
        assert len(open_checkpoint("memory://run")) == 34
        return
    with pytest.raises(CheckpointNotFoundError, match="leads out of its directory"):
        open_checkpoint("memory://run", confined=confined)
    assert asked
    assert led_out(asked) == []


@pytest.mark.parametrize("path", ["memory://run", "memory://run/model.ckpt", "memory://run/"])
def test_a_confined_url_reads_what_is_there(
    memory: fsspec.AbstractFileSystem, asked: list[str], path: str
) -> None:
    for file in load_case("tf-1.15.5/vgg_16").folder.iterdir():
        memory.pipe(f"/run/{file.name}", file.read_bytes())
    memory.pipe("/run/checkpoint", b'model_checkpoint_path: "model.ckpt"')
    with open_checkpoint(path, confined=True) as ckpt:
        assert ckpt.verify().ok
        assert ckpt.meta_graph is not None
    assert led_out(asked) == []


@pytest.mark.parametrize(
    ("path", "is_inside"),
    [
        ("http://host/run", True),
        ("http://host/run/", True),
        ("http://host/run/a/b", True),
        ("http://host/run/..a", True),
        ("http://host/run2/a", False),
        ("http://host/run/../a", False),
        ("http://host/run/a/..", False),
        ("http://host/run/%2e%2e/a", False),
        ("http://host/run/..%2fa", False),
        ("http://host/run/..%5Ca", False),
        ("http://host/run/..\\a", False),
        ("http://host", False),
        ("http://other/run/a", False),
        ("https://host/run/a", False),
        ("/run/a", False),
        ("", False),
    ],
)
def test_what_is_inside_of_a_url(path: str, is_inside: bool) -> None:
    files = files_for("memory://", mmap=False).within("http://host/run/")
    assert files.allows(path) is is_inside
    if not is_inside:
        for ask in (files.open, files.list_names):
            with pytest.raises(UnreadableError, match="out of the directory"):
                ask(path)


def test_confined_files_of_this_machine_are_given_by_their_paths() -> None:
    """A URL does not show where links lead."""
    url = f"file://{load_case('tf-1.15.5/vgg_16').prefix}"
    with open_checkpoint(url) as ckpt:
        assert len(ckpt) == 34
    with pytest.raises(UnsupportedError, match="a path"):
        open_checkpoint(url, confined=True)


@pytest.mark.parametrize("said", [None, 7])
def test_a_listing_that_is_none(
    memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch, said: object
) -> None:
    monkeypatch.setattr(type(memory), "ls", lambda *_, **__: said)
    with pytest.raises(UnreadableError, match=r"listing .* is of unknown form") as error:
        open_checkpoint("memory://tf-1.15.5/vgg_16/v1.ckpt")
    assert error.value.file == "memory://tf-1.15.5/vgg_16"


def test_an_unknown_protocol() -> None:
    with pytest.raises((UnreadableError, ImportError)):
        open_checkpoint("nosuchprotocol://bucket/model.ckpt")


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    monkeypatch.delitem(sys.modules, "ckptparse.sources.remote", raising=False)
    with pytest.raises(ImportError, match=r"ckptparse\[remote\]"):
        open_checkpoint("gs://bucket/model.ckpt")
