"""Write the files that a row reads, at their first use, and keep them."""

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
    """Let TensorFlow write the checkpoint of a row, and write the files of its rivals.

    Raises:
        ProcessFailedError: a file cannot be written.
    """
    if row.reads:
        _make_checkpoint(row.data, setting)
    else:
        Path(setting.folder).mkdir(parents=True, exist_ok=True)
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
        _write(setting.tensorflow if form == "pb" else OWN_PYTHON, form, data, partial)
        partial.rename(path)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def _write(python: str, form: str, data: Data, path: Path) -> None:
    """Write the data in a separate process; the caller renames the complete file, or removes it."""
    print(f"making {data}, {form} ...", file=sys.stderr, flush=True)
    run(python, ["-m", "benchmarks.write", form, data.kind, str(data.size), str(path)])
