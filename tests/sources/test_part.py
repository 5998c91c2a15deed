"""A range of a source as a source of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptparse.errors import TruncatedError
from ckptparse.sources import LocalFiles, MemorySource, Source
from ckptparse.sources.part import PartSource
from support.builders import CountingSource
from support.source_suite import CONTENTS, NBYTES, SourceSuite

BEFORE, AFTER = b"before", b"after it"


class PartSuite(SourceSuite):
    mapped: bool

    def make(self, path: Path) -> Source:
        contents = path.read_bytes()
        outer = path.with_name("outer")
        outer.write_bytes(BEFORE + contents + AFTER)
        source = LocalFiles(mmap=self.mapped).open(str(outer))
        return PartSource(source, len(BEFORE), len(BEFORE) + len(contents), str(path))


class TestMappedPart(PartSuite):
    mapped = True

    def test_it_gives_views(self, source: Source) -> None:
        assert source.mapped
        assert isinstance(source.read(0, NBYTES), memoryview)


class TestCopiedPart(PartSuite):
    mapped = False

    def test_it_gives_copies(self, source: Source) -> None:
        assert not source.mapped
        assert isinstance(source.read(0, NBYTES), bytes)


def test_ranges_are_passed_on_in_one_call() -> None:
    outer = CountingSource(CONTENTS, request_nbytes=77)
    part = PartSource(outer, 10, 500, "part")
    assert part.request_nbytes == 77
    assert [bytes(each) for each in part.read_ranges([(5, 9), (0, 2)])] == [
        CONTENTS[15:19],
        CONTENTS[10:12],
    ]
    assert outer.reads == [(15, 19), (10, 12)]
    with pytest.raises(TruncatedError, match="part, byte 480"):
        part.read_ranges([(0, 2), (480, 491)])
    assert len(outer.reads) == 2


def test_closing_a_part_leaves_the_rest_open() -> None:
    outer = MemorySource("outer", CONTENTS)
    first, second = PartSource(outer, 0, 5, "first"), PartSource(outer, 5, 9, "second")
    first.close()
    with pytest.raises(ValueError, match="first"):
        first.read_ranges([(0, 1)])
    assert bytes(second.read(0, 4)) == CONTENTS[5:9]


@pytest.mark.parametrize(("start", "stop"), [(0, NBYTES + 1), (-1, 4), (5, 4)])
def test_a_part_is_inside_of_its_source(start: int, stop: int) -> None:
    with pytest.raises(TruncatedError, match="outer"):
        PartSource(MemorySource("outer", CONTENTS), start, stop, "part")
