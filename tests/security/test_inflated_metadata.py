"""Metadata that is compressed: a thousand bytes of it take one byte of an archive."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ckptparse import UnsupportedError, open_checkpoint
from ckptparse.limits import (
    MAX_FREE_INFLATED_CONFIG_NBYTES,
    MAX_FREE_INFLATED_HDF5_NBYTES,
    MAX_FREE_INFLATED_HEADER_NBYTES,
    MAX_FREE_INFLATED_INDEX_NBYTES,
    MAX_FREE_INFLATED_STEPS,
    MAX_FREE_INFLATED_TEXT_NBYTES,
)
from support import builders
from support.hdf5 import HDF5Builder


def safetensors() -> bytes:
    """Return a file whose header is a list of empty lists, each of which is an object in memory."""
    header = b'{"a":[' + b"[]," * (MAX_FREE_INFLATED_HEADER_NBYTES // 2) + b"[]]}"
    return len(header).to_bytes(8, "little") + header


def graph() -> bytes:
    """Return a graph of many nodes, each of them four bytes."""
    return b"\x0a\x02\x12\x00" * (MAX_FREE_INFLATED_STEPS // 4)


def graph_as_text() -> bytes:
    """Return a graph as text, which is mostly blank."""
    return b"node { }\n" + b" " * MAX_FREE_INFLATED_TEXT_NBYTES * 2


def hdf5() -> bytes:
    """Return a file whose root group has a long heap of names."""
    file = HDF5Builder()
    nbytes = MAX_FREE_INFLATED_HDF5_NBYTES * 2
    return file.file(file.group([], heap_data=file.put(bytes(nbytes)), heap_nbytes=nbytes))


def v1_index() -> bytes:
    """Return a V1 file whose index block is long."""
    nbytes = MAX_FREE_INFLATED_INDEX_NBYTES * 2
    return bytes(nbytes + 5) + builders.footer(builders.handle(0, 0), builders.handle(0, nbytes))


def v1_contents() -> bytes:
    """Return a V1 file whose table of contents is long."""
    return builders.table([(b"", bytes(MAX_FREE_INFLATED_INDEX_NBYTES * 2))])


def npz() -> bytes:
    """Return an .npz with many members of the same bytes."""
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", *[0] * 9, 1, *[0] * 6) + b"a"
    count = MAX_FREE_INFLATED_INDEX_NBYTES * 2 // len(entry)
    nbytes = count * len(entry)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count & 0xFFFF, count & 0xFFFF, nbytes, 4, 0)
    return b"PK\3\4" + entry * count + end


def index() -> bytes:
    """Return a long file of zeros."""
    return bytes(MAX_FREE_INFLATED_INDEX_NBYTES * 2)


CASES = {
    "a.safetensors": (safetensors, "the header is too large"),
    "a.pb": (graph, "too many fields"),
    "saved_model.pbtxt": (graph_as_text, "this graph as text is too large"),
    "a.h5": (hdf5, "too much metadata"),
    "a.index": (index, "this index is too large"),
    "model.ckpt": (v1_contents, "the table of contents is too large"),
    "1.ckpt": (v1_index, "the index block of this table is too large"),
    "a.npz": (npz, "the directory of this zip archive is too large"),
}


def zipped(name: str, contents: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as members:
        members.writestr(name, contents)
    return archive.getvalue()


def tarred(name: str, contents: bytes) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as members:
        member = tarfile.TarInfo(name)
        member.size = len(contents)
        members.addfile(member, io.BytesIO(contents))
    return archive.getvalue()


@pytest.mark.parametrize("archived", [zipped, tarred])
@pytest.mark.parametrize("name", CASES)
def test_metadata_is_limited_by_its_compressed_size(
    tmp_path: Path, name: str, archived: Callable[[str, bytes], bytes]
) -> None:
    make, message = CASES[name]
    path = tmp_path / "m.archive"
    path.write_bytes(archived(name, make()))
    with pytest.raises(UnsupportedError, match=message):
        open_checkpoint(path)


def test_zeros_are_not_metadata(tmp_path: Path) -> None:
    header = b'{"a":{"dtype":"U8","shape":[20000000],"data_offsets":[0,20000000]}}'
    contents = len(header).to_bytes(8, "little") + header + bytes(20_000_000)
    path = tmp_path / "m.zip"
    path.write_bytes(zipped("a.safetensors", contents))
    with open_checkpoint(path) as ckpt:
        assert not ckpt["a"].any()


def test_the_configuration_of_a_keras_model_is_limited(tmp_path: Path) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as members:
        members.writestr("model.weights.h5", small_hdf5())
        members.writestr("config.json", b"[" + b"[]," * MAX_FREE_INFLATED_CONFIG_NBYTES + b"[]]")
    path = tmp_path / "m.keras"
    path.write_bytes(archive.getvalue())
    with open_checkpoint(path) as ckpt:
        assert list(ckpt) == ["a"]
        with pytest.raises(UnsupportedError, match=r"config\.json is too large"):
            ckpt.metadata.get("layers")


def small_hdf5() -> bytes:
    file = HDF5Builder()
    return file.file(file.group([(b"a", file.dataset(b"abc"))]))
