"""How many byte ranges of a storage each way to read many tensors asks for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from ckptparse import UnreadableError, average, open_checkpoint, save_checkpoint
from support.counting_files import CountingFiles, counted

NUM_TENSORS = 4200
WINDOW = 4096
"""So many small tensors are prefetched at a time."""
MIB = 1 << 20

Requests = list[tuple[str, int, int]]


def files_of(folder: Path, tensors: Any, **options: Any) -> dict[str, bytes]:
    save_checkpoint(folder / "m", tensors, sync=False, **options)
    return {path.name: path.read_bytes() for path in folder.glob("m.*")}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """4,200 scalars, stored in the opposite order of their names."""
    tensors = [(f"t{i:05}", np.float32(i)) for i in reversed(range(NUM_TENSORS))]
    return files_of(tmp_path_factory.mktemp("small"), tensors)


def of_data(requests: Requests) -> list[tuple[int, int]]:
    return [(start, nbytes) for path, start, nbytes in requests if ".data" in path]


READERS: dict[str, Callable[[Any, Path], int]] = {
    "items": lambda ckpt, _: len(list(ckpt.items())),
    "values": lambda ckpt, _: len(list(ckpt.values())),
    "read_each": lambda ckpt, _: len(list(ckpt.read_each(list(ckpt)))),
    "read_pieces": lambda ckpt, _: len(list(ckpt.read_pieces(list(ckpt)))),
    "verify": lambda ckpt, _: ckpt.verify().num_tensors,
    "select": lambda ckpt, _: len(list(ckpt.select(include="*").items())),
    "average": lambda ckpt, _: len(list(average([ckpt, ckpt]).items())) * 2,
    "save_checkpoint": lambda ckpt, folder: len(
        open_checkpoint(save_checkpoint(folder / "copy", ckpt, sync=False))
    ),
}


@pytest.mark.parametrize("verify", [True, False], ids=["verify", "no checksums"])
@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_many_small_tensors(
    small: dict[str, bytes], tmp_path: Path, read: Callable[[Any, Path], int], verify: bool
) -> None:
    """Two windows of tensors; each is one range of the data file, without a byte between."""
    with counted(small) as requests, open_checkpoint("counted://m", verify=verify) as ckpt:
        opening = len(requests)
        num_read = read(ckpt, tmp_path)
        passes, rest = divmod(num_read, NUM_TENSORS)
        assert rest == 0
        nbytes = 4 * WINDOW, 4 * (NUM_TENSORS - WINDOW)
        windows = [(nbytes[1], nbytes[0]), (0, nbytes[1])]
        assert sorted(of_data(requests)) == sorted(windows * passes)
        assert opening == 3
        assert len(requests) <= opening + 2 * passes + 1  # verifying reads the index again


def test_order_and_values(small: dict[str, bytes]) -> None:
    with counted(small), open_checkpoint("counted://m") as ckpt:
        assert [(name, int(array)) for name, array in ckpt.items()] == [
            (f"t{i:05}", i) for i in range(NUM_TENSORS)
        ]
        some = ["t04000", "t00001", "t02000"]
        assert [(name, int(array)) for name, array in ckpt.read_each(some)] == [
            ("t04000", 4000),
            ("t00001", 1),
            ("t02000", 2000),
        ]


def test_a_loop_that_ends_early_reads_one_window(small: dict[str, bytes]) -> None:
    with counted(small) as requests, open_checkpoint("counted://m") as ckpt:
        next(iter(ckpt.items()))
        assert len(of_data(requests)) == 1


def test_neighbours_of_a_gap(tmp_path: Path) -> None:
    """A gap of up to 256 KiB is read, as that is cheaper than a request; a larger one is not."""
    sizes = {"a": 100, "b": 200_000, "c": 100, "d": 300_000, "e": 100}
    tensors = {name: np.zeros(size, "u1") for name, size in sizes.items()}
    with counted(files_of(tmp_path, tensors)) as requests:
        with open_checkpoint("counted://m") as ckpt:
            assert len(dict(ckpt.read_each(["a", "c", "e"]))) == 3
        assert of_data(requests) == [(0, 200_200), (500_200, 100)]


def test_an_error_comes_at_its_tensor(small: dict[str, bytes]) -> None:
    """A request of many tensors fails; those that can be read alone are."""
    with counted(small) as requests, open_checkpoint("counted://m") as ckpt:
        place = 4 * (NUM_TENSORS - 1 - 10)  # of t00010
        real = CountingFiles.fetch

        def fetch(self: Any, path: str, start: int | None, stop: int | None) -> bytes:
            if ".data" in path and (start or 0) <= place < (stop or 0):
                requests.append((path, start or 0, 0))
                raise TimeoutError("no answer")
            return real(self, path, start, stop)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(CountingFiles, "fetch", fetch)
            read = []
            with pytest.raises(UnreadableError, match="no answer") as error:
                read.extend(int(array) for array in ckpt.values())
            assert read == list(range(10))
            assert error.value.tensor == "t00010"
            (damage,) = ckpt.verify().damaged
            assert damage.name == "t00010"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    tensors = {name: np.zeros(size, "u1") for name, size in (("a", 40 * MIB), ("b", 3 * MIB))}
    return files_of(tmp_path_factory.mktemp("large"), tensors)


class TestLarge:
    @pytest.mark.parametrize("read", READERS.values(), ids=READERS)
    def test_no_range_has_more_than_16_mib(
        self, large: dict[str, bytes], tmp_path: Path, read: Callable[[Any, Path], int]
    ) -> None:
        with counted(large) as requests, open_checkpoint("counted://m") as ckpt:
            read(ckpt, tmp_path)
            sizes = [nbytes for _, nbytes in of_data(requests)]
            assert max(sizes) <= 16 * MIB
            passes = sum(sizes) / (43 * MIB)
            assert passes in (1, 2)  # no byte twice, but by the average of two

    def test_a_single_tensor(self, large: dict[str, bytes]) -> None:
        with counted(large) as requests, open_checkpoint("counted://m") as ckpt:
            ckpt["a"]
            sizes = [(0, 16 * MIB), (16 * MIB, 16 * MIB), (32 * MIB, 8 * MIB)]
            assert of_data(requests) == sizes

    def test_pieces_are_read_one_by_one(self, large: dict[str, bytes]) -> None:
        with counted(large) as requests, open_checkpoint("counted://m") as ckpt:
            pieces = ckpt.read_pieces(["a", "b"])
            next(pieces)
            before = len(of_data(requests))
            next(pieces)
            assert len(of_data(requests)) == before + 1
            assert before <= 2  # the first piece, and b, which is small


class RangeHandler(BaseHTTPRequestHandler):
    """Serves files of a dict, whole or by ranges, as a bucket does."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        contents = self.server.contents.get(self.path.lstrip("/"))
        if contents is None:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        asked = self.headers.get("Range")
        if asked:
            first, last = asked.removeprefix("bytes=").split("-")
            start, stop = int(first), min(int(last) + 1, len(contents))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(contents)}")
        else:
            start, stop = 0, len(contents)
            self.send_response(200)
        if with_body:
            self.server.asked.append((self.path.lstrip("/"), start, stop - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        if with_body:
            self.wfile.write(contents[start:stop])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(small: dict[str, bytes]) -> Iterator[ThreadingHTTPServer]:
    pytest.importorskip("aiohttp")
    server = ThreadingHTTPServer(("127.0.0.1", 0), RangeHandler)
    server.contents, server.asked = small, []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    fsspec.filesystem("http").clear_instance_cache()
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_web_server(server: Any, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{server.server_port}/m"
    with open_checkpoint(url) as ckpt:
        server.asked.clear()
        copy = save_checkpoint(tmp_path / "copy", ckpt, sync=False)
        assert len(of_data(server.asked)) == 2
        assert len(server.asked) <= 4
        with open_checkpoint(copy) as read:
            assert [int(array) for array in read.values()] == list(range(NUM_TENSORS))
