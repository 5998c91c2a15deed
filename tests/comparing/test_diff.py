"""What `diff` reports: of fixtures, of names that differ, of pieces, checksums and damage."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptparse import (
    ChecksumError,
    TensorNotFoundError,
    UnsupportedError,
    average,
    diff,
    merge,
    open_checkpoint,
    save_checkpoint,
)
from ckptparse.comparing import DiffReport
from ckptparse.comparing.report import ValueDifference
from ckptparse.tensors.mapping import PIECE_NBYTES
from ckptparse.tensors.pieces import Piece
from ckptparse.weights.inputs import ArrayMapping
from support.damage import copy_case, flip_bit
from support.oracle import MATRIX, PARTITIONED, VGG, Expected, case_names, expected_array, load_case
from support.repository import FIXTURES

V2 = [name for name in case_names("v2") if not load_case(name).errors]
DATA = ".data-00000-of-00001"


def names_of(changes: Iterable[Any]) -> list[str]:
    return [change.name for change in changes]


def readable(case_name: str) -> list[str]:
    """Names of the tensors that TensorFlow read."""
    case = load_case(case_name)
    return [tensor.name for tensor in case.tensors if tensor.read_by is not None]


def strings_of(expected: Expected) -> np.ndarray:
    """The strings that TensorFlow read: each after its length."""
    strings, left = [], expected.payload
    while left:
        stop = 8 + int.from_bytes(left[:8], "little")
        strings.append(left[8:stop])
        left = left[stop:]
    array = np.empty(len(strings), object)
    array[:] = strings
    return array.reshape(expected.shape)


class TestFixtures:
    @pytest.mark.parametrize("name", V2)
    def test_a_checkpoint_is_equal_to_itself(self, name: str) -> None:
        names = readable(name)
        with open_checkpoint(load_case(name).path) as ckpt:
            for deep in False, True:
                report = diff(ckpt.select(include=names), ckpt.select(include=names), deep=deep)
                assert report.equal
                assert sorted(report.same) == sorted(names)
            assert report.not_read == ()

    @pytest.mark.parametrize("name", V2)
    def test_a_checkpoint_is_equal_to_what_tensorflow_read(self, name: str) -> None:
        """Also partitioned, compressed and big-endian ones, beside whole arrays in memory."""
        case = load_case(name)
        quantized = {t.name for t in case.tensors if t.dtype.startswith(("qint", "quint"))}
        names = sorted(set(readable(name)) - quantized)  # arrays of numpy are never quantized
        numbers = {t.name for t in case.tensors if t.dtype != "string"}
        arrays = {each: expected_array(case, each) for each in names if each in numbers}
        arrays |= {t.name: strings_of(t) for t in case.tensors if t.name in set(names) - numbers}
        with open_checkpoint(case.path) as ckpt:
            assert diff(ckpt.select(include=names), arrays).equal

    @pytest.mark.parametrize("deep", [False, True])
    def test_two_checkpoints_of_a_run(self, deep: bool) -> None:
        run = "tf-2.21.0/managed/run"
        paths = [FIXTURES / run / f"ckpt-{step}" for step in (40, 50)]
        report = diff(*paths, deep=deep)
        assert not report.equal
        for change in report.changed:
            a, b = (int(open_checkpoint(path)[change.name]) for path in paths)
            assert change.max_absolute == abs(a - b)
        assert len(report.changed) == 2
        assert len(report.not_read) == (0 if deep else 2)
        assert sorted([*report.same, *names_of(report.changed)]) == sorted(
            open_checkpoint(paths[0])
        )

    def test_v1_beside_v2(self) -> None:
        """Of the same tensors, in slices; one has another form there."""
        a, b = (load_case(f"tf-2.21.0/{name}") for name in ("slices", "v1_slices"))
        report = diff(a.path, b.path)
        common = {t.name for t in a.tensors} & {t.name for t in b.tensors}
        for name in common - set(names_of(report.different_form)):
            same = np.array_equal(expected_array(a, name), expected_array(b, name))
            assert (name in report.same) is same
        assert report.not_read == ()

    def test_keys_of_objects_beside_their_paths(self) -> None:
        ckpt = open_checkpoint(FIXTURES / "tf-2.13.1/backbone_head/model.ckpt")
        graph = ckpt.object_graph
        assert graph is not None
        keys = {graph.checkpoint_key(path): path for path in graph}
        report = diff(ckpt.select(include=list(keys)), graph, names=keys)
        assert report.equal
        assert sorted(report.not_read) == sorted(keys)

    def test_variants_are_compared_by_their_checksums(self) -> None:
        path = FIXTURES / "tf-2.21.0/variants/model.ckpt"
        ckpt = open_checkpoint(path)
        variants = [i.name for i in ckpt.infos() if i.tensorflow_dtype == "variant"]
        report = diff(path, path, deep=True)
        assert report.equal
        assert sorted(report.not_read) == sorted(variants)
        first, second = variants[:2]
        a, b = (ckpt.select(include=name, rename={name: "x"}) for name in (first, second))
        if ckpt.info(first).shape == ckpt.info(second).shape:
            assert diff(a, b).not_comparable == ("x",)
            assert not diff(a, b).equal


class TestReport:
    def test_every_kind_of_difference(self) -> None:
        a = {"x": np.zeros(3), "y": np.zeros((2, 3)), "z": np.zeros(2), "s": np.int64(3), "l": 1.0}
        b = {"m": 1.0, "s": np.int64(3), "z": np.ones(2), "y": np.zeros(6), "x": np.zeros(3, "f4")}
        report = diff(a, b)
        assert (report.only_in_a, report.only_in_b, report.same) == (("l",), ("m",), ("s",))
        assert names_of(report.different_form) == ["x", "y"]
        dtype, shape = report.different_form
        assert (dtype.dtype_a, dtype.dtype_b, dtype.same_size) == ("float64", "float32", False)
        assert (shape.shape_a, shape.shape_b, shape.same_size) == ((2, 3), (6,), True)
        assert shape.values is not None
        assert (shape.values.num_different, shape.within_one_rounding) == (0, True)
        assert report.changed == (
            ValueDifference("z", "z", "float64", (2,), 2, 2, 1.0, 1.0, 1.0, None, 0, 0),
        )

    def test_the_largest_distance_is_first(self) -> None:
        a = {name: np.float64([3, 4]) for name in "abcdef"}
        b = {"a": [3, 4.1], "b": [3, np.nan], "c": [30, 40], "d": [3, 4], "e": [np.inf, 4]}
        report = diff(a, {**{k: np.float64(v) for k, v in b.items()}, "f": np.float64([3, 4.1])})
        assert names_of(report.changed) == ["b", "e", "c", "a", "f"]

    def test_tolerances(self) -> None:
        a, b = {"x": np.float32([1, 100])}, {"x": np.float32([1.05, 101])}
        assert not diff(a, b).equal
        assert not diff(a, b, atol=0.1).equal
        assert diff(a, b, rtol=0.05).equal
        assert diff(a, b, atol=0.1, rtol=0.02).equal
        assert diff(a, b, atol=0.1).changed[0].num_different == 1

    @pytest.mark.parametrize("wrong", [-1, np.nan, np.inf])
    @pytest.mark.parametrize("name", ["rtol", "atol"])
    def test_wrong_tolerances_are_refused(self, name: str, wrong: float) -> None:
        with pytest.raises(ValueError, match=name):
            diff({}, {}, **{name: wrong})

    def test_nan_in_the_same_place_is_counted(self) -> None:
        a, b = np.float32([np.nan, 1, np.nan]), np.float32([np.nan, 1, 2])
        report = diff({"x": a, "y": a}, {"x": a, "y": b})
        assert (report.same, report.num_nan) == (("x",), 3)
        assert (report.changed[0].num_nan_a, report.changed[0].num_nan_b) == (2, 1)

    def test_nothing_scalars_and_no_elements(self) -> None:
        assert diff({}, {}) == DiffReport((), (), (), (), (), (), (), 0)
        empty = {"x": np.zeros((0, 3)), "y": np.zeros((2, 0), object), "z": 1.5, "b": True}
        assert diff(empty, empty).equal
        assert names_of(diff(empty, {**empty, "b": False}).changed) == ["b"]
        (form,) = diff({"x": np.zeros((0, 3))}, {"x": np.zeros((0, 2))}).different_form
        assert form.same_size

    def test_other_shapes_are_compared_as_after_a_reshape(self) -> None:
        a, b = np.arange(12.0).reshape(3, 4), np.arange(12.0).reshape(2, 6)
        b[1, 2] = np.nan
        strings = np.array([b"1", b"2"], object)
        found = diff(
            {"x": a, "y": a, "s": strings, "e": np.zeros((0, 3))},
            {"x": b, "y": b[:1], "s": strings.reshape(2, 1)[::-1], "e": np.zeros((2, 0))},
        )
        x, y, s, e = found.different_form
        assert x.values is not None
        assert (x.values.num_different, x.values.num_nan_b) == (1, 1)
        assert y.values is None
        assert s.values is not None
        assert s.values.num_different == 2
        assert e.values is not None
        assert e.values.num_different == 0
        assert not found.equal

    def test_strings_beside_numbers_are_of_another_form(self) -> None:
        (form,) = diff({"x": np.array([b"1"], object)}, {"x": np.ones(1)}).different_form
        assert form.values is None

    def test_scopes(self) -> None:
        a = {"a/b/w": 1.0, "a/c/w": 1.0, "t": 1.0, "m.n": 1.0}
        b = {"a/b/w": 2.0, "a/c/w": 1.0, "x10/y": 1.0, "x9/y": 1.0, "m.n": np.ones(2)}
        report = diff(a, b)
        assert [tuple(each) for each in report.scopes()] == [
            ("", 0, 0, 0, 1, 0),
            ("a", 1, 1, 0, 0, 0),
            ("m", 0, 0, 1, 0, 0),
            ("x9", 0, 0, 0, 0, 1),
            ("x10", 0, 0, 0, 0, 1),
        ]
        equal = {each.scope: each.equal for each in report.scopes(2)}
        assert (equal["a/b"], equal["a/c"]) == (False, True)

    def test_the_scope_of_an_object_is_without_its_variable(self) -> None:
        key = "model/dense/kernel/.ATTRIBUTES/VARIABLE_VALUE"
        assert [each.scope for each in diff({key: 1}, {key: 1}).scopes(9)] == ["model/dense"]

    def test_html_is_escaped_and_short(self) -> None:
        a = {f"<b>{i}": np.float32(i) for i in range(50)}
        b = {name: array + 1 for name, array in a.items()}
        html = diff(a, {**b, "\x1b": 1})._repr_html_()
        assert "<b>1" not in html
        assert "&lt;b&gt;1" in html
        assert "\x1b" not in html
        assert html.count("<tr>") == 1 + 20 + 2
        assert "and 30 more" in html

    def test_html_has_the_verdict_of_each_scope(self) -> None:
        html = diff({"a/w": 1.0, "b/w": 1.0}, {"a/w": 1.0, "b/w": 2.0})._repr_html_()
        rows = html.split("<table>")[-1].split("</tr>")[1:3]
        cells = [re.findall("<td>(.*?)</td>", row) for row in rows]
        assert cells == [
            ["0", "1", "0", "0", "0", "different", "b"],
            ["1", "0", "0", "0", "0", "equal", "a"],
        ]

    def test_progress(self) -> None:
        calls: list[tuple[int, int]] = []
        a = {"x": np.zeros(2), "y": np.zeros(3, "f4")}
        diff(a, a, progress=lambda done, total: calls.append((done, total)))
        assert calls == [(32, 56), (56, 56)]

    @pytest.mark.parametrize("wrong", [3, None, ["x"]], ids=repr)
    def test_what_is_no_mapping_is_refused(self, wrong: Any) -> None:
        with pytest.raises(TypeError, match="argument 2"):
            diff({}, wrong)

    def test_a_dtype_that_tensorflow_lacks(self) -> None:
        a = {"x": np.zeros(2, "datetime64[s]")}
        assert diff(a, a).not_comparable == ("x",)


class TestNames:
    A: ClassVar = {"a/w": np.ones((2, 3)), "a/b": np.zeros(3), "step": np.int64(1)}
    B: ClassVar = {"x/w": np.ones((2, 3)), "x/b": np.ones(3), "step": np.int64(1)}

    @pytest.mark.parametrize("names", [{"a/w": "x/w", "a/b": "x/b"}, {"a/": "x/"}], ids=repr)
    def test_names_and_scopes(self, names: dict[str, str]) -> None:
        report = diff(self.A, self.B, names=names)
        assert report.same == ("a/w", "step")
        (change,) = report.changed
        assert (change.name, change.name_in_b) == ("a/b", "x/b")
        assert report.only_in_a == report.only_in_b == ()

    def test_a_scope_may_lack_some(self) -> None:
        report = diff({**self.A, "a/more": 1.0}, self.B, names={"a/": "x/"})
        assert (report.only_in_a, report.only_in_b) == (("a/more",), ())
        assert report.same == ("a/w", "step")

    def test_a_name_that_is_taken_is_not_paired_twice(self) -> None:
        report = diff({"p": 1.0, "q": 2.0}, {"p": 1.0, "q": 2.0}, names={"p": "q"})
        assert names_of(report.changed) == ["p"]
        assert (report.only_in_a, report.only_in_b) == (("q",), ("p",))

    @pytest.mark.parametrize("names", [{"no": "step"}, {"step": "no"}, {"a/": "no/"}], ids=repr)
    def test_names_that_are_missing(self, names: dict[str, str]) -> None:
        with pytest.raises(TensorNotFoundError):
            diff(self.A, self.B, names=names)

    def test_two_names_for_one_are_refused(self) -> None:
        with pytest.raises(ValueError, match="x/w"):
            diff(self.A, self.B, names={"a/w": "x/w", "a/b": "x/w"})
        with pytest.raises(ValueError, match="exclude"):
            diff(self.A, self.B, names={}, match=True)

    def test_match_pairs_by_shape_and_name_then_by_size(self) -> None:
        """A detector has VGG's fully connected layers as matrices."""
        names = ["fc6/weights", "fc6/biases", "fc7/weights", "fc7/biases"]
        with open_checkpoint(VGG.path) as ckpt:
            vgg = ckpt.select(include=[f"vgg_16/{name}" for name in names])
            detector = {}
            for name in names:
                array = ckpt[f"vgg_16/{name}"]
                is_matrix = name.endswith("weights")
                shape = (-1, array.shape[-1]) if is_matrix else array.shape
                detector[f"detector/{name}"] = array.reshape(shape)
            report = diff(vgg, detector, match=True)
            assert diff(vgg, detector, names=dict(report.names)) == report
        assert sorted(report.same) == ["vgg_16/fc6/biases", "vgg_16/fc7/biases"]
        forms = {form.name: form for form in report.different_form}
        assert sorted(forms) == ["vgg_16/fc6/weights", "vgg_16/fc7/weights"]
        assert forms["vgg_16/fc6/weights"].name_in_b == "detector/fc6/weights"
        assert all(form.same_size for form in forms.values())
        assert {form.values and form.values.num_different for form in forms.values()} == {0}
        assert dict(report.names) == {f"vgg_16/{name}": f"detector/{name}" for name in names}
        assert report.only_in_a == report.only_in_b == ()


class TestVariables:
    """Tensors whose names differ, and whose variables have the same name."""

    def test_an_object_graph_and_names_of_tensorflow_1(self, tmp_path: Path) -> None:
        case = load_case("tf-2.21.0/keras_adam")
        nodes = json.loads((case.folder / "expected_objects.json").read_text())["nodes"]
        attributes = [each for node in nodes for each in node["attributes"]]
        keys = {each["checkpoint_key"]: each["full_name"] for each in attributes}
        assert len({name for name in keys.values() if name}) > 20
        with open_checkpoint(case.path) as ckpt:
            save_checkpoint(tmp_path / "by_name", {keys.get(k) or k: ckpt[k] for k in ckpt})
            for report in (
                diff(ckpt, tmp_path / "by_name"),
                diff(tmp_path / "by_name", ckpt),
                diff(ckpt.select(exclude="none"), tmp_path / "by_name"),
            ):
                assert report.equal
                assert len(report.same) == len(case.tensors)
            renamed = ckpt.select(rename=lambda name: f"x/{name}")  # a name that was given counts
            assert diff(renamed, tmp_path / "by_name").same == ()

    def test_a_keras_file(self) -> None:
        path = FIXTURES / "tf-2.13.1/keras_h5/model.h5"
        with open_checkpoint(path) as ckpt:
            known = json.loads((path.parent / "expected_keras.json").read_text())
            assert "dense/kernel:0" in json.dumps(known)
            report = diff({"dense/kernel": ckpt["model_weights/encoder/dense/kernel:0"]}, ckpt)
        assert report.same == ("dense/kernel",)

    def test_names_that_several_have_are_left(self) -> None:
        """`w` and `w:0` would be the same variable."""
        one = np.ones(2)
        assert diff({"w:0": one}, {"w": one}).same == ("w:0",)
        assert diff({"w:0": one, "w:0:0": one}, {"w": one}).same == ("w:0",)
        report = diff({"w:0": one, "v": one}, {"w": one, "v": one, "w:0": one})
        assert (report.same, report.only_in_b) == (("w:0", "v"), ("w",))

    def test_a_variable_of_two_tensors_is_left(self) -> None:
        key = "model_weights/encoder/dense/kernel:0"
        with open_checkpoint(FIXTURES / "tf-2.13.1/keras_h5/model.h5") as ckpt:
            one, kernel = ckpt.select(include=key), ckpt[key]
            two = {"dense/kernel": kernel, "dense/kernel:0": kernel}
            for a, b in ((one, two), (two, one)):
                report = diff(a, b)
                assert (report.same, report.only_in_a, report.only_in_b) == ((), (*a,), (*b,))
            for name, array in two.items():
                assert diff(one, {name: array}).equal

    def test_variables_without_names(self) -> None:
        """TensorFlow calls each of them `Variable`."""
        tensors = []
        for name in ("root_module", "tables_and_state"):
            case = load_case(f"tf-2.21.0/{name}")
            nodes = json.loads((case.folder / "expected_objects.json").read_text())["nodes"]
            attributes = [each for node in nodes for each in node["attributes"]]
            keys = [a["checkpoint_key"] for a in attributes if a["full_name"] == "Variable"]
            tensors.append(open_checkpoint(case.path).select(include=keys))
        a, b = tensors
        (in_a,), (in_b,) = a, b
        assert in_a != in_b
        report = diff(a, b)
        assert (report.only_in_a, report.only_in_b) == ((in_a,), (in_b,))
        assert diff(a, {"Variable": a[in_a]}).only_in_a == (in_a,)

    def test_match_has_what_is_left(self) -> None:
        """By its shape alone, gamma would be paired with the other tensor."""
        key = "optimizer/_trainable_variables/2/.ATTRIBUTES/VARIABLE_VALUE"
        with open_checkpoint(load_case("tf-2.21.0/keras_adam").path) as ckpt:
            gamma = ckpt[key]
            b = {"model/norm/gamma": gamma.reshape(-1, 1), "other": np.zeros_like(gamma)}
            report = diff(ckpt.select(include=key), b, match=True)
        assert [form.name_in_b for form in report.different_form] == ["model/norm/gamma"]
        assert report.only_in_b == ("other",)

    def test_names_come_first(self) -> None:
        one = np.ones(2)
        report = diff({"w:0": one, "x": one}, {"w": one, "y": one}, names={"x": "w"})
        assert (report.same, report.only_in_a, report.only_in_b) == (("x",), ("w:0",), ("y",))

    def test_a_damaged_graph(self, tmp_path: Path) -> None:
        prefix = copy_case("tf-2.21.0/keras_adam", tmp_path)
        with open_checkpoint(prefix) as ckpt:
            offset = ckpt.info("_CHECKPOINTABLE_OBJECT_GRAPH").offset
            assert offset is not None
        flip_bit(f"{prefix}.data-00000-of-00001", offset + 100)
        with open_checkpoint(prefix) as ckpt:
            chosen = ckpt.select(include="model/*")
            assert diff(chosen, {"w": np.ones(3)}).only_in_b == ("w",)


class Cut(ArrayMapping):
    """Arrays in pieces of given sizes."""

    def __init__(self, arrays: dict[str, np.ndarray], sizes: list[int]) -> None:
        super().__init__(arrays)
        self._sizes = sizes

    def read_pieces(
        self, names: Iterable[str], piece_nbytes: int = PIECE_NBYTES
    ) -> Iterator[Piece]:
        for name in names:
            array, info, start, i = self.read(name).reshape(-1), self.info(name), 0, 0
            while start < array.size or i == 0:
                size = self._sizes[i % len(self._sizes)]
                part = array[start : start + size]
                yield Piece(name, info.tensorflow_dtype, info.shape, start, part)
                start, i = start + size, i + 1


class TestPieces:
    @given(st.data())
    def test_other_boundaries_and_another_order(self, data: st.DataObject) -> None:
        sizes = st.lists(st.integers(1, 7), min_size=1, max_size=4)
        shapes = data.draw(st.lists(st.integers(0, 20), min_size=1, max_size=4))
        random = np.random.default_rng(0)
        a = {f"t{i}": random.integers(0, 3, n).astype("f4") for i, n in enumerate(shapes)}
        b = {name: random.integers(0, 3, a[name].size).astype("f4") for name in reversed(a)}
        report = diff(Cut(a, data.draw(sizes)), Cut(b, data.draw(sizes)))
        found = {change.name: change.num_different for change in report.changed}
        expected = {name: np.count_nonzero(a[name] != b[name]) for name in a}
        assert found == {name: number for name, number in expected.items() if number}

    def test_pieces_of_files(self, tmp_path: Path) -> None:
        """Of more than one piece: mapped, read by position, partitioned, and another dtype."""
        array = np.random.default_rng(0).standard_normal((3000, 1000)).astype("f4")
        changed = array.copy()
        changed[1234, 567] += 1
        save_checkpoint(tmp_path / "a", {"x": array}, sync=False)
        save_checkpoint(tmp_path / "b", {"x": changed}, partitions={"x": (3, 2)}, sync=False)
        copied = open_checkpoint(tmp_path / "b", mmap=False)
        for b in tmp_path / "b", copied:
            (change,) = diff(tmp_path / "a", b).changed
            assert (change.num_different, change.max_absolute) == (
                1,
                abs(np.float64(changed[1234, 567]) - np.float64(array[1234, 567])),
            )
        half = open_checkpoint(tmp_path / "a").select(dtype="float16")
        (form,) = diff(tmp_path / "a", half).different_form
        assert form.within_one_rounding
        (form,) = diff(copied, half).different_form
        assert not form.within_one_rounding

    def test_a_partitioned_tensor_beside_a_whole_one(self, tmp_path: Path) -> None:
        with open_checkpoint(PARTITIONED.path) as ckpt:
            save_checkpoint(tmp_path / "whole", {MATRIX: ckpt[MATRIX]}, sync=False)
            report = diff(ckpt.select(include=MATRIX), tmp_path / "whole")
            assert (report.same, report.not_read) == ((MATRIX,), ())


class TestChecksums:
    @pytest.fixture
    def damaged(self, tmp_path: Path) -> Path:
        """VGG with another last byte, which only reading would notice."""
        prefix = copy_case("tf-1.15.5/vgg_16", tmp_path)
        flip_bit(f"{prefix}{DATA}", os.path.getsize(f"{prefix}{DATA}") - 1)
        return prefix

    def test_tensors_of_equal_checksums_are_not_read(self, damaged: Path) -> None:
        report = diff(VGG.path, damaged)
        assert report.equal
        assert len(report.not_read) == len(report.same) == len(VGG.tensors)

    @pytest.mark.parametrize("options", [{"deep": True}, {"rtol": 1e-3}], ids=repr)
    def test_damage_is_an_error_if_they_are_read(
        self, damaged: Path, options: dict[str, Any]
    ) -> None:
        for paths in (VGG.path, damaged), (damaged, VGG.path):
            with pytest.raises(ChecksumError) as raised:
                diff(*paths, **options)
            assert raised.value.tensor

    def test_fingerprints(self, tmp_path: Path) -> None:
        """They follow names, not transforms or casts; and are those of all slices."""
        name = "vgg_16/fc6/biases"
        ckpt = open_checkpoint(VGG.path)
        stored = ckpt.fingerprint(name)
        assert stored is not None
        assert merge(ckpt, {"x": 1.0}).fingerprint(name) == stored
        assert merge(ckpt, {"x": 1.0}).fingerprint("x") is None
        assert ckpt.select(rename={name: "b"}).fingerprint("b") == stored
        assert ckpt.select(transform={name: lambda b: b + 1}).fingerprint(name) is None
        assert ckpt.select(dtype="float32").fingerprint(name) is None
        assert average([ckpt, ckpt]).fingerprint(name) is None
        array = np.arange(12, dtype="f4").reshape(3, 4)
        paths = {"whole": None, "rows": (3, 1), "columns": (1, 4), "again": (3, 1)}
        found = {}
        for path, parts in paths.items():
            partitions = {} if parts is None else {"x": parts}
            save_checkpoint(tmp_path / path, {"x": array}, partitions=partitions, sync=False)
            found[path] = open_checkpoint(tmp_path / path).fingerprint("x")
        assert found["rows"] == found["again"]
        assert len(set(found.values())) == 3
        assert open_checkpoint(FIXTURES / "tf-1.15.5/v1_vgg_16").fingerprint(name) is None

    def test_equal_checksums_of_other_forms_are_no_match(self, tmp_path: Path) -> None:
        """The bytes are the same, but not the dtype or the shape."""
        bits = np.arange(6, dtype="i4")
        save_checkpoint(tmp_path / "a", {"x": bits, "y": bits}, sync=False)
        save_checkpoint(tmp_path / "b", {"x": bits.view("f4"), "y": bits.reshape(2, 3)}, sync=False)
        assert names_of(diff(tmp_path / "a", tmp_path / "b").different_form) == ["x", "y"]

    def test_a_tensor_that_cannot_be_read(self) -> None:
        """Its values are asked for by nobody."""
        variant = next(
            info.name
            for info in open_checkpoint(FIXTURES / "tf-2.21.0/variants/model.ckpt").infos()
            if info.tensorflow_dtype == "variant"
        )
        ckpt = open_checkpoint(FIXTURES / "tf-2.21.0/variants/model.ckpt")
        with pytest.raises(UnsupportedError):
            ckpt.read(variant)
        assert not diff(ckpt.select(include=variant), {variant: np.zeros(3)}).equal


def test_files_are_closed(tmp_path: Path) -> None:
    """On Windows, open files cannot be deleted."""
    shutil.copytree(VGG.path.parent, tmp_path / "copy")
    path = tmp_path / "copy" / VGG.path.name
    assert diff(path, path, deep=True).equal
    shutil.rmtree(tmp_path / "copy")
