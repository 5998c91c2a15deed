"""Messages that several formats share: VersionDef, TensorShapeProto, TensorSliceProto.

A VersionDef says which producer wrote a file, the oldest consumer that may read it, and single
consumers that must not.

Source: tensorflow/core/framework/versions.cc, ``CheckVersions``; the numbers are those of
tensorflow/core/util/tensor_bundle/tensor_bundle.h and core/public/version.h.
"""

from __future__ import annotations

from math import prod
from typing import Any

from ckptparse.errors import CorruptCheckpointError, UnsupportedError
from ckptparse.limits import MAX_HEADER_NBYTES
from ckptparse.tensors.partitions import WHOLE, Extents

READER_VERSION = 1
"""What this reader is, for V1 and for V2."""


def require_short(what: str, serialized: bytes | memoryview) -> None:
    """Check that a version, or a header with one, is one before it is parsed.

    Raises:
        CorruptCheckpointError: it is longer than any.
    """
    if len(serialized) > MAX_HEADER_NBYTES:
        raise CorruptCheckpointError(
            what, expected=f"at most {MAX_HEADER_NBYTES} bytes", found=len(serialized)
        )


def require_version(version: Any) -> None:
    """Check a VersionDef; one without fields is that of files before 2016-04, and fine.

    Raises:
        CorruptCheckpointError: a producer that cannot be.
        UnsupportedError: the file asks for a newer reader, or names this one as unfit.
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
"""TensorShape::MaxDimensions of tensorflow/core/framework/tensor_shape.h."""

_MAX_SIZE = 2**63 - 1


def decode_shape(message: Any) -> tuple[int, ...]:
    """The sizes of a TensorShapeProto.

    Raises:
        CorruptCheckpointError: an unknown rank, too many dimensions, a negative or absurd size.
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
    """Check the sizes of a shape.

    Raises:
        CorruptCheckpointError: too many dimensions, a negative or absurd size.
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
    """The extents of TensorSliceProtos of a tensor of some rank.

    Raises:
        CorruptCheckpointError: another number of dimensions, an extent that is no range.
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
