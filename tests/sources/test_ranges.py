"""Ranges that are merged into few requests."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptparse import TruncatedError
from ckptparse.sources.ranges import PrefetchedSource, merge_ranges
from support.builders import CountingSource

RANGES = st.lists(
    st.tuples(st.integers(0, 300), st.integers(1, 50)).map(lambda r: (r[0], r[0] + r[1])),
    max_size=30,
)
CONTENTS = bytes(i * 7 % 251 for i in range(400))
MIB = 1 << 20


def bytes_of(ranges: list[tuple[int, int]]) -> set[int]:
    return {i for start, stop in ranges for i in range(start, stop)}


@given(RANGES, st.integers(0, 60), st.integers(1, 200))
def test_merged_ranges(ranges: list[tuple[int, int]], gap: int, most: int) -> None:
    merged = merge_ranges(ranges, gap, most)
    assert merged == sorted(merged)
    for start, stop in ranges:
        assert any(first <= start and stop <= last for first, last in merged)
    for (first, last), (start, stop) in pairwise(merged):
        assert start >= last, "no byte is read twice"
        assert start - last > gap or stop - first > min(most, stop - first - 1)
    wanted = bytes_of(ranges)
    for first, last in merged:
        assert {first, last - 1} <= wanted
        inside = sorted(i for i in wanted if first <= i < last)
        assert all(after - before - 1 <= gap for before, after in pairwise(inside))
    assert merge_ranges(reversed(ranges), gap, most) == merged
    assert merge_ranges([*ranges, *ranges], gap, most) == merged
    assert len(merged) <= max(len(ranges), 0)


@pytest.mark.parametrize(
    ("ranges", "merged"),
    [
        ([], []),
        ([(5, 5)], [(5, 5)]),
        ([(0, 10), (10, 20)], [(0, 20)]),
        ([(0, 10), (15, 20)], [(0, 20)]),
        ([(0, 10), (16, 20)], [(0, 10), (16, 20)]),
        ([(0, 60), (60, 100)], [(0, 100)]),
        ([(0, 60), (60, 101)], [(0, 60), (60, 101)]),
        ([(0, 60), (59, 101)], [(0, 101)]),
        ([(0, 200)], [(0, 200)]),
        ([(0, 200), (50, 60)], [(0, 200)]),
    ],
    ids=str,
)
def test_gaps_of_5_and_ranges_of_100(
    ranges: list[tuple[int, int]], merged: list[tuple[int, int]]
) -> None:
    assert merge_ranges(ranges, 5, 100) == merged


@given(RANGES, st.integers(0, 60))
def test_what_was_fetched_is_read_without_a_request(
    ranges: list[tuple[int, int]], gap: int
) -> None:
    source = CountingSource(CONTENTS, request_nbytes=gap)
    fetched = PrefetchedSource(source, ranges)
    assert sum(stop - start for start, stop in source.reads) <= len(CONTENTS) + 1
    source.reads.clear()
    for start, stop in ranges:
        assert fetched.read(start, stop) == CONTENTS[start:stop]
    assert [bytes(each) for each in fetched.read_ranges(ranges)] == [
        CONTENTS[start:stop] for start, stop in ranges
    ]
    assert source.reads == []
    assert fetched.read(1, 399) == CONTENTS[1:399]
    assert source.reads == [(1, 399)]


def test_large_ranges_are_not_joined() -> None:
    source = CountingSource(bytes(40 * MIB), request_nbytes=MIB)
    PrefetchedSource(source, [(i * 5 * MIB, (i + 1) * 5 * MIB) for i in range(8)])
    assert source.reads == [(0, 15 * MIB), (15 * MIB, 30 * MIB), (30 * MIB, 40 * MIB)]


def test_errors_are_those_of_the_source() -> None:
    class Short(CountingSource):
        def read(self, start: int, stop: int) -> bytes:
            raise TruncatedError("it ends")

    with pytest.raises(TruncatedError, match="it ends"):
        PrefetchedSource(Short(CONTENTS), [(0, 10)])
