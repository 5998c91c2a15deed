"""Local files that are mapped into memory."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Sequence

from ckptparse.errors import UnreadableError
from ckptparse.sources.base import closed_error, require_inside


class MappedSource:
    """A file as one read-only memory map; `read` returns views.

    The map stays open as long as a view of it exists, so arrays stay valid after `close`.  `read`
    compares the range with the present size of the file.  If the file is shortened after that,
    access to a lost page ends the process with SIGBUS, which Python cannot turn into an exception.
    """

    mapped = True
    request_nbytes = 0

    def __init__(self, name: str, descriptor: int) -> None:
        """Map an open file.  The caller keeps the descriptor, and closes it."""
        self.name = name
        map_: mmap.mmap | bytes = b""
        if os.fstat(descriptor).st_size:  # an empty file cannot be mapped
            map_ = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        self.nbytes = len(map_)
        size = map_.size if isinstance(map_, mmap.mmap) else map_.__len__
        # In one attribute, so that `read` gets both or none while another thread closes.
        self._open: tuple[memoryview, Callable[[], int]] | None = memoryview(map_), size

    def read(self, start: int, stop: int) -> memoryview:
        opened = self._open
        if opened is None:
            raise closed_error(self.name)
        view, file_nbytes = opened
        try:
            nbytes = file_nbytes()  # the present size
        except OSError as error:
            raise UnreadableError.because(error, file=self.name) from error
        if not 0 <= start <= stop <= nbytes or stop > self.nbytes:
            require_inside(self.name, start, stop, min(self.nbytes, nbytes))
        return view[start:stop]

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes | memoryview]:
        return [self.read(start, stop) for start, stop in ranges]

    def close(self) -> None:
        # Not mmap.close(), which raises while views exist.  The last view closes the map.
        self._open = None
