"""Open a checkpoint over each kind of byte source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ckptparse import Checkpoint, open_checkpoint
from ckptparse.formats.bundle import BundleReader
from ckptparse.formats.saved_slices import SavedSlicesReader
from ckptparse.paths.locate import find_checkpoint
from ckptparse.sources import LocalFiles, MemorySource

Opener = Callable[..., Checkpoint]


def open_mapped(prefix: Path, *, verify: bool = True) -> Checkpoint:
    """Data files as memory maps, the default."""
    return open_checkpoint(prefix, verify=verify)


def open_pread(prefix: Path, *, verify: bool = True) -> Checkpoint:
    """Data files read by position."""
    return open_checkpoint(prefix, verify=verify, mmap=False)


def open_in_memory(prefix: Path, *, verify: bool = True) -> Checkpoint:
    """All files as bytes objects."""

    def open_source(path: str, *, kept: bool = True) -> MemorySource:
        return MemorySource(path, Path(path).read_bytes())

    found = find_checkpoint(LocalFiles(mmap=False), str(prefix))
    if found.format == "v1":
        shards = map(open_source, found.shards)
        return Checkpoint(SavedSlicesReader(found.prefix, shards, verify=verify))
    index = open_source(f"{found.prefix}.index")
    return Checkpoint(BundleReader(found.prefix, index, open_source, verify=verify, mapped=False))


OPENERS: list[Opener] = [open_mapped, open_pread, open_in_memory]
