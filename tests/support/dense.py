"""Index files with as many entries as fit: 100,000 in a megabyte, written quickly.

`builders.block` does the same for a few entries, with more ways to be wrong.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from pathlib import Path

from support.builders import Entry, Stored, block_entry, bundle_header, table

HEADER = (b"", bundle_header())


def dense_block(entries: Iterable[Entry], interval: int = 1 << 30) -> bytes:
    """The contents of a block whose keys all have the same length."""
    out = bytearray()
    restarts = []
    previous = b""
    for i, (key, value) in enumerate(entries):
        if i % interval == 0:
            restarts.append(len(out))
            previous = b""
        shared = next((j for j, (a, b) in enumerate(zip(previous, key)) if a != b), len(previous))
        out += block_entry(key[shared:], value, shared)
        previous = key
    return bytes(out) + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def one_block(contents: bytes, store: Callable[[bytes], Stored] = Stored) -> bytes:
    """A table of one data block."""
    return table(store(contents), separators={0: b"\xff" * 4})


def write_files(folder: Path, index: bytes, data: bytes = bytes(4)) -> Path:
    """Write an index file and one data file, and return their prefix."""
    (folder / "m.index").write_bytes(index)
    (folder / "m.data-00000-of-00001").write_bytes(data)
    return folder / "m"


def write_dense(folder: Path, entries: Iterable[Entry], data: bytes = bytes(4)) -> Path:
    """Write a checkpoint of one data file whose index has the header and these entries."""
    return write_files(folder, one_block(dense_block([HEADER, *entries], 16)), data)
