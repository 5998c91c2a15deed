"""What a row of the table is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from benchmarks.data import Data, rival_path

OURS = "ckptparse"
"""The contender that the others are compared with: the first of every row."""


@dataclass(frozen=True)
class Job:
    """What a contender is given.

    Attributes:
        data: what is in the checkpoint.
        prefix: where it lies.
        round: number of the round; what is random is drawn from it, alike for all contenders.
    """

    data: Data
    prefix: str
    round: int

    def rival(self, form: str) -> str:
        """Where the same tensors lie in a rival's form."""
        return rival_path(self.prefix, form)


@dataclass(frozen=True)
class Program:
    """Work that is timed from outside: from the start of its process to its first line of output.

    Attributes:
        text: the program.
        arguments: what it finds in sys.argv.
        answer: the line that it must print; it shows that what it read is right.
    """

    text: str
    arguments: Callable[[Job], list[str]]
    answer: Callable[[Job], str]


@dataclass(frozen=True)
class Contender:
    """One who does a row's work, in a fresh process each time.

    Attributes:
        name: for the table.
        work: a function that measures itself, by `time.perf_counter` around the work alone, checks
            what it read and returns the measurement; or a program.
        tensorflow: whether it needs the interpreter that has TensorFlow.
        floor: whether it is no rival but a part of the work that nobody can do without.
        needs: a package that it imports; without it the contender is left out.
        form: what it reads instead of the checkpoint, made at the first use: "safetensors", "npy"
            or "npz".
    """

    name: str
    work: Callable[[Job], float] | Program
    tensorflow: bool = False
    floor: bool = False
    needs: str = ""
    form: str = ""


@dataclass(frozen=True)
class Row:
    """One line of work and those who do it.

    Attributes:
        name: on the command line.
        what: in the table.
        unit: of the measurements: seconds or bytes.
        data: the checkpoint.
        contenders: ours first.
        rounds: how many are counted, unless told otherwise.
        linux_only: whether the measurement needs Linux.
        limit: what the median of ckptparse must stay below, in the row's unit.
    """

    name: str
    what: str
    unit: Literal["s", "B"]
    data: Data
    contenders: tuple[Contender, ...]
    rounds: int
    linux_only: bool = False
    limit: float | None = None

    def contender(self, name: str) -> Contender:
        """The contender of this name."""
        return next(contender for contender in self.contenders if contender.name == name)
