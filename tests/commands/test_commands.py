"""The command line, as a user runs it."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ckptparse
from support.builders import Partitioned, write_bundle
from support.damage import copy_case, flip_bit
from support.oracle import FC6, MATRIX, PARTITIONED, VGG, expected_array, load_case

NAMES = load_case("tf-2.21.0/names")
STRINGS = load_case("tf-2.21.0/strings")
DTYPES = load_case("tf-2.21.0/dtypes")


class TestLs:
    def test_one_line_per_tensor_and_a_total(self, run) -> None:
        status, out, err = run("ls", VGG.prefix)
        *lines, total = out.splitlines()
        assert (status, err) == (0, "")
        assert len(lines) == 34
        assert lines[28].split() == ["float32", "[7,7,6,12]", "13.8", "KiB", FC6]
        assert total == "34 tensors, 7,248 elements, 28.3 KiB"
        assert max(map(len, lines)) <= 80

    def test_patterns(self, run) -> None:
        status, out, _ = run("ls", VGG.prefix, "*/fc6/*", "global_*")
        assert status == 0
        assert [line.split()[-1] for line in out.splitlines()[:-1]] == [
            "global_step",
            "vgg_16/fc6/biases",
            FC6,
        ]
        assert run("ls", VGG.prefix, "resnet*")[0] == 1

    def test_partitioned_tensors_are_marked(self, run) -> None:
        _, out, _ = run("ls", PARTITIONED.prefix)
        (line,) = (line for line in out.splitlines() if MATRIX in line)
        assert "  (3 slices)" in line

    def test_json_says_what_tensorflow_says(self, run) -> None:
        status, out, _ = run("ls", DTYPES.prefix, "--json")
        listed = json.loads(out)
        assert status == 0
        assert listed["format"] == "v2"
        assert listed["num_tensors"] == len(DTYPES.tensors)
        assert [(t["name"], t["dtype"], tuple(t["shape"])) for t in listed["tensors"]] == [
            (t.name, t.dtype, t.shape) for t in DTYPES.tensors
        ]

    @pytest.mark.parametrize(
        "num_slices", [2, 1_500]
    )  # above a thousand they are printed one by one
    def test_slices_are_objects_in_json(self, run, tmp_path: Path, num_slices: int) -> None:
        sliced = Partitioned(
            np.arange(num_slices, dtype="f4"), [[(i, 1)] for i in range(num_slices)]
        )
        prefix = write_bundle(tmp_path, {"x": sliced}, num_shards=2)
        (tensor,) = json.loads(run("ls", prefix, "--json")[1])["tensors"]
        shown = json.loads(run("show", prefix, "x", "--json")[1])
        with ckptparse.open_checkpoint(prefix) as ckpt:
            expected = [
                {
                    "start": list(part.start),
                    "shape": list(part.shape),
                    "file": part.file,
                    "offset": part.offset,
                    "nbytes": part.nbytes,
                }
                for part in ckpt.info("x").slices
            ]
        assert len(expected) == num_slices
        assert tensor["slices"] == shown["slices"] == expected

    def test_no_control_character_of_a_name_reaches_the_terminal(self, run) -> None:
        case = load_case("tf-2.21.0/names_not_utf8")
        for prefix in (NAMES.prefix, case.prefix):
            _, out, _ = run("ls", prefix)
            assert all(char.isprintable() for char in out.replace("\n", ""))
        assert "\\xff" in out

    def test_names_that_are_not_utf8_survive_json(self, run) -> None:
        case = load_case("tf-2.21.0/names_not_utf8")
        names = [
            tensor["name"] for tensor in json.loads(run("ls", case.prefix, "--json")[1])["tensors"]
        ]
        assert names == [tensor.name for tensor in case.tensors]

    def test_a_checkpoint_without_tensors(self, run) -> None:
        status, out, _ = run("ls", load_case("tf-2.21.0/header_only").prefix)
        assert (status, out) == (0, "0 tensors, 0 elements, 0 B\n")


class TestStats:
    def test_text(self, run) -> None:
        status, out, _ = run("stats", VGG.prefix)
        lines = out.splitlines()
        assert status == 0
        assert lines[0].split() == ["elements", "min", "max", "mean", "std", "zeros"]
        assert [line.split()[-1] for line in lines[1:-1]] == [each.name for each in VGG.tensors]
        assert lines[-1].endswith(f"  {len(VGG.tensors)} tensors")

    def test_json_has_the_numbers_of_numpy(self, run) -> None:
        shown = json.loads(run("stats", VGG.prefix, "--json")[1])
        for each in shown["tensors"]:
            array = expected_array(VGG, each["name"])
            assert (each["min"], each["max"], each["size"]) == (
                array.min(),
                array.max(),
                array.size,
            )
        assert shown["total"]["num_tensors"] == len(VGG.tensors)

    def test_sorted(self, run) -> None:
        shown = json.loads(run("stats", VGG.prefix, "--json", "--sort", "std")[1])
        numbers = [each["std"] for each in shown["tensors"]]
        assert numbers == sorted(numbers, reverse=True)

    def test_scopes(self, run) -> None:
        _, out, _ = run("stats", VGG.prefix, "--scopes", "-l")
        assert out.splitlines()[1].endswith("  vgg_16")

    def test_nan_and_infinity_are_text_in_json(self, run) -> None:
        out = run("stats", DTYPES.prefix, "--json")[1]
        json.loads(out, parse_constant=pytest.fail)

    def test_remarks(self, run, tmp_path: Path) -> None:
        ckptparse.save_checkpoint(
            tmp_path / "m", {"dead": np.zeros(4), "x": np.float32([1, np.nan])}
        )
        _, out, _ = run("stats", tmp_path / "m")
        assert "  dead  (all zero)\n" in out
        assert "  x  (NaN)\n" in out
        assert out.endswith("  2 tensors\nremarks: 1 all zero, 1 NaN\n")

    @pytest.mark.parametrize(
        ("by", "order"),
        [("name", "abc"), ("elements", "acb"), ("size", "bca"), ("max", "bca"), ("zeros", "acb")],
    )
    def test_sorted_as_ls(self, run, tmp_path: Path, by: str, order: str) -> None:
        arrays = {"b": np.float64([9, 9]), "a": np.zeros(8, "i1"), "c": np.float32([0, 1, 2])}
        prefix = ckptparse.save_checkpoint(tmp_path / "m", arrays)
        shown = json.loads(run("stats", prefix, "--json", "--sort", by)[1])
        assert "".join(each["name"] for each in shown["tensors"]) == order
        if by in ("name", "size"):
            listed = json.loads(run("ls", prefix, "--json", "--sort", by)[1])
            assert "".join(each["name"] for each in listed["tensors"]) == order


class TestShow:
    def test_numbers(self, run) -> None:
        status, out, _ = run("show", VGG.prefix, FC6, "--json")
        shown = json.loads(out)
        array = expected_array(VGG, FC6)
        assert status == 0
        assert shown["dtype"] == "float32"
        assert shown["shape"] == [7, 7, 6, 12]
        assert shown["min"] == array.min()
        assert shown["max"] == array.max()
        assert math.isclose(shown["mean"], array.mean(dtype=np.float64), rel_tol=1e-12)
        assert shown["first"] == array.reshape(-1)[:4].tolist()
        assert shown["last"] == array.reshape(-1)[-4:].tolist()

    def test_text(self, run) -> None:
        status, out, _ = run("show", VGG.prefix, FC6)
        assert status == 0
        assert out.splitlines()[0] == FC6
        words = out.split()
        assert {"float32", "[7,7,6,12]", "min", "max", "mean", "std", "[[[["} <= set(words)
        assert max(map(len, out.splitlines())) <= 80

    def test_the_values_are_printed_as_numpy_does(self, run) -> None:
        _, out, _ = run("show", VGG.prefix, "vgg_16/mean_rgb")
        assert out.endswith(f"{expected_array(VGG, 'vgg_16/mean_rgb')}\n")

    @pytest.mark.parametrize(("size", "has_dots"), [(1000, False), (1001, True)], ids=str)
    def test_dots_are_printed_where_numpy_prints_them(
        self, run, tmp_path: Path, size: int, has_dots: bool
    ) -> None:
        array = np.linspace(-1, 1, size, dtype="f4")
        _, out, _ = run("show", write_bundle(tmp_path, {"x": array}), "x")
        printed = np.array2string(array, max_line_width=80)
        assert out.endswith(f"\n{printed}\n")
        assert ("..." in printed) == has_dots
        assert max(map(len, out.splitlines())) <= 80

    def test_a_part(self, run) -> None:
        _, out, _ = run("show", VGG.prefix, FC6, "--index", "0, -1, :2, ...")
        part = expected_array(VGG, FC6)[0, -1, :2]
        assert "  shown   [2,12]\n" in out
        assert out.endswith(np.array2string(part, max_line_width=80) + "\n")
        shown = json.loads(run("show", VGG.prefix, FC6, "--index", "0, -1, :2, ...", "--json")[1])
        assert shown["min"] == part.min()
        assert sum(each["size"] for each in shown["histogram"]) == part.size

    @pytest.mark.parametrize(
        "index", ["a", "1:2:3:4", "", "0,,1", "0;1", "9" * 30, "7", "0,0,0,0,0"]
    )
    def test_a_wrong_index(self, run, index: str) -> None:
        status, out, err = run("show", VGG.prefix, FC6, f"--index={index}")
        assert (status, out) == (2, "")
        assert err.startswith("ckptparse: ")
        assert err.count("\n") == 1

    @pytest.mark.parametrize(
        "tensor",
        [
            tensor
            for tensor in DTYPES.tensors
            if tensor.name.endswith("/matrix") or tensor.name.startswith("float32/")
        ],
        ids=lambda tensor: tensor.name,
    )
    def test_every_dtype_and_every_shape(self, run, tensor) -> None:
        status, out, err = run("show", DTYPES.prefix, tensor.name, "--json")
        assert (status, err) == (0, "")
        shown = json.loads(out)
        assert shown["dtype"] == tensor.dtype
        assert len(shown["first"]) == min(4, math.prod(tensor.shape))
        assert run("show", DTYPES.prefix, tensor.name)[0] == 0

    def test_nan_and_infinity_are_text_in_json(self, run) -> None:
        out = run("show", DTYPES.prefix, "float32/vector", "--json")[1]
        assert json.loads(out)["nan"] > 0
        json.loads(out, parse_constant=pytest.fail)  # NaN, Infinity are not JSON

    def test_strings_as_text(self, run) -> None:
        _, out, _ = run("show", STRINGS.prefix, "cube")
        assert '"hello"' in out
        assert '"\\xff\\x00z"' in out
        assert all(char.isprintable() for char in out.replace("\n", ""))

    def test_a_long_string_is_cut(self, run) -> None:
        name = max(STRINGS.tensors, key=lambda tensor: len(tensor.payload)).name
        _, out, _ = run("show", STRINGS.prefix, name)
        assert max(map(len, out.splitlines())) < 120
        assert "bytes)" in out

    def test_partitioned(self, run) -> None:
        _, out, _ = run("show", PARTITIONED.prefix, MATRIX)
        assert "in 3 slices" in out
        for piece in ckptparse.open_checkpoint(PARTITIONED.prefix).info(MATRIX).slices:
            box = ",".join(f"{part.start}:{part.stop}" for part in piece.index)
            place = f"byte {piece.offset} of {os.path.basename(piece.file)}"
            assert f"[{box}] at {place}" in out

    def test_no_such_tensor(self, run) -> None:
        status, out, err = run("show", VGG.prefix, "fc6")
        assert (status, out) == (1, "")
        assert FC6 in err

    def test_a_variant(self, run) -> None:
        status, _, err = run("show", load_case("tf-2.21.0/variants").prefix, "list")
        assert status == 2
        assert "variant" in err


class TestVerify:
    def test_intact(self, run) -> None:
        status, out, _ = run("verify", VGG.prefix)
        assert (status, out) == (0, "34 tensors, 28.3 KiB: all intact\n")

    def test_damaged(self, run, tmp_path: Path) -> None:
        prefix = copy_case("tf-1.15.5/vgg_16", tmp_path)
        info = ckptparse.open_checkpoint(prefix).info(FC6)
        flip_bit(Path(info.file), info.offset)
        status, out, _ = run("verify", prefix)
        assert status == 1
        assert FC6 in out
        assert "34 tensors, 28.3 KiB: 1 damaged" in out
        status, out, _ = run("verify", prefix, "--json")
        report = json.loads(out)
        assert status == 1
        assert not report["ok"]
        (damage,) = report["damaged"]
        assert (damage["name"], damage["error"]) == (FC6, "ChecksumError")
        assert run("verify", prefix, "global_step")[0] == 0

    def test_much_damage_stays_readable(self, run, tmp_path: Path) -> None:
        arrays = {f"layer_{i}/w": np.full(4, i, "f4") for i in range(1_030)}
        prefix = ckptparse.save_checkpoint(tmp_path / "m", arrays)
        data = Path(f"{prefix}.data-00000-of-00001")
        data.write_bytes(bytes(byte ^ 1 for byte in data.read_bytes()))
        status, out, _ = run("verify", prefix)
        *causes, more, total = out.splitlines()
        assert status == 1
        assert sum(line.startswith("damaged: ") for line in causes) == 20
        assert more == "... and 1,010 more (--all lists them)"
        assert total == "1,030 tensors, 16.1 KiB: 1,030 damaged"
        _, out, _ = run("verify", prefix, "--all")
        assert out.count("damaged: ") == 1_030
        assert "--all" not in out
        assert len(json.loads(run("verify", prefix, "--json")[1])["damaged"]) == 1_030

    def test_a_damaged_index_is_damage_not_trouble(self, run, tmp_path: Path) -> None:
        prefix = copy_case("tf-1.15.5/vgg_16", tmp_path)
        flip_bit(Path(f"{prefix}.index"), 100)
        status, out, _ = run("verify", prefix)
        assert status == 1
        assert "damaged: " in out

    def test_no_progress_bar_in_a_pipe(self, run) -> None:
        assert run("verify", VGG.prefix)[2] == ""


@pytest.mark.parametrize("start", [["ckptparse"], [sys.executable, "-m", "ckptparse"]])
def test_both_ways_to_start_it(start: list[str]) -> None:
    if start == ["ckptparse"]:
        start = [os.path.join(os.path.dirname(sys.executable), "ckptparse")]
        if not os.path.exists(start[0]):
            pytest.skip("the package is not installed here, only importable")
    command = [*start, "ls", str(VGG.prefix), "*fc6*"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.count("fc6") == 2


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGPIPE there")
def test_head_closes_the_pipe() -> None:
    many = load_case("tf-2.21.0/many").prefix
    command = f"'{sys.executable}' -m ckptparse ls '{many}' | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
