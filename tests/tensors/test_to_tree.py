"""Tensors as nested dicts."""

from __future__ import annotations

import numpy as np
import pytest

from ckptparse import ConflictError, merge, open_checkpoint
from support.oracle import VGG, expected_array


def test_every_tensor_is_at_its_path() -> None:
    with open_checkpoint(VGG.prefix) as ckpt:
        tree = ckpt.to_tree()
        for name in ckpt:
            node = tree
            for part in name.split("/"):
                node = node[part]
            assert np.array_equal(node, expected_array(VGG, name))


def test_another_separator() -> None:
    assert list(merge({"a.b": [1.0], "a.c": [2.0]}).to_tree(".")["a"]) == ["b", "c"]


@pytest.mark.parametrize(
    "names", [["a", "a/b"], ["a/b", "a"], ["a/b/c", "a/b"], ["x/" * 200 + "y"]]
)
def test_names_that_do_not_fit(names: list[str]) -> None:
    with pytest.raises(ConflictError, match="does not fit into a tree"):
        merge(dict.fromkeys(names, np.zeros(1))).to_tree()


def test_no_separator() -> None:
    with pytest.raises(ValueError, match="separator"):
        merge({"a": [1.0]}).to_tree("")
