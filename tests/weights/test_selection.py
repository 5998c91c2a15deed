"""Selections of mappings: renamed, transformed, and read lazily."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import numpy as np
import pytest

from ckptparse import ChecksumError, TensorNotFoundError, open_checkpoint
from ckptparse.weights.selection import info_each, select
from support.damage import copy_case, flip_bit
from support.ids import short
from support.oracle import FC6, VGG, load_case

CONV1_1 = "vgg_16/conv1/conv1_1/weights"
AVERAGES = load_case("tf-1.15.5/variables_to_restore")
RESTORED = json.loads((AVERAGES.folder / "answers.json").read_text())["answers"]


@pytest.fixture
def ckpt():
    with open_checkpoint(VGG.prefix) as ckpt:
        yield ckpt


class Watched(dict):
    """A mapping that records what was read."""

    def __init__(self, names) -> None:
        super().__init__({name: np.full(2, i) for i, name in enumerate(names)})
        self.read = []

    def __getitem__(self, name: str) -> np.ndarray:
        self.read.append(name)
        return super().__getitem__(name)


NAMES = ["a/b", "a/w", "ab/w", "b[0]/w", "b0/w", "w"]


def chosen(**options) -> list[str]:
    return list(select(Watched(NAMES), **options))


class TestInclude:
    @pytest.mark.parametrize(
        ("include", "expected"),
        [
            (None, NAMES),
            ((), []),
            ("w", ["w"]),
            ("*", NAMES),
            ("*w", ["a/w", "ab/w", "b[0]/w", "b0/w", "w"]),
            ("a*", ["a/b", "a/w", "ab/w"]),
            ("a?w", ["a/w"]),
            ("?", ["w"]),
            ("[!a]*", ["b[0]/w", "b0/w", "w"]),
            ("b[0]/w", ["b[0]/w"]),  # a name before it is a glob
            ("b[01]/w", ["b0/w"]),
            (["w", "a/*"], ["a/b", "a/w", "w"]),
            pytest.param(iter(["w", "a/*"]), ["a/b", "a/w", "w"], id="an iterator"),
            (re.compile("b"), ["a/b", "ab/w", "b[0]/w", "b0/w"]),
            (re.compile("^b"), ["b[0]/w", "b0/w"]),
            ([re.compile("^b"), "w"], ["b[0]/w", "b0/w", "w"]),
        ],
        ids=short,
    )
    def test_patterns(self, include, expected: list[str]) -> None:
        assert chosen(include=include) == expected

    @pytest.mark.parametrize("include", ["W", "A*", "a/v", ["w", "v*"], re.compile("^c"), ""])
    def test_a_pattern_without_a_match_is_an_error(self, include) -> None:
        with pytest.raises(TensorNotFoundError, match="no tensor of this name or pattern"):
            chosen(include=include)

    def test_the_error_names_the_nearest(self) -> None:
        with pytest.raises(TensorNotFoundError, match=r"tensor 'a/ww': .*similar of 6 names: a/w"):
            chosen(include="a/ww")

    @pytest.mark.parametrize(
        ("exclude", "expected"),
        [
            ((), NAMES),
            ("*/*", ["w"]),
            (re.compile("/w$"), ["a/b", "w"]),
            (["no such name", "*nothing*", "a*", "b*"], ["w"]),
            ("*", []),
        ],
        ids=short,
    )
    def test_exclude(self, exclude, expected: list[str]) -> None:
        assert chosen(exclude=exclude) == expected

    def test_exclude_after_include(self) -> None:
        assert chosen(include="a*", exclude="a/*") == ["ab/w"]


class TestNames:
    def test_assignment_map(self, ckpt) -> None:
        names = select(ckpt, assignment_map={"vgg_16/": "my/vgg_16/"})
        assert list(names) == [f"my/{name}" for name in ckpt if name.startswith("vgg_16/")]
        assert all(names.sources[name] == name.removeprefix("my/") for name in names)

    @pytest.mark.parametrize(
        ("rename", "expected"),
        [
            ({}, NAMES),
            ({"w": "v"}, [*NAMES[:-1], "v"]),
            ({"w": "a/w", "a/w": "w"}, ["a/b", "w", "ab/w", "b[0]/w", "b0/w", "a/w"]),
            (lambda name: f"x/{name}", [f"x/{name}" for name in NAMES]),
            (str.upper, [name.upper() for name in NAMES]),
        ],
    )
    def test_rename(self, rename, expected: list[str]) -> None:
        source = Watched(NAMES)
        renamed = select(source, rename=rename)
        assert list(renamed) == expected
        assert list(renamed.sources.values()) == NAMES
        assert [int(renamed[name][0]) for name in expected] == list(range(len(NAMES)))

    def test_rename_what_is_not_there(self) -> None:
        with pytest.raises(
            TensorNotFoundError, match=r"'a/v': no such tensor to rename\. The most"
        ):
            chosen(rename={"a/v": "b"})

    def test_rename_what_was_left_out(self) -> None:
        assert list(chosen(include="w", rename={"w": "v", "a/w": "x"})) == ["v"]

    @pytest.mark.parametrize("rename", [{"a/w": "w"}, lambda name: name[-1]])
    def test_two_tensors_of_one_name(self, rename) -> None:
        with pytest.raises(ValueError, match=r"both '.*' and '.*' would be named 'w'"):
            chosen(rename=rename)

    def test_a_new_name_that_is_none(self) -> None:
        with pytest.raises(TypeError, match="the new name of 'a/b' is not a str: None"):
            chosen(rename=lambda name: None)

    def test_steps_follow_each_other(self) -> None:
        assert select(
            Watched([*NAMES, "w/ExponentialMovingAverage"]),
            moving_averages=True,
            include=["a/*", "w"],
            exclude="a/b",
            assignment_map={"/": "x/"},
            rename={"x/a/w": "v"},
            transform={"v": np.negative},
        ).sources == {"v": "a/w", "x/w": "w/ExponentialMovingAverage"}


class TestMovingAverages:
    def test_as_variables_to_restore(self) -> None:
        """Each variable has the source that TensorFlow's Saver read, if all averages are used."""
        answers = [a for a in RESTORED if a["moving_avg_variables"] is None and "restored" in a]
        assert answers
        with open_checkpoint(AVERAGES.prefix) as ckpt:
            chosen = select(ckpt, moving_averages=True)
            for answer in answers:
                for variable, source in answer["restored"].items():
                    assert chosen.sources[variable.partition("/part_")[0]] == source
            assert not any(name.endswith("ExponentialMovingAverage") for name in chosen)
            assert chosen.sources["frozen"] == "frozen"
            np.testing.assert_array_equal(chosen["conv/w"], ckpt["conv/w/ExponentialMovingAverage"])

    def test_an_average_without_its_variable(self) -> None:
        averages = ["a/ExponentialMovingAverage", "a/ExponentialMovingAverage/biased", "b"]
        assert select(Watched(averages), moving_averages=True).sources == {
            "a/ExponentialMovingAverage/biased": "a/ExponentialMovingAverage/biased",
            "b": "b",
            "a": "a/ExponentialMovingAverage",
        }

    def test_without_averages_nothing_changes(self) -> None:
        assert chosen(moving_averages=True) == NAMES

    def test_not_asked_for(self) -> None:
        with open_checkpoint(AVERAGES.prefix) as ckpt:
            assert list(select(ckpt)) == list(ckpt)


class TestTransform:
    def test_the_usual_ones(self, ckpt) -> None:
        chosen = select(
            ckpt,
            transform={
                FC6: lambda w: w.reshape(-1, w.shape[-1]),
                CONV1_1: lambda w: w[:, :, ::-1],  # RGB to BGR
                "*/fc[78]/weights": np.squeeze,
            },
        )
        np.testing.assert_array_equal(chosen[FC6], ckpt[FC6].reshape(294, 12))
        np.testing.assert_array_equal(chosen[CONV1_1][:, :, 0], ckpt[CONV1_1][:, :, 2])
        assert chosen["vgg_16/fc7/weights"].shape == (12, 12)
        assert np.shares_memory(chosen[FC6], ckpt[FC6])  # views stay views
        assert chosen["vgg_16/mean_rgb"].tolist() == ckpt["vgg_16/mean_rgb"].tolist()

    def test_by_the_new_name(self) -> None:
        chosen = select(Watched(NAMES), rename={"w": "v"}, transform={"v": lambda a: a + 1})
        assert chosen["v"].tolist() == [6, 6]

    def test_a_function_of_name_and_array(self) -> None:
        chosen = select(Watched(NAMES), transform=lambda name, a: a * 2 if name == "w" else a)
        assert chosen["w"].tolist() == [10, 10]
        assert chosen["a/w"].tolist() == [1, 1]

    def test_always_an_array(self) -> None:
        mean = select(Watched(NAMES), transform={"w": np.mean})["w"]
        assert isinstance(mean, np.ndarray)
        assert mean.shape == ()

    def test_an_error_says_of_which_tensor(self) -> None:
        chosen = select(Watched(NAMES), transform={"*b*/w": lambda a: a.reshape(3)})
        with pytest.raises(ValueError, match=r"transform of 'ab/w', int\d+ \[2\]: cannot reshape"):
            chosen["ab/w"]

    def test_no_such_name(self) -> None:
        with pytest.raises(TensorNotFoundError, match="'v\\*'"):
            chosen(transform={"v*": np.negative})

    def test_two_for_one_name(self) -> None:
        with pytest.raises(ValueError, match="two transforms for 'a/w'; '\\*w' is the second"):
            chosen(transform={"a/*": np.negative, "*w": np.negative})


class TestLaziness:
    def test_nothing_is_read_before_it_is_asked_for(self) -> None:
        source = Watched(NAMES)
        chosen = select(source, include="*", rename={"w": "v"}, transform={"v": np.negative})
        assert (len(chosen), list(chosen), "v" in chosen, "w" in chosen) == (
            6,
            [*NAMES[:-1], "v"],
            True,
            False,
        )
        repr(chosen)
        assert source.read == []
        chosen["v"]
        assert source.read == ["w"]

    def test_damage_shows_at_access(self, tmp_path) -> None:
        prefix = copy_case("tf-1.15.5/vgg_16", tmp_path)
        with open_checkpoint(prefix) as ckpt:
            info = ckpt.info(FC6)
        flip_bit(info.file, info.offset)
        with open_checkpoint(prefix) as ckpt:
            chosen = select(ckpt, include="*/fc?/weights", rename=str.upper)
            with pytest.raises(ChecksumError):
                chosen[FC6.upper()]
            assert chosen["VGG_16/FC7/WEIGHTS"].size == 144


class TestInfo:
    def test_renamed(self, ckpt) -> None:
        chosen = select(ckpt, include="*/fc?/*", assignment_map={"vgg_16/": "my/"})
        infos = chosen.infos()
        assert [info.name for info in infos] == list(chosen)
        for info in infos:
            original = ckpt.info(chosen.sources[info.name])
            assert (info.shape, info.dtype, info.offset) == (
                original.shape,
                original.dtype,
                original.offset,
            )

    def test_transformed(self, ckpt) -> None:
        chosen = select(ckpt, transform={FC6: lambda w: w.reshape(-1, 12).astype("f8")})
        info = chosen.info(FC6)
        assert (info.name, info.shape, info.dtype) == (FC6, (294, 12), np.float64)
        assert (info.size, info.nbytes, info.tensorflow_dtype) == (3528, 28224, "float64")
        assert (info.mapped, info.file, info.offset, info.slices) == (False, None, None, ())

    def test_without_transform_nothing_is_read(self, ckpt) -> None:
        ckpt.read = None
        assert len(select(ckpt).infos()) == 34

    @pytest.mark.parametrize(
        ("array", "tensorflow_dtype"),
        [
            (np.zeros((2, 3), np.float32), "float32"),
            (np.zeros((), bool), "bool"),
            (np.array([b"x"], object), "string"),
        ],
    )
    def test_of_plain_arrays(self, array: np.ndarray, tensorflow_dtype: str) -> None:
        (info,) = info_each({"a": array}, ["a"])
        assert (info.name, info.shape, info.dtype) == ("a", array.shape, array.dtype)
        assert info.tensorflow_dtype == tensorflow_dtype


class TestMapping:
    def test_is_a_mapping(self, ckpt) -> None:
        chosen = select(ckpt, include="*/fc6/*")
        assert isinstance(chosen, Mapping)
        assert [name for name, _ in chosen.items()] == ["vgg_16/fc6/biases", FC6]
        assert chosen.get("fc6") is None
        assert None not in chosen

    @pytest.mark.parametrize("ask", [lambda s: s["a/v"], lambda s: s.info("a/v")])
    def test_missing_names_the_nearest(self, ask) -> None:
        with pytest.raises(
            TensorNotFoundError, match=r"'a/v': no such tensor in the selection\. .*a/w"
        ):
            ask(select(Watched(NAMES)))

    def test_equal_only_to_itself(self) -> None:
        source = Watched(NAMES)
        one = select(source)
        assert one == one
        assert one != select(source)
        assert len({one, select(source)}) == 2

    def test_of_a_selection(self, ckpt) -> None:
        inner = select(ckpt, include="*/fc?/weights", transform={"*": np.squeeze})
        outer = inner.select(rename=str.upper, transform={"*FC7*": np.transpose})
        assert outer.sources["VGG_16/FC7/WEIGHTS"] == "vgg_16/fc7/weights"
        np.testing.assert_array_equal(
            outer["VGG_16/FC7/WEIGHTS"], ckpt["vgg_16/fc7/weights"][0, 0].T
        )
        assert outer.info("VGG_16/FC8/WEIGHTS").shape == (12, 10)

    def test_sources_are_read_only(self) -> None:
        with pytest.raises(TypeError):
            select(Watched(NAMES)).sources["w"] = "v"

    def test_repr(self, ckpt) -> None:
        chosen = select(ckpt, include="*/fc6/*")
        ckpt.close()
        assert repr(chosen) == "<Selection of 2 tensors>"


def test_a_part_of_a_tensor_reads_no_more_than_the_source_must() -> None:
    case = load_case("tf-1.15.5/vgg_16")
    with open_checkpoint(case.prefix) as ckpt:
        chosen_ones = ckpt.select(
            include="*/fc?/biases", rename=str.upper, transform={"*FC7*": lambda b: -b}
        )
        name = "vgg_16/fc6/biases"
        np.testing.assert_array_equal(chosen_ones.read(name.upper(), np.s_[3:]), ckpt[name][3:])
        assert chosen_ones.read(name.upper(), 3).shape == ()
        part = chosen_ones.read("VGG_16/FC7/BIASES", np.s_[:2])
        np.testing.assert_array_equal(part, -ckpt["vgg_16/fc7/biases"][:2])
