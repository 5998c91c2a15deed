"""Text from a file reaches a terminal or a page as text, never as control sequences or markup."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from ckptparse import open_checkpoint
from ckptparse.commands import COMMANDS, main
from ckptparse.commands.progress import ProgressBar
from ckptparse.display.text import printable
from support.builders import Bundle, Partitioned, bytes_field, varint_field, write_bundle
from support.directories import write_escaped_state
from support.oracle import VGG

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\x7f\x08\r\n\u202e\u2028\ufeff\x00<script>&"
"""Sets a title, clears, colours, deletes, returns, turns around, breaks lines, ends pages."""

SHOWN = "<script>&"
"""The part of it that is harmless on a terminal: what tells that it was printed at all."""

IN_A_PATH = EVIL.replace("\x00", "").replace("/", "")
NAMES = [EVIL, f"scope{EVIL}/{EVIL}", "x"]
OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"

needs_odd_names = pytest.mark.skipif(os.name == "nt", reason="Windows has no such names of files")


def text_field(number: int, text: str) -> bytes:
    return bytes_field(number, text.encode())


def evil_object_graph() -> bytes:
    """A root with an evil child, which has a variable, and an evil saver."""
    child = bytes_field(1, varint_field(1, 1) + text_field(2, EVIL))
    saver = bytes_field(4, text_field(1, EVIL) + text_field(2, EVIL))
    attribute = text_field(1, "VARIABLE_VALUE") + text_field(2, EVIL) + text_field(3, EVIL)
    return bytes_field(1, child) + bytes_field(1, bytes_field(2, attribute) + saver)


def evil_meta_graph() -> bytes:
    """Evil tags, versions, operations, variables, collections and signatures."""
    info = text_field(4, EVIL) + text_field(5, EVIL) + text_field(6, EVIL)
    graph = bytes_field(1, text_field(1, EVIL) + text_field(2, EVIL))
    variable = text_field(1, EVIL) + text_field(3, EVIL)
    collections = [
        text_field(1, name) + bytes_field(2, bytes_field(2, bytes_field(1, variable)))
        for name in ("variables", EVIL)
    ]
    tensor = text_field(1, EVIL) + varint_field(2, 1)
    entry = text_field(1, EVIL) + bytes_field(2, tensor)
    signature = bytes_field(1, entry) + bytes_field(2, entry) + text_field(3, EVIL)
    return b"".join(
        [
            bytes_field(1, info),
            bytes_field(2, graph),
            *(bytes_field(4, collection) for collection in collections),
            bytes_field(5, text_field(1, EVIL) + bytes_field(2, signature)),
        ]
    )


def write_evil(folder: Path, *, objects: bool = False, damaged: bool = False) -> Path:
    array = np.arange(4, dtype="f4")
    tensors: dict[str, object] = {
        EVIL: array,
        NAMES[1]: Partitioned(array, [[(0, 2)], [(2, 2)]]),
        "x": [EVIL.encode(), b"\xff\x9b"],
    }
    if objects:
        tensors[OBJECT_GRAPH] = [evil_object_graph()]

    def edit(bundle: Bundle) -> None:
        if damaged:
            bundle.shards[0][:] = bytes(len(bundle.shards[0]))
        if objects:  # the graph is a scalar
            entry = bundle.index[OBJECT_GRAPH.encode()]
            bundle.index[OBJECT_GRAPH.encode()] = entry.replace(b"\x12\x04\x12\x02\x08\x01", b"")

    prefix = write_bundle(folder, tensors, edit=edit)
    Path(f"{prefix}.meta").write_bytes(evil_meta_graph())
    return prefix


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
    """Run a command and check all that it prints: (exit status, output and errors)."""

    def run(*argv: object) -> tuple[int, str]:
        try:
            status = main([str(argument) for argument in argv])
        except SystemExit as stop:
            status = stop.code
        captured = capsys.readouterr()
        text = captured.out + captured.err
        assert {char for char in text if not char.isprintable()} <= {"\n"}, ascii(text)
        return status, text

    return run


def test_evil_is_not_printable() -> None:
    assert not EVIL.isprintable()
    assert printable(EVIL).isprintable()
    assert SHOWN in printable(EVIL)


def test_the_object_graph_is_one(tmp_path: Path) -> None:
    with open_checkpoint(write_evil(tmp_path, objects=True)) as ckpt:
        (child,) = next(iter(ckpt.object_graph.nodes())).children
        assert child == EVIL
        assert ckpt.meta_graph.tags == (EVIL,)


DIFF = ["diff", str(VGG.prefix)]
ASKED = [
    ["ls"],
    ["tree"],
    ["show", EVIL],
    ["show", NAMES[1]],
    ["show", "x"],
    ["verify"],
    ["stats", "--exclude", "x"],
    DIFF,
    ["graph"],
]
PLANS = [
    ["convert", "m.safetensors", "--exclude", "x", "--dry-run"],
    ["average", "-o", "m.safetensors", "--exclude", "x", "--dry-run"],
    ["merge", "-o", "m.safetensors", "--exclude", "x", "--dry-run"],
]
SAVED = [["report", "-o", f"{IN_A_PATH}.html"]]  # prints no names of tensors


@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize(
    "asked", [*ASKED, *PLANS, *SAVED], ids=lambda asked: " ".join(map(ascii, asked))[:20]
)
@pytest.mark.parametrize("objects", [False, True], ids=["names", "objects"])
@needs_odd_names
def test_every_command(
    run,
    tmp_path: Path,
    asked: list[str],
    as_json: list[str],
    objects: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / IN_A_PATH
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    command, *more = asked
    status, text = run(command, write_evil(folder, objects=objects), *more, *as_json)
    assert status == (1 if command == "diff" else 0), text
    assert SHOWN in text or command == "verify"
    if as_json:
        assert EVIL in str_of(json.loads(text)) or command in ("verify", "report")


def str_of(value: object) -> str:
    """All text in a JSON value."""
    if isinstance(value, dict):
        return "|".join(map(str_of, [*value, *value.values()]))
    return "|".join(map(str_of, value)) if isinstance(value, list) else str(value)


def test_every_command_is_asked_above() -> None:
    assert {command.NAME for command in COMMANDS} - {"run"} <= {
        asked[0] for asked in [*ASKED, *PLANS, *SAVED]
    }


@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize("asked", ASKED[:-1], ids=lambda asked: " ".join(map(ascii, asked))[:20])
def test_damage(run, tmp_path: Path, asked: list[str], as_json: list[str]) -> None:
    command, *more = asked
    status, text = run(command, write_evil(tmp_path, damaged=True), *more, *as_json)
    expected = {"ls": 0, "tree": 0, "verify": 1, "show": 2, "stats": 2, "diff": 1}
    assert status == expected[command]
    assert SHOWN in text or more == ["x"]


@needs_odd_names
@pytest.mark.parametrize("command", [["ls"], ["tree"], ["show", EVIL], ["verify"], DIFF, ["graph"]])
class TestTrouble:
    """Errors on standard error, with evil paths, names of files and texts of state files."""

    def test_nothing_there(self, run, tmp_path: Path, command: list[str]) -> None:
        (tmp_path / IN_A_PATH).mkdir()
        (tmp_path / IN_A_PATH / IN_A_PATH).touch()
        for path in (IN_A_PATH, f"{IN_A_PATH}/nothing", f"nothing{IN_A_PATH}/x", f"{IN_A_PATH}\0"):
            status, text = run(command[0], tmp_path / path, *command[1:])
            assert status == 2
            assert SHOWN in text

    @pytest.mark.parametrize(
        "latest", [EVIL, f"../{EVIL}", f"/{EVIL}"], ids=["bare", "relative", "absolute"]
    )
    def test_a_state_file(self, run, tmp_path: Path, command: list[str], latest: str) -> None:
        write_escaped_state(tmp_path, latest)
        status, text = run(command[0], tmp_path, *command[1:])
        assert status == 2
        assert SHOWN in text

    def test_no_state_file(self, run, tmp_path: Path, command: list[str]) -> None:
        (tmp_path / "checkpoint").write_text(EVIL)
        status, text = run(command[0], tmp_path, *command[1:])
        assert status in (1, 2)
        assert "state file" in text

    def test_wrong_use(self, run, command: list[str]) -> None:
        assert run(*command, "x", "y", f"--{EVIL}")[0] == 2
        assert run(EVIL)[0] == 2
        assert run("tree", "x", "--depth", EVIL)[0] == 2


def test_no_such_tensor(run, tmp_path: Path) -> None:
    status, text = run("show", write_evil(tmp_path), f"y{EVIL}")
    assert status == 1
    assert text.count(SHOWN) >= 2  # the one asked for, and the nearest
    status, text = run("verify", write_evil(tmp_path), f"y{EVIL}")
    assert status == 1
    assert SHOWN in text


def test_no_such_script(run) -> None:
    status, text = run("run", EVIL.replace("\0", ""))
    assert status == 2
    assert SHOWN in text


def test_the_progress_bar_names_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tqdm", reason="the bar is an extra")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with open_checkpoint(write_evil(tmp_path)) as ckpt, ProgressBar() as bar:
        assert bar.progress is not None
        assert ckpt.verify(progress=bar.progress).ok
    shown = capsys.readouterr().err
    assert shown
    assert SHOWN not in shown
    assert all(char.isprintable() or char == "\r" for char in shown)


def test_notebooks_get_neither_markup_nor_commands(tmp_path: Path) -> None:
    with open_checkpoint(write_evil(tmp_path)) as ckpt:
        html = ckpt._repr_html_()
        assert html.isprintable()
        assert "&lt;script&gt;&amp;" in html
        assert "<script" not in html
        assert repr(ckpt).isprintable()
        assert all(repr(info).isprintable() for info in ckpt.infos())
