"""A file system for fsspec that counts the byte ranges that are asked of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import fsspec
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

PROTOCOL = "counted"


class CountingFiles(AbstractFileSystem):
    """Files in memory, at ``counted://name``, served by byte ranges as a bucket serves them."""

    protocol = PROTOCOL
    cachable = False
    contents: dict[str, bytes] = {}  # noqa: RUF012  # of all instances: fsspec makes its own
    ranges: list[tuple[str, int, int]] = []  # noqa: RUF012

    def fetch(self, path: str, start: int | None, stop: int | None) -> bytes:
        payload = self.contents[self._strip_protocol(path)][start:stop]
        self.ranges.append((path, start or 0, len(payload)))
        return payload

    def info(self, path: str, **_: object) -> dict[str, Any]:
        path = self._strip_protocol(path)
        if path in self.contents:
            return {"name": path, "size": len(self.contents[path]), "type": "file"}
        if any(name.startswith(f"{path}/" if path else "") for name in self.contents):
            return {"name": path, "size": 0, "type": "directory"}
        raise FileNotFoundError(path)

    def ls(self, path: str, detail: bool = True, **_: object) -> list[Any]:
        path = self._strip_protocol(path)
        start = f"{path}/" if path else ""
        names = {n[len(start) :].split("/")[0] for n in self.contents if n.startswith(start)}
        return [self.info(start + name) if detail else start + name for name in sorted(names)]

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **_: object
    ) -> bytes:
        return self.fetch(path, start, end)

    def get_file(self, rpath: str, lpath: str, **_: object) -> None:
        with open(lpath, "wb") as file:
            file.write(self.fetch(rpath, None, None))

    def ukey(self, path: str) -> str:
        return str(self.info(path))

    def _open(self, path: str, mode: str = "rb", **options: Any) -> CountedFile:
        options = {key: options[key] for key in ("block_size", "cache_type") if key in options}
        return CountedFile(self, path, mode, **options)


class CountedFile(AbstractBufferedFile):
    def _fetch_range(self, start: int, end: int) -> bytes:
        return self.fs.fetch(self.path, start, end)


@contextmanager
def counted(contents: dict[str, bytes]) -> Iterator[list[tuple[str, int, int]]]:
    """These files at ``counted://``: the list of (path, start, nbytes) that are asked for."""
    fsspec.register_implementation(PROTOCOL, CountingFiles, clobber=True)
    CountingFiles.contents, CountingFiles.ranges = contents, []
    yield CountingFiles.ranges
