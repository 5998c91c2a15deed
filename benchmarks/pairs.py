"""Run the contenders in turn, round after round, and compute ratios.

Other load on the machine slows down all processes of a round alike.  So contenders are compared
within a round, and the result is the median of these ratios, not the ratio of the medians.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from benchmarks.data import prefix_of
from benchmarks.processes import OWN_PYTHON, ProcessFailedError, run, time_to_first_line
from benchmarks.row import Contender, Job, Program, Row


@dataclass(frozen=True)
class Spread:
    """Median, minimum and maximum of some numbers."""

    median: float
    min: float
    max: float


def spread(numbers: list[float]) -> Spread:
    """Return the `Spread` of at least one number."""
    return Spread(median(numbers), min(numbers), max(numbers))


def ratios(numerators: list[float], denominators: list[float]) -> Spread:
    """Return the `Spread` of the ratios of all rounds."""
    return spread([a / b for a, b in zip(numerators, denominators)])


@dataclass(frozen=True)
class Setting:
    """The options that all rows share.

    Attributes:
        scale: factor for numbers of tensors and bytes.
        folder: folder of the data.
        tensorflow: the interpreter that has TensorFlow.
    """

    scale: float
    folder: str
    tensorflow: str


def measure(row: Row, rounds: int, setting: Setting) -> dict[str, list[float]]:
    """Run all rounds of a row.

    A round is one fresh process of every contender, in the row's order.  The first round only fills
    the page cache; its measurements are dropped.

    Returns:
        Name of a contender -> its measurement in each round.

    Raises:
        ProcessFailedError: a contender fails, or reads wrong values.
    """
    measured: dict[str, list[float]] = {contender.name: [] for contender in row.contenders}
    for round_ in range(rounds + 1):
        first = round_ % len(row.contenders)  # the one that runs first may have a disadvantage
        for contender in (*row.contenders[first:], *row.contenders[:first]):
            try:
                measurement = _measure_once(row, contender, round_, setting)
            except ProcessFailedError as error:
                raise ProcessFailedError(f"{contender.name}: {error}") from error
            if round_:
                measured[contender.name].append(measurement)
    return measured


def _measure_once(row: Row, contender: Contender, round_: int, setting: Setting) -> float:
    python = setting.tensorflow if contender.tensorflow else OWN_PYTHON
    if not isinstance(contender.work, Program):
        worker = ["-m", "benchmarks.worker", str(setting.scale), setting.folder]
        output = run(python, [*worker, row.name, contender.name, str(round_)])
        return float(output.splitlines()[-1])
    program = contender.work
    job = Job(row.data, prefix_of(row.data, setting.folder), round_)
    arguments = ["-c", program.text, *program.arguments(job)]
    answer = program.answer(job)
    seconds, output = time_to_first_line(python, arguments)
    if output.strip() != answer:
        raise ProcessFailedError(f"wrong values: {answer!r} written, {output.strip()!r} read")
    return seconds
