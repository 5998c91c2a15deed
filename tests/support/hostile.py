"""Hostile checkpoints asked in every way: all must give the same answer.

A case is a checkpoint whose checksums are right around one wrong field.  It is opened mapped and
read by position, with checksums of tensors compared and not.  In half of these ways every question
is put to a checkpoint that was just opened, so that no answer leans on the one before; in the other
half one checkpoint is asked everything, so that none of its answers spoils the next.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckptparse import Checkpoint, CheckpointError, ChecksumError, UnsupportedError, open_checkpoint
from support.builders import varint

OPEN, LIST, FIND, READ = range(4)
"""The question that meets an error first: opening, names, what is known of a tensor, its bytes."""

QUESTIONS: dict[str, tuple[int, Callable[[Checkpoint, str], Any]]] = {
    "open": (OPEN, lambda ckpt, name: None),
    "list": (LIST, lambda ckpt, name: list(ckpt)),
    "infos": (FIND, lambda ckpt, name: ckpt.infos()),
    "in": (FIND, lambda ckpt, name: name in ckpt),
    "info": (FIND, lambda ckpt, name: ckpt.info(name)),
    "read": (READ, lambda ckpt, name: ckpt[name]),
    "part": (READ, lambda ckpt, name: ckpt.read(name, np.s_[..., None])),
}

WAYS = [{"mmap": mmap, "verify": verify} for mmap in (True, False) for verify in (True, False)]
FRESH = WAYS[::3]
"""In these ways a checkpoint is opened for every question, in the others one gets them all."""


def ask(path: Path, name: str, **way: bool) -> Iterator[tuple[str, int, object]]:
    """Each question, its stage and its answer: a value, or an error of the tree."""
    shared: Checkpoint | None = None
    for question, (stage, put) in QUESTIONS.items():
        answer: object
        try:
            if shared is None or way in FRESH:
                shared = open_checkpoint(path, **way)
            answer = put(shared, name)
        except CheckpointError as error:
            answer = error
        yield question, stage, answer
        if shared is None:  # nothing can be asked of what does not open
            return
    if shared is not None:
        shared.close()


def require_refused(
    path: Path,
    error_class: type[CheckpointError],
    words: str,
    *,
    at: int,
    name: str = "x",
    of_index: bool = False,
) -> CheckpointError:
    """Check that from one question on everything gives the same error, and nothing before it does.

    Args:
        path: the checkpoint.
        error_class: exactly this class.
        words: a pattern for the text of the error.
        at: the question that meets it first.
        name: the tensor that is asked for.
        of_index: whether the index is damaged, instead of this one tensor.

    Returns:
        The error.
    """
    texts: dict[str, set[str]] = {}
    refusal: CheckpointError | None = None
    for way in WAYS:
        for question, stage, answer in ask(path, name, **way):
            if stage < at:
                assert not isinstance(answer, CheckpointError), (question, way, answer)
                continue
            assert type(answer) is error_class, (question, way, answer)
            assert re.search(words, str(answer), re.DOTALL), (question, way, words, str(answer))
            assert answer.file is not None, (question, way)
            assert answer.file.startswith(str(path)), (question, way)
            assert answer.found is not None, (question, way)
            assert len(str(answer)) < 2000
            texts.setdefault(question, set()).add(str(answer))
            refusal = answer
        if at > OPEN:
            with open_checkpoint(path, **way) as ckpt:
                assert found_by_verify(ckpt) == [(None if of_index else name, error_class)], way
                assert found_by_verify(ckpt, name) == [(name, error_class)], way
    assert all(len(said) == 1 for said in texts.values()), texts
    assert refusal is not None
    return refusal


def found_by_verify(
    ckpt: Checkpoint, *names: str
) -> list[tuple[str | None, type[CheckpointError]]]:
    """What verification reports: names of tensors, None for the index, and classes of errors."""
    report = ckpt.verify(names or None)
    assert report.ok == (not report.damaged)
    return [(damage.name, type(damage.error)) for damage in report.damaged]


def require_right(path: Path, expected: Mapping[str, Any]) -> None:
    """Check that these tensors are there and no others, with these values, whichever way."""
    for way in WAYS:
        with open_checkpoint(path, **way) as ckpt:
            assert list(ckpt) == list(expected)
            assert [info.name for info in ckpt.infos()] == list(expected)
            for name, value in expected.items():
                assert name in ckpt
                assert ckpt[name].tolist() == value, (name, way)
                assert ckpt.read(name, np.s_[None, ...]).tolist() == [value], (name, way)
            assert ckpt.verify().damaged == ()


def codings_of(true: int, max_nbytes: int = 10) -> dict[str, bytes]:
    """A field that is a varint, written in the eight ways that every field is tried in.

    `true` is what it should be, `max_nbytes` how long a varint may be: 10, or 5 for one of 32 bits.
    """
    return {
        "zero": varint(0),
        "one less": varint((true - 1) % 2**64),
        "one more": varint(true + 1),
        "negative": varint(2**64 - 1),
        "2**31": varint(2**31),
        "2**63-1": varint(2**63 - 1),
        "not minimal": varint(true, max_nbytes),
        "overlong": varint(true, max_nbytes + 1),
    }


def rows(table: Mapping[str, Mapping[str, Any]]) -> list[Any]:
    """The cells of a table field x coding -> expected, as parameters (field, coding, expected)."""
    return [
        pytest.param(field, coding, expected, id=f"{field}-{coding}")
        for field, row in table.items()
        for coding, expected in row.items()
    ]


def require_changed(path: Path, words: str, *, name: str = "x") -> None:
    """Check what only a stored checksum tells: it is an error unless `verify=False` says not to."""
    for way in WAYS:
        for question, stage, answer in ask(path, name, **way):
            if stage < READ or not way["verify"]:
                assert not isinstance(answer, CheckpointError), (question, way, answer)
                continue
            assert type(answer) is ChecksumError, (question, way, answer)
            assert re.search(words, str(answer), re.DOTALL), (question, way, words, str(answer))
            assert answer.file is not None
            assert answer.file.startswith(f"{path}.data-")
            assert answer.offset is not None
        with open_checkpoint(path, **way) as ckpt:
            assert found_by_verify(ckpt) == [(name, ChecksumError)], way


def require_unsupported(
    path: Path, words: str, *, name: str = "x", unchecked: bool = False
) -> None:
    """Check that a tensor is listed and not readable, and that it does not count as damaged.

    `unchecked` says whether its checksum is one that is not known either.
    """
    for way in WAYS:
        for question, stage, answer in ask(path, name, **way):
            if stage < READ:
                assert not isinstance(answer, CheckpointError), (question, way, answer)
                continue
            assert type(answer) is UnsupportedError, (question, way, answer)
            assert re.search(words, str(answer), re.DOTALL), (question, way, words, str(answer))
            assert answer.file is not None
        with open_checkpoint(path, **way) as ckpt:
            report = ckpt.verify()
            assert (report.damaged, report.unchecked) == ((), (name,) if unchecked else ())
