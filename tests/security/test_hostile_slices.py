"""Partitioned tensors of V2 with one wrong field: extents, keys of slices, entries of slices."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ckptparse import (
    ChecksumError,
    CorruptCheckpointError,
    MissingShardError,
    TruncatedError,
    open_checkpoint,
)
from support.builders import (
    Bundle,
    Extent,
    Partitioned,
    bundle_entry,
    bundle_header,
    bytes_field,
    groups,
    masked_crc32c,
    ordered_int,
    ordered_string,
    ordered_uint,
    slice_key,
    split,
    table,
    tensor_shape,
    tensor_slice,
    varint,
    varint_field,
    write_bundle,
)
from support.hostile import (
    DEPTHS,
    FRESH,
    LIST,
    READ,
    WAYS,
    Changed,
    Outcome,
    Refused,
    Right,
    Unsupported,
    each_case,
    field,
    field_rows,
    found_by_verify,
    opened,
)
from support.saved_slices import FLOAT, INT32, STRING, contents, tensor_entry

X = np.arange(28, dtype="f4").reshape(7, 4)
SLICES: list[list[Extent]] = [[(0, 3), (0, 4)], [(3, 4), (0, 4)]]
KEYS = [slice_key(b"x", extents) for extents in SLICES]
FIRST_SLICE = tensor_slice(SLICES[0])
"""Of two shards, a tensor `other` and rows 3 to 7 of `x` are in the first one, rows 0 to 3 in the
second one."""

RIGHT = Right({"other": [1.0], "x": X.tolist()})
CHANGED = Changed("bytes of the tensor do not match")


def write(folder: Path, edit: Callable[[dict[bytes, bytes]], object]) -> Path:
    """A checkpoint of a partitioned tensor `x` and another one, with changes to its index."""

    def change(bundle: Bundle) -> None:
        edit(bundle.index)

    tensors = {"other": np.ones(1, "f4"), "x": Partitioned(X, SLICES)}
    return write_bundle(folder, tensors, name="m", num_shards=2, edit=change)


def with_x(folder: Path, entry: bytes) -> Path:
    """A checkpoint whose `x` has this entry."""
    return write(folder, lambda index: index.update({b"x": entry}))


def with_second_slice(folder: Path, coded: bytes) -> Path:
    """A checkpoint whose `x` has its first slice, and this TensorSliceProto as the second one."""
    slices = bytes_field(7, FIRST_SLICE) + bytes_field(7, coded)
    return with_x(folder, bundle_entry(FLOAT, (7, 4)) + slices)


def with_second_entry(folder: Path, entry: bytes) -> Path:
    """A checkpoint with this entry under the key of the second slice."""
    return write(folder, lambda index: index.update({KEYS[1]: entry}))


# Extents, as the tensor's entry has them

NO_ENTRY = Refused(LIST, "tensor 'x': invalid protocol buffer\n  expected: a BundleEntryP")
NO_EXTENT = Refused(LIST, "tensor 'x': invalid extent of a slice\n  expected: a start from 0")
OVERLAP = Refused(READ, r"slices overlap\n  expected: every element once")
OUTSIDE = Refused(READ, r"slice\n  expected: a part of the shape \[7, 4\]")
HOLE = Refused(READ, "slices do not cover the tensor\n  expected: 28 elements")
NOT_THERE = Refused(READ, "slice\n  expected: an entry for the slice (?s:.*)found: none")

EXTENTS = {  # of the second slice
    "first start": field(3, RIGHT, OUTSIDE, NO_ENTRY, below=OVERLAP, negative=NO_EXTENT),
    # "whole", which begins at 0, is the length -1.
    "first length": field(4, RIGHT, OUTSIDE, NO_ENTRY, one_less=HOLE, negative=NO_EXTENT),
    "last start": field(0, RIGHT, OUTSIDE, NO_ENTRY, zero=RIGHT, negative=NO_EXTENT),
    # Here "whole" is right, but it has a key of its own.
    "last length": field(4, RIGHT, OUTSIDE, NO_ENTRY, one_less=HOLE, negative=NOT_THERE),
}


def second_slice(name: str, value: bytes) -> bytes:
    """The second slice of `x`, with this value of a field."""
    fields = {field: varint(true) for field, (true, _) in EXTENTS.items()} | {name: value}
    return b"".join(
        bytes_field(
            1, varint(1 << 3) + fields[f"{axis} start"] + varint(2 << 3) + fields[f"{axis} length"]
        )
        for axis in ("first", "last")
    )


test_extents = each_case(with_second_slice, field_rows(EXTENTS, second_slice))


def other_rank(found: int) -> Refused:
    words = "tensor 'x': invalid slice\n  expected: 2 dimensions, as the tensor has\n  found: "
    return Refused(LIST, f"{words}{found}$")


test_numbers_of_extents = each_case(
    with_second_slice,
    {
        "none": (b"", other_rank(0)),
        "one less": (tensor_slice([(0, 3)]), other_rank(1)),
        "one more": (tensor_slice([(0, 3), (0, 4), None]), other_rank(3)),
        "300": (tensor_slice([None] * 300), other_rank(300)),
        "a start without a length": (
            bytes_field(1, varint_field(1, 3)) + bytes_field(1, b""),
            NO_EXTENT,
        ),
    },
)

# Slices that are no tiling, though each one is there

TILINGS = {
    "a hole at the end": ([[(0, 3), (0, 4)], [(3, 3), (0, 4)]], HOLE),
    "a hole in the middle": ([[(0, 3), (0, 4)], [(4, 3), (0, 4)]], HOLE),
    "a hole and an overlap of one size": ([[(0, 4), (0, 4)], [(3, 3), (0, 4)]], OVERLAP),
    "an overlap": ([[(0, 4), (0, 4)], [(3, 4), (0, 4)]], OVERLAP),
    "one slice of everything, twice": ([[None, None], [(0, 7), (0, 4)]], OVERLAP),
    "outside in the first dimension": ([[(0, 7), (0, 4)], [(7, 1), (0, 4)]], OUTSIDE),
    "outside in the last dimension": ([[(0, 7), (0, 3)], [(0, 7), (3, 2)]], OUTSIDE),
    "far outside": ([[(0, 7), (0, 4)], [(2**62, 1), (0, 4)]], OUTSIDE),
    "none of its elements": ([[(0, 7), (0, 4)], [(3, 0), (0, 4)]], OUTSIDE),
    "half of it": ([[(0, 7), (0, 2)]], HOLE),
}


def with_slices(folder: Path, slices: list[list[Extent]]) -> Path:
    def claim(index: dict[bytes, bytes]) -> None:
        for key in KEYS:
            del index[key]
        for extents in slices:
            dims = [size if e is None else e[1] for e, size in zip(extents, X.shape)]
            payload = np.zeros(dims, "f4").tobytes()
            crc = masked_crc32c(payload)
            index[slice_key(b"x", extents)] = bundle_entry(FLOAT, dims, size=len(payload), crc=crc)
        index[b"x"] = bundle_entry(FLOAT, (7, 4), slices=slices)

    return write(folder, claim)


test_slices_that_are_there_and_no_tiling = each_case(with_slices, TILINGS)


def test_no_part_of_a_tensor_with_a_hole_is_given(tmp_path: Path) -> None:
    """Not even the part that is stored: one cannot tell which part is right."""
    path = with_x(tmp_path, bundle_entry(FLOAT, (7, 4), slices=SLICES[:1]))
    with open_checkpoint(path) as ckpt, pytest.raises(CorruptCheckpointError, match="do not cover"):
        ckpt.read("x", 0)


def with_scalar(folder: Path, times: int) -> Path:
    """A checkpoint whose `x` is a scalar that has the same slice this many times."""
    crc = masked_crc32c(np.float32(1).tobytes())

    def claim(index: dict[bytes, bytes]) -> None:
        index[b"x"] = bundle_entry(FLOAT, (), slices=[[]] * times)
        index[slice_key(b"x", [])] = bundle_entry(FLOAT, (), size=4, crc=crc)
        for key in KEYS:
            del index[key]

    return write(folder, claim)


test_a_scalar_in_slices = each_case(
    with_scalar, {"once": (1, Right({"other": [1.0], "x": 1.0})), "twice": (2, OVERLAP)}
)

# Keys of slices

NAME, START = KEYS[1][:4], KEYS[1][:6]
"""A key up to its rank, and up to the start of its first dimension."""

ORDERED = {
    "no name": b"\x00",
    "name without end": b"\x00x",
    "end without second byte": b"\x00x\x00",
    "name closed wrongly": b"\x00x\x00\x02\x01\x02",
    "name with a bare ff": b"\x00x\xff\x01\x00\x01" + KEYS[1][4:],
    "no rank": b"\x00" + ordered_string(b"x"),
    "rank 0": NAME + ordered_uint(0) + KEYS[1][6:],
    "rank one less": NAME + ordered_uint(1) + KEYS[1][6:],
    "rank one more": NAME + ordered_uint(3) + KEYS[1][6:],
    "rank 2**31": NAME + ordered_uint(2**31) + KEYS[1][6:],
    "rank 2**63-1": NAME + ordered_uint(2**63 - 1) + KEYS[1][6:],
    "rank not minimal": NAME + b"\x02\x00\x02" + KEYS[1][6:],
    "rank of 255 bytes": NAME + b"\xff\x02" + KEYS[1][6:],
    "start one less": START + ordered_int(2) + KEYS[1][7:],
    "start one more": START + ordered_int(4) + KEYS[1][7:],
    "start negative": START + ordered_int(-3) + KEYS[1][7:],
    "start 2**31": START + ordered_int(2**31) + KEYS[1][7:],
    "start 2**63-1": START + ordered_int(2**63 - 1) + KEYS[1][7:],
    "start not minimal": START + b"\xc0\x03" + KEYS[1][7:],
    "length zero": KEYS[1][:7] + ordered_int(0) + KEYS[1][8:],
    "length whole": KEYS[1][:-1] + ordered_int(-1),
    "length not minimal": KEYS[1][:-1] + b"\xc0\x04",
    "one byte less": KEYS[1][:-1],
    "one byte more": KEYS[1] + b"\x80",
    "without its first byte": KEYS[1][1:],
}
by_key = pytest.mark.parametrize("key", ORDERED.values(), ids=list(ORDERED))


def test_the_keys_that_are_damaged_below_are_in_their_parts() -> None:
    assert KEYS[1] == b"\x00" + ordered_string(b"x") + ordered_uint(2) + bytes.fromhex("83848084")
    assert len({*ORDERED.values(), KEYS[1]}) == len(ORDERED) + 1


@by_key
def test_a_slice_under_another_key_is_not_there(tmp_path: Path, key: bytes) -> None:
    """The entry under the other key is then a tensor with that name."""
    name = key.decode("utf-8", "surrogateescape")

    def move(index: dict[bytes, bytes]) -> None:
        index[key] = index.pop(KEYS[1])

    path = write(tmp_path, move)
    NOT_THERE.check(path)
    with open_checkpoint(path) as ckpt:
        assert set(ckpt) == {"other", "x", name}
        assert ckpt[name].tolist() == X[3:].tolist()
        assert ckpt.info("x").slices[1].file is None


@by_key
def test_names_that_look_like_keys_of_slices_are_names(tmp_path: Path, key: bytes) -> None:
    name = key.decode("utf-8", "surrogateescape")
    path = write(tmp_path, lambda index: index.update({key: index[b"other"]}))
    for ckpt in opened(path):
        assert set(ckpt) == {"other", "x", name}
        assert {info.name for info in ckpt.infos()} == {"other", "x", name}
        assert ckpt[name].tolist() == [1.0]
        assert ckpt["x"].tolist() == X.tolist()
        assert ckpt.verify().ok


@pytest.mark.parametrize("key", KEYS, ids=["first", "second"])
def test_a_slice_is_not_a_name(tmp_path: Path, key: bytes) -> None:
    path = write(tmp_path, lambda index: None)
    name = key.decode("utf-8", "surrogateescape")
    for ckpt in opened(path):
        assert name not in ckpt
        assert name not in list(ckpt)


# Entries of slices

OTHER_SLICE = Refused(READ, r"slice \[3:7, 0:4\]\n  expected: float32 \[4, 4\]\n  found:")
SLICED_ITSELF = Refused(READ, "found: one that is sliced itself")
CUT_OFF = Refused(READ, "this data file is cut off", TruncatedError)

ROWS = X[3:].tobytes()
ENTRIES = {
    "another dtype of its size": (bundle_entry(INT32, (4, 4), offset=4, size=64), OTHER_SLICE),
    "another dtype": (bundle_entry(4, (4, 4), offset=4, size=16), OTHER_SLICE),
    "strings": (bundle_entry(STRING, (4, 4), offset=4, size=64), OTHER_SLICE),
    "an unknown dtype": (bundle_entry(34, (4, 4), offset=4, size=64), OTHER_SLICE),
    "no dtype": (bundle_entry(0, (4, 4), offset=4, size=64), OTHER_SLICE),
    "fewer rows": (bundle_entry(FLOAT, (1, 4), offset=4, size=16), OTHER_SLICE),
    "more rows": (bundle_entry(FLOAT, (7, 4), offset=4, size=112), OTHER_SLICE),
    "no rows": (bundle_entry(FLOAT, (0, 4), offset=4), OTHER_SLICE),
    "the same bytes in one dimension": (bundle_entry(FLOAT, (16,), offset=4, size=64), OTHER_SLICE),
    "a scalar": (bundle_entry(FLOAT, (), offset=4, size=4), OTHER_SLICE),
    "turned": (bundle_entry(FLOAT, (2, 8), offset=4, size=64), OTHER_SLICE),
    "a shard that ends too early": (bundle_entry(FLOAT, (4, 4), offset=5, size=64), CUT_OFF),
    "other bytes": (
        bundle_entry(FLOAT, (4, 4), offset=0, size=64, crc=masked_crc32c(ROWS)),
        CHANGED,
    ),
    "no checksum": (bundle_entry(FLOAT, (4, 4), offset=4, size=64), CHANGED),
    "slices of its own": (
        bundle_entry(FLOAT, (4, 4), slices=[[(0, 2), None], [(2, 2), None]]),
        SLICED_ITSELF,
    ),
    "itself as a slice": (bundle_entry(FLOAT, (4, 4), slices=[[(3, 4), (0, 4)]]), SLICED_ITSELF),
}


@dataclass(frozen=True)
class Listed:
    """What must happen when `x` is read, while names are listed as if nothing were wrong."""

    outcome: Outcome

    def check(self, path: Path) -> None:
        self.outcome.check(path)
        with open_checkpoint(path) as ckpt:
            assert list(ckpt) == ["other", "x"]


test_entries_of_slices = each_case(
    with_second_entry,
    {name: (entry, Listed(outcome)) for name, (entry, outcome) in ENTRIES.items()},
)


@pytest.mark.parametrize(
    "entry",
    [
        bundle_entry(FLOAT, (4, 4), offset=4, size=63),
        bundle_entry(FLOAT, (-4, 4), offset=4, size=64),
        bundle_entry(FLOAT, (4, 4), shard_id=2, offset=4, size=64),
        bundle_entry(FLOAT, (4, 4), offset=-4, size=64),
        b"\xff",
    ],
    ids=["size", "shape", "shard", "offset", "no entry"],
)
def test_an_entry_of_a_slice_that_is_none(tmp_path: Path, entry: bytes) -> None:
    """The tensor's information includes the places of its slices, so it cannot be given either."""
    path = with_second_entry(tmp_path, entry)
    key = KEYS[1].decode("utf-8", "surrogateescape")
    for way in WAYS:
        for put in (
            list,
            lambda ckpt: ckpt.infos(),
            lambda ckpt: ckpt.info("x"),
            lambda ckpt: ckpt["x"],
        ):
            with open_checkpoint(path, **way) as ckpt:
                with pytest.raises(CorruptCheckpointError) as error:
                    put(ckpt)
                assert (error.value.file, error.value.tensor) == (f"{path}.index", key)
                assert ckpt["other"].tolist() == [1.0]
        with open_checkpoint(path, **way) as ckpt:
            expected = {(key, CorruptCheckpointError), ("x", CorruptCheckpointError)}
            assert set(found_by_verify(ckpt)) == expected


def test_slices_that_refer_to_each_other(tmp_path: Path) -> None:
    """A slice of `x` that is partitioned, into slices whose owner is that slice."""
    inner = slice_key(KEYS[1], [(0, 4), None])

    def claim(index: dict[bytes, bytes]) -> None:
        index[inner] = bundle_entry(FLOAT, (4, 4), slices=[SLICES[1]])
        index[KEYS[1]] = bundle_entry(FLOAT, (4, 4), slices=[[(0, 4), None]])

    path = write(tmp_path, claim)
    SLICED_ITSELF.check(path)
    with open_checkpoint(path) as ckpt:
        assert list(ckpt) == ["other", "x"]


def test_a_missing_shard_of_one_slice(tmp_path: Path) -> None:
    path = write(tmp_path, lambda index: None)
    Path(f"{path}.data-00001-of-00002").unlink()
    words = "data-00001-of-00002.*this data file is missing"
    Refused(READ, words, MissingShardError).check(path)
    for ckpt in opened(path):
        with pytest.raises(MissingShardError):
            ckpt["x"]
        assert ckpt.read("x", np.s_[3:]).tolist() == X[3:].tolist()


def test_two_slices_of_the_same_bytes(tmp_path: Path) -> None:
    """Entries may share bytes, as long as the files have enough bytes for all of them."""
    halves: list[list[Extent]] = [[(0, 3), (0, 4)], [(3, 3), (0, 4)]]

    def share(index: dict[bytes, bytes]) -> None:
        del index[KEYS[1]]
        entry = index[KEYS[0]]
        index[slice_key(b"x", halves[1])] = entry
        index[b"x"] = bundle_entry(FLOAT, (6, 4), slices=halves)

    path = write(tmp_path, share)
    words = (
        "slices share the same bytes\n  expected: at most the 48 bytes of 1 data files\n  found: 96"
    )
    Refused(READ, words).check(path)
    with open(f"{path}.data-00001-of-00002", "ab") as file:
        file.write(bytes(48))
    Right({"other": [1.0], "x": [*X[:3].tolist(), *X[:3].tolist()]}).check(path)


def with_empty_slice(folder: Path, dtype: int) -> Path:
    """A checkpoint whose `x` has another dtype, and one slice without elements."""
    entry = bundle_entry(dtype, (7, 0), crc=masked_crc32c(b""))

    def retype(index: dict[bytes, bytes]) -> None:
        index[b"x"] = bundle_entry(dtype, (7, 0), slices=[[(0, 7), None]])
        index[slice_key(b"x", [(0, 7), None])] = entry
        for key in KEYS:
            del index[key]

    return write(folder, retype)


test_slices_of_what_is_no_array = each_case(
    with_empty_slice,
    {
        "variant": (21, Unsupported("a variant")),
        "resource": (20, Unsupported("a resource", unchecked=True)),
        "unknown": (34, Unsupported("unknown", unchecked=True)),
    },
)


@pytest.mark.parametrize("depth", DEPTHS)
def test_groups_in_groups_in_the_entry_of_a_slice(tmp_path: Path, depth: int) -> None:
    deep = groups(depth)
    path = write(tmp_path, lambda index: index.update({KEYS[1]: index[KEYS[1]] + deep}))
    words = "BundleEntryProto|wire type of a protocol buffer"
    for ckpt in opened(path):
        with pytest.raises(CorruptCheckpointError, match=words):
            ckpt["x"]
        with pytest.raises(CorruptCheckpointError, match=words):
            list(ckpt)


# Very many slices

MANY = 1000


def write_many(folder: Path, offsets: Sequence[int], shard: bytes, dims: Sequence[int]) -> Path:
    """Write a tensor `x` of bytes that has a slice at each offset, in order along its axis."""
    count, size = len(offsets), dims[0] // len(offsets)
    extents = [[(i * size, size)] for i in range(count)]
    index = {b"": bundle_header(), b"x": bundle_entry(4, dims, slices=extents)}
    for extent, offset in zip(extents, offsets):
        crc = masked_crc32c(shard[offset : offset + size])
        index[slice_key(b"x", extent)] = bundle_entry(4, (size,), offset=offset, size=size, crc=crc)
    (folder / "m.index").write_bytes(table(*split(sorted(index.items()), 4000)))
    (folder / "m.data-00000-of-00001").write_bytes(shard)
    return folder / "m"


def test_very_many_slices(tmp_path: Path) -> None:
    shard = np.random.default_rng(3).bytes(MANY)
    offsets = list(range(MANY))[::-1]
    path = write_many(tmp_path, offsets, shard, (MANY,))
    for ckpt in opened(path, FRESH):
        assert list(ckpt) == ["x"]
        assert ckpt["x"].tobytes() == shard[::-1]
        assert len(ckpt.info("x").slices) == MANY
        assert ckpt.verify().ok


@pytest.mark.parametrize("nbytes", [1, 10_000])
def test_very_many_slices_of_the_same_bytes(tmp_path: Path, nbytes: int) -> None:
    path = write_many(tmp_path, [0] * MANY, bytes(nbytes), (MANY * nbytes,))
    for ckpt in opened(path, FRESH):
        assert list(ckpt) == ["x"]
        assert ckpt.info("x").nbytes == MANY * nbytes
        with pytest.raises(CorruptCheckpointError, match="slices share the same bytes") as error:
            ckpt["x"]
        assert error.value.tensor == "x"
        assert found_by_verify(ckpt) == [("x", CorruptCheckpointError)]


def test_slices_of_the_same_bytes_are_not_multiplied_in_memory(tmp_path: Path) -> None:
    """500 times the same 20 kB would be 10 MB from a file of 20 kB."""
    path = write_many(tmp_path, [0] * 500, bytes(20_000), (500 * 20_000,))
    with open_checkpoint(path) as ckpt:
        tracemalloc.start()
        with pytest.raises(CorruptCheckpointError, match="slices share the same bytes"):
            ckpt["x"]
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 4_000_000


def test_very_many_times_the_same_slice(tmp_path: Path) -> None:
    path = with_x(tmp_path, bundle_entry(FLOAT, (7, 4), slices=SLICES[:1] * MANY))
    for ckpt in opened(path):
        with pytest.raises(CorruptCheckpointError, match="slices overlap"):
            ckpt["x"]
        assert found_by_verify(ckpt) == [("x", CorruptCheckpointError)]


# As dense as can be, and sound


@pytest.mark.parametrize("form", ["v1", "v2"])
@pytest.mark.parametrize(
    "rank", [1, *(pytest.param(n, marks=pytest.mark.exhaustive) for n in (8, 20))]
)
def test_the_densest_slices_that_a_writer_can_make(tmp_path: Path, rank: int, form: str) -> None:
    """One element each, all of the same value, in compressed blocks."""
    count = 3000
    dims = [count] + [1] * (rank - 1)
    slices: list[list[Extent]] = [[(i, 1)] + [None] * (rank - 1) for i in range(count)]
    if form == "v2":
        whole = Partitioned(np.zeros(dims, "f4"), slices)
        path = write_bundle(tmp_path, {"x": whole}, name="m", snappy_blocks=True)
    else:
        tensor = varint_field(1, FLOAT) + bytes_field(2, tensor_shape([1] * rank))
        tensor = bytes_field(3, tensor + bytes_field(5, bytes(4)))
        records = [
            (
                slice_key(b"x", each),
                bytes_field(2, bytes_field(1, b"x") + bytes_field(2, tensor_slice(each)) + tensor),
            )
            for each in slices
        ]
        listed = contents(tensor_entry(b"x", dims, FLOAT, slices))
        entries = [(b"", listed), *sorted(records)]
        path = tmp_path / "m"
        path.write_bytes(table(*split(entries, 1000), snappy_blocks=True))
    with open_checkpoint(path) as ckpt:
        assert ckpt["x"].shape == tuple(dims)
        assert not ckpt["x"].any()
        assert len(ckpt.infos()[0].slices) == count
        assert ckpt.verify().ok


def test_errors_of_slices_that_are_too_many_say_where(tmp_path: Path) -> None:
    def swell(index: dict[bytes, bytes]) -> None:
        for key in (b"p", b"q"):
            index[key] = bundle_entry(FLOAT, (7, 4), slices=[[None, None]] * 6000)

    with open_checkpoint(write(tmp_path, swell)) as ckpt:
        damaged = ckpt.verify().damaged
        assert damaged[0].error.file == f"{tmp_path}/m.index"
        assert "the rest was not checked" in str(damaged[0].error)
        assert all(damage.error.file for damage in damaged)
        with pytest.raises(CorruptCheckpointError, match=r"m.index.*slices\n  expected: at most"):
            ckpt.infos()


@pytest.mark.parametrize("dims", [(0, 4), (0, 0)])
def test_equal_slices_of_no_elements_are_one(tmp_path: Path, dims: tuple[int, int]) -> None:
    extents: list[Extent] = [(0, 0), (0, dims[1])]
    entry = bundle_entry(FLOAT, dims, slices=[extents] * 900)
    piece = bundle_entry(FLOAT, dims, crc=masked_crc32c(b""))

    def replace(index: dict[bytes, bytes]) -> None:
        index.update({b"x": entry, slice_key(b"x", extents): piece})

    with open_checkpoint(write(tmp_path, replace)) as ckpt:
        assert ckpt["x"].shape == dims
        assert ckpt.verify(["x"]).ok
        reader = ckpt._open_reader
        key, entry_of_x = ckpt._find("x")
        assert len(reader._index.slices(key, entry_of_x)) == 1


@pytest.mark.parametrize("dims", [(0, 4), (0, 0)])
def test_the_checksum_of_a_slice_without_elements_is_compared(
    tmp_path: Path, dims: tuple[int, int]
) -> None:
    extents: list[Extent] = [(0, 0), (0, dims[1])]
    piece = bundle_entry(FLOAT, dims, crc=masked_crc32c(b"x"))

    def replace(index: dict[bytes, bytes]) -> None:
        index.update({b"x": bundle_entry(FLOAT, dims, slices=[extents])})
        index.update({b"y": piece, slice_key(b"x", extents): piece})

    path = write(tmp_path, replace)
    for ckpt in opened(path, [{"mmap": True}, {"mmap": False}]):
        for name in ("x", "y"):
            for _ in range(2):
                with pytest.raises(ChecksumError, match="bytes of the tensor do not match"):
                    ckpt[name]
        assert found_by_verify(ckpt) == [("x", ChecksumError), ("y", ChecksumError)]
    with open_checkpoint(path, verify=False) as ckpt:
        assert ckpt["x"].shape == ckpt["y"].shape == dims


def test_a_missing_record_of_a_v1_slice_without_elements(tmp_path: Path) -> None:
    listed = contents(tensor_entry(b"x", (0, 4), FLOAT, [[(0, 0), (0, 4)]] * 2))
    (tmp_path / "m").write_bytes(table([(b"", listed)]))
    for ckpt in opened(tmp_path / "m"):
        with pytest.raises(CorruptCheckpointError, match="a record under"):
            ckpt["x"]
        assert found_by_verify(ckpt) == [("x", CorruptCheckpointError)]


def test_bytes_that_are_not_there_are_not_checked(tmp_path: Path) -> None:
    entry = bundle_entry(FLOAT, (2**40,), slices=[[(0, 2**40)]])
    with open_checkpoint(write(tmp_path, lambda index: index.update({b"x": entry}))) as ckpt:
        report = ckpt.verify()
        assert [damage.name for damage in report.damaged] == ["x"]
        there = sum(info.nbytes for info in ckpt.infos() if info.name != "x")
        assert (report.num_tensors, report.nbytes) == (len(ckpt), there)
