"""Read many small ranges of a source with few requests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ckptparse.sources.base import Source

_MOST_NBYTES = 1 << 24
"""Ranges are not merged to more than 16 MiB."""

_BATCH_NBYTES = 1 << 25
"""The ranges that are requested together have at most 32 MiB."""

Range = tuple[int, int]
"""Start and stop, in bytes."""


def merge_ranges(ranges: Iterable[Range], most_gap: int, most_nbytes: int) -> list[Range]:
    """Merge ranges that overlap or are near each other, and return the results in order.

    Args:
        ranges: ranges in any order, which may overlap.
        most_gap: the maximum number of bytes between two ranges that are merged.
        most_nbytes: the maximum size of a merged range; ranges that overlap are always merged.
    """
    merged: list[Range] = []
    for start, stop in sorted(ranges):
        if merged:
            first, last = merged[-1]
            overlaps = start < last
            if overlaps or (start - last <= most_gap and stop - first <= most_nbytes):
                merged[-1] = first, max(stop, last)
                continue
        merged.append((start, stop))
    return merged


def _batches(ranges: list[Range]) -> Iterator[list[Range]]:
    """Yield the ranges in groups of up to 32 MiB; a group is in memory as a whole."""
    batch: list[Range] = []
    nbytes = 0
    for start, stop in ranges:
        if batch and nbytes + stop - start > _BATCH_NBYTES:
            yield batch
            batch, nbytes = [], 0
        batch.append((start, stop))
        nbytes += stop - start
    if batch:
        yield batch


class PrefetchedSource:
    """A source that has some of its ranges in memory."""

    mapped = False

    def __init__(self, source: Source, ranges: Iterable[Range]) -> None:
        """Read the ranges, in few requests.

        Raises:
            CheckpointError: as `Source.read`.
        """
        self.name = source.name
        self.nbytes = source.nbytes
        self.request_nbytes = source.request_nbytes
        self.is_inflated: bool = getattr(source, "is_inflated", False)
        self._source = source
        self._contents: dict[Range, bytes] = {}
        wanted = sorted(set(ranges))
        left = iter(wanted)
        each = next(left, None)
        for batch in _batches(merge_ranges(wanted, source.request_nbytes, _MOST_NBYTES)):
            for (first, last), contents in zip(batch, source.read_ranges(batch)):
                while each is not None and each[1] <= last:
                    start, stop = each
                    self._contents[each] = bytes(contents[start - first : stop - first])
                    each = next(left, None)

    def holds(self, start: int, stop: int) -> bool:
        """Return whether exactly this range is in memory."""
        return (start, stop) in self._contents

    def read(self, start: int, stop: int) -> bytes | memoryview:
        contents = self._contents.get((start, stop))
        return self._source.read(start, stop) if contents is None else contents

    def read_ranges(self, ranges: Sequence[Range]) -> list[bytes | memoryview]:
        return [self.read(start, stop) for start, stop in ranges]

    def close(self) -> None:
        self._contents.clear()
