"""Folders at URLs, written through fsspec (extra `remote`).

A file is uploaded under a temporary name and then moved.  Object stores move a file by copying it
on the server.  There are no locks: if two writers save the same checkpoint at the same time, their
files may mix, and reading then reports wrong checksums.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ckptparse.encoding.crc32c import crc32c
from ckptparse.errors import UnsupportedError, UnwritableError
from ckptparse.outputs.base import Buffer, Kind, Output, new_token, temporary_name
from ckptparse.sources.remote import open_file_system


class RemoteFolder:
    """The directory of a URL; see `Folder`."""

    links = False

    def __init__(self, path: str) -> None:
        """
        Args:
            path: URL of a file.

        Raises:
            UnsupportedError: a chained URL, whose files cannot be replaced one by one; or a URL of
                a web server, which takes no files.
            UnreadableError: there is no such file system, or it cannot be reached.
        """
        if "::" in path:
            raise UnsupportedError(
                "checkpoints cannot be saved at a chained URL", file=path,
                expected="the URL of a directory that can be written, or a path", found=path,
            )  # fmt: skip
        if path.startswith(("http://", "https://")):
            raise UnsupportedError(
                "checkpoints cannot be saved on a web server", file=path,
                expected="the URL of a directory that can be written, or a path", found=path,
            )  # fmt: skip
        self._url = path.rpartition("/")[0]
        self._system = open_file_system(path)
        self._path = str(self._system._strip_protocol(self._url))
        self._token = new_token()
        self._count = 0
        self._is_cut_off = False

    def prepare(self) -> None:
        with suppress(NotImplementedError), self._wrapped(self._url):
            self._system.makedirs(self._path, exist_ok=True)

    def abandon(self) -> None:
        """Do nothing: object stores have no empty directories."""

    @contextmanager
    def lock(self) -> Iterator[None]:
        yield

    def create(self) -> RemoteOutput:
        self._count += 1
        path = self._join(temporary_name(self._token, self._count))
        with self._wrapped(path):
            return RemoteOutput(self._system, path)

    def place(self, output: Output, name: str) -> None:
        self.replace(output, name)

    def replace(self, output: Output, name: str) -> None:
        self._is_cut_off = True
        try:
            with self._wrapped(self._join(name)):
                self._system.mv(output.path, self._join(name))
            self._is_cut_off = False
        except Exception:  # the storage has answered
            self._is_cut_off = False
            raise

    def is_placed(self, output: Output, name: str) -> bool | None:
        with suppress(Exception):  # every file system has errors of its own
            names = self.names()
            if output.path.rpartition("/")[2] not in names:
                return True if name in names else None
            if self._is_cut_off:  # the storage may still copy it
                return None
            if name not in names:
                return False
            # A storage that cannot rename copies the file, and then removes the temporary name.
            return bool(
                self._system.cat_file(output.path) == self._system.cat_file(self._join(name))
            )
        return None

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError), self._wrapped(self._join(name)):
            self._system.rm_file(self._join(name))

    def left_temporaries(self) -> list[str]:
        """Return an empty list, because it is not known whether the writers have ended."""
        return []

    def other_names(self, name: str) -> list[str]:
        return []

    def names(self) -> list[str]:
        try:
            with self._wrapped(self._url):
                found = self._system.ls(self._path, detail=False, refresh=True)
        except FileNotFoundError:
            return []
        return [str(name).rstrip("/").rpartition("/")[2] for name in found]

    def kind(self, name: str) -> Kind:
        with self._wrapped(self._join(name)):
            return "directory" if self._system.isdir(self._join(name)) else "file"

    def sync(self) -> None:
        """Do nothing: the storage answers after it has stored the bytes."""

    def _join(self, name: str) -> str:
        return f"{self._path}/{name}"

    @contextmanager
    def _wrapped(self, path: str) -> Iterator[None]:
        """Convert the errors of the file system, except FileNotFoundError."""
        try:
            yield
        except FileNotFoundError:
            raise
        except NotImplementedError as error:
            raise UnsupportedError(
                "this file system cannot be written", file=path, found=str(error) or None
            ) from error
        except Exception as error:  # every file system has errors of its own
            raise UnwritableError(f"{type(error).__name__}: {error}", file=path) from error


class RemoteOutput:
    """A file at a URL that is being uploaded; see `Output`."""

    rewrites = False

    def __init__(self, system: Any, path: str) -> None:
        self.path = path
        self.nbytes = 0
        self._system = system
        self._file: Any = system.open(path, "wb")

    def write(self, contents: Buffer) -> None:
        view = memoryview(contents)
        try:
            self._file.write(view)
        except Exception as error:  # every file system has errors of its own
            raise UnwritableError(f"{type(error).__name__}: {error}", file=self.path) from error
        self.nbytes += view.nbytes

    def write_checked(self, contents: Buffer) -> int:
        self.write(contents)
        return crc32c(contents)

    def rewrite(self, position: int, contents: Buffer) -> None:
        raise UnsupportedError("bytes that were uploaded cannot be replaced", file=self.path)

    def finish(self) -> None:
        try:
            self._file.close()
        except Exception as error:  # every file system has errors of its own
            raise UnwritableError(f"{type(error).__name__}: {error}", file=self.path) from error

    def discard(self) -> None:
        with suppress(Exception):
            if not self._file.closed:
                self._file.discard()  # do not complete an upload of parts
        with suppress(Exception):
            self._system.rm_file(self.path)
