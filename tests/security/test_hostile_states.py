"""State files that are too large, binary or deeply nested, or name what is no checkpoint."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from ckptparse import (
    CheckpointError,
    CheckpointNotFoundError,
    CorruptCheckpointError,
    NotACheckpointError,
)
from ckptparse.limits import MAX_STATE_NBYTES as MAX_NBYTES
from ckptparse.paths.state_file import read_state
from ckptparse.sources import LocalFiles
from ckptparse.train import latest_checkpoint
from support.builders import write_bundle
from support.hostile import OPEN, Refused, Right, each_case


def write(folder: Path, text: bytes) -> Path:
    """A directory with a checkpoint `ckpt-1` and this state file."""
    write_bundle(folder, {"x": np.ones(1, "f4")}, name="ckpt-1")
    (folder / "checkpoint").write_bytes(text)
    return folder


def naming(name: bytes) -> bytes:
    """The text of a state file that names a checkpoint; bytes that are not plain are escaped."""
    plain = set(range(32, 127)) - {ord('"'), ord("\\")}
    coded = b"".join(b"%c" % byte if byte in plain else b"\\%03o" % byte for byte in name)
    return b'model_checkpoint_path: "%s"\n' % coded


RIGHT = Right({"x": [1.0]})


def refused(words: str, error_class: type[CheckpointError] = CorruptCheckpointError) -> Refused:
    """The directory of a state file gives this error, which names the state file."""
    return Refused(OPEN, words, error_class, suffix=f"{os.sep}checkpoint")


LEADS_NOWHERE = refused("this state file", CheckpointNotFoundError)


def test_the_state_file_that_is_damaged_below_is_right(tmp_path: Path) -> None:
    RIGHT.check(write(tmp_path, naming(b"ckpt-1")))


def test_a_bad_state_file_does_not_matter_to_a_prefix(tmp_path: Path) -> None:
    RIGHT.check(write(tmp_path, b"\xff") / "ckpt-1")


# Size


def write_sparse(folder: Path, nbytes: int) -> Path:
    """A state file with zeros after the text, as a sparse file."""
    write(folder, naming(b"ckpt-1"))
    os.truncate(folder / "checkpoint", nbytes)
    return folder


test_large_files_are_refused_unread = each_case(
    write_sparse,
    {
        name: (
            nbytes,
            refused(f"state file\n  expected: at most {MAX_NBYTES} bytes\n  found: {nbytes}$"),
        )
        for name, nbytes in {"one more": MAX_NBYTES + 1, "64 MB": 1 << 26, "1 GB": 1 << 30}.items()
    },
    most_allocated=2 << 20,
)


def test_a_file_of_the_largest_size(tmp_path: Path) -> None:
    text = naming(b"ckpt-1")
    RIGHT.check(write(tmp_path, text + b"#".ljust(MAX_NBYTES - len(text), b" ")))


def test_a_hundred_thousand_paths(tmp_path: Path) -> None:
    kept = b"".join(b'all_model_checkpoint_paths: "%d"\n' % i for i in range(100_000))
    path = write(tmp_path, naming(b"ckpt-1") + kept) / "checkpoint"
    assert os.path.getsize(path) <= MAX_NBYTES
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

test_texts_that_are_no_state = each_case(
    write, TEXTS, refused("state file\n  expected: .* as text")
)

test_texts_without_a_latest_checkpoint = each_case(
    write,
    {
        "empty": b"",
        "blank": b"\n\n",
        "comment": b"# nothing",
        "no latest": b'all_model_checkpoint_paths: "ckpt-1"',
        "empty latest": naming(b""),
    },
    refused("this state file names no checkpoint\n  expected: a model_checkpoint_path"),
)

test_unusual_texts_that_are_read = each_case(
    write,
    {
        "the last of two": naming(b"gone") + naming(b"ckpt-1"),
        "nan": b"last_preserved_timestamp: nan " + naming(b"ckpt-1"),
        "infinite": b"last_preserved_timestamp: 1e999 " + naming(b"ckpt-1"),
        "in two pieces": b'model_checkpoint_path: "ckpt" "-1"',
        "blanks": b"  \t\r\n" + naming(b"ckpt-1"),
    },
    RIGHT,
)


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
    error = LEADS_NOWHERE.check(path)
    assert "ckpt-1" in error.found or "no directory" in error.found
    # As in TensorFlow, any existing path is an answer, even a directory.
    leads_somewhere = name in (b".", b"..", b"/", b"//", b"ckpt-*")
    assert (latest_checkpoint(tmp_path / "run") is not None) == leads_somewhere


ignore_escapes = pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")

test_names_that_are_not_escaped_as_they_should_be = ignore_escapes(
    each_case(
        lambda folder, quoted: write(folder, b'model_checkpoint_path: "%s"' % quoted),
        {"NUL": b"ckpt\x00-1", "ESC": b"ckpt\x1b-1", "no escape": b"\\8"},
        LEADS_NOWHERE,
    )
)


def test_a_state_file_that_names_itself(tmp_path: Path) -> None:
    path = write(tmp_path, naming(b"checkpoint"))
    refused("a `checkpoint` state file", NotACheckpointError).check(path)


def test_a_state_file_that_names_a_directory_with_one(tmp_path: Path) -> None:
    """A state file cannot name a directory, so there is no endless loop."""
    (tmp_path / "inner").mkdir()
    write(tmp_path / "inner", naming(b"../inner"))
    path = write(tmp_path, naming(b"inner"))
    LEADS_NOWHERE.check(path)
    LEADS_NOWHERE.check(tmp_path / "inner")
