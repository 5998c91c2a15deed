"""Files at URLs, through fsspec (extra `remote`)."""

from __future__ import annotations

import copy
import posixpath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from ckptparse.errors import UnreadableError, UnsupportedError
from ckptparse.sources.base import Source, closed_error, require_inside
from ckptparse.sources.confined import outside_error

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

try:
    import fsspec
except ImportError as error:
    raise ImportError(
        "URLs need fsspec: pip install 'ckptparse[remote]' (and the package of your storage, such"
        " as gcsfs or s3fs)"
    ) from error


class RemoteFiles:
    """Files of the file system that a URL names, by their URLs."""

    maps = False

    def __init__(self, url: str, storage_options: dict[str, object]) -> None:
        """
        Args:
            url: any URL of the file system.
            storage_options: what fsspec passes on to it (credentials, endpoint ...).

        Raises:
            UnreadableError: no such file system, or it cannot be reached.
            ImportError: the package of that file system is not installed.
        """
        self._directory: str | None = None
        try:
            self._system, _ = fsspec.core.url_to_fs(url, **storage_options)
        except (ValueError, OSError) as error:
            raise UnreadableError(str(error), file=url) from error

    def within(self, directory: str) -> RemoteFiles:
        """See `Files`; what the storage itself follows, such as redirects, is not seen here.

        Raises:
            UnsupportedError: `file://`, behind which links of this machine would not be seen.
        """
        protocols = self._system.protocol
        if {"file", "local"} & ({protocols} if isinstance(protocols, str) else set(protocols)):
            raise UnsupportedError(
                "confined reading of files of this machine", file=directory,
                expected="a path", found="a URL",
            )  # fmt: skip
        confined = copy.copy(self)
        confined._directory = directory.rstrip("/")
        return confined

    def allows(self, path: str) -> bool:
        if self._directory is None:
            return True
        # A server may take %2e for a dot, and %2f or a backslash for a slash.
        if ".." in unquote(path).replace("\\", "/").split("/"):
            return False
        return f"{path.rstrip('/')}/".startswith(f"{self._directory}/")

    def is_file(self, path: str) -> bool:
        return self.allows(path) and self._is(self._system.isfile, path)

    def is_directory(self, path: str) -> bool:
        return self.allows(path) and self._is(self._system.isdir, path)

    def _is(self, question: Any, path: str) -> bool:
        try:
            return bool(self._ask(question, path))
        except FileNotFoundError:
            return False

    def list_names(self, directory: str) -> list[str]:
        try:
            paths = self._ask(self._list, directory)
        except FileNotFoundError:
            return []
        return sorted(posixpath.basename(path.rstrip("/")) for path in paths)

    def _list(self, directory: str) -> list[str]:
        return [str(path) for path in self._system.ls(directory, detail=False)]

    def join(self, directory: str, name: str) -> str:
        return f"{directory.rstrip('/')}/{name}"

    def split(self, path: str) -> tuple[str, str]:
        directory, _, name = path.rpartition("/")
        return directory, name

    def open(self, path: str, *, mapped: bool = True, kept: bool = True) -> Source:
        """A file's bytes; FileNotFoundError if there is no such file."""
        said = self._ask(self._system.info, path)
        try:
            nbytes = int(said["size"])
        except (TypeError, ValueError, LookupError, OverflowError) as error:  # None, or no number
            raise UnreadableError("a file of unknown size", file=path) from error
        if nbytes < 0:
            raise UnreadableError("a file of unknown size", file=path, found=nbytes)
        return RemoteSource(self._system, path, nbytes)

    def _ask(self, question: Any, path: str, **options: object) -> Any:
        """A question to the file system; its other troubles become errors of ours."""
        if self._directory is not None and not self.allows(path):
            raise outside_error(path, self._directory, path)
        try:
            return question(path, **options)
        except FileNotFoundError:
            raise
        except Exception as error:  # every file system has its own
            raise _storage_error(error, path) from error


def _storage_error(error: Exception, path: str, offset: int | None = None) -> UnreadableError:
    unreadable = UnreadableError(f"{type(error).__name__}: {error}", file=path, offset=offset)
    unreadable.errno = getattr(error, "errno", None)
    return unreadable


class RemoteSource:
    """Byte ranges of one file, a request each."""

    mapped = False
    octets: NDArray[np.uint8] | None = None

    def __init__(self, system: Any, path: str, nbytes: int) -> None:
        self.name = path
        self.nbytes = nbytes
        self._system: Any = system

    def read(self, start: int, stop: int) -> bytes:
        if self._system is None:
            raise closed_error(self.name)
        require_inside(self.name, start, stop, self.nbytes)
        if start == stop:
            return b""
        try:
            contents = bytes(self._system.cat_file(self.name, start=start, end=stop))
        except Exception as error:  # every file system has its own
            raise _storage_error(error, self.name, start) from error
        if len(contents) > stop - start:
            raise UnreadableError(
                "more than was asked for: the server does not serve byte ranges",
                file=self.name,
                offset=start,
                expected=f"{stop - start} bytes",
                found=f"{len(contents)} bytes",
            )
        require_inside(self.name, start, stop, start + len(contents))
        return contents

    def close(self) -> None:
        self._system = None
