"""Read the bytes of a file at positions, as they are asked for."""

from __future__ import annotations

import sys
from typing import overload

from ckptparse.errors import UnsupportedError
from ckptparse.limits import MAX_FREE_INFLATED_STEPS, MAX_INFLATED_STEPS_RATIO
from ckptparse.sources import Source
from ckptparse.sources.base import stored_nbytes

_LEAST_NBYTES = 1 << 12


class Window:
    """The bytes of a source, of which a part is in memory: the last window that was read.

    A scan that goes forward and skips large payloads reads the bytes around them only.  A window
    has as many bytes as can be read in the time of a request, so the scan takes at most twice the
    time of the fastest way.

    The steps are counted, because a compressed file can contain a thousand times its bytes.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._nbytes = max(source.request_nbytes, _LEAST_NBYTES)
        self._start = 0
        self._contents: bytes | memoryview = b""
        compressed = stored_nbytes(source)
        self._most_steps = MAX_FREE_INFLATED_STEPS + MAX_INFLATED_STEPS_RATIO * compressed
        is_compressed = compressed < source.nbytes
        self._steps_left = self._most_steps if is_compressed else sys.maxsize

    @overload
    def __getitem__(self, where: int, /) -> int: ...

    @overload
    def __getitem__(self, where: slice, /) -> bytes | memoryview: ...

    def __getitem__(self, where: int | slice, /) -> int | bytes | memoryview:
        """Return the byte at a position, or the bytes from start to stop.

        Raises:
            TruncatedError: the file is shorter than it was.
            UnreadableError: the operating system or the storage fails.
            UnsupportedError: a compressed file has too many fields for its size.
        """
        self._steps_left -= 1
        if self._steps_left < 0:
            raise UnsupportedError(
                "this graph has too many fields for a compressed file: unpack the archive",
                offset=where if isinstance(where, int) else where.start,
                expected=f"fields that take at most {self._most_steps} steps",
                found="more",
            )
        if isinstance(where, int):
            at = where - self._start
            if not 0 <= at < len(self._contents):
                self._move(where)
                at = 0
            return self._contents[at]
        start, stop = where.start, where.stop
        if stop - start > self._nbytes:
            return self._source.read(start, stop)
        if start < self._start or stop > self._start + len(self._contents):
            self._move(start)
        return self._contents[start - self._start : stop - self._start]

    def _move(self, start: int) -> None:
        """Read the window that begins at a position."""
        stop = min(start + self._nbytes, self._source.nbytes)
        self._contents = self._source.read(start, max(start, stop))
        self._start = start
