"""A local file through a memory map."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable

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
        map_: mmap.mmap | bytes = b""
        if os.fstat(descriptor).st_size:  # an empty file cannot be mapped
            map_ = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        self.nbytes = len(map_)
        size = map_.size if isinstance(map_, mmap.mmap) else map_.__len__
        # One attribute, so that a thread which closes leaves another one both or none.
        self._open: tuple[memoryview, Callable[[], int]] | None = memoryview(map_), size

    def read(self, start: int, stop: int) -> memoryview:
        opened = self._open
        if opened is None:
            raise closed_error(self.name)
        view, file_nbytes = opened
        try:
            nbytes = file_nbytes()  # now
        except OSError as error:
            raise UnreadableError.because(error, file=self.name) from error
        if not 0 <= start <= stop <= nbytes or stop > self.nbytes:
            require_inside(self.name, start, stop, min(self.nbytes, nbytes))
        return view[start:stop]

    def close(self) -> None:
        # Not mmap.close(), which refuses while views exist: the last view unmaps.
        self._open = None
