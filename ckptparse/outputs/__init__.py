"""Write files under temporary names, and rename them when they are complete.

A `Folder` creates and renames files; an `Output` is one file that is being written.  `LocalFolder`
is a local directory, `RemoteFolder` a directory at a URL.  This package does not interpret the
bytes.
"""

import os

from ckptparse.outputs.base import Folder, Output
from ckptparse.outputs.local import LocalFolder
from ckptparse.sources.base import is_url

__all__ = ["Folder", "LocalFolder", "Output", "folder_for", "last_part"]


def folder_for(path: str, *, sync: bool) -> Folder:
    """Return the folder that contains a file.

    Args:
        path: path or URL of a file, which need not exist.
        sync: whether to wait until the bytes are on the disk; without effect for URLs.

    Raises:
        ImportError: `path` is a URL, and fsspec or the package of the storage is not installed.
        UnreadableError: fsspec knows no such file system, or cannot reach it.
        UnsupportedError: files cannot be written at such a URL.
    """
    if not is_url(path):
        return LocalFolder(path, sync=sync)
    from ckptparse.outputs.remote import RemoteFolder  # fsspec is an optional dependency

    return RemoteFolder(path)


def last_part(path: str) -> str:
    """Return the name that a path or URL has in its folder; "" if it ends with a separator."""
    return path.rpartition("/")[2] if is_url(path) else os.path.basename(path)
