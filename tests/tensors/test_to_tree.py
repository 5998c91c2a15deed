"""Tensors as nested dicts."""

from __future__ import annotations

import numpy as np
import pytest

from ckptparse import ConflictError, merge, open_checkpoint
from support.oracle import VGG, expected_array, load_case

ADAM = load_case("tf-1.15.5/training_graph")


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


@pytest.mark.parametrize("names", [["a", "a/b"], ["a/b", "a"], ["a/x", "a/b/c", "a/b", "c"]])
def test_a_tensor_and_a_scope(names: list[str]) -> None:
    with pytest.raises(ConflictError, match="cannot have the name of a scope") as caught:
        merge(dict.fromkeys(names, np.zeros(1))).to_tree()
    tensor, below = caught.value.tensor, str(caught.value.found)
    assert (tensor, below) in [("a", "'a/b'"), ("a/b", "'a/b/c'")]


def test_slots_are_scopes_and_weights_are_not() -> None:
    with open_checkpoint(ADAM.prefix) as ckpt:
        with pytest.raises(ConflictError, match="weights_only=True"):
            ckpt.to_tree()
        tree = ckpt.select(weights_only=True).to_tree()
    assert np.array_equal(tree["conv"]["kernel"], expected_array(ADAM, "conv/kernel"))


def test_nothing_is_read_of_names_that_do_not_fit() -> None:
    class Unreadable(dict[str, float]):
        def __getitem__(self, name: str) -> float:
            raise AssertionError(name)

    with pytest.raises(ConflictError):
        merge(Unreadable({"x": 1.0, "a": 2.0, "a/b": 3.0})).to_tree()


def test_a_name_of_many_parts() -> None:
    name = "x/" * 99 + "y"
    assert list(merge({name: [1.0]}).to_tree()) == ["x"]
    with pytest.raises(ConflictError, match="too deep"):
        merge({f"z/{name}": [1.0]}).to_tree()


def test_no_separator() -> None:
    with pytest.raises(ValueError, match="separator"):
        merge({"a": [1.0]}).to_tree("")
