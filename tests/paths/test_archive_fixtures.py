"""Archives that standard tools made, in the layouts of well-known downloads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ckptparse import open_checkpoint
from support.oracle import load_case, payload_of
from support.repository import ROOT

FOLDER = ROOT / "fixtures" / "tf-2.21.0" / "archives"
ANSWERS = json.loads((FOLDER / "archives.json").read_text("utf-8"))["answers"]


@pytest.mark.parametrize("mmap", [True, False], ids=["mapped", "copied"])
@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer["archive"])
def test_names_and_values_are_those_of_the_case_inside(answer: dict[str, str], mmap: bool) -> None:
    case = load_case(answer["case"])
    path = FOLDER / answer["archive"]
    with open_checkpoint(path, mmap=mmap, confined=True) as ckpt:
        assert Path(ckpt.path) == path / answer["inside"]
        assert list(ckpt) == [tensor.name for tensor in case.tensors]
        for tensor in case.tensors:
            array = ckpt[tensor.name]
            assert (array.dtype, array.shape) == (tensor.dtype, tensor.shape)
            assert payload_of(array) == tensor.payload
        assert ckpt.verify().ok
        assert ckpt.format == case.format
    with open_checkpoint(path / answer["inside"]) as ckpt:
        assert len(ckpt) == len(case.tensors)


def test_every_archive_has_an_answer() -> None:
    names = {path.name for path in FOLDER.iterdir()} - {"archives.json"}
    assert names == {answer["archive"] for answer in ANSWERS}
