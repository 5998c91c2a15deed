"""What is in a directory: to see that a failed save changed nothing."""

from __future__ import annotations

from pathlib import Path

import fsspec


def contents(folder: Path) -> dict[str, bytes | None]:
    """Return all files below a folder and their bytes; None for directories."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }


def url_contents() -> dict[str, bytes]:
    """Return all files of fsspec's file system in memory."""
    system = fsspec.filesystem("memory")
    return {name: system.cat_file(name) for name in sorted(system.find("/"))}
