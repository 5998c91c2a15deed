"""What rows read, made at the first use and kept."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from benchmarks.data import Data, prefix_of, rival_path
from benchmarks.pairs import Setting
from benchmarks.processes import OWN_PYTHON, run
from benchmarks.row import Row


def make_files(row: Row, setting: Setting) -> None:
    """The checkpoint of a row, written by TensorFlow, and the files of its rivals.

    Raises:
        ProcessFailedError: they cannot be written.
    """
    _make_checkpoint(row.data, setting)
    for form in dict.fromkeys(contender.form for contender in row.contenders):
        if form:
            _make_rival(row.data, form, setting)


def _make_checkpoint(data: Data, setting: Setting) -> None:
    prefix = Path(prefix_of(data, setting.folder))
    if prefix.parent.is_dir():
        return
    partial = Path(f"{prefix.parent}.partial-{os.getpid()}")
    try:
        partial.mkdir(parents=True)
        _write(setting.tensorflow, "checkpoint", data, partial / prefix.name)
        partial.rename(prefix.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _make_rival(data: Data, form: str, setting: Setting) -> None:
    path = Path(rival_path(prefix_of(data, setting.folder), form))
    if path.exists():
        return
    partial = Path(f"{path}.partial-{os.getpid()}")
    try:
        _write(OWN_PYTHON, form, data, partial)
        partial.rename(path)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def _write(python: str, form: str, data: Data, path: Path) -> None:
    """In a process of its own; whoever calls renames what is whole, and leaves no part of it."""
    print(f"making {data}, {form} ...", file=sys.stderr, flush=True)
    run(python, ["-m", "benchmarks.write", form, data.kind, str(data.size), str(path)])
