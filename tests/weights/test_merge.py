"""Several mappings as one: which provides a tensor, and how each is read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import numpy as np
import pytest

from ckptparse import ConflictError, TensorNotFoundError, merge, open_checkpoint
from ckptparse.tensors.mapping import TensorMapping
from ckptparse.tensors.pieces import Piece, join
from support.oracle import FC6, PARTITIONED, VGG, load_case, payload_of

V1 = load_case("tf-1.15.5/v1_dtypes")


class Watched(TensorMapping):
    """A mapping that records the loops in which it is read."""

    def __init__(self, names: Iterable[str], value: float) -> None:
        self.arrays = {name: np.full(3, value) for name in names}
        self.asked: list[tuple[str, list[str]]] = []
        self.given: list[str] = []

    def read(self, name: str, index=...) -> np.ndarray:
        self.given.append(name)
        return self.arrays[name][index]

    def info(self, name: str):
        return merge(self.arrays).info(name)

    def read_each(self, names: Iterable[str]) -> Iterator[tuple[str, np.ndarray]]:
        names = list(names)
        self.asked.append(("read_each", names))
        return super().read_each(names)

    def read_pieces(self, names: Iterable[str], piece_nbytes: int = 100) -> Iterator[Piece]:
        names = list(names)
        self.asked.append(("read_pieces", names))
        return super().read_pieces(names, piece_nbytes)

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)


class TestNames:
    def test_those_of_the_first_come_first(self) -> None:
        merged = merge({"c": 1, "a": 2}, {"d": 3, "b": 4})
        assert list(merged) == ["c", "a", "d", "b"]
        assert [int(array) for array in merged.values()] == [1, 2, 3, 4]
        assert len(merged) == 4
        assert "b" in merged
        assert "e" not in merged
        assert repr(merged) == "<Merge of 2 mappings, 4 tensors>"

    @pytest.mark.parametrize(
        ("on_conflict", "values"), [("first", [1, 2, 4, 6]), ("last", [1, 5, 4, 6])]
    )
    def test_a_name_in_several(self, on_conflict: str, values: list[int]) -> None:
        merged = merge(
            {"a": 1, "b": 2}, {"c": 4, "b": 3}, {"b": 5, "d": 6}, on_conflict=on_conflict
        )
        assert list(merged) == ["a", "b", "c", "d"]
        assert [int(array) for array in merged.values()] == values
        assert [int(merged[name]) for name in merged] == values
        assert [int(piece.values) for piece in merged.read_pieces(merged)] == values

    def test_a_name_in_several_is_an_error(self) -> None:
        with pytest.raises(ConflictError) as caught:
            merge({"a": 1, "b": 2}, {"c": 4}, {"b": 2})
        assert str(caught.value) == (
            "tensor 'b': several mappings have a tensor of this name"
            ' (on_conflict="first" or "last", --on-conflict first: takes one of them)\n'
            "  expected: each name in one mapping\n"
            "  found: the name in mapping 1 of 3 and in mapping 3 of 3"
        )

    def test_paths_in_errors(self) -> None:
        ckpt = open_checkpoint(VGG.prefix)
        text = re.escape(f"in {VGG.prefix} and in mapping 3 of 3")
        with pytest.raises(ConflictError, match=text):
            merge({}, ckpt.select(include=FC6), {FC6: 1})

    @pytest.mark.parametrize("on_conflict", ["first", "last"])
    @pytest.mark.parametrize(
        ("other", "what", "found"),
        [
            (np.zeros(3), "shapes", r"float64 \[3\]"),
            (np.zeros(2, np.int32), "dtypes", r"int32 \[2\]"),
        ],
        ids=["shape", "dtype"],
    )
    def test_other_forms(self, other: np.ndarray, what: str, found: str, on_conflict: str) -> None:
        merged = merge({"a": np.zeros(2)}, {"a": other}, on_conflict=on_conflict)
        text = (
            rf"^tensor 'a': the tensors of this name have different {what}\n"
            rf"  expected: float64 \[2\], as in mapping 1 of 2\n  found: {found} in mapping 2 of 2$"
        )
        questions = [
            lambda: merged["a"],
            lambda: merged.info("a"),
            merged.infos,
            lambda: list(merged.items()),
            lambda: list(merged.read_pieces(["a"])),
        ]
        for question in questions:
            with pytest.raises(ConflictError, match=text):
                question()

    def test_no_such_tensor(self) -> None:
        merged = merge({"weights": np.zeros(2)})
        for question in (merged.read, merged.info, merged.origin, merged.__getitem__):
            with pytest.raises(TensorNotFoundError, match="no such tensor in the merge"):
                question("weight")

    def test_arguments(self) -> None:
        with pytest.raises(ValueError, match="nothing to merge"):
            merge()
        with pytest.raises(TypeError, match=r"argument 2 is not a mapping .* but list"):
            merge({}, [])
        with pytest.raises(ValueError, match="on_conflict is one of error, first, last, not 'no'"):
            merge({}, on_conflict="no")


class TestReading:
    def test_nothing_is_read_before_access(self) -> None:
        first, second = Watched("ab", 1), Watched("bc", 2)
        merged = merge(first, second, on_conflict="last")
        assert len(merged.infos()) == 3
        merged.read_pieces("abc")
        assert not first.given
        assert not second.given
        assert merged.read("b", slice(1)).tolist() == [2]
        assert (first.given, second.given) == ([], ["b"])

    @pytest.mark.parametrize("how", ["read_each", "read_pieces"])
    def test_one_loop_for_each_mapping(self, how: str) -> None:
        first, second = Watched("ace", 1), Watched("bdf", 2)
        merged = merge(first, second)
        if how == "read_each":
            found = [(name, array.tolist()) for name, array in merged.read_each(list("fabce"))]
        else:
            parts: dict[str, list[Piece]] = {}
            for piece in merged.read_pieces(list("fabce"), 8):
                parts.setdefault(piece.name, []).append(piece)
            assert all(len(pieces) == 3 for pieces in parts.values())
            found = [(name, join(pieces).tolist()) for name, pieces in parts.items()]
        assert found == [(name, [1 + (name in "bdf")] * 3) for name in "fabce"]
        assert first.asked[0] == (how, ["a", "c", "e"])
        assert second.asked[0] == (how, ["f", "b"])
        assert first.given == ["a", "c", "e"]

    @pytest.mark.parametrize("nbytes", [1, 100, 1 << 23], ids=str)
    def test_files(self, nbytes: int) -> None:
        with open_checkpoint(V1.path) as first, open_checkpoint(PARTITIONED.prefix) as second:
            vgg = open_checkpoint(VGG.prefix, mmap=False)
            renamed = vgg.select(rename=lambda name: f"x/{name}")
            merged = merge(first, second, renamed)
            parts: dict[str, list[Piece]] = {}
            names = sorted(merged, key=lambda name: name[::-1])
            for piece in merged.read_pieces(names, nbytes):
                parts.setdefault(piece.name, []).append(piece)
            assert list(parts) == names
            expected = {**first, **second, **renamed}
            for name in names:
                assert payload_of(join(parts[name])) == payload_of(expected[name])
                assert payload_of(merged[name]) == payload_of(expected[name])
            assert merged.infos() == [*first.infos(), *second.infos(), *renamed.infos()]

    def test_a_string_is_no_list_of_names(self) -> None:
        merged = merge({"a": 1}, {"b": 2})
        for read in (merged.read_each, merged.read_pieces):
            with pytest.raises(TypeError, match="expected a list of names"):
                list(read("ab"))

    def test_origin(self) -> None:
        with open_checkpoint(VGG.prefix) as ckpt:
            merged = merge({"a": 1}, ckpt)
            assert merged.origin(FC6) == (ckpt, FC6)
            assert merged.origin("a") == (merged, "a")

    def test_paths(self) -> None:
        merged = merge(VGG.prefix, {"a": 1})
        assert merged.select(include=FC6)[FC6].shape == (7, 7, 6, 12)


class TestRoles:
    """The graphs of the checkpoints tell more than the names: `logits/bias/generator` is state."""

    PREFIX = load_case("tf-1.15.5/training_graph").prefix

    def test_they_are_those_of_the_checkpoint(self) -> None:
        with open_checkpoint(self.PREFIX) as ckpt:
            merged = merge(ckpt, {"x": 1.0})
            assert merged.roles() == ckpt.roles()
            expected = [*ckpt.select(weights_only=True), "x"]
            assert list(merged.select(weights_only=True)) == expected
            assert "logits/bias/generator" not in expected

    def test_they_are_those_of_the_mapping_that_provides_the_tensor(self) -> None:
        with open_checkpoint(self.PREFIX) as ckpt:
            other = {"logits/bias/generator": ckpt["logits/bias/generator"]}
            assert "logits/bias/generator" in merge(ckpt, other, on_conflict="first").roles()
            assert "logits/bias/generator" not in merge(ckpt, other, on_conflict="last").roles()
