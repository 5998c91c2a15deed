"""Where the files of the repository are."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "fixtures"
"""Checkpoints that TensorFlow wrote; see fixtures/README.md."""

TESTS = ROOT / "tests"
