"""A checkpoint of any number of files keeps only a few file descriptors open."""

from __future__ import annotations

import errno
import gc
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ckptparse import (
    Checkpoint,
    CheckpointError,
    MissingShardError,
    TruncatedError,
    UnreadableError,
    open_checkpoint,
)
from ckptparse.sources import MOST_KEPT_OPEN
from support.children import output_of
from support.counting import DESCRIPTORS, num_descriptors
from support.saved_slices import FLOAT_VAL
from support.shard_sets import WRITERS, Writer, link_v2_set, write_v1_set

resource = pytest.importorskip("resource", reason="limits of POSIX")

LIMIT = 256

READ_ALL = """
    import os, resource, sys
    from concurrent.futures import ThreadPoolExecutor
    from ckptparse import open_checkpoint

    prefix, num_shards, mmap = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "mmap"
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 256
    with open_checkpoint(prefix, mmap=mmap) as ckpt:
        names = list(ckpt)
        assert len(names) == num_shards == len(ckpt.files) - (ckpt.format == "v2"), len(names)
        assert len(ckpt.infos()) == num_shards
        with ThreadPoolExecutor(8) as pool:
            for i, array in enumerate(pool.map(ckpt.__getitem__, names)):
                assert array.tolist() == [i, -i], (i, array)
        assert ckpt.verify().ok
        mapped = [info.mapped for info in ckpt.infos()]
        assert mapped == [mmap and i < 128 for i in range(num_shards)]
    print("read")
"""


def limit_descriptors() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, LIMIT))


both_formats = pytest.mark.parametrize("format", WRITERS)


def test_the_packed_field_above_is_that_of_floats() -> None:
    assert FLOAT_VAL << 3 | 2 == 0x2A


@pytest.mark.parametrize(
    ("write", "num_shards", "mmap"),
    [
        pytest.param(link_v2_set, 400, "mmap", id="v2 mapped"),
        pytest.param(link_v2_set, 10_000, "mmap", id="very many", marks=pytest.mark.exhaustive),
        pytest.param(write_v1_set, 400, "mmap", id="v1 mapped"),
        pytest.param(link_v2_set, 400, "pread", id="v2 read"),
        pytest.param(write_v1_set, 400, "pread", id="v1 read"),
    ],
)
def test_any_number_of_files_under_a_limit_of_256(
    tmp_path: Path, write: Writer, num_shards: int, mmap: str
) -> None:
    prefix = write(tmp_path, num_shards)
    said = output_of(READ_ALL, prefix, num_shards, mmap, before=limit_descriptors)
    shutil.rmtree(tmp_path)  # 10,000 files are a burden where folders of tests are kept
    assert said == ["read"]


@pytest.mark.skipif(not DESCRIPTORS.exists(), reason="counts descriptors in /proc")
@pytest.mark.parametrize("mmap", [True, False])
@both_formats
def test_no_more_than_128_files_stay_open(tmp_path: Path, format: str, mmap: bool) -> None:
    prefix = WRITERS[format](tmp_path, 200)
    before = num_descriptors()
    with open_checkpoint(prefix, mmap=mmap) as ckpt:
        arrays = dict(ckpt)
        index = format == "v2"
        assert num_descriptors() == before + MOST_KEPT_OPEN + index
    del arrays
    assert num_descriptors() == before


# Files after the 128th


@pytest.fixture(params=WRITERS)
def many(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A set of 130 files."""
    return WRITERS[request.param](tmp_path, 130)


def last_of(ckpt: Checkpoint) -> tuple[str, Path]:
    """The last tensor, and the file that holds it."""
    name = "v00129"
    return name, Path(ckpt.info(name).file)


def test_info_says_what_is_mapped(many: Path) -> None:
    with open_checkpoint(many) as ckpt:
        for i in (0, 127, 128, 129):
            name = f"v{i:05d}"
            assert ckpt.info(name).mapped == (i < 128)
            assert np.shares_memory(ckpt[name], ckpt[name]) == (i < 128)


def test_arrays_outlive_the_checkpoint(many: Path) -> None:
    with open_checkpoint(many) as ckpt:
        arrays = dict(ckpt)
        part = ckpt.read("v00129", np.s_[1:])
    del ckpt
    gc.collect()
    assert [array.tolist() for array in arrays.values()] == [[i, -i] for i in range(130)]
    assert part.tolist() == [-129]


def test_a_checkpoint_of_many_files_can_be_pickled(many: Path) -> None:
    with open_checkpoint(many) as ckpt, pickle.loads(pickle.dumps(ckpt)) as other:
        assert other["v00129"].tolist() == [129, -129]


def read_fresh(ckpt: Checkpoint, name: str) -> np.ndarray:
    """Read a tensor's bytes from the file, not from anything that was kept."""
    report = ckpt.verify([name])
    for damage in report.damaged:
        raise damage.error
    return ckpt[name]


def replace_with_another(path: Path) -> None:
    other = path.with_name("other")
    shutil.copy2(path, other)  # with the time of the first one
    os.replace(other, path)


def write_it_again(path: Path) -> None:
    path.write_bytes(path.read_bytes())
    os.utime(path, ns=(1, 1))


def turn_its_bytes_around(path: Path) -> None:
    """As if a new file got the inode of a deleted one."""
    inode = path.stat().st_ino
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(1, 1))
    assert path.stat().st_ino == inode


def add_bytes(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")
    os.utime(path, ns=(1, 1))


CHANGES = [replace_with_another, write_it_again, turn_its_bytes_around, add_bytes]


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_is_an_error_never_a_mixture(
    many: Path, change: Callable[[Path], None]
) -> None:
    with open_checkpoint(many) as ckpt:
        name, path = last_of(ckpt)
        ckpt[name]
        change(path)
        with pytest.raises(
            UnreadableError, match="changed or replaced after it was first opened"
        ) as error:
            read_fresh(ckpt, name)
        assert error.value.file == str(path)
        assert error.value.errno == errno.ESTALE
        assert ckpt["v00000"].tolist() == [0, 0]


def test_a_file_that_is_shortened_is_truncated(many: Path) -> None:
    with open_checkpoint(many) as ckpt:
        name, path = last_of(ckpt)
        ckpt[name]
        os.truncate(path, 3)
        with pytest.raises(TruncatedError, match="a file of 3 bytes") as error:
            read_fresh(ckpt, name)
        assert error.value.file == str(path)


def test_a_file_that_is_taken_away_is_missing(many: Path) -> None:
    with open_checkpoint(many) as ckpt:
        name, path = last_of(ckpt)
        ckpt[name]
        path.unlink()
        with pytest.raises(MissingShardError) as error:
            read_fresh(ckpt, name)
        assert error.value.file == str(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs on this system")
def test_a_fifo_in_its_place_is_refused_at_once(many: Path) -> None:
    with open_checkpoint(many) as ckpt:
        name, path = last_of(ckpt)
        ckpt[name]
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(CheckpointError, match="not a regular file"):
            read_fresh(ckpt, name)


# No descriptors left

EXHAUST = """
    import errno, os, sys
    from ckptparse import open_checkpoint, UnreadableError

    ckpt = open_checkpoint(sys.argv[1])
    ckpt["v00129"]
    taken = []
    try:
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass
    for ask in (lambda: ckpt["v00000"], lambda: ckpt.verify(["v00129"]).damaged[0].error):
        try:
            error = ask()
        except UnreadableError as raised:
            error = raised
        if isinstance(error, UnreadableError):
            assert error.errno == errno.EMFILE, error
            print(os.path.basename(error.file))
    try:
        open_checkpoint(sys.argv[1])
    except UnreadableError as error:
        assert error.errno == errno.EMFILE, error
        print("open")
    for descriptor in taken:
        os.close(descriptor)
    assert ckpt["v00000"].tolist() == [0, 0] and ckpt.verify().ok
"""


@both_formats
def test_when_no_descriptor_is_left_the_error_says_so_and_passes(
    tmp_path: Path, format: str
) -> None:
    prefix = WRITERS[format](tmp_path, 130)
    said = output_of(EXHAUST, prefix, before=limit_descriptors)
    name = f"{prefix.name}.data" if format == "v2" else prefix.name
    first = [f"{name}-00000-of-00130"] if format == "v2" else []  # V1 files are open already
    assert said == [*first, f"{name}-00129-of-00130", "open"]


@pytest.mark.skipif(not DESCRIPTORS.exists(), reason="needs a list of the open files")
@pytest.mark.parametrize("name", ["page.npz", "m.safetensors", "m.h5", "m.index", "page"])
def test_a_file_that_cannot_be_opened_is_closed(tmp_path: Path, name: str) -> None:
    contents = {
        "m.safetensors": b"\x02" + bytes(7) + b"{x",
        "m.h5": b"\x89HDF\r\n\x1a\n" + bytes(100),
    }
    path = tmp_path / name
    path.write_bytes(contents.get(name, b"<html>" + bytes(100)))
    errors = []
    before = num_descriptors()
    for _ in range(3):
        with pytest.raises(CheckpointError) as error:
            open_checkpoint(path)
        errors.append(error.value)  # with its traceback
    assert num_descriptors() == before
