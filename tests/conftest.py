"""What holds for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import ckptparse


def pytest_report_header() -> str:
    return f"ckptparse from {Path(ckptparse.__file__).parent}"


def pytest_configure() -> None:
    """In CI the installed wheel is tested, never the source tree that lies around it."""
    if os.environ.get("CI") and "site-packages" not in Path(ckptparse.__file__).parts:
        raise pytest.UsageError(f"ckptparse comes from {ckptparse.__file__}, not from its wheel")
