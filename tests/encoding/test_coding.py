"""Varints and ordered code: known bytes, truncated bytes, and decoding in bulk."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptparse.encoding.ordered_code import (
    decode_ordered_string,
    encode_ordered_int,
    encode_ordered_string,
    encode_ordered_uint,
)
from ckptparse.encoding.varint import (
    MAX_VARINT32_NBYTES,
    MAX_VARINT64_NBYTES,
    decode_varint,
)
from ckptparse.encoding.varint_arrays import decode_varints
from ckptparse.errors import CorruptCheckpointError
from support import builders

UINT64 = st.one_of(
    st.integers(0, 2**64 - 1),
    st.integers(0, 64).map(lambda bits: (1 << bits) - 1),
    st.integers(0, 63).map(lambda bits: 1 << bits),
)

VARINTS = [
    (0, "00"),
    (1, "01"),
    (127, "7f"),
    (128, "80 01"),
    (300, "ac 02"),
    (16383, "ff 7f"),
    (16384, "80 80 01"),
    (2**32 - 1, "ff ff ff ff 0f"),
    (2**32, "80 80 80 80 10"),
    (2**63, "80 80 80 80 80 80 80 80 80 01"),
    (2**64 - 1, "ff ff ff ff ff ff ff ff ff 01"),
]
by_varint = pytest.mark.parametrize(("value", "coded"), VARINTS, ids=[str(v) for v, _ in VARINTS])


@by_varint
def test_varint_of_known_bytes(value: int, coded: str) -> None:
    buffer = b"\xff" + bytes.fromhex(coded) + b"\x01"
    assert decode_varint(buffer, 1, len(buffer)) == (value, len(buffer) - 1)
    assert decode_varint(memoryview(buffer), 1, len(buffer)) == (value, len(buffer) - 1)
    assert builders.varint(value) == bytes.fromhex(coded)


@given(UINT64)
def test_varints_come_back(value: int) -> None:
    coded = builders.varint(value)
    assert decode_varint(coded, 0, len(coded)) == (value, len(coded))


PREFIXES = [(coded, n) for _, coded in VARINTS for n in range(len(bytes.fromhex(coded)))]


@pytest.mark.parametrize(("coded", "nbytes"), PREFIXES)
def test_every_strict_prefix_of_a_varint_fails(coded: str, nbytes: int) -> None:
    prefix = bytes.fromhex(coded)[:nbytes]
    with pytest.raises(CorruptCheckpointError, match="expected: one that ends") as error:
        decode_varint(prefix, 0, nbytes)
    assert error.value.offset == 0
    assert error.value.found == (prefix.hex(" ") or "nothing")


@pytest.mark.parametrize(("coded", "nbytes"), PREFIXES)
def test_a_varint_does_not_run_over_the_stop(coded: str, nbytes: int) -> None:
    with pytest.raises(CorruptCheckpointError):
        decode_varint(bytes.fromhex(coded), 0, nbytes)


@pytest.mark.parametrize("nbytes", range(2, MAX_VARINT64_NBYTES + 1))
def test_a_varint_may_be_longer_than_need_be(nbytes: int) -> None:
    coded = builders.varint(5, nbytes)
    assert len(coded) == nbytes
    assert decode_varint(coded, 0, nbytes) == (5, nbytes)
    values, taken = decode_varints(coded, 1)
    assert (values.tolist(), taken) == ([5], nbytes)


@pytest.mark.parametrize(
    ("coded", "max_nbytes"),
    [
        (builders.varint(5, 11), MAX_VARINT64_NBYTES),
        (builders.varint(5, 6), MAX_VARINT32_NBYTES),
        (builders.varint(2**64), MAX_VARINT64_NBYTES),
        (builders.varint(2**70 - 1), MAX_VARINT64_NBYTES),
        (builders.varint(2**32), MAX_VARINT32_NBYTES),
        (builders.varint(2**35 - 1), MAX_VARINT32_NBYTES),
        (b"\xff" * 100, MAX_VARINT64_NBYTES),
    ],
    ids=["11 bytes", "6 bytes", "65 bits", "70 bits", "33 bits", "35 bits", "endless"],
)
def test_a_varint_too_long_or_too_large_is_an_error(coded: bytes, max_nbytes: int) -> None:
    with pytest.raises(CorruptCheckpointError, match="varint"):
        decode_varint(coded, 0, len(coded), max_nbytes)


@given(
    st.lists(st.tuples(UINT64, st.integers(1, 10)), max_size=60),
    st.binary(max_size=8),
)
def test_bulk_decoding_equals_decoding_one_by_one(
    numbers: list[tuple[int, int]], rest: bytes
) -> None:
    buffer = b"".join(builders.varint(value, nbytes) for value, nbytes in numbers) + rest
    one_by_one, pos = [], 0
    for _ in numbers:
        value, pos = decode_varint(buffer, pos, len(buffer))
        one_by_one.append(value)
    values, taken = decode_varints(buffer, len(numbers))
    assert values.tolist() == one_by_one == [value for value, _ in numbers]
    assert taken == pos


@pytest.mark.parametrize("nbytes", range(8))
def test_every_strict_prefix_of_bulk_varints_fails(nbytes: int) -> None:
    coded = bytes.fromhex("05 ac 02 00 80 80 80 01")
    assert decode_varints(coded, 4)[0].tolist() == [5, 300, 0, 1 << 21]
    with pytest.raises(CorruptCheckpointError, match="expected: 4 of them"):
        decode_varints(coded[:nbytes], 4)


@pytest.mark.parametrize("nbytes", [11, 12, 100])
@pytest.mark.parametrize("before", [0, 1, 3])
def test_bulk_decoding_refuses_more_than_ten_bytes(nbytes: int, before: int) -> None:
    buffer = b"\x01" * before + builders.varint(5, nbytes) + b"\x01" * 200
    with pytest.raises(
        CorruptCheckpointError, match=f"at most 10 bytes\n  found: {nbytes}"
    ) as error:
        decode_varints(buffer, before + 40)
    assert error.value.offset == before


def test_a_huge_count_is_compared_with_the_bytes_first() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(CorruptCheckpointError, match="found: 6 bytes"):
            decode_varints(b"\x01" * 6, 2**62)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


# Ordered code, with the vectors of the format's description


@pytest.mark.parametrize(
    ("value", "coded"),
    [(0, "00"), (1, "01 01"), (2, "01 02"), (3, "01 03"), (255, "01 ff"), (256, "02 01 00")],
)
def test_ordered_uint_of_known_bytes(value: int, coded: str) -> None:
    assert encode_ordered_uint(value) == bytes.fromhex(coded) == builders.ordered_uint(value)


@pytest.mark.parametrize(
    ("value", "coded"),
    [
        (0, "80"),
        (3, "83"),
        (63, "bf"),
        (64, "c0 40"),
        (100, "c0 64"),
        (128, "c0 80"),
        (255, "c0 ff"),
        (8191, "df ff"),
        (8192, "e0 20 00"),
        (69936, "e1 11 30"),
        (2**20, "f0 10 00 00"),
        (2**34, "fc 04 00 00 00 00"),
        (2**48, "ff 01 00 00 00 00 00 00"),
        (2**55, "ff 80 80 00 00 00 00 00 00"),
        (2**62 - 1, "ff bf ff ff ff ff ff ff ff"),
        (2**62, "ff c0 40 00 00 00 00 00 00 00"),
        (-1, "7f"),
    ],
)
def test_ordered_int_of_known_bytes(value: int, coded: str) -> None:
    assert encode_ordered_int(value) == bytes.fromhex(coded) == builders.ordered_int(value)


INT64 = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-300, 300))


@given(INT64)
def test_ordered_ints_are_those_of_the_other_encoder(value: int) -> None:
    assert encode_ordered_int(value) == builders.ordered_int(value)


@given(INT64, INT64)
def test_ordered_ints_sort_as_their_values(a: int, b: int) -> None:
    assert (encode_ordered_int(a) < encode_ordered_int(b)) == (a < b)


ORDERED_STRINGS = [
    (b"", "00 01"),
    (b"p/w", "70 2f 77 00 01"),
    (b"a\x00b\xff", "61 00 ff 62 ff 00 00 01"),
    (b"\x00\x01", "00 ff 01 00 01"),
    (b"\xff\x00", "ff 00 00 ff 00 01"),
]


@pytest.mark.parametrize(("value", "coded"), ORDERED_STRINGS)
def test_ordered_string_of_known_bytes(value: bytes, coded: str) -> None:
    assert encode_ordered_string(value) == bytes.fromhex(coded)
    buffer = b"\x00" + bytes.fromhex(coded) + b"\x01\x01"
    assert decode_ordered_string(buffer, 1) == (value, len(buffer) - 2)


TRICKY_BYTES = st.lists(st.sampled_from([0, 1, 0xFE, 0xFF, 0x61]), max_size=12).map(bytes)


@given(TRICKY_BYTES)
def test_ordered_strings_come_back(value: bytes) -> None:
    coded = encode_ordered_string(value)
    assert coded == builders.ordered_string(value)
    assert decode_ordered_string(coded, 0) == (value, len(coded))


@given(TRICKY_BYTES, TRICKY_BYTES)
def test_ordered_strings_sort_as_their_values(a: bytes, b: bytes) -> None:
    assert (encode_ordered_string(a) < encode_ordered_string(b)) == (a < b)


@pytest.mark.parametrize(
    ("coded", "nbytes"),
    [(coded, n) for _, coded in ORDERED_STRINGS for n in range(len(bytes.fromhex(coded)))],
)
def test_every_strict_prefix_of_an_ordered_string_fails(coded: str, nbytes: int) -> None:
    with pytest.raises(CorruptCheckpointError, match="terminator 00 01"):
        decode_ordered_string(bytes.fromhex(coded)[:nbytes], 0)


@pytest.mark.parametrize("coded", ["61 00 02 00 01", "61 ff 01 00 01", "61 00 00 00 01", "ff ff"])
def test_an_ordered_string_with_an_unknown_escape_is_an_error(coded: str) -> None:
    with pytest.raises(CorruptCheckpointError, match="ordered-code string"):
        decode_ordered_string(bytes.fromhex(coded), 0)
