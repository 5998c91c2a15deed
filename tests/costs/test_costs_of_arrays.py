"""What safetensors, ``.npz`` and HDF5 files cost: bytes read for a listing, requests, memory."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ckptparse import Checkpoint, open_checkpoint
from ckptparse.formats.containers import CONTAINERS, ContainerOptions
from support.builders import CountingSource
from support.counting_files import counted
from support.hdf5 import HDF5Builder, attribute, fixed_string, message
from support.hostile import allocating_at_most

MIB = 1 << 20

NUM_ARRAYS = 20
ARRAYS = {f"layer_{i}/kernel": np.arange(25_000, dtype="<f4") + i for i in range(NUM_ARRAYS)}


def safetensors() -> bytes:
    header, start = {}, 0
    for name, array in ARRAYS.items():
        stop = start + array.nbytes
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [start, stop]}
        start = stop
    text = json.dumps(header).encode()
    payload = b"".join(array.tobytes() for array in ARRAYS.values())
    return len(text).to_bytes(8, "little") + text + payload


def npz() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **ARRAYS)
    return stream.getvalue()


def npz_compressed() -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **ARRAYS)
    return stream.getvalue()


def hdf5(file: HDF5Builder) -> bytes:
    float32 = bytes([0x11, 0x20, 31, 0]) + struct.pack("<IHHBBBBI", 4, 0, 32, 23, 8, 0, 23, 127)
    groups = []
    for name, array in sorted(ARRAYS.items()):
        made = file.dataset(array.tobytes(), array.shape, type=float32)
        listed = message(0x0C, attribute(b"weight_names", fixed_string(6), [1], b"kernel"))
        groups.append((name.split("/")[0].encode(), file.group([(b"kernel", made)], listed)))
    layers = b"".join(b"layer_%-4d" % i for i in range(NUM_ARRAYS)).replace(b" ", b"\0")
    names = message(0x0C, attribute(b"layer_names", fixed_string(10), [NUM_ARRAYS], layers))
    return file.file(file.group(groups, names))


def read_by_listing(format: str, contents: bytes, *, mapped: bool) -> list[tuple[int, int]]:
    """The ranges that opening and listing read."""
    source = CountingSource(contents, mapped=mapped)
    ckpt = Checkpoint(CONTAINERS[format](source, ContainerOptions()))
    assert list(ckpt) == list(ARRAYS)
    assert [info.shape for info in ckpt.infos()] == [(25_000,)] * NUM_ARRAYS
    assert ckpt.forms().names == list(ARRAYS)
    ranges = list(source.reads)
    for name, array in ARRAYS.items():  # and that the list above is complete
        assert np.array_equal(ckpt[name], array)
    assert len(source.reads) > len(ranges)
    return ranges


both = pytest.mark.parametrize("mapped", [True, False], ids=["mapped", "copied"])


@both
def test_listing_safetensors_reads_the_header(mapped: bool) -> None:
    contents = safetensors()
    stop = 8 + int.from_bytes(contents[:8], "little")
    assert read_by_listing("safetensors", contents, mapped=mapped) == [(0, 8), (8, stop)]


@both
@pytest.mark.parametrize(("make", "first_nbytes"), [(npz, 256), (npz_compressed, 1024)])
def test_listing_npz_reads_the_directory_and_headers(
    make: object, first_nbytes: int, mapped: bool
) -> None:
    contents = make()  # type: ignore[operator]  # of a parameter
    with zipfile.ZipFile(io.BytesIO(contents)) as archive:
        directory = archive.start_dir
        members = archive.infolist()
    ranges = read_by_listing("npz", contents, mapped=mapped)
    of_members = [each for each in ranges if each[1] <= directory]
    local_headers = [(m.header_offset, m.header_offset + 30 + len(m.filename)) for m in members]
    starts = [stop + 20 for _, stop in local_headers]  # after the zip64 field of savez
    firsts = [(start, start + first_nbytes) for start in starts]
    assert sorted(set(of_members)) == sorted(local_headers + firsts)
    assert len(of_members) == 2 * NUM_ARRAYS
    # The end record is looked for in the last bytes, which are those of the directory.
    assert all(start >= directory for start, stop in ranges if stop > directory)
    assert sum(stop - start for start, stop in ranges) < NUM_ARRAYS * (first_nbytes + 200) + 500


@both
def test_listing_hdf5_reads_no_elements(mapped: bool) -> None:
    """Copies are read in pages, so that elements beside the metadata may be read, too."""
    file = HDF5Builder()
    contents = hdf5(file)
    ranges = read_by_listing("keras-h5", contents, mapped=mapped)
    assert sum(stop - start for start, stop in ranges) < NUM_ARRAYS * (600 if mapped else 8192)
    assert len(contents) > NUM_ARRAYS * 100_000


def test_a_listing_of_2_gib_maps_no_more_than_the_header(tmp_path: Path) -> None:
    nbytes = 1 << 31
    x = {"dtype": "U8", "shape": [nbytes], "data_offsets": [0, nbytes]}
    text = json.dumps({"x": x}).encode()
    path = tmp_path / "m.safetensors"
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        stream.truncate(8 + len(text) + nbytes)  # a hole, which takes no space
    for mmap in (True, False):
        with allocating_at_most(MIB), open_checkpoint(path, mmap=mmap) as ckpt:
            assert ckpt.info("x").nbytes == nbytes
            assert ckpt.read("x", -1).tolist() == 0


REMOTE = {
    "safetensors": (safetensors, "m.safetensors", 2),
    "npz": (npz, "m.npz", 3),  # the directory, the local headers, the headers of arrays
}
RECOGNISING = 3
"""Requests that find out what a file is."""


@pytest.mark.parametrize(("make", "name", "num_requests"), REMOTE.values(), ids=REMOTE)
def test_requests_of_a_storage(make: object, name: str, num_requests: int) -> None:
    contents = make()  # type: ignore[operator]  # of a parameter
    with counted({name: contents}) as requests:
        ckpt = open_checkpoint(f"counted://{name}")
        assert len(ckpt.infos()) == NUM_ARRAYS
        assert len(requests) == RECOGNISING + num_requests
        for array in ckpt.values():
            assert array.size
        assert len(requests) == RECOGNISING + num_requests + 1  # all arrays are one window


# Memory

ZEROS_NBYTES = 16 * MIB


@pytest.fixture(scope="module")
def zeros(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 MiB that are deflated to 16 KiB, as a malicious archive has them."""
    path = tmp_path_factory.mktemp("zeros") / "zeros.npz"
    np.savez_compressed(path, x=np.zeros(ZEROS_NBYTES // 4, "<f4"))
    assert path.stat().st_size < ZEROS_NBYTES // 900
    return path


def test_deflated_arrays_are_listed_and_verified_in_little_memory(zeros: Path) -> None:
    with allocating_at_most(8 * MIB), open_checkpoint(zeros) as ckpt:
        assert ckpt.info("x").nbytes == ZEROS_NBYTES
        assert ckpt.verify().ok


def test_deflated_arrays_are_read_in_pieces_in_little_memory(zeros: Path) -> None:
    with allocating_at_most(12 * MIB), open_checkpoint(zeros) as ckpt:
        size = sum(piece.values.size for piece in ckpt.read_pieces(["x"], MIB))
    assert size == ZEROS_NBYTES // 4


def test_a_deflated_array_takes_its_own_memory_and_little_more(zeros: Path) -> None:
    with allocating_at_most(ZEROS_NBYTES + 8 * MIB), open_checkpoint(zeros) as ckpt:
        assert not ckpt["x"].any()


# Imports

SILENT = """
import sys
import ckptparse
unwanted = {"formats.npz", "formats.safetensors", "sources.zip", "sources.inflated"}
print(sorted(name for name in unwanted if f"ckptparse.{name}" in sys.modules))
"""


def test_importing_ckptparse_imports_no_container() -> None:
    done = subprocess.run([sys.executable, "-c", SILENT], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
