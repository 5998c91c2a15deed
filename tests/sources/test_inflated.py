"""Random access to compressed streams."""

from __future__ import annotations

import gzip
import os
import random
import zlib
from pathlib import Path

import pytest

import ckptparse.sources.inflated as inflated
from ckptparse.errors import (
    CheckpointError,
    ChecksumError,
    CorruptCheckpointError,
    TruncatedError,
)
from ckptparse.limits import MAX_DEFLATE_RATIO
from ckptparse.sources import MemorySource, Source
from ckptparse.sources.inflated import GZIP, RAW, InflatedSource
from support.builders import CountingSource
from support.children import output_of
from support.source_suite import SourceSuite

WORDS = random.Random(1).randbytes(9_000) + bytes(20_000) + b"weights" * 3_000
"""50,000 bytes, some of which compress well."""

BEFORE = b"what precedes the stream"


def deflate(contents: bytes, wbits: int = RAW) -> bytes:
    compressor = zlib.compressobj(wbits=wbits)
    return compressor.compress(contents) + compressor.flush()


def inflate(
    stream: bytes, nbytes: int | None, wbits: int = RAW, crc32: int | None = None
) -> InflatedSource:
    outer = MemorySource("outer", BEFORE + stream + b"after")
    start = len(BEFORE)
    return InflatedSource(
        outer, start, start + len(stream), nbytes, "inner", wbits=wbits, crc32=crc32
    )


@pytest.fixture
def _small_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflated, "_SPAN_NBYTES", 1_000)
    monkeypatch.setattr(inflated, "_MOST_SNAPSHOTS", 8)
    monkeypatch.setattr(inflated, "_FED_NBYTES", 700)
    monkeypatch.setattr(inflated, "_LEAST_INPUT_NBYTES", 1_600)


class InflatedSuite(SourceSuite):
    def make(self, path: Path) -> Source:
        contents = path.read_bytes()
        outer = MemorySource("outer", deflate(contents))
        return InflatedSource(
            outer,
            0,
            outer.nbytes,
            len(contents),
            str(path),
            wbits=RAW,
            crc32=zlib.crc32(contents),
        )


class TestInflatedSource(InflatedSuite):
    pass


@pytest.mark.usefixtures("_small_spans")
class TestInflatedSourceOfManySpans(InflatedSuite):
    pass


@pytest.mark.usefixtures("_small_spans")
@pytest.mark.parametrize("wbits", [RAW, GZIP])
@pytest.mark.parametrize("is_size_known", [True, False])
def test_any_range_is_right(wbits: int, is_size_known: bool) -> None:
    source = inflate(deflate(WORDS, wbits), len(WORDS) if is_size_known else None, wbits)
    rng = random.Random(2)
    for _ in range(300):
        start = rng.randrange(len(WORDS))
        stop = min(start + rng.choice([1, 50, 999, 1_000, 1_001, 30_000]), len(WORDS))
        assert bytes(source.read(start, stop)) == WORDS[start:stop]
    ranges = [(40_000, 41_000), (0, 5), (40_000, 41_000), (700, 1_500)]
    assert [bytes(each) for each in source.read_ranges(ranges)] == [WORDS[a:b] for a, b in ranges]


class CountingDecompressor:
    """Counts the bytes that zlib inflates."""

    total = 0

    def __init__(self, wrapped: object) -> None:
        self._wrapped = wrapped

    def decompress(self, fed: bytes, most: int) -> bytes:
        piece = self._wrapped.decompress(fed, most)
        type(self).total += len(piece)
        return piece

    def copy(self) -> CountingDecompressor:
        return CountingDecompressor(self._wrapped.copy())

    def __getattr__(self, name: str) -> object:
        return getattr(self._wrapped, name)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> type[CountingDecompressor]:
    make = zlib.decompressobj
    monkeypatch.setattr(zlib, "decompressobj", lambda wbits: CountingDecompressor(make(wbits)))
    CountingDecompressor.total = 0
    return CountingDecompressor


@pytest.mark.usefixtures("_small_spans")
@pytest.mark.parametrize("step", [1, 333, 1_000, 4_096, 50_000])
def test_reads_in_order_inflate_each_byte_once(
    step: int, counted: type[CountingDecompressor]
) -> None:
    source = inflate(deflate(WORDS), len(WORDS))
    for start in range(0, len(WORDS), step):
        source.read(start, min(start + step, len(WORDS)))
    assert counted.total == len(WORDS)


@pytest.mark.usefixtures("_small_spans")
def test_any_other_read_inflates_one_span_more(counted: type[CountingDecompressor]) -> None:
    source = inflate(deflate(WORDS), len(WORDS))
    source.read(0, len(WORDS))
    span_nbytes = source._span_nbytes
    assert span_nbytes == 8_000
    for start in (3, 49_000, 25_000, 24_990, 100):
        counted.total = 0
        source.read(start, start + 10)
        assert counted.total <= span_nbytes


@pytest.mark.usefixtures("_small_spans")
def test_snapshots_are_bounded() -> None:
    source = inflate(deflate(WORDS), len(WORDS))
    most = 0
    for start in range(0, len(WORDS), 100):
        source.read(start, start + 100)
        most = max(most, len(source._snapshots))
    assert most == inflated._MOST_SNAPSHOTS + 1


def test_compressed_bytes_are_read_once_and_in_large_requests() -> None:
    contents = random.Random(3).randbytes(1 << 20)
    stream = deflate(contents)
    outer = CountingSource(stream, request_nbytes=1 << 16)
    source = InflatedSource(outer, 0, len(stream), len(contents), "inner", wbits=RAW)
    for start in range(0, 1 << 20, 1 << 12):
        source.read(start, start + (1 << 12))
    assert sum(stop - start for start, stop in outer.reads) == len(stream)
    assert len(outer.reads) == 5


def test_an_unknown_size_is_known_at_the_end() -> None:
    source = inflate(deflate(WORDS, GZIP), None, GZIP)
    assert source.nbytes >= len(WORDS)
    source.read(0, 10)
    with pytest.raises(TruncatedError, match=f"a file of {len(WORDS)} bytes"):
        source.read(100, len(WORDS) + 1)
    assert source.nbytes == len(WORDS)
    source = inflate(deflate(WORDS, GZIP), None, GZIP)
    source.read_to_end()
    assert source.nbytes == len(WORDS)
    source.read_to_end()


@pytest.mark.parametrize("contents", [b"", b"x", bytes(1 << 20), bytes((1 << 20) + 1)], ids=len)
def test_sizes_around_a_span(contents: bytes) -> None:
    source = inflate(deflate(contents, GZIP), None, GZIP)
    source.read_to_end()
    assert source.nbytes == len(contents)
    assert bytes(source.read(0, len(contents))) == contents


def test_gzip_streams_one_after_another() -> None:
    whole = b"".join(map(gzip.compress, (b"one", b"", WORDS, b"two")))
    source = inflate(whole, None, GZIP)
    source.read_to_end()
    assert bytes(source.read(0, source.nbytes)) == b"one" + WORDS + b"two"


STREAM = deflate(WORDS)


@pytest.mark.parametrize(
    ("stream", "nbytes", "crc32", "error_class", "text"),
    [
        (STREAM[:-1], len(WORDS), None, TruncatedError, "cut off"),
        (STREAM[:5_000], len(WORDS), None, TruncatedError, "cut off"),
        (b"", 0, None, None, ""),
        (STREAM + b"x", len(WORDS), None, CorruptCheckpointError, "shorter than declared"),
        (STREAM, len(WORDS) - 1, None, CorruptCheckpointError, "more than 49999 bytes"),
        (STREAM, len(WORDS) + 1, None, CorruptCheckpointError, "found: 50000 bytes"),
        (STREAM, len(WORDS), 5, ChecksumError, "00000005"),
        (b"\x07" + STREAM[1:], len(WORDS), None, CorruptCheckpointError, "invalid block type"),
    ],
    ids=["last byte", "half", "empty", "goes on", "larger", "smaller", "crc", "block type"],
)
def test_damage(
    stream: bytes,
    nbytes: int,
    crc32: int | None,
    error_class: type[CheckpointError] | None,
    text: str,
) -> None:
    source = inflate(stream, nbytes, crc32=crc32)
    if error_class is None:
        assert source.read(0, 0) == b""
        return
    for _ in range(2):
        with pytest.raises(error_class, match=text) as raised:
            source.read(0, nbytes)
        assert raised.value.file == "inner"


GZIP_STREAM = deflate(WORDS, GZIP)


@pytest.mark.parametrize(
    ("stream", "error_class"),
    [
        (GZIP_STREAM[:-1], TruncatedError),
        (GZIP_STREAM[:-8], TruncatedError),
        (GZIP_STREAM[:-8] + bytes(8), ChecksumError),
        (GZIP_STREAM[:-4] + bytes(4), ChecksumError),
        (GZIP_STREAM + b"more", CorruptCheckpointError),
        (GZIP_STREAM + b"\x1f\x8b", TruncatedError),
        (b"\x1f\x8b\x09" + GZIP_STREAM[3:], CorruptCheckpointError),
        (b"", TruncatedError),
    ],
    ids=["last byte", "trailer", "crc", "size", "goes on", "second", "method", "nothing"],
)
def test_damage_of_gzip(stream: bytes, error_class: type[CheckpointError]) -> None:
    source = inflate(stream, None, GZIP)
    for _ in range(2):
        with pytest.raises(error_class):
            source.read_to_end()


@pytest.mark.parametrize("nbytes", [10 * MAX_DEFLATE_RATIO + 1, 1 << 62])
def test_a_size_that_deflate_cannot_reach_is_refused(nbytes: int) -> None:
    with pytest.raises(CorruptCheckpointError, match="at most 10320 bytes, 1032 times 10 bytes"):
        inflate(bytes(10), nbytes)


def test_the_largest_ratio_of_deflate_is_allowed() -> None:
    nbytes = 100 << 20
    stream = zlib.compressobj(9, wbits=RAW)
    zeros = bytes(1 << 20)
    compressed = b"".join(stream.compress(zeros) for _ in range(100)) + stream.flush()
    assert 1028 < nbytes / len(compressed) < MAX_DEFLATE_RATIO
    source = inflate(compressed, nbytes)
    assert bytes(source.read(nbytes - 5, nbytes)) == bytes(5)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_process_reads_while_a_thread_of_its_parent_does() -> None:
    code = """
        import os, threading, zlib
        from ckptparse.sources import MemorySource
        from ckptparse.sources.inflated import GZIP, InflatedSource

        contents = os.urandom(3 << 20)
        compressor = zlib.compressobj(wbits=GZIP)
        stream = compressor.compress(contents) + compressor.flush()
        outer = MemorySource("outer", stream)
        source = InflatedSource(outer, 0, len(stream), len(contents), "inner", wbits=GZIP)
        source.read(0, 2 << 20)
        is_locked, may_end = threading.Event(), threading.Event()

        def hold():
            with source._lock:
                is_locked.set()
                may_end.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        is_locked.wait()
        child = os.fork()
        if child == 0:
            os._exit(0 if source.read(100, 1 << 21) == contents[100 : 1 << 21] else 1)
        may_end.set()
        thread.join()
        print(os.waitpid(child, 0)[1])
    """
    assert output_of(code) == ["0"]
