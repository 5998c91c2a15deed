"""Strings that are no arrays keep all their bytes when they are converted to arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ckptparse import open_checkpoint, save_checkpoint


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"a\0", b"a\0"),
        (b"", b""),
        ("ä\0", "ä\0".encode()),
        ([b"\0", b"b\0\0"], [b"\0", b"b\0\0"]),
        ((["a\0"], ["b"]), [[b"a\0"], [b"b"]]),
    ],
    ids=["bytes", "empty", "text", "list", "nested"],
)
def test_no_byte_is_lost(tmp_path: Path, value: Any, expected: Any) -> None:
    prefix = save_checkpoint(tmp_path / "m", {"s": value})
    with open_checkpoint(prefix) as ckpt:
        assert ckpt["s"].tolist() == expected
