"""The fixtures of the repository, where seeds come from."""

from __future__ import annotations

from pathlib import Path

from support.repository import FIXTURES

MOST_NBYTES = 8192
"""Inputs above this are slow to try and seldom say more."""


def find_files(pattern: str) -> list[Path]:
    """Files of any fixture, in order."""
    return sorted(path for path in FIXTURES.rglob(pattern) if path.is_file())
