"""Read a checkpoint once: verify it, and compute the statistics and histograms of its tensors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Literal, NamedTuple

from ckptparse.analysis.histogram import GrowingHistogram, count_elements
from ckptparse.analysis.statistics import Collector, Statistics, StatsReport, has_numbers
from ckptparse.checkpoint import Checkpoint
from ckptparse.errors import CheckpointError, CorruptCheckpointError
from ckptparse.reporting.description import Facts, describe, last_part
from ckptparse.tensors.info import TensorInfo
from ckptparse.tensors.names import natural_key
from ckptparse.tensors.pieces import Piece, is_last
from ckptparse.verification import Damage, VerifyReport
from ckptparse.weights.training_state import find_roles

Progress = Callable[[int, int], object]
"""Called with (bytes read so far, total bytes)."""

MOST_HISTOGRAMS = 2_000
"""The largest tensors, up to this number, have a histogram."""

LEAST_COUNTED = 20
"""Number of elements from which a tensor has a histogram."""

State = Literal["intact", "unchecked", "damaged"]
"""Of a tensor: its checksum was compared; it has none that could be compared; it is damaged."""


class Row(NamedTuple):
    """A tensor of the page.

    Attributes:
        name: its name.
        full_name: the name of its variable, if that is known and another one.
        dtype: TensorFlow's name of its dtype; "" if its entry is damaged.
        shape: its shape; None if its entry is damaged.
        size: number of elements.
        nbytes: number of bytes.
        statistics: None for strings, for what cannot be read, and for damaged tensors.
        histogram: None for those, and for small tensors.
        state: the result of its verification.
        role: "weight", "average" or "state"; None if this is not known.
    """

    name: str
    full_name: str | None
    dtype: str
    shape: tuple[int, ...] | None
    size: int
    nbytes: int
    statistics: Statistics | None
    histogram: GrowingHistogram | None
    state: State
    role: str | None


@dataclass(frozen=True)
class Examination:
    """What the page shows.

    Attributes:
        title: the last part of the path.
        folder: the path of the directory, which the page does not show.
        facts: format, versions and what else the file says of itself.
        rows: the tensors, in natural order of their names.
        total: the statistics of all tensors together.
        report: all damage.
        num_all: number of tensors of the checkpoint; None if damage hides some.
    """

    title: str
    folder: str
    facts: Facts
    rows: list[Row]
    total: Statistics
    report: VerifyReport
    num_all: int | None


def examine(
    ckpt: Checkpoint,
    sources: Mapping[str, str] | None = None,
    *,
    full_names: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Examination:
    """Return what is in a checkpoint; reads each of its bytes once.

    Args:
        ckpt: the checkpoint.
        sources: name on the page -> name in the checkpoint, of the tensors that are examined; None
            for all.
        full_names: name in the checkpoint -> name of the variable.
        progress: called after each tensor.

    Raises:
        CorruptCheckpointError: the index is damaged, and `sources` is given.
    """
    try:
        infos = {info.name: info for info in ckpt.infos()}
        is_whole = True
    except CorruptCheckpointError:
        if sources is not None:
            raise
        # `verify` lists the damage, and finds the tensors beside it
        infos, is_whole = {}, False
    wanted = list(infos) if sources is None else list(dict.fromkeys(sources.values()))
    by_size = sorted(wanted, key=lambda name: infos[name].nbytes, reverse=True)
    values = _Values(by_size[:MOST_HISTOGRAMS] if is_whole else None)
    report = ckpt.verify(
        None if sources is None else wanted, progress=progress, on_piece=values.add
    )
    found, damaged = values.statistics.report(), _damaged_names(report)
    if not is_whole:
        infos = _find_infos(ckpt, [*found, *damaged, *report.unchecked])
        wanted = list(dict.fromkeys([*infos, *damaged]))
    maker = _RowMaker(
        infos,
        found,
        values.histograms,
        frozenset(damaged),
        frozenset(report.unchecked),
        _find_roles(ckpt) if is_whole else {},
        full_names or {},
    )
    names = {name: name for name in wanted} if sources is None else sources
    folder, title = last_part(ckpt.path)
    return Examination(
        title,
        folder,
        describe(ckpt),
        [maker.row(name, names[name]) for name in sorted(names, key=natural_key)],
        found.total,
        report if sources is None else _rename(report, sources),
        len(infos) if is_whole else None,
    )


def examine_unreadable(path: str, error: CorruptCheckpointError) -> Examination:
    """Return the examination of a checkpoint that damage prevents from being opened."""
    folder, title = last_part(path)
    report = VerifyReport((Damage(None, error),), 0, 0, ())
    return Examination(title, folder, Facts("unknown", ()), [], StatsReport({}).total, report, None)


class _Values:
    """Statistics and histograms of tensors, from their pieces.

    Attributes:
        statistics: the statistics.
        histograms: name -> histogram.
    """

    def __init__(self, counted: Iterable[str] | None) -> None:
        """
        Args:
            counted: names of the tensors that get a histogram; None for the first ones.
        """
        self.statistics = Collector()
        self.histograms: dict[str, GrowingHistogram] = {}
        self._counted = None if counted is None else frozenset(counted)
        self._growing = GrowingHistogram()

    def add(self, piece: Piece) -> None:
        """Add the next piece of a tensor, or the first one of the next tensor."""
        self.statistics.add(piece)
        if not self._is_counted(piece):
            return
        before = self._growing if piece.start else GrowingHistogram()
        self._growing = before.combine(count_elements(piece.values))
        if is_last(piece):
            self.histograms[piece.name] = self._growing

    def _is_counted(self, piece: Piece) -> bool:
        dtype = piece.values.dtype
        if not has_numbers(dtype) or dtype.kind in "bc":
            return False
        if prod(piece.shape) < LEAST_COUNTED:
            return False
        if self._counted is None:
            return len(self.histograms) < MOST_HISTOGRAMS
        return piece.name in self._counted


class _RowMaker(NamedTuple):
    """Makes the rows of tensors, by their names in the checkpoint."""

    infos: Mapping[str, TensorInfo]
    found: StatsReport
    histograms: Mapping[str, GrowingHistogram]
    damaged: Collection[str]
    unchecked: Collection[str]
    roles: Mapping[str, str]
    full_names: Mapping[str, str]

    def row(self, name: str, source: str) -> Row:
        """Return the row of a tensor.

        Args:
            name: its name on the page.
            source: its name in the checkpoint.
        """
        info = self.infos.get(source)
        state: State = "unchecked" if source in self.unchecked else "intact"
        if source in self.damaged:
            state = "damaged"
        statistics = None if state == "damaged" else self.found.get(source)
        return Row(
            name,
            self.full_names.get(source),
            "" if info is None else info.tensorflow_dtype,
            None if info is None else info.shape,
            0 if info is None else info.size,
            0 if info is None else info.nbytes,
            statistics if info is not None and has_numbers(info.dtype) else None,
            None if statistics is None else self.histograms.get(source),
            state,
            self.roles.get(source),
        )


def _find_infos(ckpt: Checkpoint, names: Iterable[str]) -> dict[str, TensorInfo]:
    """Return the metadata of tensors, as far as it is not damaged."""
    infos = {}
    for name in dict.fromkeys(names):
        try:
            infos[name] = ckpt.info(name)
        except CheckpointError:
            continue
    return infos


def _damaged_names(report: VerifyReport) -> list[str]:
    """Return the names of the damaged tensors."""
    return [damage.name for damage in report.damaged if damage.name is not None]


def _find_roles(ckpt: Checkpoint) -> Mapping[str, str]:
    """Return name -> role; {} if a graph is damaged, which the facts say."""
    try:
        return find_roles(ckpt)
    except CheckpointError:
        return {}


def _rename(report: VerifyReport, sources: Mapping[str, str]) -> VerifyReport:
    """Return a report with the names on the page in place of those in the checkpoint."""
    names = {source: name for name, source in sources.items()}
    return report._replace(
        damaged=tuple(
            damage._replace(name=names.get(damage.name or "", damage.name))
            for damage in report.damaged
        ),
        unchecked=tuple(names.get(name, name) for name in report.unchecked),
    )
