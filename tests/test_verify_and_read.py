"""`Checkpoint.verify(on_piece=...)`: the same report, and all values, in one pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ckptparse import ChecksumError, UnsupportedError, open_checkpoint
from ckptparse.tensors.pieces import Piece, join
from support.counting_files import counted
from support.damage import copy_case, flip_bit
from support.oracle import FC6, VGG, case_names, load_case, payload_of
from support.repository import FIXTURES

CONTAINERS = sorted(
    path.relative_to(FIXTURES).as_posix()
    for suffix in ("keras", "h5", "npz", "safetensors", "pb")
    for path in FIXTURES.glob(f"*/*/*.{suffix}")
    if path.name != "saved_model.pb"
)


CASES = [
    name
    for name in case_names()
    if any(tensor.read_by for tensor in load_case(name).tensors) and "missing_shard" not in name
]


def verify_and_read(path: Path, **options: object):
    """Verify a checkpoint in one pass: its report, and the pieces of each tensor."""
    pieces: dict[str, list[Piece]] = {}
    with open_checkpoint(path, **options) as ckpt:
        report = ckpt.verify(on_piece=lambda piece: pieces.setdefault(piece.name, []).append(piece))
    return report, pieces


@pytest.mark.parametrize("verify", [True, False], ids=["verify", "no-verify"])
@pytest.mark.parametrize("mmap", [True, False], ids=["mmap", "pread"])
@pytest.mark.parametrize("name", CASES)
def test_the_values_are_those_of_tensorflow(name: str, mmap: bool, verify: bool) -> None:
    case = load_case(name)
    report, pieces = verify_and_read(case.path, mmap=mmap, verify=verify)
    with open_checkpoint(case.path) as ckpt:
        expected = ckpt.verify()
    assert report[1:] == expected[1:]
    assert [damage.name for damage in report.damaged] == [d.name for d in expected.damaged]
    values = {name: join(parts) for name, parts in pieces.items()}
    if report.ok:
        read = {tensor.name: tensor for tensor in case.tensors if tensor.read_by}
        assert {name: payload_of(values[name]) for name in read} == {
            name: tensor.payload for name, tensor in read.items()
        }
    for name, parts in pieces.items():
        assert parts[0].shape == values[name].shape


def test_damage_does_not_end_the_pass(tmp_path: Path) -> None:
    prefix = copy_case("tf-1.15.5/vgg_16", tmp_path)
    with open_checkpoint(prefix) as ckpt:
        info = ckpt.info(FC6)
    flip_bit(info.file, info.offset + 5)
    for options in ({}, {"mmap": False}, {"verify": False}):
        report, pieces = verify_and_read(prefix, **options)
        assert [(d.name, type(d.error)) for d in report.damaged] == [(FC6, ChecksumError)]
        assert set(pieces) == {tensor.name for tensor in VGG.tensors} - {FC6}


def test_a_variant_is_checked_but_not_read() -> None:
    path = load_case("tf-2.21.0/variants").path
    with open_checkpoint(path) as ckpt:
        unreadable = [
            info.name
            for info in ckpt.infos()
            if info.dtype == object and info.tensorflow_dtype != "string"
        ]
        with pytest.raises(UnsupportedError):
            ckpt[unreadable[0]]
    report, pieces = verify_and_read(path)
    assert report.ok
    assert not report.unchecked
    assert pieces.keys().isdisjoint(unreadable)


@pytest.mark.parametrize("path", CONTAINERS)
def test_containers(path: str) -> None:
    report, pieces = verify_and_read(FIXTURES / path)
    with open_checkpoint(FIXTURES / path) as ckpt:
        assert report == ckpt.verify()
        for name, parts in pieces.items():
            assert payload_of(join(parts)) == payload_of(ckpt[name])
        for name in ckpt.keys() - pieces.keys():
            with pytest.raises(UnsupportedError):
                ckpt[name]


def test_a_changed_keras_archive(tmp_path: Path) -> None:
    """Its checksum is that of the whole HDF5 file, which `read` does not compare."""
    path = tmp_path / "model.keras"
    path.write_bytes((FIXTURES / "tf-2.21.0/keras_h5/model.keras").read_bytes())
    with open_checkpoint(path) as ckpt:
        info = next(info for info in ckpt.infos() if info.offset is not None and info.nbytes)
    flip_bit(path, info.offset)
    report, pieces = verify_and_read(path)
    assert len(report.damaged) == report.num_tensors
    assert pieces == {}


def test_each_byte_is_read_once() -> None:
    contents = {
        f"/m{path.name.removeprefix(VGG.prefix.name)}": path.read_bytes()
        for path in VGG.folder.glob(f"{VGG.prefix.name}.*")
    }
    with counted(contents) as requests, open_checkpoint("counted:///m") as ckpt:
        ckpt.verify(on_piece=lambda piece: None)
    data = np.zeros(len(next(v for k, v in contents.items() if ".data-" in k)), int)
    for path, start, nbytes in requests:
        if ".data-" in path:
            data[start : start + nbytes] += 1
    assert data.tolist() == [1] * len(data)
