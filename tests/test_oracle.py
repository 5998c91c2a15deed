"""Every fixture, through every byte source, against what TensorFlow read from it."""

from __future__ import annotations

import numpy as np
import pytest

from ckptparse import CheckpointError, UnsupportedError
from openers import OPENERS, Opener
from oracle import Case, case_names, load_case, payload_of

CASES = [load_case(name) for name in case_names()]
REFUSED = [case for case in CASES if case.folder.name.startswith("newer_version")]
READABLE = [case for case in CASES if case not in REFUSED]

# numpy's name of the array for TensorFlow's name of the type, where they differ
NUMPY_NAMES = {
    "string": "object",
    "variant": "object",
    "qint8": "int8",
    "quint8": "uint8",
    "qint16": "int16",
    "quint16": "uint16",
    "qint32": "int32",
}

by_opener = pytest.mark.parametrize("opener", OPENERS, ids=lambda opener: opener.__name__)
by_case = pytest.mark.parametrize("case", READABLE, ids=str)


def test_there_are_fixtures_of_every_era() -> None:
    eras = {name.split("/")[0] for name in case_names()}
    assert {"tf-0.12.1", "tf-1.15.5", "tf-2.4.4", "tf-2.13.1", "tf-2.21.0"} <= eras
    assert len(READABLE) > 30


@by_opener
@by_case
def test_names_are_those_that_tensorflow_lists(case: Case, opener: Opener) -> None:
    with opener(case.prefix) as ckpt:
        assert list(ckpt) == [tensor.name for tensor in case.tensors]
        assert len(ckpt) == len(case.tensors)
        assert [info.name for info in ckpt.infos()] == list(ckpt)


@by_opener
@by_case
def test_infos_are_what_tensorflow_says(case: Case, opener: Opener) -> None:
    with opener(case.prefix) as ckpt:
        for tensor, info in zip(case.tensors, ckpt.infos(), strict=True):
            assert info.tensorflow_dtype == tensor.dtype
            assert info.dtype.name == NUMPY_NAMES.get(tensor.dtype, tensor.dtype)
            assert info.shape == tensor.shape
            assert info.size == int(np.prod(tensor.shape, dtype=object))
            assert ckpt.info(tensor.name) == info
            assert tensor.name in ckpt


@pytest.mark.parametrize("verify", [True, False], ids=["verify", "unverified"])
@by_opener
@by_case
def test_arrays_are_the_bytes_that_tensorflow_read(
    case: Case, opener: Opener, verify: bool
) -> None:
    with opener(case.prefix, verify=verify) as ckpt:
        for tensor in case.tensors:
            if tensor.read_by is None:
                continue
            array = ckpt[tensor.name]
            assert isinstance(array, np.ndarray)
            assert array.dtype == ckpt.info(tensor.name).dtype
            assert array.dtype.isnative
            assert array.shape == tensor.shape
            assert payload_of(array) == tensor.payload


@by_opener
@by_case
def test_whatever_tensorflow_cannot_read_is_an_error_or_a_big_endian_gap(
    case: Case, opener: Opener
) -> None:
    unread = [tensor for tensor in case.tensors if tensor.read_by is None]
    with opener(case.prefix) as ckpt:
        for tensor in unread:
            if case.folder.name == "big_endian":
                continue  # one byte per element: nothing to swap, so we can; see test_traps
            with pytest.raises(CheckpointError) as error:
                ckpt[tensor.name]
            assert (tensor.dtype == "variant") == isinstance(error.value, UnsupportedError)
            assert error.value.tensor == tensor.name


@by_opener
@by_case
def test_undamaged_checkpoints_verify(case: Case, opener: Opener) -> None:
    unread = {t.name for t in case.tensors if t.read_by is None and t.dtype != "variant"}
    if case.folder.name == "big_endian":
        unread = set()
    with opener(case.prefix) as ckpt:
        report = ckpt.verify()
    assert {damage.name for damage in report.damaged} == unread
    assert report.num_tensors == len(case.tensors)
    assert report.unchecked == ()


@pytest.mark.parametrize("case", REFUSED, ids=str)
@by_opener
def test_what_tensorflow_refuses_as_too_new_is_refused(case: Case, opener: Opener) -> None:
    (said,) = (e["text"] for e in case.errors if e["doing"] == "list")
    assert "version" in said
    with pytest.raises(UnsupportedError, match=r"reader|version"):
        opener(case.prefix)
