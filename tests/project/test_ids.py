"""Ids of parameters are short, and the same in each process."""

from __future__ import annotations

import numpy as np
import pytest

from support.ids import MOST_LETTERS, index_id, short

MOST_LETTERS_OF_ALL = 100
"""Of all parameters of a test together."""


def test_ids_are_short_and_name_no_address(request: pytest.FixtureRequest) -> None:
    ids = {item.nodeid: item.nodeid.partition("[")[2] for item in request.session.items}
    assert [name for name, id in ids.items() if len(id) > MOST_LETTERS_OF_ALL] == []
    assert [name for name, id in ids.items() if not id.isascii() or " at 0x" in id] == []


@pytest.mark.parametrize(
    ("index", "text"),
    [
        ((), "()"),
        (..., "..."),
        (-1, "-1"),
        (np.s_[:, ::-2, 1:, None], ":,::-2,1:,None"),
        ([1, 0], "[1,0]"),
        (np.zeros((3, 4), bool), "bool(3,4)"),
    ],
    ids=index_id,
)
def test_indices_are_named_as_they_are_written(index: object, text: str) -> None:
    assert index_id(index) == text


def test_long_texts_are_cut() -> None:
    assert short(b"\xff" * 20) == r"\xff" * 11 + "\\..."
    assert len(short("x" * 100)) == MOST_LETTERS
    assert short("a\nb") == r"a\nb"
