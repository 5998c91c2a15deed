"""Records and contents of V1 files, field by field."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptparse import (
    CheckpointError,
    ChecksumError,
    CorruptCheckpointError,
    UnsupportedError,
    open_checkpoint,
)
from ckptparse.formats.saved_slices.contents import read_contents
from ckptparse.formats.saved_slices.record import find_values
from ckptparse.formats.tensor_values import decode_values
from ckptparse.messages.common import decode_shape, decode_slices
from ckptparse.messages.pool import load, parse
from ckptparse.sources import MemorySource
from ckptparse.sstable import Table
from support.builders import (
    bytes_field,
    fixed32_field,
    slice_key,
    table,
    tensor_shape,
    tensor_slice,
    varint,
    varint_field,
)
from support.repository import FIXTURES
from support.saved_slices import (
    FLOAT,
    FLOAT_VAL,
    HALF,
    HALF_VAL,
    INT32,
    INT64,
    INT64_VAL,
    INT_VAL,
    STRING,
    STRING_VAL,
    contents,
    record,
    tensor_entry,
)


def write_v1(folder: Path, entries: dict[bytes, bytes]) -> Path:
    path = folder / "model.ckpt"
    path.write_bytes(table(sorted(entries.items())))
    return path


def packed(values: Sequence[int]) -> bytes:
    return b"".join(varint(value % 2**64) for value in values)


@pytest.mark.parametrize("mmap", [True, False], ids=["mmap", "pread"])
@pytest.mark.parametrize("crc_xor", [0, 1], ids=["sound", "damaged"])
def test_verify_checks_what_reading_without_checks_does_not(
    tmp_path: Path, crc_xor: int, mmap: bool
) -> None:
    values = np.arange(4, dtype="<f4")
    blocks = (
        [(b"", contents(tensor_entry(b"x", (4,), FLOAT, [[None]])))],
        [(slice_key(b"x", [None]), record(bytes_field(FLOAT_VAL, values.tobytes())))],
    )
    path = tmp_path / "model.ckpt"
    path.write_bytes(table(*blocks, crc_xors={1: crc_xor}))
    with open_checkpoint(path, verify=False, mmap=mmap) as ckpt:
        for _ in range(2):  # the block is kept, and neither answer changes the other
            assert ckpt["x"].tolist() == values.tolist()
            damaged = [(damage.name, type(damage.error)) for damage in ckpt.verify().damaged]
            assert damaged == [("x", ChecksumError)] * crc_xor


class TestRecord:
    @given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=60), st.data())
    def test_integers_packed_unpacked_and_mixed(
        self, values: list[int], data: st.DataObject
    ) -> None:
        cut = data.draw(st.integers(0, len(values)))
        one_by_one = [varint_field(INT64_VAL, value) for value in values[cut:]]
        coded = record(bytes_field(INT64_VAL, packed(values[:cut])), *one_by_one)
        array = decode_values(find_values(coded, INT64), INT64, len(values))
        assert array.tolist() == values
        assert array.dtype == np.int64

    def test_floats_in_one_piece_are_a_view(self) -> None:
        numbers = np.arange(5, dtype="f4")
        coded = memoryview(record(bytes_field(FLOAT_VAL, numbers.tobytes())))
        array = decode_values(find_values(coded, FLOAT), FLOAT, 5)
        assert array.tolist() == numbers.tolist()
        assert np.shares_memory(array, np.frombuffer(coded, np.uint8))

    def test_floats_in_pieces(self) -> None:
        halves = [np.arange(2, dtype="f4"), np.arange(2, 5, dtype="f4")]
        coded = record(*(bytes_field(FLOAT_VAL, half.tobytes()) for half in halves))
        assert decode_values(find_values(coded, FLOAT), FLOAT, 5).tolist() == [0, 1, 2, 3, 4]

    @pytest.mark.parametrize("size", [0, 2, 4, 2**40])
    @pytest.mark.parametrize(
        ("dtype", "field"),
        [
            (FLOAT, bytes_field(FLOAT_VAL, bytes(12))),
            (INT32, bytes_field(INT_VAL, b"\x01\x02\x03")),
            (HALF, bytes_field(HALF_VAL, b"\x01\x02\x03")),
            (STRING, bytes_field(STRING_VAL, b"a") * 3),
        ],
    )
    def test_another_number_of_values_is_an_error(
        self, dtype: int, field: bytes, size: int
    ) -> None:
        values = find_values(record(field), dtype)
        assert len(decode_values(values, dtype, 3)) == 3
        with pytest.raises(CorruptCheckpointError, match=f"expected: {size} of them"):
            decode_values(values, dtype, size)

    @pytest.mark.parametrize(
        ("dtype", "field"),
        [
            (FLOAT, bytes_field(FLOAT_VAL, bytes(11))),
            (INT64, bytes_field(INT64_VAL, b"\x01\x02\x80")),
            (INT64, bytes_field(INT64_VAL, b"\xff" * 11 + b"\x01")),
        ],
        ids=["a float cut short", "a varint that does not end", "a varint of 12 bytes"],
    )
    def test_values_that_are_none(self, dtype: int, field: bytes) -> None:
        values = find_values(record(field), dtype)
        for size in range(4):
            with pytest.raises(CorruptCheckpointError):
                decode_values(values, dtype, size)

    def test_wire_types_that_do_not_fit_are_other_fields(self) -> None:
        coded = record(varint_field(FLOAT_VAL, 1), fixed32_field(INT_VAL, 1))
        assert find_values(coded, FLOAT) == []
        assert find_values(coded, INT32) == []


class TestContents:
    def test_by_hand(self, tmp_path: Path) -> None:
        entries = {
            b"": contents(tensor_entry(b"x", (3,), INT32, [[None]])),
            slice_key(b"x", [None]): record(bytes_field(INT_VAL, packed([1, -2, 300]))),
        }
        with open_checkpoint(write_v1(tmp_path, entries)) as ckpt:
            assert ckpt["x"].tolist() == [1, -2, 300]
            assert ckpt.info("x").nbytes == 12

    @pytest.mark.parametrize(
        ("dims", "slices"),
        [
            ((2**40,), [[None]]),
            ((2**31, 2**31), [[None, None]]),
            ((2**40,), [[(0, 2**39)], [(2**39, 2**39)]]),
            ((2**20, 2**20), [[(0, 1), None], [(1, 2**20 - 1), None]]),
        ],
        ids=["a vector", "a matrix", "two slices", "rows"],
    )
    @pytest.mark.parametrize("dtype", [FLOAT, INT32, STRING, INT64])
    def test_a_declared_shape_allocates_nothing(self, tmp_path: Path, dims, slices, dtype) -> None:
        entries = {b"": contents(tensor_entry(b"x", dims, dtype, slices))}
        for extents in slices:
            entries[slice_key(b"x", extents)] = record(bytes_field(FLOAT_VAL, bytes(8)))
        path = write_v1(tmp_path, entries)
        tracemalloc.start()
        for mmap in (True, False):
            with open_checkpoint(path, mmap=mmap) as ckpt:
                assert ckpt.info("x").shape == dims
                for index in (..., 0, [0, 1]):
                    with pytest.raises(CheckpointError):
                        ckpt.read("x", index)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 3_000_000

    @pytest.mark.parametrize(
        ("listed", "words"),
        [
            (contents(tensor_entry(b"x", (-1,), FLOAT, [[None]])), "shape"),
            (contents(tensor_entry(b"x", (3,), FLOAT, [[None, None]])), "1 dimensions"),
            (contents(tensor_entry(b"x", (3,), FLOAT, [[(1, -1)]])), "extent"),
            (contents(tensor_entry(b"x", (1,) * 255, FLOAT, [])), "255"),
            (
                contents(
                    tensor_entry(b"x", (3,), FLOAT, [[None]]), tensor_entry(b"x", (4,), FLOAT, [])
                ),
                "as elsewhere",
            ),
            (b"\x0a\x05abc", "protocol buffer"),
        ],
    )
    def test_contents_that_cannot_be(self, tmp_path: Path, listed: bytes, words: str) -> None:
        with pytest.raises(CorruptCheckpointError, match=words) as error:
            open_checkpoint(write_v1(tmp_path, {b"": listed}))
        assert error.value.file == str(tmp_path / "model.ckpt")

    def test_no_contents(self, tmp_path: Path) -> None:
        with pytest.raises(CorruptCheckpointError, match="contents"):
            open_checkpoint(write_v1(tmp_path, {b"x": b""}))

    def test_a_record_that_is_missing(self, tmp_path: Path) -> None:
        path = write_v1(tmp_path, {b"": contents(tensor_entry(b"x", (3,), FLOAT, [[None]]))})
        with open_checkpoint(path) as ckpt:
            with pytest.raises(CorruptCheckpointError, match="a record under") as error:
                ckpt["x"]
            assert error.value.tensor == "x"
            assert [damage.name for damage in ckpt.verify().damaged] == ["x"]

    @pytest.mark.parametrize("dtype", [0, 14, 20, 21, 24, 34, 101])
    def test_dtypes_that_v1_does_not_have(self, tmp_path: Path, dtype: int) -> None:
        path = write_v1(tmp_path, {b"": contents(tensor_entry(b"x", (3,), dtype, [[None]]))})
        with open_checkpoint(path) as ckpt:
            assert list(ckpt) == ["x"]
            assert len(ckpt.infos()) == 1
            with pytest.raises(UnsupportedError):
                ckpt["x"]

    def test_no_slices_at_all(self, tmp_path: Path) -> None:
        path = write_v1(tmp_path, {b"": contents(tensor_entry(b"x", (3,), FLOAT, []))})
        with open_checkpoint(path) as ckpt:
            assert ckpt.info("x").nbytes == 0
            with pytest.raises(CorruptCheckpointError, match="do not cover"):
                ckpt["x"]


class TestContentsAsMessages:
    """As protobuf parses them: fields in any order, repeated, unknown, or split over messages."""

    FIELDS = st.one_of(
        st.sampled_from([b"x", b"y", b"", b"x" * 130]).map(lambda name: bytes_field(1, name)),
        st.sampled_from([(), (2,), (2, 3)]).map(lambda dims: bytes_field(2, tensor_shape(dims))),
        st.sampled_from([0, 1, 3]).map(lambda dtype: varint_field(3, dtype)),
        st.sampled_from([[], [None], [(0, 1)], [None, (1, 2)]]).map(
            lambda extents: bytes_field(4, tensor_slice(extents))
        ),
        st.sampled_from([varint_field(9, 5), fixed32_field(1, 5), varint_field(1, 1), b"\x0a"]),
    )
    TENSORS = st.lists(FIELDS, max_size=5).map(b"".join)
    USUAL = st.sampled_from([b"x", b"y", b"z"]).map(
        lambda name: tensor_entry(name, [2], 1, [[None]])
    )

    @given(st.lists(st.lists(st.one_of(USUAL, TENSORS), max_size=6), min_size=1, max_size=2))
    def test_any_order(self, metas: list[list[bytes]]) -> None:
        listed = b"".join(
            bytes_field(1, b"".join(bytes_field(1, tensor) for tensor in tensors))
            for tensors in metas
        )
        expected: dict[str, list[object]] | None = {}
        try:
            meta = parse(load("saved_slices.proto")["SavedTensorSlices"], listed).meta
            for tensor in meta.tensor:
                shape = decode_shape(tensor.shape)
                slices = list(decode_slices(tensor.slice, len(shape)))
                known = expected.setdefault(tensor.name, [tensor.type, shape, []])
                if known[:2] != [tensor.type, shape]:
                    raise CorruptCheckpointError("contents")
                known[2] += slices
        except CheckpointError:
            expected = None
        file = MemorySource("m", table([(b"", listed)]))
        try:
            found = {
                name: [entry.dtype, entry.shape, [place.extents for place in entry.slices]]
                for name, entry in read_contents([Table(file)]).items()
            }
        except CheckpointError:
            found = None
        assert found == expected


def test_strings_are_one_piece() -> None:
    """Only numbers have pieces of a known size; a writer takes strings as a whole."""
    with open_checkpoint(FIXTURES / "tf-2.21.0/v1_strings") as ckpt:
        (piece,) = ckpt.read_pieces(["lengths"], 8)
    assert piece.values.shape == piece.shape == (5,)
