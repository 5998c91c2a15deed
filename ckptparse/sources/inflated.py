"""Random access to a deflate or gzip stream.

A deflate stream can be read only from its beginning.  While it is inflated, a copy of the
decompressor is kept at regular distances (a *snapshot*), and a later read continues from the
snapshot before it.  The stream between two snapshots is a *span*; spans are inflated as a whole.

Memory for each open stream:

- at most `_MOST_SNAPSHOTS` snapshots of up to 64 KiB each (a window of 32 KiB, tables of 10 KiB, up
  to 16 KiB of input): 32 MiB at most.  A stream of up to 1 MiB has none.  If there would be more
  snapshots, every second one is dropped, so that spans become twice as long;
- the span that was read last: 1 MiB, or 1/256 of the inflated size if that is more.

Time: bytes that are read in order are inflated once.  Any other read inflates the spans that it
needs, and those before them that were never inflated.

Source: zlib's manual (inflateCopy); zlib's "Maximum Compression Factor" for the ratio.
"""

from __future__ import annotations

import os
import zlib
from _thread import allocate_lock  # threading.Lock; importing threading takes 0.7 ms
from collections.abc import Sequence
from typing import Any, NamedTuple
from weakref import WeakSet

from ckptparse.errors import ChecksumError, CorruptCheckpointError, TruncatedError
from ckptparse.limits import MAX_DEFLATE_RATIO
from ckptparse.sources.base import Source, closed_error, require_inside

RAW = -zlib.MAX_WBITS
"""`wbits` of a deflate stream without a header, as in a zip archive."""

GZIP = zlib.MAX_WBITS + 16
"""`wbits` of a gzip stream."""

_SPAN_NBYTES = 1 << 20
_MOST_SNAPSHOTS = 512

_FED_NBYTES = 1 << 14
"""A decompressor gets this many bytes at a time.  A snapshot keeps those that it did not use."""

_LEAST_INPUT_NBYTES = 1 << 16
_INPUT_REQUESTS = 4
"""Compressed bytes are read 64 KiB at a time, or the bytes of four requests if that is more."""


class _State(NamedTuple):
    """A decompressor and where it is.

    Attributes:
        decompressor: of zlib; in a snapshot, it is only copied.
        input_at: position of its next byte in the compressed source.
        crc32: CRC-32 of all bytes before this position; 0 if it is not needed.
    """

    decompressor: Any
    input_at: int
    crc32: int


class InflatedSource:
    """A compressed range of another source, inflated; `read` returns copies.

    `close` leaves the outer source open.  The snapshots are made while the stream is read.

    Attributes:
        nbytes: the inflated size.  If it was not given, this is an upper limit until the end of the
            stream was read.
        stored_nbytes: the compressed size; see `stored_nbytes` of `ckptparse.sources.base`.
        is_inflated: True.  Such a source is read in order, even where others are read by several
            threads.
    """

    mapped = False
    request_nbytes = 1 << 16  # inflating them takes 0.2 ms
    is_inflated = True

    def __init__(
        self,
        source: Source,
        start: int,
        stop: int,
        nbytes: int | None,
        name: str,
        *,
        wbits: int,
        crc32: int | None = None,
    ) -> None:
        """
        Args:
            source: the compressed source.
            start: position of the first compressed byte.
            stop: position after the last compressed byte.
            nbytes: inflated size; None if unknown.
            name: path of the inflated file, for messages.
            wbits: `RAW` or `GZIP`.
            crc32: the CRC-32 of all inflated bytes; None if unknown.  It is compared when the last
                byte is inflated.  A gzip stream contains its own.

        Raises:
            TruncatedError: the range is not inside the source.
            CorruptCheckpointError: the size is larger than deflate allows.
        """
        require_inside(source.name, start, stop, source.nbytes)
        most_nbytes = (stop - start) * MAX_DEFLATE_RATIO
        if nbytes is not None and nbytes > most_nbytes:
            raise CorruptCheckpointError(
                "the declared size is larger than these compressed bytes can have",
                file=name,
                expected=f"at most {most_nbytes} bytes, {MAX_DEFLATE_RATIO} times"
                f" {stop - start} bytes",
                found=f"{nbytes} bytes",
            )
        self.name = name
        self.nbytes = most_nbytes + 1 if nbytes is None else nbytes
        self.stored_nbytes = stop - start
        self._is_size_known = nbytes is not None
        self._wbits = wbits
        self._crc32 = crc32
        self._start, self._stop = start, stop
        self._source: Source | None = source
        self._lock = allocate_lock()
        self._forget()
        _open_sources.add(self)

    def _forget(self) -> None:
        """Forget all snapshots and spans."""
        self._span_nbytes = _SPAN_NBYTES
        self._snapshots = [_State(zlib.decompressobj(self._wbits), self._start, 0)]
        self._kept = 0, b""  # the number of a span, and the span; none is empty
        self._input: tuple[int, bytes | memoryview] = 0, b""

    def unlock_after_fork(self) -> None:
        """Make the source usable in a forked process, where a thread that read from it is gone."""
        if self._lock.locked():
            self._lock = allocate_lock()
            self._forget()

    def read(self, start: int, stop: int) -> bytes | memoryview:
        require_inside(self.name, start, stop, self.nbytes)
        with self._lock:
            self._require_open()
            span = self._span_at(start) if start < stop else b""
            first = start % self._span_nbytes
            if stop - start <= len(span) - first or start == stop:
                return span[first : first + stop - start]
            whole = bytearray(stop - start)
            position = start
            while position < stop:
                span = self._span_at(position)
                first = position % self._span_nbytes
                part = memoryview(span)[first : first + stop - position]
                if not part:  # the size was unknown until now
                    require_inside(self.name, start, stop, self.nbytes)
                whole[position - start : position - start + len(part)] = part
                position += len(part)
        return memoryview(whole).toreadonly()

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes | memoryview]:
        """Return the bytes of several ranges; they are read in the order of their positions."""
        found = {each: self.read(*each) for each in sorted(set(ranges))}
        return [found[each] for each in ranges]

    def read_to_end(self) -> None:
        """Inflate a stream of unknown size to its end, so that `nbytes` is its size.

        Raises:
            CheckpointError, ValueError: as `read`.
        """
        with self._lock:
            self._require_open()
            while not self._is_size_known:
                self._span_at((len(self._snapshots) - 1) * self._span_nbytes)

    def close(self) -> None:
        with self._lock:
            self._source = None
            self._forget()

    def _require_open(self) -> Source:
        """Return the compressed source; raises a ValueError after `close`."""
        if self._source is None:
            raise closed_error(self.name)
        return self._source

    # Spans

    def _span_at(self, position: int) -> bytes:
        """Return the span that contains a position, and keep it.

        A span is shorter than the others at the end of the stream; after the end it is empty.
        """
        while position < self.nbytes:
            number = position // self._span_nbytes
            kept, span = self._kept
            if span and kept == number:
                return span
            self._kept = 0, b""  # so that only one span is in memory
            if number + 1 >= len(self._snapshots) > _MOST_SNAPSHOTS:
                del self._snapshots[1::2]  # the last one remains, because their number is odd
                self._span_nbytes *= 2
                continue
            number = min(number, len(self._snapshots) - 1)
            span, end = self._inflate(number * self._span_nbytes, self._snapshots[number])
            if end is not None and number == len(self._snapshots) - 1:
                self._snapshots.append(end)
            self._kept = number, span
        return b""

    def _inflate(self, start: int, state: _State) -> tuple[bytes, _State | None]:
        """Inflate a span.  If it is the last one, check that the stream ends there.

        Args:
            start: position of the span.
            state: the snapshot at this position.

        Returns:
            The span, and the state at its end; None at the end of the stream.
        """
        decompressor = state.decompressor.copy()
        input_at, crc32 = state.input_at, state.crc32
        left = min(self._span_nbytes, self.nbytes - start)
        must_end = self._is_size_known and start + left == self.nbytes
        pieces = []
        is_end = False
        while (left or must_end) and not is_end:
            fed = self._read_input(input_at)
            try:
                piece = decompressor.decompress(fed, left or 1)
            except zlib.error as error:
                raise self._damage(error, input_at) from error
            if len(piece) > left:
                raise self._size_error(f"more than {self.nbytes} bytes")
            used = len(fed) - len(decompressor.unconsumed_tail) - len(decompressor.unused_data)
            input_at += used
            left -= len(piece)
            pieces.append(piece)
            if self._crc32 is not None:
                crc32 = zlib.crc32(piece, crc32)
            if decompressor.eof:
                is_end = input_at == self._stop or self._is_padding(input_at)
                if not is_end:
                    decompressor = self._next_stream(input_at)
            elif not used and not piece:
                raise TruncatedError(
                    "the compressed data is cut off",
                    file=self.name,
                    expected="the end of the deflate stream",
                    found=f"byte {input_at} of {self._require_open().name}, where its bytes end",
                )
        span = b"".join(pieces)
        if not is_end:
            return span, _State(decompressor, input_at, crc32)
        if not self._is_size_known:
            self.nbytes = start + len(span)
            self._is_size_known = True
        elif left or not must_end:
            raise self._size_error(f"{start + len(span)} bytes")
        if self._crc32 is not None and crc32 != self._crc32:
            raise ChecksumError(
                "the inflated bytes are not those that were compressed",
                file=self.name,
                expected=f"CRC-32 {self._crc32:08x}",
                found=f"{crc32:08x}",
            )
        return span, None

    def _read_input(self, at: int) -> memoryview:
        """Return the next compressed bytes; none at the end."""
        source = self._require_open()
        first, held = self._input
        if not first <= at < first + len(held):
            nbytes = max(_LEAST_INPUT_NBYTES, _INPUT_REQUESTS * source.request_nbytes)
            first, held = self._input = at, source.read(at, min(at + nbytes, self._stop))
        return memoryview(held)[at - first : at - first + _FED_NBYTES]

    def _is_padding(self, input_at: int) -> bool:
        """Return whether zeros are all that follows a gzip stream, which gzip ignores."""
        while self._wbits == GZIP and input_at < self._stop:
            fed = self._read_input(input_at)
            if any(fed):
                return False
            input_at += len(fed)
        return input_at == self._stop

    def _next_stream(self, input_at: int) -> Any:
        """Return the decompressor for what follows the end of a stream: another gzip stream."""
        if self._wbits != GZIP:
            raise CorruptCheckpointError(
                "the compressed data is shorter than declared",
                file=self.name,
                expected=f"a deflate stream of {self._stop - self._start} bytes",
                found=f"one of {input_at - self._start} bytes",
            )
        return zlib.decompressobj(self._wbits)

    # Errors

    def _size_error(self, found: str) -> CorruptCheckpointError:
        """Return the error for a stream that is longer or shorter than declared."""
        return CorruptCheckpointError(
            "the inflated data does not have the declared size",
            file=self.name,
            expected=f"{self.nbytes} bytes",
            found=found,
        )

    def _damage(self, error: zlib.error, input_at: int) -> CorruptCheckpointError:
        """Return the error for an error of zlib."""
        text = str(error)
        is_checksum = "incorrect data check" in text or "incorrect length check" in text
        return (ChecksumError if is_checksum else CorruptCheckpointError)(
            "the compressed data is damaged",
            file=self.name,
            expected="a deflate stream",
            found=f"{text}, after byte {input_at} of {self._require_open().name}",
        )


_open_sources: WeakSet[InflatedSource] = WeakSet()


def _unlock_all() -> None:
    """Make all sources usable in a forked process."""
    for source in list(_open_sources):
        source.unlock_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock_all)
