"""URLs that chain file systems: where suffixes go, and how many bytes each kind reads.

fsspec's own file systems run over one that counts (`counting_files`).  docs/paths.md has the same
figures.
"""

from __future__ import annotations

import gc
import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from fsspec.spec import AbstractFileSystem

from ckptparse import CheckpointNotFoundError, UnsupportedError, open_checkpoint
from ckptparse.sources.remote import ChainedUrl, split_chain
from support.builders import write_bundle
from support.counting_files import counted
from support.oracle import load_case, payload_of

# fsspec leaves some of its own files to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

CASE = "tf-1.15.5/vgg_16"
SIZE = 2_500_000
NBYTES = 4 * SIZE


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Collect garbage here, so that those files are not closed in the middle of another test."""
    yield
    AbstractFileSystem.clear_instance_cache()
    for system in all_subclasses(AbstractFileSystem):
        if system.__name__ != "MemoryFileSystem":
            system.clear_instance_cache()
    gc.collect()


def all_subclasses(cls: type) -> Iterator[type]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from all_subclasses(subclass)


def pack_zip(files: dict[str, bytes], compression: int) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression) as archive:
        for name, contents in files.items():
            archive.writestr(name, contents)
    return packed.getvalue()


def pack_tar(files: dict[str, bytes], mode: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:
        for name, contents in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(contents)
            archive.addfile(member, io.BytesIO(contents))
    return packed.getvalue()


PACKERS: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "file.zip": lambda files: pack_zip(files, zipfile.ZIP_STORED),
    "deflated.zip": lambda files: pack_zip(files, zipfile.ZIP_DEFLATED),
    "file.tar": lambda files: pack_tar(files, "w"),
    "file.tar.gz": lambda files: pack_tar(files, "w:gz"),
}


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with archives of a checkpoint that TensorFlow wrote, at their root and in `p/`."""
    folder = tmp_path_factory.mktemp("archives")
    files = {path.name: path.read_bytes() for path in load_case(CASE).folder.iterdir()}
    files = {name: files[name] for name in files if name.startswith(("model.ckpt", "checkpoint"))}
    files.update({f"p/{name}": contents for name, contents in files.items()})
    for name, pack in PACKERS.items():
        (folder / name).write_bytes(pack(files))
    refs = {f"p/{path.name}": [path.as_uri()] for path in load_case(CASE).folder.iterdir()}
    (folder / "refs.json").write_text(json.dumps({"version": 1, "refs": refs}))
    memory = fsspec.filesystem("memory")
    for name in PACKERS:
        memory.pipe(f"/archives/{name}", (folder / name).read_bytes())
    for name, contents in files.items():
        memory.pipe(f"/archives/{name}", contents)
    return folder


URLS = [
    "zip://model.ckpt::{folder}/file.zip",
    "zip://p/model.ckpt::{folder}/deflated.zip",
    "zip://p/model.ckpt.index::{folder}/file.zip",
    "zip://p/model.ckpt.data-00000-of-00001::{folder}/file.zip",
    "zip://p::{folder}/file.zip",
    "zip://p/::{folder}/file.zip",
    "zip://::{folder}/file.zip",
    "zip::{folder}/file.zip",
    "zip://p/checkpoint::{folder}/file.zip",
    "tar://p/model.ckpt::{folder}/file.tar",
    "tar://p/model.ckpt::{folder}/file.tar.gz",
    "tar://p::{folder}/file.tar.gz",
    "zip://p/model.ckpt::memory://archives/file.zip",
    "simplecache::memory://archives/p/model.ckpt",
    "simplecache::memory://archives/p",
    "filecache::memory://archives/p/model.ckpt",
    "zip://p/model.ckpt::simplecache::memory://archives/file.zip",
    "simplecache::zip://p/model.ckpt::memory://archives/file.zip",
    "reference://p/model.ckpt::{folder}/refs.json",
]


@pytest.mark.parametrize("confined", [False, True], ids=["open", "confined"])
@pytest.mark.parametrize("url", URLS)
def test_a_chained_url_reads_like_a_path(archives: Path, url: str, confined: bool) -> None:
    case = load_case(CASE)
    with open_checkpoint(url.format(folder=archives), confined=confined) as ckpt:
        assert list(ckpt) == [tensor.name for tensor in case.tensors]
        for tensor in case.tensors[:3]:
            assert payload_of(ckpt[tensor.name]) == tensor.payload
        assert ckpt.meta_graph.tensorflow_version == "1.15.5"
        again = ckpt.path
    with open_checkpoint(again) as ckpt:
        assert ckpt.path == again
        with fsspec.open(ckpt.info("global_step").file) as file:
            assert len(file.read()) == 28_996


def test_blocks_are_cached_of_files_of_this_machine(archives: Path) -> None:
    url = f"blockcache::{load_case(CASE).prefix.as_uri()}"
    with open_checkpoint(url) as ckpt:
        assert len(ckpt) == 34
    with pytest.raises(UnsupportedError, match="confined"):
        open_checkpoint(url, confined=True)


def test_an_error_names_urls_that_could_be_opened(archives: Path) -> None:
    with pytest.raises(CheckpointNotFoundError) as error:
        open_checkpoint(f"zip://p/modle.ckpt::{archives}/file.zip")
    assert f"Did you mean zip://p/model.ckpt::{archives}/file.zip?" in error.value.message
    assert f"zip://p/modle.ckpt.index::{archives}/file.zip" in error.value.expected


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("s3://b/m", ("", "s3://b/m", "")),
        ("zip://m::s3://b/f.zip", ("", "zip://m", "::s3://b/f.zip")),
        ("simplecache::s3://b/m", ("simplecache::", "s3://b/m", "")),
        ("simplecache::zip://m::f.zip", ("simplecache::", "zip://m", "::f.zip")),
        ("zip://m::simplecache::s3://f", ("", "zip://m", "::simplecache::s3://f")),
        ("blockcache://::http://h/m", ("blockcache://::", "http://h/m", "")),
        ("zip::f.zip", ("", "zip://", "::f.zip")),
        ("simplecache::/f/m", ("simplecache::", "/f/m", "")),
    ],
)
def test_which_part_is_the_path(url: str, parts: tuple[str, str, str]) -> None:
    assert split_chain(url) == ChainedUrl(*parts)


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Files of a checkpoint of four tensors of 10 MB, plain and in archives."""
    folder = tmp_path_factory.mktemp("remote")
    noise = np.random.default_rng(0).standard_normal((4, SIZE)).astype("f4")
    write_bundle(folder, dict(zip("abcd", noise)), name="m")
    files = {f"run/{path.name}": path.read_bytes() for path in folder.iterdir()}
    refs = {name: [f"counted://{name}"] for name in files}
    packed = {name: pack(files) for name, pack in PACKERS.items()}
    return {**files, **packed, "refs": json.dumps({"version": 1, "refs": refs}).encode()}


BLOCK = 5 << 20
"""fsspec reads ahead, or caches, in blocks of this size."""


@pytest.mark.parametrize(
    ("url", "num_opening", "most_opening", "most_reading"),
    [
        ("counted://run/m", 3, 300, NBYTES),
        ("reference://run/m::{refs}", 3, 300, NBYTES),
        ("blockcache::counted://run/m", 1, 300, NBYTES + 2 * BLOCK),
        ("zip://run/m::counted://file.zip", 4, BLOCK + 1000, 3 * NBYTES + BLOCK // 2),
        ("tar://run/m::counted://file.tar", 5, 4 * BLOCK + 10_000, NBYTES + 2 * BLOCK),
    ],
    ids=["plain", "reference", "blockcache", "zip", "tar"],
)
def test_lazy_chains(
    remote: dict[str, bytes],
    tmp_path: Path,
    url: str,
    num_opening: int,
    most_opening: int,
    most_reading: int,
) -> None:
    (tmp_path / "refs.json").write_bytes(remote["refs"])
    options = {"cache_storage": str(tmp_path)} if url.startswith("blockcache") else {}
    with counted(remote) as ranges:
        ckpt = open_checkpoint(url.format(refs=tmp_path / "refs.json"), storage_options=options)
        assert len(ranges) <= num_opening
        assert sum(nbytes for *_, nbytes in ranges) <= most_opening
        ranges.clear()
        assert ckpt["c"].shape == (SIZE,)
        assert len(ranges) <= 3
        assert sum(nbytes for *_, nbytes in ranges) <= most_reading


@pytest.mark.parametrize(
    ("url", "fetched"),
    [
        ("simplecache::counted://run/m", ["run/m.index", "run/m.data-00000-of-00001"]),
        ("filecache::counted://run/m", ["run/m.index", "run/m.data-00000-of-00001"]),
        ("zip://run/m::simplecache::counted://file.zip", ["file.zip"]),
    ],
    ids=["simplecache", "filecache", "zip in simplecache"],
)
def test_caches_of_files_fetch_each_file_once_and_whole(
    remote: dict[str, bytes], tmp_path: Path, url: str, fetched: list[str]
) -> None:
    protocol = "filecache" if url.startswith("filecache") else "simplecache"
    options = {protocol: {"cache_storage": str(tmp_path)}}
    with counted(remote) as ranges:
        with open_checkpoint(url, storage_options=options) as ckpt:
            for name in ckpt:
                assert ckpt[name].shape == (SIZE,)
        assert ranges == [(name, 0, len(remote[name])) for name in fetched]


@pytest.mark.parametrize(
    "archive", ["zip://run/m::counted://deflated.zip", "tar://run/m::counted://file.tar.gz"]
)
def test_compressed_archives_are_read_from_their_beginning(
    remote: dict[str, bytes], archive: str
) -> None:
    with counted(remote) as ranges:
        ckpt = open_checkpoint(archive)
        assert ckpt["c"].shape == (SIZE,)
    assert sum(nbytes for *_, nbytes in ranges) > 2 * NBYTES
