"""``python -m benchmarks growth``: plot the time against the number of tensors and of bytes."""

from __future__ import annotations

import argparse
import json
import sys
from importlib.util import find_spec
from pathlib import Path

from benchmarks.machine import UnfitError
from benchmarks.rows.growth import growth_points
from benchmarks.session import add_options, begin, run_rows, setting_of

_DOCS = Path(__file__).resolve().parent.parent / "docs"


def main(arguments: list[str]) -> int:
    """Run the command.

    Returns:
        The exit code: 0 success, 1 a row failed, 2 wrong arguments, no TensorFlow or no matplotlib.
    """
    options = _parser().parse_args(arguments)
    if find_spec("matplotlib") is None:
        print("benchmarks growth: needs matplotlib to draw", file=sys.stderr)
        return 2
    from benchmarks.plot import draw

    if not options.redraw:
        points = growth_points(options.scale)
        setting = setting_of(options)
        try:
            results = begin(setting)
        except UnfitError as error:
            print(f"benchmarks: {error}", file=sys.stderr)
            return 2
        # Only the options that change the numbers: the file is published, so it has no paths.
        rounds = ["--rounds", str(options.rounds)] if options.rounds else []
        results["command"] = ["python", "-m", "benchmarks", "growth", *rounds]
        rows = [point.row for point in points]
        results["rows"], results["failed"] = run_rows(rows, options.rounds, setting)
        places = {point.row.name: (point.panel, point.axis, point.x) for point in points}
        for row in results["rows"]:
            row["panel"], row["axis"], row["x"] = places[row["row"]]
        Path(options.json).write_text(json.dumps(results, indent=1) + "\n")
        if results["failed"]:
            return 1
    draw(json.loads(Path(options.json).read_text()), Path(options.svg))
    print(f"drawn: {options.svg}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks growth",
        description="Measure how time grows with tensors and bytes, and draw it.",
    )
    parser.add_argument(
        "--json",
        default=str(_DOCS / "growth.json"),
        metavar="FILE",
        help="where the numbers go (default: docs/growth.json)",
    )
    parser.add_argument(
        "--svg",
        default=str(_DOCS / "growth.svg"),
        metavar="FILE",
        help="where the plot goes; another ending, such as .png, gives that (docs/growth.svg)",
    )
    parser.add_argument(
        "--redraw", action="store_true", help="measure nothing, draw the numbers of the last time"
    )
    add_options(parser)
    return parser
