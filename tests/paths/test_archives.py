"""Checkpoints in archives."""

from __future__ import annotations

import copy
import gzip
import io
import os
import pickle
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from ckptparse import (
    Checkpoint,
    CheckpointError,
    CheckpointNotFoundError,
    NotACheckpointError,
    UnreadableError,
    UnsupportedError,
    open_checkpoint,
    save_checkpoint,
)
from ckptparse.opening import read_graph
from ckptparse.paths.archives import find_in_archive
from ckptparse.paths.locate import Found
from ckptparse.sources import LocalFiles
from ckptparse.sources.archive import open_archive
from support.children import output_of
from support.counting import DESCRIPTORS, num_descriptors
from support.repository import ROOT

FIXTURES = ROOT / "fixtures"
VGG = FIXTURES / "tf-1.15.5" / "vgg_16"

Files = Mapping[str, bytes]


def files_of(directory: Path, prefix: str = "") -> dict[str, bytes]:
    """Return the files of a directory, with their names in an archive."""
    return {
        prefix + path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.name.startswith("expected")
    }


def write_zip(path: Path, files: Files, method: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, contents in files.items():
            archive.writestr(name, contents)


def write_stored_zip(path: Path, files: Files) -> None:
    write_zip(path, files, zipfile.ZIP_STORED)


def write_tar(path: Path, files: Files, mode: str = "w") -> None:
    with tarfile.open(path, mode) as archive:
        for name, contents in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(contents)
            archive.addfile(info, io.BytesIO(contents))


def write_tar_gz(path: Path, files: Files) -> None:
    write_tar(path, files, "w:gz")


WRITERS: dict[str, Callable[[Path, Files], None]] = {
    "m.zip": write_zip,
    "stored.zip": write_stored_zip,
    "m.tar": write_tar,
    "m.tar.gz": write_tar_gz,
}


@pytest.fixture(params=WRITERS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def make(directory: Path, name: str, files: Files) -> str:
    path = directory / name
    WRITERS[name](path, files)
    return str(path)


def require_same(found: Checkpoint, expected: Checkpoint) -> None:
    assert list(found) == list(expected)
    for tensor, array in found.items():
        assert array.dtype == expected[tensor].dtype
        assert array.tobytes() == expected[tensor].tobytes()
        assert not array.flags.writeable


VGG_FILES = files_of(VGG, "vgg/")


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("confined", [True, False])
def test_it_is_the_checkpoint_inside(tmp_path: Path, name: str, mmap: bool, confined: bool) -> None:
    path = make(tmp_path, name, VGG_FILES)
    with (
        open_checkpoint(VGG) as expected,
        open_checkpoint(path, mmap=mmap, confined=confined) as found,
    ):
        require_same(found, expected)
        assert found.path == f"{path}/vgg/model.ckpt"
        assert found.files[0] == f"{path}/vgg/model.ckpt.index"
        is_mapped = mmap and name in ("stored.zip", "m.tar")
        for info in found.infos():
            assert info.mapped == is_mapped
            assert info.file == found.files[1]
            assert info.offset == expected.info(info.name).offset
        assert found.verify().ok
        assert found.meta_graph is not None
        assert found.meta_graph.tensorflow_version == "1.15.5"
        assert found.roles() == expected.roles()
        for again in (copy.copy(found), pickle.loads(pickle.dumps(found))):
            require_same(again, expected)
        array = found["vgg_16/conv1/conv1_1/weights"]
    assert array.tobytes() == expected_bytes("vgg_16/conv1/conv1_1/weights")
    graph_path, graph = read_graph(path, confined=confined)
    assert graph_path == f"{path}/vgg/model.ckpt.meta"
    assert graph.tensorflow_version == "1.15.5"


def expected_bytes(name: str) -> bytes:
    with open_checkpoint(VGG) as ckpt:
        return ckpt[name].tobytes()


@pytest.mark.parametrize(
    "case",
    [
        "tf-1.15.5/v1_sharded",
        "tf-2.13.1/backbone_head",
        "tf-2.21.0/max_shard_size",
        "tf-2.21.0/strings",
        "tf-2.13.1/keras_saved_model",
    ],
)
def test_other_checkpoints(tmp_path: Path, name: str, case: str) -> None:
    path = make(tmp_path, name, files_of(FIXTURES / case, "./"))
    with open_checkpoint(FIXTURES / case) as expected, open_checkpoint(path) as found:
        assert list(found) == list(expected)
        for tensor, array in expected.items():
            np.testing.assert_array_equal(found[tensor], array)
        assert found.verify().ok
        assert (found.object_graph is None) == (expected.object_graph is None)


@pytest.mark.parametrize(
    "inner", ["vgg/model.ckpt", "vgg", "vgg/", "vgg/checkpoint", "vgg/model.ckpt.index", ""]
)
def test_paths_into_an_archive(tmp_path: Path, name: str, inner: str) -> None:
    path = make(tmp_path, name, VGG_FILES)
    with open_checkpoint(f"{path}/{inner}", confined=True) as ckpt:
        assert ckpt.path.replace("//", "/") == f"{path}/vgg/model.ckpt"
    assert read_graph(f"{path}/vgg/model.ckpt")[0] == f"{path}/vgg/model.ckpt.meta"


def test_a_name_does_not_matter(tmp_path: Path, name: str) -> None:
    path = make(tmp_path, name, VGG_FILES)
    other = tmp_path / "no suffix"
    os.rename(path, other)
    with open_checkpoint(other) as ckpt:
        assert ckpt.path == f"{other}/vgg/model.ckpt"
    with open_checkpoint(other / "vgg") as ckpt:
        assert ckpt.path == f"{other}/vgg/model.ckpt"


def test_relative_paths(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, name, VGG_FILES)
    monkeypatch.chdir(tmp_path)
    with open_checkpoint(name) as ckpt:
        assert ckpt.path == f"{name}/vgg/model.ckpt"
        again = pickle.dumps(ckpt)
    monkeypatch.chdir("/")
    with pickle.loads(again) as ckpt:
        assert ckpt.path == f"{tmp_path}/{name}/vgg/model.ckpt"


def error_of(path: str, **options: object) -> CheckpointError:
    with pytest.raises(CheckpointError) as raised:
        open_checkpoint(path, **options)  # type: ignore[arg-type]
    assert raised.value.file is not None
    return raised.value


def renamed(files: Files, old: str, new: str) -> dict[str, bytes]:
    return {key.replace(old, new): contents for key, contents in files.items()}


WITHOUT_STATE = {key: each for key, each in VGG_FILES.items() if not key.endswith("/checkpoint")}


def test_several_are_listed_as_they_can_be_given(tmp_path: Path, name: str) -> None:
    files = {
        **WITHOUT_STATE,
        **renamed(WITHOUT_STATE, "vgg/model", "vgg/deeper/other"),
        "vgg/frozen.pb": b"",
        "a/weights.npz": b"",
        **renamed(VGG_FILES, "vgg/", "with state/"),
    }
    path = make(tmp_path, name, files)
    error = error_of(path)
    assert type(error) is CheckpointNotFoundError
    expected = [
        f"{path}/a/weights.npz",
        f"{path}/vgg/deeper/other.ckpt",
        f"{path}/vgg/frozen.pb",
        f"{path}/vgg/model.ckpt",
        f"{path}/with state",
    ]
    listed = error.message.partition(": ")[2].removesuffix(". Give one of them").split(", ")
    assert sorted(listed) == expected
    for each in expected[1], expected[3], expected[4]:
        with open_checkpoint(each) as ckpt:
            assert len(ckpt) == 34
    assert error.found == "5 checkpoints"
    with open_checkpoint(f"{path}/vgg/deeper") as ckpt:
        assert len(ckpt) == 34
    assert str(error_of(path, format="npz")).count("weights.npz") >= 1


def test_format_restricts_the_search(tmp_path: Path, name: str) -> None:
    path = make(tmp_path, name, {**WITHOUT_STATE, "vgg/frozen.pb": b"", "graph.pbtxt": b"node {}"})
    with open_checkpoint(path, format="v2") as ckpt:
        assert ckpt.path == f"{path}/vgg/model.ckpt"
    assert type(error_of(path, format="v1")) is CheckpointNotFoundError


def test_a_state_file_decides(tmp_path: Path, name: str) -> None:
    files = {
        **VGG_FILES,
        **renamed(WITHOUT_STATE, "vgg/model", "vgg/older"),
        "vgg/frozen_inference_graph.pb": b"",
        "vgg/saved_model/saved_model.pb": b"",
    }
    with open_checkpoint(make(tmp_path, name, files)) as ckpt:
        assert ckpt.path.endswith("/vgg/model.ckpt")


def test_nothing_found(tmp_path: Path, name: str) -> None:
    path = make(tmp_path, name, {"a/README.md": b"text", "b.txt": b"text"})
    error = error_of(path)
    assert type(error) is CheckpointNotFoundError
    assert error.found == "only a/README.md, b.txt"
    if name != "m.tar":  # nothing but zeros
        assert error_of(make(tmp_path, name, {})).found == "an empty archive"


TRICKS = [
    "/model.ckpt.index",
    "../model.ckpt.index",
    "a/../../model.ckpt.index",
    "a/../model.ckpt.index",
    "a\\model.ckpt.index",
    "..\\model.ckpt.index",
    "C:/model.ckpt.index",
    "C:model.ckpt.index",
    "//host/share/model.ckpt.index",
    "d/" * 33 + "model.ckpt.index",
]


@pytest.mark.parametrize("trick", TRICKS, ids=range(len(TRICKS)))
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str, trick: str) -> None:
    (tmp_path / "model.ckpt.index").write_bytes(VGG_FILES["vgg/model.ckpt.index"])
    before = sorted(tmp_path.iterdir())
    path = make(tmp_path, name, {trick: VGG_FILES["vgg/model.ckpt.index"]})
    error = error_of(path)
    assert type(error) is CheckpointNotFoundError
    assert "refused because of their names" in str(error.found)
    assert repr(trick) in str(error.found)
    for inner in (trick, "model.ckpt", f"../{name}/{trick}", "a/model.ckpt"):
        assert isinstance(error_of(f"{path}/{inner}"), CheckpointNotFoundError)
    with open_checkpoint(make(tmp_path, name, {**VGG_FILES, trick: b"other"})) as ckpt:
        assert len(ckpt) == 34
    assert sorted(tmp_path.iterdir()) == sorted([*before, Path(path)])


@pytest.mark.parametrize(
    "names",
    [
        ("m.ckpt.index", "./m.ckpt.index"),
        ("a/m.ckpt.index", "a//m.ckpt.index"),
        ("a/m.ckpt.index", "a/./m.ckpt.index", "b"),
        ("m.ckpt.index", "m.ckpt.index/below.ckpt.index"),
    ],
    ids=["dot", "slash", "dot inside", "file and directory"],
)
def test_names_that_contradict_each_other_are_refused(
    tmp_path: Path, name: str, names: tuple[str, ...]
) -> None:
    path = make(tmp_path, name, dict.fromkeys(names, VGG_FILES["vgg/model.ckpt.index"]))
    error = error_of(path)
    assert type(error) is CheckpointNotFoundError
    for each in names[:2]:
        assert repr(each) in str(error.found)
    assert isinstance(error_of(f"{path}/{names[0]}"), CheckpointNotFoundError)


def test_an_archive_in_an_archive_is_refused(tmp_path: Path, name: str) -> None:
    inner = Path(make(tmp_path, name, VGG_FILES)).read_bytes()
    path = make(tmp_path, name, {f"in/{name}": inner})
    for given in (path, f"{path}/in", f"{path}/in/{name}", f"{path}/in/{name}/vgg"):
        error = error_of(given)
        assert isinstance(error, UnsupportedError | CheckpointNotFoundError)
    error = error_of(path)
    assert type(error) is UnsupportedError
    assert error.file == f"{path}/in/{name}"
    assert "archive in an archive" in error.message


def test_a_file_of_pytorch_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    write_stored_zip(path, {"model/data.pkl": b"\x80\x02.", "model/data/0": b"1234"})
    error = error_of(str(path))
    assert type(error) is NotACheckpointError
    assert "PyTorch" in error.message


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (b"BZh91AY&SY", "bzip2"),
        (b"\xfd7zXZ\0\0\4", "xz"),
        (b"\x28\xb5\x2f\xfd\0", "Zstandard"),
        (b"7z\xbc\xaf\x27\x1c", "7z"),
        (b"Rar!\x1a\x07\x01", "RAR"),
    ],
    ids=["bz2", "xz", "zst", "7z", "rar"],
)
def test_other_archives_are_named(tmp_path: Path, contents: bytes, words: str) -> None:
    path = tmp_path / "model.tar.other"
    path.write_bytes(contents + bytes(1_000))
    error = error_of(str(path))
    assert type(error) is NotACheckpointError
    assert words in error.message
    assert "unpack it first" in error.message


def test_a_gzip_file_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt.gz"
    path.write_bytes(gzip.compress(b"something else" * 100))
    error = error_of(str(path))
    assert type(error) is NotACheckpointError
    assert "something else than a tar archive" in error.message


@pytest.mark.parametrize(
    ("names", "format"),
    [
        (["a.npy", "b/c.npy"], "npz"),
        (["config.json", "metadata.json", "model.weights.h5"], "keras"),
        (["a.npy", "README"], None),
        (["top/config.json", "top/model.weights"], None),
    ],
    ids=["npz", "keras", "no npz", "no keras"],
)
def test_zip_files_of_other_formats(tmp_path: Path, names: list[str], format: str | None) -> None:
    path = tmp_path / "m.zip"
    write_zip(path, dict.fromkeys(names, b"contents"))
    archive = open_archive(LocalFiles(mmap=True), str(path))
    if format is None:
        with pytest.raises(CheckpointNotFoundError):
            find_in_archive(archive, str(path), None)
        return
    for given in (str(path), f"{path}/"):
        assert find_in_archive(archive, given, None) == Found(format, str(path), (str(path),))
        assert find_in_archive(archive, given, format).format == format
        source = archive.open(given)
        assert bytes(source.read(0, source.nbytes)) == path.read_bytes()
        assert source.mapped


def test_a_prefix_comes_before_a_directory_of_its_name(tmp_path: Path, name: str) -> None:
    files = {**renamed(WITHOUT_STATE, "model.ckpt", "m"), "vgg/m/other.ckpt.index": b""}
    with open_checkpoint(make(tmp_path, name, files) + "/vgg/m") as ckpt:
        assert len(ckpt) == 34


def test_directories_are_not_searched_for_archives(tmp_path: Path, name: str) -> None:
    make(tmp_path, name, VGG_FILES)
    assert type(error_of(str(tmp_path))) is CheckpointNotFoundError


@pytest.mark.skipif(os.name == "nt", reason="makes symbolic links")
def test_confined_reading_follows_no_link_to_an_archive(tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / name).symlink_to(make(outside, name, VGG_FILES))
    with open_checkpoint(inside / name) as ckpt:
        assert len(ckpt) == 34
    for inner in ("", "/vgg", "/vgg/model.ckpt"):
        error = error_of(f"{inside}/{name}{inner}", confined=True)
        assert type(error) is (CheckpointNotFoundError if inner else UnreadableError)


@pytest.mark.skipif(not DESCRIPTORS.exists(), reason="counts descriptors in /proc")
def test_closing_a_checkpoint_closes_its_archive(tmp_path: Path, name: str) -> None:
    path = make(tmp_path, name, VGG_FILES)
    before = num_descriptors()
    for mmap in (True, False):
        ckpt = open_checkpoint(path, mmap=mmap)
        array = ckpt["vgg_16/mean_rgb"]
        ckpt.close()
        del array
        assert num_descriptors() == before
        with pytest.raises(ValueError, match="closed"):
            ckpt["vgg_16/mean_rgb"]


@pytest.mark.parametrize("confined", [True, False])
def test_other_files_are_not_touched(tmp_path: Path, name: str, confined: bool) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    path = make(folder, name, VGG_FILES)
    code = """
        import os, sys

        touched = set()

        def note(event, arguments):
            if event in ("open", "os.listdir", "os.scandir") and arguments[0] is not None:
                touched.add(os.fsdecode(arguments[0]) if isinstance(arguments[0], str) else "")

        from ckptparse import open_checkpoint
        import ckptparse.paths.archives, ckptparse.formats.saved_slices

        with open_checkpoint(sys.argv[1], mmap=False, confined=True) as ckpt:
            dict(ckpt.items())
            ckpt.verify()
        sys.addaudithook(note)
        with open_checkpoint(sys.argv[1], confined=sys.argv[2] == "True") as ckpt:
            dict(ckpt.items())
            ckpt.verify()
        print(sorted(touched))
    """
    assert output_of(code, path, confined) == [str([path])]


def test_a_state_file_does_not_lead_out(tmp_path: Path, name: str) -> None:
    for recorded in (f"{VGG}/model.ckpt", "../vgg_16/model.ckpt", "../../model.ckpt"):
        state = f'model_checkpoint_path: "{recorded}"\n'.encode()
        path = make(tmp_path, name, {"top/checkpoint": state})
        assert type(error_of(path)) is CheckpointNotFoundError


@pytest.mark.skipif(shutil.which("tar") is None, reason="needs tar")
@pytest.mark.parametrize(
    "options", [(), ("--format=posix",), ("--format=ustar",), ("--format=gnu",)], ids=str
)
def test_archives_of_gnu_tar(tmp_path: Path, options: tuple[str, ...]) -> None:
    for compress in ("cf", "czf"):
        path = tmp_path / "m.tar"
        subprocess.run(["tar", *options, f"-{compress}", path, "-C", VGG, "."], check=True)
        with open_checkpoint(VGG) as expected, open_checkpoint(path) as found:
            require_same(found, expected)


def test_nothing_is_saved_into_an_archive(tmp_path: Path, name: str) -> None:
    path = make(tmp_path, name, VGG_FILES)
    before = Path(path).read_bytes()
    for inner in ("vgg/model.ckpt", "new.ckpt"):
        with pytest.raises(CheckpointError):
            save_checkpoint(f"{path}/{inner}", {"x": [1.0]}, overwrite=True)
    assert Path(path).read_bytes() == before


def test_a_url(tmp_path: Path, name: str) -> None:
    fsspec = pytest.importorskip("fsspec")
    contents = Path(make(tmp_path, name, VGG_FILES)).read_bytes()
    fsspec.filesystem("memory").pipe_file(f"/archives/{name}", contents)
    url = f"memory://archives/{name}"
    for given in (url, f"{url}/vgg", f"{url}/vgg/model.ckpt"):
        for confined in (False, True):
            with open_checkpoint(VGG) as expected:
                found = open_checkpoint(given, confined=confined)
                require_same(found, expected)
                assert found.path == f"{url}/vgg/model.ckpt"
                assert found.verify().ok
                assert found.meta_graph is not None
                require_same(pickle.loads(pickle.dumps(found)), expected)
