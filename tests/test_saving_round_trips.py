"""Checkpoints that are saved and read again; replaced files; the state file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import fsspec
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ckptparse.train
from ckptparse import (
    CorruptCheckpointError,
    UnreadableError,
    merge,
    open_checkpoint,
    save_checkpoint,
)
from ckptparse.paths.state_file import parse_state
from ckptparse.tensors.partitions import is_slice_key
from support.contents import contents, url_contents

DTYPES = [
    "float16",
    "float32",
    "float64",
    "bfloat16",
    "float8_e5m2",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e4m3b11fnuz",
    "float8_e5m2fnuz",
    "complex64",
    "complex128",
    "bool",
    *(f"{sign}int{bits}" for bits in (2, 4, 8, 16, 32, 64) for sign in ("", "u")),
]
DTYPES += ["float4_e2m1fn"] if hasattr(ml_dtypes, "float4_e2m1fn") else []
BITS = {"int2": 2, "uint2": 2, "int4": 4, "uint4": 4, "float4_e2m1fn": 4, "bool": 1}
LAYOUTS = ["plain", "fortran", "reversed", "strided", "swapped", "read-only", "broadcast"]

STRINGS = st.one_of(
    st.binary(max_size=20),
    st.text(max_size=5),
    st.integers(0, 70_000).map(lambda n: b"\0" * n),
    st.binary(max_size=5).map(lambda b: b.decode("utf-8", "surrogateescape")),
)
NAMES = st.one_of(
    st.text(min_size=1, max_size=12),
    st.binary(min_size=1, max_size=12).map(lambda b: b.decode("utf-8", "surrogateescape")),
    st.sampled_from(["a/b", "a//b", "/", "a\0b", "\0", "layer_1/kernel", "k" * 5000]),
    st.integers(0, 30).map(lambda i: f"layer_{i}/kernel"),
).filter(lambda name: _is_name(name))


def _is_name(name: str) -> bool:
    try:
        key = name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return not is_slice_key(key) and name == key.decode("utf-8", "surrogateescape")


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    """An array of random bits, of any dtype, shape and layout."""
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=4)))
    size = int(np.prod(shape))
    if draw(st.integers(0, 5)) == 0:
        strings = np.empty(size, object)
        strings[:] = draw(st.lists(STRINGS, min_size=size, max_size=size))
        return strings.reshape(shape)
    name = draw(st.sampled_from(DTYPES))
    dtype = np.dtype(getattr(ml_dtypes, name, None) or name)
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    bits = random.integers(0, 1 << BITS.get(name, 8), size * dtype.itemsize, np.uint8)
    array = bits.view(dtype).reshape(shape)
    match draw(st.sampled_from(LAYOUTS)):
        case "fortran":
            return np.asfortranarray(array)
        case "reversed" if shape:
            return array[::-1]
        case "strided" if shape:
            return np.repeat(array, 2, axis=-1)[..., ::2]
        case "swapped" if dtype.isbuiltin == 1:
            return array.astype(dtype.newbyteorder("S"))
        case "read-only":
            array.flags.writeable = False
        case "broadcast":
            return np.broadcast_to(array, (2, *shape))
    return array


@st.composite
def partitions_of(draw: st.DrawFn, array: np.ndarray) -> int | tuple[int, ...] | None:
    """Numbers of slices along the first axes; None for a tensor that cannot be divided."""
    if array.dtype == object or not array.size or not array.ndim or draw(st.booleans()):
        return None
    sizes = array.shape[: draw(st.integers(1, array.ndim))]
    counts = tuple(draw(st.integers(1, size)) for size in sizes)
    return counts[0] if len(counts) == 1 and draw(st.booleans()) else counts


def to_bytes(element: bytes | str) -> bytes:
    return element.encode("utf-8", "surrogateescape") if isinstance(element, str) else element


def require_same(read: np.ndarray, array: np.ndarray) -> None:
    assert read.shape == array.shape
    if array.dtype == object:
        assert read.ravel().tolist() == [to_bytes(each) for each in array.ravel().tolist()]
        return
    native = array.astype(array.dtype.newbyteorder("="))
    assert read.dtype == native.dtype
    assert read.tobytes() == native.tobytes()


@given(st.data())
def test_round_trip(data: st.DataObject) -> None:
    tensors = data.draw(st.dictionaries(NAMES, arrays(), min_size=1, max_size=8))
    divided = {name: data.draw(partitions_of(array)) for name, array in tensors.items()}
    partitions = {name: counts for name, counts in divided.items() if counts is not None}
    shard_nbytes = data.draw(st.none() | st.integers(1, 500))
    given_as = {"dict": dict, "pairs": lambda t: iter(t.items()), "lazy": merge}
    kind = data.draw(st.sampled_from(sorted(given_as)))
    place = data.draw(st.sampled_from(["path", "url"]))
    with tempfile.TemporaryDirectory() as folder:
        prefix = f"{folder}/m.ckpt" if place == "path" else "memory://round/m.ckpt"
        progress: list[tuple[int, int | None]] = []
        returned = save_checkpoint(
            prefix,
            given_as[kind](tensors),
            shard_nbytes=shard_nbytes,
            partitions=partitions,
            overwrite=True,
            sync=False,
            progress=lambda done, total: progress.append((done, total)),
        )
        assert returned == prefix
        assert [done for done, _ in progress] == sorted(done for done, _ in progress)
        assert len(progress) == len(tensors)
        assert all((total is None) == (kind == "pairs") for _, total in progress)
        with open_checkpoint(prefix) as ckpt:
            report = ckpt.verify()
            assert report.ok
            assert report.num_tensors == len(tensors)
            assert list(ckpt) == sorted(tensors, key=to_bytes)
            for name, array in tensors.items():
                require_same(ckpt[name], array)
                counts = partitions.get(name, 1)
                num_slices = int(np.prod(counts))
                assert len(ckpt.info(name).slices) == (num_slices if num_slices > 1 else 0)
            for name, array in ckpt.items():
                require_same(array, tensors[name])
            sizes = [os.path.getsize(path) for path in ckpt.files[1:]] if place == "path" else []
        if sizes:
            assert progress[-1][0] == sum(sizes)
            assert shard_nbytes is not None or len(sizes) == 1
    if place == "url":
        fsspec.filesystem("memory").rm("/round", recursive=True)


@given(st.lists(st.integers(0, 100), min_size=1, max_size=20), st.integers(1, 120))
def test_sizes_of_data_files(sizes: list[int], shard_nbytes: int) -> None:
    """A file has more bytes than was said only if it has one tensor."""
    with tempfile.TemporaryDirectory() as folder:
        tensors = [(f"t{i:02}", np.zeros(size, "u1")) for i, size in enumerate(sizes)]
        save_checkpoint(f"{folder}/m", tensors, shard_nbytes=shard_nbytes, sync=False)
        with open_checkpoint(f"{folder}/m") as ckpt:
            files: dict[str | None, list[int]] = {}
            for info in ckpt.infos():
                files.setdefault(info.file, []).append(info.nbytes)
            assert len(ckpt.files) == 1 + len(files)
        inside = list(files.values())
        for sizes_in in inside:
            assert sum(sizes_in) <= shard_nbytes or len([n for n in sizes_in if n]) == 1
        for first, second in pairwise(inside):
            assert sum(first) + second[0] > shard_nbytes


def test_what_numpy_converts(tmp_path: Path) -> None:
    class Lazy:
        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            return np.arange(3, dtype="u2")

    tensors = {
        "int": 3,
        "float": 1.5,
        "bool": True,
        "complex": 1j,
        "list": [[1, 2], [3, 4]],
        "text": "grüße",
        "bytes": b"\0\xff",
        "texts": ["a", "bc"],
        "lazy": Lazy(),
        "masked": np.ma.masked_array([1.0, 2.0]),
        "fixed": np.array([b"a", b"bcd"]),
        "scalar": np.float16(2),
    }
    with open_checkpoint(save_checkpoint(tmp_path / "m", tensors)) as ckpt:
        assert ckpt["int"].shape == ()
        assert int(ckpt["int"]) == 3
        assert (float(ckpt["float"]), ckpt["float"].dtype) == (1.5, "f8")
        assert ckpt["bool"].dtype == bool
        assert complex(ckpt["complex"]) == 1j
        assert ckpt["list"].tolist() == [[1, 2], [3, 4]]
        assert ckpt["text"].item() == "grüße".encode()
        assert ckpt["bytes"].item() == b"\0\xff"
        assert ckpt["texts"].tolist() == [b"a", b"bc"]
        assert ckpt["lazy"].tolist() == [0, 1, 2]
        assert ckpt["masked"].tolist() == [1.0, 2.0]
        assert ckpt["fixed"].tolist() == [b"a", b"bcd"]
        assert ckpt["scalar"].dtype == np.float16


def test_unused_bits_are_cleared(tmp_path: Path) -> None:
    """TensorFlow stores 0 there, and booleans as 0 and 1."""
    octets = np.arange(256, dtype="u1")
    tensors = {
        "b": octets.view(bool),
        **{name: octets.view(getattr(ml_dtypes, name)) for name in ("int4", "uint4", "int2")},
    }
    with open_checkpoint(save_checkpoint(tmp_path / "m", tensors)) as ckpt:
        assert ckpt["b"].view("u1").tolist() == [0, *[1] * 255]
        assert ckpt["int4"].view("u1").max() <= 15
        assert np.array_equal(ckpt["uint4"].view("u1"), octets & 15)
        assert np.array_equal(ckpt["int2"].astype(int), tensors["int2"].astype(int))


class TestReplaced:
    @pytest.mark.skipif(os.name == "nt", reason="a mapped file cannot be replaced there")
    @pytest.mark.parametrize("shard_nbytes", [None, 40_000], ids=["one file", "two files"])
    def test_arrays_that_are_saved_over_their_own_files(
        self, tmp_path: Path, shard_nbytes: int | None
    ) -> None:
        old = {name: np.full(10_000, i, "f4") for i, name in enumerate("abc")}
        prefix = save_checkpoint(tmp_path / "m", old, shard_nbytes=shard_nbytes, sync=False)
        arrays = dict(open_checkpoint(prefix))
        assert all(not array.flags.owndata for array in arrays.values())
        new = {"c": arrays["a"], "a": arrays["c"]}
        for _ in range(3):
            save_checkpoint(prefix, new, shard_nbytes=shard_nbytes, overwrite=True, sync=False)
            for name, array in old.items():
                assert np.array_equal(arrays[name], array)
            with open_checkpoint(prefix) as ckpt:
                assert np.array_equal(ckpt["a"], old["c"])
                assert np.array_equal(ckpt["c"], old["a"])

    @pytest.mark.skipif(os.name == "nt", reason="an open file cannot be replaced there")
    @pytest.mark.parametrize("verify", [True, False])
    @pytest.mark.parametrize("mmap", [True, False], ids=["mapped", "pread"])
    def test_an_open_checkpoint_does_not_read_the_new_files(
        self, tmp_path: Path, verify: bool, mmap: bool
    ) -> None:
        """The new data file has the same size and the same places, but not the same tensors."""
        sizes = {"shard_nbytes": 400, "sync": False, "overwrite": True}
        prefix = save_checkpoint(
            tmp_path / "m", {name: np.full(100, 1, "f4") for name in "abc"}, **sizes
        )
        with open_checkpoint(prefix, verify=verify, mmap=mmap) as ckpt:
            assert ckpt["a"][0] == 1
            save_checkpoint(prefix, {name: np.full(100, 2, "f4") for name in "abc"}, **sizes)
            assert ckpt["a"][0] == 1
            for name in "bc":
                with pytest.raises(UnreadableError, match="was replaced or deleted") as error:
                    ckpt[name]
                assert error.value.tensor == name
            assert [damage.name for damage in ckpt.verify().damaged] == ["b", "c"]
        with open_checkpoint(prefix) as ckpt:
            assert ckpt["b"][0] == 2

    def test_a_v1_file_of_the_name_is_not_found_any_more(self, tmp_path: Path) -> None:
        (tmp_path / "m").write_bytes(b"a V1 file")
        save_checkpoint(tmp_path / "m", {"a": 1.0}, overwrite=True)
        assert open_checkpoint(tmp_path / "m").format == "v2"
        assert (tmp_path / "m").read_bytes() == b"a V1 file"

    def test_parts_of_another_checkpoint_of_the_name(self, tmp_path: Path) -> None:
        """A data file alone, which no index refers to, has another name than the new ones."""
        (tmp_path / "m.data-00000-of-00001").write_bytes(b"left")
        save_checkpoint(tmp_path / "m", {"a": 1.0}, overwrite=True)
        assert float(open_checkpoint(tmp_path / "m")["a"]) == 1.0


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    system = fsspec.filesystem("memory")
    system.rm("/", recursive=True)  # what other tests left
    yield system
    system.rm("/", recursive=True)


def save_value(place: str, name: str, **options: Any) -> None:
    save_checkpoint(f"{place}/{name}", {"x": 1.0}, update_state=True, sync=False, **options)


class TestState:
    @pytest.fixture(params=["path", "url"])
    def place(
        self, request: pytest.FixtureRequest, tmp_path: Path, memory: fsspec.AbstractFileSystem
    ) -> str:
        return str(tmp_path) if request.param == "path" else "memory://run"

    def read(self, place: str) -> Any:
        with fsspec.open(f"{place}/checkpoint", "rb") as file:
            return parse_state(file.read())

    def names(self, place: str) -> list[str]:
        system, path = fsspec.core.url_to_fs(place)
        return sorted(name.rpartition("/")[2] for name in system.ls(path, detail=False))

    @pytest.mark.parametrize("keep", [None, 0, 1, 2, 3])
    def test_the_newest_are_kept(self, place: str, keep: int | None) -> None:
        for i in range(5):
            save_value(place, f"m-{i}", max_to_keep=keep)
        kept = [f"m-{i}" for i in range(5)][-keep if keep else 0 :]
        state = self.read(place)
        assert state.model_checkpoint_path == "m-4"
        assert list(state.all_model_checkpoint_paths) == kept
        files = [f"{name}.{end}" for name in kept for end in ("data-00000-of-00001", "index")]
        assert self.names(place) == sorted(["checkpoint", *files])
        assert open_checkpoint(place).path.endswith("m-4")

    def test_five_are_kept_by_default(self, tmp_path: Path) -> None:
        for i in range(7):
            save_value(str(tmp_path), f"m-{i}")
        assert len(list(tmp_path.glob("*.index"))) == 5
        assert ckptparse.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / "m-6")

    def test_without_a_state_file_nothing_is_written(self, place: str) -> None:
        save_checkpoint(f"{place}/m", {"x": 1.0})
        assert "checkpoint" not in self.names(place)

    def test_replacing_the_latest(self, place: str) -> None:
        for _ in range(3):
            save_value(place, "m-1", overwrite=True, max_to_keep=1)
        assert list(self.read(place).all_model_checkpoint_paths) == ["m-1"]
        assert self.names(place) == ["checkpoint", "m-1.data-00000-of-00001", "m-1.index"]

    @pytest.mark.parametrize(
        "text",
        [b"\xff\xfe", b"model_checkpoint_path", b"no_such_field: 3", b'model: "x'],
        ids=ascii,
    )
    def test_a_damaged_state_file_comes_first(self, place: str, text: bytes) -> None:
        """Before a tensor is read or a byte is written."""
        with fsspec.open(f"{place}/checkpoint", "wb") as file:
            file.write(text)

        def tensors() -> Iterator[tuple[str, Any]]:
            raise AssertionError("read")
            yield

        with pytest.raises(CorruptCheckpointError) as error:
            save_checkpoint(f"{place}/m", tensors(), update_state=True)
        assert error.value.file == f"{place}/checkpoint"
        assert self.names(place) == ["checkpoint"]

    def test_nothing_is_dropped_if_saving_fails(self, tmp_path: Path) -> None:
        for i in range(3):
            save_value(str(tmp_path), f"m-{i}")
        before = contents(tmp_path)
        with pytest.raises(ValueError):
            save_checkpoint(tmp_path / "m-3", {"": 1.0}, update_state=True, max_to_keep=1)
        assert contents(tmp_path) == before

    @pytest.mark.parametrize(
        "path",
        [
            "../other/m",
            "sub/../../other/m",
            "..\\\\other\\\\m",
            "{other}/m",
            "file://{other}/m",
            "memory://other/m",
            "../other/*",
            "",
            ".",
            "/",
        ],
    )
    def test_hostile_paths_delete_nothing_elsewhere(
        self, tmp_path: Path, memory: fsspec.AbstractFileSystem, path: str
    ) -> None:
        other = tmp_path / "other"
        save_checkpoint(other / "m", {"x": 2.0}, sync=False)
        save_checkpoint("memory://other/m", {"x": 2.0})
        before, before_at_urls = contents(other), url_contents()
        text = f'model_checkpoint_path: "m"\nall_model_checkpoint_paths: "{path}"\n'.replace(
            "{other}", other.as_posix()
        )
        run = tmp_path / "run"
        run.mkdir()
        (run / "checkpoint").write_text(text)
        (run / "notes.txt").write_text("mine")
        save_value(str(run), "new", max_to_keep=1)
        memory.pipe("/run/checkpoint", text.encode())
        save_value("memory://run", "new", max_to_keep=1)
        assert contents(other) == before
        assert before_at_urls.items() <= url_contents().items()
        names = {"checkpoint", "new.index", "new.data-00000-of-00001", "notes.txt"}
        assert {*os.listdir(run)} == names

    @pytest.mark.parametrize("name", ["notes.txt", "notes-00000-of-00001"])
    def test_a_listed_file_that_is_no_checkpoint(self, place: str, name: str) -> None:
        for file, text in (("checkpoint", f'all_model_checkpoint_paths: "{name}"'), (name, "mine")):
            with fsspec.open(f"{place}/{file}", "wb") as output:
                output.write(text.encode())
        save_value(place, "m", max_to_keep=1)
        with fsspec.open(f"{place}/{name}", "rb") as file:
            assert file.read() == b"mine"
