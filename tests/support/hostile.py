"""Bad files in tables: how each is made, and the answer to every question that is put to it.

Each file has one wrong field; the checksums around it are right.  A suite is mostly tables, and
`each_case` makes a test of a table::

    test_handles = each_case(
        write,                                              (folder, input) -> checkpoint
        {
            "points at the footer": (handle(...), Refused(OPEN, "block handle")),
            "points at itself": (handle(...), Refused(LIST, "first key of block 1")),
        },
    )

What must happen is a `Right`, a `Refused`, a `Changed`, an `Unsupported`, or anything else that has
a method `check(path)`.

A checkpoint is opened mapped and read by position, with checksums of tensors compared and not.  In
half of these ways every question is put to a checkpoint that was just opened, so that no answer
depends on the one before; in the other half one checkpoint is asked everything, so that none of its
answers spoils the next.
"""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import EllipsisType
from typing import Any, NamedTuple, Protocol

import numpy as np
import pytest

from ckptparse import (
    Checkpoint,
    CheckpointError,
    ChecksumError,
    CorruptCheckpointError,
    UnsupportedError,
    open_checkpoint,
)
from support.builders import groups, varint, wrapped

# Questions

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


def opened(path: Path, ways: Sequence[Mapping[str, bool]] = WAYS) -> Iterator[Checkpoint]:
    """Yield the checkpoint, opened in each of these ways."""
    for way in ways:
        with open_checkpoint(path, **way) as ckpt:
            yield ckpt


def found_by_verify(
    ckpt: Checkpoint, *names: str
) -> list[tuple[str | None, type[CheckpointError]]]:
    """What verification reports: names of tensors, None for the index, and classes of errors."""
    report = ckpt.verify(names or None)
    assert report.ok == (not report.damaged)
    return [(damage.name, type(damage.error)) for damage in report.damaged]


# What must happen


class Outcome(Protocol):
    """What must happen to a bad file."""

    def check(self, path: Path) -> object: ...


@dataclass(frozen=True)
class Right:
    """These tensors are there and no others, with these values, whichever way."""

    values: Mapping[str, Any]

    def check(self, path: Path) -> None:
        for way in WAYS:
            with open_checkpoint(path, **way) as ckpt:
                assert list(ckpt) == list(self.values)
                assert [info.name for info in ckpt.infos()] == list(self.values)
                for name, value in self.values.items():
                    assert name in ckpt
                    assert ckpt[name].tolist() == value, (name, way)
                    assert ckpt.read(name, np.s_[None, ...]).tolist() == [value], (name, way)
                assert ckpt.verify().damaged == ()


@dataclass(frozen=True)
class Refused:
    """From one question on everything gives the same error, and nothing before it does.

    Attributes:
        at: the question that meets the error first.
        words: a pattern for its text.
        error_class: exactly this class.
        name: the tensor that is asked for.
        of_index: whether the index is damaged, instead of this one tensor.
        suffix: the error names the checkpoint's path followed by this; None: by anything.
        offset: the error's offset; not compared if it is an ellipsis.
    """

    at: int
    words: str
    error_class: type[CheckpointError] = CorruptCheckpointError
    name: str = "x"
    of_index: bool = False
    suffix: str | None = None
    offset: int | EllipsisType | None = ...

    def check(self, path: Path) -> CheckpointError:
        """Return the error."""
        texts: dict[str, set[str]] = {}
        refusal: CheckpointError | None = None
        for way in WAYS:
            for question, stage, answer in ask(path, self.name, **way):
                if stage < self.at:
                    assert not isinstance(answer, CheckpointError), (question, way, answer)
                    continue
                refusal = self.check_answer(path, answer, (question, way))
                texts.setdefault(question, set()).add(str(refusal))
            if self.at > OPEN:
                with open_checkpoint(path, **way) as ckpt:
                    damaged = None if self.of_index else self.name
                    assert found_by_verify(ckpt) == [(damaged, self.error_class)], way
                    assert found_by_verify(ckpt, self.name) == [(self.name, self.error_class)], way
        assert all(len(said) == 1 for said in texts.values()), texts
        assert refusal is not None
        return refusal

    def check_answer(self, path: Path, answer: object, asked: object) -> CheckpointError:
        assert type(answer) is self.error_class, (asked, answer)
        assert re.search(self.words, str(answer), re.DOTALL), (asked, self.words, str(answer))
        assert len(str(answer)) < 2000
        assert answer.found is not None, asked
        assert answer.file is not None, asked
        if self.suffix is None:
            assert answer.file.startswith(str(path)), asked
        else:
            assert answer.file == f"{path}{self.suffix}", asked
        if self.offset is not ...:
            assert answer.offset == self.offset, asked
        return answer


@dataclass(frozen=True)
class Changed:
    """Other bytes than were written, which only a checksum shows: no error with `verify=False`."""

    words: str

    def check(self, path: Path) -> None:
        for way in WAYS:
            for question, stage, answer in ask(path, "x", **way):
                if stage < READ or not way["verify"]:
                    assert not isinstance(answer, CheckpointError), (question, way, answer)
                    continue
                assert type(answer) is ChecksumError, (question, way, answer)
                assert re.search(self.words, str(answer), re.DOTALL), (question, way, str(answer))
                assert answer.file is not None
                assert answer.file.startswith(f"{path}.data-")
                assert answer.offset is not None
            with open_checkpoint(path, **way) as ckpt:
                assert found_by_verify(ckpt) == [("x", ChecksumError)], way


@dataclass(frozen=True)
class Unsupported:
    """A tensor that is listed and not readable, and does not count as damaged.

    `unchecked` says whether its checksum is one that is not known either.
    """

    words: str
    unchecked: bool = False

    def check(self, path: Path) -> None:
        for way in WAYS:
            for question, stage, answer in ask(path, "x", **way):
                if stage < READ:
                    assert not isinstance(answer, CheckpointError), (question, way, answer)
                    continue
                assert type(answer) is UnsupportedError, (question, way, answer)
                assert re.search(self.words, str(answer), re.DOTALL), (question, way, str(answer))
                assert answer.file is not None
            with open_checkpoint(path, **way) as ckpt:
                report = ckpt.verify()
                unchecked = ("x",) if self.unchecked else ()
                assert (report.damaged, report.unchecked) == ((), unchecked)


# Tables

DEPTHS = (1000, 100_000)
"""How deep messages are nested."""


def groups_in(messages: Mapping[str, Sequence[int]], before: bytes = b"") -> dict[str, bytes]:
    """Groups nested in each message: ids such as "shape-1000".

    Args:
        messages: name -> the numbers of the fields that lead to it.
        before: bytes that come before the groups and the messages around them.
    """
    return {
        f"{name}-{depth}": before + wrapped(numbers, groups(depth))
        for name, numbers in messages.items()
        for depth in DEPTHS
    }


Row = tuple[Any, Outcome]
"""The input of a writer, and what must happen to the file that it makes of it."""


def each_case(
    write: Callable[[Path, Any], Path],
    rows: Mapping[str, Any],
    outcome: Outcome | None = None,
    *,
    most_allocated: int | None = None,
) -> Callable[..., None]:
    """Make a test with a case for each row, to be assigned to a name that begins with `test_`.

    Args:
        write: writes the bad file of an input into a folder, and returns what to open.
        rows: id of the case -> row; or -> input, if all of them have one outcome.
        outcome: the one outcome.
        most_allocated: how many bytes the check may allocate.
    """
    rows = rows if outcome is None else with_outcome(outcome, rows)

    @pytest.mark.parametrize(("crafted", "outcome"), rows.values(), ids=list(rows))
    def test(tmp_path: Path, crafted: Any, outcome: Outcome) -> None:
        path = write(tmp_path, crafted)
        with allocating_at_most(most_allocated) if most_allocated else nullcontext():
            outcome.check(path)

    return test


def with_outcome(outcome: Outcome, inputs: Mapping[str, Any]) -> dict[str, Row]:
    """The rows of inputs that all have one outcome."""
    return {name: (crafted, outcome) for name, crafted in inputs.items()}


@contextmanager
def allocating_at_most(nbytes: int) -> Iterator[None]:
    """Check that no more is allocated at any time inside of the block."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < nbytes
    finally:
        tracemalloc.stop()


# Fields that are varints

CODINGS: dict[str, Callable[[int, int], bytes]] = {
    "zero": lambda true, most: varint(0),
    "one less": lambda true, most: varint((true - 1) % 2**64),
    "one more": lambda true, most: varint(true + 1),
    "negative": lambda true, most: varint(2**64 - 1),
    "2**31": lambda true, most: varint(2**31),
    "2**63-1": lambda true, most: varint(2**63 - 1),
    "not minimal": varint,
    "overlong": lambda true, most: varint(true, most + 1),
}
"""The ways that every field is tried in, of its true value and the most bytes of a varint."""


def coded(true: int, coding: str, max_nbytes: int = 10) -> bytes:
    """A field in one of `CODINGS`; `max_nbytes` is 10, or 5 for a number of 32 bits."""
    return CODINGS[coding](true, max_nbytes)


class Field(NamedTuple):
    """The true value of a field, and coding -> what must happen."""

    true: int
    outcomes: Mapping[str, Outcome]


def field(
    true: int, sound: Outcome, usual: Outcome, overlong: Outcome, **others: Outcome | None
) -> Field:
    """What must happen to a field.

    Args:
        true: the value that the field should have.
        sound: the outcome of this value in a varint that is not minimal.
        usual: the outcome of all codings but those that are named.
        overlong: the outcome of a varint of too many bytes.
        others: outcomes of ``below`` (zero, and one less), ``zero``, ``one_less``, ``one_more``,
            ``negative``, ``two_31`` (2**31), ``two_63`` (2**63-1); None: this is not tried.
    """
    below = others.pop("below", usual)
    outcomes = {
        "zero": others.pop("zero", below),
        "one less": others.pop("one_less", below),
        "one more": others.pop("one_more", usual),
        "negative": others.pop("negative", usual),
        "2**31": others.pop("two_31", usual),
        "2**63-1": others.pop("two_63", usual),
        "not minimal": sound,
        "overlong": overlong,
    }
    assert not others, others
    if true in (0, 1):
        del outcomes["one less"]  # the same as "negative" or "zero"
    return Field(true, {name: outcome for name, outcome in outcomes.items() if outcome})


def field_rows(
    fields: Mapping[str, Field], craft: Callable[[str, bytes], Any], *, max_nbytes: int = 10
) -> dict[str, Row]:
    """The rows of fields, each in all of its codings: ids such as "size-one less".

    Args:
        fields: name -> field.
        craft: makes a writer's input of a field's name and its coded value.
        max_nbytes: of a varint: 10, or 5 for a number of 32 bits.
    """
    return {
        f"{name}-{coding}": (craft(name, coded(true, coding, max_nbytes)), outcome)
        for name, (true, outcomes) in fields.items()
        for coding, outcome in outcomes.items()
    }
