"""Checkpoints at URLs, through fsspec."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import fsspec
import numpy as np
import pytest

from ckptparse import (
    CheckpointNotFoundError,
    MissingShardError,
    TruncatedError,
    UnreadableError,
    open_checkpoint,
)
from oracle import load_case, payload_of

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
    with pytest.raises(UnreadableError, match="byte ranges"):
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


def test_an_unknown_protocol() -> None:
    with pytest.raises((UnreadableError, ImportError)):
        open_checkpoint("nosuchprotocol://bucket/model.ckpt")


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    monkeypatch.delitem(sys.modules, "ckptparse.sources.remote", raising=False)
    with pytest.raises(ImportError, match=r"ckptparse\[remote\]"):
        open_checkpoint("gs://bucket/model.ckpt")
