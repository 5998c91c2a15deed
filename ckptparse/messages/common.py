"""Check and decode messages of several formats: VersionDef, TensorShapeProto, TensorSliceProto.

A VersionDef has the version of the producer that wrote a file, the oldest version of a consumer
that may read it (`min_consumer`), and versions of consumers that must not (`bad_consumers`).

Sources: tensorflow/core/framework/versions.cc, ``CheckVersions``; for the version numbers
tensorflow/core/util/tensor_bundle/tensor_bundle.h and core/public/version.h.
"""

from __future__ import annotations

from math import prod
from typing import Any

from ckptparse.errors import CorruptCheckpointError, UnsupportedError
from ckptparse.limits import MAX_HEADER_NBYTES
from ckptparse.tensors.partitions import WHOLE, Extents

READER_VERSION = 1
"""The version of this consumer, for V1 and for V2."""


def require_short(what: str, serialized: bytes | memoryview) -> None:
    """Check the size of a version, or of a header with one, before it is parsed.

    Args:
        what: message of the error.
        serialized: the serialized header or version.

    Raises:
        CorruptCheckpointError: it has more than `MAX_HEADER_NBYTES` bytes.
    """
    if len(serialized) > MAX_HEADER_NBYTES:
        raise CorruptCheckpointError(
            what, expected=f"at most {MAX_HEADER_NBYTES} bytes", found=len(serialized)
        )


def require_version(version: Any) -> None:
    """Check a VersionDef.  One without fields is valid: files from before 2016-04 have none.

    Raises:
        CorruptCheckpointError: the version of the producer is negative.
        UnsupportedError: the file requires a newer reader, or excludes this version of it.
    """
    if version.producer < 0:
        raise CorruptCheckpointError(
            "invalid producer version", expected="0 or more", found=version.producer
        )
    if version.min_consumer > READER_VERSION:
        raise UnsupportedError(
            "this file was written for a newer reader",
            expected=f"a file for readers of version {READER_VERSION}",
            found=f"one for version {version.min_consumer} or later",
        )
    if READER_VERSION in version.bad_consumers:
        raise UnsupportedError(
            "the writer of this file says that this reader must not read it",
            expected=f"a file for readers of version {READER_VERSION}",
            found=f"bad_consumers {list(version.bad_consumers)}",
        )


MAX_RANK = 254
"""Source: TensorShape::MaxDimensions in tensorflow/core/framework/tensor_shape.h."""

_MAX_SIZE = 2**63 - 1
"""TensorFlow counts the elements of a tensor in a signed 64-bit integer."""


def decode_shape(message: Any) -> tuple[int, ...]:
    """Return the shape in a TensorShapeProto.

    Raises:
        CorruptCheckpointError: the rank is unknown, or the shape is invalid as in `require_sizes`.
    """
    if message.unknown_rank:
        raise CorruptCheckpointError(
            "invalid shape", expected="dimensions", found="an unknown rank"
        )
    dims = message.dim
    if not dims:
        return ()
    shape = tuple([dim.size for dim in dims])
    require_sizes(shape)
    return shape


def require_sizes(shape: tuple[int, ...]) -> None:
    """Check the dimensions of a shape.

    Raises:
        CorruptCheckpointError: there are more than `MAX_RANK` dimensions, a size is negative, or
            the product of the sizes other than 0 is 2**63 or more.
    """
    if len(shape) > MAX_RANK:
        raise CorruptCheckpointError(
            "invalid shape", expected=f"at most {MAX_RANK} dimensions", found=len(shape)
        )
    if shape and (min(shape) < 0 or prod(size for size in shape if size) > _MAX_SIZE):
        raise CorruptCheckpointError(
            "invalid shape", expected="sizes from 0, fewer than 2**63 elements", found=list(shape)
        )


def decode_slices(messages: Any, rank: int) -> tuple[Extents, ...]:
    """Return the extents of each TensorSliceProto of a tensor.

    Args:
        messages: the TensorSliceProtos.
        rank: number of dimensions of the tensor.

    Raises:
        CorruptCheckpointError: a slice has another number of dimensions, or an invalid extent.
    """
    known: dict[bytes, Extents] = {}
    decoded = []
    for message in messages:
        serialized = message.SerializeToString()
        extents = known.get(serialized)
        if extents is None:
            extents = known[serialized] = _decode_extents(message, rank)
        decoded.append(extents)
    return tuple(decoded)


def _decode_extents(message: Any, rank: int) -> Extents:
    """Return start and length of a slice in each dimension."""
    extents = tuple(
        [
            (extent.start, extent.length if extent.HasField("length") else WHOLE)
            for extent in message.extent
        ]
    )
    if len(extents) != rank:
        raise CorruptCheckpointError(
            "invalid slice", expected=f"{rank} dimensions, as the tensor has", found=len(extents)
        )
    for start, length in extents:
        if start < 0 or length < WHOLE or (length == WHOLE and start != 0):
            raise CorruptCheckpointError(
                "invalid extent of a slice",
                expected="a start from 0 and a length, or neither",
                found=f"start {start}, length {'none' if length == WHOLE else length}",
            )
    return extents
