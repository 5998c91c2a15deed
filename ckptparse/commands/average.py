"""Save the element-wise mean of checkpoints.

The mean is computed in float64 and has the dtypes of the checkpoints, whose names, shapes and
dtypes must be equal. Integers, booleans and strings have no mean and must be equal, too, unless
--on-conflict last takes those of the last checkpoint.
"""

from __future__ import annotations

import argparse

from ckptparse.commands.arguments import add_paths, open_paths
from ckptparse.commands.choosing import as_usage_errors
from ckptparse.commands.writing import add_writing, write

NAME = "average"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_paths(parser)
    parser.add_argument(
        "--weights",
        metavar="W,...",
        type=_weights,
        help="a number for each checkpoint, of which only the ratios matter (default: equal ones)",
    )
    parser.add_argument(
        "--on-conflict",
        choices=["error", "last"],
        default="error",
        help="what to do if integers, booleans or strings differ (default: error)",
    )
    add_writing(parser)


def _weights(text: str) -> list[float]:
    """Return numbers with commas between them; argparse reports the error of wrong ones."""
    try:
        return [float(weight) for weight in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected numbers such as 1,1,2, not {text!r}") from error


def run(arguments: argparse.Namespace) -> int:
    """Save the mean."""
    from ckptparse.combining import average

    with open_paths(arguments) as checkpoints:
        with as_usage_errors():
            mean = average(
                checkpoints, weights=arguments.weights, on_conflict=arguments.on_conflict
            )
        return write(arguments, mean, arguments.output)
