"""The output of `diff`: text at 80 columns, JSON, exit status."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckptparse import diff, save_checkpoint
from support.damage import copy_case, flip_bit
from support.oracle import VGG
from support.repository import FIXTURES

EVIL = "evil\x1b[31m"
DATA = ".data-00000-of-00001"


@pytest.fixture
def run(run: Any) -> Any:
    """Run the command: (exit status, standard output, standard error)."""
    return partial(run, "diff")


def save_two(folder: Path, a: dict[str, Any], b: dict[str, Any]) -> tuple[Path, Path]:
    for name, arrays in ("a", a), ("b", b):
        save_checkpoint(folder / name, arrays, sync=False)
    return folder / "a", folder / "b"


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Two checkpoints that differ in all ways."""
    a = {f"block_{i}/w": np.arange(4, dtype="f4") for i in range(3)}
    b = {name: array.copy() for name, array in a.items()}
    b["block_0/w"][2] = np.nan
    b["block_1/w"] += 1
    a |= {"only/a": np.ones(1), "form": np.ones((2, 3)), "half": np.float32([1 / 3])}
    b |= {EVIL: np.ones(1), "form": np.ones(6), "half": np.float16([1 / 3])}
    return save_two(tmp_path, a, b)


def test_every_kind_of_difference(run: Any, two: tuple[Path, Path]) -> None:
    x = np.arange(4.0)
    distance = 2 / np.linalg.norm(x + 1)  # the norm of four ones is 2
    cosine = x @ (x + 1) / np.linalg.norm(x) / np.linalg.norm(x + 1)
    status, out, err = run(*two)
    assert (status, err) == (1, "")
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 80
    assert out.splitlines() == [
        "only in A (1)",
        "  only/a",
        "only in B (1)",
        r"  evil\x1b[31m",
        "different form: A, B (2)",
        "  float64 [2,3]  float64 [6]  form  (A.reshape(6): equal values)",
        "  float32 [1]    float16 [1]  half  (within one rounding)",
        "changed, the largest distance first (2)",
        "  distance  max |a-b|  max rel  cosine  differ",
        "       inf          0        0  1.0000   25.0%  block_0/w  (NaN: 0 in A, 1 in B)",
        f"  {distance:.2e}          1        1  {cosine:.4f}    100%  block_1/w",
        "scopes (5)",
        "  same  changed  form  only A  only B    verdict",
        "     0        0     2       0       1  different  (names without a scope)",
        "     0        1     0       0       0  different  block_0",
        "     0        1     0       0       0  different  block_1",
        "     0        0     0       1       0  different  only",
        "     1        0     0       0       0      equal  block_2",
        "1 of another dtype: all within one rounding",
        "1 same by their stored checksums, not read (--deep reads them)",
        "different: 1 same, 2 changed, 2 of different form, 1 only in A, 1 only in B",
    ]


def test_json_has_the_fields_of_the_report(run: Any, two: tuple[Path, Path]) -> None:
    status, out, _ = run(*two, "--json")
    found = json.loads(out)
    assert out.isascii()
    report = diff(*two)
    assert status == 1
    assert found["a"] == str(two[0])
    assert found["only_in_b"] == [EVIL]
    assert [each["name"] for each in found["changed"]] == [each.name for each in report.changed]
    assert found["changed"][0]["distance"] == "inf"
    assert found["changed"][1]["max_relative"] == report.changed[1].max_relative
    assert found["different_form"][1]["values"]["num_different"] == 1
    assert found["different_form"][1]["within_one_rounding"] is True
    assert [each["same_size"] for each in found["different_form"]] == [True, False]
    assert found["not_read"] == found["same"] == ["block_2/w"]
    assert {each["scope"]: each["equal"] for each in found["scopes"]}["block_2"] is True


def test_equal(run: Any) -> None:
    status, out, _ = run(VGG.path, VGG.path)
    number = len(VGG.tensors)
    assert status == 0
    assert out.splitlines() == [
        f"{number} same by their stored checksums, not read (--deep reads them)",
        f"equal: {number} same",
    ]
    status, out, _ = run(VGG.path, VGG.path, "--deep")
    assert (status, out) == (0, f"equal: {number} same\n")


def test_ten_thousand_differences_stay_readable(run: Any, tmp_path: Path) -> None:
    a = {f"l{i % 30}/{i}/w": np.float32(i) for i in range(2_000)}
    b = {name: np.float32(array + 1) for name, array in a.items()}
    a |= {f"a/{i}": np.int8(1) for i in range(500)}
    paths = save_two(tmp_path, a, b)
    _, out, _ = run(*paths)
    lines = out.splitlines()
    assert len(lines) < 80
    assert [line for line in lines if len(line) > 80] == []
    assert "  ... and 1,980 more (--all lists them)" in lines
    assert "  ... and 480 more (--all lists them)" in lines
    assert "  ... and 11 more (--all lists them)" in lines  # of the scopes
    _, out, _ = run(*paths, "--all")
    assert len(out.splitlines()) > 2_500
    assert "--all" not in out


def test_scopes_below_one_root(run: Any, tmp_path: Path) -> None:
    """All names of a model often begin with the same scope: the ones below tell more."""
    a = {f"net/model/block_{i}/{j}/w": np.float32(1) for i in range(25) for j in range(2)}
    b = {name: np.float32(1 + ("_3/0" in name)) for name in a}
    _, out, _ = run(*save_two(tmp_path, a, b))
    lines = out.splitlines()
    at = lines.index("scopes (25)")
    assert lines[at + 2].split() == ["1", "1", "0", "0", "0", "different", "net/model/block_3"]
    assert lines[at + 3].split() == ["2", "0", "0", "0", "0", "equal", "net/model/block_0"]
    assert lines[at + 22] == "  ... and 5 more (--all lists them)"


def test_other_dtypes_are_counted(run: Any, tmp_path: Path) -> None:
    a = {"x": np.float32([1 / 3]), "y": np.float32([1 / 3]), "z": np.zeros(3)}
    b = {"x": np.float16([1 / 3]), "y": np.float16([0.5]), "z": np.zeros(2)}
    _, out, _ = run(*save_two(tmp_path, a, b))
    assert "2 of another dtype: 1 within one rounding" in out.splitlines()


def test_reshapes_that_do_not_help(run: Any, tmp_path: Path) -> None:
    """A transposed kernel has the same size; so has any other tensor of this shape."""
    kernel = np.arange(6.0).reshape(2, 3)
    a = {"kernel": kernel, "one": np.float32([2]), "half": np.float32([[1 / 3]])}
    b = {"kernel": kernel.T, "one": np.float32(2), "half": np.float16([1 / 3])}
    _, out, _ = run(*save_two(tmp_path, a, b))
    distance = np.linalg.norm(kernel.reshape(3, 2) - kernel.T) / np.linalg.norm(kernel)
    assert "(A.reshape(1): within one rounding)" in out
    assert f"(A.reshape(3, 2): distance {distance:.2e})" in out
    assert "(A.reshape(()): equal values)" in out


def test_tolerances_and_patterns(run: Any, tmp_path: Path) -> None:
    paths = save_two(tmp_path, {"x": np.float32([1]), "y": 1.0}, {"x": np.float32([1.1]), "z": 1.0})
    assert run(*paths, "--include", "x")[0] == 1
    assert run(*paths, "--include", "x", "--rtol", "0.1")[0] == 0
    assert run(*paths, "--include", "x", "--atol", "0.2")[0] == 0
    assert run(*paths, "--exclude", "[yz]", "--atol", "0.2")[0] == 0
    assert run(*paths, "--include", "[xy]", "--exclude", "x")[0] == 1
    status, out, err = run(*paths, "--include", "no*")
    assert (status, out) == (2, "")
    assert "no*" in err


@pytest.mark.parametrize("wrong", ["-1", "nan", "inf", "x"])
def test_a_wrong_tolerance(run: Any, wrong: str) -> None:
    status, out, err = run(VGG.path, VGG.path, f"--rtol={wrong}")
    assert (status, out) == (2, "")
    assert "invalid tolerance value" in err


class TestNames:
    @pytest.fixture
    def paths(self, tmp_path: Path) -> tuple[Path, Path]:
        shapes = {"fc6/weights": (2, 3), "fc6/biases": (3,)}
        arrays = {name: np.ones(shape, "f4") for name, shape in shapes.items()}
        return save_two(
            tmp_path,
            {f"vgg/{name}": array for name, array in arrays.items()},
            {f"detector/{name}": array for name, array in arrays.items()},
        )

    def test_a_file_of_names(self, run: Any, paths: tuple[Path, Path], tmp_path: Path) -> None:
        file = tmp_path / "names.json"
        file.write_text(json.dumps({"vgg/": "detector/"}))
        assert run(*paths)[0] == 1
        assert run(*paths, "--names", file)[0] == 0
        file.write_text(json.dumps({"vgg/fc6/weights": "detector/fc6/biases"}))
        status, out, _ = run(*paths, "--names", file)
        assert status == 1
        assert "vgg/fc6/weights = detector/fc6/biases" in out

    @pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', '{"no": "x"}', "\xff"], ids=repr)
    def test_a_wrong_file_of_names(
        self, run: Any, paths: tuple[Path, Path], tmp_path: Path, text: str
    ) -> None:
        file = tmp_path / "names.json"
        file.write_text(text, encoding="latin-1")
        status, out, err = run(*paths, "--names", file)
        assert (status, out) == (2, "")
        assert err.startswith("ckptparse: ")

    def test_match(self, run: Any, paths: tuple[Path, Path]) -> None:
        status, out, _ = run(*paths, "--match")
        assert (status, out.splitlines()[-1]) == (0, "equal: 2 same")
        assert out.splitlines()[:3] == [
            "same under another name: A = B (2)",
            "  vgg/fc6/biases = detector/fc6/biases",
            "  vgg/fc6/weights = detector/fc6/weights",
        ]

    def test_the_names_of_a_match_are_a_file_of_names(
        self, run: Any, paths: tuple[Path, Path], tmp_path: Path
    ) -> None:
        names = json.loads(run(*paths, "--match", "--json")[1])["names"]
        (tmp_path / "names.json").write_text(json.dumps(names))
        assert len(names) == 2
        assert run(*paths, "--names", tmp_path / "names.json")[0] == 0
        html = diff(*paths, match=True)._repr_html_()
        assert "<td>vgg/fc6/biases = detector/fc6/biases</td>" in html


def test_trouble_is_status_2(run: Any, tmp_path: Path) -> None:
    assert run(VGG.path, tmp_path / "none")[0] == 2
    prefix = copy_case("tf-1.15.5/vgg_16", tmp_path)
    flip_bit(f"{prefix}{DATA}", 0)
    assert run(VGG.path, prefix)[0] == 0  # nothing is read
    status, out, err = run(VGG.path, prefix, "--deep")
    assert (status, out) == (2, "")
    assert "global_step" in err or "vgg_16" in err


def test_the_last_path_of_a_directory(run: Any) -> None:
    """As for the other commands, a path can be a directory."""
    assert run(FIXTURES / "tf-2.21.0/managed/run", FIXTURES / "tf-2.21.0/managed/run")[0] == 0


def test_options_that_leave_nothing(run) -> None:
    status, out, err = run(VGG.path, VGG.path, "--exclude", "*")
    assert (status, out, err) == (2, "", "ckptparse: the options leave no tensor to compare\n")
