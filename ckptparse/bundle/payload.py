"""The bytes of tensors whose elements vary in size.

Strings (core/util/tensor_bundle/tensor_bundle.cc, ``WriteStringTensor``)::

    varint64 length of each element | LE32 masked checksum of the lengths | bytes of each element

    The lengths' checksum L takes each length as a fixed number, LE32, or LE64 above 2**32 - 1.
    The entry's checksum continues L over the 4 stored checksum bytes and all element bytes.
    In a big-endian bundle these fixed numbers and the stored checksum are big-endian.

Variants (same file, ``WriteVariantTensor``), for each element::

    varint64 n | n bytes, a VariantTensorDataProto | LE32 masked running checksum

    The running checksum is never reset: it takes n as LE64, the n bytes, and, once it has been
    stored, the 4 stored bytes.  The entry's checksum is the running one at the end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ckptparse.checksum import crc32c, require_crc32c
from ckptparse.coding import decode_varint, decode_varints
from ckptparse.errors import CorruptCheckpointError

_CHECKSUM_NBYTES = 4
_MAX_UINT32 = 0xFFFFFFFF


def decode_strings(
    payload: bytes | memoryview, count: int, *, big_endian: bool, crc: int | None
) -> NDArray[Any]:
    """`count` strings as an object array of `bytes`, one-dimensional.

    `crc` is the entry's checksum (masked), None to leave both checksums unchecked.  Offsets in
    errors are positions in the payload.

    Raises:
        CorruptCheckpointError: lengths that do not fit the payload.
        ChecksumError: the lengths' or the entry's checksum does not fit.
    """
    lengths, pos = decode_varints(payload, count)
    start = pos + _CHECKSUM_NBYTES
    nbytes = len(payload) - start
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if count else 0
    # The exact sum is one of 64 bits and may have run over; the rounded one has not.
    if nbytes < 0 or total != nbytes or lengths.sum(dtype=np.float64) > 2.0**63:
        raise CorruptCheckpointError(
            "lengths of strings",
            expected=f"{count} lengths that add up to the {max(nbytes, 0)} bytes behind them",
            found=sum(lengths.tolist()),
        )
    contents = bytes(payload[start:])
    if crc is not None:
        stored = payload[pos:start]
        stored_crc = int.from_bytes(stored, "big" if big_endian else "little")
        lengths_crc = _crc32c_of_lengths(lengths, ">" if big_endian else "<")
        require_crc32c("lengths of strings", lengths_crc, stored_crc, offset=pos)
        require_crc32c("strings", crc32c(contents, crc32c(stored, lengths_crc)), crc)
    array: NDArray[Any] = np.empty(count, object)
    stops = ends.tolist()
    array[:] = [contents[a:b] for a, b in zip([0, *stops], stops)]
    return array


def _crc32c_of_lengths(lengths: NDArray[np.uint64], order: str) -> int:
    if not len(lengths) or int(lengths.max()) <= _MAX_UINT32:
        return crc32c(lengths.astype(f"{order}u4").tobytes())
    crc = 0
    for length in lengths:
        crc = crc32c(length.astype(f"{order}u{4 if length <= _MAX_UINT32 else 8}").tobytes(), crc)
    return crc


def verify_variants(payload: bytes | memoryview, count: int, crc: int) -> None:
    """Check the checksums of `count` variants; what is in them stays unknown.

    Raises:
        CorruptCheckpointError: elements that do not fit the payload.
        ChecksumError: an element's or the entry's checksum does not fit.
    """
    pos = 0
    running = 0
    for i in range(count):
        nbytes, start = decode_varint(payload, pos, len(payload))
        stop = start + nbytes
        if stop + _CHECKSUM_NBYTES > len(payload):
            raise CorruptCheckpointError(
                f"variant {i}",
                offset=pos,
                expected=f"at most {len(payload) - start - _CHECKSUM_NBYTES} bytes",
                found=nbytes,
            )
        running = crc32c(payload[start:stop], crc32c(nbytes.to_bytes(8, "little"), running))
        pos = stop + _CHECKSUM_NBYTES
        stored = payload[stop:pos]
        require_crc32c(f"variant {i}", running, int.from_bytes(stored, "little"), offset=stop)
        running = crc32c(stored, running)
    if pos != len(payload):
        raise CorruptCheckpointError(
            "variants", expected=f"{pos} bytes for {count} of them", found=len(payload)
        )
    require_crc32c("variants", running, crc)


def require_booleans(payload: bytes | memoryview) -> None:
    """Check that every byte is 0 or 1: numpy computes nonsense with others.

    Raises:
        CorruptCheckpointError: one is not.
    """
    values = np.frombuffer(payload, np.uint8)
    if len(values) and int(values.max()) > 1:
        wrong = int(np.argmax(values > 1))
        raise CorruptCheckpointError(
            "boolean", offset=wrong, expected="00 or 01", found=f"{values[wrong]:02x}"
        )
