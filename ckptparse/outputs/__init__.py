"""Write files aside, and put them in their places when they are complete.

A `Folder` creates files under temporary names and renames them; an `Output` is one such file.
Local folders are `LocalFolder`, those at URLs `RemoteFolder`.  This layer does not interpret the
bytes.
"""

from ckptparse.outputs.base import Folder, Output
from ckptparse.outputs.local import LocalFolder
from ckptparse.sources.base import is_url

__all__ = ["Folder", "LocalFolder", "Output", "folder_for"]


def folder_for(path: str, *, sync: bool) -> Folder:
    """Return the folder in which a file of this path or URL is.

    Args:
        path: path or URL of a file, which need not exist.
        sync: whether to wait until the disk has the bytes; without effect for URLs.

    Raises:
        ImportError: `path` is a URL, and fsspec or the package of the storage is not installed.
        UnreadableError: fsspec knows no such file system, or cannot reach it.
        UnsupportedError: files cannot be written at such a URL.
    """
    if not is_url(path):
        return LocalFolder(path, sync=sync)
    from ckptparse.outputs.remote import RemoteFolder  # fsspec is an optional dependency

    return RemoteFolder(path)
