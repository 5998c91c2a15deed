"""What listing a large frozen graph costs: requests, and bytes around the constants."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from ckptparse import Checkpoint
from ckptparse.formats.frozen_graph import open_frozen_graph
from support.builders import CountingSource, bytes_field, tensor_shape, varint, varint_field
from support.constants import const, graph, node, tensor

MATRIX_NBYTES = 1 << 26
NUM_MATRICES = 32


class SparseSource:
    """A graph of 2 GiB in which only the metadata is in memory; all other bytes are zero."""

    mapped = False
    name = "graph.pb"

    def __init__(self, request_nbytes: int, small_nodes: int) -> None:
        self.request_nbytes = request_nbytes
        self.reads: list[tuple[int, int]] = []
        self.nbytes = 0
        self._chunks: list[tuple[int, bytes]] = []
        for i in range(NUM_MATRICES):
            self._add_matrix(b"layer_%d/kernel" % i)
            small = graph(*[node(b"layer_%d/op_%d" % (i, k), b"Relu") for k in range(small_nodes)])
            self._add(small)

    def _add(self, chunk: bytes) -> None:
        self._chunks.append((self.nbytes, chunk))
        self.nbytes += len(chunk)

    def _add_matrix(self, name: bytes) -> None:
        """Add a constant whose content is not in memory."""
        metadata = varint_field(1, 1) + bytes_field(2, tensor_shape([MATRIX_NBYTES // 256, 64]))
        head = metadata + varint(4 << 3 | 2) + varint(MATRIX_NBYTES)
        for number, before in ((8, b""), (2, bytes_field(1, b"value")), (5, b"")):
            head = before + varint(number << 3 | 2) + varint(len(head) + MATRIX_NBYTES) + head
        head = bytes_field(1, name) + bytes_field(2, b"Const") + head
        self._add(varint(1 << 3 | 2) + varint(len(head) + MATRIX_NBYTES) + head)
        self.nbytes += MATRIX_NBYTES

    def read(self, start: int, stop: int) -> bytes:
        assert 0 <= start <= stop <= self.nbytes
        self.reads.append((start, stop))
        contents = bytearray(stop - start)
        for first, chunk in self._chunks:
            low, high = max(start, first), min(stop, first + len(chunk))
            if low < high:
                contents[low - start : high - start] = chunk[low - first : high - first]
        return bytes(contents)

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes | memoryview]:
        return [self.read(start, stop) for start, stop in ranges]

    def close(self) -> None:
        pass


@pytest.mark.parametrize("small_nodes", [0, 10, 1000])
@pytest.mark.parametrize("request_nbytes", [1 << 13, 1 << 18])
def test_listing_two_gigabytes_reads_what_is_around_the_constants(
    request_nbytes: int, small_nodes: int
) -> None:
    source = SparseSource(request_nbytes, small_nodes)
    assert source.nbytes > 2 << 30
    with Checkpoint(open_frozen_graph(source, verify=True)) as ckpt:
        assert len(ckpt) == NUM_MATRICES
        assert {info.shape for info in ckpt.infos()} == {(MATRIX_NBYTES // 256, 64)}
        metadata_nbytes = source.nbytes - NUM_MATRICES * MATRIX_NBYTES
        assert nbytes_of(source.reads) <= metadata_nbytes + (2 * NUM_MATRICES + 4) * request_nbytes
        windows = metadata_nbytes // request_nbytes + 2 * NUM_MATRICES + 4
        assert len(source.reads) <= windows
        source.reads.clear()
        assert not ckpt.read("layer_7/kernel", np.s_[1000:1002]).any()
        assert nbytes_of(source.reads) == 2 * 64 * 4


def nbytes_of(reads: list[tuple[int, int]]) -> int:
    return sum(stop - start for start, stop in reads)


def test_reading_reads_the_constant_only() -> None:
    values = np.arange(50_000, dtype="<f4")
    ints = bytes_field(7, b"\1" * 50_000)
    contents = graph(
        const(b"a", tensor(1, [50_000], values.tobytes())),
        const(b"b", tensor(3, [50_000], b"", ints)),
    )
    source = CountingSource(contents, request_nbytes=1 << 12)
    with Checkpoint(open_frozen_graph(source, verify=True)) as ckpt:
        assert nbytes_of(source.reads) < 20_000
        source.reads.clear()
        assert np.array_equal(ckpt["a"], values)
        assert nbytes_of(source.reads) == values.nbytes
        source.reads.clear()
        assert ckpt["b"].all()
        assert nbytes_of(source.reads) < 50_000 + 100
