"""The common parts of all commands: options, machine and versions, and the run of rows."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.files import make_files
from benchmarks.machine import own_versions, tensorflow_versions, this_machine
from benchmarks.pairs import Setting, measure
from benchmarks.processes import OWN_PYTHON, ProcessFailedError
from benchmarks.report import over_limit, render, summarize
from benchmarks.row import OURS, Row

_DATA_FOLDER = str(Path(__file__).resolve().parent / "data")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that all measuring commands have."""
    parser.add_argument(
        "--rounds", type=_positive_int, metavar="N", help="rounds of every row (default: its own)"
    )
    parser.add_argument(
        "--scale",
        type=_positive_float,
        default=1.0,
        metavar="X",
        help="multiply numbers of tensors and bytes, as 0.001 for a quick try (default: 1)",
    )
    parser.add_argument(
        "--data",
        default=_DATA_FOLDER,
        metavar="FOLDER",
        help="where checkpoints are made and kept (default: benchmarks/data)",
    )
    parser.add_argument(
        "--tensorflow",
        default=OWN_PYTHON,
        metavar="PYTHON",
        help="an interpreter that has TensorFlow (default: this one)",
    )


def _positive_int(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def _positive_float(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def setting_of(options: argparse.Namespace) -> Setting:
    """Return the options that all rows share."""
    return Setting(options.scale, os.path.abspath(options.data), options.tensorflow)


def begin(setting: Setting) -> dict[str, Any]:
    """Return the head of the results (time, command, machine, versions), and print it.

    Raises:
        UnfitError: an interpreter has no TensorFlow, or cannot import ckptparse.
    """
    machine = this_machine()
    results = {
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": ["python", "-m", "benchmarks", *sys.argv[1:]],
        "scale": setting.scale,
        "machine": vars(machine),
        "versions": own_versions(),
        "tensorflow_versions": tensorflow_versions(setting.tensorflow),
    }
    print(machine)
    print(f"ckptparse in  {_render_versions(results['versions'])}")
    print(f"TensorFlow in {_render_versions(results['tensorflow_versions'])}", flush=True)
    return results


def _render_versions(versions: Any) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def run_rows(
    rows: Iterable[Row], rounds: int | None, setting: Setting
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Measure rows, and print each result.

    Returns:
        The results of the measured rows; name of each row that failed -> reason.
    """
    results = []
    failed: dict[str, str] = {}
    for wanted in rows:
        if wanted.linux_only and not sys.platform.startswith("linux"):
            print(f"\n{wanted.name}: left out, needs Linux", flush=True)
            continue
        row, left_out = _present(wanted)
        if OURS in left_out:  # its files cannot be written
            print(f"\n{wanted.name}: left out, needs {left_out[OURS]}", flush=True)
            continue
        try:
            make_files(row, setting)
            print(f"measuring {row.name} ...", file=sys.stderr, flush=True)
            result = summarize(row, measure(row, rounds or row.rounds, setting))
        except ProcessFailedError as error:
            print(f"\n{row.name}: FAILED: {error}", flush=True)
            failed[row.name] = str(error)
            continue
        result["left_out"] = left_out
        results.append(result)
        print(f"\n{render(result)}")
        for contender, package in left_out.items():
            print(f"  {contender}: left out, needs {package} in the interpreter of ckptparse")
        sys.stdout.flush()
        if over := over_limit(result):
            failed[row.name] = f"over the limit: {' and '.join(over)}"
    return results, failed


def _present(row: Row) -> tuple[Row, dict[str, str]]:
    """Leave out the contenders whose package is not installed.

    Returns:
        The row without them; name of each of them -> its package.
    """
    left_out = {
        contender.name: contender.needs
        for contender in row.contenders
        if contender.needs and find_spec(contender.needs) is None
    }
    present = tuple(each for each in row.contenders if each.name not in left_out)
    return replace(row, contenders=present), left_out
