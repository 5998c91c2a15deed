"""Tests of what every source of bytes promises."""

from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ckptparse.errors import TruncatedError
from ckptparse.sources import Source
from support.counting import DESCRIPTORS, num_descriptors

CONTENTS = bytes(range(256)) * 40
NBYTES = len(CONTENTS)


class SourceSuite:
    """Tests of what every source promises.  A subclass creates its source in `make`."""

    def make(self, path: Path) -> Source:
        """The source over the bytes of a file."""
        raise NotImplementedError

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "shard"
        path.write_bytes(CONTENTS)
        return path

    @pytest.fixture
    def source(self, path: Path) -> Source:
        return self.make(path)

    def test_it_knows_its_name_and_size(self, source: Source, path: Path) -> None:
        assert (source.name, source.nbytes) == (str(path), NBYTES)

    @pytest.mark.parametrize(
        ("start", "stop"),
        [
            (0, NBYTES),
            (0, 1),
            (NBYTES - 1, NBYTES),
            (17, 4099),
            (4095, 4097),
            (4096, 8192),
        ],
    )
    def test_read_gives_exactly_the_range(self, source: Source, start: int, stop: int) -> None:
        part = source.read(start, stop)
        assert len(part) == stop - start
        assert bytes(part) == CONTENTS[start:stop]

    @pytest.mark.parametrize("at", [0, 1, 4096, NBYTES])
    def test_an_empty_range_inside_the_file_is_empty(self, source: Source, at: int) -> None:
        assert bytes(source.read(at, at)) == b""

    @pytest.mark.parametrize(
        ("start", "stop"),
        [
            (0, NBYTES + 1),
            (NBYTES, NBYTES + 1),
            (NBYTES + 1, NBYTES + 1),
            (NBYTES + 1, NBYTES + 2),
            (2**40, 2**40 + 8),
            (0, 2**63),
            (2**64 - 8, 2**64),
            (-1, 4),
            (-4, -1),
            (-4, 0),
            (5, 4),
            (NBYTES, 0),
        ],
    )
    def test_a_range_not_inside_the_file_is_truncated(
        self, source: Source, start: int, stop: int
    ) -> None:
        with pytest.raises(TruncatedError) as error:
            source.read(start, stop)
        assert error.value.file == source.name
        assert error.value.offset == start
        assert error.value.found == f"a file of {NBYTES} bytes"
        assert str(stop) in str(error.value.expected)

    def test_results_cannot_be_written_to(self, source: Source) -> None:
        part = source.read(3, 50)
        assert memoryview(part).readonly
        assert not np.frombuffer(part, np.uint8).flags.writeable
        with pytest.raises(TypeError):
            part[0] = 1

    def test_results_stay_valid_after_close_and_without_the_source(self, path: Path) -> None:
        source = self.make(path)
        part = source.read(100, 9000)
        array = np.frombuffer(source.read(0, NBYTES), np.uint8)
        source.close()
        del source
        gc.collect()
        assert bytes(part) == CONTENTS[100:9000]
        assert array.tobytes() == CONTENTS

    def test_reading_after_close_is_an_error(self, source: Source) -> None:
        source.close()
        with pytest.raises(ValueError):
            source.read(0, 1)

    def test_closing_twice_is_closing_once(self, source: Source) -> None:
        source.close()
        source.close()

    def test_an_empty_file_has_an_empty_range_and_no_other(self, path: Path) -> None:
        path.write_bytes(b"")
        source = self.make(path)
        assert source.nbytes == 0
        assert bytes(source.read(0, 0)) == b""
        with pytest.raises(TruncatedError, match="found: a file of 0 bytes"):
            source.read(0, 1)
        source.close()

    def test_many_threads_read_at_once(self, source: Source) -> None:
        barrier = threading.Barrier(8)

        def read_own(i: int) -> bool:
            barrier.wait()
            ranges = [((i * 997 + k * 31) % 5000, 5000 + (k * 53) % 5000) for k in range(200)]
            return all(bytes(source.read(a, b)) == CONTENTS[a:b] for a, b in ranges)

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(read_own, range(8))) == [True] * 8

    def test_closing_while_threads_read_gives_right_bytes_or_an_error(self, path: Path) -> None:
        source = self.make(path)
        started = threading.Barrier(5)

        def read_until_closed(_: int) -> int:
            started.wait()
            count = 0
            while True:
                try:
                    part = bytes(source.read(1000, 9000))
                except ValueError:
                    return count
                assert part == CONTENTS[1000:9000]
                count += 1

        with ThreadPoolExecutor(4) as pool:
            counts = pool.map(read_until_closed, range(4))
            started.wait()
            source.close()
            assert all(count >= 0 for count in counts)

    @pytest.mark.skipif(not DESCRIPTORS.exists(), reason="counts descriptors in /proc")
    def test_descriptors_are_given_back(self, path: Path) -> None:
        before = num_descriptors()
        for _ in range(20):
            source = self.make(path)
            source.read(0, 10)
            source.close()
        del source
        for _ in range(20):
            self.make(path)  # never closed
        assert num_descriptors() == before
