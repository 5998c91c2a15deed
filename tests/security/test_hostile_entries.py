"""Headers, entries and payloads of bundles with one wrong field, every other checksum right."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckptparse import (
    Checkpoint,
    ChecksumError,
    CorruptCheckpointError,
    MissingShardError,
    TensorNotFoundError,
    TruncatedError,
    UnsupportedError,
    load_into,
    open_checkpoint,
)
from support.builders import (
    Bundle,
    Partitioned,
    bundle_entry,
    bundle_header,
    bytes_field,
    fixed32_field,
    masked_crc32c,
    slice_key,
    string_payload,
    variant_payload,
    varint,
    varint_field,
    write_bundle,
)
from support.damage import POINTER, flip_bit
from support.hostile import (
    FIND,
    FRESH,
    OPEN,
    READ,
    WAYS,
    codings_of,
    found_by_verify,
    require_changed,
    require_refused,
    require_right,
    require_unsupported,
    rows,
)
from support.ids import short

FLOAT, STRING, VARIANT = 1, 7, 21

RIGHT = "the right values"
CHANGED = "other bytes than were written: only the checksum tells"
UNKNOWN = "a type of a newer TensorFlow: listed, not read"

X = np.arange(6, dtype="f4").reshape(2, 3)
TENSORS = {"a": np.ones(1, "f4"), "b": np.ones(1, "f4"), "c": np.ones(1, "f4"), "x": X}
"""Of two shards `x` fills the second one from byte 4 to its end; the first one has 8 bytes."""

VALUES = {name: array.tolist() for name, array in TENSORS.items()}
X_CRC = masked_crc32c(X.tobytes())


def write(folder: Path, edit: Callable[[Bundle], None]) -> Path:
    return write_bundle(folder, TENSORS, name="m", num_shards=2, edit=edit)


def with_entry(folder: Path, entry: bytes) -> Path:
    """A checkpoint whose `x` has this entry."""

    def replace(bundle: Bundle) -> None:
        bundle.index[b"x"] = entry

    return write(folder, replace)


def require(path: Path, expected: Any, values: Mapping[str, Any] = VALUES) -> None:
    """One of the three above; other values; or (question, class of error, words)."""
    if expected == RIGHT:
        require_right(path, values)
    elif expected == CHANGED:
        require_changed(path, "do not match the stored checksum")
    elif expected == UNKNOWN:
        require_unsupported(path, "unknown dtype", unchecked=True)
    elif isinstance(expected, Mapping):
        require_right(path, expected)
    else:
        at, error_class, words = expected
        require_refused(path, error_class, words, at=at, of_index=at == OPEN)


def test_the_entry_that_is_damaged_below_is_the_true_one(tmp_path: Path) -> None:
    require(with_entry(tmp_path, entry_with(varint(4), "offset")), RIGHT)


# Header

NO_HEADER = (OPEN, CorruptCheckpointError, "BundleHeaderProto.* do not parse")
NO_SHARDS = (OPEN, CorruptCheckpointError, "number of shards in the header\n  expected: 1 or more")
NO_ORDER = (OPEN, CorruptCheckpointError, "byte order in the header\n  expected: 0 .* or 1")
NO_PRODUCER = (OPEN, CorruptCheckpointError, "producer version\n  expected: 0 or more\n  found: -")
NOT_FOR_US = (OPEN, UnsupportedError, "this reader must not read it")

SWAPPED = {name: array.byteswap().tolist() for name, array in TENSORS.items()}

HEADER: Mapping[str, Mapping[str, Any]] = {
    "num_shards": {  # of 2
        "zero": NO_SHARDS,
        "one less": (FIND, CorruptCheckpointError, "shard number\n  expected: 0 to 0\n  found: 1"),
        "one more": (READ, MissingShardError, "data-00001-of-00003(?s:.*)expected: shard 1 of 3"),
        "negative": NO_SHARDS,
        "2**31": NO_SHARDS,  # fields of 32 bits keep the low ones: here -2**31, below -1
        "2**63-1": NO_SHARDS,
        "not minimal": RIGHT,
        "overlong": NO_HEADER,
    },
    "endianness": {  # of 0
        "zero": RIGHT,
        "one less": NO_ORDER,
        "one more": SWAPPED,
        "negative": NO_ORDER,
        "2**31": NO_ORDER,
        "2**63-1": NO_ORDER,
        "not minimal": RIGHT,
        "overlong": NO_HEADER,
    },
    "producer": {  # of 1
        "zero": RIGHT,
        "one less": RIGHT,
        "one more": RIGHT,
        "negative": NO_PRODUCER,
        "2**31": NO_PRODUCER,
        "2**63-1": NO_PRODUCER,
        "not minimal": RIGHT,
        "overlong": NO_HEADER,
    },
    "min_consumer": {  # of 1
        "zero": RIGHT,
        "one less": RIGHT,
        "one more": (OPEN, UnsupportedError, "written for a (?s:newer reader.*)version 2 or later"),
        "negative": RIGHT,
        "2**31": RIGHT,
        "2**63-1": RIGHT,
        "not minimal": RIGHT,
        "overlong": NO_HEADER,
    },
    "bad_consumers": {  # of 1, which is this reader
        "zero": RIGHT,
        "one less": RIGHT,
        "one more": RIGHT,
        "negative": RIGHT,
        "2**31": RIGHT,
        "2**63-1": RIGHT,
        "not minimal": NOT_FOR_US,
        "overlong": NO_HEADER,
    },
}


@pytest.mark.parametrize(("field", "coding", "expected"), rows(HEADER))
def test_header_fields(tmp_path: Path, field: str, coding: str, expected: Any) -> None:
    true = {"num_shards": 2, "endianness": 0}.get(field, 1)
    coded = codings_of(true)[coding]
    version = {"producer": 1, "min_consumer": 2, "bad_consumers": 3}.get(field)
    if version is not None:
        header = varint_field(1, 2) + bytes_field(3, varint(version << 3) + coded)
    elif field == "num_shards":
        header = varint(1 << 3) + coded
    else:
        header = varint_field(1, 2) + varint(2 << 3) + coded

    def replace(bundle: Bundle) -> None:
        bundle.index[b""] = header

    path = write(tmp_path, replace)
    if field == "num_shards" and coding in ("one less", "one more"):
        # All tensors are concerned: of those in a shard that there is not, only `x` is kept.
        def keep(bundle: Bundle) -> None:
            replace(bundle)
            bundle.index = {key: bundle.index[key] for key in (b"", b"x")}

        path = write(tmp_path, keep)
    require(path, expected)


@pytest.mark.parametrize(
    "header",
    [b"", bundle_header(0), varint_field(2, 0), bytes_field(3, varint_field(1, 1))],
    ids=["empty", "zero", "byte order only", "version only"],
)
def test_a_header_without_a_number_of_shards(tmp_path: Path, header: bytes) -> None:
    def replace(bundle: Bundle) -> None:
        bundle.index[b""] = header

    require(write(tmp_path, replace), NO_SHARDS)


def test_two_billion_shards(tmp_path: Path) -> None:
    """Nothing is made for them: names are listed at once, each shard is missing."""

    def claim(bundle: Bundle) -> None:
        bundle.index = {
            b"": bundle_header(2**31 - 1),
            b"x": bundle_entry(FLOAT, (2, 3), shard_id=2**31 - 2, size=24, crc=X_CRC),
        }

    path = write(tmp_path, claim)
    tracemalloc.start()
    expected = READ, MissingShardError, r"data-2147483646-of-2147483647(?s:.*)found: no such file"
    require(path, expected)
    assert tracemalloc.get_traced_memory()[1] < 2 << 20
    tracemalloc.stop()
    with open_checkpoint(path) as ckpt:
        assert len(ckpt.files) == 100_001


# Entries


def entry_with(coded: bytes, field: str) -> bytes:
    """The entry of `x`, with a field coded so."""
    fields = {
        "dtype": varint(1),
        "dim": varint(3),
        "unknown_rank": varint(0),
        "shard_id": varint(1),
        "offset": varint(4),
        "size": varint(24),
    }
    fields[field] = coded
    shape = bytes_field(2, varint_field(1, 2)) + bytes_field(2, varint(1 << 3) + fields["dim"])
    if field == "unknown_rank":
        shape += varint(3 << 3) + coded
    return (
        varint(1 << 3)
        + fields["dtype"]
        + bytes_field(2, shape)
        + varint(3 << 3)
        + fields["shard_id"]
        + varint(4 << 3)
        + fields["offset"]
        + varint(5 << 3)
        + fields["size"]
        + fixed32_field(6, X_CRC)
    )


NO_ENTRY = (
    FIND,
    CorruptCheckpointError,
    "tensor 'x': invalid ((wire type of a |)protocol buffer|varint)\n  expected",
)
NO_SHAPE = (FIND, CorruptCheckpointError, r"shape\n  expected: sizes from 0, fewer than 2\*\*63")
NO_RANK = (FIND, CorruptCheckpointError, "shape\n  expected: dimensions\n  found: an unknown rank")
OTHER_SIZE = (FIND, CorruptCheckpointError, "size\n  expected: [0-9]+ bytes for float")
NO_SHARD = (FIND, CorruptCheckpointError, "shard number\n  expected: 0 to 1\n  found:")
NO_PLACE = (FIND, CorruptCheckpointError, "place in the shard\n  expected: offset and size from 0")
TOO_SHORT = (READ, TruncatedError, "this data file is cut off")

ENTRY: Mapping[str, Mapping[str, Any]] = {
    "dtype": {
        "zero": UNKNOWN,
        "one less": UNKNOWN,
        "one more": OTHER_SIZE,
        "negative": UNKNOWN,
        "2**31": UNKNOWN,
        "2**63-1": UNKNOWN,
        "not minimal": RIGHT,
        "overlong": NO_ENTRY,
    },
    "dim": {
        "zero": OTHER_SIZE,
        "one less": OTHER_SIZE,
        "one more": OTHER_SIZE,
        "negative": NO_SHAPE,
        "2**31": OTHER_SIZE,
        "2**63-1": NO_SHAPE,
        "not minimal": RIGHT,
        "overlong": NO_ENTRY,
    },
    "unknown_rank": {
        "zero": RIGHT,
        "one more": NO_RANK,
        "negative": NO_RANK,
        "2**31": NO_RANK,
        "2**63-1": NO_RANK,
        "not minimal": RIGHT,
        "overlong": NO_ENTRY,
    },
    "shard_id": {
        "zero": TOO_SHORT,
        "one less": TOO_SHORT,
        "one more": NO_SHARD,
        "negative": NO_SHARD,
        "2**31": NO_SHARD,
        "2**63-1": NO_SHARD,
        "not minimal": RIGHT,
        "overlong": NO_ENTRY,
    },
    "offset": {
        "zero": CHANGED,
        "one less": CHANGED,
        "one more": TOO_SHORT,
        "negative": NO_PLACE,
        "2**31": TOO_SHORT,
        "2**63-1": TOO_SHORT,
        "not minimal": RIGHT,
        "overlong": NO_ENTRY,
    },
    "size": {
        "zero": OTHER_SIZE,
        "one less": OTHER_SIZE,
        "one more": OTHER_SIZE,
        "negative": NO_PLACE,
        "2**31": OTHER_SIZE,
        "2**63-1": OTHER_SIZE,
        "not minimal": RIGHT,
        "overlong": NO_ENTRY,
    },
}


@pytest.mark.parametrize(("field", "coding", "expected"), rows(ENTRY))
def test_entry_fields(tmp_path: Path, field: str, coding: str, expected: Any) -> None:
    true = {"dtype": 1, "dim": 3, "unknown_rank": 0, "shard_id": 1, "offset": 4, "size": 24}[field]
    require(with_entry(tmp_path, entry_with(codings_of(true)[coding], field)), expected)


def test_the_place_of_a_damaged_entry_is_not_made_up(tmp_path: Path) -> None:
    """Where in the entry is known, where the entry is in the index is not: no offset then."""
    path = with_entry(tmp_path, entry_with(varint(3, 11), "dim"))
    at, error_class, words = NO_ENTRY
    error = require_refused(path, error_class, words, at=at)
    assert (error.file, error.offset) == (f"{path}.index", None)


@pytest.mark.parametrize(
    "field",
    [fixed32_field(6, crc) for crc in (0, X_CRC - 1, X_CRC + 1, 2**31, 2**32 - 1)]
    + [b"", varint_field(6, X_CRC), varint(6 << 3 | 1) + struct.pack("<Q", X_CRC)],
    ids=["zero", "one less", "one more", "2**31", "2**32-1", "absent", "varint", "fixed64"],
)
def test_checksums_of_tensors(tmp_path: Path, field: bytes) -> None:
    entry = bundle_entry(FLOAT, (2, 3), shard_id=1, offset=4, size=24) + field
    require(with_entry(tmp_path, entry), CHANGED)


def test_a_checksum_that_is_not_masked(tmp_path: Path) -> None:
    rotated = (X_CRC - 0xA282EAD8) % 2**32
    plain = (rotated << 15 | rotated >> 17) % 2**32
    entry = bundle_entry(FLOAT, (2, 3), shard_id=1, offset=4, size=24, crc=plain)
    require(with_entry(tmp_path, entry), CHANGED)


@pytest.mark.parametrize("cut", range(1, 24))
def test_an_entry_cut_anywhere(tmp_path: Path, cut: int) -> None:
    """But for cuts between fields, whose entry is another one, each is an error."""
    whole = bundle_entry(FLOAT, (2, 3), shard_id=1, offset=4, size=24, crc=X_CRC)
    assert len(whole) == 23
    expected: Any = (FIND, CorruptCheckpointError, "tensor 'x'")
    if cut == 5:
        expected = CHANGED  # without checksum
    elif cut == 23:
        expected = UNKNOWN  # without anything
    require(with_entry(tmp_path, whole[:-cut]), expected)


# Shapes


@pytest.mark.parametrize(
    "dims",
    [
        (2**32, 2**32),
        (2**32, 2**32, 0),
        (0, 2**32, 2**32),
        (2**31, 2**31, 2**31, 2**31),
        (2**63 - 1, 2),
        (2,) * 62,
        (-1,),
        (-1, -6),
        (2**63 - 1, 0, -1),
    ],
    ids=short,
)
@pytest.mark.parametrize("size", [0, 24])
def test_shapes_whose_product_is_no_number_of_64_bits(
    tmp_path: Path, dims: tuple[int, ...], size: int
) -> None:
    entry = bundle_entry(FLOAT, dims, shard_id=1, offset=4, size=size, crc=X_CRC)
    expected = OTHER_SIZE if dims == (2,) * 62 else NO_SHAPE  # 2**62 elements can be counted
    require(with_entry(tmp_path, entry), expected)


@pytest.mark.parametrize("dims", [(2**62, 0), (0, 2**62), (2**31, 0, 2**31)], ids=str)
def test_shapes_without_elements_that_numpy_cannot_count(
    tmp_path: Path, dims: tuple[int, ...]
) -> None:
    entry = bundle_entry(FLOAT, dims, crc=masked_crc32c(b""))
    require_unsupported(with_entry(tmp_path, entry), "too large")


@pytest.mark.parametrize("rank", [255, 300, 10_000])
def test_more_dimensions_than_tensorflow_has(tmp_path: Path, rank: int) -> None:
    entry = bundle_entry(FLOAT, (1,) * rank, shard_id=1, offset=4, size=4)
    expected = (
        FIND,
        CorruptCheckpointError,
        f"shape\n  expected: at most 254 dimensions\n  found: {rank}",
    )
    require(with_entry(tmp_path, entry), expected)


@pytest.mark.parametrize("rank", [65, 254])
def test_more_dimensions_than_numpy_has(tmp_path: Path, rank: int) -> None:
    crc = masked_crc32c(X.tobytes()[:4])
    entry = bundle_entry(FLOAT, (1,) * rank, shard_id=1, offset=4, size=4, crc=crc)
    path = with_entry(tmp_path, entry)
    require_unsupported(path, f"too many dimensions for numpy\n  expected: (?s:.*)found: {rank}")
    with open_checkpoint(path) as ckpt:
        assert ckpt.info("x").shape == (1,) * rank


@pytest.mark.parametrize("dtype", [0, 34, 100, 101, 133, 2**31 - 1, -1, -(2**31)])
def test_unknown_dtypes_are_listed_and_not_read(tmp_path: Path, dtype: int) -> None:
    path = with_entry(tmp_path, bundle_entry(dtype, (2, 3), shard_id=1, offset=4, size=24))
    require(path, UNKNOWN)
    with open_checkpoint(path) as ckpt:
        assert ckpt.info("x").tensorflow_dtype == f"unknown dtype {dtype}"
        assert ckpt.info("x").nbytes == 24


def test_an_unknown_dtype_whose_bytes_are_not_there(tmp_path: Path) -> None:
    """Reading refuses the type; verification still sees that the file is too short."""
    path = with_entry(tmp_path, bundle_entry(34, (2, 3), shard_id=1, offset=5, size=24))
    for way in WAYS:
        with open_checkpoint(path, **way) as ckpt:
            with pytest.raises(UnsupportedError):
                ckpt["x"]
            assert found_by_verify(ckpt) == [("x", TruncatedError)]


def test_a_resource(tmp_path: Path) -> None:
    entry = bundle_entry(20, (), shard_id=1, offset=4, size=24)
    require_unsupported(with_entry(tmp_path, entry), "a resource: a handle", unchecked=True)


# Depth

DEPTHS = [1000, 100_000]


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(
    "wrap",
    [
        lambda deep: deep,
        lambda deep: bytes_field(2, deep),
        lambda deep: bytes_field(2, bytes_field(2, deep)),
        lambda deep: bytes_field(7, deep),
        lambda deep: bytes_field(7, bytes_field(1, deep)),
    ],
    ids=["entry", "shape", "dimension", "slice", "extent"],
)
def test_groups_in_groups_in_each_message_of_an_entry(
    tmp_path: Path, wrap: Callable[[bytes], bytes], depth: int
) -> None:
    deep = varint(15 << 3 | 3) * depth + varint(15 << 3 | 4) * depth
    path = with_entry(tmp_path, entry_with(varint(4), "offset") + wrap(deep))
    # As far as protocol buffers' own limit; a slice makes listing look at entries, too.
    refused = require_any_question(path)
    assert refused == CorruptCheckpointError


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(
    "wrap", [lambda deep: deep, lambda deep: bytes_field(3, deep)], ids=["header", "version"]
)
def test_groups_in_groups_in_each_message_of_a_header(
    tmp_path: Path, wrap: Callable[[bytes], bytes], depth: int
) -> None:
    deep = varint(15 << 3 | 3) * depth + varint(15 << 3 | 4) * depth

    def replace(bundle: Bundle) -> None:
        bundle.index[b""] += wrap(deep)

    require(write(tmp_path, replace), NO_HEADER)


@pytest.mark.parametrize("depth", DEPTHS)
def test_unknown_messages_in_messages_are_skipped_whatever_their_depth(
    tmp_path: Path, depth: int
) -> None:
    deep = b""
    for _ in range(min(depth, 5000)):  # the bytes are quadratic in the making, not in the reading
        deep = bytes_field(15, deep)
    require(with_entry(tmp_path, entry_with(varint(4), "offset") + deep), RIGHT)


def require_any_question(path: Path) -> type[CorruptCheckpointError]:
    """The one class of error that every question about `x` gives."""
    at, error_class, words = NO_ENTRY
    return type(require_refused(path, error_class, words, at=at))


# Strings

STRINGS = [b"ab", b"", b"c"]


def write_strings(
    folder: Path, payload: bytes, crc: int, *, size: bytes | None = None, dims: Any = (3,)
) -> Path:
    """One string tensor `x` of a payload, followed by other bytes in its shard."""

    def replace(bundle: Bundle) -> None:
        bundle.shards[0][:] = payload + bytes(20)
        coded = varint(len(payload)) if size is None else size
        entry = bundle_entry(STRING, dims) + varint(5 << 3) + coded + fixed32_field(6, crc)
        bundle.index[b"x"] = entry

    return write_bundle(folder, {"x": [b""]}, name="m", edit=replace)


OTHER_LENGTHS = (
    READ,
    CorruptCheckpointError,
    "lengths of strings\n  expected: 3 lengths that add up",
)
NO_LENGTH = (READ, CorruptCheckpointError, "varint")
NO_STRING_ENTRY = (FIND, CorruptCheckpointError, "tensor 'x': invalid (protocol buffer|varint)")
NO_ROOM = (FIND, CorruptCheckpointError, "size\n  expected: at least 7 bytes for 3 strings")

STRING_SIZES: Mapping[str, Mapping[str, Any]] = {
    "size": {
        "zero": NO_ROOM,
        "one less": OTHER_LENGTHS,
        "one more": OTHER_LENGTHS,
        "negative": NO_PLACE,
        "2**31": TOO_SHORT,
        "2**63-1": TOO_SHORT,
        "not minimal": RIGHT,
        "overlong": NO_STRING_ENTRY,
    },
    "length": {
        "zero": OTHER_LENGTHS,
        "one less": OTHER_LENGTHS,
        "one more": OTHER_LENGTHS,
        "negative": OTHER_LENGTHS,
        "2**31": OTHER_LENGTHS,
        "2**63-1": OTHER_LENGTHS,
        "not minimal": RIGHT,
        "overlong": NO_LENGTH,
    },
}


@pytest.mark.parametrize(("field", "coding", "expected"), rows(STRING_SIZES))
def test_sizes_of_strings(tmp_path: Path, field: str, coding: str, expected: Any) -> None:
    payload, crc = string_payload(STRINGS)
    if field == "size":
        path = write_strings(tmp_path, payload, crc, size=codings_of(len(payload))[coding])
    else:
        path = write_strings(tmp_path, codings_of(2)[coding] + payload[1:], crc)
    require(path, expected, {"x": STRINGS})


@pytest.mark.parametrize(
    "lengths", [[1, 1, 1], [0, 0, 3], [3, 0, 0], [1, 0, 2]], ids=lambda lengths: str(lengths)
)
def test_lengths_of_strings_that_add_up_all_the_same(tmp_path: Path, lengths: list[int]) -> None:
    payload, crc = string_payload(STRINGS)
    require(write_strings(tmp_path, bytes(lengths) + payload[3:], crc), CHANGED)


@pytest.mark.parametrize(
    "lengths",
    [[2**64 - 1, 4, 0], [2**63, 2**63, 3], [2**62] * 3, [2**64 - 3, 3, 3]],
    ids=["2**64-1", "2**63 twice", "2**62", "2**64-3"],
)
def test_lengths_of_strings_that_add_up_in_64_bits_only(tmp_path: Path, lengths: list[int]) -> None:
    payload, crc = string_payload(STRINGS)
    coded = b"".join(map(varint, lengths))
    require(write_strings(tmp_path, coded + payload[3:], crc), OTHER_LENGTHS)


@pytest.mark.parametrize("xor", [1, 0x80000000, 0xFFFFFFFF])
def test_the_checksum_of_strings(tmp_path: Path, xor: int) -> None:
    payload, crc = string_payload(STRINGS)
    require_changed(
        write_strings(tmp_path, payload, crc ^ xor), "bytes of the strings do not match"
    )


LENGTHS = [struct.pack("<I", len(string)) for string in STRINGS]
WRONG_CHECKSUMS = {
    "zero": 0,
    "2**32-1": 2**32 - 1,
    "one less": masked_crc32c(*LENGTHS) - 1,
    "one more": masked_crc32c(*LENGTHS) + 1,
    "of lengths as they stand": masked_crc32c(bytes(map(len, STRINGS))),
    "of lengths of 64 bits": masked_crc32c(*(length + bytes(4) for length in LENGTHS)),
    "of lengths as big-endian": masked_crc32c(*(length[::-1] for length in LENGTHS)),
}


@pytest.mark.parametrize("wrong", WRONG_CHECKSUMS.values(), ids=list(WRONG_CHECKSUMS))
def test_the_checksum_of_lengths_of_strings(tmp_path: Path, wrong: int) -> None:
    """The entry's checksum is right, over the wrong bytes of this one."""
    stored = struct.pack("<I", wrong)
    payload = bytes(map(len, STRINGS)) + stored + b"".join(STRINGS)
    path = write_strings(tmp_path, payload, masked_crc32c(*LENGTHS, stored, *STRINGS))
    require_changed(path, "bytes of the lengths of strings do not match")


@pytest.mark.parametrize(
    ("dims", "expected"),
    [
        pytest.param((2**40,), NO_ROOM, id="2**40"),
        pytest.param((2**31, 2**31), NO_ROOM, id="2**62"),
        pytest.param((4,), OTHER_LENGTHS, id="one more"),
        pytest.param((2,), OTHER_LENGTHS, id="one less"),
        pytest.param((0,), OTHER_LENGTHS, id="none"),
        pytest.param((), OTHER_LENGTHS, id="one"),
    ],
)
def test_numbers_of_strings(tmp_path: Path, dims: tuple[int, ...], expected: Any) -> None:
    payload, crc = string_payload(STRINGS)
    path = write_strings(tmp_path, payload, crc, dims=dims)
    at, error_class, words = expected
    words = words.split(" expected")[0]
    tracemalloc.start()
    require_refused(path, error_class, words, at=at)
    assert tracemalloc.get_traced_memory()[1] < 2 << 20
    tracemalloc.stop()


def test_2_to_the_40_strings_of_as_many_declared_bytes(tmp_path: Path) -> None:
    payload, crc = string_payload(STRINGS)
    path = write_strings(tmp_path, payload, crc, size=varint(2**41), dims=(2**40,))
    tracemalloc.start()
    require(path, TOO_SHORT)
    assert tracemalloc.get_traced_memory()[1] < 2 << 20
    tracemalloc.stop()


# Variants: never arrays, but their checksums are known

VARIANTS = [b"first variant", b"", b"third"]


def write_variants(folder: Path, payload: bytes, crc: int, dims: Any = (3,)) -> Path:
    def replace(bundle: Bundle) -> None:
        bundle.shards[0][:] = payload
        bundle.index[b"x"] = bundle_entry(VARIANT, dims, size=len(payload), crc=crc)

    return write_bundle(folder, {"x": [b""]}, name="m", edit=replace)


def require_variants(path: Path, damage: tuple[type[CorruptCheckpointError], str] | None) -> None:
    """Listed, not read, and verification finds just this damage."""
    for way in WAYS:
        with open_checkpoint(path, **way) as ckpt:
            assert ckpt.info("x").tensorflow_dtype == "variant"
            with pytest.raises(UnsupportedError, match="a variant"):
                ckpt["x"]
            report = ckpt.verify()
            assert report.unchecked == ()
            if damage is None:
                assert report.ok
            else:
                (found,) = report.damaged
                assert (found.name, type(found.error)) == ("x", damage[0])
                assert damage[1] in str(found.error)
                assert found.error.file == f"{path}.data-00000-of-00001"


OTHER_VARIANT = (ChecksumError, "bytes of the variant 0 do not match")
TOO_LONG = (CorruptCheckpointError, "variant 0\n  expected: at most")
VARIANT_SIZES = {
    "zero": OTHER_VARIANT,
    "one less": OTHER_VARIANT,
    "one more": OTHER_VARIANT,
    "negative": TOO_LONG,
    "2**31": TOO_LONG,
    "2**63-1": TOO_LONG,
    "not minimal": None,
    "overlong": (CorruptCheckpointError, "varint"),
}


@pytest.mark.parametrize(
    ("coding", "damage"), VARIANT_SIZES.items(), ids=[f"size-{name}" for name in VARIANT_SIZES]
)
def test_sizes_of_variants(tmp_path: Path, coding: str, damage: Any) -> None:
    payload, crc = variant_payload(VARIANTS)
    coded = codings_of(len(VARIANTS[0]))[coding]
    require_variants(write_variants(tmp_path, coded + payload[1:], crc), damage)


@pytest.mark.parametrize(
    ("dims", "words"),
    [
        ((2,), "invalid variants\n  expected:"),
        ((4,), "varint"),
        ((2**40,), "varint"),
        ((0,), "variants\n  exp"),
    ],
    ids=["one less", "one more", "2**40", "none"],
)
def test_numbers_of_variants(tmp_path: Path, dims: tuple[int, ...], words: str) -> None:
    payload, crc = variant_payload(VARIANTS)
    require_variants(write_variants(tmp_path, payload, crc, dims), (CorruptCheckpointError, words))


@pytest.mark.parametrize("which", [0, 1, 2, "entry"])
def test_checksums_of_variants(tmp_path: Path, which: int | str) -> None:
    payload, crc = variant_payload(VARIANTS)
    damage = f"the bytes of the variant {which} do not match"
    if which == "entry":
        crc ^= 1
        damage = "bytes of the variants do not match"
    else:
        end = sum(1 + len(variant) + 4 for variant in VARIANTS[: int(which) + 1])
        payload = payload[: end - 1] + bytes([payload[end - 1] ^ 1]) + payload[end:]
    require_variants(write_variants(tmp_path, payload, crc), (ChecksumError, damage))


@pytest.mark.parametrize("cut", [1, 4, 5, 9, 10])
def test_variants_that_are_cut(tmp_path: Path, cut: int) -> None:
    payload, crc = variant_payload(VARIANTS)
    path = write_variants(tmp_path, payload[:-cut], crc)
    require_variants(path, (CorruptCheckpointError, "vari"))


# A git-lfs pointer in place of a shard

HINT = r"a git-lfs pointer .*git lfs pull"


@pytest.mark.parametrize("num_floats", [2, 1000], ids=["longer", "shorter"])
def test_a_pointer_that_is_longer_or_shorter_than_the_tensor(
    tmp_path: Path, num_floats: int
) -> None:
    path = write_bundle(tmp_path, {"x": np.ones(num_floats, "f4")}, name="m")
    Path(f"{path}.data-00000-of-00001").write_bytes(POINTER)
    if num_floats == 2:
        require_changed(path, f"this is not a data file but {HINT}")
    else:
        require_refused(path, TruncatedError, f"this is not a data file but {HINT}", at=READ)


def test_a_pointer_in_place_of_strings(tmp_path: Path) -> None:
    path = write_bundle(tmp_path, {"x": [b"ab", b"c"]}, name="m")
    Path(f"{path}.data-00000-of-00001").write_bytes(POINTER)
    require_refused(path, CorruptCheckpointError, f"this is not a data file but {HINT}", at=READ)


def test_a_pointer_in_place_of_one_of_two_shards(tmp_path: Path) -> None:
    path = write(tmp_path, lambda bundle: None)
    Path(f"{path}.data-00001-of-00002").write_bytes(POINTER)
    for way in WAYS:
        with open_checkpoint(path, **way) as ckpt:
            assert ckpt["a"].tolist() == VALUES["a"]
            for damage in ckpt.verify().damaged:
                assert damage.name in ("b", "x")
                assert "git-lfs" in str(damage.error)


def test_no_hint_without_a_pointer(tmp_path: Path) -> None:
    path = write_bundle(tmp_path, {"x": np.ones(2, "f4")}, name="m")
    flip_bit(f"{path}.data-00000-of-00001", 3)
    with (
        open_checkpoint(path) as ckpt,
        pytest.raises(ChecksumError, match=r"found: 0x[0-9a-f]{8}$"),
    ):
        ckpt["x"]


# What is left of an index with a damaged block


NUL_NAMES = ["\x00", "\x00name", slice_key(b"a", [None]).decode("utf-8", "surrogateescape")]
"""Names that begin as keys of slices do; the last one could be one of `a`, and is not."""


@pytest.mark.parametrize("name", NUL_NAMES, ids=repr)
def test_tensors_whose_names_begin_as_slice_keys_are_verified_beside_damage(
    tmp_path: Path, name: str
) -> None:
    tensors = {name: np.ones(2, "f4"), "a": np.zeros(2, "f4"), "zz": np.zeros(2, "f4")}
    path = write_bundle(tmp_path, tensors, name="m", entries_per_block=3, crc_xors={1: 1})
    flip_bit(f"{path}.data-00000-of-00001", 0)
    for way in WAYS:
        with open_checkpoint(path, **way) as ckpt:
            damaged = [(None, ChecksumError), (name, ChecksumError)]
            assert sorted(found_by_verify(ckpt), key=str) == sorted(damaged, key=str)
            assert ckpt["a"].tolist() == [0, 0]


def test_slices_of_a_tensor_that_is_lost_are_not_taken_for_tensors(tmp_path: Path) -> None:
    """The owner may be in the damaged block: nobody can look the slice up by its key either."""
    key = slice_key(b"zz", [(0, 2)])

    def add(bundle: Bundle) -> None:
        bundle.index[key] = bundle.index[b"a"]

    tensors = {"a": np.ones(2, "f4"), "zz": np.zeros(2, "f4")}
    options = {"entries_per_block": 3, "crc_xors": {1: 1}}
    path = write_bundle(tmp_path, tensors, name="m", edit=add, **options)
    with open_checkpoint(path) as ckpt:
        report = ckpt.verify()
        assert [damage.name for damage in report.damaged] == [None]
        assert report.num_tensors == 1
        with pytest.raises(ChecksumError):
            ckpt[key.decode("utf-8", "surrogateescape")]


def test_a_slice_of_nobody_is_a_tensor_with_or_without_damage(tmp_path: Path) -> None:
    key = slice_key(b"b", [(0, 2)])

    def add(bundle: Bundle) -> None:
        bundle.index[key] = bundle.index[b"a"]

    tensors = {"a": np.ones(2, "f4"), "zz": np.zeros(2, "f4")}
    for crc_xor, num_tensors in ((0, 3), (1, 2)):
        options = {"entries_per_block": 3, "crc_xors": {1: crc_xor}}
        path = write_bundle(tmp_path, tensors, name="m", edit=add, **options)
        with open_checkpoint(path) as ckpt:
            assert ckpt.verify().num_tensors == num_tensors
            assert ckpt[key.decode("utf-8", "surrogateescape")].tolist() == [1, 1]
            with pytest.raises(TensorNotFoundError):
                ckpt["b"]


# Tensors that share their bytes


FILE_NBYTES = 50_000
SHARED: Mapping[str, tuple[tuple[int, int, int], int]] = {
    "numbers": ((4, FILE_NBYTES, masked_crc32c(bytes(FILE_NBYTES))), 4),
    "halves": ((4, FILE_NBYTES // 2, masked_crc32c(bytes(FILE_NBYTES // 2))), 8),
    "strings": ((STRING, FILE_NBYTES - 4, string_payload([b""] * (FILE_NBYTES - 4))[1]), 4),
    "few strings": ((STRING, 100, string_payload([b""] * 100)[1]), 4 * FILE_NBYTES // 104),
}
"""(dtype, size, checksum), and how many such tensors take four times the file."""


def share(folder: Path, count: int, kind: tuple[int, int, int]) -> Path:
    """So many tensors of the same bytes, from the first one of a data file on."""
    dtype, size, crc = kind
    nbytes = size + 4 if dtype == STRING else size
    payload = string_payload([b""] * size)[0] if dtype == STRING else b""

    def edit(bundle: Bundle) -> None:
        for i in range(count):
            bundle.index[b"%04d" % i] = bundle_entry(dtype, [size], size=nbytes, crc=crc)
        bundle.shards[0][:] = payload.ljust(FILE_NBYTES, b"\0")

    return write_bundle(folder, {}, name="m", edit=edit)


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("kind", SHARED, ids=SHARED)
def test_a_read_does_not_depend_on_those_before_it(
    tmp_path: Path, kind: str, way: dict[str, bool]
) -> None:
    dtype_size_crc, most = SHARED[kind]
    path = share(tmp_path, most + 2, dtype_size_crc)
    with open_checkpoint(path, **way) as ckpt:
        for names in (list(ckpt), list(ckpt)[::-1]):
            for name in names:
                assert ckpt[name].size == dtype_size_crc[1]
            ckpt.verify([names[0]])


def read_items(ckpt: Checkpoint) -> list[str]:
    return [name for name, _ in ckpt.items()]


def read_values(ckpt: Checkpoint) -> list[str]:
    return [name for name, _ in zip(ckpt, ckpt.values())]


def read_selected(ckpt: Checkpoint) -> list[str]:
    chosen = ckpt.select(rename=lambda name: f"new/{name}", transform=lambda name, array: array)
    return [name.removeprefix("new/") for name, _ in chosen.items()]


def load_all(ckpt: Checkpoint) -> list[str]:
    target = {name: np.zeros(ckpt.info(name).shape, ckpt.info(name).dtype) for name in ckpt}
    return list(load_into(target, ckpt).loaded)


def load_selected(ckpt: Checkpoint) -> list[str]:
    """The shapes of transformed tensors are known only once they are read."""
    target = {name: np.zeros(ckpt.info(name).shape, ckpt.info(name).dtype) for name in ckpt}
    chosen = ckpt.select(transform=lambda name, array: array)
    assert len(chosen.infos()) == len(ckpt)
    return list(load_into(target, chosen).loaded)


LOOPS: Mapping[str, Callable[[Checkpoint], list[str]]] = {
    "items": read_items,
    "values": read_values,
    "selection": read_selected,
    "load_into": load_all,
    "load_into of a selection": load_selected,
}


@pytest.mark.parametrize("loop", LOOPS, ids=LOOPS)
@pytest.mark.parametrize("way", FRESH, ids=str)
@pytest.mark.parametrize("kind", SHARED, ids=SHARED)
def test_tensors_of_a_loop_may_share_their_bytes_but_not_many_times(
    tmp_path: Path, kind: str, way: dict[str, bool], loop: str
) -> None:
    dtype_size_crc, most = SHARED[kind]
    read = LOOPS[loop]
    (tmp_path / "few").mkdir()
    with open_checkpoint(share(tmp_path / "few", most, dtype_size_crc), **way) as ckpt:
        for _ in range(3):  # what one loop takes does not count in the next one
            assert read(ckpt) == list(ckpt)
        assert ckpt.verify().ok
    with open_checkpoint(share(tmp_path, most + 2, dtype_size_crc), **way) as ckpt:
        *_, one, other = ckpt
        for _ in range(2):
            with pytest.raises(CorruptCheckpointError) as error:
                read(ckpt)
            assert error.value.message == "tensors share the same bytes"
            assert "4 times the 50000 bytes of the file" in error.value.expected
            assert error.value.tensor == one
            error_class = CorruptCheckpointError
            assert found_by_verify(ckpt) == [(one, error_class), (other, error_class)]
            assert found_by_verify(ckpt, one, other) == []


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_one_tensor_under_many_names_counts_once(tmp_path: Path, way: dict[str, bool]) -> None:
    """A selection may take one embedding for each of many layers: no bytes are shared."""
    values = np.arange(1000, dtype="f4")
    halves = Partitioned(values, [[(0, 500)], [(500, 500)]])
    path = write_bundle(tmp_path, {"emb/w": values, "emb/halves": halves}, name="m")
    with open_checkpoint(path, **way) as ckpt:
        layers = [("emb/", f"layer_{i}/") for i in range(8)]
        tied = ckpt.select(assignment_map=layers)
        assert [array.tolist() for array in tied.values()] == [values.tolist()] * 16
        target = {name: np.zeros(1000, "f4") for name in tied}
        assert load_into(target, tied).ok


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_slices_count_as_bytes_of_the_loop(tmp_path: Path, way: dict[str, bool]) -> None:
    values = np.arange(1000, dtype="f4")
    halves = [[(0, 500)], [(500, 500)]]

    def repeat(bundle: Bundle) -> None:
        for i in range(6):
            name = b"x%d" % i
            bundle.index[name] = bundle.index[b"x"]
            for extents in halves:
                bundle.index[slice_key(name, extents)] = bundle.index[slice_key(b"x", extents)]

    path = write_bundle(tmp_path, {"x": Partitioned(values, halves)}, name="m", edit=repeat)
    with open_checkpoint(path, **way) as ckpt:
        for name in ckpt:
            assert ckpt[name].tolist() == values.tolist()
        read = []
        with pytest.raises(CorruptCheckpointError, match="tensors share the same bytes"):
            for name, _ in ckpt.items():
                read.append(name)
        assert read == ["x", "x0", "x1", "x2"]
        assert [name for name, _ in found_by_verify(ckpt)] == ["x3", "x4", "x5"]


def test_a_report_of_damage_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ckptparse.verification.MAX_DAMAGED_TENSORS", 3)
    values = {f"{i}": np.ones(3, "f4") for i in range(6)}

    def damage(bundle: Bundle) -> None:
        bundle.shards[0][:] = bytes(len(bundle.shards[0]))

    with open_checkpoint(write_bundle(tmp_path, values, name="m", edit=damage)) as ckpt:
        report = ckpt.verify()
        assert [damage.name for damage in report.damaged] == ["0", "1", "2", "3", None]
        assert "at most 3 damaged ones\n  found: more" in str(report.damaged[-1].error)
        assert report.num_tensors == 4
        assert len(ckpt.verify(["0", "5"]).damaged) == 2


@pytest.mark.parametrize("num_damaged", [1, 2, 3])
def test_a_report_of_a_damaged_index_says_whether_it_ends_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_damaged: int
) -> None:
    monkeypatch.setattr("ckptparse.formats.bundle.index.MAX_INDEX_ERRORS", 2)

    def damage(bundle: Bundle) -> None:
        for i in range(num_damaged):
            bundle.index[b"%d" % i] = b"\xff"

    with open_checkpoint(write_bundle(tmp_path, {}, name="m", edit=damage)) as ckpt:
        errors = [damage.error for damage in ckpt.verify().damaged]
    assert len(errors) == num_damaged
    assert ("the rest was not checked" in str(errors[-1])) == (num_damaged == 3)
