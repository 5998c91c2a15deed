"""Where the elements of a dataset are.

::

    version 3, or version 4 for the first two
    1 version
    1 class
    compact (0)         2 number of bytes, then the elements themselves
    contiguous (1)      8 address, 8 number of bytes
    chunked (2)         1 number of axes + 1, 8 address of a B-tree, 4 for each axis of a chunk, 4
                        number of bytes of an element

    key of the B-tree of chunks (node type 1)
    4 number of stored bytes of the chunk
    4 filters that were left out, one bit each
    8 for each axis: position of the chunk in the dataset
    8 zero

Source: "HDF5 File Format Specification Version 3.0", sections III.A.1 and IV.A.2.i.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from ckptparse.errors import CorruptCheckpointError, UnsupportedError
from ckptparse.hdf5.fields import UNDEFINED, Fields
from ckptparse.hdf5.filters import DEFLATE, FLETCHER32
from ckptparse.hdf5.groups import read_entries
from ckptparse.hdf5.metadata import Metadata
from ckptparse.limits import MAX_CHUNK_RATIO, MAX_DEFLATE_RATIO, MAX_FREE_CHUNK_NBYTES

_COMPACT, _CONTIGUOUS, _CHUNKED = 0, 1, 2
_CHUNKS = 1


class Chunk(NamedTuple):
    """A chunk in the file.

    Attributes:
        offset: position of its stored bytes in the file.
        nbytes: number of stored bytes.
        skipped: bit i is set if the writer left out filter i.
        start: position of its first element in the dataset.
    """

    offset: int
    nbytes: int
    skipped: int
    start: tuple[int, ...]


class Layout(NamedTuple):
    """Where the elements of a dataset are.

    Attributes:
        offset: position of all elements in the file; None for chunks.
        chunk_shape: shape of a chunk; () if there are none.
        chunks: the chunks, in row-major order.
    """

    offset: int | None
    chunk_shape: tuple[int, ...] = ()
    chunks: tuple[Chunk, ...] = ()


def read_layout(
    metadata: Metadata,
    fields: Fields,
    shape: tuple[int, ...],
    itemsize: int,
    filters: tuple[int, ...],
) -> Layout:
    """Return the layout that a message describes.

    Args:
        metadata: the file.
        fields: the message.
        shape: shape of the dataset.
        itemsize: number of bytes of an element.
        filters: the filters of the chunks.

    Raises:
        CorruptCheckpointError: it does not fit the shape.
        UnsupportedError: Keras writes no such layout, or elements were never written.
    """
    offset = fields.offset
    version, kind = fields.number(1), fields.number(1)
    nbytes = prod(shape) * itemsize
    if (version in (3, 4) and kind in (_COMPACT, _CONTIGUOUS)) and not filters:
        if kind == _COMPACT:
            found = fields.number(2)
            start = fields.offset
            fields.take(found)
        else:
            start, found = fields.number(8), fields.number(8)
        return Layout(_require_written(start, found, nbytes, offset))
    if (version, kind) == (3, _CHUNKED):
        return _read_chunks(metadata, fields, shape, itemsize, filters)
    raise UnsupportedError(
        "the dataset is stored in a form of HDF5 that Keras does not use",
        offset=offset,
        expected="layout version 3: compact, contiguous or chunked",
        found=f"version {version}, class {kind}",
    )


def _require_written(start: int, found: int, nbytes: int, offset: int) -> int:
    """Return the position of the elements, if all of them are in the file."""
    if not nbytes:
        return 0
    if start == UNDEFINED:
        raise _never_written(offset)
    if found < nbytes:
        raise CorruptCheckpointError(
            "the dataset has fewer bytes than its shape requires",
            offset=offset,
            expected=f"{nbytes} bytes",
            found=f"{found} bytes",
        )
    return start


def _never_written(offset: int) -> UnsupportedError:
    return UnsupportedError(
        "elements of this dataset were never written",
        offset=offset,
        expected="all elements",
        found="fewer",
    )


def _read_chunks(
    metadata: Metadata,
    fields: Fields,
    shape: tuple[int, ...],
    itemsize: int,
    filters: tuple[int, ...],
) -> Layout:
    """Return the layout of a dataset in chunks; all of them must be there."""
    rank = fields.number(1) - 1
    offset = fields.offset
    root = fields.number(8)
    chunk_shape = tuple(fields.number(4) for _ in range(rank))
    found = fields.number(4)
    if rank != len(shape) or found != itemsize or 0 in chunk_shape:
        raise CorruptCheckpointError(
            "the chunks do not fit the dataset",
            offset=offset,
            expected=f"{len(shape)} axes, {itemsize} bytes for each element",
            found=f"chunks of shape {list(chunk_shape)}, {found} bytes for each element",
        )
    if 0 in shape:
        return Layout(0)
    counts = [-(-size // step) for size, step in zip(shape, chunk_shape)]
    if root == UNDEFINED:
        raise _never_written(offset)
    chunk_nbytes = prod(chunk_shape) * itemsize
    num_chunks = prod(counts)
    chunks: dict[tuple[int, ...], Chunk] = {}
    key_nbytes = 8 * (rank + 2)
    for key, address in read_entries(metadata, root, _CHUNKS, key_nbytes, "a B-tree of chunks"):
        offset = key.offset
        stored, skipped = key.number(4), key.number(4)
        start = tuple(key.number(8) for _ in range(rank))
        place = tuple(first // step for first, step in zip(start, chunk_shape))
        is_aligned = not any(first % step for first, step in zip(start, chunk_shape))
        if place in chunks or not is_aligned or any(i >= n for i, n in zip(place, counts)):
            raise CorruptCheckpointError(
                "a chunk is at the wrong position", offset=offset, found=list(start)
            )
        is_deflated = DEFLATE in filters and not skipped >> filters.index(DEFLATE) & 1
        has_sum = FLETCHER32 in filters and not skipped >> filters.index(FLETCHER32) & 1
        most = stored * MAX_DEFLATE_RATIO if is_deflated else stored - 4 * has_sum
        if chunk_nbytes > most or (not is_deflated and chunk_nbytes < most):
            raise CorruptCheckpointError(
                "a chunk has another size than the dataset says",
                offset=offset,
                expected=f"bytes for {chunk_nbytes}",
                found=f"{stored} stored bytes",
            )
        if chunk_nbytes > max(MAX_FREE_CHUNK_NBYTES, MAX_CHUNK_RATIO * stored):
            raise CorruptCheckpointError(
                "a compressed chunk is too large",
                offset=offset,
                expected=f"at most {MAX_FREE_CHUNK_NBYTES} bytes, or {MAX_CHUNK_RATIO} times its"
                f" {stored} stored bytes",
                found=chunk_nbytes,
            )
        chunks[place] = Chunk(address, stored, skipped, start)
    if len(chunks) < num_chunks:
        raise _never_written(offset)
    return Layout(None, chunk_shape, tuple(chunks[place] for place in sorted(chunks)))
