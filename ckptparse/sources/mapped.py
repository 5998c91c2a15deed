"""A local file through a memory map."""

from __future__ import annotations

import mmap
import os

from ckptparse.sources.base import require_inside


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
        self.nbytes = os.fstat(descriptor).st_size
        # An empty file cannot be mapped.
        self._map = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) if self.nbytes else None

    def read(self, start: int, stop: int) -> memoryview:
        map_ = self._map
        nbytes = 0 if map_ is None else min(self.nbytes, map_.size())
        require_inside(self.name, start, stop, nbytes)
        return memoryview(b"" if map_ is None else map_)[start:stop]

    def close(self) -> None:
        # Not mmap.close(), which refuses while views exist: the last view unmaps.
        self._map = None
