"""V1 files with one wrong field, every checksum right: tables of contents and records."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckptparse import CorruptCheckpointError, NotACheckpointError, UnsupportedError, open_checkpoint
from ckptparse.commands import main
from ckptparse.formats.saved_slices.record import decode_values
from support.builders import (
    Extent,
    bundle_entry,
    bundle_header,
    bytes_field,
    fixed32_field,
    slice_key,
    split,
    table,
    tensor_slice,
    varint,
    varint_field,
)
from support.hostile import (
    OPEN,
    READ,
    WAYS,
    codings_of,
    found_by_verify,
    require_refused,
    require_right,
    rows,
)
from support.saved_slices import (
    FLOAT,
    FLOAT_VAL,
    INT8,
    INT16,
    INT64,
    INT64_VAL,
    INT_VAL,
    STRING,
    STRING_VAL,
    contents,
    record,
    tensor_entry,
)

RIGHT = "the right values"
VALUES = {"x": [1, 2, 3]}
SLICES: list[list[Extent]] = [[(0, 1)], [(1, 2)]]


def meta(
    *,
    name: bytes | None = b"x",
    dim: bytes = varint(3),
    dtype: bytes = varint(INT16),
    slices: Sequence[bytes] = tuple(map(tensor_slice, SLICES)),
    rest: bytes = b"",
) -> bytes:
    """SavedSliceMeta: 1 name, 2 shape, 3 type, 4 slice."""
    return b"".join(
        [
            b"" if name is None else bytes_field(1, name),
            bytes_field(2, bytes_field(2, varint(1 << 3) + dim)),
            varint(3 << 3) + dtype,
            *(bytes_field(4, coded) for coded in slices),
            rest,
        ]
    )


def packed(*values: int) -> bytes:
    return bytes_field(INT_VAL, b"".join(varint(value % 2**64) for value in values))


RECORDS = {
    slice_key(b"x", SLICES[0]): record(packed(1)),
    slice_key(b"x", SLICES[1]): record(packed(2, 3)),
}


def write(folder: Path, listed: bytes, records: Mapping[bytes, bytes] = RECORDS) -> Path:
    path = folder / "m"
    path.write_bytes(table(sorted({b"": listed, **records}.items())))
    return path


def require(path: Path, expected: Any) -> None:
    if expected == RIGHT:
        require_right(path, VALUES)
    elif isinstance(expected, Mapping):
        require_right(path, expected)
    else:
        at, error_class, words = expected
        error = require_refused(path, error_class, words, at=at)
        assert error.file == str(path)
        assert error.offset is None, "positions in values of a table are no places in the file"


def test_the_file_that_is_damaged_below_is_right(tmp_path: Path) -> None:
    require(write(tmp_path, contents(meta())), RIGHT)


# Contents

NO_MESSAGE = "protocol buffer\n  expected: (a SavedSliceMeta|a VersionDef|0, 1, 2 or 5)\n  found:"
NO_CONTENTS = (OPEN, CorruptCheckpointError, NO_MESSAGE)
NO_SHAPE = (OPEN, CorruptCheckpointError, "tensor 'x': invalid shape\n  expected: sizes from 0")
NO_EXTENT = (
    OPEN,
    CorruptCheckpointError,
    "tensor 'x': invalid extent of a slice\n  expected: a start",
)
NO_PRODUCER = (OPEN, CorruptCheckpointError, "producer version\n  expected: 0 or more")
NEWER = (OPEN, UnsupportedError, "written for a newer reader")
NOT_FOR_US = (OPEN, UnsupportedError, "this reader must not read it")
OVERLAP = (
    READ,
    CorruptCheckpointError,
    "tensor 'x': slices overlap\n  expected: every element once",
)
OUTSIDE = (
    READ,
    CorruptCheckpointError,
    r"tensor 'x': invalid slice\n  expected: a part of the shape \[3\]",
)
HOLE = (
    READ,
    CorruptCheckpointError,
    "tensor 'x': slices do not cover the tensor\n  expected",
)
NO_FIELD = (
    READ,
    UnsupportedError,
    "tensor 'x': V1 checkpoints cannot hold this dtype.*unknown dtype",
)
OTHER_COUNT = (
    READ,
    CorruptCheckpointError,
    "tensor 'x': invalid values of a slice\n  expected: 1 of them",
)

CONTENTS: Mapping[str, Mapping[str, Any]] = {
    "dim": {  # 3, in slices of 1 and 2
        "zero": (READ, CorruptCheckpointError, r"slice\n  expected: a part of the shape \[0\]"),
        "one less": (READ, CorruptCheckpointError, r"slice\n  expected: a part of the shape \[2\]"),
        "one more": HOLE,
        "negative": NO_SHAPE,
        "2**31": HOLE,
        "2**63-1": (
            READ,
            UnsupportedError,
            "too large for numpy\n  expected: at most 9223372036854775807",
        ),
        "not minimal": RIGHT,
        "overlong": NO_CONTENTS,
    },
    "type": {  # 5, int16
        "zero": NO_FIELD,
        "one less": RIGHT,  # uint8
        "one more": RIGHT,  # int8
        "negative": NO_FIELD,
        "2**31": NO_FIELD,
        "2**63-1": NO_FIELD,
        "not minimal": RIGHT,
        "overlong": NO_CONTENTS,
    },
    "start": {  # 1
        "zero": OVERLAP,
        "one less": OVERLAP,
        "one more": OUTSIDE,
        "negative": NO_EXTENT,
        "2**31": OUTSIDE,
        "2**63-1": OUTSIDE,
        "not minimal": RIGHT,
        "overlong": NO_CONTENTS,
    },
    "length": {  # 2
        "zero": OUTSIDE,
        "one less": HOLE,
        "one more": OUTSIDE,
        "negative": NO_EXTENT,
        "2**31": OUTSIDE,
        "2**63-1": OUTSIDE,
        "not minimal": RIGHT,
        "overlong": NO_CONTENTS,
    },
    "producer": {  # 1
        "zero": RIGHT,
        "one less": RIGHT,
        "one more": RIGHT,
        "negative": NO_PRODUCER,
        "2**31": NO_PRODUCER,
        "2**63-1": NO_PRODUCER,
        "not minimal": RIGHT,
        "overlong": NO_CONTENTS,
    },
    "min_consumer": {  # 1
        "zero": RIGHT,
        "one less": RIGHT,
        "one more": NEWER,
        "negative": RIGHT,
        "2**31": RIGHT,
        "2**63-1": RIGHT,
        "not minimal": RIGHT,
        "overlong": NO_CONTENTS,
    },
    "bad_consumers": {  # 1, which is this reader
        "zero": RIGHT,
        "one less": RIGHT,
        "one more": RIGHT,
        "negative": RIGHT,
        "2**31": RIGHT,
        "2**63-1": RIGHT,
        "not minimal": NOT_FOR_US,
        "overlong": NO_CONTENTS,
    },
}


@pytest.mark.parametrize(("field", "coding", "expected"), rows(CONTENTS))
def test_contents(tmp_path: Path, field: str, coding: str, expected: Any) -> None:
    true = {"dim": 3, "type": 5, "start": 1, "length": 2}.get(field, 1)
    coded = codings_of(true)[coding]
    version = {"producer": 1, "min_consumer": 2, "bad_consumers": 3}.get(field)
    if version is not None:
        listed = contents(meta(), versions=varint(version << 3) + coded)
    elif field == "dim":
        listed = contents(meta(dim=coded))
    elif field == "type":
        listed = contents(meta(dtype=coded))
    else:
        place = {"start": varint(1), "length": varint(2), field: coded}
        extent = varint(1 << 3) + place["start"] + varint(2 << 3) + place["length"]
        listed = contents(meta(slices=[tensor_slice(SLICES[0]), bytes_field(1, extent)]))
    require(write(tmp_path, listed), expected)


@pytest.mark.parametrize(
    "dims",
    [(2**32, 2**32), (2**32, 2**32, 0), (-1, -3), (2**63 - 1, 2), (1,) * 255, (1,) * 300],
    ids=["2**64", "2**64 x 0", "negative", "2**64-2", "255 dimensions", "300 dimensions"],
)
def test_shapes_that_no_tensor_has(tmp_path: Path, dims: tuple[int, ...]) -> None:
    shape = b"".join(bytes_field(2, varint_field(1, size)) for size in dims)
    tensor = bytes_field(1, b"x") + bytes_field(2, shape) + varint_field(3, INT16)
    path = write(tmp_path, contents(tensor + bytes_field(4, tensor_slice([None] * len(dims)))))
    require(path, (OPEN, CorruptCheckpointError, "tensor 'x': invalid shape\n  expected"))


@pytest.mark.parametrize(
    ("slices", "expected"),
    [
        ([], HOLE),
        ([b""], (OPEN, CorruptCheckpointError, "slice\n  expected: 1 dimensions")),
        (
            [tensor_slice([None, None])],
            (OPEN, CorruptCheckpointError, "slice\n  expected: 1 dimensions"),
        ),
        ([tensor_slice([(0, 1)])] * 2, HOLE),
        ([tensor_slice([(0, 1)])] * 3, OVERLAP),
        ([tensor_slice(extents) for extents in SLICES * 2], OVERLAP),
        ([tensor_slice([None]), tensor_slice([(0, 3)])], OVERLAP),
        ([bytes_field(1, varint_field(1, 1))], NO_EXTENT),
    ],
    ids=[
        "none",
        "no dimension",
        "one dimension more",
        "one twice",
        "one thrice",
        "each twice",
        "whole in two forms",
        "start without length",
    ],
)
def test_slices_that_are_no_tiling(tmp_path: Path, slices: list[bytes], expected: Any) -> None:
    require(write(tmp_path, contents(meta(slices=slices))), expected)


def test_a_tensor_listed_twice_with_a_slice_each(tmp_path: Path) -> None:
    listed = contents(*(meta(slices=[tensor_slice(extents)]) for extents in SLICES))
    require(write(tmp_path, listed), RIGHT)


def test_a_tensor_listed_twice_with_the_same_slices(tmp_path: Path) -> None:
    require(write(tmp_path, contents(meta(), meta())), OVERLAP)


def test_a_tensor_listed_twice_with_different_types(tmp_path: Path) -> None:
    listed = contents(meta(), meta(dtype=varint(INT8)))
    require(
        write(tmp_path, listed),
        (OPEN, CorruptCheckpointError, "tensor 'x': invalid contents\n  exp"),
    )


def test_a_tensor_without_a_name_has_the_empty_one(tmp_path: Path) -> None:
    records = {slice_key(b"", extents): RECORDS[slice_key(b"x", extents)] for extents in SLICES}
    require(write(tmp_path, contents(meta(name=None)), records), {"": [1, 2, 3]})


@pytest.mark.parametrize("damaged", [b"\x0a", b"\x0a\x02x", b"\x0a\x7fx", b"\x0a\xff\x01x"])
@pytest.mark.parametrize("before", [b"", b"\x0a\x01y"], ids=["alone", "behind a tensor of a name"])
def test_a_tensor_that_ends_in_its_name(tmp_path: Path, before: bytes, damaged: bytes) -> None:
    tensors = [tensor for tensor in (before, damaged) if tensor]
    require(write(tmp_path, contents(meta(), *tensors)), NO_CONTENTS)


@pytest.mark.parametrize("versions", [b"", varint_field(1, 0)], ids=["absent", "producer 0"])
def test_contents_of_before_there_were_versions(tmp_path: Path, versions: bytes) -> None:
    require(write(tmp_path, contents(meta(), versions=versions)), RIGHT)


@pytest.mark.parametrize("listed", [b"", b"\x0a\x00", contents()], ids=["empty", "no meta", "none"])
def test_contents_of_nothing(tmp_path: Path, listed: bytes) -> None:
    """Records that the contents do not name are nobody's."""
    require(write(tmp_path, listed), {})


def test_no_contents(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(table(sorted(RECORDS.items())))
    words = "contents\n  expected: an entry under the empty key\n  found: none"
    require(path, (OPEN, CorruptCheckpointError, words))


def test_the_index_of_a_v2_checkpoint_under_the_name_of_a_v1_file(tmp_path: Path) -> None:
    """TensorFlow lists nothing; it is not a V1 checkpoint of no tensors."""
    path = tmp_path / "m"
    path.write_bytes(table([(b"", bundle_header()), (b"x", bundle_entry(FLOAT, ()))]))
    words = "not a V1 checkpoint(?s:.*)found: the index of a V2 checkpoint"
    require(path, (OPEN, NotACheckpointError, words))


# Records: a message in a message in a message, each of a declared length

NO_MESSAGE = (
    READ,
    CorruptCheckpointError,
    "tensor 'x': invalid ((field|wire type) of a protocol buffer|vari)",
)
NO_VALUES = (
    READ,
    CorruptCheckpointError,
    "tensor 'x': invalid values of a slice\n  expected: 2 of them",
)
ANY_DAMAGE = (READ, CorruptCheckpointError, "tensor 'x': ")

RECORD: Mapping[str, Mapping[str, Any]] = {
    level: {
        "zero": ANY_DAMAGE,
        "one less": ANY_DAMAGE,
        "one more": NO_MESSAGE,
        "negative": NO_MESSAGE,
        "2**31": NO_MESSAGE,
        "2**63-1": NO_MESSAGE,
        "not minimal": RIGHT,
        "overlong": NO_MESSAGE,
    }
    for level in ("slice length", "tensor length", "values length")
}


@pytest.mark.parametrize(("field", "coding", "expected"), rows(RECORD))
def test_lengths_in_records(tmp_path: Path, field: str, coding: str, expected: Any) -> None:
    def wrap(level: str, number: int, payload: bytes) -> bytes:
        nbytes = varint(len(payload))
        if level == field:
            nbytes = codings_of(len(payload))[coding]
        return varint(number << 3 | 2) + nbytes + payload

    values = wrap("values length", INT_VAL, bytes([2, 3]))
    saved_slice = bytes_field(1, b"x") + wrap("tensor length", 3, values)
    damaged = wrap("slice length", 2, saved_slice)
    path = write(tmp_path, contents(meta()), {**RECORDS, slice_key(b"x", SLICES[1]): damaged})
    require(path, expected)


NUMBERS: Mapping[str, tuple[bytes, Any]] = {
    "none": (b"", NO_VALUES),
    "one less": (packed(2), NO_VALUES),
    "one more": (packed(2, 3, 4), NO_VALUES),
    "in two pieces": (packed(2) + packed(3), RIGHT),
    "in pieces of nothing": (packed() + packed(2) + packed() + packed(3), RIGHT),
    "unpacked": (varint_field(INT_VAL, 2) + varint_field(INT_VAL, 3), RIGHT),
    "packed and not": (packed(2) + varint_field(INT_VAL, 3), RIGHT),
    "one of them over two pieces": (
        bytes_field(INT_VAL, b"\x02\x83") + bytes_field(INT_VAL, b"\x00"),
        RIGHT,  # one behind the other they are the field
    ),
    "not minimal": (bytes_field(INT_VAL, varint(2, 10) + varint(3, 7)), RIGHT),
    "overlong": (bytes_field(INT_VAL, varint(2, 11) + varint(3)), ANY_DAMAGE),
    "without an end": (bytes_field(INT_VAL, b"\x02\x83"), NO_VALUES),
    "behind an end": (bytes_field(INT_VAL, b"\x02\x03\x83"), ANY_DAMAGE),
    "by their low bits": (packed(2 + 2**16, 3 - 2**63), RIGHT),
    "in the field of another type": (bytes_field(INT64_VAL, b"\x02\x03"), NO_VALUES),
    "of another wire type": (fixed32_field(INT_VAL, 2) + fixed32_field(INT_VAL, 3), NO_VALUES),
    "beside another field": (packed(2, 3) + bytes_field(FLOAT_VAL, bytes(12)), RIGHT),
    "beside a dtype and shape": (
        varint_field(1, FLOAT) + bytes_field(2, b"") + packed(2, 3),
        RIGHT,
    ),
    "as tensor_content": (bytes_field(4, np.array([2, 3], "i2").tobytes()), NO_VALUES),
    "with field 0": (packed(2, 3) + b"\x00\x00", NO_MESSAGE),
    "with a group": (packed(2, 3) + b"\x7b\x7c", NO_MESSAGE),
    "with wire type 7": (packed(2, 3) + b"\x0f", NO_MESSAGE),
    "with a cut field": (packed(2, 3) + b"\x0d\x00\x00", NO_MESSAGE),
}


@pytest.mark.parametrize(("tensor", "expected"), NUMBERS.values(), ids=list(NUMBERS))
def test_values_of_a_record(tmp_path: Path, tensor: bytes, expected: Any) -> None:
    damaged = {**RECORDS, slice_key(b"x", SLICES[1]): record(tensor)}
    require(write(tmp_path, contents(meta()), damaged), expected)


@pytest.mark.parametrize(
    ("damaged", "expected"),
    [
        (b"", NO_VALUES),
        (bytes_field(1, b""), NO_VALUES),
        (bytes_field(3, bytes_field(3, packed(2, 3))), NO_VALUES),
        (varint_field(2, 1), NO_VALUES),
        (bytes_field(2, b""), NO_VALUES),
        (bytes_field(2, bytes_field(2, packed(2, 3))), NO_VALUES),
        (record(packed(2, 3), name=b"y"), RIGHT),
        (record(packed(2)) + record(packed(3)), RIGHT),
        (bytes_field(1, b"\xff\xff") + record(packed(2, 3)), RIGHT),
        (b"\xff" * 30, NO_MESSAGE),
        (contents(meta()), NO_VALUES),
    ],
    ids=[
        "empty",
        "meta only",
        "another tag",
        "another wire type",
        "no slice",
        "no tensor",
        "another name",
        "two slices",
        "a meta that does not parse",
        "noise",
        "contents",
    ],
)
def test_records_that_are_something_else(tmp_path: Path, damaged: bytes, expected: Any) -> None:
    path = write(tmp_path, contents(meta()), {**RECORDS, slice_key(b"x", SLICES[1]): damaged})
    require(path, expected)


@pytest.mark.parametrize("which", [0, 1])
def test_a_record_that_is_not_there(tmp_path: Path, which: int) -> None:
    records = dict(RECORDS)
    del records[slice_key(b"x", SLICES[which])]
    words = "tensor 'x': invalid slice\n  expected: a record under 00 78 .*\n  found: none"
    require(write(tmp_path, contents(meta()), records), (READ, CorruptCheckpointError, words))


def test_a_record_under_the_key_of_the_same_range_in_another_form(tmp_path: Path) -> None:
    listed = contents(meta(slices=[tensor_slice([None])]))
    path = write(tmp_path, listed, {slice_key(b"x", [(0, 3)]): record(packed(1, 2, 3))})
    require(path, (READ, CorruptCheckpointError, "slice\n  expected: a record under"))


FLOATS: Mapping[str, tuple[bytes, Any]] = {
    "right": (bytes_field(FLOAT_VAL, np.array([2, 3], "<f4").tobytes()), RIGHT),
    "none": (b"", NO_VALUES),
    "one less": (bytes_field(FLOAT_VAL, bytes(4)), NO_VALUES),
    "one more": (bytes_field(FLOAT_VAL, bytes(12)), NO_VALUES),
    "a byte less": (bytes_field(FLOAT_VAL, bytes(7)), NO_VALUES),
    "a byte more": (bytes_field(FLOAT_VAL, bytes(9)), NO_VALUES),
    "as varints": (bytes_field(INT_VAL, b"\x02\x03"), NO_VALUES),
    "unpacked": (
        b"".join(varint(FLOAT_VAL << 3 | 5) + np.float32(v).tobytes() for v in (2, 3)),
        RIGHT,
    ),
}


@pytest.mark.parametrize(("tensor", "expected"), FLOATS.values(), ids=list(FLOATS))
def test_floats_of_a_record(tmp_path: Path, tensor: bytes, expected: Any) -> None:
    first = bytes_field(FLOAT_VAL, np.array([1], "<f4").tobytes())
    records = dict(zip(RECORDS, (record(first), record(tensor))))
    require(write(tmp_path, contents(meta(dtype=varint(FLOAT))), records), expected)


STRINGS: Mapping[str, Any] = {
    "zero": ANY_DAMAGE,
    "one less": ANY_DAMAGE,
    "one more": ANY_DAMAGE,
    "negative": ANY_DAMAGE,
    "2**31": ANY_DAMAGE,
    "2**63-1": ANY_DAMAGE,
    "not minimal": {"x": [b"one", b"two", b""]},
    "overlong": ANY_DAMAGE,
}


@pytest.mark.parametrize(("coding", "expected"), STRINGS.items(), ids=list(STRINGS))
def test_lengths_of_strings(tmp_path: Path, coding: str, expected: Any) -> None:
    first = bytes_field(STRING_VAL, b"one")
    tag = varint(STRING_VAL << 3 | 2)
    tensor = tag + codings_of(3)[coding] + b"two" + bytes_field(STRING_VAL, b"")
    records = dict(zip(RECORDS, (record(first), record(tensor))))
    require(write(tmp_path, contents(meta(dtype=varint(STRING))), records), expected)


def test_2_to_the_40_strings(tmp_path: Path) -> None:
    listed = contents(meta(dim=varint(2**40), dtype=varint(STRING), slices=[tensor_slice([None])]))
    records = {slice_key(b"x", [None]): record(bytes_field(STRING_VAL, b"") * 3)}
    path = write(tmp_path, listed, records)
    tracemalloc.start()
    words = "values of a slice\n  expected: 1099511627776 of them\n  found: 3"
    require(path, (READ, CorruptCheckpointError, words))
    assert tracemalloc.get_traced_memory()[1] < 2 << 20
    tracemalloc.stop()


# Depth

DEEP = {
    "contents": lambda deep: contents(meta()) + deep,
    "meta": lambda deep: contents(meta(), rest=deep),
    "tensor": lambda deep: contents(meta(rest=deep)),
    "shape": lambda deep: contents(meta(rest=bytes_field(2, deep))),
    "dimension": lambda deep: contents(meta(rest=bytes_field(2, bytes_field(2, deep)))),
    "slice": lambda deep: contents(meta(rest=bytes_field(4, deep))),
    "extent": lambda deep: contents(meta(rest=bytes_field(4, bytes_field(1, deep)))),
    "versions": lambda deep: contents(meta(), versions=deep),
}


@pytest.mark.parametrize("depth", [1000, 100_000])
@pytest.mark.parametrize("wrap", DEEP.values(), ids=list(DEEP))
def test_groups_in_groups_in_each_message_of_contents(
    tmp_path: Path, wrap: Callable[[bytes], bytes], depth: int
) -> None:
    deep = varint(15 << 3 | 3) * depth + varint(15 << 3 | 4) * depth
    require(write(tmp_path, wrap(deep)), NO_CONTENTS)


@pytest.mark.parametrize("depth", [1000, 100_000])
@pytest.mark.parametrize("level", ["record", "slice", "tensor"])
def test_groups_in_groups_in_each_message_of_a_record(
    tmp_path: Path, level: str, depth: int
) -> None:
    deep = varint(15 << 3 | 3) * depth + varint(15 << 3 | 4) * depth
    damaged = {
        "record": record(packed(2, 3)) + deep,
        "slice": bytes_field(2, bytes_field(3, packed(2, 3)) + deep),
        "tensor": record(packed(2, 3) + deep),
    }[level]
    path = write(tmp_path, contents(meta()), {**RECORDS, slice_key(b"x", SLICES[1]): damaged})
    words = (
        "tensor 'x': invalid wire type of a protocol buffer\n  expected: 0, 1, 2 or 5\n  found: 3"
    )
    require(path, (READ, CorruptCheckpointError, words))


@pytest.mark.parametrize("level", ["record", "slice", "tensor"])
def test_messages_in_messages_of_a_record_are_stepped_over(tmp_path: Path, level: str) -> None:
    deep = b""
    for _ in range(1000):
        deep = bytes_field(15, deep)
    sound = {
        "record": deep + record(packed(2, 3)),
        "slice": bytes_field(2, deep + bytes_field(3, packed(2, 3))),
        "tensor": record(deep + packed(2, 3)),
    }[level]
    path = write(tmp_path, contents(meta()), {**RECORDS, slice_key(b"x", SLICES[1]): sound})
    require(path, RIGHT)


# Several files, very many slices


def test_files_of_a_set_that_contradict_each_other(tmp_path: Path) -> None:
    for i, dtype in enumerate((INT16, INT8)):
        listed = contents(meta(dtype=varint(dtype), slices=[tensor_slice(SLICES[i])]))
        name = f"m-0000{i}-of-00002"
        (tmp_path / name).write_bytes(table(sorted({b"": listed, **RECORDS}.items())))
    path = tmp_path / "m"
    error = require_refused(
        path, CorruptCheckpointError, "tensor 'x': invalid contents\n  exp", at=OPEN
    )
    assert error.file == f"{path}-00001-of-00002"


def test_a_slice_in_two_files_of_a_set(tmp_path: Path) -> None:
    for i in range(2):
        name = f"m-0000{i}-of-00002"
        (tmp_path / name).write_bytes(table(sorted({b"": contents(meta()), **RECORDS}.items())))
    require_refused(tmp_path / "m", CorruptCheckpointError, "slices overlap", at=READ)


MANY = 1000


def test_very_many_slices(tmp_path: Path) -> None:
    extents: list[list[Extent]] = [[(i, 1)] for i in range(MANY)]
    tensor = meta(dim=varint(MANY), slices=list(map(tensor_slice, extents)))
    records = {slice_key(b"x", e): record(packed(i)) for i, e in enumerate(extents)}
    entries = sorted({b"": contents(tensor), **records}.items())
    path = tmp_path / "m"
    path.write_bytes(table(*split(entries, 250)))
    for way in WAYS[::3]:
        with open_checkpoint(path, **way) as ckpt:
            assert ckpt["x"].tolist() == list(range(MANY))
            assert len(ckpt.info("x").slices) == MANY
            assert ckpt.verify().ok


@pytest.mark.parametrize("extents", [[[(0, 1)]] * MANY, [[None]] * MANY], ids=["part", "whole"])
def test_very_many_slices_of_one_record(tmp_path: Path, extents: list[list[Extent]]) -> None:
    tensor = meta(dim=varint(MANY), slices=list(map(tensor_slice, extents)))
    records = {slice_key(b"x", extents[0]): record(packed(*range(MANY)))}
    path = write(tmp_path, contents(tensor), records)
    for way in WAYS:
        with open_checkpoint(path, **way) as ckpt:
            with pytest.raises(CorruptCheckpointError, match="slices overlap"):
                ckpt["x"]
            assert found_by_verify(ckpt) == [("x", CorruptCheckpointError)]


@pytest.mark.parametrize("dtype", [FLOAT, INT16, INT64, STRING])
@pytest.mark.parametrize("size", [2**31, 2**40, 2**62, 2**63 - 1])
def test_declared_sizes_are_refused_by_reading_and_by_verification(
    tmp_path: Path, dtype: int, size: int
) -> None:
    """What numpy could not hold is unsupported before the record is looked for."""
    listed = contents(meta(dim=varint(size), dtype=varint(dtype), slices=[tensor_slice([None])]))
    path = write(tmp_path, listed, {slice_key(b"x", [None]): record(packed(1, 2, 3))})
    itemsize = {FLOAT: 4, INT16: 2}.get(dtype, 8)
    is_countable = size * itemsize < 2**63
    error_class = CorruptCheckpointError if is_countable else UnsupportedError
    for way in WAYS:
        with open_checkpoint(path, **way) as ckpt:
            assert ckpt.info("x").shape == (size,)
            for index in (..., 0, slice(0, 2), [0]):
                with pytest.raises(error_class, match=r"values of a slice|too large"):
                    ckpt.read("x", index)
            assert found_by_verify(ckpt) == [("x", error_class)]


# Slices that say more than can be


@pytest.mark.parametrize("rank", [1, 20, 254])
def test_extents_of_absurd_lengths(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rank: int
) -> None:
    listed = tensor_entry(b"x", [1] * rank, FLOAT, [[(0, 2**62)] * rank])
    path = write(tmp_path, contents(listed), {})
    with open_checkpoint(path) as ckpt:
        info = ckpt.info("x")
        assert info.nbytes == info.slices[0].nbytes == 4
        assert ckpt._repr_html_()
        (damage,) = ckpt.verify().damaged
        words = "too many dimensions" if rank == 254 else "slice\n  expected: a part of the shape"
        assert words in str(damage.error)
    for command in ("ls", "tree", "verify"):
        for options in ([], ["--json"]):
            assert main([command, *options, str(path)]) == (1 if command == "verify" else 0)
    capsys.readouterr()


def test_equal_slices_of_no_elements_are_decoded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = []

    def count(*arguments: Any) -> Any:
        decoded.append(arguments)
        return decode_values(*arguments)

    monkeypatch.setattr("ckptparse.formats.saved_slices.reader.decode_values", count)
    listed = tensor_entry(b"x", [0], FLOAT, [[None]] * 900 + [[(0, 0)]] * 50)
    keys = [slice_key(b"x", [extent]) for extent in (None, (0, 0))]
    path = write(tmp_path, contents(listed), dict.fromkeys(keys, record(b"")))
    with open_checkpoint(path) as ckpt:
        assert ckpt["x"].shape == (0,)
        assert ckpt.verify().ok
        assert len(decoded) == 2


def test_keys_of_slices_that_would_be_longer_than_any_file(tmp_path: Path) -> None:
    listed = tensor_entry(b"x" * 100_000, [0], FLOAT, [[None]] * 1000)
    require(
        write(tmp_path, contents(listed), {}),
        (OPEN, CorruptCheckpointError, "slices\n  expected: keys of at most .* bytes in all"),
    )
