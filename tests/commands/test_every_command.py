"""What holds for all commands: help, JSON, errors, exit statuses, odd names, pipes that close."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TextIO

import numpy as np
import pytest

from ckptparse import save_checkpoint
from ckptparse.commands import BROKEN_PIPE, COMMANDS, build_parser, main
from ckptparse.commands.completion import parsers_of
from ckptparse.commands.progress import ProgressBar
from ckptparse.display.text import printable
from support.oracle import FC6, VGG, load_case

TRAINED = load_case("tf-1.15.5/training_graph")

MORE: dict[str, list[object]] = {
    "show": [FC6],
    "diff": [TRAINED.prefix],
    "convert": ["m.npz"],
    "average": ["-o", "m.npz"],
    "merge": ["-o", "m.npz"],
    "report": ["-o", "m.html"],
}
"""The arguments that a command needs besides a path."""

NAMES = [
    module.NAME for module in COMMANDS if module.NAME != "run"
]  # a script prints what it likes
CHOOSE = ["ls", "stats", "diff", "convert", "average", "merge"]
SAVE = ["convert", "average", "merge"]
WORK_LONG = ["verify", "stats", "diff", "report", *SAVE]

every_command = pytest.mark.parametrize("command", NAMES)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory: some commands save files."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def arguments_of(command: str) -> list[str]:
    """Arguments with which a command succeeds, or `diff` finds differences."""
    return [command, str(VGG.prefix), *map(str, MORE.get(command, []))]


class TestHelp:
    @every_command
    def test_it_fits_a_terminal(self, run, command: str) -> None:
        status, out, err = run(command, "--help")
        assert (status, err) == (0, "")
        assert max(map(len, out.splitlines())) <= 80
        assert "--json" in out
        assert "--confined" in out

    def test_the_options_that_choose_are_the_same(self) -> None:
        parsers = parsers_of(build_parser())
        shared = [
            [
                (action.option_strings, action.metavar, action.help)
                for group in parsers[command]._action_groups
                if group.title == "which tensors, and under which names"
                for action in group._group_actions
                if action.dest != "names"  # pairs the names in `diff`
            ]
            for command in CHOOSE
        ]
        assert [options[0] for options, *_ in shared[0]] == [
            "--include", "--exclude", "--weights-only", "--moving-averages", "--rename", "--dtype",
        ]  # fmt: skip
        assert all(options == shared[0] for options in shared)


class TestJson:
    @pytest.mark.parametrize(
        ("command", "more"),
        [*((name, []) for name in NAMES), *((name, ["--dry-run"]) for name in SAVE)],
        ids=lambda value: " ".join(value) if isinstance(value, list) else value,
    )
    def test_it_is_ascii(self, run, command: str, more: list[str]) -> None:
        prefix = save_checkpoint("é", {FC6: np.ones(2), "ü\udcff\x1b": np.ones(2)})
        if command == "graph":  # there is none beside the checkpoint
            prefix = str(VGG.prefix)
        arguments = [str(each).removesuffix(".npz") for each in MORE.get(command, [])]
        status, out, err = run(command, prefix, *arguments, "--json", *more)
        assert (status, err) == (1 if command == "diff" else 0, "")
        assert out.isascii()
        assert isinstance(json.loads(out), dict)


class TestErrors:
    @every_command
    def test_no_such_checkpoint(self, run, command: str) -> None:
        status, out, err = run(command, "nothing", *MORE.get(command, []))
        assert (status, out) == (2, "")
        assert err.startswith("ckptparse: ")

    @every_command
    def test_wrong_use_is_one_line(self, run, command: str) -> None:
        for wrong in ([command], [*arguments_of(command), "--no-such-option\x1b"]):
            status, out, err = run(*wrong)
            assert (status, out) == (2, "")
            assert re.fullmatch(r"ckptparse: .*; see ckptparse.* --help\n", err)
            assert "\x1b" not in err

    @pytest.mark.parametrize("rename", [["--rename", "fc6/weights=x"], ["--include", "fc6*"]])
    @pytest.mark.parametrize("command", [*CHOOSE, "report"])
    def test_no_such_tensor(self, run, command: str, rename: list[str]) -> None:
        status, out, err = run(*arguments_of(command), *rename)
        assert (status, out) == (2 if command == "diff" else 1, "")  # its 1 means different
        assert err.count("\n") == 1
        assert FC6 in err

    @pytest.mark.parametrize("command", ["ls", "show", "verify"])
    def test_no_tensor_of_a_given_name(self, run, command: str) -> None:
        status, out, err = run(command, VGG.prefix, "fc6/weights")
        assert (status, out) == (1, "")
        assert err.count("\n") == 1
        assert FC6 in err

    @pytest.mark.parametrize("command", CHOOSE)
    @pytest.mark.parametrize(
        "wrong",
        [
            ["--rename", "re:(=x"], ["--rename", "x"], ["--dtype", "float17"], ["--names", "none"],
            ["--names", "list.json"], ["--names", "directory"],
        ],
        ids=" ".join,
    )  # fmt: skip
    def test_a_wrong_option(self, run, command: str, wrong: list[str]) -> None:
        Path("list.json").write_text("[1]")
        Path("directory").mkdir()
        status, out, err = run(*arguments_of(command), *wrong)
        assert (status, out) == (2, "")
        name, value = wrong
        assert err.startswith(
            "ckptparse: " if name == "--dtype" else f"ckptparse: {name} {value}: "
        )
        assert err.count("\n") == 1
        assert not Path("m.npz").exists()

    @pytest.mark.parametrize("command", SAVE)
    @pytest.mark.parametrize(
        ("wrong", "text"),
        [
            ("m.onnx", "suffix"), ("", "empty"), ("directory.npz", "there is a directory"),
            ("file/m.npz", "Not a directory"), ("old.npz", "--overwrite"), ("old", "--overwrite"),
            ("file/m", "Not a directory"), ("full.npy", "--overwrite"),
        ],
    )  # fmt: skip
    def test_a_wrong_destination(self, run, command: str, wrong: str, text: str) -> None:
        Path("directory.npz").mkdir()
        Path("full.npy").mkdir()
        Path("file").touch()
        Path("old.npz").touch()
        Path("old.index").touch()
        option = [] if command == "convert" else ["-o"]
        before = sorted(Path().rglob("*"))
        for more in ([], ["--dry-run"]):
            status, out, err = run(command, VGG.prefix, *option, wrong, *more)
            assert (status, out) == (2, "")
            assert text in err
        assert sorted(Path().rglob("*")) == before

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            (["tree", VGG.prefix, "--depth", "-1"], "number of levels"),
            (["average", VGG.prefix, "-o", "m.npz", "--weights", "1,a"], "numbers such as"),
            (["convert", VGG.prefix, "m.npz", "--shard-size", "-5"], "a size such as"),
            (["ls"], "required: PATH;"),
            (["verify"], "required: PATH;"),
            (["show", VGG.prefix, FC6, "--index", "x"], "not an index"),
        ],
        ids=lambda value: str(value[0]) if isinstance(value, list) else "",
    )
    def test_a_wrong_value(self, run, arguments: list[object], text: str) -> None:
        status, out, err = run(*arguments)
        assert (status, out) == (2, "")
        assert text in err
        assert err.count("\n") == 1

    @pytest.mark.parametrize("command", SAVE)
    @pytest.mark.parametrize("more", [[], ["--dry-run"]], ids=["", "dry"])
    @pytest.mark.parametrize("name", ["m", "m.npz", "m.npy", "m.safetensors"])
    def test_nothing_left(self, run, command: str, more: list[str], name: str) -> None:
        option = [] if command == "convert" else ["-o"]
        status, out, err = run(command, VGG.prefix, *option, name, "--exclude", "*", *more)
        assert (status, out) == (2, "")
        assert err == f"ckptparse: {name}: there are no tensors to save\n"
        assert os.listdir() == []

    @pytest.mark.parametrize("more", [[], ["--dry-run"]], ids=["", "dry"])
    def test_a_checkpoint_over_itself(self, run, more: list[str]) -> None:
        prefix = save_checkpoint("m", {"x": np.ones(2)})
        for command in (["convert", prefix, "m"], ["merge", prefix, "-o", "m"]):
            status, out, err = run(*command, "--overwrite", *more)
            assert (status, out) == (2, "")
            assert "read from this checkpoint" in err

    @pytest.mark.parametrize("more", [[], ["--dry-run"]], ids=["", "dry"])
    def test_without_h5py(self, run, more: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "h5py", None)
        status, out, err = run("convert", VGG.prefix, "m.h5", *more)
        assert (status, out) == (2, "")
        assert "ckptparse[keras]" in err
        assert os.listdir() == []


class TestChoosing:
    """Each command chooses the same tensors, under the same names, as `ls`."""

    OPTIONS: tuple[list[str], ...] = (
        ["--include", "conv/*", "--include", "global_step"],
        ["--exclude", "conv/*"],
        ["--weights-only"],
        ["--weights-only", "--moving-averages"],
        ["--rename", "conv/=c/"],
        ["--dtype", "bfloat16"],
    )

    def sizes(self, run, command: str, options: list[str]) -> dict[str, int | None]:
        """The names and sizes that a command has; `diff` tells no sizes."""
        more = {"convert": ["m"], "average": ["-o", "m"], "merge": ["-o", "m"]}.get(command, [])
        more = [TRAINED.prefix] if command == "diff" else more
        dry = ["--dry-run"] if command in SAVE else []
        found = json.loads(run(command, TRAINED.prefix, *more, *options, *dry, "--json")[1])
        if command == "diff":
            return dict.fromkeys([*found["same"], *found["only_in_a"]])
        return {each["name"]: each["nbytes"] for each in found["tensors"]}

    @pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
    @pytest.mark.parametrize("command", CHOOSE[1:])
    def test_as_ls(self, run, command: str, options: list[str]) -> None:
        listed, found = self.sizes(run, "ls", options), self.sizes(run, command, options)
        assert listed != self.sizes(run, "ls", [])
        if command == "diff":
            assert set(found) == set(listed)
        else:
            assert list(found.items()) == list(listed.items())

    def test_diff_casts_both_sides(self, run) -> None:
        run("convert", VGG.prefix, "m", "--dtype", "bfloat16")
        assert run("diff", VGG.prefix, "m")[0] == 1
        assert run("diff", VGG.prefix, "m", "--dtype", "bfloat16")[0] == 0

    def test_ls(self, run) -> None:
        all_names = [tensor.name for tensor in TRAINED.tensors]
        include, exclude, _, _, rename, _ = self.OPTIONS
        conv = [name for name in all_names if fnmatchcase(name, "conv/*")]
        assert set(self.sizes(run, "ls", include)) == {*conv, "global_step"}
        assert set(self.sizes(run, "ls", exclude)) == {*all_names} - {*conv}
        renamed = {name.replace("conv/", "c/", name.startswith("conv/")) for name in all_names}
        assert set(self.sizes(run, "ls", rename)) == renamed


ODD = [
    "with space", "quote'single", 'quote"double', "-leading", "--include", "*glob?[a]", "\\back",
    "new\nline", "\x1b[31mred", "rtl\u202eabc", "\udcff\udcfeb", "x" * 20_000, "a=b", "vgg/",
    "$(id)", "日本/語", "re:x", "\u200bzero",
]  # fmt: skip


class TestOddNames:
    @pytest.fixture
    def odd(self, place: Path) -> str:
        return save_checkpoint("odd", {name: np.float32([i]) for i, name in enumerate(ODD)})

    @pytest.mark.parametrize("name", ODD, ids=lambda name: ascii(name)[:20])
    def test_a_name_can_be_pasted(self, run, odd: str, name: str) -> None:
        """As `ls` prints it, or as it is stored."""
        printed = printable(name)
        assert f"  {printed}\n" in run("ls", odd)[1]
        for given in (name, printed):
            for command in (["ls", odd, "--", given], ["ls", odd, f"--include={given}"]):
                status, out, _ = run(*command)
                assert (status, out.splitlines()[0]) == (0, f"float32  [1]  4 B  {printed}")
            assert f"\n[{ODD.index(name)}.]\n" in run("show", odd, "--", given)[1]
            assert run("verify", odd, "--", given)[1] == "1 tensor, 4 B: all intact\n"
            assert run("diff", odd, odd, f"--include={given}")[1].endswith("equal: 1 same\n")
            found = json.loads(run("ls", odd, f"--exclude={given}", "--json")[1])["tensors"]
            assert sorted(each["name"] for each in found) == sorted({*ODD} - {name})


FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="only Linux has /dev/full")


class TestStreams:
    """Output that cannot be written."""

    @pytest.fixture
    def run_with(self, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
        def run_with(stream: str, file: TextIO | None, arguments: list[str]) -> int:
            with monkeypatch.context() as patch:
                patch.setattr(sys, stream, file)
                status = main(arguments)
            if file is not None:  # what is in the buffer still cannot be written
                os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())
                file.close()
            return status

        return run_with

    @every_command
    def test_a_pipe_that_closes(
        self, run_with, command: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        assert run_with("stdout", os.fdopen(writer, "w"), arguments_of(command)) == BROKEN_PIPE
        assert capsys.readouterr().err == ""

    @needs_full
    @every_command
    def test_a_full_disk(self, run_with, command: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert run_with("stdout", FULL.open("w"), arguments_of(command)) == 2
        err = capsys.readouterr().err
        assert err == "ckptparse: standard output: No space left on device\n"

    @every_command
    def test_no_standard_output(
        self, run_with, command: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        expected = 1 if command == "diff" else 0
        assert run_with("stdout", None, arguments_of(command)) == expected
        assert capsys.readouterr().err == ""

    @needs_full
    @pytest.mark.parametrize("is_open", [True, False], ids=["full", "closed"])
    @every_command
    def test_errors_that_cannot_be_printed(
        self, run_with, command: str, is_open: bool, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file = FULL.open("w", buffering=1) if is_open else None
        arguments = [command, "nothing", *map(str, MORE.get(command, []))]
        assert run_with("stderr", file, arguments) == 2
        assert capsys.readouterr().out == ""

    @pytest.mark.parametrize("is_terminal", [True, False], ids=["terminal", "pipe"])
    @pytest.mark.parametrize("command", WORK_LONG)
    def test_a_progress_bar(
        self, run, command: str, is_terminal: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pytest.importorskip("tqdm", reason="it is an extra")
        calls = []
        show = ProgressBar._show
        monkeypatch.setattr(ProgressBar, "_show", lambda *args: (calls.append(1), show(*args)))
        monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal, raising=False)
        more = [VGG.prefix, "--deep"] if command == "diff" else MORE.get(command, [])
        _, _, err = run(command, VGG.prefix, *more)
        assert bool(calls) == bool(err) == is_terminal

    @pytest.mark.parametrize("command", WORK_LONG)
    def test_no_progress_bar_without_tqdm(
        self, run, command: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "tqdm", None)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
        assert run(*arguments_of(command))[::2] == (1 if command == "diff" else 0, "")
