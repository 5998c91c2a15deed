"""The contract of byte sources, and how files are opened."""

from __future__ import annotations

import errno
import mmap
import os
import socket
from pathlib import Path

import pytest

import ckptparse.sources.pread
from ckptparse.errors import NotACheckpointError, TruncatedError, UnreadableError
from ckptparse.sources import (
    LocalFiles,
    MappedSource,
    MemorySource,
    PreadSource,
    ReopenedSource,
    Source,
)
from ckptparse.sources.local import open_file
from support.counting import DESCRIPTORS, num_descriptors
from support.source_suite import CONTENTS, NBYTES, SourceSuite


def open_source(path: str, *, mmap: bool) -> Source:
    return LocalFiles(mmap=mmap).open(path)


class FileSuite(SourceSuite):
    """Tests of sources over a file that other processes can change."""

    mapped: bool

    def make(self, path: Path) -> Source:
        return open_source(str(path), mmap=self.mapped)

    @pytest.mark.skipif(os.name == "nt", reason="Windows does not shorten a mapped file")
    @pytest.mark.parametrize("nbytes", [0, 1, 4096, NBYTES - 1])
    def test_a_file_that_is_shortened_is_truncated_not_a_signal(
        self, source: Source, path: Path, nbytes: int
    ) -> None:
        assert bytes(source.read(0, NBYTES)) == CONTENTS
        os.truncate(path, nbytes)
        with pytest.raises(TruncatedError, match=f"found: a file of {nbytes} bytes"):
            source.read(0, NBYTES)
        assert bytes(source.read(0, nbytes)) == CONTENTS[:nbytes]

    def test_bytes_that_are_added_later_are_not_the_source_s(
        self, source: Source, path: Path
    ) -> None:
        with path.open("ab") as file:
            file.write(b"more")
        with pytest.raises(TruncatedError):
            source.read(0, NBYTES + 4)
        assert bytes(source.read(NBYTES - 4, NBYTES)) == CONTENTS[-4:]

    @pytest.mark.skipif(os.name == "nt", reason="Windows keeps the name of an open file")
    def test_a_file_that_is_replaced_stays_what_was_opened(
        self, source: Source, path: Path
    ) -> None:
        other = path.with_name("other")
        other.write_bytes(b"x" * NBYTES)
        os.replace(other, path)
        assert bytes(source.read(0, NBYTES)) == CONTENTS

    def test_offsets_past_4_gib_are_read(self, tmp_path: Path) -> None:
        path = tmp_path / "sparse"
        with path.open("wb") as file:
            file.truncate(2**32 + 100)
            file.seek(2**32 + 10)
            file.write(b"far away")
        source = self.make(path)
        assert source.nbytes == 2**32 + 100
        assert bytes(source.read(2**32 + 8, 2**32 + 20)) == b"\x00\x00far away\x00\x00"
        source.close()


class TestMappedSource(FileSuite):
    mapped = True

    def test_it_is_the_kind_it_should_be(self, source: Source) -> None:
        assert isinstance(source, MappedSource)
        assert source.mapped is True

    def test_results_are_views_of_one_map(self, source: Source) -> None:
        first, second = source.read(0, 10), source.read(5, 10)
        assert isinstance(first, memoryview)
        assert isinstance(first.obj, mmap.mmap)
        assert isinstance(second, memoryview)
        assert second.obj is first.obj


class TestPreadSource(FileSuite):
    mapped = False

    def test_it_is_the_kind_it_should_be(self, source: Source) -> None:
        assert isinstance(source, PreadSource)
        assert source.mapped is False

    @pytest.mark.parametrize("at_once", [1, 7, 4096, NBYTES])
    def test_large_ranges_are_read_in_pieces(
        self, source: Source, monkeypatch: pytest.MonkeyPatch, at_once: int
    ) -> None:
        monkeypatch.setattr(ckptparse.sources.pread, "_AT_ONCE_NBYTES", at_once)
        assert source.read(3, NBYTES - 5) == CONTENTS[3 : NBYTES - 5]

    def test_reads_that_give_less_than_asked_are_continued(
        self, source: Source, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = ckptparse.sources.pread._pread
        monkeypatch.setattr(
            ckptparse.sources.pread,
            "_pread",
            lambda descriptor, nbytes, position: whole(descriptor, min(nbytes, 1000), position),
        )
        assert source.read(3, NBYTES) == CONTENTS[3:]

    def test_a_file_that_is_shortened_while_it_is_read_is_truncated(
        self, source: Source, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = ckptparse.sources.pread._pread

        def shorten_and_read(descriptor: int, nbytes: int, position: int) -> bytes:
            os.truncate(path, 2000)
            return whole(descriptor, min(nbytes, 1500), position)

        monkeypatch.setattr(ckptparse.sources.pread, "_pread", shorten_and_read)
        with pytest.raises(TruncatedError, match="found: a file of 2000 bytes"):
            source.read(0, NBYTES)

    def test_reading_fails_as_unreadable_with_its_place(
        self, source: Source, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*args: object) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(ckptparse.sources.pread, "_pread", fail)
        with pytest.raises(UnreadableError, match="byte 10: Input/output error") as error:
            source.read(10, 20)
        assert error.value.file == source.name

    def test_asking_for_the_size_fails_as_unreadable(
        self, source: Source, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*args: object) -> None:
            raise OSError(errno.ESTALE, "Stale file handle")

        with monkeypatch.context() as patched:
            patched.setattr(os, "fstat", fail)
            with pytest.raises(UnreadableError, match="Stale file handle") as error:
                source.read(0, 10)
        assert error.value.file == source.name

    def test_where_there_is_no_pread_seeking_does_as_well(
        self, source: Source, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seek_and_read = ckptparse.sources.pread._seek_and_read
        monkeypatch.setattr(ckptparse.sources.pread, "_pread", seek_and_read)
        self.test_many_threads_read_at_once(source)


class TestMemorySource(SourceSuite):
    def make(self, path: Path) -> Source:
        return MemorySource(str(path), path.read_bytes())


class TestReopenedSource(SourceSuite):
    """security/test_file_descriptors.py tests what happens when its file changes."""

    def make(self, path: Path) -> Source:
        return ReopenedSource(str(path), lambda: open_file(str(path), str(path)))

    def test_it_gives_copies(self, source: Source) -> None:
        assert source.mapped is False
        assert isinstance(source.read(0, 10), bytes)

    @pytest.mark.skipif(not DESCRIPTORS.exists(), reason="counts descriptors in /proc")
    def test_between_reads_it_holds_no_descriptor(self, path: Path) -> None:
        before = num_descriptors()
        source = self.make(path)
        assert num_descriptors() == before
        source.read(0, 10)
        with pytest.raises(TruncatedError):
            source.read(0, NBYTES + 1)
        assert num_descriptors() == before


# Opening

both_ways = pytest.mark.parametrize("mapped", [True, False], ids=["mmap", "pread"])


@both_ways
def test_a_missing_file_is_not_found(tmp_path: Path, mapped: bool) -> None:
    with pytest.raises(FileNotFoundError):
        open_source(str(tmp_path / "none"), mmap=mapped)


def make_directory(path: Path) -> None:
    path.mkdir()


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


def make_link_to_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


needs_unix = pytest.mark.skipif(os.name == "nt", reason="needs files that Windows does not have")


@both_ways
@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (make_directory, "a directory"),
        pytest.param(make_fifo, "FIFO", marks=needs_unix),
        pytest.param(make_socket, "socket", marks=needs_unix),
        pytest.param(make_link_to_device, "device", marks=needs_unix),
    ],
    ids=["directory", "FIFO", "socket", "device"],
)
def test_what_is_no_regular_file_is_no_checkpoint_and_does_not_hang(
    tmp_path: Path, make: object, kind: str, mapped: bool
) -> None:
    path = tmp_path / "thing"
    make(path)
    with pytest.raises(NotACheckpointError, match=kind) as error:
        open_source(str(path), mmap=mapped)
    assert error.value.file == str(path)


@both_ways
@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission_is_unreadable(tmp_path: Path, mapped: bool) -> None:
    path = tmp_path / "secret"
    path.write_bytes(CONTENTS)
    path.chmod(0)
    with pytest.raises(UnreadableError, match="Permission denied") as error:
        open_source(str(path), mmap=mapped)
    assert error.value.file == str(path)


@both_ways
@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ELOOP, errno.EMFILE])
def test_whatever_else_opening_fails_with_is_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mapped: bool, number: int
) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENTS)

    def fail(*args: object, **options: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(UnreadableError) as error:
        open_source(str(path), mmap=mapped)
    assert str(error.value) == f"{path}: {os.strerror(number)}"


@both_ways
def test_a_file_whose_size_cannot_be_asked_for_is_unreadable_and_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mapped: bool
) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENTS)
    closed = []
    close = os.close

    def fail(*args: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    def note_and_close(descriptor: int) -> None:
        closed.append(descriptor)
        close(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fstat", fail)
        patched.setattr(os, "close", note_and_close)
        with pytest.raises(UnreadableError, match="Input/output error"):
            open_source(str(path), mmap=mapped)
    assert len(closed) == 1


def refuse_to_map(*args: object, **options: object) -> None:
    raise OSError(errno.ENODEV, "No such device")


def test_a_file_system_that_cannot_map_is_read_by_position(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENTS)
    monkeypatch.setattr(mmap, "mmap", refuse_to_map)
    source = open_source(str(path), mmap=True)
    assert isinstance(source, PreadSource)
    assert source.read(10, 20) == CONTENTS[10:20]
    source.close()


@pytest.mark.skipif(not DESCRIPTORS.exists(), reason="counts descriptors in /proc")
@pytest.mark.parametrize("make", [make_directory, make_fifo, make_link_to_device])
def test_a_refused_file_leaves_no_descriptor(tmp_path: Path, make: object) -> None:
    path = tmp_path / "thing"
    make(path)
    before = num_descriptors()
    for mapped in (True, False):
        with pytest.raises(NotACheckpointError):
            open_source(str(path), mmap=mapped)
    assert num_descriptors() == before


@pytest.mark.skipif(not DESCRIPTORS.exists(), reason="counts descriptors in /proc")
def test_a_file_that_cannot_be_mapped_leaves_no_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENTS)
    before = num_descriptors()
    monkeypatch.setattr(mmap, "mmap", refuse_to_map)
    for _ in range(5):
        open_source(str(path), mmap=True).close()
    assert num_descriptors() == before


@both_ways
@pytest.mark.parametrize("name", ["with space", "[1]*?", "ünï", "a" * 200])
def test_names_are_taken_as_they_are(tmp_path: Path, name: str, mapped: bool) -> None:
    path = tmp_path / name
    try:
        path.write_bytes(CONTENTS)
    except OSError:
        pytest.skip("not a name on this system")
    source = open_source(str(path), mmap=mapped)
    assert bytes(source.read(0, 5)) == CONTENTS[:5]
    source.close()
