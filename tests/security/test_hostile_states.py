"""State files that are too large, binary, deep, or name what no checkpoint can be called."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckptparse import (
    CheckpointNotFoundError,
    CorruptCheckpointError,
    NotACheckpointError,
    open_checkpoint,
)
from ckptparse.limits import MAX_STATE_NBYTES
from ckptparse.paths.state_file import read_state
from ckptparse.sources import LocalFiles
from ckptparse.train import latest_checkpoint
from support.builders import write_bundle

WAYS = [{"mmap": mmap, "verify": verify} for mmap in (True, False) for verify in (True, False)]


def write(folder: Path, text: bytes) -> Path:
    """A directory with a checkpoint `ckpt-1` and this state file; the state file."""
    write_bundle(folder, {"x": np.ones(1, "f4")}, name="ckpt-1")
    path = folder / "checkpoint"
    path.write_bytes(text)
    return path


def naming(name: bytes) -> bytes:
    """The text of a state file that names a checkpoint; what is not plain is an octal escape."""
    plain = set(range(32, 127)) - {ord('"'), ord("\\")}
    coded = b"".join(b"%c" % byte if byte in plain else b"\\%03o" % byte for byte in name)
    return b'model_checkpoint_path: "%s"\n' % coded


def require_refused(path: Path, error_class: type[Exception], words: str) -> Any:
    """The directory of a state file gives this error, which names the state file."""
    for way in WAYS:
        with pytest.raises(error_class, match=words) as error:
            open_checkpoint(path.parent, **way)
        assert type(error.value) is error_class
        assert error.value.file == str(path)
        assert len(str(error.value)) < 5000
    with open_checkpoint(path.parent / "ckpt-1") as ckpt:
        assert ckpt["x"].tolist() == [1.0]
    return error.value


def test_the_state_file_that_is_damaged_below_is_right(tmp_path: Path) -> None:
    write(tmp_path, naming(b"ckpt-1"))
    for way in WAYS:
        with open_checkpoint(tmp_path, **way) as ckpt:
            assert ckpt["x"].tolist() == [1.0]


# Size


@pytest.mark.parametrize(
    "nbytes", [MAX_STATE_NBYTES + 1, 1 << 26, 1 << 30], ids=["one more", "64 MB", "1 GB"]
)
def test_large_files_are_refused_unread(tmp_path: Path, nbytes: int) -> None:
    path = write(tmp_path, naming(b"ckpt-1"))
    os.truncate(path, nbytes)  # a sparse file: zeros from there on
    words = f"state file\n  expected: at most {MAX_STATE_NBYTES} bytes\n  found: {nbytes}$"
    tracemalloc.start()
    try:
        require_refused(path, CorruptCheckpointError, words)
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


def test_a_file_of_the_largest_size(tmp_path: Path) -> None:
    text = naming(b"ckpt-1")
    write(tmp_path, text + b"#".ljust(MAX_STATE_NBYTES - len(text), b" "))
    with open_checkpoint(tmp_path) as ckpt:
        assert list(ckpt) == ["x"]


def test_a_hundred_thousand_paths(tmp_path: Path) -> None:
    kept = b"".join(b'all_model_checkpoint_paths: "%d"\n' % i for i in range(100_000))
    path = write(tmp_path, naming(b"ckpt-1") + kept)
    if len(path.read_bytes()) > MAX_STATE_NBYTES:
        require_refused(path, CorruptCheckpointError, "state file\n  expected: at most")
        return
    state = read_state(LocalFiles(mmap=False), str(path))
    assert state.model_checkpoint_path == "ckpt-1"
    assert len(state.all_model_checkpoint_paths) == 100_000
    assert state.all_model_checkpoint_paths[-1] == "99999"


# Text


TEXTS = {
    "zeros": bytes(100),
    "every byte": bytes(range(256)),
    "not UTF-8": b'model_checkpoint_path: "\xff"',
    "not UTF-8, escaped": b'model_checkpoint_path: "\\377\\376"',
    "UTF-16": 'model_checkpoint_path: "ckpt-1"'.encode("utf-16"),
    "NUL behind it": naming(b"ckpt-1") + b"\x00",
    "a table": b"\x00\x00\x06\x08\x01\x1a\x02\x08\x01",
    "binary CheckpointState": b"\x0a\x06ckpt-1",
    "an unknown field": naming(b"ckpt-1") + b"new_field: 1",
    "a number": b"model_checkpoint_path: 1",
    "a name without quotes": b"model_checkpoint_path: ckpt-1",
    "an open string": b'model_checkpoint_path: "ckpt-1',
    "an open escape": b'model_checkpoint_path: "ckpt-1\\',
    "a message": b'model_checkpoint_path { x: "ckpt-1" }',
    "a line break in a string": b'model_checkpoint_path: "ckpt\n-1"',
    "a timestamp that is none": naming(b"ckpt-1") + b"last_preserved_timestamp: x",
    "no colon": b'model_checkpoint_path "ckpt-1"',
    "braces 1000 deep": b"x { " * 1000 + b"} " * 1000,
    "braces 100000 deep": b"x { " * 100_000 + b"} " * 100_000,
    "angles 100000 deep": b"x < " * 100_000,
    "brackets 100000 deep": b"all_model_checkpoint_paths: " + b"[" * 100_000,
    "braces in a known field": b"model_checkpoint_path { " * 100_000,
    "extensions": b"[a.b]: 1 " * 1000,
    "any": b"[type.googleapis.com/x] { y: 1 }",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=list(TEXTS))
def test_texts_that_are_no_state(tmp_path: Path, text: bytes) -> None:
    path = write(tmp_path, text)
    require_refused(path, CorruptCheckpointError, "state file\n  expected: .* as text")


@pytest.mark.parametrize(
    "text",
    [b"", b"\n\n", b"# nothing", b'all_model_checkpoint_paths: "ckpt-1"', naming(b"")],
    ids=["empty", "blank", "comment", "no latest", "empty latest"],
)
def test_texts_without_a_latest_checkpoint(tmp_path: Path, text: bytes) -> None:
    path = write(tmp_path, text)
    words = "this state file names no checkpoint\n  expected: a model_checkpoint_path"
    require_refused(path, CorruptCheckpointError, words)


@pytest.mark.parametrize(
    "text",
    [
        naming(b"gone") + naming(b"ckpt-1"),
        b"last_preserved_timestamp: nan " + naming(b"ckpt-1"),
        b"last_preserved_timestamp: 1e999 " + naming(b"ckpt-1"),
        b'model_checkpoint_path: "ckpt" "-1"',
        b"\xef\xbb\xbf".replace(b"\xef\xbb\xbf", b"  \t\r\n") + naming(b"ckpt-1"),
    ],
    ids=["the last of two", "nan", "infinite", "in two pieces", "blanks"],
)
def test_unusual_texts_that_are_read(tmp_path: Path, text: bytes) -> None:
    write(tmp_path, text)
    with open_checkpoint(tmp_path) as ckpt:
        assert ckpt.path == str(tmp_path / "ckpt-1")


# Names

NAMES = {
    "NUL": b"ckpt-1\x00",
    "NUL before": b"\x00ckpt-1",
    "NUL in a folder": b"\x00/gone",
    "line break": b"ckpt-1\n",
    "escape sequence": b"\x1b[2Jckpt-1",
    "delete": b"ckpt-1\x7f",
    "all controls": bytes(range(1, 32)),
    "blank": b" ",
    "dots": b"...",
    "its directory": b".",
    "the directory above": b"..",
    "far above": b"../" * 5000 + b"etc/passwd",
    "above, with other slashes": b"..\\..\\gone",
    "beside, through above": b"gone/../../gone",
    "the root": b"/",
    "two slashes": b"//",
    "a backslash": b"\\",
    "a drive": b"C:",
    "absolute": b"/gone/ckpt-2",
    "a device": b"/dev/null/x",
    "a URL": b"file:///gone",
    "another URL": b"s3://gone/ckpt-2",
    "a pattern": b"ckpt-*",
    "a pattern of shards": b"ckpt-1-?????-of-00002",
    "a name longer than any": b"x" * 100_000,
    "a path longer than any": b"x/" * 50_000,
    "a pipe": b"|ls",
    "a substitution": b"$(ls) `ls` ~ %s {0}",
    "surrogates": "\U0001f600".encode(),
}


@pytest.mark.parametrize("name", NAMES.values(), ids=list(NAMES))
def test_names_of_nothing(tmp_path: Path, name: bytes) -> None:
    (tmp_path / "run").mkdir()
    path = write(tmp_path / "run", naming(name))
    error = require_refused(path, CheckpointNotFoundError, "this state file")
    assert "ckpt-1" in error.found or "no directory" in error.found
    # tf.train answers whatever path leads to anything, a directory too.
    leads_somewhere = name in (b".", b"..", b"/", b"//", b"ckpt-*")
    assert (latest_checkpoint(tmp_path / "run") is not None) == leads_somewhere


@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")
@pytest.mark.parametrize(
    "quoted", [b"ckpt\x00-1", b"ckpt\x1b-1", b"\\8"], ids=["NUL", "ESC", "no escape"]
)
def test_names_that_are_not_escaped_as_they_should_be(tmp_path: Path, quoted: bytes) -> None:
    path = write(tmp_path, b'model_checkpoint_path: "%s"' % quoted)
    require_refused(path, CheckpointNotFoundError, "this state file")


def test_a_state_file_that_names_itself(tmp_path: Path) -> None:
    write(tmp_path, naming(b"checkpoint"))
    for way in WAYS:
        with pytest.raises(NotACheckpointError, match="a `checkpoint` state file") as error:
            open_checkpoint(tmp_path, **way)
        assert error.value.file == str(tmp_path / "checkpoint")


def test_a_state_file_that_names_a_directory_with_one(tmp_path: Path) -> None:
    """A directory is not a checkpoint's name: nothing goes round in circles."""
    (tmp_path / "inner").mkdir()
    write(tmp_path / "inner", naming(b"../inner"))
    path = write(tmp_path, naming(b"inner"))
    require_refused(path, CheckpointNotFoundError, "this state file")
    require_refused(tmp_path / "inner" / "checkpoint", CheckpointNotFoundError, "this state file")
