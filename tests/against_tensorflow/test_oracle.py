"""Compare every fixture, read through every byte source, with what TensorFlow read from it."""

from __future__ import annotations

import numpy as np
import pytest

from ckptparse import CheckpointError, MissingShardError, UnsupportedError
from support.openers import OPENERS, Opener
from support.oracle import Case, case_names, load_case, payload_of

CASES = [load_case(name) for name in case_names()]
REFUSED = [case for case in CASES if "newer_version" in case.folder.name]
INCOMPLETE = [case for case in CASES if case.folder.name == "v1_missing_shard"]
READABLE = [case for case in CASES if case not in REFUSED + INCOMPLETE]
NOT_ALL_READ = [case for case in READABLE if any(t.read_by is None for t in case.tensors)]

# Tensors that TensorFlow does not read and we do: a byte per element has no order of bytes; a name
# that is not UTF-8, or another tensor's bad slices, hurt nobody else.
ONLY_OURS = {
    "big_endian": lambda name: True,
    "v1_names_not_utf8": lambda name: True,
    "v1_overlapping": lambda name: name == "good",
    "v1_repeated": lambda name: name == "good",
}


def is_only_ours(case: Case, name: str) -> bool:
    return case.folder.name in ONLY_OURS and ONLY_OURS[case.folder.name](name)


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
def test_names_and_infos_are_what_tensorflow_lists(case: Case, opener: Opener) -> None:
    with opener(case.path) as ckpt:
        assert list(ckpt) == [tensor.name for tensor in case.tensors]
        assert len(ckpt) == len(case.tensors)
        for tensor, info in zip(case.tensors, ckpt.infos(), strict=True):
            assert info.tensorflow_dtype == tensor.dtype
            assert info.dtype.name == NUMPY_NAMES.get(tensor.dtype, tensor.dtype)
            assert info.shape == tensor.shape
            assert info.size == int(np.prod(tensor.shape, dtype=object))
            assert ckpt.info(tensor.name) == info
            assert tensor.name in ckpt


@by_opener
@by_case
def test_arrays_are_the_bytes_that_tensorflow_read(case: Case, opener: Opener) -> None:
    for verify in (True, False):
        with opener(case.path, verify=verify) as ckpt:
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
@pytest.mark.parametrize("case", NOT_ALL_READ, ids=str)
def test_what_tensorflow_cannot_read_is_an_error_unless_we_know_better(
    case: Case, opener: Opener
) -> None:
    with opener(case.path) as ckpt:
        for tensor in case.tensors:
            if tensor.read_by is not None:
                continue
            if is_only_ours(case, tensor.name):
                assert ckpt[tensor.name].shape == tensor.shape
                continue
            with pytest.raises(CheckpointError) as error:
                ckpt[tensor.name]
            assert (tensor.dtype == "variant") == isinstance(error.value, UnsupportedError)
            assert error.value.tensor == tensor.name


@by_opener
@by_case
def test_undamaged_checkpoints_verify(case: Case, opener: Opener) -> None:
    unread = {
        tensor.name
        for tensor in case.tensors
        if tensor.read_by is None
        and tensor.dtype != "variant"
        and not is_only_ours(case, tensor.name)
    }
    with opener(case.path) as ckpt:
        report = ckpt.verify()
    assert {damage.name for damage in report.damaged} == unread
    assert report.num_tensors == len(case.tensors)
    assert report.unchecked == ()


@pytest.mark.parametrize("case", INCOMPLETE, ids=str)
@by_opener
def test_a_set_without_one_of_its_files_does_not_open(case: Case, opener: Opener) -> None:
    with pytest.raises(MissingShardError, match="00001-of-00003"):
        opener(case.path)


@pytest.mark.parametrize("case", REFUSED, ids=str)
@by_opener
def test_what_tensorflow_refuses_as_too_new_is_refused(case: Case, opener: Opener) -> None:
    (said,) = (e["text"] for e in case.errors if e["doing"] == "list")
    assert "version" in said
    with pytest.raises(UnsupportedError, match=r"reader|version"):
        opener(case.path)
