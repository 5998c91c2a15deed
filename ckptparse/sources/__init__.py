"""Byte sources: where the bytes of a checkpoint come from.

`Files` answers what is there and opens a `Source`, which gives bytes by position.  Above this
layer nothing knows a memory map from a read or a disk from a bucket; below it nothing knows what
bytes mean.
"""

from ckptparse.sources.base import MOST_KEPT_OPEN, Files, Source, is_url
from ckptparse.sources.local import LocalFiles
from ckptparse.sources.mapped import MappedSource
from ckptparse.sources.memory import MemorySource
from ckptparse.sources.pread import PreadSource
from ckptparse.sources.reopened import ReopenedSource

__all__ = [
    "MOST_KEPT_OPEN",
    "Files",
    "LocalFiles",
    "MappedSource",
    "MemorySource",
    "PreadSource",
    "ReopenedSource",
    "Source",
    "files_for",
    "is_url",
]


def files_for(path: str, *, mmap: bool, storage_options: dict[str, object] | None = None) -> Files:
    """The files that a path or URL speaks of.

    Raises:
        ImportError: a URL, and the extra `remote` is not installed.
    """
    if not is_url(path):
        return LocalFiles(mmap=mmap)
    from ckptparse.sources.remote import RemoteFiles  # fsspec is an extra

    return RemoteFiles(path, storage_options or {})
