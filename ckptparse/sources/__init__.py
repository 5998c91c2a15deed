"""Byte sources: where the bytes of a checkpoint come from.

Above this layer nothing knows a memory map from a read; below it nothing knows what bytes mean.
"""

from __future__ import annotations

import os
import stat

from ckptparse.errors import NotACheckpointError, UnreadableError
from ckptparse.sources.base import Source
from ckptparse.sources.mapped import MappedSource
from ckptparse.sources.memory import MemorySource
from ckptparse.sources.pread import PreadSource

__all__ = ["MappedSource", "MemorySource", "PreadSource", "Source", "open_source"]

_OPEN_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)  # opening a FIFO must not wait for its writer
)


def open_source(path: str, *, mmap: bool) -> Source:
    """Open a local file as a source, mapped or read by position.

    A file system that cannot map files is read by position.

    Raises:
        FileNotFoundError: no such file; the caller knows which of its errors that is.
        NotACheckpointError: a directory, FIFO, device or socket.
        UnreadableError: any other refusal of the operating system.
    """
    try:
        descriptor = os.open(path, _OPEN_FLAGS)
    except FileNotFoundError:
        raise
    except OSError as error:
        if os.path.isdir(path):  # Windows refuses to open these at all
            raise NotACheckpointError("a directory, not a file", file=path) from error
        raise UnreadableError(error.strerror or str(error), file=path) from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kind = "a directory" if stat.S_ISDIR(mode) else "a FIFO, socket or device"
        raise NotACheckpointError(
            "not a regular file", file=path, expected="a regular file", found=kind
        )
    if mmap:
        try:
            source = MappedSource(path, descriptor)
        except OSError:
            pass
        else:
            os.close(descriptor)
            return source
    return PreadSource(path, descriptor)
