"""HDF5 files and archives of Keras: the contract of containers, and what only they have."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckptparse import ChecksumError, open_checkpoint
from ckptparse.formats.keras import KerasReader, describe_keras
from ckptparse.formats.keras_config import KerasDescription, describe_h5
from ckptparse.sources import LocalFiles
from support.keras_files import KerasCase, keras_cases, load_keras
from support.repository import FIXTURES
from support.stored_arrays import ContainerContract, StoredCase, bits

CHUNKED = load_keras("tf-2.21.0/keras_layouts", "chunked.weights.h5")
KERAS_3 = load_keras("tf-2.21.0/keras_h5", "model.keras")


class TestKerasFiles(ContainerContract):
    @pytest.fixture(params=keras_cases())
    def case(self, request: pytest.FixtureRequest) -> Any:
        return request.param

    def test_weights_are_those_that_keras_loaded(self, case: StoredCase) -> None:
        """Each variable of Keras has the bits of one tensor, and no tensor is left."""
        assert isinstance(case, KerasCase)
        loaded = [array for variables in case.layers.values() for _, array in variables]
        with open_checkpoint(case.path) as ckpt:
            weights = ckpt.select(weights_only=True)
            found = [bits(weights[name]) for name in weights if name != "note"]
        assert sorted(found) == sorted(map(bits, loaded))

    def test_offsets_are_those_that_h5py_tells(self, case: StoredCase) -> None:
        assert isinstance(case, KerasCase)
        first = 0
        if case.format == "keras":
            with zipfile.ZipFile(case.path) as archive:
                first = archive.getinfo("model.weights.h5").header_offset
            first += 30 + len("model.weights.h5")
        with open_checkpoint(case.path) as ckpt:
            for name, offset in case.stored_at.items():
                info = ckpt.info(name)
                if info.mapped and offset is not None:  # None: in the header of the dataset
                    assert info.offset == first + offset
                else:  # or in chunks, or with the other byte order
                    assert "layouts" in str(case.path)

    def test_optimizer_is_that_which_keras_loaded(self, case: StoredCase) -> None:
        assert isinstance(case, KerasCase)
        with open_checkpoint(case.path) as ckpt:
            weights = set(ckpt.select(weights_only=True))
            states = [bits(ckpt[name]) for name in case.readable if name not in weights]
        for _, array in case.optimizer:
            assert bits(array) in states


def describe(case: KerasCase) -> KerasDescription:
    source = LocalFiles(mmap=True).open(str(case.path))
    return describe_keras(source) if case.format == "keras" else describe_h5(source)


@pytest.mark.parametrize("case", list(keras_cases()))
def test_variables_have_the_names_of_the_layers(case: KerasCase) -> None:
    """Keras's own names, or with Keras 3 the layer's name and the number of the variable."""
    names = describe(case).variable_names
    for layer, variables in case.layers.items():
        for variable, array in variables:
            found = {
                names.get(name, "") for name, a in case.readable.items() if bits(a) == bits(array)
            }
            is_own = variable in found
            assert is_own or any(name.startswith(f"{layer}/") for name in found) or not any(found)


@pytest.mark.parametrize(
    ("case", "file", "version", "class_name", "optimizer"),
    [
        ("keras-2.2.4/keras_h5", "model.h5", "2.2.4", "Model", "SGD"),
        ("tf-2.13.1/keras_h5", "model.h5", "2.13.1", "Functional", "Custom>SGD"),
        ("tf-2.13.1/keras_h5", "model.keras", "2.13.1", "Functional", "SGD"),
        ("tf-2.21.0/keras_h5", "model.h5", "3.15.1", "Functional", "SGD"),
        ("tf-2.21.0/keras_h5", "model.keras", "3.15.1", "Functional", "SGD"),
    ],
)
def test_description(case: str, file: str, version: str, class_name: str, optimizer: str) -> None:
    said = describe(load_keras(case, file))
    assert (said.keras_version, said.name, said.class_name) == (version, "nested", class_name)
    assert said.optimizer == optimizer
    assert said.optimizer_settings["momentum"] == 0.5
    assert [(layer.name, layer.class_name) for layer in said.layers] == [
        ("steps", "InputLayer"),
        ("rnn", "SimpleRNN"),
        ("encoder", "Sequential"),
        ("head", "Dense"),
    ]
    inner = [layer.name for layer in said.layers[2].layers if layer.class_name != "InputLayer"]
    assert inner == ["dense", "norm"]
    assert said.backend == (None if file.endswith(".keras") else "tensorflow")
    assert (said.date_saved is not None) == file.endswith(".keras")


def test_a_list_of_names_in_several_attributes() -> None:
    case = load_keras("keras-2.2.4/keras_long_names", "weights.h5")
    said = describe(case)
    assert [layer.name for layer in said.layers] == list(case.layers)
    assert len(said.layers[2].name) == 9300
    assert list(said.variable_names.values()) == ["first/kernel:0", "first/bias:0"]


def test_all_tensors_of_keras_are_mapped() -> None:
    for case in (KERAS_3, load_keras("keras-2.2.4/keras_h5", "model.h5")):
        with open_checkpoint(case.path) as ckpt:
            assert all(info.mapped for info in ckpt.infos())


def test_checksum_of_a_chunk(tmp_path: Path) -> None:
    name = "layers/dense_1/vars/0"  # has only Fletcher-32, and chunks of shape (2, 2)
    contents = bytearray(CHUNKED.path.read_bytes())
    array = CHUNKED.readable[name]
    raw = array.tobytes()
    at = contents.find(array[:2, :2].tobytes())
    assert at > 0
    contents[at] ^= 1
    path = tmp_path / "damaged.h5"
    path.write_bytes(contents)
    with open_checkpoint(path) as ckpt:
        with pytest.raises(ChecksumError):
            ckpt[name]
        assert [damage.name for damage in ckpt.verify().damaged] == [name]
    with open_checkpoint(path, verify=False) as ckpt:
        assert bits(ckpt[name]) != raw


def test_crc_of_an_archive(tmp_path: Path) -> None:
    contents = bytearray(KERAS_3.path.read_bytes())
    with open_checkpoint(KERAS_3.path) as ckpt:
        offset = ckpt.info("layers/dense/vars/0").offset
        report = ckpt.verify()
        assert not report.unchecked
    assert offset is not None
    contents[offset] ^= 1
    path = tmp_path / "damaged.keras"
    path.write_bytes(contents)
    with open_checkpoint(path) as ckpt:
        report = ckpt.verify()
    assert {type(damage.error) for damage in report.damaged} == {ChecksumError}
    assert [damage.error.tensor for damage in report.damaged] == list(KERAS_3.readable)
    (cause,) = report.causes
    assert cause.names == tuple(KERAS_3.readable)


def test_a_damaged_archive_is_compared_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its work would grow with the number of tensors times the size of the archive."""
    path = tmp_path / "damaged.keras"
    with zipfile.ZipFile(KERAS_3.path) as archive:
        crc32 = archive.getinfo("model.weights.h5").CRC.to_bytes(4, "little")
    path.write_bytes(KERAS_3.path.read_bytes().replace(crc32, bytes(4)))
    compared = []
    compare = KerasReader._compare
    monkeypatch.setattr(
        KerasReader, "_compare", lambda reader: (compared.append(reader), compare(reader))
    )
    with open_checkpoint(path) as ckpt:
        report = ckpt.verify()
        assert len(report.damaged) == len(KERAS_3.readable) > 1
        assert len(report.causes) == len(compared) == 1
        ckpt.verify()
        assert len(compared) == 2


def test_a_compressed_archive(tmp_path: Path) -> None:
    """Keras stores the members, but other programs may write the archive again."""
    path = tmp_path / "deflated.keras"
    with zipfile.ZipFile(KERAS_3.path) as plain, zipfile.ZipFile(path, "w") as archive:
        for name in plain.namelist():
            archive.writestr(name, plain.read(name), zipfile.ZIP_DEFLATED)
    with open_checkpoint(path) as ckpt:
        assert ckpt.path == str(path)
        assert ckpt.info("layers/dense/vars/0").offset is None
        for name, array in KERAS_3.readable.items():
            np.testing.assert_array_equal(ckpt[name], array)
        assert ckpt.verify().ok


def test_descriptions_are_read_once() -> None:
    """A loop that asks for the name of each variable does not parse the file each time."""
    with open_checkpoint(KERAS_3.path) as ckpt:
        assert ckpt.variable_names is ckpt.variable_names
        assert ckpt.metadata is ckpt.metadata
    assert ckpt.variable_names


def test_recognised_by_content(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes((FIXTURES / "tf-2.21.0/keras_h5/model.h5").read_bytes())
    with open_checkpoint(path) as ckpt:
        assert ckpt.format == "keras-h5"
