"""Copies of fixtures, and damage done to them."""

from __future__ import annotations

import shutil
from pathlib import Path

from support.oracle import load_case

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 8\n"
"""What git leaves in place of a file that git-lfs has not fetched."""


def copy_case(name: str, folder: Path) -> Path:
    """Copy a case's files to a folder where a test may damage them, and return their prefix."""
    case = load_case(name)
    for path in case.folder.iterdir():
        shutil.copy(path, folder)
    return folder / case.prefix.name


def flip_bit(path: Path | str, offset: int, mask: int = 0x10) -> None:
    """Change one byte of a file in the bits of the mask."""
    with open(path, "r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ mask]))
