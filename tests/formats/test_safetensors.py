"""safetensors files: the contract of containers over the fixtures, and what only they have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ckptparse import UnsupportedError, open_checkpoint
from ckptparse.formats import safetensors
from support.stored_arrays import ContainerContract, StoredCase, cases, load_stored

DTYPES = load_stored("safetensors-0.8.0/safetensors_dtypes")


class TestSafetensors(ContainerContract):
    @pytest.fixture(params=cases("safetensors"))
    def case(self, request: pytest.FixtureRequest) -> Any:
        return request.param

    def test_all_arrays_are_views_of_the_file(self, case: StoredCase) -> None:
        with open_checkpoint(case.path) as ckpt:
            assert ckpt.format == "safetensors"
            for info in ckpt.infos():
                assert info.mapped == (bool(info.size) and info.dtype != object)

    def test_there_are_no_checksums(self, case: StoredCase) -> None:
        with open_checkpoint(case.path) as ckpt:
            report = ckpt.verify()
        assert report.nbytes == 0
        assert list(report.unchecked) == list(case.arrays)


def test_packed_elements_are_listed_under_the_name_in_the_file() -> None:
    with open_checkpoint(DTYPES.path) as ckpt:
        info = ckpt.info("float4_e2m1fn_x2")
        assert (info.tensorflow_dtype, info.shape, info.nbytes) == ("F4", (2, 4), 4)
        with pytest.raises(UnsupportedError) as raised:
            ckpt["float4_e2m1fn_x2"]
    assert raised.value.found == "F4"


def test_bfloat16_and_float8_have_the_dtypes_of_ml_dtypes() -> None:
    with open_checkpoint(DTYPES.path) as ckpt:
        found = {name: ckpt[f"{name}/vector"].dtype.name for name in ("bfloat16", "float8_e8m0fnu")}
    assert found == {name: name for name in found}


def test_recognised_without_a_suffix(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(DTYPES.path.read_bytes())
    with open_checkpoint(path) as ckpt:
        assert ckpt.format == "safetensors"


def header_of(path: Path) -> str:
    contents = path.read_bytes()
    return contents[8 : 8 + int.from_bytes(contents[:8], "little")].decode()


@pytest.mark.parametrize(
    ("name", "is_plain"), [("dtypes", True), ("names", False), ("empty", False)]
)
def test_headers_of_the_library_are_read_in_one_step_or_as_json(name: str, is_plain: bool) -> None:
    """Names with escapes, and no tensors, are read as JSON."""
    header = header_of(load_stored(f"safetensors-0.8.0/safetensors_{name}").path)
    assert (safetensors._read_plain(header) is not None) == is_plain
    assert safetensors._read_tensors(header, 0) == safetensors._read_json(header, 0)


METADATA = {
    "{}": True,
    '{"a":"b"}': True,
    '{"a":"b","c":""}': True,
    '{"a":"b",}': False,
    '{,"a":"b"}': False,
    '{"a":"b""c":"d"}': False,
    '{"a":1}': False,
    '{"a":"\\n"}': False,
    "null": False,
}


@pytest.mark.parametrize("text", METADATA)
def test_metadata_before_the_tensors(text: str) -> None:
    tensor = '"x":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}'
    plain = safetensors._read_plain(f'{{"__metadata__":{text},{tensor}}}')
    assert (plain is not None) == METADATA[text]
    assert plain in (None, [(0, 24, "x", "F32", (2, 3))])
