"""Headers, entries and payloads of bundles with one wrong field, every other checksum right."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
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
    diff,
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
    wrapped,
    write_bundle,
)
from support.damage import POINTER, flip_bit
from support.hostile import (
    FIND,
    FRESH,
    OPEN,
    READ,
    WAYS,
    Changed,
    Refused,
    Right,
    Unsupported,
    allocating_at_most,
    each_case,
    field,
    field_rows,
    found_by_verify,
    groups_in,
    opened,
    with_outcome,
)
from support.ids import short

FLOAT, STRING, VARIANT = 1, 7, 21

X = np.arange(6, dtype="f4").reshape(2, 3)
TENSORS = {"a": np.ones(1, "f4"), "b": np.ones(1, "f4"), "c": np.ones(1, "f4"), "x": X}
"""Of two shards `x` fills the second one from byte 4 to its end; the first one has 8 bytes."""

VALUES = {name: array.tolist() for name, array in TENSORS.items()}
X_CRC = masked_crc32c(X.tobytes())

RIGHT = Right(VALUES)
CHANGED = Changed("do not match the stored checksum")
UNKNOWN = Unsupported("unknown dtype", unchecked=True)


def write(folder: Path, edit: Callable[[Bundle], None]) -> Path:
    return write_bundle(folder, TENSORS, name="m", num_shards=2, edit=edit)


def with_entry(folder: Path, entry: bytes) -> Path:
    """A checkpoint whose `x` has this entry."""
    return write(folder, lambda bundle: bundle.index.update({b"x": entry}))


def with_header(folder: Path, header: bytes) -> Path:
    return write(folder, lambda bundle: bundle.index.update({b"": header}))


def place_of_x(dtype: int = FLOAT, dims: tuple[int, ...] = (2, 3), **fields: Any) -> bytes:
    """The entry of `x`, with other values of some fields."""
    return bundle_entry(dtype, dims, **{"shard_id": 1, "offset": 4, "size": 24, **fields})


def test_the_entry_that_is_damaged_below_is_the_true_one(tmp_path: Path) -> None:
    RIGHT.check(with_entry(tmp_path, entry_with("offset", varint(4))))


# Header

NO_HEADER = Refused(OPEN, "BundleHeaderProto.* do not parse")
NO_SHARDS = Refused(OPEN, "number of shards in the header\n  expected: 1 or more")
NO_ORDER = Refused(OPEN, "byte order in the header\n  expected: 0 .* or 1")
NO_PRODUCER = Refused(OPEN, "producer version\n  expected: 0 or more\n  found: -")
NOT_FOR_US = Refused(OPEN, "this reader must not read it", UnsupportedError)
NEWER = Refused(OPEN, "written for a (?s:newer reader.*)version 2 or later", UnsupportedError)

SWAPPED = Right({name: array.byteswap().tolist() for name, array in TENSORS.items()})


def header_with(name: str, value: bytes) -> bytes:
    version = {"producer": 1, "min_consumer": 2, "bad_consumers": 3}.get(name)
    if version is not None:
        return varint_field(1, 2) + bytes_field(3, varint(version << 3) + value)
    if name == "num_shards":
        return varint(1 << 3) + value
    return varint_field(1, 2) + varint(2 << 3) + value


HEADER = {
    # Fields of 32 bits keep the low ones: here -2**31, and -1.
    "num_shards": field(2, RIGHT, NO_SHARDS, NO_HEADER, one_less=None, one_more=None),
    "endianness": field(0, RIGHT, NO_ORDER, NO_HEADER, zero=RIGHT, one_more=SWAPPED),
    "producer": field(1, RIGHT, NO_PRODUCER, NO_HEADER, zero=RIGHT, one_more=RIGHT),
    "min_consumer": field(1, RIGHT, RIGHT, NO_HEADER, one_more=NEWER),
    "bad_consumers": field(1, NOT_FOR_US, RIGHT, NO_HEADER),  # 1 is this reader
}

test_header_fields = each_case(with_header, field_rows(HEADER, header_with))

HEADERS = {
    "empty": b"",
    "zero": bundle_header(0),
    "byte order only": varint_field(2, 0),
    "version only": bytes_field(3, varint_field(1, 1)),
}

test_a_header_without_a_number_of_shards = each_case(with_header, HEADERS, NO_SHARDS)


def with_num_shards(folder: Path, num_shards: int) -> Path:
    """A checkpoint whose header says another number of shards, and which has only `x`."""

    def keep(bundle: Bundle) -> None:
        bundle.index = {b"": varint_field(1, num_shards), b"x": bundle.index[b"x"]}

    return write(folder, keep)


test_another_number_of_shards = each_case(
    with_num_shards,
    {
        "one less": (1, Refused(FIND, "shard number\n  expected: 0 to 0\n  found: 1")),
        "one more": (
            3,
            Refused(READ, "data-00001-of-00003(?s:.*)expected: shard 1 of 3", MissingShardError),
        ),
    },
)


def test_a_header_of_more_than_a_megabyte(tmp_path: Path) -> None:
    path = with_header(tmp_path, bundle_header(2) + bytes_field(15, bytes(1 << 20)))
    Refused(OPEN, "header\n  expected: at most 1048576 bytes", suffix=".index").check(path)


def test_two_billion_shards(tmp_path: Path) -> None:
    """No memory is allocated for them: names are listed at once, each shard is missing."""

    def claim(bundle: Bundle) -> None:
        bundle.index = {
            b"": bundle_header(2**31 - 1),
            b"x": bundle_entry(FLOAT, (2, 3), shard_id=2**31 - 2, size=24, crc=X_CRC),
        }

    path = write(tmp_path, claim)
    words = r"data-2147483646-of-2147483647(?s:.*)found: no such file"
    with allocating_at_most(2 << 20):
        Refused(READ, words, MissingShardError).check(path)
    with open_checkpoint(path) as ckpt:
        assert len(ckpt.files) == 100_001


# Entries


def entry_with(name: str, value: bytes) -> bytes:
    """The entry of `x`, with this value of a field."""
    fields = {
        "dtype": varint(1),
        "dim": varint(3),
        "unknown_rank": varint(0),
        "shard_id": varint(1),
        "offset": varint(4),
        "size": varint(24),
    }
    fields[name] = value
    shape = bytes_field(2, varint_field(1, 2)) + bytes_field(2, varint(1 << 3) + fields["dim"])
    if name == "unknown_rank":
        shape += varint(3 << 3) + value
    numbers = {3: "shard_id", 4: "offset", 5: "size"}
    return b"".join(
        [
            varint(1 << 3) + fields["dtype"],
            bytes_field(2, shape),
            *(varint(number << 3) + fields[name] for number, name in numbers.items()),
            fixed32_field(6, X_CRC),
        ]
    )


NO_ENTRY = Refused(
    FIND, "tensor 'x': invalid ((wire type of a |)protocol buffer|varint)\n  expected"
)
NO_SHAPE = Refused(FIND, r"shape\n  expected: sizes from 0, fewer than 2\*\*63")
NO_RANK = Refused(FIND, "shape\n  expected: dimensions\n  found: an unknown rank")
OTHER_SIZE = Refused(FIND, "size\n  expected: [0-9]+ bytes for float")
NO_SHARD = Refused(FIND, "shard number\n  expected: 0 to 1\n  found:")
NO_PLACE = Refused(FIND, "place in the shard\n  expected: offset and size from 0")
TOO_SHORT = Refused(READ, "this data file is cut off", TruncatedError)

ENTRY = {
    "dtype": field(1, RIGHT, UNKNOWN, NO_ENTRY, one_more=OTHER_SIZE),
    "dim": field(3, RIGHT, OTHER_SIZE, NO_ENTRY, negative=NO_SHAPE, two_63=NO_SHAPE),
    "unknown_rank": field(0, RIGHT, NO_RANK, NO_ENTRY, zero=RIGHT),
    "shard_id": field(1, RIGHT, NO_SHARD, NO_ENTRY, zero=TOO_SHORT),
    "offset": field(4, RIGHT, TOO_SHORT, NO_ENTRY, below=CHANGED, negative=NO_PLACE),
    "size": field(24, RIGHT, OTHER_SIZE, NO_ENTRY, negative=NO_PLACE),
}

test_entry_fields = each_case(with_entry, field_rows(ENTRY, entry_with))


def test_the_place_of_a_damaged_entry_is_not_made_up(tmp_path: Path) -> None:
    """The place within the entry is known, but not the place of the entry: there is no offset."""
    path = with_entry(tmp_path, entry_with("dim", varint(3, 11)))
    replace(NO_ENTRY, suffix=".index", offset=None).check(path)


ROTATED = (X_CRC - 0xA282EAD8) % 2**32
CHECKSUMS = {
    "zero": fixed32_field(6, 0),
    "one less": fixed32_field(6, X_CRC - 1),
    "one more": fixed32_field(6, X_CRC + 1),
    "2**31": fixed32_field(6, 2**31),
    "2**32-1": fixed32_field(6, 2**32 - 1),
    "absent": b"",
    "varint": varint_field(6, X_CRC),
    "fixed64": varint(6 << 3 | 1) + struct.pack("<Q", X_CRC),
    "not masked": fixed32_field(6, (ROTATED << 15 | ROTATED >> 17) % 2**32),
}

test_checksums_of_tensors = each_case(
    lambda folder, coded: with_entry(folder, place_of_x() + coded), CHECKSUMS, CHANGED
)

# But for cuts between fields, whose entry is another one, each is an error.
test_an_entry_cut_anywhere = each_case(
    lambda folder, cut: with_entry(folder, place_of_x(crc=X_CRC)[:-cut]),
    with_outcome(Refused(FIND, "tensor 'x'"), {f"{cut}": cut for cut in range(1, 23) if cut != 5})
    | {"5": (5, CHANGED), "23": (23, UNKNOWN)},  # without checksum, without anything
)


# Shapes

# 2**62 elements can be counted.
test_shapes_whose_product_is_no_number_of_64_bits = each_case(
    with_entry,
    {
        f"{size}-{short(dims)}": (
            place_of_x(dims=dims, size=size, crc=X_CRC),
            OTHER_SIZE if dims == (2,) * 62 else NO_SHAPE,
        )
        for size in (0, 24)
        for dims in (
            (2**32, 2**32),
            (2**32, 2**32, 0),
            (0, 2**32, 2**32),
            (2**31, 2**31, 2**31, 2**31),
            (2**63 - 1, 2),
            (2,) * 62,
            (-1,),
            (-1, -6),
            (2**63 - 1, 0, -1),
        )
    },
)

test_shapes_without_elements_that_numpy_cannot_count = each_case(
    with_entry,
    {
        str(dims): bundle_entry(FLOAT, dims, crc=masked_crc32c(b""))
        for dims in ((2**62, 0), (0, 2**62), (2**31, 0, 2**31))
    },
    Unsupported("too large"),
)

test_more_dimensions_than_tensorflow_has = each_case(
    with_entry,
    {
        str(rank): (
            place_of_x(dims=(1,) * rank, size=4),
            Refused(FIND, f"shape\n  expected: at most 254 dimensions\n  found: {rank}"),
        )
        for rank in (255, 300, 10_000)
    },
)


@pytest.mark.parametrize("rank", [65, 254])
def test_more_dimensions_than_numpy_has(tmp_path: Path, rank: int) -> None:
    crc = masked_crc32c(X.tobytes()[:4])
    path = with_entry(tmp_path, place_of_x(dims=(1,) * rank, size=4, crc=crc))
    words = f"too many dimensions for numpy\n  expected: (?s:.*)found: {rank}"
    Unsupported(words).check(path)
    with open_checkpoint(path) as ckpt:
        assert ckpt.info("x").shape == (1,) * rank


@pytest.mark.parametrize("dtype", [0, 34, 100, 101, 133, 2**31 - 1, -1, -(2**31)])
def test_unknown_dtypes_are_listed_and_not_read(tmp_path: Path, dtype: int) -> None:
    path = with_entry(tmp_path, place_of_x(dtype))
    UNKNOWN.check(path)
    with open_checkpoint(path) as ckpt:
        assert ckpt.info("x").tensorflow_dtype == f"unknown dtype {dtype}"
        assert ckpt.info("x").nbytes == 24


def test_an_unknown_dtype_whose_bytes_are_not_there(tmp_path: Path) -> None:
    """Reading refuses the type; verification still sees that the file is too short."""
    path = with_entry(tmp_path, place_of_x(34, offset=5))
    for ckpt in opened(path):
        with pytest.raises(UnsupportedError):
            ckpt["x"]
        assert found_by_verify(ckpt) == [("x", TruncatedError)]


def test_a_resource(tmp_path: Path) -> None:
    path = with_entry(tmp_path, place_of_x(20, ()))
    Unsupported("a resource: a handle", unchecked=True).check(path)


# Depth

ENTRY_MESSAGES = {"entry": (), "shape": (2,), "dimension": (2, 2), "slice": (7,), "extent": (7, 1)}

# As far as protocol buffers' own limit; a slice makes listing look at entries, too.
test_groups_in_groups_in_each_message_of_an_entry = each_case(
    with_entry, groups_in(ENTRY_MESSAGES, before=entry_with("offset", varint(4))), NO_ENTRY
)

test_groups_in_groups_in_each_message_of_a_header = each_case(
    with_header, groups_in({"header": (), "version": (3,)}, before=bundle_header(2)), NO_HEADER
)

# The bytes are quadratic in the making, not in the reading.
test_unknown_messages_in_messages_are_skipped_whatever_their_depth = each_case(
    lambda folder, depth: with_entry(
        folder, entry_with("offset", varint(4)) + wrapped((15,) * depth, b"")
    ),
    {"1000": 1000, "5000": 5000},
    RIGHT,
)


# Strings

STRINGS = [b"ab", b"", b"c"]
PAYLOAD, PAYLOAD_CRC = string_payload(STRINGS)


def write_strings(
    folder: Path,
    payload: bytes = PAYLOAD,
    crc: int = PAYLOAD_CRC,
    *,
    size: bytes | None = None,
    dims: tuple[int, ...] = (3,),
) -> Path:
    """One string tensor `x` of a payload, followed by other bytes in its shard."""

    def edit(bundle: Bundle) -> None:
        bundle.shards[0][:] = payload + bytes(20)
        coded = varint(len(payload)) if size is None else size
        entry = bundle_entry(STRING, dims) + varint(5 << 3) + coded + fixed32_field(6, crc)
        bundle.index[b"x"] = entry

    return write_bundle(folder, {"x": [b""]}, name="m", edit=edit)


def with_options(folder: Path, options: dict[str, Any]) -> Path:
    return write_strings(folder, **options)


RIGHT_STRINGS = Right({"x": STRINGS})
OTHER_LENGTHS = Refused(READ, "lengths of strings\n  expected: 3 lengths that add up")
OTHER_NUMBER = Refused(READ, "lengths of strings\n ")
NO_LENGTH = Refused(READ, "varint")
NO_STRING_ENTRY = Refused(FIND, "tensor 'x': invalid (protocol buffer|varint)")
NO_ROOM = Refused(FIND, "size\n  expected: at least 7 bytes for 3 strings")
NO_ROOM_FOR_MORE = Refused(FIND, "size\n ")

STRING_SIZES = {
    "size": field(
        len(PAYLOAD),
        RIGHT_STRINGS,
        TOO_SHORT,
        NO_STRING_ENTRY,
        zero=NO_ROOM,
        one_less=OTHER_LENGTHS,
        one_more=OTHER_LENGTHS,
        negative=NO_PLACE,
    ),
    "length": field(2, RIGHT_STRINGS, OTHER_LENGTHS, NO_LENGTH),
}

test_sizes_of_strings = each_case(
    with_options,
    field_rows(
        STRING_SIZES,
        lambda name, value: {"size": value} if name == "size" else {"payload": value + PAYLOAD[1:]},
    ),
)

test_lengths_of_strings_that_add_up_all_the_same = each_case(
    lambda folder, lengths: write_strings(folder, bytes(lengths) + PAYLOAD[3:]),
    {str(lengths): lengths for lengths in ([1, 1, 1], [0, 0, 3], [3, 0, 0], [1, 0, 2])},
    CHANGED,
)

test_lengths_of_strings_that_add_up_in_64_bits_only = each_case(
    lambda folder, lengths: write_strings(folder, b"".join(map(varint, lengths)) + PAYLOAD[3:]),
    {
        "2**64-1": [2**64 - 1, 4, 0],
        "2**63 twice": [2**63, 2**63, 3],
        "2**62": [2**62] * 3,
        "2**64-3": [2**64 - 3, 3, 3],
    },
    OTHER_LENGTHS,
)

test_the_checksum_of_strings = each_case(
    lambda folder, xor: write_strings(folder, crc=PAYLOAD_CRC ^ xor),
    {hex(xor): xor for xor in (1, 0x80000000, 0xFFFFFFFF)},
    Changed("bytes of the strings do not match"),
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


def with_checksum_of_lengths(folder: Path, wrong: int) -> Path:
    """The entry's checksum is right; the checksum of the lengths is wrong."""
    stored = struct.pack("<I", wrong)
    payload = bytes(map(len, STRINGS)) + stored + b"".join(STRINGS)
    return write_strings(folder, payload, masked_crc32c(*LENGTHS, stored, *STRINGS))


test_the_checksum_of_lengths_of_strings = each_case(
    with_checksum_of_lengths,
    WRONG_CHECKSUMS,
    Changed("bytes of the lengths of strings do not match"),
)

test_numbers_of_strings = each_case(
    with_options,
    {
        "2**40": ({"dims": (2**40,)}, NO_ROOM_FOR_MORE),
        "2**62": ({"dims": (2**31, 2**31)}, NO_ROOM_FOR_MORE),
        "one more": ({"dims": (4,)}, OTHER_NUMBER),
        "one less": ({"dims": (2,)}, OTHER_NUMBER),
        "none": ({"dims": (0,)}, OTHER_NUMBER),
        "one": ({"dims": ()}, OTHER_NUMBER),
        "2**40 of as many declared bytes": (
            {"size": varint(2**41), "dims": (2**40,)},
            TOO_SHORT,
        ),
    },
    most_allocated=2 << 20,
)


# Variants: never arrays, but their checksums are known

VARIANTS = [b"first variant", b"", b"third"]
VARIANT_PAYLOAD, VARIANT_CRC = variant_payload(VARIANTS)


def write_variants(
    folder: Path,
    payload: bytes = VARIANT_PAYLOAD,
    crc: int = VARIANT_CRC,
    dims: tuple[int, ...] = (3,),
) -> Path:
    def edit(bundle: Bundle) -> None:
        bundle.shards[0][:] = payload
        bundle.index[b"x"] = bundle_entry(VARIANT, dims, size=len(payload), crc=crc)

    return write_bundle(folder, {"x": [b""]}, name="m", edit=edit)


@dataclass(frozen=True)
class Variants:
    """Listed, not read, and verification finds just this damage, or none."""

    words: str | None
    error_class: type[CorruptCheckpointError] = CorruptCheckpointError

    def check(self, path: Path) -> None:
        for ckpt in opened(path):
            assert ckpt.info("x").tensorflow_dtype == "variant"
            with pytest.raises(UnsupportedError, match="a variant"):
                ckpt["x"]
            report = ckpt.verify()
            assert report.unchecked == ()
            if self.words is None:
                assert report.ok
            else:
                (found,) = report.damaged
                assert (found.name, type(found.error)) == ("x", self.error_class)
                assert self.words in str(found.error)
                assert found.error.file == f"{path}.data-00000-of-00001"


OTHER_VARIANT = Variants("bytes of the variant 0 do not match", ChecksumError)
TOO_LONG = Variants("variant 0\n  expected: at most")
NO_SIZE = Variants("varint")

test_sizes_of_variants = each_case(
    write_variants,
    field_rows(
        {
            "size": field(
                len(VARIANTS[0]),
                Variants(None),
                TOO_LONG,
                NO_SIZE,
                below=OTHER_VARIANT,
                one_more=OTHER_VARIANT,
            )
        },
        lambda name, value: value + VARIANT_PAYLOAD[1:],
    ),
)

test_numbers_of_variants = each_case(
    lambda folder, count: write_variants(folder, dims=(count,)),
    {
        "one less": (2, Variants("invalid variants\n  expected:")),
        "one more": (4, NO_SIZE),
        "2**40": (2**40, NO_SIZE),
        "none": (0, Variants("variants\n  exp")),
    },
)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_checksums_of_variants(tmp_path: Path, which: int) -> None:
    path = write_variants(tmp_path)
    end = sum(1 + len(variant) + 4 for variant in VARIANTS[: which + 1])
    flip_bit(f"{path}.data-00000-of-00001", end - 1, 1)
    Variants(f"the bytes of the variant {which} do not match", ChecksumError).check(path)


def test_the_checksum_of_all_variants(tmp_path: Path) -> None:
    path = write_variants(tmp_path, crc=VARIANT_CRC ^ 1)
    Variants("bytes of the variants do not match", ChecksumError).check(path)


test_variants_that_are_cut = each_case(
    lambda folder, cut: write_variants(folder, VARIANT_PAYLOAD[:-cut]),
    {str(cut): cut for cut in (1, 4, 5, 9, 10)},
    Variants("vari"),
)


# A git-lfs pointer in place of a shard

HINT = r"a git-lfs pointer .*git lfs pull"
NO_DATA = f"this is not a data file but {HINT}"


def write_pointer(folder: Path, tensor: Any) -> Path:
    path = write_bundle(folder, {"x": tensor}, name="m")
    Path(f"{path}.data-00000-of-00001").write_bytes(POINTER)
    return path


test_a_pointer_in_place_of_a_shard = each_case(
    write_pointer,
    {
        "longer than the tensor": (np.ones(2, "f4"), Changed(NO_DATA)),
        "shorter than the tensor": (np.ones(1000, "f4"), Refused(READ, NO_DATA, TruncatedError)),
        "of strings": ([b"ab", b"c"], Refused(READ, NO_DATA)),
    },
)


def test_a_pointer_in_place_of_one_of_two_shards(tmp_path: Path) -> None:
    path = write(tmp_path, lambda bundle: None)
    Path(f"{path}.data-00001-of-00002").write_bytes(POINTER)
    for ckpt in opened(path):
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
    for ckpt in opened(path):
        damaged = [(None, ChecksumError), (name, ChecksumError)]
        assert sorted(found_by_verify(ckpt), key=str) == sorted(damaged, key=str)
        assert ckpt["a"].tolist() == [0, 0]


def test_slices_of_a_tensor_that_is_lost_are_not_taken_for_tensors(tmp_path: Path) -> None:
    """The owner may be in the damaged block, so the key is not taken for the name of a tensor."""
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
SHARED: dict[str, tuple[tuple[int, int, int], int]] = {
    "numbers": ((4, FILE_NBYTES, masked_crc32c(bytes(FILE_NBYTES))), 4),
    "halves": ((4, FILE_NBYTES // 2, masked_crc32c(bytes(FILE_NBYTES // 2))), 8),
    "strings": ((STRING, FILE_NBYTES - 4, string_payload([b""] * (FILE_NBYTES - 4))[1]), 4),
    "few strings": ((STRING, 500, string_payload([b""] * 500)[1]), 4 * FILE_NBYTES // 504),
}
"""(dtype, size, checksum), and how many such tensors take four times the file."""


def share(folder: Path, count: int, kind: tuple[int, int, int]) -> Path:
    """Write this many tensors over the same bytes of a data file, from its start."""
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


def compare_all(ckpt: Checkpoint) -> list[str]:
    return list(diff(ckpt, ckpt, deep=True).same)


LOOPS: dict[str, Callable[[Checkpoint], list[str]]] = {
    "items": read_items,
    "values": read_values,
    "selection": read_selected,
    "load_into": load_all,
    "load_into of a selection": load_selected,
    "diff": compare_all,
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
