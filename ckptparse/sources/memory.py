"""Bytes in memory as a source."""

from __future__ import annotations

from collections.abc import Sequence

from ckptparse.sources.base import closed_error, require_inside


class MemorySource:
    """A source over bytes in memory; `read` returns views."""

    mapped = False
    request_nbytes = 0

    def __init__(self, name: str, contents: bytes | memoryview) -> None:
        self.name = name
        self.nbytes = len(contents)
        self._view: memoryview | None = memoryview(contents)

    def read(self, start: int, stop: int) -> memoryview:
        view = self._view
        if view is None:
            raise closed_error(self.name)
        require_inside(self.name, start, stop, self.nbytes)
        return view[start:stop]

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes | memoryview]:
        return [self.read(start, stop) for start, stop in ranges]

    def close(self) -> None:
        self._view = None
