"""The list of the members of a zip archive, and members as sources."""

from __future__ import annotations

import io
import random
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable

import pytest

from ckptparse.errors import (
    CheckpointError,
    ChecksumError,
    CorruptCheckpointError,
    NotACheckpointError,
    TruncatedError,
    UnsupportedError,
)
from ckptparse.sources import MemorySource
from ckptparse.sources.zip import ZipMember, open_member, read_zip
from support.builders import CountingSource

FILES = {
    "weights.npy": random.Random(4).randbytes(3_000),
    "a/deep/name.txt": b"words " * 500,
    "empty": b"",
    "ünïcode.bin": b"\0\1\2",
}


def make_zip(
    files: dict[str, bytes] = FILES, method: int = zipfile.ZIP_DEFLATED, comment: bytes = b""
) -> bytes:
    contents = io.BytesIO()
    with zipfile.ZipFile(contents, "w", method) as archive:
        for name, each in files.items():
            archive.writestr(name, each)
        archive.comment = comment
    return contents.getvalue()


def read(contents: bytes) -> tuple[MemorySource, list[ZipMember]]:
    source = MemorySource("m.zip", contents)
    return source, read_zip(source)


def contents_of(contents: bytes) -> dict[str, bytes]:
    source, members = read(contents)
    found = {}
    for member in members:
        opened = open_member(source, member)
        assert opened.nbytes == member.nbytes
        assert opened.name == f"m.zip/{member.name}"
        found[member.name] = bytes(opened.read(0, member.nbytes))
        assert zlib.crc32(found[member.name]) == member.crc32
    return found


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(
    "comment", [b"", b"a comment", b"PK\x05\x06" * 100, bytes(0xFFFF)], ids=len
)
def test_members(method: int, comment: bytes) -> None:
    contents = make_zip(method=method, comment=comment)
    assert contents_of(contents) == FILES
    _, members = read(contents)
    assert [member.name for member in members] == list(FILES)
    assert {member.method for member in members} <= {0, method}


def test_a_member_of_a_mapped_archive_is_a_view() -> None:
    source = CountingSource(make_zip(method=zipfile.ZIP_STORED), mapped=True)
    opened = open_member(source, read_zip(source)[0], "path/of/it")
    assert opened.mapped
    assert opened.name == "path/of/it"


def test_an_empty_archive() -> None:
    assert read(make_zip({}))[1] == []


def test_directories_are_left_out() -> None:
    assert contents_of(make_zip({"d/": b"", "d/x": b"1"})) == {"d/x": b"1"}


def test_data_descriptors() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def tell(self) -> int:
            raise OSError

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, each in FILES.items():
            archive.writestr(name, each)
    assert contents_of(pipe.getvalue()) == FILES


def test_zip64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)
    contents = make_zip()
    assert b"PK\x06\x06" in contents
    assert contents_of(contents) == FILES


def test_values_in_the_zip64_field() -> None:
    contents = io.BytesIO()
    with zipfile.ZipFile(contents, "w") as archive:
        with archive.open("large", "w", force_zip64=True) as member:
            member.write(b"12345")
        archive.filelist[0].file_size = 1 << 33  # written as ffffffff and an extra field
    _, (member,) = read(contents.getvalue())
    assert member.nbytes == 1 << 33
    assert member.problem is not None


def test_few_requests() -> None:
    files = {f"layer_{i}/weights.npy": random.Random(i).randbytes(600) for i in range(1_000)}
    source = CountingSource(make_zip(files), request_nbytes=1 << 18)
    assert len(read_zip(source)) == 1_000
    assert len(source.reads) == 2
    source = CountingSource(make_zip({"x": random.Random(1).randbytes(1 << 21)}))
    read_zip(source)
    assert sum(stop - start for start, stop in source.reads) < 300


# Archives that are not in order


def replace(at: str, offset: int, new: bytes) -> Callable[[bytes], bytes]:
    """Return a function that replaces bytes after the first local header, entry or end record."""
    magic = {"local": b"PK\x03\x04", "entry": b"PK\x01\x02", "end": b"PK\x05\x06"}[at]

    def change(contents: bytes) -> bytes:
        start = contents.index(magic) + offset
        return contents[:start] + new + contents[start + len(new) :]

    return change


@pytest.mark.parametrize(
    ("change", "error_class", "text"),
    [
        (lambda contents: b"", NotACheckpointError, "not a complete zip"),
        (lambda contents: contents[:-1], NotACheckpointError, "not a complete zip"),
        (lambda contents: contents + b"x", NotACheckpointError, "not a complete zip"),
        (lambda contents: b"x" + contents, CorruptCheckpointError, "does not end where"),
        (replace("end", 4, b"\1\0"), UnsupportedError, "one part of"),
        (replace("end", 6, b"\1\0"), UnsupportedError, "one part of"),
        (replace("end", 10, b"\3\0"), CorruptCheckpointError, "expected: 3 entries"),
        (replace("end", 12, b"\1\0"), CorruptCheckpointError, "does not end where"),
        (replace("end", 16, b"\xff\xff\xff\xff"), CorruptCheckpointError, "does not end where"),
        (replace("entry", 0, b"PK\1\3"), CorruptCheckpointError, "no entry of the directory"),
        (replace("entry", 28, b"\xff\xff"), CorruptCheckpointError, "longer than the directory"),
        (replace("entry", 32, b"\1\0"), CorruptCheckpointError, "no entry of the directory"),
    ],
    ids=[
        "nothing", "cut", "longer", "prefix", "disk", "first disk", "count", "size", "position",
        "magic", "name", "comment",
    ],
)  # fmt: skip
def test_a_damaged_directory(
    change: Callable[[bytes], bytes], error_class: type[CheckpointError], text: str
) -> None:
    with pytest.raises(error_class, match=text) as raised:
        read(change(make_zip()))
    assert type(raised.value) is error_class
    assert raised.value.file == "m.zip"


@pytest.mark.parametrize(
    ("change", "error_class", "text"),
    [
        (replace("entry", 8, b"\1\0"), UnsupportedError, "encrypted"),
        (replace("entry", 8, b"\x40\0"), UnsupportedError, "encrypted"),
        (replace("entry", 8, b"\0\x20"), UnsupportedError, "encrypted"),
        (replace("entry", 8, b"\x20\0"), UnsupportedError, "by method 8"),
        (replace("entry", 10, b"\x0c\0"), UnsupportedError, "by method 12"),
        (replace("entry", 10, b"\0\0"), CorruptCheckpointError, "two sizes"),
        (replace("entry", 16, b"\1\2\3\4"), ChecksumError, "CRC-32 04030201"),
        (replace("entry", 20, b"\1\0\0\0"), CorruptCheckpointError, "larger than"),
        (replace("entry", 20, b"\xf0\0\0\0"), TruncatedError, "cut off"),
        (replace("entry", 20, b"\0\0\1\0"), CorruptCheckpointError, "reach into"),
        (replace("entry", 20, b"\xff\xff\xff\xff"), CorruptCheckpointError, "sizes of this member"),
        (replace("entry", 24, b"\0\0\0\x7f"), CorruptCheckpointError, "larger than"),
        (replace("entry", 24, b"\0\1\0\0"), CorruptCheckpointError, "more than 256 bytes"),
        (replace("entry", 34, b"\2\0"), UnsupportedError, "another part"),
        (replace("entry", 38, struct.pack("<L", 0o120777 << 16)), UnsupportedError, "symbolic"),
        (replace("entry", 42, b"\1\0\0\0"), CorruptCheckpointError, "no local header"),
        (replace("entry", 42, b"\xf0\xff\xff\0"), CorruptCheckpointError, "no local header"),
        (replace("entry", 46, b"x"), CorruptCheckpointError, "another name"),
        (replace("entry", 47, b"\0"), CorruptCheckpointError, "NUL"),
        (replace("local", 0, b"PK\3\5"), CorruptCheckpointError, "no local header"),
        (replace("local", 26, b"\1\0"), CorruptCheckpointError, "another name"),
        (replace("local", 28, b"\xff\xff"), CorruptCheckpointError, "reach into"),
        (replace("local", 30, b"x"), CorruptCheckpointError, "another name"),
    ],
    ids=[
        "encrypted", "strongly encrypted", "directory encrypted", "patch", "bzip2", "stored",
        "crc", "stored size 1", "stored size 240", "stored size too large", "stored size in zip64",
        "size too large", "size 256", "disk", "link", "header inside", "header outside", "name",
        "nul", "local magic", "local name length", "local extra length", "local name",
    ],
)  # fmt: skip
def test_an_odd_member_is_refused_when_it_is_opened(
    change: Callable[[bytes], bytes], error_class: type[CheckpointError], text: str
) -> None:
    source, members = read(change(make_zip({"a name": b"x" * 900 + bytes(range(256))} | FILES)))
    with pytest.raises(error_class, match=text) as raised:
        open_member(source, members[0]).read(0, members[0].nbytes)
    assert raised.value.file == f"m.zip/{members[0].name}"
    if text != "reach into":
        others = {each.name: open_member(source, each).read(0, each.nbytes) for each in members[1:]}
        assert {name: bytes(each) for name, each in others.items()} == FILES


def test_members_of_the_same_name_are_refused() -> None:
    contents = io.BytesIO()
    with zipfile.ZipFile(contents, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("twice", "once", "twice"):
            archive.writestr(name, b"1")
    source, members = read(contents.getvalue())
    assert bytes(open_member(source, members[1]).read(0, 1)) == b"1"
    for member in (members[0], members[2]):
        with pytest.raises(CorruptCheckpointError, match="two members"):
            open_member(source, member)


def test_many_entries_for_the_same_bytes_are_refused() -> None:
    contents = make_zip({"0": bytes(5_000)})
    start = contents.index(b"PK\x01\x02")
    entry = contents[start : start + 46 + 1]
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1_000, 1_000, len(entry) * 1_000, start, 0)
    source, members = read(contents[:start] + entry * 1_000 + end)
    assert len(members) == 1_000
    for member in members:
        with pytest.raises(CorruptCheckpointError, match="same bytes"):
            open_member(source, member)


def test_a_member_inside_of_another_one_is_refused() -> None:
    inner = make_zip({"inner": b"1"}, zipfile.ZIP_STORED)
    inner_start = inner.index(b"PK\x01\x02")
    outer = make_zip({"first": b"2", "outer": inner[:inner_start]}, zipfile.ZIP_STORED)
    start, end = outer.index(b"PK\x01\x02"), outer.index(b"PK\x05\x06")
    entry = bytearray(inner[inner_start : inner.index(b"PK\x05\x06")])
    entry[42:46] = struct.pack("<L", start - inner_start)
    nbytes = end - start + len(entry)
    record = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 3, 3, nbytes, start, 0)
    source, members = read(outer[:end] + bytes(entry) + record)
    assert [member.name for member in members] == ["first", "outer", "inner"]
    assert bytes(open_member(source, members[0]).read(0, 1)) == b"2"
    for member in members[1:]:
        with pytest.raises(CorruptCheckpointError, match="same bytes"):
            open_member(source, member)


def test_names_that_are_not_utf8() -> None:
    contents = make_zip({"ünx": b"1"})
    raw = "ünx".encode()
    source, (member,) = read(contents.replace(raw, b"\xff" + raw[1:]))
    assert member.name.encode("utf-8", "surrogateescape") == b"\xff" + raw[1:]
    assert bytes(open_member(source, member).read(0, 1)) == b"1"
