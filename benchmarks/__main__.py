"""``python -m benchmarks [ROW ...]``: write the data, run the rows, print the table.

The module `growth` has the command ``python -m benchmarks growth``.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks import growth
from benchmarks.machine import UnfitError
from benchmarks.rows import all_rows
from benchmarks.session import add_options, begin, run_rows, setting_of


def main() -> int:
    """Run the command.

    Returns:
        The exit code: 0 success, 1 a row failed or exceeds its limit, 2 wrong arguments or no
        TensorFlow.
    """
    if sys.argv[1:2] == ["growth"]:
        return growth.main(sys.argv[2:])
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
    setting = setting_of(options)
    try:
        results = begin(setting)
    except UnfitError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    wanted = [rows[name] for name in dict.fromkeys(options.rows)] or list(rows.values())
    results["rows"], results["failed"] = run_rows(wanted, options.rounds, setting)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1) + "\n")
    return 1 if results["failed"] else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure ckptparse side by side with TensorFlow; see benchmarks/README.md.",
        epilog="python -m benchmarks growth --help: a plot of time against size.",
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help="only these rows (default: all)")
    parser.add_argument("--list", action="store_true", help="print the rows and end")
    parser.add_argument("--json", metavar="FILE", help="write the results there too")
    add_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
