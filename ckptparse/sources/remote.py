"""Files at URLs, through fsspec (extra `remote`)."""

from __future__ import annotations

import posixpath
from typing import Any

from ckptparse.errors import UnreadableError
from ckptparse.sources.base import Source, closed_error, require_inside

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
        try:
            self._system, _ = fsspec.core.url_to_fs(url, **storage_options)
        except (ValueError, OSError) as error:
            raise UnreadableError(str(error), file=url) from error

    def is_file(self, path: str) -> bool:
        return bool(self._ask(self._system.isfile, path))

    def is_directory(self, path: str) -> bool:
        return bool(self._ask(self._system.isdir, path))

    def list_names(self, directory: str) -> list[str]:
        try:
            paths = self._ask(self._system.ls, directory, detail=False)
        except FileNotFoundError:
            return []
        return sorted(posixpath.basename(str(path).rstrip("/")) for path in paths)

    def join(self, directory: str, name: str) -> str:
        return f"{directory.rstrip('/')}/{name}"

    def split(self, path: str) -> tuple[str, str]:
        directory, _, name = path.rpartition("/")
        return directory, name

    def open(self, path: str, *, mapped: bool = True) -> Source:
        """A file's bytes; FileNotFoundError if there is no such file."""
        size = self._ask(self._system.info, path)["size"]
        if size is None:
            raise UnreadableError("a file of unknown size", file=path)
        return RemoteSource(self._system, path, int(size))

    def _ask(self, question: Any, path: str, **options: object) -> Any:
        """A question to the file system; its other troubles become errors of ours."""
        try:
            return question(path, **options)
        except FileNotFoundError:
            raise
        except Exception as error:  # every file system has its own
            raise UnreadableError(f"{type(error).__name__}: {error}", file=path) from error


class RemoteSource:
    """Byte ranges of one file, a request each."""

    mapped = False

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
            reason = f"{type(error).__name__}: {error}"
            raise UnreadableError(reason, file=self.name, offset=start) from error
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
