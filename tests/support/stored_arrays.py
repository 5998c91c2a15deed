"""The contract of containers of named arrays: the same tests for the fixtures of each format.

A test file of a format makes a class of `ContainerContract`, which inherits all tests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import ml_dtypes
import numpy as np
import pytest

from ckptparse import (
    Checkpoint,
    UnsupportedError,
    load_into,
    open_checkpoint,
    save_checkpoint,
)
from ckptparse.formats.containers import CONTAINERS, ContainerOptions
from ckptparse.sources import MemorySource
from support.repository import FIXTURES

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class StoredCase:
    """A file and what the library of its format read of it; None for what it cannot read."""

    path: Path
    format: str
    arrays: dict[str, Array | None]
    errors: list[dict[str, str]]

    @property
    def readable(self) -> dict[str, Array]:
        return {name: array for name, array in self.arrays.items() if array is not None}


@lru_cache(maxsize=None)
def load_stored(name: str) -> StoredCase:
    """A case by "library/name"."""
    folder = FIXTURES / name
    said = json.loads((folder / "expected.json").read_text())
    payloads = (folder / "expected.bin").read_bytes()
    arrays: dict[str, Array | None] = {}
    for tensor in said["tensors"]:
        arrays[tensor["name"]] = None
        if tensor["read_by"] is not None:
            payload = payloads[tensor["offset"] :][: tensor["nbytes"]]
            array: Array = np.ndarray(tensor["shape"], dtype_of(tensor), payload)
            arrays[tensor["name"]] = array
    return StoredCase(folder / said["path"], said["format"], arrays, said["errors"])


def dtype_of(tensor: dict[str, Any]) -> np.dtype[Any]:
    """The dtype of a tensor of expected.json."""
    descr = tensor.get("descr")
    if type(descr) is list:
        return np.lib.format.descr_to_dtype(as_tuples(descr))
    if hasattr(ml_dtypes, tensor["dtype"]):
        return np.dtype(getattr(ml_dtypes, tensor["dtype"]))
    return np.dtype(descr or tensor["dtype"])


def as_tuples(fields: list[Any]) -> list[Any]:
    """The fields of a dtype, in which JSON has lists instead of tuples."""
    found = []
    for name, form, *shape in fields:
        form = as_tuples(form) if type(form) is list else form
        found.append((name, form, *map(tuple, shape)))
    return found


def stored_names(format: str) -> list[str]:
    """The cases of a format, "library/name"."""
    manifest = json.loads((FIXTURES / "manifest.json").read_text())
    return sorted(name for name, case in manifest["cases"].items() if case["format"] == format)


# Ways to open a file


def open_mapped(case: StoredCase) -> Checkpoint:
    return open_checkpoint(case.path, format=case.format)


def open_copied(case: StoredCase) -> Checkpoint:
    return open_checkpoint(case.path, format=case.format, mmap=False, verify=False)


def open_checked(case: StoredCase) -> Checkpoint:
    return open_checkpoint(case.path, format=case.format, mmap=False)


def open_in_memory(case: StoredCase) -> Checkpoint:
    source = MemorySource(str(case.path), case.path.read_bytes())
    return Checkpoint(CONTAINERS[case.format](source, ContainerOptions()))


def open_remote(case: StoredCase) -> Checkpoint:
    from fsspec.implementations.memory import MemoryFileSystem

    url = f"/stored/{case.path.parent.name}/{case.path.name}"
    MemoryFileSystem().pipe_file(url, case.path.read_bytes())
    return open_checkpoint(f"memory:/{url}", format=case.format)


Opener = Callable[[StoredCase], Checkpoint]
OPENERS: list[Opener] = [open_mapped, open_copied, open_checked, open_in_memory, open_remote]


def bits(array: Array, order: Literal["C", "F"] = "C") -> bytes:
    """The bytes of an array, without those between the fields of records, which have no meaning."""
    if array.dtype.names is None:
        return array.tobytes(order)
    return b"".join(bits(array[name], order) for name in array.dtype.names)


def require_equal(array: Array, expected: Array) -> None:
    """Check dtype, shape and all bits, and that the array is read-only."""
    assert array.dtype == expected.dtype
    assert array.shape == expected.shape
    assert bits(array) == bits(expected)
    assert not array.flags.writeable


by_opener = pytest.mark.parametrize("opener", OPENERS, ids=lambda opener: opener.__name__)


class ContainerContract:
    """The tests; a subclass has a fixture `case`."""

    @pytest.fixture(autouse=True)
    def leave_nothing_in_memory(self) -> Iterator[None]:
        """Remove what `open_remote` wrote: other tests look at all files of this file system."""
        from fsspec.implementations.memory import MemoryFileSystem

        yield
        for path in [path for path in MemoryFileSystem.store if path.startswith("/stored/")]:
            del MemoryFileSystem.store[path]

    @by_opener
    def test_names_are_those_of_the_library_in_its_order(
        self, case: StoredCase, opener: Opener
    ) -> None:
        with opener(case) as ckpt:
            assert ckpt.format == case.format
            assert list(ckpt) == list(case.arrays)
            assert len(ckpt) == len(case.arrays)
            assert all(name in ckpt for name in case.arrays)
            assert "no such name" not in ckpt

    @by_opener
    def test_arrays_are_those_of_the_library(self, case: StoredCase, opener: Opener) -> None:
        with opener(case) as ckpt:
            for name, array in ckpt.read_each(case.readable):
                require_equal(array, case.readable[name])
            for name, expected in case.readable.items():
                require_equal(ckpt[name], expected)

    @by_opener
    def test_infos_are_those_of_the_arrays(self, case: StoredCase, opener: Opener) -> None:
        with opener(case) as ckpt:
            assert [info.name for info in ckpt.infos()] == list(case.arrays)
            forms = ckpt.forms()
            assert forms.names == list(case.arrays)
            for info, shape, dtype in zip(ckpt.infos(), forms.shapes, forms.tensorflow_dtypes):
                assert ckpt.info(info.name) == info
                assert (info.shape, info.tensorflow_dtype) == (shape, dtype)
                expected = case.arrays[info.name]
                if expected is None:
                    assert info.dtype == object
                    assert not info.mapped
                    continue
                assert (info.dtype, info.shape) == (expected.dtype, expected.shape)
                assert (info.size, info.nbytes) == (expected.size, expected.nbytes)
                assert info.file == ckpt.path
                if info.mapped:
                    assert opener is open_mapped
                    assert info.nbytes
                    assert ckpt[info.name].base is not None
                if info.offset is not None and case.path.exists():
                    stored = case.path.read_bytes()[info.offset :][: info.nbytes]
                    found: Array = np.ndarray(expected.shape, expected.dtype, stored)
                    if bits(found) != bits(expected):
                        found = np.ndarray(expected.shape, expected.dtype, stored, order="F")
                    assert bits(found) == bits(expected)

    @by_opener
    def test_what_the_library_refuses_is_refused(self, case: StoredCase, opener: Opener) -> None:
        with opener(case) as ckpt:
            for name in case.arrays.keys() - case.readable.keys():
                with pytest.raises(UnsupportedError) as raised:
                    ckpt[name]
                assert raised.value.tensor == name
                assert raised.value.file == ckpt.path

    @by_opener
    def test_parts_are_parts_of_the_arrays(self, case: StoredCase, opener: Opener) -> None:
        with opener(case) as ckpt:
            for name, expected in case.readable.items():
                indices: list[Any] = [..., (), None]
                if expected.ndim:
                    indices += [slice(1, None), slice(None, None, -2), np.array([], int)]
                if expected.size:
                    indices += [(0,) * expected.ndim, expected != expected, (-1,) * expected.ndim]
                for index in indices:
                    part = ckpt.read(name, index)
                    # with an ellipsis, numpy returns an array instead of a scalar
                    wanted = expected[(*index, ...) if type(index) is tuple else index]
                    assert part.dtype == expected.dtype
                    assert part.shape == wanted.shape
                    assert bits(part) == bits(wanted)
                with pytest.raises(IndexError):
                    ckpt.read(name, (0,) * (expected.ndim + 1))

    @by_opener
    @pytest.mark.parametrize("piece_nbytes", [1, 100, 1 << 20])
    def test_pieces_are_the_array(
        self, case: StoredCase, opener: Opener, piece_nbytes: int
    ) -> None:
        with opener(case) as ckpt:
            for name, expected in case.readable.items():
                if piece_nbytes == 1 and expected.nbytes > 1000:
                    continue
                size, pieces = 0, []
                for piece in ckpt.read_pieces([name], piece_nbytes):
                    assert (piece.name, piece.start, piece.shape) == (name, size, expected.shape)
                    assert piece.values.dtype == expected.dtype
                    most = max(piece_nbytes, expected.itemsize)
                    assert expected.dtype.kind in "SU" or piece.values.nbytes <= most
                    size += piece.values.size
                    pieces.append(piece.values.ravel())
                joined = np.concatenate(pieces).astype(expected.dtype)  # it swaps bytes
                assert bits(joined) == bits(expected.ravel())
                assert expected.dtype.kind not in "SU" or len(pieces) == 1

    @by_opener
    def test_all_bytes_are_intact(self, case: StoredCase, opener: Opener) -> None:
        with opener(case) as ckpt:
            report = ckpt.verify()
            assert report.ok
            assert report.num_tensors == len(case.arrays)

    def test_weights_functions_take_it(self, case: StoredCase, tmp_path: Path) -> None:
        names = [name for name, array in case.readable.items() if is_storable(name, array)]
        with open_mapped(case) as ckpt:
            chosen = ckpt.select(include=[re.compile(re.escape(name)) for name in names])
            assert list(chosen) == names
            target = {name: np.zeros_like(case.readable[name]) for name in names}
            load_into(target, chosen)
            for name in names:
                assert target[name].tobytes() == case.readable[name].tobytes()
            if names:
                save_checkpoint(tmp_path / "saved", chosen)
        if names:
            with open_checkpoint(tmp_path / "saved") as saved:
                for name in names:
                    expected = case.readable[name]
                    if expected.dtype.kind == "S":
                        assert saved[name].tolist() == expected.tolist()
                    elif expected.dtype.kind == "U":
                        assert saved[name].tolist() == np.char.encode(expected, "utf-8").tolist()
                    else:
                        native = expected.astype(expected.dtype.newbyteorder("="))
                        assert saved[name].dtype == native.dtype
                        assert saved[name].tobytes() == native.tobytes()

    def test_arrays_stay_after_close(self, case: StoredCase) -> None:
        with open_mapped(case) as ckpt:
            arrays = {name: ckpt[name] for name in case.readable}
        for name, array in arrays.items():
            require_equal(array, case.readable[name])
        if case.readable:
            with pytest.raises(ValueError, match="closed"):
                ckpt[next(iter(case.readable))]


def is_storable(name: str, array: Array) -> bool:
    """Whether TensorFlow has a dtype for an array, and a checkpoint can have the name."""
    from ckptparse.tensors.dtypes import number_of_array

    try:
        number_of_array(array.dtype)
    except UnsupportedError:
        return False
    return bool(name)


def cases(format: str) -> Iterator[Any]:
    """Parameters for the fixture `case`."""
    for name in stored_names(format):
        yield pytest.param(load_stored(name), id=name)
