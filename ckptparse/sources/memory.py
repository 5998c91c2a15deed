"""Bytes in memory as a source."""

from __future__ import annotations

from collections.abc import Sequence

from ckptparse.sources.base import closed_error, require_inside


class MemorySource:
    """A source over bytes in memory, or over a part of a file in memory; `read` returns views."""

    mapped = False
    request_nbytes = 0

    def __init__(self, name: str, contents: bytes | memoryview, start: int = 0) -> None:
        """
        Args:
            name: path or URL of the file, for messages.
            contents: the bytes.
            start: position of these bytes in the file; the bytes before them cannot be read.
        """
        self.name = name
        self.nbytes = start + len(contents)
        self._start = start
        self._view: memoryview | None = memoryview(contents)

    def read(self, start: int, stop: int) -> memoryview:
        view = self._view
        if view is None:
            raise closed_error(self.name)
        require_inside(self.name, start, stop, self.nbytes)
        return view[start - self._start : stop - self._start]

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes | memoryview]:
        return [self.read(start, stop) for start, stop in ranges]

    def close(self) -> None:
        self._view = None
