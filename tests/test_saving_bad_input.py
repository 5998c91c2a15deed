"""What cannot be saved: the error, and that the directory is as it was before."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from ckptparse import (
    CheckpointExistsError,
    CorruptCheckpointError,
    InvalidTensorsError,
    TensorNotFoundError,
    UnsupportedError,
    average,
    merge,
    open_checkpoint,
    save_checkpoint,
)
from ckptparse.tensors.info import TensorInfo
from ckptparse.tensors.mapping import TensorMapping
from ckptparse.tensors.partitions import encode_slice_key
from ckptparse.tensors.pieces import Piece
from support.contents import contents, url_contents
from support.damage import copy_case

ONES = np.ones(3, "f4")
OLD = {"old": np.arange(1000, dtype="f4"), "text": np.array([b"x", b"yy"], object)}
SLICE_KEY = encode_slice_key(b"w", ((0, 2),)).decode("utf-8", "surrogateescape")


class Broken(dict[str, Any]):
    """A mapping whose second tensor cannot be read."""

    def __getitem__(self, name: str) -> Any:
        if name == "b":
            raise LookupError("no b today")
        return super().__getitem__(name)


def pairs_that_break() -> Iterator[tuple[str, Any]]:
    yield "a", np.zeros(100_000)
    raise ZeroDivisionError("of the caller")


class Pieces(TensorMapping):
    """One tensor, "a", of shape [4], in any pieces."""

    def __init__(self, *pieces: Piece) -> None:
        self._pieces = pieces

    def read(self, name: str, index: Any = ...) -> np.ndarray:
        if name != "a":
            raise KeyError(name)
        return self._pieces[0].values

    def read_pieces(self, names: Any, piece_nbytes: int = 0) -> Iterator[Piece]:
        return iter(self._pieces)

    def info(self, name: str) -> TensorInfo:
        return TensorInfo(
            name="a", dtype=np.dtype("f4"), tensorflow_dtype="float32", shape=(4,), size=4,
            nbytes=16, slices=(), mapped=False, file=None, offset=None,
        )  # fmt: skip

    def __iter__(self) -> Iterator[str]:
        return iter(["a"])

    def __len__(self) -> int:
        return 1


def piece(start: int, values: Any, shape: tuple[int, ...] = (4,), dtype: str = "float32") -> Piece:
    return Piece("a", dtype, shape, start, np.asarray(values, dtype))


@dataclass
class Bad:
    """Tensors that cannot be saved: what is raised, and words in its text."""

    error: type[BaseException]
    match: str
    tensors: Any
    options: dict[str, Any] = field(default_factory=dict)


def bad_dtype(array: Any) -> Bad:
    return Bad(UnsupportedError, r"tensor 'a': TensorFlow has no dtype", {"a": array})


def not_strings(value: Any) -> Bad:
    return Bad(UnsupportedError, "tensor 'a': an array of objects .* strings", {"a": value})


def bad_name(name: Any) -> Bad:
    return Bad(InvalidTensorsError, r"tensor .*: a tensor cannot have this name", [(name, ONES)])


def bad_pieces(*pieces: Piece) -> Bad:
    return Bad(InvalidTensorsError, "tensor 'a': the tensor changed while it was", Pieces(*pieces))


def bad_partition(counts: Any, array: Any = ONES) -> Bad:
    options = {"partitions": {"a": counts}}
    return Bad(
        InvalidTensorsError, "tensor 'a': the tensor cannot be divided", {"a": array}, options
    )


BAD = {
    # dtypes
    "longdouble": bad_dtype(np.zeros(2, np.longdouble)),
    "clongdouble": bad_dtype(np.zeros(2, np.clongdouble)),
    "datetime64": bad_dtype(np.zeros(2, "M8[s]")),
    "timedelta64": bad_dtype(np.zeros(2, "m8[s]")),
    "structured": bad_dtype(np.zeros(2, [("x", "f4")])),
    "void": bad_dtype(np.zeros(2, "V3")),
    # values
    "objects": not_strings(np.array([b"text", 3], object)),
    "None": not_strings(None),
    "object": not_strings(object()),
    "dict": not_strings({"b": 1}),
    "ragged": Bad(InvalidTensorsError, "'a': this value cannot be converted", {"a": [[1], [2, 3]]}),
    "surrogate": Bad(InvalidTensorsError, "'a': this text cannot be encoded", {"a": "\ud800"}),
    # names
    "twice": Bad(
        InvalidTensorsError, "tensor 'a': two tensors have this name", [("a", ONES), ("a", ONES)]
    ),
    "twice in slices": Bad(
        InvalidTensorsError,
        "tensor 'a': two tensors have this name",
        [("a", ONES), ("a", ONES)],
        {"partitions": {"a": 2}},
    ),
    "empty name": bad_name(""),
    "name of bytes": bad_name(b"a"),
    "number as name": bad_name(3),
    "None as name": bad_name(None),
    "list as name": bad_name(["a"]),
    "name of surrogates": bad_name("\ud800"),
    "slice key": bad_name(SLICE_KEY),
    # tensors that change
    "other shape": bad_pieces(piece(0, [1, 2]), piece(2, [1, 2], (5,))),
    "other dtype": bad_pieces(piece(0, [1, 2]), piece(2, [1, 2], dtype="int32")),
    "gap": bad_pieces(piece(0, [1, 2]), piece(3, [1])),
    "again": bad_pieces(piece(0, [1, 2]), piece(0, [1, 2])),
    "too much": bad_pieces(piece(0, [1, 2]), piece(2, [1, 2, 3])),
    "incomplete": bad_pieces(piece(0, [1, 2])),
    "other tensor between": bad_pieces(
        piece(0, [1, 2]), piece(0, [1, 2])._replace(name="b"), piece(2, [1, 2])
    ),
    "wrong metadata": Bad(
        InvalidTensorsError,
        "tensor 'a': the array has another dtype than its metadata says",
        Pieces(piece(0, [1, 2, 3, 4])._replace(dtype="int32")),
    ),
    # errors of the caller
    "mapping raises": Bad(LookupError, "^no b today$", Broken(a=ONES, b=ONES)),
    "names alone": Bad(InvalidTensorsError, "not a pair of name and array", lambda: ["ab"]),
    "three in a pair": Bad(InvalidTensorsError, "not a pair", lambda: [("a", ONES, ONES)]),
    "iterable raises": Bad(ZeroDivisionError, "^of the caller$", pairs_that_break),
    # partitions
    "missing partition": Bad(
        TensorNotFoundError, "tensor 'b'.*partition", {"a": ONES}, {"partitions": {"b": 2}}
    ),
    "missing partition, lazy": Bad(
        TensorNotFoundError,
        "tensor 'b'.*partition",
        merge({"a": ONES}),
        {"partitions": {"b": 2}},
    ),
    "too many slices": bad_partition(4),
    "no slices": bad_partition(0),
    "negative slices": bad_partition(-1),
    "too many axes": bad_partition((1, 1)),
    "slices of a scalar": bad_partition(1, np.float32(1)),
    "slices of nothing": bad_partition(1, np.zeros((0, 3))),
    "text as count": bad_partition("2"),
    "fraction as count": bad_partition(1.5),
    "too many slices, lazy": Bad(
        InvalidTensorsError,
        "tensor 'a': the tensor cannot be divided",
        merge({"a": ONES}),
        {"partitions": {"a": 4}},
    ),
    "strings in slices": Bad(
        InvalidTensorsError,
        "tensor 'a': TensorFlow cannot read strings that are saved in slices",
        {"a": [b"x", b"y"]},
        {"partitions": {"a": 2}},
    ),
    # arguments
    "shards of 0 bytes": Bad(ValueError, "shard_nbytes .* not 0", {"a": ONES}, {"shard_nbytes": 0}),
    "object graph": Bad(ValueError, "object_graph .* 'x'", {"a": ONES}, {"object_graph": "x"}),
    "names that are no paths": Bad(
        InvalidTensorsError,
        "'a/.ATTRIBUTES/' is not a path",
        {"a/.ATTRIBUTES/": ONES},
        {"object_graph": "paths"},
    ),
    "negative max_to_keep": Bad(
        ValueError, "max_to_keep", {"a": ONES}, {"update_state": True, "max_to_keep": -1}
    ),
    # nothing
    "empty dict": Bad(InvalidTensorsError, r"m\.ckpt: there are no tensors to save", {}),
    "empty iterable": Bad(InvalidTensorsError, r"m\.ckpt: there are no tensors to save", []),
    "empty lazy mapping": Bad(InvalidTensorsError, "there are no tensors to save", merge({})),
}  # fmt: skip
if np.dtype(np.longdouble) == np.dtype(np.double):  # Windows
    BAD = {key: bad for key, bad in BAD.items() if "longdouble" not in key}


def save_bad(prefix: Path | str, bad: Bad, **options: Any) -> None:
    tensors = bad.tensors() if callable(bad.tensors) else bad.tensors
    with pytest.raises(bad.error, match=bad.match) as raised:
        save_checkpoint(prefix, tensors, **{"sync": False, **bad.options, **options})
    assert type(raised.value) is bad.error


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
class TestBadTensors:
    def test_no_directory_is_left(self, tmp_path: Path, bad: Bad) -> None:
        save_bad(tmp_path / "new" / "er" / "m.ckpt", bad)
        assert os.listdir(tmp_path) == []

    def test_a_directory_that_was_there_stays(self, tmp_path: Path, bad: Bad) -> None:
        save_bad(tmp_path / "m.ckpt", bad)
        assert os.listdir(tmp_path) == []

    def test_the_old_checkpoint_stays(self, tmp_path: Path, bad: Bad) -> None:
        prefix = tmp_path / "m.ckpt"
        save_checkpoint(prefix, OLD, shard_nbytes=1000, update_state=True, sync=False)
        before = contents(tmp_path)
        save_bad(prefix, bad, overwrite=True)
        assert contents(tmp_path) == before

    def test_at_a_url(self, memory: fsspec.AbstractFileSystem, bad: Bad) -> None:
        save_checkpoint("memory://run/m.ckpt", OLD)
        before = url_contents()
        save_bad("memory://run/m.ckpt", bad, overwrite=True)
        assert url_contents() == before


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    system = fsspec.filesystem("memory")
    system.rm("/", recursive=True)  # what other tests left
    yield system
    system.rm("/", recursive=True)


class TestExisting:
    @pytest.mark.parametrize(
        "name",
        [
            "m.ckpt",
            "m.ckpt.index",
            "m.ckpt.data-00000-of-00001",
            "m.ckpt.data-00003-of-00007",
            "m.ckpt-00000-of-00002",
        ],
    )
    @pytest.mark.parametrize("place", ["path", "url"])
    def test_any_file_of_a_checkpoint_is_in_the_way(
        self, tmp_path: Path, memory: fsspec.AbstractFileSystem, name: str, place: str
    ) -> None:
        (tmp_path / name).write_bytes(b"mine")
        memory.pipe(f"/run/{name}", b"mine")
        prefix = tmp_path / "m.ckpt" if place == "path" else "memory://run/m.ckpt"
        with pytest.raises(CheckpointExistsError, match=r"m\.ckpt: there is a checkpoint") as error:
            save_checkpoint(prefix, {"a": ONES})
        assert error.value.found == name
        assert error.value.file == str(prefix)
        assert contents(tmp_path) == {name: b"mine"}
        assert url_contents() == {f"/run/{name}": b"mine"}
        save_checkpoint(prefix, {"a": ONES}, overwrite=True)
        assert list(open_checkpoint(prefix)) == ["a"]

    @pytest.mark.parametrize("name", ["m.ckpt-1.index", "m.index", "m.ckpt.meta", "M.ckpt.data"])
    def test_other_files_are_not(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_bytes(b"mine")
        save_checkpoint(tmp_path / "m.ckpt", {"a": ONES})
        assert (tmp_path / name).read_bytes() == b"mine"

    def test_nothing_is_read_if_a_checkpoint_is_there(self, tmp_path: Path) -> None:
        save_checkpoint(tmp_path / "m.ckpt", OLD)
        with pytest.raises(CheckpointExistsError):
            save_checkpoint(tmp_path / "m.ckpt", pairs_that_break())

    @pytest.mark.parametrize("overwrite", [False, True])
    @pytest.mark.parametrize("name", ["m.ckpt", "m.ckpt.index"])
    @pytest.mark.parametrize("place", ["path", "url"])
    def test_a_directory(
        self,
        tmp_path: Path,
        memory: fsspec.AbstractFileSystem,
        name: str,
        overwrite: bool,
        place: str,
    ) -> None:
        (tmp_path / name).mkdir()
        memory.pipe(f"/run/{name}/file", b"mine")
        prefix = tmp_path / "m.ckpt" if place == "path" else "memory://run/m.ckpt"
        with pytest.raises(CheckpointExistsError, match=r"m\.ckpt: there is a directory"):
            save_checkpoint(prefix, {"a": ONES}, overwrite=overwrite)
        assert contents(tmp_path) == {name: None}
        assert url_contents() == {f"/run/{name}/file": b"mine"}

    def test_a_file_in_the_place_of_the_directory(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"mine")
        for prefix in (tmp_path / "file" / "m.ckpt", tmp_path / "file" / "more" / "m.ckpt"):
            with pytest.raises(OSError, match="file"):
                save_checkpoint(prefix, {"a": ONES})
        assert contents(tmp_path) == {"file": b"mine"}


def average_of(ckpt: Any) -> Any:
    return average([{name: np.zeros_like(ckpt[name]) for name in ckpt}, ckpt], on_conflict="last")


DERIVED: dict[str, Callable[[Any], Any]] = {
    "itself": lambda ckpt: ckpt,
    "select": lambda ckpt: ckpt.select(exclude="x*"),
    "rename": lambda ckpt: ckpt.select(rename={"old": "new"}),
    "cast": lambda ckpt: ckpt.select(include="old", dtype="bfloat16"),
    "select twice": lambda ckpt: ckpt.select(include="old").select(rename={"old": "new"}),
    "average, first": lambda ckpt: average([ckpt, ckpt]),
    "average, second": average_of,
    "merge, first": lambda ckpt: merge(ckpt, {"more": ONES}),
    "merge, second": lambda ckpt: merge({"more": ONES}, ckpt),
    "merge of an average": lambda ckpt: merge({"more": ONES}, average_of(ckpt)),
}


class TestSources:
    @pytest.mark.parametrize("derive", DERIVED.values(), ids=DERIVED)
    @pytest.mark.parametrize("spelling", ["same", "other", "linked"])
    def test_the_destination_is_a_source(
        self, tmp_path: Path, derive: Callable[[Any], Any], spelling: str
    ) -> None:
        run = tmp_path / "run"
        prefix = save_checkpoint(run / "m.ckpt", OLD, sync=False)
        before = contents(run)
        place = Path(prefix)
        if spelling == "other":
            place = run / ".." / "run" / "m.ckpt"
        elif spelling == "linked":
            if os.name == "nt":
                pytest.skip("links need rights there")
            (tmp_path / "link").symlink_to("run")
            place = tmp_path / "link" / "m.ckpt"
        with open_checkpoint(prefix) as ckpt:
            tensors = derive(ckpt)
            with pytest.raises(InvalidTensorsError, match=r"m\.ckpt: .* saved over it"):
                save_checkpoint(place, tensors, overwrite=True)
            assert contents(run) == before
            save_checkpoint(run / "other.ckpt", tensors, sync=False)

    def test_at_a_url(self, memory: fsspec.AbstractFileSystem) -> None:
        prefix = save_checkpoint("memory://run/m.ckpt", OLD)
        before = url_contents()
        with open_checkpoint(prefix) as ckpt, pytest.raises(InvalidTensorsError, match="over it"):
            save_checkpoint(prefix, ckpt.select(include="old"), overwrite=True)
        assert url_contents() == before

    def test_an_object_graph_of_it(self, tmp_path: Path) -> None:
        prefix = copy_case("tf-2.13.1/backbone_head", tmp_path)
        before = contents(tmp_path)
        with (
            open_checkpoint(prefix) as ckpt,
            pytest.raises(InvalidTensorsError, match="saved over it"),
        ):
            save_checkpoint(prefix, ckpt.object_graph.subtree("head"), overwrite=True)
        assert contents(tmp_path) == before

    def test_a_damaged_source(self, tmp_path: Path) -> None:
        """Its error comes through, with the name of the damaged file."""
        prefix = save_checkpoint(tmp_path / "damaged" / "m.ckpt", OLD)
        data = Path(f"{prefix}.data-00000-of-00001")
        data.write_bytes(b"\1" + data.read_bytes()[1:])
        with open_checkpoint(prefix) as ckpt, pytest.raises(CorruptCheckpointError) as error:
            save_checkpoint(tmp_path / "new" / "m.ckpt", ckpt)
        assert error.value.tensor == "old"
        assert error.value.file == str(data)
        assert os.listdir(tmp_path) == ["damaged"]


class TestTorch:
    """PyTorch's tensors that require gradients; a module of the same methods stands for it."""

    @pytest.fixture
    def torch(self, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
        torch = types.ModuleType("torch")

        class Tensor:
            def __init__(self, array: Any, dtype: str, *, grad: bool = False, gpu: bool = False):
                self.array, self.dtype, self.grad, self.gpu = array, f"torch.{dtype}", grad, gpu

            def detach(self) -> Tensor:
                return Tensor(self.array, self.dtype[6:], gpu=self.gpu)

            def element_size(self) -> int:
                return self.array.itemsize

            def view(self, dtype: Any) -> Tensor:
                return Tensor(self.array.view(dtype), np.dtype(dtype).name, grad=self.grad)

            def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
                if self.grad:
                    raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
                if self.gpu:
                    raise TypeError("can't convert cuda:0 device type tensor to numpy.")
                if self.dtype == "torch.bfloat16":
                    raise TypeError("Got unsupported ScalarType BFloat16")
                return self.array

        torch.Tensor, torch.int16, torch.int8 = Tensor, np.int16, np.int8
        monkeypatch.setitem(sys.modules, "torch", torch)
        return torch

    def test_tensors_that_require_grad(self, tmp_path: Path, torch: Any) -> None:
        import ml_dtypes

        halves = np.array([1, -2, 3], ml_dtypes.bfloat16)
        tensors = {
            "w": torch.Tensor(ONES, "float32", grad=True),
            "half": torch.Tensor(halves, "bfloat16", grad=True),
        }
        with open_checkpoint(save_checkpoint(tmp_path / "m", tensors)) as ckpt:
            assert np.array_equal(ckpt["w"], ONES)
            assert ckpt["half"].dtype == ml_dtypes.bfloat16
            assert np.array_equal(ckpt["half"], halves)

    def test_a_tensor_on_another_device(self, tmp_path: Path, torch: Any) -> None:
        tensors = {"w": torch.Tensor(ONES, "float32", gpu=True)}
        with pytest.raises(InvalidTensorsError, match=r"tensor 'w': .*\n.*cuda:0"):
            save_checkpoint(tmp_path / "new" / "m", tensors)
        assert os.listdir(tmp_path) == []
