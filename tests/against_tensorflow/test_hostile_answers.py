"""Files that TensorFlow handles badly: its recorded answers, and the right ones.

`support/hostile_cases.py` writes the files; `hostile_answers.json` records what TensorFlow 2.21 did
with them (see `tools/measure_hostile.py`).
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckptparse import (
    Checkpoint,
    CheckpointError,
    CheckpointNotFoundError,
    ChecksumError,
    CorruptCheckpointError,
    NotACheckpointError,
    UnsupportedError,
    open_checkpoint,
)
from ckptparse.errors import TensorNotFoundError
from support.builders import Bundle
from support.children import output_of
from support.hostile_cases import (
    CASES,
    SECRET,
    STORED,
    A,
    B,
    C,
    HostileCase,
    P,
    Q,
    entry_of_b,
    write_whole,
)

RECORD = json.loads(Path(__file__).with_name("hostile_answers.json").read_text())

IN_CHILD = ("FIFO", "state file")
"""How the names of cases begin that hang TensorFlow: a child with a time limit reads them."""

READ_HERE = [case for case in CASES if not case.name.startswith(IN_CHILD)]
BY_NAME = {case.name: case for case in CASES}


def runs_of(name: str) -> list[dict[str, Any]]:
    return RECORD["cases"][name]["runs"]


# TensorFlow


@dataclass(frozen=True)
class End:
    """How TensorFlow's process ended: the number of answers before, the way, the last message."""

    num_answers: int
    ended: str
    words: str = ""


ABORTED, HUNG = "SIGABRT", "no answer"
"""How a process ends that finds no other way out, and one that is asked to answer in 10 s."""

ENDS = {
    "flipped bit in the index": End(4, "exit 0"),
    "entry that does not parse": End(0, ABORTED, "entry.ParseFromString"),
    "negative dimension": End(0, ABORTED, "size >= 0 .-3 vs. 0"),
    "300 dimensions": End(0, ABORTED, "Too many dimensions"),
    "overflowing shape": End(0, ABORTED, "0 <= new_num_elements"),
    "dtype 0": End(2, ABORTED, "Type not set"),
    "dtype 34": End(2, ABORTED, "Unexpected type: 34"),
    "dtype 101": End(2, ABORTED, "Unexpected type: 101"),
    "resource": End(2, ABORTED, "DT_STRING == val.dtype"),
    "damaged slice": End(2, ABORTED, "Checksum does not match"),
    "damaged slice, then another tensor": End(1, ABORTED, "Checksum does not match"),
    "damaged slice, restored": End(3, "exit 0"),
    "slice smaller than its extents": End(5, "exit 0"),
    "slice without elements": End(1, "SIGSEGV"),
    "slice of another dtype": End(1, ABORTED, "float expected, got int32"),
    "slice that is sliced itself": End(2, ABORTED, "Invalid size in bundle entry"),
    "slice with a start but no length": End(1, ABORTED, "size >= 0 .-1 vs. 0"),
    "hole in V1 slices": End(5, "exit 0"),
    "FIFO as index": End(0, HUNG),
    "FIFO as shard": End(1, HUNG),
    "FIFO as V1 file": End(0, HUNG),
    "FIFO as state file": End(0, HUNG),
    "FIFO as graph": End(0, HUNG),
    "state file of 64 MB": End(0, HUNG),
    "state file of 1 GB": End(0, HUNG),
    "state file of backslashes": End(0, HUNG),
}


def test_the_record_is_of_these_cases() -> None:
    assert RECORD["made_with"]["tensorflow"].startswith("2.21.")
    assert RECORD["seconds"] == 10
    assert list(RECORD["cases"]) == [case.name for case in CASES] == list(ENDS)
    for case in CASES:
        assert RECORD["cases"][case.name]["damage"] == case.damage
        assert len(runs_of(case.name)) == case.num_runs
        for run in runs_of(case.name):
            asked = [tuple(answer["asked"]) for answer in run["answers"]]
            assert asked == list(case.questions[: len(asked)])


@pytest.mark.parametrize("name", ENDS)
def test_how_tensorflow_ended(name: str) -> None:
    end = ENDS[name]
    for run in runs_of(name):
        assert (len(run["answers"]), run["ended"]) == (end.num_answers, end.ended)
        assert re.search(end.words, run.get("said", ""))


def test_tensorflow_loses_the_names_in_a_damaged_block_and_raises_nothing() -> None:
    ((shapes, a, b, c),) = (run["answers"] for run in runs_of("flipped bit in the index"))
    assert shapes["result"] == {"a": [3], "c": [3]}
    assert (a["result"]["values"], c["result"]["values"]) == (A, C)
    assert b["raises"]["type"] == "NotFoundError"


@pytest.mark.parametrize(
    "name", ["damaged slice", "damaged slice, then another tensor", "slice that is sliced itself"]
)
def test_tensorflow_raises_for_a_bad_slice_and_aborts_at_the_next_read(name: str) -> None:
    (run,) = runs_of(name)
    assert run["answers"][-1]["asked"] == ["get", "p"]
    assert run["answers"][-1]["raises"]["type"] == "OpError"
    assert run["said"].startswith("tensor_bundle.cc: Check failed")


def test_tensorflow_restores_other_tensors_after_a_damaged_slice() -> None:
    ((first, second, z),) = (run["answers"] for run in runs_of("damaged slice, restored"))
    assert first["raises"]["type"] == second["raises"]["type"] == "DataLossError"
    assert z["result"]["values"] == A


def test_tensorflow_returns_foreign_memory_for_a_slice_that_is_too_small() -> None:
    read = [
        answer["result"]["values"]
        for run in runs_of("slice smaller than its extents")
        for answer in run["answers"]
        if answer["asked"] == ["get", "p"]
    ]
    assert len(read) == 4
    stored = [*P[0], *P[2], *P[3]]
    assert all(values[:2] + values[4:] == stored for values in read)
    # Row 1 is not in the file; reading it again gives something else.
    assert len({tuple(values[2:4]) for values in read}) > 1


def test_tensorflow_returns_foreign_memory_for_a_hole_in_v1_slices() -> None:
    read = []
    for run in runs_of("hole in V1 slices"):
        _, first, s, again, restored = run["answers"]
        assert set(s["result"]["values"]) == set(SECRET)
        assert restored["raises"]["type"] == "InvalidArgumentError"
        read += [first["result"], again["result"]]
    assert all(tensor["shape"] == [1000] for tensor in read)
    assert all(tensor["values"][:2] == STORED for tensor in read)
    # The others are not in the file; in other processes they are something else.
    assert len({tuple(tensor["values"][2:]) for tensor in read}) > 1


# ckptparse


@dataclass(frozen=True)
class Refused:
    """An error that is the right answer: its class, the tensor, the end of the file's name."""

    error: type[CheckpointError]
    tensor: str | None
    file: str
    words: str


def of_index(words: str, tensor: str = "b") -> Refused:
    """An entry of the index that is wrong by itself."""
    return Refused(CorruptCheckpointError, tensor, ".index", words)


def of_slice(words: str) -> Refused:
    """A slice that is not what the tensor's own entry says."""
    return Refused(CorruptCheckpointError, "p", "model.ckpt", words)


def whole(b: Refused, listing: Refused | None = None) -> list[Any]:
    """Answers where only b is bad, and perhaps the listing."""
    return [listing or {"a": [3], "b": [3], "c": [3]}, A, b, C]


def sliced(p: Refused, listing: Refused | None = None) -> list[Any]:
    """Answers where only p is bad, and perhaps the listing."""
    return [listing or {"p": [4, 2], "q": [4, 2], "z": [3]}, p, p, Q, A]


BAD_BLOCK = Refused(ChecksumError, None, ".index", "bytes of the block do not match")
NOT_AN_ARRAY = "cannot be read as an array"
BAD_BYTES = Refused(ChecksumError, "p", ".data-00000-of-00001", "bytes of the tensor do not match")
HOLE = Refused(CorruptCheckpointError, "x", "model.ckpt", "expected: 1000 elements\n  found: 2")


def entry(words: str) -> list[Any]:
    """Answers where the entry of b is wrong by itself, so that nothing can be listed."""
    return whole(of_index(words), of_index(words))


def dtype(words: str) -> list[Any]:
    """Answers where b has a dtype that has no array: it is listed, and not read."""
    return whole(Refused(UnsupportedError, "b", "model.ckpt", f"{NOT_AN_ARRAY}.*{words}"))


NO_LENGTH = of_index("found: start 2, length none", "p")

OURS = {
    "flipped bit in the index": whole(BAD_BLOCK, BAD_BLOCK),
    "entry that does not parse": entry("expected: a BundleEntryProto"),
    "negative dimension": entry(r"sizes from 0(?s:.*)found: \[-3\]"),
    "300 dimensions": entry("at most 254 dimensions\n  found: 300"),
    "overflowing shape": entry("fewer than 2.*63 elements"),
    "dtype 0": dtype("unknown dtype 0"),
    "dtype 34": dtype("unknown dtype 34"),
    "dtype 101": dtype("unknown dtype 101"),
    "resource": dtype("a resource"),
    "damaged slice": sliced(BAD_BYTES),
    "damaged slice, then another tensor": [BAD_BYTES, A],
    "damaged slice, restored": [BAD_BYTES, BAD_BYTES, A],
    "slice smaller than its extents": sliced(
        of_slice(r"float32 \[2, 2\]\n  found: float32 \[1, 2\]")
    ),
    "slice without elements": sliced(of_slice(r"float32 \[2, 2\]\n  found: float32 \[0, 2\]")),
    "slice of another dtype": sliced(of_slice(r"float32 \[2, 2\]\n  found: int32 \[2, 2\]")),
    "slice that is sliced itself": sliced(of_slice("found: one that is sliced itself")),
    "slice with a start but no length": sliced(NO_LENGTH, NO_LENGTH),
    "hole in V1 slices": [{"s": [1000], "x": [1000]}, HOLE, SECRET, HOLE, HOLE],
}


def test_each_case_has_an_answer_of_ours() -> None:
    assert list(OURS) == [case.name for case in READ_HERE]


def put(ckpt: Checkpoint, word: str, *names: str) -> Any:
    """Return our answer to a question: a value, or the error that was raised."""
    try:
        if word == "shapes":
            return {info.name: list(info.shape) for info in ckpt.infos()}
        return ckpt[names[0]].tolist()
    except CheckpointError as error:
        return error


def require(answer: Any, expected: Any) -> None:
    if not isinstance(expected, Refused):
        assert answer == expected
        return
    assert type(answer) is expected.error
    assert answer.tensor == expected.tensor
    assert answer.file.endswith(expected.file)
    assert re.search(expected.words, str(answer), re.DOTALL)
    assert answer.expected is not None
    assert answer.found is not None


@pytest.mark.parametrize("mmap", [True, False], ids=["mapped", "pread"])
@pytest.mark.parametrize("case", READ_HERE, ids=lambda case: case.name)
def test_we_answer_every_question(case: HostileCase, mmap: bool, tmp_path: Path) -> None:
    with open_checkpoint(case.write(tmp_path), mmap=mmap) as ckpt:  # one for all questions
        for question, expected in zip(case.questions, OURS[case.name], strict=True):
            require(put(ckpt, *question), expected)


@pytest.mark.parametrize("case", READ_HERE, ids=lambda case: case.name)
def test_verification_reports_what_is_bad_and_nothing_else(
    case: HostileCase, tmp_path: Path
) -> None:
    refused = {answer for answer in OURS[case.name] if isinstance(answer, Refused)}
    with open_checkpoint(case.write(tmp_path)) as ckpt:
        report = ckpt.verify()
    (bad,) = refused
    if bad.error is UnsupportedError:  # not counted as damage
        assert report.ok
        assert report.unchecked == (bad.tensor,)
    else:
        (damage,) = report.damaged
        assert damage.name == bad.tensor
        require(damage.error, bad)


def test_a_flipped_bit_in_the_index_is_placed_at_its_block(tmp_path: Path) -> None:
    prefix = BY_NAME["flipped bit in the index"].write(tmp_path)
    contents = Path(f"{prefix}.index").read_bytes()
    flipped = contents.index(bytes([ord("b") ^ 0x10]))
    with open_checkpoint(prefix) as ckpt, pytest.raises(ChecksumError) as error:
        list(ckpt)
    assert error.value.offset == flipped - 3  # a block begins with the three sizes of its entry


def test_what_is_damaged_is_never_said_to_be_absent(tmp_path: Path) -> None:
    prefix = BY_NAME["flipped bit in the index"].write(tmp_path)
    with open_checkpoint(prefix) as ckpt:
        with pytest.raises(ChecksumError):
            "b" in ckpt  # noqa: B015  # asking is what raises
        with pytest.raises(TensorNotFoundError):  # a lookup in a block that is whole
            ckpt["d"]


def test_a_dtype_without_arrays_is_named_in_the_listing(tmp_path: Path) -> None:
    with open_checkpoint(BY_NAME["dtype 34"].write(tmp_path)) as ckpt:
        info = ckpt.info("b")
    assert (info.tensorflow_dtype, info.dtype) == ("unknown dtype 34", np.dtype(object))


# What hangs TensorFlow, in a child

ASK = """
    import sys, warnings
    from ckptparse import CheckpointError, open_checkpoint, train
    path, word, *name = sys.argv[1:]
    try:
        with open_checkpoint(path) as ckpt:
            if word == "latest":
                print(ckpt.path)
            elif word == "graph":
                print(ckpt.meta_graph)
            else:
                print(ckpt[name[0]] if name else list(ckpt))
    except CheckpointError as error:
        print(type(error).__name__)
        print(str(error))
    if word == "latest":
        warnings.simplefilter("ignore")
        print(train.latest_checkpoint(path))
"""

NOT_FOUND, NOT_A_CHECKPOINT, CORRUPT = (
    error.__name__
    for error in (CheckpointNotFoundError, NotACheckpointError, CorruptCheckpointError)
)

AT_ONCE = {
    "FIFO as index": ([NOT_FOUND, NOT_A_CHECKPOINT], ".index"),
    "FIFO as shard": ([NOT_A_CHECKPOINT], "a FIFO"),
    "FIFO as V1 file": ([NOT_FOUND, NOT_A_CHECKPOINT], "v1.ckpt"),
    "FIFO as state file": ([NOT_FOUND, NOT_A_CHECKPOINT], "checkpoint"),
    "FIFO as graph": (["None", NOT_A_CHECKPOINT, NOT_FOUND], ""),
    "state file of 64 MB": ([CORRUPT], "found: 67108864"),
    "state file of 1 GB": ([CORRUPT], "found: 1073741824"),
    "state file of backslashes": ([NOT_FOUND], "is gone"),
}
"""Our answers, errors by the names of their classes, and words of their texts."""

needs_fifos = pytest.mark.skipif(
    not hasattr(os, "mkfifo"), reason="this system has no FIFOs in its file system"
)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=needs_fifos if name.startswith("FIFO") else ()) for name in AT_ONCE],
)
def test_we_answer_at_once(name: str, tmp_path: Path) -> None:
    path = BY_NAME[name].write(tmp_path)
    asked = BY_NAME[name].questions[-1]
    said = output_of(ASK, path, *asked)
    answers, words = AT_ONCE[name]
    assert said[0] in answers
    assert words in "".join(said[1:])
    if asked == ("latest",):
        assert said[-1] == "None"


def test_each_case_that_hangs_tensorflow_is_asked_in_a_child() -> None:
    assert list(AT_ONCE) == [case.name for case in CASES if case not in READ_HERE]
    assert all(ENDS[name].ended == HUNG for name in AT_ONCE)


def test_b_is_what_its_crafted_entries_point_to(tmp_path: Path) -> None:
    """Nothing else is wrong with the files: with a sound entry, b can be read."""

    def edit(bundle: Bundle) -> None:
        bundle.index[b"b"] = entry_of_b(1)

    with open_checkpoint(write_whole(tmp_path, edit)) as ckpt:
        assert [ckpt[name].tolist() for name in "abc"] == [A, B, C]
