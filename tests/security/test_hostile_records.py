"""V1 files with one wrong field, every checksum right: tables of contents and records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckptparse import CorruptCheckpointError, NotACheckpointError, UnsupportedError, open_checkpoint
from ckptparse.commands import main
from ckptparse.formats.tensor_values import decode_values
from support.builders import (
    Extent,
    bundle_entry,
    bundle_header,
    bytes_field,
    fixed32_field,
    groups,
    slice_key,
    split,
    table,
    tensor_slice,
    varint,
    varint_field,
    wrapped,
)
from support.hostile import (
    DEPTHS,
    FRESH,
    OPEN,
    READ,
    Refused,
    Right,
    allocating_at_most,
    each_case,
    field,
    field_rows,
    found_by_verify,
    opened,
    with_outcome,
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

RIGHT = Right({"x": [1, 2, 3]})
SLICES: list[list[Extent]] = [[(0, 1)], [(1, 2)]]


def refused(at: int, words: str, error_class: Any = CorruptCheckpointError) -> Refused:
    """An error without an offset: a position in a value of a table is not a place in the file."""
    return Refused(at, words, error_class, suffix="", offset=None)


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


KEYS = [slice_key(b"x", extents) for extents in SLICES]
RECORDS = {KEYS[0]: record(packed(1)), KEYS[1]: record(packed(2, 3))}


def write(folder: Path, entries: Mapping[bytes, bytes]) -> Path:
    """A V1 file of these entries."""
    path = folder / "m"
    path.write_bytes(table(sorted(entries.items())))
    return path


def with_contents(folder: Path, listed: bytes) -> Path:
    return write(folder, {b"": listed, **RECORDS})


def with_second(folder: Path, damaged: bytes) -> Path:
    """A file with this record of the second slice."""
    return write(folder, {b"": contents(meta()), **RECORDS, KEYS[1]: damaged})


def test_the_file_that_is_damaged_below_is_right(tmp_path: Path) -> None:
    RIGHT.check(with_contents(tmp_path, contents(meta())))


# Contents

NO_CONTENTS = refused(
    OPEN,
    "protocol buffer\n  expected: (a SavedSliceMeta|a VersionDef|0, 1, 2 or 5)\n  found:",
)
NO_SHAPE = refused(OPEN, "tensor 'x': invalid shape\n  expected: sizes from 0")
NO_EXTENT = refused(OPEN, "tensor 'x': invalid extent of a slice\n  expected: a start")
NO_PRODUCER = refused(OPEN, "producer version\n  expected: 0 or more")
NEWER = refused(OPEN, "written for a newer reader", UnsupportedError)
NOT_FOR_US = refused(OPEN, "this reader must not read it", UnsupportedError)
OTHER_TENSOR = refused(OPEN, "tensor 'x': invalid contents\n  exp")
OTHER_RANK = refused(OPEN, "slice\n  expected: 1 dimensions")
OVERLAP = refused(READ, "tensor 'x': slices overlap\n  expected: every element once")
HOLE = refused(READ, "tensor 'x': slices do not cover the tensor\n  expected")
NO_FIELD = refused(
    READ, "tensor 'x': V1 checkpoints cannot store this dtype.*unknown dtype", UnsupportedError
)
TOO_LARGE = refused(
    READ, "too large for numpy\n  expected: at most 9223372036854775807", UnsupportedError
)


def outside(size: int) -> Refused:
    return refused(READ, rf"tensor 'x': invalid slice\n  expected: a part of the shape \[{size}\]")


CONTENTS = {
    "dim": field(  # in slices of 1 and 2
        3,
        RIGHT,
        HOLE,
        NO_CONTENTS,
        zero=outside(0),
        one_less=outside(2),
        negative=NO_SHAPE,
        two_63=TOO_LARGE,
    ),
    # One less is uint8, one more int8.
    "type": field(INT16, RIGHT, NO_FIELD, NO_CONTENTS, one_less=RIGHT, one_more=RIGHT),
    "start": field(1, RIGHT, outside(3), NO_CONTENTS, zero=OVERLAP, negative=NO_EXTENT),
    "length": field(2, RIGHT, outside(3), NO_CONTENTS, one_less=HOLE, negative=NO_EXTENT),
    "producer": field(1, RIGHT, NO_PRODUCER, NO_CONTENTS, zero=RIGHT, one_more=RIGHT),
    "min_consumer": field(1, RIGHT, RIGHT, NO_CONTENTS, one_more=NEWER),
    "bad_consumers": field(1, NOT_FOR_US, RIGHT, NO_CONTENTS),  # 1 is this reader
}


def contents_with(name: str, value: bytes) -> bytes:
    """Contents with this value of a field."""
    version = {"producer": 1, "min_consumer": 2, "bad_consumers": 3}.get(name)
    if version is not None:
        return contents(meta(), versions=varint(version << 3) + value)
    if name == "dim":
        return contents(meta(dim=value))
    if name == "type":
        return contents(meta(dtype=value))
    place = {"start": varint(1), "length": varint(2), name: value}
    extent = varint(1 << 3) + place["start"] + varint(2 << 3) + place["length"]
    return contents(meta(slices=[tensor_slice(SLICES[0]), bytes_field(1, extent)]))


test_contents = each_case(with_contents, field_rows(CONTENTS, contents_with))

SHAPES = {
    "2**64": (2**32, 2**32),
    "2**64 x 0": (2**32, 2**32, 0),
    "negative": (-1, -3),
    "2**64-2": (2**63 - 1, 2),
    "255 dimensions": (1,) * 255,
    "300 dimensions": (1,) * 300,
}


def with_shape(folder: Path, dims: tuple[int, ...]) -> Path:
    shape = b"".join(bytes_field(2, varint_field(1, size)) for size in dims)
    tensor = bytes_field(1, b"x") + bytes_field(2, shape) + varint_field(3, INT16)
    whole = bytes_field(4, tensor_slice([None] * len(dims)))
    return with_contents(folder, contents(tensor + whole))


test_shapes_that_no_tensor_has = each_case(
    with_shape, SHAPES, refused(OPEN, "tensor 'x': invalid shape\n  expected")
)

FIRST, SECOND = map(tensor_slice, SLICES)

test_slices_that_are_no_tiling = each_case(
    lambda folder, slices: with_contents(folder, contents(meta(slices=slices))),
    {
        "none": ([], HOLE),
        "no dimension": ([b""], OTHER_RANK),
        "one dimension more": ([tensor_slice([None, None])], OTHER_RANK),
        "one twice": ([FIRST] * 2, HOLE),
        "one thrice": ([FIRST] * 3, OVERLAP),
        "each twice": ([FIRST, SECOND] * 2, OVERLAP),
        "whole in two forms": ([tensor_slice([None]), tensor_slice([(0, 3)])], OVERLAP),
        "start without length": ([bytes_field(1, varint_field(1, 1))], NO_EXTENT),
    },
)

test_a_tensor_listed_twice = each_case(
    lambda folder, tensors: with_contents(folder, contents(*tensors)),
    {
        "with a slice each": ([meta(slices=[FIRST]), meta(slices=[SECOND])], RIGHT),
        "with the same slices": ([meta(), meta()], OVERLAP),
        "with different types": ([meta(), meta(dtype=varint(INT8))], OTHER_TENSOR),
    },
)


def test_a_tensor_without_a_name_has_the_empty_one(tmp_path: Path) -> None:
    records = {slice_key(b"", extents): RECORDS[slice_key(b"x", extents)] for extents in SLICES}
    path = write(tmp_path, {b"": contents(meta(name=None)), **records})
    Right({"": [1, 2, 3]}).check(path)


test_a_tensor_that_ends_in_its_name = each_case(
    with_contents,
    {
        f"{where}-{damaged.hex()}": contents(meta(), *before, damaged)
        for where, before in {"alone": [], "behind a tensor of a name": [b"\x0a\x01y"]}.items()
        for damaged in (b"\x0a", b"\x0a\x02x", b"\x0a\x7fx", b"\x0a\xff\x01x")
    },
    NO_CONTENTS,
)


def test_contents_of_before_there_were_versions(tmp_path: Path) -> None:
    RIGHT.check(with_contents(tmp_path, contents(meta(), versions=b"")))


# Records that the contents do not name are ignored.
test_contents_of_nothing = each_case(
    with_contents, {"empty": b"", "no meta": b"\x0a\x00", "none": contents()}, Right({})
)

test_other_tables = each_case(
    write,
    {
        "no contents": (
            RECORDS,
            refused(OPEN, "contents\n  expected: an entry under the empty key\n  found: none"),
        ),
        # TensorFlow lists nothing; it is not a V1 checkpoint of no tensors.
        "the index of a V2 checkpoint": (
            {b"": bundle_header(), b"x": bundle_entry(FLOAT, ())},
            refused(
                OPEN,
                "not a V1 checkpoint(?s:.*)found: the index of a V2 checkpoint",
                NotACheckpointError,
            ),
        ),
    },
)


def test_a_name_longer_than_a_compressed_file(tmp_path: Path) -> None:
    name = b"x" * 70_000
    listed = contents(tensor_entry(name, [1], FLOAT, [[None]]))
    path = tmp_path / "m"
    path.write_bytes(table([(b"", listed)], snappy_blocks=True))
    refused(OPEN, "expected: at most 65536 bytes").check(path)


# Records: a message in a message in a message, each of a declared length

NO_MESSAGE = refused(READ, "tensor 'x': invalid ((field|wire type) of a protocol buffer|vari)")
NO_VALUES = refused(READ, "tensor 'x': invalid values of a tensor\n  expected: 2 of them")
ANY_DAMAGE = refused(READ, "tensor 'x': ")


RECORD = {
    name: field(true, RIGHT, NO_MESSAGE, NO_MESSAGE, below=ANY_DAMAGE)
    for name, true in {"slice length": 9, "tensor length": 4, "values length": 2}.items()
}


def record_with(name: str, value: bytes) -> bytes:
    """The record of the second slice, with this value of a length."""

    def wrap(level: str, number: int, payload: bytes) -> bytes:
        nbytes = value if level == name else varint(len(payload))
        return varint(number << 3 | 2) + nbytes + payload

    values = wrap("values length", INT_VAL, bytes([2, 3]))
    return wrap("slice length", 2, bytes_field(1, b"x") + wrap("tensor length", 3, values))


test_lengths_in_records = each_case(with_second, field_rows(RECORD, record_with))

NUMBERS = {
    "none": (b"", NO_VALUES),
    "one less": (packed(2), NO_VALUES),
    "one more": (packed(2, 3, 4), NO_VALUES),
    "in two pieces": (packed(2) + packed(3), RIGHT),
    "in pieces of nothing": (packed() + packed(2) + packed() + packed(3), RIGHT),
    "unpacked": (varint_field(INT_VAL, 2) + varint_field(INT_VAL, 3), RIGHT),
    "packed and not": (packed(2) + varint_field(INT_VAL, 3), RIGHT),
    "one of them over two pieces": (
        bytes_field(INT_VAL, b"\x02\x83") + bytes_field(INT_VAL, b"\x00"),
        RIGHT,  # concatenated they are the field
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


test_values_of_a_record = each_case(
    lambda folder, tensor: with_second(folder, record(tensor)), NUMBERS
)

OTHER_RECORDS = {
    "empty": b"",
    "meta only": bytes_field(1, b""),
    "another tag": bytes_field(3, bytes_field(3, packed(2, 3))),
    "another wire type": varint_field(2, 1),
    "no slice": bytes_field(2, b""),
    "no tensor": bytes_field(2, bytes_field(2, packed(2, 3))),
    "contents": contents(meta()),
}

test_records_that_are_something_else = each_case(
    with_second,
    with_outcome(NO_VALUES, OTHER_RECORDS)
    | {
        "another name": (record(packed(2, 3), name=b"y"), RIGHT),
        "two slices": (record(packed(2)) + record(packed(3)), RIGHT),
        "a meta that does not parse": (bytes_field(1, b"\xff\xff") + record(packed(2, 3)), RIGHT),
        "noise": (b"\xff" * 30, NO_MESSAGE),
    },
)

ANOTHER_FORM = {
    b"": contents(meta(slices=[tensor_slice([None])])),
    slice_key(b"x", [(0, 3)]): record(packed(1, 2, 3)),
}

test_a_record_that_is_not_there = each_case(
    write,
    {
        **with_outcome(
            refused(
                READ,
                "tensor 'x': invalid slice\n  expected: a record under 00 78 .*\n  found: none",
            ),
            {
                "0": {b"": contents(meta()), KEYS[1]: RECORDS[KEYS[1]]},
                "1": {b"": contents(meta()), KEYS[0]: RECORDS[KEYS[0]]},
            },
        ),
        "under the key of the same range in another form": (
            ANOTHER_FORM,
            refused(READ, "slice\n  expected: a record under"),
        ),
    },
)

FLOATS = {
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


def with_tensors(folder: Path, dtype: int, *tensors: bytes) -> Path:
    """A file of this dtype whose records have these TensorProtos."""
    records = dict(zip(KEYS, map(record, tensors)))
    return write(folder, {b"": contents(meta(dtype=varint(dtype))), **records})


ONE = bytes_field(FLOAT_VAL, np.array([1], "<f4").tobytes())

test_floats_of_a_record = each_case(
    lambda folder, tensor: with_tensors(folder, FLOAT, ONE, tensor), FLOATS
)

RIGHT_STRINGS = Right({"x": [b"one", b"two", b""]})


def with_strings(folder: Path, length: bytes) -> Path:
    """A file of three strings, with this value for the length of the second one."""
    second = varint(STRING_VAL << 3 | 2) + length + b"two"
    return with_tensors(
        folder,
        STRING,
        bytes_field(STRING_VAL, b"one"),
        second + bytes_field(STRING_VAL, b""),
    )


test_lengths_of_strings = each_case(
    with_strings,
    field_rows(
        {"length": field(3, RIGHT_STRINGS, ANY_DAMAGE, ANY_DAMAGE)}, lambda name, value: value
    ),
)


def test_2_to_the_40_strings(tmp_path: Path) -> None:
    listed = contents(meta(dim=varint(2**40), dtype=varint(STRING), slices=[tensor_slice([None])]))
    strings = record(bytes_field(STRING_VAL, b"") * 3)
    path = write(tmp_path, {b"": listed, slice_key(b"x", [None]): strings})
    words = "values of a tensor\n  expected: 1099511627776 of them\n  found: 3"
    with allocating_at_most(2 << 20):
        refused(READ, words).check(path)


# Depth

DEEP_CONTENTS = {
    "contents": lambda deep: contents(meta()) + deep,
    "meta": lambda deep: contents(meta(), rest=deep),
    "tensor": lambda deep: contents(meta(rest=deep)),
    "shape": lambda deep: contents(meta(rest=wrapped((2,), deep))),
    "dimension": lambda deep: contents(meta(rest=wrapped((2, 2), deep))),
    "slice": lambda deep: contents(meta(rest=wrapped((4,), deep))),
    "extent": lambda deep: contents(meta(rest=wrapped((4, 1), deep))),
    "versions": lambda deep: contents(meta(), versions=deep),
}

test_groups_in_groups_in_each_message_of_contents = each_case(
    with_contents,
    {
        f"{name}-{depth}": wrap(groups(depth))
        for name, wrap in DEEP_CONTENTS.items()
        for depth in DEPTHS
    },
    NO_CONTENTS,
)

DEEP_RECORDS = {
    "record": lambda deep: record(packed(2, 3)) + deep,
    "slice": lambda deep: bytes_field(2, bytes_field(3, packed(2, 3)) + deep),
    "tensor": lambda deep: record(packed(2, 3) + deep),
}

test_groups_in_groups_in_each_message_of_a_record = each_case(
    with_second,
    {
        f"{name}-{depth}": wrap(groups(depth))
        for name, wrap in DEEP_RECORDS.items()
        for depth in DEPTHS
    },
    refused(
        READ,
        "tensor 'x': invalid wire type of a protocol buffer\n  expected: 0, 1, 2 or 5\n  found: 3",
    ),
)

DEEP_MESSAGES = wrapped((15,) * 1000, b"")

test_messages_in_messages_of_a_record_are_stepped_over = each_case(
    with_second,
    {
        "record": DEEP_MESSAGES + record(packed(2, 3)),
        "slice": bytes_field(2, DEEP_MESSAGES + bytes_field(3, packed(2, 3))),
        "tensor": record(DEEP_MESSAGES + packed(2, 3)),
    },
    RIGHT,
)


# Several files, very many slices


def write_set(folder: Path, *listed: bytes) -> Path:
    """A set of files with these contents, and all records in each of them."""
    for i, each in enumerate(listed):
        path = folder / f"m-{i:05}-of-{len(listed):05}"
        path.write_bytes(table(sorted({b"": each, **RECORDS}.items())))
    return folder / "m"


def test_files_of_a_set_that_contradict_each_other(tmp_path: Path) -> None:
    tensors = meta(slices=[FIRST]), meta(dtype=varint(INT8), slices=[SECOND])
    path = write_set(tmp_path, *map(contents, tensors))
    words = "tensor 'x': invalid contents\n  exp"
    Refused(OPEN, words, suffix="-00001-of-00002").check(path)


def test_a_slice_in_two_files_of_a_set(tmp_path: Path) -> None:
    path = write_set(tmp_path, contents(meta()), contents(meta()))
    Refused(READ, "slices overlap").check(path)


MANY = 1000


def test_very_many_slices(tmp_path: Path) -> None:
    extents: list[list[Extent]] = [[(i, 1)] for i in range(MANY)]
    tensor = meta(dim=varint(MANY), slices=list(map(tensor_slice, extents)))
    records = {slice_key(b"x", e): record(packed(i)) for i, e in enumerate(extents)}
    entries = sorted({b"": contents(tensor), **records}.items())
    path = tmp_path / "m"
    path.write_bytes(table(*split(entries, 250)))
    for ckpt in opened(path, FRESH):
        assert ckpt["x"].tolist() == list(range(MANY))
        assert len(ckpt.info("x").slices) == MANY
        assert ckpt.verify().ok


@pytest.mark.parametrize("extents", [[[(0, 1)]] * MANY, [[None]] * MANY], ids=["part", "whole"])
def test_very_many_slices_of_one_record(tmp_path: Path, extents: list[list[Extent]]) -> None:
    tensor = meta(dim=varint(MANY), slices=list(map(tensor_slice, extents)))
    records = {slice_key(b"x", extents[0]): record(packed(*range(MANY)))}
    path = write(tmp_path, {b"": contents(tensor), **records})
    for ckpt in opened(path):
        with pytest.raises(CorruptCheckpointError, match="slices overlap"):
            ckpt["x"]
        assert found_by_verify(ckpt) == [("x", CorruptCheckpointError)]


@pytest.mark.parametrize("dtype", [FLOAT, INT16, INT64, STRING])
@pytest.mark.parametrize("size", [2**31, 2**40, 2**62, 2**63 - 1])
def test_declared_sizes_are_refused_by_reading_and_by_verification(
    tmp_path: Path, dtype: int, size: int
) -> None:
    """If numpy could not hold the array, the error comes before the record is looked for."""
    listed = contents(meta(dim=varint(size), dtype=varint(dtype), slices=[tensor_slice([None])]))
    values = record(packed(1, 2, 3))
    path = write(tmp_path, {b"": listed, slice_key(b"x", [None]): values})
    itemsize = {FLOAT: 4, INT16: 2}.get(dtype, 8)
    is_countable = size * itemsize < 2**63
    error_class = CorruptCheckpointError if is_countable else UnsupportedError
    for ckpt in opened(path):
        assert ckpt.info("x").shape == (size,)
        for index in (..., 0, slice(0, 2), [0]):
            with pytest.raises(error_class, match=r"values of a tensor|too large"):
                ckpt.read("x", index)
        assert found_by_verify(ckpt) == [("x", error_class)]


# Slices that say more than can be


@pytest.mark.parametrize("rank", [1, 20, 254])
def test_extents_of_absurd_lengths(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rank: int
) -> None:
    listed = tensor_entry(b"x", [1] * rank, FLOAT, [[(0, 2**62)] * rank])
    path = write(tmp_path, {b"": contents(listed)})
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
    path = write(tmp_path, {b"": contents(listed), **dict.fromkeys(keys, record(b""))})
    with open_checkpoint(path) as ckpt:
        assert ckpt["x"].shape == (0,)
        assert len(decoded) == 2
        assert ckpt.verify().ok
        assert len(decoded) == 4


def test_keys_of_slices_that_would_be_longer_than_any_file(tmp_path: Path) -> None:
    listed = tensor_entry(b"x" * 100_000, [0], FLOAT, [[None]] * 1000)
    path = write(tmp_path, {b"": contents(listed)})
    refused(OPEN, "slices\n  expected: keys of at most .* bytes in all").check(path)
