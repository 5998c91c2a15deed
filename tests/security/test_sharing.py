"""One checkpoint shared by threads, forks and processes; arrays that outlive it."""

from __future__ import annotations

import gc
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ckptparse import (
    Checkpoint,
    CheckpointError,
    ChecksumError,
    MissingShardError,
    TruncatedError,
    open_checkpoint,
)
from ckptparse.formats.bundle.shards import Shards
from ckptparse.sources import MemorySource
from support.builders import Bundle, Partitioned, slice_key, table, write_bundle
from support.children import output_of
from support.damage import copy_case
from support.oracle import load_case, payload_of
from support.saved_slices import FLOAT, contents, record, tensor_entry

NUM_THREADS = 16
both_ways = pytest.mark.parametrize("mmap", [True, False], ids=["mmap", "pread"])

CASES = [
    "tf-1.15.5/v1_sharded",
    "tf-1.15.5/v1_strings",
    "tf-2.21.0/v1_blocks",
    "tf-2.21.0/max_shard_size",
    "tf-2.21.0/slices_dtypes",
    "tf-2.21.0/strings",
    "tf-2.21.0/snappy_index",
    "tf-2.21.0/misaligned",
]


def at_once(ask: Callable[[int], object]) -> list[object]:
    """The results of as many threads that ask at the same moment: values or errors."""
    barrier = threading.Barrier(NUM_THREADS)

    def run(i: int) -> object:
        barrier.wait()
        try:
            return ask(i)
        except Exception as error:
            return error

    with ThreadPoolExecutor(NUM_THREADS) as pool:
        return list(pool.map(run, range(NUM_THREADS)))


# Threads


@both_ways
@pytest.mark.parametrize("case_name", CASES)
def test_first_accesses_at_once_all_get_the_right_bytes(case_name: str, mmap: bool) -> None:
    case = load_case(case_name)
    with open_checkpoint(case.path, mmap=mmap) as ckpt:

        def read_all(i: int) -> object:
            turned = [*case.tensors[i:], *case.tensors[:i]]  # each begins elsewhere
            wrong = [t.name for t in turned if payload_of(ckpt[t.name]) != t.payload]
            return wrong, list(ckpt)

        names = [tensor.name for tensor in case.tensors]
        assert at_once(read_all) == [([], names)] * NUM_THREADS


def write_damaged_v1(folder: Path) -> Path:
    """`x` in a block with a wrong checksum."""
    values = record(b"\x2a\x10" + np.arange(4, dtype="<f4").tobytes())
    blocks = (
        [(b"", contents(tensor_entry(b"x", (4,), FLOAT, [[None]])))],
        [(slice_key(b"x", [None]), values)],
    )
    path = folder / "v1.ckpt"
    path.write_bytes(table(*blocks, crc_xors={1: 1}))
    return path


def write_damaged_v2(folder: Path, tensor: object) -> Path:
    """`x` with a wrong last byte."""

    def damage(bundle: Bundle) -> None:
        bundle.shards[0][-1] ^= 1

    return write_bundle(folder, {"x": tensor}, edit=damage)


HALVES = Partitioned(np.arange(40_000, dtype="f4"), [[(0, 20_000)], [(20_000, 20_000)]])
DAMAGED: dict[str, Callable[[Path], Path]] = {
    "v1": write_damaged_v1,
    "numbers": lambda folder: write_damaged_v2(folder, np.arange(40_000, dtype="f4")),
    "slices": lambda folder: write_damaged_v2(folder, HALVES),
    "strings": lambda folder: write_damaged_v2(folder, [b"ab", b"cde"]),
}


@both_ways
@pytest.mark.parametrize("kind", DAMAGED)
def test_first_accesses_to_damage_all_get_the_error(tmp_path: Path, kind: str, mmap: bool) -> None:
    """No thread gets an array while another one is still checking it."""
    prefix = DAMAGED[kind](tmp_path)
    for _ in range(5):
        with open_checkpoint(prefix, mmap=mmap) as ckpt:
            answers = at_once(lambda i: ckpt["x"] if i % 2 else ckpt.read("x", -1))
            answers += at_once(lambda i: ckpt["x"])
        assert {type(answer) for answer in answers} == {ChecksumError}
        assert {answer.tensor for answer in answers} == {"x"}
        assert len({answer.file for answer in answers}) == 1


@both_ways
def test_a_missing_shard_is_missing_for_all(tmp_path: Path, mmap: bool) -> None:
    prefix = write_bundle(tmp_path, {"x": HALVES}, num_shards=2)
    gone = Path(f"{prefix}.data-00001-of-00002")
    gone.unlink()
    with open_checkpoint(prefix, mmap=mmap) as ckpt:
        answers = at_once(lambda i: ckpt["x"])
    assert {(type(answer), answer.file) for answer in answers} == {(MissingShardError, str(gone))}


@pytest.mark.skipif(os.name == "nt", reason="Windows does not shorten a mapped file")
@both_ways
def test_a_file_that_is_shortened_under_threads(tmp_path: Path, mmap: bool) -> None:
    prefix = write_bundle(tmp_path, {"x": HALVES})
    with open_checkpoint(prefix, mmap=mmap) as ckpt:
        ckpt["x"]
        os.truncate(f"{prefix}.data-00000-of-00001", 8)
        assert {type(answer) for answer in at_once(lambda i: ckpt["x"])} == {TruncatedError}


@both_ways
def test_reports_of_threads_are_whole(tmp_path: Path, mmap: bool) -> None:
    prefix = write_damaged_v2(tmp_path, HALVES)
    with open_checkpoint(prefix, mmap=mmap) as ckpt:
        reports = at_once(lambda i: [damage.name for damage in ckpt.verify().damaged])
    assert reports == [["x"]] * NUM_THREADS


@both_ways
@pytest.mark.parametrize("case_name", CASES)
def test_closing_while_threads_read(case_name: str, mmap: bool) -> None:
    case = load_case(case_name)
    ckpt = open_checkpoint(case.path, mmap=mmap)

    def read_or_close(i: int) -> object:
        if i == 0:
            return ckpt.close()
        for tensor in case.tensors:
            try:
                array = ckpt[tensor.name]
            except ValueError as error:
                is_closed = "closed" in str(error) and not isinstance(error, CheckpointError)
                return None if is_closed else error
            assert payload_of(array) == tensor.payload
        return None

    assert at_once(read_or_close) == [None] * NUM_THREADS


def test_closing_while_another_data_file_is_opened() -> None:
    """No file is opened after closing; one that was about to be opened is closed, too."""

    class OpensAnother(MemorySource):
        def close(self) -> None:
            if self.name.startswith("m.data-00000"):
                with pytest.raises(ValueError, match="the checkpoint m is closed"):
                    shards.source(1)  # what a thread may do at this very moment
            super().close()

    def open_slowly(path: str, kept: bool) -> MemorySource:
        if path.startswith("m.data-00002"):
            shards.close()
        return OpensAnother(path, b"")

    shards = Shards("m", 3, open_slowly)
    first = shards.source(0)
    last = shards.source(2)
    for source in (first, last):
        with pytest.raises(ValueError, match="closed file"):
            source.read(0, 0)


# Processes


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@both_ways
def test_a_fork_while_other_threads_read(mmap: bool) -> None:
    """Run in a child, because newer Pythons warn when a process with threads forks."""
    code = """
        import os, sys, threading, warnings
        from support.oracle import load_case, payload_of
        from ckptparse import open_checkpoint
        warnings.simplefilter("ignore", DeprecationWarning)

        def is_right():
            return all(payload_of(ckpt[t.name]) == t.payload for t in case.tensors)

        def read_on():
            while True:
                wrong.append(not is_right())
                if stop.is_set():
                    return

        for name in sys.argv[2:]:
            case, stop, wrong = load_case(name), threading.Event(), []
            with open_checkpoint(case.path, mmap=sys.argv[1] == "True") as ckpt:
                threads = [threading.Thread(target=read_on) for _ in range(4)]
                for thread in threads:
                    thread.start()
                children = []
                for _ in range(5):
                    child = os.fork()
                    if child == 0:
                        ok = is_right() and ckpt.verify().ok
                        os._exit(0 if ok else 1)
                    children.append(child)
                ends = [os.waitpid(child, 0)[1] for child in children]
                stop.set()
                for thread in threads:
                    thread.join()
                assert is_right()
            print(name, sum(ends), any(wrong) or not wrong)
    """
    names = ["tf-1.15.5/v1_sharded", "tf-2.21.0/max_shard_size", "tf-2.21.0/strings"]
    assert output_of(code, mmap, *names) == [f"{name} 0 False" for name in names]


def payload_in(job: tuple[Checkpoint, str]) -> bytes:
    """Read a tensor of a checkpoint that was unpickled in another process."""
    ckpt, name = job
    with ckpt:
        return payload_of(ckpt[name])


def test_spawned_processes_open_it_anew() -> None:
    cases = [load_case(name) for name in CASES[:4]]
    jobs, payloads = [], []
    for case in cases:
        ckpt = open_checkpoint(case.path, mmap=False)
        for tensor in case.tensors[:3]:
            jobs.append((ckpt, tensor.name))
            payloads.append(tensor.payload)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert list(pool.map(payload_in, jobs)) == payloads
    for ckpt, _ in jobs:
        ckpt.close()


# Arrays that outlive


@both_ways
@pytest.mark.parametrize("case_name", CASES)
def test_arrays_outlive_the_checkpoint_and_its_files(
    case_name: str, mmap: bool, tmp_path: Path
) -> None:
    """Whole arrays and parts, views and copies, also when the files are deleted."""
    case = load_case(case_name)
    path = copy_case(case_name, tmp_path).parent / case.path.name
    ckpt = open_checkpoint(path, mmap=mmap)
    wholes = {tensor.name: ckpt[tensor.name] for tensor in case.tensors}
    parts = {name: ckpt.read(name, np.s_[..., None]) for name in wholes}
    ckpt.close()
    del ckpt
    if os.name != "nt":  # Windows deletes no mapped file
        for file in tmp_path.iterdir():
            file.unlink()
    gc.collect()
    for tensor in case.tensors:
        assert payload_of(wholes[tensor.name]) == tensor.payload
        assert payload_of(parts[tensor.name]) == tensor.payload
