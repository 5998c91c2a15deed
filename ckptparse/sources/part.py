"""A range of another source, as a source of its own."""

from __future__ import annotations

from collections.abc import Sequence

from ckptparse.sources.base import Source, closed_error, require_inside, stored_nbytes


class PartSource:
    """The bytes of a source from one position to another, such as a file in an archive.

    Positions are relative to the part.  If the outer source is mapped, `read` returns views.
    `close` leaves the outer source open, since other parts may use it.
    """

    def __init__(
        self, source: Source, start: int, stop: int, name: str, *, mapped: bool = True
    ) -> None:
        """
        Args:
            source: the outer source.
            start: position of the first byte in the outer source.
            stop: position after the last byte.
            name: path of the part, for messages.
            mapped: False asks for copies, even if the outer source is mapped.

        Raises:
            TruncatedError: the range is not inside the outer source.
        """
        require_inside(source.name, start, stop, source.nbytes)
        self.name = name
        self.nbytes = stop - start
        self.mapped = source.mapped and mapped
        self.request_nbytes = source.request_nbytes
        self.is_inflated: bool = getattr(source, "is_inflated", False)
        self.stored_nbytes = min(self.nbytes, stored_nbytes(source))
        self._start = start
        self._source: Source | None = source

    def read(self, start: int, stop: int) -> bytes | memoryview:
        source = self._source
        if source is None:
            raise closed_error(self.name)
        require_inside(self.name, start, stop, self.nbytes)
        contents = source.read(self._start + start, self._start + stop)
        return contents if self.mapped or not source.mapped else bytes(contents)

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes | memoryview]:
        source = self._source
        if source is None:
            raise closed_error(self.name)
        for start, stop in ranges:
            require_inside(self.name, start, stop, self.nbytes)
        first = self._start
        found = source.read_ranges([(first + start, first + stop) for start, stop in ranges])
        return found if self.mapped or not source.mapped else [bytes(each) for each in found]

    def close(self) -> None:
        self._source = None
