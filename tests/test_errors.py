"""The errors: their base classes, their texts, and that they can be pickled and copied."""

from __future__ import annotations

import copy
import errno
import pickle
from collections.abc import Callable

import numpy as np
import pytest

import ckptparse
from ckptparse import MismatchError, errors, load_into
from ckptparse.errors import (
    CheckpointError,
    CheckpointExistsError,
    CheckpointNotFoundError,
    ChecksumError,
    ConflictError,
    CorruptCheckpointError,
    DataLossError,
    InvalidTensorsError,
    MissingShardError,
    NotACheckpointError,
    NotFoundError,
    TensorNotFoundError,
    TruncatedError,
    UnreadableError,
    UnsupportedError,
    UnwritableError,
    located,
)
from support.ids import short

CLASSES: list[type[CheckpointError]] = [
    CheckpointError,
    NotFoundError,
    DataLossError,
    CheckpointNotFoundError,
    MissingShardError,
    TensorNotFoundError,
    NotACheckpointError,
    CorruptCheckpointError,
    ChecksumError,
    TruncatedError,
    UnsupportedError,
    UnreadableError,
    ConflictError,
    UnwritableError,
    CheckpointExistsError,
    InvalidTensorsError,
]
by_class = pytest.mark.parametrize("error_class", CLASSES, ids=lambda c: c.__name__)


def test_the_list_above_is_all_of_them() -> None:
    defined = {
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, CheckpointError)
    }
    assert defined == set(CLASSES)


@by_class
def test_each_is_exported(error_class: type[CheckpointError]) -> None:
    assert getattr(ckptparse, error_class.__name__) is error_class
    assert error_class.__name__ in ckptparse.__all__


@pytest.mark.parametrize(
    ("error_class", "parents"),
    [
        (CheckpointError, (CheckpointError, Exception)),
        (CheckpointNotFoundError, (CheckpointError, FileNotFoundError)),
        (MissingShardError, (CheckpointError, FileNotFoundError)),
        (TensorNotFoundError, (CheckpointError, KeyError)),
        (NotACheckpointError, (CheckpointError, ValueError)),
        (CorruptCheckpointError, (CheckpointError, ValueError)),
        (ChecksumError, (CorruptCheckpointError, ValueError)),
        (TruncatedError, (CorruptCheckpointError, ValueError)),
        (UnsupportedError, (CheckpointError, NotImplementedError)),
        (UnreadableError, (CheckpointError, OSError)),
        (ConflictError, (CheckpointError, ValueError)),
    ],
)
def test_each_is_also_the_builtin_that_people_catch(
    error_class: type[CheckpointError], parents: tuple[type[Exception], type[Exception]]
) -> None:
    for parent in parents:
        with pytest.raises(parent):
            raise error_class("wrong")


@pytest.mark.parametrize(
    ("error_class", "other"),
    [
        (CheckpointNotFoundError, ValueError),
        (MissingShardError, CheckpointNotFoundError),
        (NotACheckpointError, CorruptCheckpointError),
        (ChecksumError, TruncatedError),
        (UnsupportedError, ValueError),
        (UnreadableError, FileNotFoundError),
        (TensorNotFoundError, ValueError),
        (ConflictError, CorruptCheckpointError),
    ],
)
def test_none_is_what_it_is_not(error_class: type[CheckpointError], other: type[Exception]) -> None:
    assert not issubclass(error_class, other)


# Text


def whole(error_class: type[CheckpointError]) -> CheckpointError:
    return error_class(
        "size", file="a/m.index", offset=12, tensor="w/b", expected="8 bytes", found=7
    )


@by_class
def test_the_text_is_file_byte_tensor_message_expected_found(
    error_class: type[CheckpointError],
) -> None:
    label = "looked for" if error_class is CheckpointNotFoundError else "expected"
    text = f"a/m.index, byte 12, tensor 'w/b': size\n  {label}: 8 bytes\n  found: 7"
    assert str(whole(error_class)) == text
    # a KeyError would show the repr, an OSError its number
    assert f"{whole(error_class)}" == text


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, "size"),
        ({"file": "m"}, "m: size"),
        ({"offset": 0}, "byte 0: size"),
        ({"tensor": "w"}, "tensor 'w': size"),
        ({"tensor": ""}, "tensor '': size"),
        ({"file": "m", "offset": 2**40}, "m, byte 1099511627776: size"),
        ({"file": "m", "tensor": "w"}, "m, tensor 'w': size"),
        ({"expected": 8}, "size\n  expected: 8"),
        ({"found": 0}, "size\n  found: 0"),
        ({"expected": 8, "found": 7}, "size\n  expected: 8\n  found: 7"),
        ({"tensor": "\udcff\n"}, r"tensor '\udcff\n': size"),
    ],
    ids=short,
)
def test_the_text_leaves_out_what_is_not_known(given: dict[str, object], text: str) -> None:
    error = CorruptCheckpointError("size", **given)
    assert str(error) == text


@by_class
def test_the_parts_are_attributes(error_class: type[CheckpointError]) -> None:
    error = whole(error_class)
    assert error.message == "size"
    assert (error.file, error.offset, error.tensor) == ("a/m.index", 12, "w/b")
    assert (error.expected, error.found) == ("8 bytes", "7")
    bare = error_class("size")
    assert (bare.file, bare.offset, bare.tensor) == (None, None, None)
    assert (bare.expected, bare.found) == (None, None)


@pytest.mark.parametrize("error_class", [CheckpointNotFoundError, MissingShardError])
def test_what_is_not_found_has_the_number_of_that(error_class: type[CheckpointError]) -> None:
    assert whole(error_class).errno == errno.ENOENT


# Trips


def by_pickle(protocol: int) -> Callable[[CheckpointError], CheckpointError]:
    return lambda error: pickle.loads(pickle.dumps(error, protocol))


@pytest.mark.parametrize(
    "trip",
    [
        copy.copy,
        copy.deepcopy,
        *(by_pickle(protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)),
    ],
    ids=["copy", "deepcopy", *(f"pickle {p}" for p in range(pickle.HIGHEST_PROTOCOL + 1))],
)
@by_class
def test_nothing_is_lost_on_the_way(
    error_class: type[CheckpointError], trip: Callable[[CheckpointError], CheckpointError]
) -> None:
    error = whole(error_class)
    arrived = trip(error)
    assert type(arrived) is error_class
    assert arrived is not error
    assert str(arrived) == str(error)
    assert vars(arrived) == vars(error)
    assert arrived.args == error.args
    assert getattr(arrived, "errno", None) == getattr(error, "errno", None)


def test_a_mismatch_keeps_its_report_and_its_text() -> None:
    """Its class is called with a report, not with a text."""
    with pytest.raises(MismatchError) as raised:
        load_into({"a": np.zeros(2)}, {"b": np.ones(2)})
    arrived = pickle.loads(pickle.dumps(raised.value))
    assert type(arrived) is MismatchError
    assert str(arrived) == str(raised.value)
    assert arrived.report == raised.value.report


@by_class
def test_a_class_has_its_own_way_to_be_sent(error_class: type[CheckpointError]) -> None:
    """tblib sets ``filename`` of what is reduced as an OSError; here it cannot be set."""
    assert error_class.__reduce__ not in (OSError.__reduce__, BaseException.__reduce__)


# Places


def locate(error: Exception, **place: object) -> Exception:
    """The error, as it comes out of `located`."""
    with pytest.raises(type(error)) as raised, located(**place):
        raise error
    assert raised.value is error
    return error


@pytest.mark.parametrize(
    ("known", "place", "text"),
    [
        ({}, {}, "x"),
        ({}, {"file": "m"}, "m: x"),
        ({}, {"tensor": "w"}, "tensor 'w': x"),
        ({}, {"file": "m", "base": 100, "tensor": "w"}, "m, tensor 'w': x"),
        ({"offset": 5}, {"file": "m", "base": 100}, "m, byte 105: x"),
        ({"offset": 0}, {"file": "m", "base": 0}, "m, byte 0: x"),
        ({"offset": 5}, {"tensor": "w"}, "byte 5, tensor 'w': x"),
        ({"file": "n", "offset": 5}, {"file": "m", "base": 100}, "n, byte 5: x"),
        ({"file": "n"}, {"file": "m", "base": 100, "tensor": "w"}, "n, tensor 'w': x"),
        ({"tensor": "v"}, {"file": "m", "tensor": "w"}, "m, tensor 'v': x"),
        ({"tensor": ""}, {"tensor": "w"}, "tensor '': x"),
        ({"offset": 5}, {}, "byte 5: x"),
    ],
)
def test_located_fills_in_only_what_is_missing(
    known: dict[str, object], place: dict[str, object], text: str
) -> None:
    error = CorruptCheckpointError("x", **known)
    assert str(locate(error, **place)) == text


def test_located_within_located_counts_the_base_once() -> None:
    error = CorruptCheckpointError("x", offset=5)
    with (
        pytest.raises(CorruptCheckpointError),
        located(file="outer", base=1000, tensor="w"),
        located(file="inner", base=100),
    ):
        raise error
    assert str(error) == "inner, byte 105, tensor 'w': x"


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), IndexError("x")], ids=repr)
def test_other_errors_pass_as_they_are(error: Exception) -> None:
    before = str(error)
    assert str(locate(error, file="m", base=1, tensor="w")) == before
    assert vars(error) == {}


def test_without_an_error_nothing_happens() -> None:
    with located(file="m", base=1, tensor="w"):
        done = True
    assert done
