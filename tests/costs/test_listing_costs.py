"""Exact costs of the maps of `ckptparse.train` and of entries with many slices."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from ckptparse import open_checkpoint, train
from ckptparse.formats.bundle import entries
from ckptparse.formats.bundle.index import BundleIndex
from ckptparse.formats.bundle.infos import BundleInfos
from ckptparse.messages.wire import LENGTH_DELIMITED, count_most_messages, iterate_fields
from support.builders import bundle_entry, bytes_field, tensor_slice, varint_field, write_bundle
from support.dense import write_dense
from support.oracle import load_case

ORACLES = ["tf-1.15.5/vgg_16", "tf-2.21.0/slices", "tf-2.21.0/names", "tf-1.15.5/v1_sharded"]


class Calls:
    """Counts the calls of a function."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> None:
        self.count = 0
        function = getattr(owner, name)

        def counted(*arguments: object, **keywords: object) -> object:
            self.count += 1
            return function(*arguments, **keywords)

        monkeypatch.setattr(owner, name, counted)


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    return write_bundle(tmp_path, {f"t{i:04d}": np.ones(i % 3, "f4") for i in range(2000)})


def test_both_maps_go_through_the_index_once(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walks = Calls(monkeypatch, BundleIndex, "blocks")
    infos = [Calls(monkeypatch, BundleInfos, name) for name in ("infos", "info", "_infos_of")]
    reader = train.load_checkpoint(prefix)
    shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    assert len(shapes) == len(dtypes) == 2000
    assert walks.count == 1
    assert [calls.count for calls in infos] == [0, 0, 0]


def test_maps_belong_to_the_caller(prefix: Path) -> None:
    reader = train.load_checkpoint(prefix)
    first = reader.get_variable_to_shape_map()
    first["t0001"].append(7)
    del first["t0002"]
    assert reader.get_variable_to_shape_map()["t0001"] == [1]
    assert "t0002" in reader.get_variable_to_shape_map()


def test_equal_dtypes_are_one_object(prefix: Path) -> None:
    dtypes = train.load_checkpoint(prefix).get_variable_to_dtype_map()
    assert len(set(map(id, dtypes.values()))) == 1


@pytest.mark.parametrize("case", ORACLES)
def test_forms_are_those_of_tensorflow(case: str) -> None:
    recorded = load_case(case)
    with open_checkpoint(recorded.path) as ckpt:
        forms = ckpt.forms()
        infos = ckpt.infos()
    assert forms.names == [tensor.name for tensor in recorded.tensors]
    assert forms.shapes == [tuple(tensor.shape) for tensor in recorded.tensors]
    assert forms.tensorflow_dtypes == [info.tensorflow_dtype for info in infos]


def write_many_slices(folder: Path, count: int) -> Path:
    slices = b"".join(bytes_field(7, tensor_slice([(i, 1)])) for i in range(count))
    return write_dense(folder, [(b"w", bundle_entry(1, [count]) + slices)])


def test_an_entry_of_many_slices_is_parsed_once_and_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_many_slices(tmp_path, 20_000)
    parsed = Calls(monkeypatch, entries, "parse")
    counted = Calls(monkeypatch, entries, "require_few_parts")
    with open_checkpoint(path) as ckpt:
        assert "w" in ckpt
        assert parsed.count == 1
        assert len(ckpt.info("w").slices) == 20_000  # looks up so much that its block is decoded
        assert parsed.count == 2
        assert len(ckpt.info("w").slices) == 20_000
        assert "w" in ckpt
        assert parsed.count == 2
    assert counted.count == 0


def test_an_entry_of_dense_parts_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Calls(monkeypatch, entries, "require_few_parts")
    path = write_dense(tmp_path, [(b"w", bundle_entry(1, []) + bytes_field(7, b"") * 200_000)])
    with open_checkpoint(path) as ckpt, pytest.raises(ValueError, match="too many parts"):
        ckpt.info("w")
    assert counted.count == 1


def test_no_more_messages_than_are_counted() -> None:
    rng = random.Random(0)

    def message(depth: int) -> bytes:
        fields = b""
        for _ in range(rng.randrange(6)):
            number = rng.choice([1, 2, 3, 7, 9])
            if depth and rng.random() < 0.6:
                fields += bytes_field(number, message(depth - 1))
            else:
                fields += varint_field(number, rng.randrange(1 << 40))
        return fields

    def count(serialized: bytes, numbers: frozenset[int], depth: int) -> int:
        found = 0
        for field in iterate_fields(serialized, 0, len(serialized)):
            if field.wire_type == LENGTH_DELIMITED:
                inner = count(serialized[field.start : field.stop], numbers, depth - 1)
                found += inner + (field.number in numbers)
        return found

    for _ in range(300):
        serialized = message(3)
        for numbers in (frozenset((7,)), frozenset((1, 2)), frozenset((1, 2, 7))):
            assert count_most_messages(serialized, numbers) >= count(serialized, numbers, 3)
    padded = bytes([7 << 3 | 2 | 0x80, 0x00, 0x00])  # a tag that is longer than need be
    assert count_most_messages(padded, frozenset((7,))) == 1
