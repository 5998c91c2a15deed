"""Arrays cut into pieces: every element once, in order, and no piece larger than asked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptparse.tensors.pieces import cut, cut_array, join


@pytest.mark.parametrize("nbytes", [0, 1, 7], ids=str)
def test_an_element_larger_than_a_piece_is_a_piece(nbytes: int) -> None:
    pieces = list(cut((2, 2), 8, nbytes))
    assert [start for start, _ in pieces] == [0, 1, 2, 3]


@given(st.lists(st.integers(0, 4), max_size=4), st.integers(0, 100))
def test_pieces_join_to_the_array(shape: list[int], nbytes: int) -> None:
    array = np.arange(np.prod(shape, dtype=int), dtype=np.int32).reshape(shape)
    pieces = list(cut_array("a", array, nbytes))
    sizes = [piece.values.size for piece in pieces]
    assert [piece.start for piece in pieces] == [sum(sizes[:i]) for i in range(len(sizes))]
    assert max(sizes) * 4 <= max(nbytes, 4)
    assert join(pieces).shape == array.shape
    np.testing.assert_array_equal(join(pieces), array)
