"""The commands that save: `convert`, `average`, `merge`, and the options they share with `ls`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ckptparse import open_checkpoint, save_checkpoint
from support.contents import contents
from support.oracle import VGG, expected_array, load_case

TRAINED = load_case("tf-1.15.5/training_graph")
AVERAGE = "conv/kernel/ExponentialMovingAverage"


class TestConvert:
    def test_by_suffix(self, run, tmp_path: Path) -> None:
        for name in ("m.npz", "m.safetensors", "m.npy", "model.ckpt"):
            status, out, err = run("convert", VGG.prefix, tmp_path / name)
            assert (status, err) == (0, "")
            expected = f"34 tensors, 7,248 elements, 28.3 KiB: saved in {tmp_path / name}\n"
            assert out == expected
        with np.load(tmp_path / "m.npz") as arrays:
            assert set(arrays.files) == {tensor.name for tensor in VGG.tensors}
        assert (tmp_path / "m.safetensors").is_file()
        assert (tmp_path / "m.npy" / "vgg_16" / "mean_rgb.npy").is_file()
        with open_checkpoint(tmp_path / "model.ckpt") as ckpt:
            assert len(ckpt) == 34

    def test_to_says_it_outright(self, run, tmp_path: Path) -> None:
        assert run("convert", VGG.prefix, tmp_path / "m.bin", "--to", "npz")[0] == 0
        with np.load(tmp_path / "m.bin") as arrays:
            assert len(arrays.files) == 34

    def test_all_options(self, run, tmp_path: Path) -> None:
        status, out, _ = run(
            "convert", TRAINED.prefix, tmp_path / "m.npz", "--weights-only", "--moving-averages",
            "--include", "*/kernel", "--include", "*/bias", "--exclude", "logits/*",
            "--rename", "*/kernel=*.weight", "--rename", "re:/(bias)$=.\\1",
            "--layout", "torch", "--dtype", "float64",
        )  # fmt: skip
        assert status == 0
        with np.load(tmp_path / "m.npz") as arrays:
            assert arrays.files == ["conv.bias", "conv.weight"]
            expected = expected_array(TRAINED, AVERAGE).transpose(3, 2, 0, 1)
            assert arrays["conv.weight"].dtype == np.float64
            assert np.array_equal(arrays["conv.weight"], expected)
        assert out.splitlines()[0] == "axes 3,2,0,1  [2,1,3,3]  conv.weight"

    def test_a_map_of_names(self, run, tmp_path: Path) -> None:
        (tmp_path / "map.json").write_text('{"global_step": "step", "conv/bias": "b=1"}')
        run("convert", TRAINED.prefix, tmp_path / "m.npz", "--names", tmp_path / "map.json")
        with np.load(tmp_path / "m.npz") as arrays:
            assert {"step", "b=1", "conv/kernel"} <= set(arrays.files)
            assert not {"global_step", "conv/bias"} & set(arrays.files)

    def test_a_map_of_steps(self, run, tmp_path: Path) -> None:
        steps = [{"conv/": "a/"}, {r"re:a/(\w+)$": r"a.\1"}]
        (tmp_path / "map.json").write_text(json.dumps(steps))
        run(
            "convert", TRAINED.prefix, tmp_path / "m.npz", "--names", tmp_path / "map.json",
            "--rename", "global_step=step",
        )  # fmt: skip
        with np.load(tmp_path / "m.npz") as arrays:
            assert {"step", "a.bias", "a.kernel", "a/kernel/Adam"} <= set(arrays.files)

    def test_the_metadata_says_where_it_is_from(self, run, tmp_path: Path) -> None:
        run("convert", VGG.prefix, tmp_path / "m.safetensors")
        raw = (tmp_path / "m.safetensors").read_bytes()
        header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
        metadata = header["__metadata__"]
        assert metadata.pop("converted_by").startswith("ckptparse ")
        assert metadata == {"format": "np", "source": "model.ckpt", "source_format": "v2"}

    @pytest.mark.parametrize(
        ("first", "then", "format"),
        [
            ([], [], "np"),
            (["--layout", "torch"], [], "pt"),
            ([], ["--layout", "torch"], "pt"),
        ],
        ids=["none", "first", "then"],
    )
    def test_the_layout_is_in_the_metadata_of_a_second_file(
        self, run, tmp_path: Path, first: list[str], then: list[str], format: str
    ) -> None:
        """The metadata of a `.safetensors` file are kept, but its order of axes may change."""
        run("convert", VGG.prefix, tmp_path / "1.safetensors", *first)
        run("convert", tmp_path / "1.safetensors", tmp_path / "2.safetensors", *then)
        with open_checkpoint(tmp_path / "2.safetensors") as ckpt:
            assert ckpt.metadata["format"] == format

    def test_shards(self, run, tmp_path: Path) -> None:
        run("convert", VGG.prefix, tmp_path / "m.safetensors", "--shard-size", "20KB")
        run("convert", VGG.prefix, tmp_path / "m.ckpt", "--shard-size", "20 KB")
        assert len([name for name in os.listdir(tmp_path) if name.endswith(".safetensors")]) == 2
        assert len([name for name in os.listdir(tmp_path) if ".data-" in name]) == 2

    def test_json(self, run, tmp_path: Path) -> None:
        arguments = ("convert", TRAINED.prefix, tmp_path / "m.npz", "--layout", "torch", "--json",
                     "--rename", "conv/=c/")  # fmt: skip
        planned = json.loads(run(*arguments, "--dry-run")[1])
        saved = json.loads(run(*arguments)[1])
        assert planned.pop("saved") is False
        assert saved.pop("saved") is True
        assert planned == saved
        (kernel,) = (each for each in saved["tensors"] if each["name"] == "c/kernel")
        assert kernel == {
            "source": "conv/kernel", "name": "c/kernel", "dtype": "float32",
            "shape": [2, 1, 3, 3], "nbytes": 72, "axes": [3, 2, 0, 1],
        }  # fmt: skip

    @pytest.mark.parametrize("more", [[], ["--dry-run"]])
    def test_a_layout_that_changes_nothing(self, run, tmp_path: Path, more: list[str]) -> None:
        status, out, _ = run(
            "convert", TRAINED.prefix, tmp_path / "m.npz", "--layout", "torch", "--include",
            "conv/bias", *more,
        )  # fmt: skip
        assert status == 0
        assert "--layout torch: no axes changed, no tensor has the name of a kernel\n" in out

    def test_dry_run(self, run, tmp_path: Path) -> None:
        status, out, _ = run(
            "convert", TRAINED.prefix, tmp_path / "m.npz", "--dry-run", "--include", "conv/bias",
            "--include", "conv/kernel", "--rename", "conv/=layer/", "--layout", "torch",
        )  # fmt: skip
        assert status == 0
        assert out.splitlines() == [
            "float32  [2]         8 B  conv/bias -> layer/bias",
            "float32  [2,1,3,3]  72 B  conv/kernel -> layer/kernel  (axes 3,2,0,1)",
            f"2 tensors, 20 elements, 80 B: would be saved in {tmp_path / 'm.npz'} (npz)",
        ]
        assert contents(tmp_path) == {}

    @pytest.mark.parametrize(
        ("size", "files"), [([], "1 file"), (["--shard-size", "20KB"], "2 files")]
    )
    def test_a_dry_run_counts_files(self, run, tmp_path: Path, size: list[str], files: str) -> None:
        path = tmp_path / "m.safetensors"
        _, out, _ = run("convert", VGG.prefix, path, "--dry-run", *size)
        assert out.endswith(f"would be saved in {path} (safetensors, {files})\n")
        assert contents(tmp_path) == {}

    def test_an_old_file(self, run, tmp_path: Path) -> None:
        (tmp_path / "m.npz").write_text("old")
        status, out, err = run("convert", VGG.prefix, tmp_path / "m.npz")
        assert (status, out) == (2, "")
        assert "there is a file of this name already" in err
        assert (tmp_path / "m.npz").read_text() == "old"
        assert run("convert", VGG.prefix, tmp_path / "m.npz", "--overwrite")[0] == 0

    def test_control_characters_of_names_are_escaped(self, run, tmp_path: Path) -> None:
        save_checkpoint(tmp_path / "m", {"a\x1b[31m\nb/kernel": np.zeros((2, 3))})
        for more in (["--dry-run"], ["--layout", "torch"], ["--include", "nothing\x1b"]):
            _, out, err = run("convert", tmp_path / "m", tmp_path / "o\x1b.npz", *more)
            assert all(char.isprintable() or char == "\n" for char in out + err)
            assert out + err

    def test_no_bar_in_a_pipe(self, run, tmp_path: Path) -> None:
        assert run("convert", VGG.prefix, tmp_path / "m.npz")[2] == ""


WRONG: dict[str, tuple[int, str, list[str]]] = {
    "no tensor": (1, "vgg_16/fc6/weights", ["m.npz", "--include", "fc6/weights"]),
    "no tensor to rename": (1, "vgg_16/fc6/", ["m.npz", "--rename", "vgg_16/fc6=x"]),
    "no scope to rename": (1, "no tensor to rename", ["m.npz", "--rename", "vgg/=x/"]),
    "no expression to rename": (1, "no tensor to rename", ["m.npz", "--rename", "re:^w=x"]),
    "two on one name": (2, "two tensors would", ["m.npz", "--rename", "*/weights=w"]),
    "empty name": (2, "would be empty", ["m.npz", "--rename", "global_step="]),
    "no equals sign": (2, "expected OLD=NEW", ["m.npz", "--rename", "vgg"]),
    "scope to name": (2, "a scope becomes a scope", ["m.npz", "--rename", "vgg_16/=x"]),
    "too many stars": (2, "more * than", ["m.npz", "--rename", "*/weights=*/*"]),
    "bad expression": (2, "--rename re:(=x", ["m.npz", "--rename", "re:(=x"]),
    "bad group": (2, "invalid group", ["m.npz", "--rename", r"re:x=\3"]),
    "twice": (2, "already", ["m.npz", "--rename", "a=b", "--rename", "a=c"]),
    "suffix": (2, "the suffixes are .safetensors", ["m.onnx"]),
    "bfloat16": (2, "--dtype float32", ["m.npz", "--dtype", "bfloat16"]),
    "bfloat16, dry": (2, "--dtype float32", ["m.npz", "--dtype", "bfloat16", "--dry-run"]),
    "dtype": (2, "no such dtype", ["m.npz", "--dtype", "float17"]),
    "integer": (2, "cannot cast to int8", ["m.npz", "--dtype", "int8"]),
    "shards": (2, "npz cannot be divided", ["m.npz", "--shard-size", "2GB"]),
    "shards, dry": (2, "npz cannot be divided", ["m.npz", "--shard-size", "2GB", "--dry-run"]),
    "size": (2, "expected a size", ["m.npz", "--shard-size", "2 apples"]),
    "no size": (2, "expected a size", ["m.npz", "--shard-size", "0"]),
    "too many digits": (2, "expected a size", ["m", "--shard-size", "9" * 309]),
    "format": (2, "invalid choice", ["m.npz", "--to", "onnx"]),
    "layout": (2, "invalid choice", ["m.npz", "--layout", "jax"]),
    "no map": (2, "No such file", ["m.npz", "--names", "map.json"]),
    "nothing left": (2, "there are no tensors to save", ["m.npz", "--exclude", "*"]),
    "place": (2, "Not a directory", ["file/m.npz"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_errors_are_one_sentence(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    expected, text, arguments = WRONG[case]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    status, out, err = run("convert", VGG.prefix, *arguments)
    assert (status, out) == (expected, "")
    assert text in err
    assert "Traceback" not in err
    assert list(contents(tmp_path)) == ["file"]


@pytest.mark.parametrize(
    "text", ["[1]", '[{"re:(": "x"}]', "{", '{"global_step": 1}', "[" * 100_000, "\xff"]
)
def test_a_map_that_is_none(run, tmp_path: Path, text: str) -> None:
    (tmp_path / "map.json").write_text(text, encoding="latin-1")
    status, _, err = run(
        "convert", VGG.prefix, tmp_path / "m.npz", "--names", tmp_path / "map.json"
    )
    assert status == 2
    assert "--names" in err


class TestAverageAndMerge:
    @pytest.fixture
    def three(self, tmp_path: Path) -> list[str]:
        values = [np.float32([i, 2 * i, -i]) for i in (1, 2, 6)]
        return [
            save_checkpoint(tmp_path / f"m-{i}", {"w": value, "global_step": np.int64(i)})
            for i, value in enumerate(values)
        ]

    def test_average(self, run, tmp_path: Path, three: list[str]) -> None:
        out = tmp_path / "mean.npz"
        status, _, err = run("average", *three, "-o", out)
        assert status == 2
        assert "global_step" in err
        assert not out.exists()
        assert run("average", *three, "-o", out, "--on-conflict", "last")[0] == 0
        with np.load(out) as arrays:
            assert arrays["w"].tolist() == [3, 6, -3]
            assert arrays["global_step"] == 2

    def test_weights_and_the_options_of_convert(
        self, run, tmp_path: Path, three: list[str]
    ) -> None:
        status, _, _ = run(
            "average", *three, "-o", tmp_path / "mean.npz", "--weights", "1,1,0",
            "--exclude", "global_step", "--rename", "w=v", "--dtype", "float64",
        )  # fmt: skip
        assert status == 0
        with np.load(tmp_path / "mean.npz") as arrays:
            assert arrays.files == ["v"]
            assert arrays["v"].tolist() == [1.5, 3, -1.5]

    @pytest.mark.parametrize("weights", ["1,1", "a,b,c", "0,0,0", "-1,1,1", ""])
    def test_wrong_weights(self, run, tmp_path: Path, three: list[str], weights: str) -> None:
        status, _, err = run("average", *three, "-o", tmp_path / "x.npz", f"--weights={weights}")
        assert status == 2
        assert err.startswith("ckptparse: ")

    def test_merge(self, run, tmp_path: Path, three: list[str]) -> None:
        out = tmp_path / "both.npz"
        status, _, err = run("merge", three[0], VGG.prefix, "-o", out)
        assert status == 2
        assert "global_step" in err
        options = ("--on-conflict", "last", "--exclude", "vgg_16/*")
        assert run("merge", three[0], three[1], "-o", out, *options)[0] == 0
        with np.load(out) as arrays:
            assert arrays["w"].tolist() == [2, 4, -2]

    def test_no_output(self, run, three: list[str]) -> None:
        for command in ("average", "merge"):
            status, _, err = run(command, *three)
            assert status == 2
            assert "-o" in err


class TestLs:
    def test_the_same_options(self, run) -> None:
        status, out, _ = run(
            "ls", TRAINED.prefix, "--weights-only", "--moving-averages", "--include", "conv/*",
            "--rename", "conv/=c/", "--dtype", "bfloat16",
        )  # fmt: skip
        assert status == 0
        assert out.splitlines() == [
            "bfloat16  [2]         4 B  c/bias",
            "bfloat16  [3,3,1,2]  36 B  c/kernel",
            "2 tensors, 20 elements, 40 B",
        ]

    def test_a_pattern_that_matches_nothing(self, run) -> None:
        status, out, err = run("ls", VGG.prefix, "--include", "fc6*")
        assert (status, out) == (1, "")
        assert "fc6" in err


def test_the_object_graph_is_for_checkpoints(run, tmp_path: Path) -> None:
    keras = load_case("tf-2.21.0/keras_adam").prefix
    assert run("convert", keras, tmp_path / "m.npz")[0] == 0
    assert run("convert", keras, tmp_path / "m")[0] == 0
    with open_checkpoint(keras) as ckpt, np.load(tmp_path / "m.npz") as arrays:
        assert set(ckpt) - set(arrays.files) == {"_CHECKPOINTABLE_OBJECT_GRAPH"}
        assert set(open_checkpoint(tmp_path / "m")) == set(ckpt)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no SIGINT to send there")
@pytest.mark.parametrize("name", ["m.npz", "m.npy", "m.safetensors"])
def test_ctrl_c_leaves_nothing(tmp_path: Path, name: str) -> None:
    """A child sends it to itself after the first piece was written."""
    code = f"""
import os, signal, sys
import numpy as np
from ckptparse import save_checkpoint
from ckptparse.commands import main
from ckptparse.commands.progress import ProgressBar
signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored in background jobs
save_checkpoint({str(tmp_path / "big")!r}, {{"a": np.zeros(1 << 22), "b": np.ones(3)}})
ProgressBar.__enter__ = lambda bar: setattr(
    bar, "progress", lambda *_: os.kill(os.getpid(), signal.SIGINT)) or bar
sys.exit(main(["convert", {str(tmp_path / "big")!r}, {str(tmp_path / "out" / name)!r}]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
    assert not (tmp_path / "out").exists()
