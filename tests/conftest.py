"""Settings and hooks for all tests."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import ckptparse
from support.ids import MOST_LETTERS, short
from support.repository import TESTS


def pytest_report_header() -> str:
    return f"ckptparse from {Path(ckptparse.__file__).parent}"


def pytest_configure(config: pytest.Config) -> None:
    """Check where ckptparse comes from, and set up hypothesis.

    In CI the installed wheel must be tested, not the source tree in the working directory.
    """
    if os.environ.get("CI") and "site-packages" not in Path(ckptparse.__file__).parts:
        raise pytest.UsageError(f"ckptparse comes from {ckptparse.__file__}, not from its wheel")
    is_quick = "not exhaustive" in config.option.markexpr
    settings.register_profile(
        "ckptparse",
        deadline=None,  # and no other clock: a busy machine is no defect
        suppress_health_check=[HealthCheck.too_slow],
        derandomize=True,
        max_examples=100 if is_quick else 500,
    )
    settings.load_profile("ckptparse")


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Start no workers for one file or a small folder: it ends before they have started."""
    folder = config.invocation_params.dir
    place, *others = (folder / argument.partition("::")[0] for argument in config.args)
    is_large = others or place in (config.rootpath, TESTS, TESTS / "security")
    return None if is_large else 0


def pytest_make_parametrize_id(val: object) -> str | None:
    """Cut long texts, where a test does not name its parameters."""
    if isinstance(val, (str, bytes)) and len(ascii(val)) > MOST_LETTERS:
        return short(val)
    return None


def pytest_collection_finish() -> None:
    """Exclude collected tests from garbage collection, so that `gc.collect` is fast."""
    gc.collect()
    gc.freeze()
