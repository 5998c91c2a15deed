"""Files that are byte strings, given as views like a map's or as copies like a disk's."""

from __future__ import annotations

from collections.abc import Mapping

from ckptparse.sources import MemorySource, Source


class ViewedBytes(MemorySource):
    """A source that says of itself what a memory map does."""

    mapped = True


class CopiedBytes(MemorySource):
    """A source whose every read is a copy, as `os.pread` gives it."""

    def read(self, start: int, stop: int) -> bytes:  # type: ignore[override]  # `Source.read` may
        return bytes(super().read(start, stop))


def source(name: str, contents: bytes, *, mapped: bool) -> Source:
    """A source over bytes."""
    return (ViewedBytes if mapped else CopiedBytes)(name, contents)


class MemoryFiles:
    """A file system in a dict from paths to contents; directories are what paths begin with."""

    def __init__(self, contents: Mapping[str, bytes], *, maps: bool = True) -> None:
        self.contents = contents
        self.mapped = maps
        self.opened: list[str] = []

    def within(self, directory: str) -> MemoryFiles:
        return self

    def allows(self, path: str) -> bool:
        return True

    def is_file(self, path: str) -> bool:
        return path in self.contents

    def is_directory(self, path: str) -> bool:
        return any(name.startswith(path.rstrip("/") + "/") for name in self.contents)

    def list_names(self, directory: str) -> list[str]:
        start = directory.rstrip("/") + "/"
        below = [path[len(start) :] for path in self.contents if path.startswith(start)]
        return sorted({path.split("/")[0] for path in below})

    def list_directories(self, directory: str) -> list[str]:
        names = self.list_names(directory)
        return [name for name in names if self.is_directory(self.join(directory, name))]

    def modified(self, path: str) -> float:
        return 0.0

    def append(self, path: str, suffix: str) -> str:
        return path + suffix

    def join(self, directory: str, name: str) -> str:
        if name.startswith("/"):
            return name
        return f"{directory.rstrip('/')}/{name}" if directory else name

    def split(self, path: str) -> tuple[str, str]:
        directory, _, name = path.rpartition("/")
        return directory or ".", name

    def open(self, path: str, *, mapped: bool = True, kept: bool = True) -> Source:
        self.opened.append(path)
        if path not in self.contents:
            raise FileNotFoundError(path)
        return source(path, self.contents[path], mapped=mapped and self.mapped)
