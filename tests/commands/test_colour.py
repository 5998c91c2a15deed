"""Colours: on a terminal only, and never where the environment says no."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ckptparse import open_checkpoint, save_checkpoint
from ckptparse.commands import main
from support.damage import copy_case, flip_bit
from support.oracle import FC6, VGG

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")

RED, GREEN, YELLOW, END = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run a command whose output is a terminal: what the terminal gets."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def run(*argv: object) -> str:
        ours, theirs = os.openpty()
        with monkeypatch.context() as patch, os.fdopen(theirs, "w") as file:
            patch.setattr(sys, "stdout", file)
            patch.setattr(sys, "stderr", file)
            main([str(argument) for argument in argv])
        text = b""
        try:
            while piece := os.read(ours, 1 << 16):
                text += piece
        except OSError:  # Linux has no end of file here
            pass
        finally:
            os.close(ours)
        return text.decode().replace("\r\n", "\n")

    return run


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    prefix = copy_case("tf-1.15.5/vgg_16", tmp_path)
    info = open_checkpoint(prefix).info(FC6)
    flip_bit(Path(info.file), info.offset)
    return prefix


@pytest.fixture
def odd(tmp_path: Path) -> str:
    return save_checkpoint(tmp_path / "odd", {"dead": np.zeros(3), "x": np.float32([1, np.nan])})


def calls(damaged: Path, odd: str) -> dict[str, list[object]]:
    """Commands, by what is coloured."""
    return {
        f"{GREEN}all intact{END}": ["verify", VGG.prefix],
        f"{RED}1 damaged{END}": ["verify", damaged],
        f"{GREEN}equal{END}: 34 same": ["diff", VGG.prefix, VGG.prefix],
        f"{RED}different{END}: 2 only in A": ["diff", odd, VGG.prefix],
        f"  dead  {YELLOW}(all zero){END}\n": ["stats", odd],
        f"{RED}ckptparse:{END} ": ["show", odd, "y"],
    }


def test_on_a_terminal(terminal, run, damaged: Path, odd: str) -> None:
    for coloured, argv in calls(damaged, odd).items():
        shown = terminal(*argv)
        assert coloured in shown
        plain = re.sub(r"\r[^\n]*\r|\x1b\[[0-9;]*[mA]", "", shown)  # also without the bar
        _, out, err = run(*argv)
        assert "\x1b" not in out + err
        assert plain.split() == (out + err).split()


@pytest.mark.parametrize("variable", ["NO_COLOR=1", "NO_COLOR=0", "TERM=dumb", "TERM="])
def test_the_environment_says_no(
    terminal, damaged: Path, odd: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(*variable.split("="))
    for argv in calls(damaged, odd).values():
        assert "m" not in re.findall(r"\x1b\[[0-9;]*(.)", terminal(*argv))


def test_an_empty_variable_says_nothing(terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "")
    assert GREEN in terminal("verify", VGG.prefix)


def test_json_has_none(terminal, damaged: Path, odd: str) -> None:
    for argv in list(calls(damaged, odd).values())[:-1]:
        assert "m" not in re.findall(r"\x1b\[[0-9;]*(.)", terminal(*argv, "--json"))
