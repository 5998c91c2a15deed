"""Archives that are damaged or made to do harm; zip archives: `tests/sources/test_zip.py`."""

from __future__ import annotations

import gzip
import io
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from ckptparse import (
    CheckpointError,
    CheckpointNotFoundError,
    ChecksumError,
    CorruptCheckpointError,
    NotACheckpointError,
    TruncatedError,
    UnsupportedError,
    open_checkpoint,
)
from ckptparse.limits import (
    MAX_ARCHIVE_DIRECTORIES,
    MAX_EXTENDED_HEADER_NBYTES,
    MAX_FREE_MEMBERS,
    MIN_MEMBER_NBYTES,
)
from ckptparse.sources import MemorySource
from ckptparse.sources.tar import TarMember, read_tar
from support.counting import counted_steps

END = bytes(1024)
MIB = 1 << 20


def header(
    name: bytes = b"model.ckpt",
    nbytes: int | bytes = 0,
    kind: bytes = b"0",
    magic: bytes = b"ustar\0",
    checksum: bytes | None = None,
    before: bytes = b"",
    sparse: bytes = b"",
) -> bytes:
    """Return a header of a tar archive."""
    block = bytearray(512)
    block[: len(name)] = name
    if isinstance(nbytes, int):
        nbytes = b"%011o\0" % nbytes if nbytes < 8**11 else b"\x80" + nbytes.to_bytes(11, "big")
    block[124 : 124 + len(nbytes)] = nbytes
    block[156:157] = kind
    block[257 : 257 + len(magic)] = magic
    block[345 : 345 + len(before)] = before
    block[482 : 482 + len(sparse)] = sparse
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block) if checksum is None else checksum
    return bytes(block)


def blocks(contents: bytes) -> bytes:
    return contents + bytes(-len(contents) % 512)


def fields(contents: bytes, kind: bytes = b"x") -> bytes:
    return header(b"fields", len(contents), kind) + blocks(contents)


def read(contents: bytes, real_nbytes: int | None = None) -> list[TarMember]:
    source = MemorySource("m.tar", contents)
    return read_tar(source, len(contents) if real_nbytes is None else real_nbytes)


GOOD = header(b"good", 3) + blocks(b"123")


@pytest.mark.parametrize(
    ("contents", "error_class", "text"),
    [
        (b"", TruncatedError, "cut off"),
        (GOOD, TruncatedError, "cut off"),
        (GOOD[:600], TruncatedError, "cut off"),
        (header(checksum=b"000001\0 ") + END, NotACheckpointError, "not a tar archive"),
        (header(checksum=b"\xff" * 8) + END, NotACheckpointError, "not a tar archive"),
        (GOOD + header(checksum=b"000001\0 ") + END, CorruptCheckpointError, "checksum"),
        (GOOD + b"x" * 512 + END, CorruptCheckpointError, "checksum"),
        (header(nbytes=b"00000000009\0") + END, CorruptCheckpointError, "a number"),
        (header(nbytes=b"\xff" * 12) + END, CorruptCheckpointError, "a number"),
        (header(nbytes=1024) + END, TruncatedError, "cut off"),
        (header(nbytes=8**11 - 1) + END, TruncatedError, "cut off"),
        (header(nbytes=2**80) + END, TruncatedError, "cut off"),
        (header(nbytes=2**80, kind=b"L") + END, CorruptCheckpointError, "too large"),
        (header(nbytes=2**80, kind=b"x") + END, CorruptCheckpointError, "too large"),
        (header(nbytes=MAX_EXTENDED_HEADER_NBYTES, kind=b"K") + END, TruncatedError, "too short"),
        (fields(b"11 path=ab"), CorruptCheckpointError, "extended header is damaged"),
        (fields(b"99 path=ab\n"), CorruptCheckpointError, "extended header is damaged"),
        (fields(b"3 =\n"), CorruptCheckpointError, "extended header is damaged"),
        (fields(b"0 path=ab\n"), CorruptCheckpointError, "extended header is damaged"),
        (fields(b"8 pathab\n"), CorruptCheckpointError, "extended header is damaged"),
        (fields(b"-1 path=ab\n"), CorruptCheckpointError, "extended header is invalid"),
        (fields(b"1" * 30 + b" path=ab\n"), CorruptCheckpointError, "header is damaged"),
        (fields(b"\xb2 path=ab\n"), CorruptCheckpointError, "extended header is invalid"),
        (fields(b"10 size=x\n") + GOOD, CorruptCheckpointError, "extended header is invalid"),
        (fields(b"11 path=ab\n", b"g"), UnsupportedError, "one name or size"),
        (fields(b"10 size=5\n", b"g"), UnsupportedError, "one name or size"),
        (header(kind=b"S", sparse=b"\1") + b"\1" * 512, TruncatedError, "cut off"),
    ],
    ids=range(27),
)
def test_damage_of_a_tar_archive(
    contents: bytes, error_class: type[CheckpointError], text: str
) -> None:
    with pytest.raises(error_class, match=text) as raised:
        read(contents)
    assert type(raised.value) is error_class
    assert raised.value.file == "m.tar"


@pytest.mark.parametrize(
    ("contents", "name", "error_class"),
    [
        (header(kind=b"1"), "model.ckpt", UnsupportedError),
        (header(kind=b"2"), "model.ckpt", UnsupportedError),
        (header(kind=b"3"), "model.ckpt", NotACheckpointError),
        (header(kind=b"6", nbytes=2**40), "model.ckpt", NotACheckpointError),
        (header(kind=b"S"), "model.ckpt", UnsupportedError),
        (header(kind=b"S", sparse=b"\1") + bytes(512), "model.ckpt", UnsupportedError),
        (header(kind=b"Z"), "model.ckpt", UnsupportedError),
        (fields(b"22 GNU.sparse.major=1\n") + header(), "model.ckpt", UnsupportedError),
        (header(kind=b"0"), "model.ckpt", None),
        (header(kind=b"\0"), "model.ckpt", None),
        (header(kind=b"7"), "model.ckpt", None),
        (header(before=b"folder"), "folder/model.ckpt", None),
        (header(before=b"folder", magic=b"ustar "), "model.ckpt", None),
        (fields(b"11 path=ab\n") + header(), "ab", None),
        (fields(b"11 path=ab\n", b"g")[:0] + header(b"\xff"), "\udcff", None),
        (header(nbytes=5, kind=b"L") + blocks(b"long\0") + header(), "long", None),
        (header(nbytes=5, kind=b"K") + blocks(b"long\0") + header(), "model.ckpt", None),
        (fields(b"12 comment=\n", b"g") + header(), "model.ckpt", None),
    ],
    ids=range(18),
)
def test_members_of_each_kind(
    contents: bytes, name: str, error_class: type[CheckpointError] | None, tmp_path: Path
) -> None:
    (member, good) = read(contents + GOOD + END)
    assert member.name == name
    assert good.name == "good"
    assert member.problem is None if error_class is None else member.problem[0] is error_class
    path = tmp_path / "m.tar"
    path.write_bytes(contents + GOOD + END)
    if error_class is not None:
        with pytest.raises(error_class) as raised:
            open_checkpoint(f"{path}/{name}")
        assert raised.value.file == f"{path}/{name}"


def test_directories_are_left_out() -> None:
    assert len(read(header(kind=b"5", nbytes=2**30) + header(b"d/") + GOOD + END)) == 1


# Archives that are small, and large when they are inflated


def gzipped(chunks: Iterable[bytes], most_nbytes: int) -> bytes:
    """Compress until the result has a size."""
    compressor = zlib.compressobj(wbits=31)
    found = []
    nbytes = 0
    for chunk in chunks:
        found.append(compressor.compress(chunk))
        nbytes += len(found[-1])
        if nbytes > most_nbytes:
            break
    return b"".join([*found, compressor.flush()])


def opened(tmp_path: Path, name: str, contents: bytes) -> CheckpointError:
    """Open an archive; return the error that this raises."""
    path = tmp_path / name
    path.write_bytes(contents)
    with pytest.raises(CheckpointError) as raised:
        open_checkpoint(path)
    return raised.value


def test_a_hundred_mib_of_zeros_take_little_memory(tmp_path: Path) -> None:
    zeros = gzip.compress(header(b"model.ckpt", 100 * MIB) + bytes(100 * MIB) + END)
    assert len(zeros) < MIB // 8
    tracemalloc.start()
    try:
        error = opened(tmp_path, "m.tgz", zeros)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert type(error) is CheckpointNotFoundError
    assert most < 12 * MIB  # 100 snapshots of 50 KiB, and two spans


MANY = {
    "members": (header(b"a%x" % i) for i in range(10**6)),
    "long names": (
        header(nbytes=300, kind=b"L") + blocks(b"%x" % i * 60) + header() for i in range(10**6)
    ),
    "the same header": (header() * 64 for _ in range(10**6)),
    "extended headers": (fields(b"11 path=ab\n") for _ in range(10**6)),
    "sparse headers": chain(
        [header(kind=b"S", sparse=b"\1")], (b"\1" * 512 * 64 for _ in range(10**6))
    ),
}


@pytest.mark.parametrize("case", MANY)
def test_headers_are_limited(tmp_path: Path, case: str) -> None:
    contents = gzipped(MANY[case], 20_000)
    with counted_steps() as steps:
        error = opened(tmp_path, "m.tgz", contents)
    assert type(error) is CorruptCheckpointError
    assert "too many headers" in error.message
    most_headers = MAX_FREE_MEMBERS + len(contents) // MIN_MEMBER_NBYTES
    assert steps() < 100_000 + 200 * most_headers


def test_names_are_limited(tmp_path: Path) -> None:
    name = b"x" * (MAX_EXTENDED_HEADER_NBYTES - 512)
    each = header(nbytes=len(name), kind=b"L") + blocks(name) + header()
    error = opened(tmp_path, "m.tgz", gzipped((each for _ in range(10)), MIB))
    assert type(error) is CorruptCheckpointError
    assert "names in this archive are too long" in error.message


def test_directories_are_limited(tmp_path: Path) -> None:
    contents = io.BytesIO()
    with zipfile.ZipFile(contents, "w") as archive:
        for i in range(MAX_ARCHIVE_DIRECTORIES):
            archive.writestr(f"{i}/m", b"")
    error = opened(tmp_path, "m.zip", contents.getvalue())
    assert type(error) is CheckpointNotFoundError
    assert "too many directories" in error.message


def test_a_thousand_entries_for_the_same_bytes(tmp_path: Path) -> None:
    contents = io.BytesIO()
    with zipfile.ZipFile(contents, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.ckpt", bytes(MIB))
    whole = contents.getvalue()
    start = whole.index(b"PK\1\2")
    entry = whole[start : whole.index(b"PK\5\6")]
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 999, 999, len(entry) * 999, start, 0)
    error = opened(tmp_path, "m.zip", whole[:start] + entry * 999 + end)
    assert type(error) is CheckpointNotFoundError
    assert "refused because of their names" in str(error.found)


@pytest.mark.parametrize("at", [-1, -5, 30, 200])
def test_a_damaged_gzip_stream(tmp_path: Path, at: int) -> None:
    contents = bytearray(gzip.compress(GOOD + header(b"x", 20_000) + bytes(range(250)) * 80 + END))
    contents[at] ^= 0x55
    error = opened(tmp_path, "m.tgz", bytes(contents))
    assert isinstance(error, CorruptCheckpointError)
    assert isinstance(error, ChecksumError) or at > 0


@pytest.mark.parametrize("num_zeros", [1, 512, 100_000])
def test_zeros_after_a_gzip_stream_are_ignored(tmp_path: Path, num_zeros: int) -> None:
    """As gzip and tar do: a tape is filled up with zeros."""
    contents = io.BytesIO()
    np.savez(contents, a=np.arange(3))
    member = header(b"a.npz", len(contents.getvalue())) + blocks(contents.getvalue())
    path = tmp_path / "m.tgz"
    path.write_bytes(gzip.compress(member + END) + bytes(num_zeros))
    with open_checkpoint(path) as ckpt:
        assert ckpt["a"].tolist() == [0, 1, 2]
    path.write_bytes(gzip.compress(member + END) + bytes(num_zeros) + b"x")
    with pytest.raises(CorruptCheckpointError, match="the compressed data is damaged"):
        open_checkpoint(path)


def test_a_gzip_stream_that_is_cut_off(tmp_path: Path) -> None:
    contents = gzip.compress(header(b"x", 20_000) + blocks(bytes(range(250)) * 80) + END)
    for nbytes in range(20, len(contents), 7):
        assert isinstance(opened(tmp_path, "m.tgz", contents[:nbytes]), CheckpointError)


def test_a_gzip_stream_that_is_cut_off_in_a_header(tmp_path: Path) -> None:
    """The error is not about the size of the archive, which is unknown."""
    error = opened(tmp_path, "m.tgz", gzip.compress(GOOD + END)[:30])
    assert isinstance(error, TruncatedError)
    assert "the compressed data is cut off" in str(error)
    assert f"byte 30 of {tmp_path / 'm.tgz'}" in str(error)
