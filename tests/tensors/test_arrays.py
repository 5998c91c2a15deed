"""Arrays over bytes: views, copies, swapped bytes, and how many bytes are read."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from ckptparse import CheckpointError, TruncatedError, UnsupportedError, open_checkpoint
from ckptparse.tensors.arrays import NUMPY_MAX_RANK, read_part, require_shape
from support.builders import (
    Bundle,
    CountingSource,
    array_payload,
    bundle_entry,
    masked_crc32c,
    slice_key,
    write_bundle,
)
from support.ids import index_id

DTYPES = [
    np.bool_,
    np.int8,
    np.uint8,
    np.int16,
    np.uint16,
    np.int32,
    np.uint32,
    np.int64,
    np.uint64,
    np.float16,
    np.float32,
    np.float64,
    np.complex64,
    np.complex128,
    ml_dtypes.bfloat16,
    ml_dtypes.float8_e5m2,
    ml_dtypes.float8_e4m3fn,
    ml_dtypes.int4,
]
by_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda t: np.dtype(t).name)
by_source = pytest.mark.parametrize("mapped", [True, False], ids=["mapped", "copied"])
by_order = pytest.mark.parametrize("swapped", [False, True], ids=["native", "swapped"])
by_offset = pytest.mark.parametrize("offset", [0, 3])

INDICES = {
    "everything": ...,
    "empty tuple": (),
    "one element": (1, 2, 3),
    "one row": 1,
    "last": -1,
    "column": (slice(None), 1),
    "steps": (slice(None), slice(None, None, 2), slice(1, None, 2)),
    "backwards": (slice(None, None, -1), slice(None, None, -1), slice(None, None, -1)),
    "backwards by two": (1, slice(2, None, -2), slice(None, None, -2)),
    "newaxis": (None, 0, ..., None),
    "nothing": slice(1, 1),
    "nothing inside": (slice(None), slice(2, 0), 1),
    "list": [1, 0, 1],
    "lists": ([0, 1], [2, 0], [3, 3]),
    "list and slice": (0, [2, 0], slice(None, None, -1)),
    "empty list": [],
}
by_index = pytest.mark.parametrize("index", INDICES.values(), ids=list(INDICES))
FEW_INDICES = [INDICES[name] for name in ("everything", "steps", "nothing", "list", "one element")]

SHAPE = (2, 3, 4)


def numbered(dtype: Any, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Small numbers, with negative ones and fractions if the type has them."""
    numbers = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    if dtype is np.bool_:
        return numbers % 3 == 0
    if np.dtype(dtype).kind == "c":
        return (numbers - 7.5j * numbers).astype(dtype)
    return (numbers % 8).astype(dtype)


def source_of(array: np.ndarray, offset: int, *, mapped: bool, swapped: bool) -> CountingSource:
    """A source with an array's bytes between other bytes."""
    payload, _ = array_payload(array, big_endian=swapped)
    return CountingSource(b"\xaa" * offset + payload + b"\xbb" * 9, mapped)


def read(source: CountingSource, offset: int, array: np.ndarray, index: Any, swapped: bool) -> Any:
    return read_part(source, offset, array.dtype, array.shape, index, swapped=swapped)


def bits(array: np.ndarray) -> list[int]:
    return list(np.ascontiguousarray(array).tobytes())


def require_numpys_part(
    array: np.ndarray, offset: int, mapped: bool, swapped: bool, index: Any
) -> None:
    part = read(
        source_of(array, offset, mapped=mapped, swapped=swapped), offset, array, index, swapped
    )
    expected = np.asarray(array[index])
    assert isinstance(part, np.ndarray)
    assert (part.dtype, part.shape) == (expected.dtype, expected.shape)
    assert part.dtype.isnative
    assert bits(part) == bits(expected)
    assert not part.flags.writeable


@by_index
@by_order
@by_source
@by_offset
def test_a_part_is_what_numpy_takes_of_the_whole(
    offset: int, mapped: bool, swapped: bool, index: Any
) -> None:
    require_numpys_part(numbered(np.float32), offset, mapped, swapped, index)


@by_order
@by_source
@by_dtype
def test_a_part_of_any_dtype(dtype: Any, mapped: bool, swapped: bool) -> None:
    for index in FEW_INDICES:
        require_numpys_part(numbered(dtype), 3, mapped, swapped, index)


@by_order
@by_source
@by_dtype
def test_scalars_are_arrays_without_dimensions(dtype: Any, mapped: bool, swapped: bool) -> None:
    array = numbered(dtype, (1,)).reshape(()) + np.ones((), dtype)
    array = np.asarray(array, dtype)
    source = source_of(array, 3, mapped=mapped, swapped=swapped)
    for index in (..., ()):
        part = read(source, 3, array, index, swapped)
        assert part.shape == ()
        assert bits(part) == bits(array)


@by_order
@by_source
@by_dtype
def test_arrays_of_no_elements_have_their_shape_and_dtype(
    dtype: Any, mapped: bool, swapped: bool
) -> None:
    array = np.zeros((0, 3), dtype)
    for index in (..., (), slice(None), (slice(None), 1), []):
        part = read(CountingSource(b"", mapped), 0, array, index, swapped)
        assert (part.dtype, part.shape) == (array.dtype, array[index].shape)
        assert not part.flags.writeable


# Views and copies


@pytest.mark.parametrize(
    "index", [..., (), 1, (slice(None, None, -1), 2), (slice(None), slice(0, 2))], ids=index_id
)
@by_offset
def test_of_a_mapped_source_basic_indices_are_views(offset: int, index: Any) -> None:
    array = numbered(np.float32)
    source = source_of(array, offset, mapped=True, swapped=False)
    part = read(source, offset, array, index, False)
    assert np.shares_memory(part, np.frombuffer(source.contents, np.uint8))


@pytest.mark.parametrize("index", [..., 1, (slice(None, None, -1), 2)], ids=index_id)
def test_swapped_parts_are_copies_of_no_more_than_the_part(index: Any) -> None:
    array = numbered(np.float32)
    source = source_of(array, 0, mapped=True, swapped=True)
    part = read(source, 0, array, index, True)
    assert not np.shares_memory(part, np.frombuffer(source.contents, np.uint8))
    owner = part if part.base is None else part.base
    assert owner.nbytes == part.nbytes


def test_a_part_of_a_large_array_is_swapped_alone() -> None:
    source = CountingSource(bytes(1 << 24), mapped=True)
    tracemalloc.start()
    try:
        read_part(source, 0, np.dtype("f4"), (1 << 22,), slice(0, 4), swapped=True)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


# Bytes that are read of a source that copies


ITEMSIZE = 4


@pytest.mark.parametrize(
    ("index", "elements"),
    [
        (..., (0, 24)),
        ((), (0, 24)),
        (0, (0, 12)),
        (1, (12, 24)),
        ((1, 2, 3), (23, 24)),
        ((0, 1), (4, 8)),
        ((slice(None), 1), (4, 20)),
        ((slice(None), slice(None), 0), (0, 21)),
        ((0, slice(None, None, -1), slice(0, 3, 2)), (0, 11)),
        ((slice(None, None, -1), 2, 3), (11, 24)),
        ((None, 1, 1, ..., None), (16, 20)),
    ],
    ids=index_id,
)
@by_order
@by_offset
def test_exactly_the_span_is_read(
    offset: int, swapped: bool, index: Any, elements: tuple[int, int]
) -> None:
    array = numbered(np.float32)
    source = source_of(array, offset, mapped=False, swapped=swapped)
    read(source, offset, array, index, swapped)
    start, stop = (offset + element * ITEMSIZE for element in elements)
    assert source.reads == [(start, stop)]


@pytest.mark.parametrize(
    "index", [slice(1, 1), (slice(None), slice(2, 0), 1), (0, 0, slice(4, None))], ids=index_id
)
def test_an_index_that_takes_nothing_reads_nothing(index: Any) -> None:
    array = numbered(np.float32)
    source = source_of(array, 8, mapped=False, swapped=False)
    part = read(source, 8, array, index, False)
    assert part.shape == array[index].shape
    assert sum(stop - start for start, stop in source.reads) == 0


def test_an_index_by_arrays_reads_the_whole_once() -> None:
    array = numbered(np.float32)
    source = source_of(array, 8, mapped=False, swapped=False)
    read(source, 8, array, [0], False)
    assert source.reads == [(8, 8 + array.nbytes)]


# Indices and shapes at the edge


@pytest.mark.parametrize("step", [2**31, 2**61, 2**62, 2**63 - 1, 2**70])
@pytest.mark.parametrize("sign", [1, -1])
@by_source
def test_steps_larger_than_the_array_take_one(mapped: bool, sign: int, step: int) -> None:
    array = numbered(np.float32)
    source = source_of(array, 0, mapped=mapped, swapped=False)
    index = (slice(None, None, sign * step), 1)
    assert bits(read(source, 0, array, index, False)) == bits(array[index])


@pytest.mark.parametrize(
    "index",
    [2, -3, (0, 3), (0, 0, 0, 0), (..., ...), 1.5, "a", [2], np.ones((2, 2), bool)],
    ids=index_id,
)
@by_source
def test_indices_that_do_not_fit_are_numpys_index_errors(mapped: bool, index: Any) -> None:
    array = numbered(np.float32)
    with pytest.raises(IndexError):
        read(source_of(array, 0, mapped=mapped, swapped=False), 0, array, index, False)


@pytest.mark.parametrize("index", [..., (), 0, (..., 0), [0]], ids=index_id)
@by_source
def test_as_many_dimensions_as_numpy_has_are_read(mapped: bool, index: Any) -> None:
    array = numbered(np.float32, (1,) * NUMPY_MAX_RANK)
    require_shape(array.shape, 1)
    part = read(source_of(array, 0, mapped=mapped, swapped=False), 0, array, index, False)
    assert part.shape == array[index].shape


@pytest.mark.parametrize("rank", [NUMPY_MAX_RANK + 1, 254])
def test_more_dimensions_than_numpy_has_are_unsupported(rank: int) -> None:
    with pytest.raises(UnsupportedError, match=rf"at most {NUMPY_MAX_RANK}(?s:.*)found: {rank}"):
        require_shape((1,) * rank, 1)


def test_max_rank_is_numpys() -> None:
    assert np.zeros((1,) * NUMPY_MAX_RANK).ndim == NUMPY_MAX_RANK
    with pytest.raises(ValueError, match="dimension"):
        np.zeros((1,) * (NUMPY_MAX_RANK + 1))


@pytest.mark.parametrize("mmap", [True, False], ids=["mapped", "copied"])
@pytest.mark.parametrize(
    ("dtype", "itemsize"),
    [(1, 4), (2, 8), (18, 16), (14, 2), (7, 8)],
    ids=["float32", "float64", "complex128", "bfloat16", "string"],
)
def test_an_empty_shape_that_numpy_cannot_have_is_an_error_of_the_tree(
    tmp_path: Path, dtype: int, itemsize: int, mmap: bool
) -> None:
    # numpy multiplies the sizes that are not 0, and has no array of 2**63 bytes, be it empty.
    def add_entry(bundle: Bundle) -> None:
        payload = b"\xd8\xea\x82\xa2" if dtype == 7 else b""
        bundle.index[b"vast"] = bundle_entry(
            dtype,
            (2**63 // itemsize, 0),
            size=len(payload),
            crc=masked_crc32c(payload),
        )
        bundle.shards[0] += payload

    prefix = write_bundle(tmp_path, {}, edit=add_entry)
    with pytest.raises(CheckpointError), open_checkpoint(prefix, mmap=mmap) as ckpt:
        ckpt.read("vast")


@pytest.mark.parametrize("mmap", [True, False], ids=["mapped", "copied"])
@pytest.mark.parametrize("index", [[0], ([1, 0], slice(None)), slice(0, 2)], ids=index_id)
def test_a_large_empty_shape_is_read_without_allocation(
    tmp_path: Path, index: Any, mmap: bool
) -> None:
    def add_entry(bundle: Bundle) -> None:
        bundle.index[b"wide"] = bundle_entry(1, (2**50, 0), crc=masked_crc32c(b""))

    prefix = write_bundle(tmp_path, {}, edit=add_entry)
    with open_checkpoint(prefix, mmap=mmap) as ckpt:
        if np.__version__.startswith("1."):  # it wants memory for the first dimension
            with pytest.raises(UnsupportedError, match="this version of numpy"):
                ckpt["wide"]
            return
        assert ckpt["wide"].shape == (2**50, 0)
        assert ckpt.read("wide", index).shape[1:] == (0,)


@pytest.mark.parametrize("mmap", [True, False], ids=["mapped", "copied"])
@pytest.mark.parametrize("index", [..., 0, slice(0, 9), [0], [[0], [5]]], ids=index_id)
@pytest.mark.parametrize("num_slices", [1, 2])
def test_a_shape_that_no_bytes_stand_behind_is_an_error_not_an_allocation(
    tmp_path: Path, num_slices: int, index: Any, mmap: bool
) -> None:
    # 2**50 bytes, by the index; the shard has 8.
    length = 2**50 // num_slices
    slices = [[(i * length, length)] for i in range(num_slices)]

    def add_entries(bundle: Bundle) -> None:
        bundle.index[b"vast"] = bundle_entry(6, (2**50,), slices=slices)
        for extents in slices:
            piece = bundle_entry(6, (length,), size=length, crc=0)
            bundle.index[slice_key(b"vast", extents)] = piece
        bundle.shards[0] += bytes(8)

    prefix = write_bundle(tmp_path, {}, edit=add_entries)
    with open_checkpoint(prefix, mmap=mmap) as ckpt, pytest.raises(TruncatedError):
        ckpt.read("vast", index)
