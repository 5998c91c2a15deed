"""The classes of the rows: a row, its contenders, and the job of one process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from benchmarks.data import Data, rival_path

OURS = "ckptparse"
"""The contender that the others are compared with; it is the first one of every row."""


@dataclass(frozen=True)
class Job:
    """The input of a contender.

    Attributes:
        data: the content of the checkpoint.
        prefix: the prefix of the checkpoint.
        round: number of the round.  It is the seed of random choices, so that all contenders of a
            round make the same ones.
    """

    data: Data
    prefix: str
    round: int

    def rival(self, form: str) -> str:
        """Return the path of the same tensors in a rival's format."""
        return rival_path(self.prefix, form)


@dataclass(frozen=True)
class Program:
    """Work that is timed from the start of its process to its first line of output.

    Attributes:
        text: the program.
        arguments: returns its command-line arguments.
        answer: returns the line that it must print, which shows that it read the right values.
    """

    text: str
    arguments: Callable[[Job], list[str]]
    answer: Callable[[Job], str]


@dataclass(frozen=True)
class Contender:
    """A program that does the work of a row, in a fresh process each time.

    Attributes:
        name: its name in the table.
        work: a function that does the work, measures it with `time.perf_counter`, checks the values
            that it read, and returns the measurement; or a `Program`.
        tensorflow: whether it needs the interpreter that has TensorFlow.
        floor: whether it is a floor (a part of the work, measured alone) instead of a rival.
        needs: a package that it imports; without the package, the contender is left out.
        form: the format that it reads instead of the checkpoint: "safetensors", "npy", "npz", "h5"
            or "pb".  The files are written at the first use.
    """

    name: str
    work: Callable[[Job], float] | Program
    tensorflow: bool = False
    floor: bool = False
    needs: str = ""
    form: str = ""


@dataclass(frozen=True)
class Row:
    """One kind of work, and the contenders that do it.

    Attributes:
        name: its name on the command line.
        what: its description in the table.
        unit: the unit of the measurements: seconds or bytes.
        data: the checkpoint.
        contenders: ckptparse first.
        rounds: the default number of rounds that are counted.
        linux_only: whether the measurement needs Linux.
        limit: upper limit for the median of ckptparse, in the row's unit.
        reads: whether the contenders read the checkpoint; if not, it is not written.
    """

    name: str
    what: str
    unit: Literal["s", "B"]
    data: Data
    contenders: tuple[Contender, ...]
    rounds: int
    linux_only: bool = False
    limit: float | None = None
    reads: bool = True

    def contender(self, name: str) -> Contender:
        """Return the contender with a name."""
        return next(contender for contender in self.contenders if contender.name == name)
