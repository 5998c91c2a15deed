"""A local file through a memory map."""

from __future__ import annotations

import mmap
import os

from ckptparse.errors import UnreadableError
from ckptparse.sources.base import closed_error, require_inside


class MappedSource:
    """The whole file as one read-only map; `read` returns views and copies nothing.

    The map lives as long as any view of it, so arrays outlive `close`.  The file's size is asked
    for again at every `read`; a page that is lost later than that still ends the process with
    SIGBUS when it is touched, which no program over `mmap` can turn into an exception.
    """

    mapped = True

    def __init__(self, name: str, descriptor: int) -> None:
        """Map an open file; the descriptor stays the caller's."""
        self.name = name
        self._map: mmap.mmap | bytes | None = b""
        if os.fstat(descriptor).st_size:  # an empty file cannot be mapped
            self._map = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        self.nbytes = len(self._map)

    def read(self, start: int, stop: int) -> memoryview:
        map_ = self._map
        if map_ is None:
            raise closed_error(self.name)
        require_inside(self.name, start, stop, min(self.nbytes, self._file_nbytes(map_)))
        return memoryview(map_)[start:stop]

    def _file_nbytes(self, map_: mmap.mmap | bytes) -> int:
        """The size of the file, now."""
        try:
            return len(map_) if isinstance(map_, bytes) else map_.size()
        except OSError as error:
            raise UnreadableError.because(error, file=self.name) from error

    def close(self) -> None:
        # Not mmap.close(), which refuses while views exist: the last view unmaps.
        self._map = None
