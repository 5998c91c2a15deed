"""Run one contender once, in this process, and print its measurement.

``python -m benchmarks.worker SCALE FOLDER ROW CONTENDER ROUND``
"""

from __future__ import annotations

import sys

from benchmarks.data import WrongValuesError, prefix_of
from benchmarks.row import Job, Program
from benchmarks.rows import all_rows
from benchmarks.rows.growth import growth_points


def main(scale: str, folder: str, row_name: str, contender_name: str, round_: str) -> None:
    """Print the measurement.  If a contender reads wrong values, exit with a message."""
    points = growth_points(float(scale)) if row_name.startswith("growth") else []
    rows = {point.row.name: point.row for point in points} or all_rows(float(scale))
    row = rows[row_name]
    work = row.contender(contender_name).work
    assert not isinstance(work, Program), "a program runs without a worker"
    try:
        print(work(Job(row.data, prefix_of(row.data, folder), int(round_))))
    except WrongValuesError as error:
        sys.exit(f"wrong values: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
