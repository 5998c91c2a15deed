"""Error messages say what a file is that is not a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptparse import (
    CheckpointError,
    ChecksumError,
    NotACheckpointError,
    TruncatedError,
    UnreadableError,
    open_checkpoint,
)
from ckptparse.formats.bundle.shards import with_format_hint
from ckptparse.formats.recognize import recognized
from ckptparse.sources import MemorySource
from ckptparse.sstable import Table
from support.builders import bundle_header, table

MIXED_BYTES = table([(b"", bundle_header()), (b"name", bytes(range(256)))])

FOREIGN = {
    "saved as UTF-8 text": (
        MIXED_BYTES.decode("utf-8", "replace").encode(),
        "saved as text.*ef bf bd",
    ),
    "failed download": (b"404: Not Found", "404: Not Found"),
    "git-lfs pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:"
        + b"0" * 64
        + b"\nsize 1234567\n",
        "git-lfs pointer.*git lfs pull",
    ),
    "web page": (b"<!DOCTYPE html>" + b" " * 100, "HTML page"),
    "web page of few bytes": (b"<html></html>", "HTML page"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5 file"),
    "zip": (b"PK\x03\x04" + bytes(100), "zip archive"),
    "gzip": (b"\x1f\x8b\x08" + bytes(100), "gzip archive"),
    "npy": (b"\x93NUMPY\x01\x00" + bytes(100), ".npy"),
    "safetensors": ((10).to_bytes(8, "little") + b'{"a": {}}' + bytes(100), "safetensors"),
    "index of safetensors": (
        b'{\n  "metadata": {\n    "total_size": 8\n  },\n  "weight_map": {}\n}\n',
        "index of a set of .safetensors files",
    ),
    "state file": (
        b'model_checkpoint_path: "model.ckpt-1"\nall_model_checkpoint_paths: "model.ckpt-1"\n',
        "`checkpoint` state file",
    ),
}


@pytest.mark.parametrize("contents", [b"", b"some text\n", bytes(100), b"<html>" + bytes(100)])
@pytest.mark.parametrize("suffix", [".npz", ".keras", ".h5", ".weights.h5", ".safetensors"])
def test_the_suffix_says_what_is_expected(contents: bytes, suffix: str, tmp_path: Path) -> None:
    """Such a file is no table that was cut off."""
    path = tmp_path / f"model{suffix}"
    path.write_bytes(contents)
    with pytest.raises(NotACheckpointError, match=r"this is not a [.]") as error:
        open_checkpoint(path)
    assert "begins with" in error.value.expected
    assert "57 fb 80 8b" not in str(error.value)
    assert error.value.found == (contents[:12].hex(" ") or "an empty file")
    assert ("HTML" in error.value.message) == contents.startswith(b"<html>")


def test_a_container_is_not_a_v1_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    path.write_bytes(FOREIGN["HDF5"][0])
    with pytest.raises(NotACheckpointError, match="not a checkpoint but an HDF5 file"):
        open_checkpoint(path, format="v1")


def test_a_safetensors_file_that_is_cut_off_in_its_header(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes((10).to_bytes(8, "little") + b'{"a": {}')
    with pytest.raises(TruncatedError, match="before its header does"):
        open_checkpoint(path)


@pytest.mark.parametrize(("contents", "words"), FOREIGN.values(), ids=list(FOREIGN))
def test_an_index_that_is_something_else(contents: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "m.index"
    path.write_bytes(contents)
    with pytest.raises(NotACheckpointError, match=words) as error:
        open_checkpoint(tmp_path / "m")
    assert error.value.file == str(path)
    assert error.value.found == contents[-8:].hex(" ")
    assert "57 fb 80 8b" in error.value.expected


def test_a_v1_shard_that_is_something_else(tmp_path: Path) -> None:
    path = tmp_path / "m-00000-of-00001"
    path.write_bytes(FOREIGN["git-lfs pointer"][0])
    with pytest.raises(NotACheckpointError, match="git-lfs pointer") as error:
        open_checkpoint(path)
    assert error.value.file == str(path)


@pytest.mark.parametrize(
    "contents", [b"", b"PK", b"\x00\x00" + bytes(100)], ids=["empty", "short", "cut"]
)
def test_other_errors_stay_as_they_are(contents: bytes) -> None:
    source = MemorySource("m", contents)
    with pytest.raises(TruncatedError) as alone:
        Table(source)
    with pytest.raises(TruncatedError) as seen, recognized(source):
        Table(source)
    assert str(seen.value) == str(alone.value)


class GoneSource(MemorySource):
    """A file that another program has removed from its disk, or shortened, or a closed source."""

    error: Exception

    def read(self, start: int, stop: int) -> bytes:
        raise self.error


@pytest.mark.parametrize(
    "error",
    [TruncatedError("short"), UnreadableError("input/output error"), ValueError("closed")],
    ids=["shortened", "unreadable", "closed"],
)
def test_the_first_error_stays_if_the_file_cannot_be_read_again(error: Exception) -> None:
    source = GoneSource("m", FOREIGN["zip"][0])
    source.error = error
    first: CheckpointError
    for context, first in (
        (with_format_hint, ChecksumError("first")),
        (recognized, TruncatedError("first")),
    ):
        with pytest.raises(type(first)) as seen, context(source):
            raise first
        assert seen.value is first


def test_a_table_that_begins_like_another_format_is_a_table() -> None:
    """It ends as a table does, so the error of the table is the right one."""
    sound = table([(b"", bundle_header())])
    contents = b"PK\x03\x04" + sound[4:]
    with recognized(MemorySource("m", contents)):
        assert Table(MemorySource("m", contents)).num_blocks == 1
