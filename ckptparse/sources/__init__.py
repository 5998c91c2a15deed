"""Byte sources: read the files of a checkpoint by position.

A `Files` lists and opens files: local ones (`LocalFiles`) or those at URLs (`RemoteFiles`).  It
opens a file as a `Source`: a memory map, or a file that is read by position.  The layers above use
only these two protocols; this layer does not interpret the bytes.
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
    """Return the file system of a path or URL.

    Args:
        path: a path, or a URL for fsspec.
        mmap: whether local files are mapped; without effect for URLs.
        storage_options: options that fsspec passes to the file system of a URL.

    Raises:
        ImportError: `path` is a URL, and fsspec or the package of the storage is not installed.
        UnreadableError: fsspec knows no such file system, or cannot reach it.
    """
    if not is_url(path):
        return LocalFiles(mmap=mmap)
    from ckptparse.sources.remote import RemoteFiles  # fsspec is an optional dependency

    return RemoteFiles(path, storage_options or {})
