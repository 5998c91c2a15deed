"""Checksums of ranges: each byte is read once, in pieces, by several threads."""

from __future__ import annotations

import numpy as np
import pytest

import ckptparse.sources.checksum
from ckptparse.encoding.crc32c import crc32c
from ckptparse.errors import TruncatedError
from ckptparse.sources.checksum import crc32c_of_range
from support import builders

RANDOM = np.random.default_rng(0).integers(0, 256, 10 << 20, np.uint8).tobytes()


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize(
    ("start", "nbytes"),
    [(0, 200), (3, 0), (3, 1), (0, (4 << 20) - 1), (1, 4 << 20), (7, (8 << 20) + 5), (0, 10 << 20)],
)
def test_checksum_of_a_range_is_that_of_its_bytes(mapped: bool, start: int, nbytes: int) -> None:
    source = builders.CountingSource(RANDOM, mapped)
    stop = start + nbytes
    assert crc32c_of_range(source, start, stop) == crc32c(RANDOM[start:stop])
    assert sum(b - a for a, b in source.reads) == nbytes  # each byte once
    assert sorted(b for _, b in source.reads)[:-1] == sorted(a for a, _ in source.reads)[1:]


@pytest.mark.parametrize(
    ("nbytes", "num_reads"), [(8 << 20, 4), (10 << 20, 5), ((10 << 20) - 1, 4)]
)
def test_large_ranges_are_read_in_pieces(nbytes: int, num_reads: int) -> None:
    source = builders.CountingSource(RANDOM)
    crc32c_of_range(source, 0, nbytes)
    assert len(source.reads) == num_reads
    assert max(b - a for a, b in source.reads) < 4 << 20


def test_pieces_grow_with_the_range_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ckptparse.sources.checksum, "_LEAST_PIECE_NBYTES", 16)
    monkeypatch.setattr(ckptparse.sources.checksum, "_MOST_PIECE_NBYTES", 4096)
    monkeypatch.setattr(ckptparse.sources.checksum, "_MOST_COPIED_NBYTES", 1024)
    monkeypatch.setattr(ckptparse.sources.checksum, "_LEAST_SHARED_NBYTES", 32)
    for nbytes in (31, 32, 33, 512, 513, 10_000, 131_071, 131_073, 300_000):
        for mapped, most in ((True, 4096), (False, 1024)):
            source = builders.CountingSource(RANDOM, mapped)
            assert crc32c_of_range(source, 5, 5 + nbytes) == crc32c(RANDOM[5 : 5 + nbytes])
            assert max(b - a for a, b in source.reads) < 2 * most


def test_the_error_of_any_piece_is_raised() -> None:
    class Failing(builders.CountingSource):
        def read(self, start: int, stop: int) -> bytes | memoryview:
            if start > 6 << 20:
                raise TruncatedError("gone")
            return super().read(start, stop)

    with pytest.raises(TruncatedError):
        crc32c_of_range(Failing(RANDOM), 0, len(RANDOM))
