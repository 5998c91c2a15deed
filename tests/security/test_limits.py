"""The limits that SECURITY.md lists are those of the code."""

from __future__ import annotations

import pytest

from ckptparse import limits
from support.repository import ROOT

ROWS: dict[str, tuple[tuple[str, str], ...]] = {
    "all keys of one block": (
        ("MAX_KEYS_RATIO", "24 times"),
        ("MAX_FREE_KEYS_NBYTES", "4 KiB"),
    ),
    "one key, or one name": (("MAX_FREE_KEY_NBYTES", "64 KiB"),),
    "entries of a compressed block": (
        ("MIN_ENTRY_NBYTES", "one for each 6 stored bytes"),
        ("MAX_FREE_ENTRIES", "plus 64"),
    ),
    "slices of all tensors": (
        ("MIN_SLICE_NBYTES", "one for each 8 bytes"),
        ("MAX_FREE_SLICES", "plus 1,024"),
        ("MAX_PARTS_PER_PART", "extents: 2 for each byte"),
    ),
    "the header of an index": (("MAX_HEADER_NBYTES", "1 MiB"),),
    "tensors that share bytes": (("MAX_SHARED_RATIO", "4 times the size"),),
    "the grid into which": (("MAX_FREE_CELLS", "at least a million"),),
    "a directory without": (
        ("MAX_OPENED_CANDIDATES", "200 files"),
        ("MAX_SEARCHED_DIRECTORIES", "at most 100"),
    ),
    "a state file": (
        ("MAX_STATE_NBYTES", "4 MiB"),
        ("MAX_FREE_FORM_STATE_NBYTES", "256 KiB"),
    ),
    "a graph as text": (
        ("MIN_TOKEN_LETTERS", "for each 4 characters"),
        ("MAX_FREE_TOKENS", "plus 10,000"),
    ),
    "paths of an object graph": (
        ("MAX_PATH_LETTERS_RATIO", "16 characters for each byte"),
        ("MAX_FREE_PATH_LETTERS", "at least a million"),
    ),
    "the header of a `.safetensors`": (("MAX_SAFETENSORS_HEADER_NBYTES", "100,000,000 bytes"),),
    "values that a constant": (
        ("MAX_PADDED_RATIO", "16 times"),
        ("MAX_FREE_PADDED_NBYTES", "8 MiB"),
        ("MAX_SPLAT_NBYTES", "1,024 MiB"),
    ),
    "data that is inflated": (("MAX_DEFLATE_RATIO", "1,032 times"),),
    "metadata of a compressed file": (
        ("MAX_INFLATED_HEADER_RATIO", "4 times the compressed size"),
        ("MAX_FREE_INFLATED_HEADER_NBYTES", "plus 1 MiB"),
        ("MAX_INFLATED_INDEX_RATIO", "8 times"),
        ("MAX_FREE_INFLATED_INDEX_NBYTES", "plus 1 MiB"),
        ("MAX_INFLATED_TEXT_RATIO", "8 times"),
        ("MAX_FREE_INFLATED_TEXT_NBYTES", "plus 4 MiB"),
        ("MAX_FREE_INFLATED_CONFIG_NBYTES", "plus 4 MiB"),
        ("MAX_INFLATED_STEPS_RATIO", "1 step for each"),
        ("MAX_FREE_INFLATED_STEPS", "plus 1,048,576"),
        ("MAX_FREE_INFLATED_HDF5_NBYTES", "plus 8 MiB"),
    ),
    "headers of the arrays": (
        ("MAX_NPY_HEADER_NBYTES", "10,000 bytes"),
        ("MAX_NPY_HEADERS_RATIO", "the size of the file"),
        ("MAX_FREE_NPY_HEADERS_NBYTES", "64 KiB"),
    ),
    "the metadata of an HDF5": (
        ("MAX_HDF5_RATIO", "2 times"),
        ("MAX_FREE_HDF5_NBYTES", "64 KiB"),
        ("MAX_HDF5_DEPTH", "100 deep"),
    ),
    "a compressed chunk": (
        ("MAX_FREE_CHUNK_NBYTES", "64 MiB"),
        ("MAX_CHUNK_RATIO", "16 times"),
    ),
    "the configuration of a Keras": (
        ("MAX_CONFIG_NBYTES", "64 MiB"),
        ("MAX_CONFIG_DEPTH", "100 deep"),
    ),
    "headers of a tar": (
        ("MIN_MEMBER_NBYTES", "one for each 16 bytes"),
        ("MAX_FREE_MEMBERS", "plus 1,024"),
        ("MAX_EXTENDED_HEADER_NBYTES", "1 MiB"),
        ("MAX_MEMBER_NAMES_RATIO", "16 bytes for each byte"),
    ),
    "directories of an archive": (
        ("MAX_ARCHIVE_DEPTH", "32 directories deep"),
        ("MAX_ARCHIVE_DIRECTORIES", "more than 1,000"),
    ),
    "a report of `verify`": (
        ("MAX_INDEX_ERRORS", "10,000 damaged entries"),
        ("MAX_DAMAGED_TENSORS", "50,000 damaged tensors"),
    ),
}
"""The first words of a row of SECURITY.md -> each limit of it, and how the row spells it."""

UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "million": 1 << 20}


def value_in(words: str) -> int:
    """The number in the words of a row: "4 KiB" is 4096."""
    number, unit = 1, 1
    for word in words.split():
        unit = UNITS.get(word, unit)
        digits = word.replace(",", "")
        number = int(digits) if digits.isdigit() else number
    return number * unit


def rows_of_security() -> list[str]:
    text = (ROOT / "SECURITY.md").read_text("utf-8")
    _, _, table = text.partition("| content | limit | tested in |\n| --- | --- | --- |\n")
    return table[: table.index("\n\n")].splitlines()


@pytest.mark.parametrize("start", ROWS)
def test_a_row_says_what_the_code_refuses(start: str) -> None:
    (row,) = (row for row in rows_of_security() if row.startswith(f"| {start}"))
    for name, words in ROWS[start]:
        assert words in row
        value = getattr(limits, name)
        if name == "MAX_PARTS_PER_PART":
            value //= limits.MIN_SLICE_NBYTES
        assert value_in(words) == value


def test_every_limit_has_a_row_and_every_row_a_limit() -> None:
    names = {name for row in ROWS.values() for name, _ in row}
    assert names == {name for name in vars(limits) if name.startswith(("MAX_", "MIN_"))}
    assert len(rows_of_security()) == len(ROWS)
