"""``python -m benchmarks [ROW ...]``: make the data, run the rows, print the table."""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.data import Data, prefix_of
from benchmarks.machine import UnfitError, own_versions, tensorflow_versions, this_machine
from benchmarks.pairs import Setting, measure
from benchmarks.processes import OWN_PYTHON, ProcessFailedError, run
from benchmarks.report import render, summarize
from benchmarks.row import Row
from benchmarks.rows import all_rows

_DATA_FOLDER = str(Path(__file__).resolve().parent / "data")


def main() -> int:
    """Exit code: 0 done, 1 a row failed, 2 wrong use or no TensorFlow."""
    parser = _parser()
    options = parser.parse_args()
    rows = all_rows(options.scale)
    if options.list:
        width = max(map(len, rows))
        print("\n".join(f"{row.name:{width}}  {row.what}; {row.data}" for row in rows.values()))
        return 0
    unknown = [name for name in options.rows if name not in rows]
    if unknown:
        parser.error(f"no such row: {', '.join(unknown)}; there are {', '.join(rows)}")
    setting = Setting(options.scale, os.path.abspath(options.data), options.tensorflow)
    try:
        results = {
            "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "command": ["python", "-m", "benchmarks", *sys.argv[1:]],
            "scale": options.scale,
            "machine": this_machine(),
            "versions": own_versions(),
            "tensorflow_versions": tensorflow_versions(options.tensorflow),
        }
    except UnfitError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    print(results["machine"])
    print(f"ckptparse in  {_render_versions(results['versions'])}")
    print(f"TensorFlow in {_render_versions(results['tensorflow_versions'])}")
    wanted = [rows[name] for name in dict.fromkeys(options.rows)] or list(rows.values())
    results["rows"], results["failed"] = _run_rows(wanted, options.rounds, setting)
    if options.json:
        results["machine"] = vars(results["machine"])
        Path(options.json).write_text(json.dumps(results, indent=1) + "\n")
    return 1 if results["failed"] else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure ckptparse side by side with TensorFlow; see benchmarks/README.md.",
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help="only these rows (default: all)")
    parser.add_argument("--list", action="store_true", help="print the rows and end")
    parser.add_argument("--json", metavar="FILE", help="write the results there too")
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
        help="where checkpoints are made and kept, 3.1 GB at full size (default: benchmarks/data)",
    )
    parser.add_argument(
        "--tensorflow",
        default=OWN_PYTHON,
        metavar="PYTHON",
        help="an interpreter that has TensorFlow (default: this one)",
    )
    return parser


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


def _run_rows(
    rows: list[Row], rounds: int | None, setting: Setting
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Results of rows that succeed, and reasons of those that don't; prints as it goes."""
    results = []
    failed: dict[str, str] = {}
    for row in rows:
        if row.linux_only and not sys.platform.startswith("linux"):
            print(f"\n{row.name}: left out, needs Linux", flush=True)
            continue
        try:
            _make_data(row.data, setting)
            print(f"measuring {row.name} ...", file=sys.stderr, flush=True)
            results.append(summarize(row, measure(row, rounds or row.rounds, setting)))
        except ProcessFailedError as error:
            print(f"\n{row.name}: FAILED: {error}", flush=True)
            failed[row.name] = str(error)
        else:
            print(f"\n{render(results[-1])}", flush=True)
    return results, failed


def _make_data(data: Data, setting: Setting) -> None:
    """Have TensorFlow write a checkpoint, unless it is there; never leaves a part of one."""
    prefix = prefix_of(data, setting.folder)
    target = os.path.dirname(prefix)
    if os.path.isdir(target):
        return
    print(f"making {data} ...", file=sys.stderr, flush=True)
    partial = f"{target}.partial-{os.getpid()}"
    try:
        os.makedirs(partial)
        partial_prefix = os.path.join(partial, os.path.basename(prefix))
        arguments = [data.kind, str(data.size), partial_prefix]
        run(setting.tensorflow, ["-m", "benchmarks.write", *arguments])
        os.rename(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _render_versions(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


if __name__ == "__main__":
    sys.exit(main())
