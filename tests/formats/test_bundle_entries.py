"""Decoding the header and the entries of a bundle's index, with each field wrong in turn."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptparse.errors import CheckpointError, CorruptCheckpointError, UnsupportedError
from ckptparse.formats.bundle.entries import (
    Entry,
    Header,
    _decode_usual_entry,
    _parse_entry,
    decode_entry,
    decode_header,
)
from support.builders import (
    bundle_entry,
    bundle_header,
    bytes_field,
    fixed32_field,
    fixed64_field,
    string_payload,
    tensor_shape,
    varint,
    varint_field,
)
from support.ids import short

FLOAT, INT8, STRING, VARIANT, FLOAT_REF = 1, 6, 7, 21, 101

UNKNOWN_FIELDS = (
    varint_field(100, 7)
    + fixed64_field(101, 7)
    + bytes_field(102, b"seven")
    + fixed32_field(103, 7)
    + varint(104 << 3 | 3)  # a group
    + varint_field(1, 7)
    + varint(104 << 3 | 4)
)


def both_sides(error: CheckpointError) -> bool:
    return error.expected is not None and error.found is not None


# Header


@pytest.mark.parametrize(
    ("serialized", "header"),
    [
        (bytes.fromhex("08011a020801"), Header(1, big_endian=False)),
        (bytes.fromhex("08021a020801"), Header(2, big_endian=False)),
        (bundle_header(1, 1), Header(1, big_endian=True)),
        (bundle_header(100_001), Header(100_001, big_endian=False)),
        (bundle_header(2**31 - 1), Header(2**31 - 1, big_endian=False)),
        (bundle_header(3, extra=UNKNOWN_FIELDS), Header(3, big_endian=False)),
        (UNKNOWN_FIELDS + bundle_header(3), Header(3, big_endian=False)),
    ],
    ids=["TensorFlow's", "2 shards", "big", "6 digits", "2**31-1", "unknown behind", "before"],
)
def test_header_of_known_bytes(serialized: bytes, header: Header) -> None:
    assert decode_header(serialized) == header
    assert decode_header(memoryview(serialized)) == header


def test_the_builder_writes_the_header_that_tensorflow_writes() -> None:
    assert bundle_header() == bytes.fromhex("08011a020801")


@pytest.mark.parametrize("num_shards", [0, -1, -(2**31), 2**31, 2**32, 2**63])
def test_a_number_of_shards_that_is_none_is_an_error(num_shards: int) -> None:
    with pytest.raises(
        CorruptCheckpointError, match=r"number of shards(?s:.*)expected: 1 or more"
    ) as e:
        decode_header(bundle_header(num_shards))
    assert both_sides(e.value)


@pytest.mark.parametrize("endianness", [2, 3, -1, 2**31 - 1])
def test_an_unknown_byte_order_is_an_error(endianness: int) -> None:
    with pytest.raises(CorruptCheckpointError, match="byte order") as error:
        decode_header(bundle_header(1, endianness))
    assert error.value.found == str(endianness)
    assert both_sides(error.value)


@pytest.mark.parametrize(
    "serialized",
    [
        bundle_header(producer=0),
        bundle_header(producer=1),
        bundle_header(producer=2),
        bundle_header(producer=2**31 - 1),
        bundle_header(min_consumer=1),
        bundle_header(min_consumer=-1),
        bundle_header(bad_consumers=[0]),
        bundle_header(bad_consumers=[2, 3, -1]),
    ],
    ids=["none", "1", "2", "2**31-1", "consumer 1", "consumer -1", "bad 0", "bad others"],
)
def test_versions_that_tensorflow_accepts_are_accepted(serialized: bytes) -> None:
    assert decode_header(serialized) == Header(1, big_endian=False)


@pytest.mark.parametrize("producer", [-1, -(2**31)])
def test_a_producer_below_0_is_an_error(producer: int) -> None:
    with pytest.raises(CorruptCheckpointError, match="producer") as error:
        decode_header(bundle_header(producer=producer))
    assert error.value.found == str(producer)


@pytest.mark.parametrize("min_consumer", [2, 3, 2**31 - 1])
def test_a_file_for_newer_readers_is_unsupported(min_consumer: int) -> None:
    with pytest.raises(
        UnsupportedError, match=f"(?s:newer reader.*)version {min_consumer}"
    ) as error:
        decode_header(bundle_header(min_consumer=min_consumer))
    assert both_sides(error.value)


@pytest.mark.parametrize("bad_consumers", [[1], [5, 1], [1, 1]])
def test_a_file_that_names_this_reader_as_unfit_is_unsupported(bad_consumers: list[int]) -> None:
    with pytest.raises(UnsupportedError, match="this reader must not read it") as error:
        decode_header(bundle_header(bad_consumers=bad_consumers))
    assert both_sides(error.value)


def test_bad_consumers_need_not_be_packed() -> None:
    unpacked = bytes_field(3, varint_field(3, 5) + varint_field(3, 1))
    with pytest.raises(UnsupportedError):
        decode_header(varint_field(1, 1) + unpacked)


UNPARSABLE = {
    "cut tag": b"\x08\x01\x80",
    "cut varint": b"\x08",
    "endless varint": b"\x08" + b"\xff" * 11,
    "cut fixed32": b"\x35\x01\x02\x03",
    "cut fixed64": varint(100 << 3 | 1) + bytes(7),
    "length too long": b"\x12\x05\x00",
    "length 2**31": b"\x12" + varint(2**31),
    "length 2**63": b"\x12" + varint(2**63),
    "field 0": b"\x00\x00",
    "wire type 6": b"\x0e\x00",
    "wire type 7": b"\x0f\x00",
    "end of no group": b"\x7c",
    "group without end": b"\x7b",
    "end of another group": b"\x7b\x84\x01",
    "groups 1000 deep": b"\x7b" * 1000 + b"\x7c" * 1000,
    "groups 100000 deep": b"\x7b" * 100_000 + b"\x7c" * 100_000,
    "noise": bytes(range(256)),
}


@pytest.mark.parametrize("serialized", UNPARSABLE.values(), ids=list(UNPARSABLE))
def test_a_header_that_does_not_parse_is_an_error(serialized: bytes) -> None:
    with pytest.raises(
        CorruptCheckpointError, match=r"(?s:BundleHeaderProto.*do not parse)"
    ) as error:
        decode_header(serialized)
    assert both_sides(error.value)


@pytest.mark.parametrize("nbytes", [1, 3, 4, 5])
def test_a_header_that_is_cut_is_an_error(nbytes: int) -> None:
    # 2 bytes are a whole header, without version
    with pytest.raises(CorruptCheckpointError):
        decode_header(bundle_header()[:nbytes])


# Entries


@pytest.mark.parametrize(
    ("serialized", "entry"),
    [
        (
            "080a 1204 1202 0801 2801 3505 2b28 43",
            Entry(10, (1,), 0, 0, 1, 0x43282B05, ()),
        ),
        (
            "0801 1204 1202 0802 2001 2808 3559 3ce5 35",
            Entry(1, (2,), 0, 1, 8, 0x35E53C59, ()),
        ),
        ("0801 1200 2804", Entry(1, (), 0, 0, 4, 0, ())),
        ("0801 2804", Entry(1, (), 0, 0, 4, 0, ())),
        ("0801 1206 1200 1202 0804 35d8 ea82 a2", Entry(1, (0, 4), 0, 0, 0, 0xA282EAD8, ())),
        ("0801 120a 1202 0803 1200 1202 0802", Entry(1, (3, 0, 2), 0, 0, 0, 0, ())),
        (
            "0801 1200 20 9080808010 2804",
            Entry(1, (), 0, 0x100000010, 4, 0, ()),
        ),
        (
            "0801 1208 1202 0807 1202 0804 3a08 0a02 1003 0a02 10043a0a 0a04 0803 1004 0a02 1004",
            Entry(1, (7, 4), 0, 0, 0, 0, (((0, 3), (0, 4)), ((3, 4), (0, 4)))),
        ),
        (
            "0801 1208 1202 0807 1202 0804 3a06 0a02 1003 0a00",
            Entry(1, (7, 4), 0, 0, 0, 0, (((0, 3), (0, -1)),)),
        ),
    ],
    ids=[
        "bool",
        "float",
        "scalar",
        "no shape",
        "size 0 first",
        "size 0 between",
        "past 4 GiB",
        "slices",
        "whole dimension",
    ],
)
def test_entry_of_known_bytes(serialized: str, entry: Entry) -> None:
    assert decode_entry(bytes.fromhex(serialized), 1) == entry


def test_the_builder_writes_the_entries_that_tensorflow_writes() -> None:
    assert bundle_entry(1, (2,), offset=1, size=8, crc=0x35E53C59) == bytes.fromhex(
        "0801 1204 1202 0802 2001 2808 3559 3ce5 35"
    )
    assert bundle_entry(1, (7, 4), slices=[[(0, 3), (0, 4)], [(3, 4), None]]) == bytes.fromhex(
        "0801 1208 1202 0807 1202 0804 3a08 0a02 1003 0a02 1004 3a08 0a04 0803 1004 0a00"
    )


@pytest.mark.parametrize(
    ("dims", "size"), [((), 1), ((3,), 3), ((0,), 0), ((2**62, 0), 0), ((2, 3, 4), 24)]
)
def test_size_is_the_number_of_elements(dims: tuple[int, ...], size: int) -> None:
    assert decode_entry(bundle_entry(INT8, dims, size=size), 1).size == size


def test_unknown_fields_are_skipped() -> None:
    named_dim = bytes_field(2, varint_field(1, 2) + bytes_field(2, b"batch\xff") + UNKNOWN_FIELDS)
    serialized = (
        UNKNOWN_FIELDS
        + varint_field(1, FLOAT)
        + bytes_field(2, named_dim + UNKNOWN_FIELDS)
        + varint_field(5, 8)
        + UNKNOWN_FIELDS
    )
    assert decode_entry(serialized, 1) == Entry(FLOAT, (2,), 0, 0, 8, 0, ())


@pytest.mark.parametrize("dtype", [0, 34, 99, FLOAT_REF, 133, 2**31 - 1, -1])
def test_an_unknown_dtype_is_no_damage_of_the_entry(dtype: int) -> None:
    entry = decode_entry(bundle_entry(dtype, (3,), size=17), 1)
    assert (entry.dtype, entry.nbytes) == (dtype, 17)


def require_damage(serialized: bytes, match: str, num_shards: int = 1) -> CorruptCheckpointError:
    with pytest.raises(CorruptCheckpointError, match=match) as error:
        decode_entry(serialized, num_shards)
    assert both_sides(error.value)
    assert len(str(error.value)) < 500
    return error.value


@pytest.mark.parametrize(
    ("shard_id", "num_shards"),
    [(1, 1), (2, 2), (100, 3), (-1, 1), (-(2**31), 1), (2**31 - 1, 1), (2**31, 1), (2**32 - 1, 9)],
)
def test_a_shard_that_the_header_does_not_count_is_an_error(shard_id: int, num_shards: int) -> None:
    serialized = bundle_entry(FLOAT, (2,), shard_id=shard_id, size=8)
    error = require_damage(serialized, "shard number", num_shards)
    assert error.expected == f"0 to {num_shards - 1}"


def test_the_last_shard_is_one() -> None:
    serialized = bundle_entry(FLOAT, (2,), shard_id=2**31 - 2, size=8)
    assert decode_entry(serialized, 2**31 - 1).shard_id == 2**31 - 2


def test_the_shard_of_a_partitioned_tensor_means_nothing() -> None:
    serialized = bundle_entry(FLOAT, (2,), shard_id=7, slices=[[(0, 2)]])
    assert decode_entry(serialized, 1).slices == (((0, 2),),)


@pytest.mark.parametrize("offset", [-1, -(2**63)])
def test_an_offset_below_0_is_an_error(offset: int) -> None:
    error = require_damage(bundle_entry(FLOAT, (2,), offset=offset, size=8), "place in the shard")
    assert f"offset {offset}" in str(error)


@pytest.mark.parametrize("size", [-1, -8, -(2**63)])
@pytest.mark.parametrize("dtype", [FLOAT, STRING, VARIANT, 34])
def test_a_size_below_0_is_an_error(dtype: int, size: int) -> None:
    error = require_damage(bundle_entry(dtype, (2,), size=size), "place in the shard")
    assert f"size {size}" in str(error)


@pytest.mark.parametrize(
    ("dtype", "dims", "size"),
    [
        (FLOAT, (2,), 0),
        (FLOAT, (2,), 7),
        (FLOAT, (2,), 9),
        (FLOAT, (2,), 2),
        (FLOAT, (), 0),
        (FLOAT, (0,), 4),
        (FLOAT, (2**40,), 8),
        (FLOAT, (2,), 2**62),
        (INT8, (3, 3), 8),
        (10, (3,), 12),
        (29, (4,), 2),
        (18, (2,), 16),
    ],
)
def test_a_size_that_is_not_that_of_the_elements_is_an_error(
    dtype: int, dims: tuple[int, ...], size: int
) -> None:
    error = require_damage(bundle_entry(dtype, dims, size=size), "^invalid size\n  expected:")
    assert error.found == str(size)


@pytest.mark.parametrize(("dims", "size"), [((), 4), ((0,), 3), ((3,), 6), ((2**40,), 100)])
def test_strings_need_a_byte_each_and_a_checksum(dims: tuple[int, ...], size: int) -> None:
    require_damage(bundle_entry(STRING, dims, size=size), "strings")


@pytest.mark.parametrize("strings", [[], [b""], [b""] * 3])
def test_empty_strings_need_no_more(strings: list[bytes]) -> None:
    payload, crc = string_payload(strings)
    serialized = bundle_entry(STRING, (len(strings),), size=len(payload), crc=crc)
    assert decode_entry(serialized, 1).nbytes == len(strings) + 4


@pytest.mark.parametrize("dims", [(-1,), (-(2**63),), (2, -1), (-1, -1), (0, -1), (-4, -2)])
def test_a_dimension_below_0_is_an_error(dims: tuple[int, ...]) -> None:
    size = max(dims[0] * dims[-1] * 4, 0)
    error = require_damage(bundle_entry(FLOAT, dims, size=size), "^invalid shape\n  expected:")
    assert error.found == str(list(dims))


@pytest.mark.parametrize("slices", [[], [[]]], ids=["whole", "sliced"])
def test_an_unknown_rank_is_an_error(slices: list[list[None]]) -> None:
    serialized = bundle_entry(FLOAT, (), size=4, unknown_rank=True, slices=slices)
    assert require_damage(serialized, "shape").found == "an unknown rank"


@pytest.mark.parametrize("rank", [255, 256, 100_000])
def test_more_dimensions_than_tensorflow_has_are_an_error(rank: int) -> None:
    error = require_damage(bundle_entry(FLOAT, (1,) * rank, size=4), "at most 254 dimensions")
    assert error.found == str(rank)


@pytest.mark.parametrize("rank", [1, 32, 33, 64, 65, 254])
def test_as_many_dimensions_as_tensorflow_has_are_listed(rank: int) -> None:
    assert decode_entry(bundle_entry(FLOAT, (1,) * rank, size=4), 1).shape == (1,) * rank


@pytest.mark.parametrize(
    "dims",
    [
        (2**32, 2**32),
        (2**62, 2),
        (2**63 - 1, 2**63 - 1),
        (2**32, 2**32, 0),
        (0, 2**62, 2**62),
        (2,) * 64,
        (2**63 - 1,) * 254,
    ],
    ids=short,
)
@pytest.mark.parametrize("dtype", [INT8, STRING, VARIANT, 34])
def test_more_elements_than_can_be_counted_are_an_error(dtype: int, dims: tuple[int, ...]) -> None:
    with pytest.raises(CorruptCheckpointError, match=r"shape\n  expected: .* 2\*\*63"):
        decode_entry(bundle_entry(dtype, dims, size=4), 1)


@pytest.mark.parametrize(
    ("slices", "match"),
    [
        ([[(0, 3)]], "2 dimensions, as the tensor has\n  found: 1"),
        ([[]], "2 dimensions, as the tensor has\n  found: 0"),
        ([[None] * 3], "2 dimensions, as the tensor has\n  found: 3"),
        ([[(0, 7), (0, 4)], [None]], "found: 1"),
        ([[(-1, 3), None]], "start -1, length 3"),
        ([[(0, -2), None]], "start 0, length -2"),
        ([[(0, -(2**63)), None]], "length -9223372036854775808"),
        ([[(3, -1), None]], "start 3, length none"),
    ],
)
def test_slices_that_cannot_be_of_the_tensor_are_an_error(
    slices: list[list[tuple[int, int] | None]], match: str
) -> None:
    require_damage(bundle_entry(FLOAT, (7, 4), slices=slices), match)


def test_a_start_without_length_is_an_error() -> None:
    extents = bytes_field(1, varint_field(1, 3)) + bytes_field(1, b"")
    serialized = bundle_entry(FLOAT, (7, 4)) + bytes_field(7, extents)
    require_damage(serialized, "start 3, length none")


@pytest.mark.parametrize("serialized", UNPARSABLE.values(), ids=list(UNPARSABLE))
def test_an_entry_that_does_not_parse_is_an_error(serialized: bytes) -> None:
    require_damage(serialized, r"(?s:BundleEntryProto.*do not parse)")


ENTRY = bundle_entry(FLOAT, (2,), offset=1, size=8, crc=0x35E53C59)


@pytest.mark.parametrize("nbytes", [n for n in range(1, len(ENTRY)) if n != len(ENTRY) - 5])
def test_an_entry_that_is_cut_is_an_error(nbytes: int) -> None:
    # But for two cuts that leave an entry: nothing (dtype 0), and all but the checksum (0).
    with pytest.raises(CorruptCheckpointError):
        decode_entry(ENTRY[:nbytes], 1)


@pytest.mark.parametrize("depth", [10, 1000, 10_000])
@pytest.mark.parametrize("number", [2, 7])
def test_messages_in_messages_are_an_entry_or_an_error_whatever_the_depth(
    number: int, depth: int
) -> None:
    nested = b""
    for _ in range(depth):
        nested = bytes_field(number, nested)
    try:
        entry = decode_entry(varint_field(1, FLOAT) + varint_field(5, 4) + nested, 1)
    except CorruptCheckpointError:
        return
    assert len(entry.shape) <= 1


def test_the_same_field_twice_counts_as_the_last_one() -> None:
    shape = bytes_field(2, tensor_shape((2,)))
    serialized = varint_field(1, 3) + varint_field(1, FLOAT) + shape + varint_field(5, 8)
    assert decode_entry(serialized, 1).dtype == FLOAT


@settings(max_examples=4 * settings.default.max_examples)
@given(
    st.sampled_from([1, 3, 7, 19, 33]),
    st.lists(st.sampled_from([0, 1, 3, 127, 128, 1000, 2**33]), max_size=3),
    st.sampled_from([0, 1, 300]),
    st.sampled_from([0, 1, 200, 2**34]),
    st.sampled_from([0, 4, 300, 2**35]),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=2),
)
def test_usual_entries_are_what_protocol_buffers_say(
    dtype: int,
    dims: list[int],
    shard_id: int,
    offset: int,
    size: int,
    changes: list[tuple[int, int]],
) -> None:
    """The fast decoder and protobuf give the same entry, or both raise an error."""
    serialized = bytearray(
        bundle_entry(dtype, dims, shard_id=shard_id, offset=offset, size=size, crc=0x80FF35A1)
    )
    for pos, byte in changes:
        serialized[pos % len(serialized)] = byte

    def outcome(decode: Callable[[bytes], Entry | None]) -> object:
        try:
            return decode(bytes(serialized))
        except CorruptCheckpointError:
            return CorruptCheckpointError

    usual = outcome(_decode_usual_entry)
    assert usual is not None or changes
    assert usual in (None, outcome(_parse_entry))
