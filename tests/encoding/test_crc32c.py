"""CRC-32C: published vectors, and the mask."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptparse.encoding.crc32c import crc32c, mask, require_crc32c, unmask
from ckptparse.errors import ChecksumError
from support import builders


@pytest.mark.parametrize(
    ("checked", "crc"),
    [
        # RFC 3720, B.4
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (
            bytes.fromhex(
                "01c00000000000000000000000000000140000000000040000000014000000182800000000000000"
                "0200000000000000"
            ),
            0xD9963A56,
        ),
        # the usual check value, and nothing
        (b"123456789", 0xE3069283),
        (b"", 0),
        # tensors that TensorFlow wrote
        (bytes.fromhex("01"), 0xA016D052),
        (bytes.fromhex("0000803f00000040"), 0x28C0C9B1),
    ],
)
def test_crc32c_of_published_vectors(checked: bytes, crc: int) -> None:
    assert crc32c(checked) == crc
    assert crc32c(memoryview(checked)) == crc


@pytest.mark.parametrize(
    ("crc", "masked"),
    [
        (0, 0xA282EAD8),
        (0xE3069283, 0xC78AB0E5),
        (0xA016D052, 0x43282B05),
        (0x28C0C9B1, 0x35E53C59),
        (0xBDF4B894, 0x13AC66C1),
        (0x1C733789, 0x119523BE),
    ],
)
def test_mask_of_known_checksums(crc: int, masked: int) -> None:
    assert mask(crc) == masked
    assert unmask(masked) == crc


@given(st.integers(0, 2**32 - 1))
def test_unmask_undoes_mask(crc: int) -> None:
    assert 0 <= mask(crc) < 2**32
    assert mask(crc) != crc
    assert unmask(mask(crc)) == crc


@given(st.binary(max_size=100))
def test_mask_is_that_of_the_other_encoder(checked: bytes) -> None:
    assert mask(crc32c(checked)) == builders.masked_crc32c(checked)


@pytest.mark.parametrize(
    "program",
    [
        "import crc32c, ckptparse.encoding.crc32c as ours; print(ours.crc32c is crc32c.crc32c)",
        "import ckptparse.encoding.crc32c as ours, crc32c; print(ours.crc32c is crc32c.crc32c)",
    ],
    ids=["before", "after"],
)
def test_the_package_is_the_same_imported_before_or_after(program: str) -> None:
    paths = os.pathsep.join(sys.path)
    environment = {**os.environ, "PYTHONPATH": paths}
    command = [sys.executable, "-c", program]
    assert subprocess.check_output(command, env=environment, text=True) == "True\n"


def test_a_checksum_that_fits_passes() -> None:
    require_crc32c("block", 0xE3069283, 0xC78AB0E5)


@pytest.mark.parametrize("stored", [0, 0xE3069283, 0xC78AB0E4, 0x478AB0E5])
def test_a_checksum_that_does_not_fit_is_an_error_with_both_sides(stored: int) -> None:
    with pytest.raises(ChecksumError) as error:
        require_crc32c("block", 0xE3069283, stored, offset=12)
    assert str(error.value) == (
        "byte 12: the bytes of the block do not match the stored checksum\n"
        f"  expected: {unmask(stored):#010x} (as stored)\n  found: 0xe3069283"
    )
