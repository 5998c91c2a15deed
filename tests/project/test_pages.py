"""README.md, SECURITY.md and the pages of docs/: every code block is run or compared.

```` ```python ````
    runs by itself, in an empty directory that has `fixtures`.  A block after the comment
    ``<!-- continues -->`` runs after the block before it, with its names.  A block that uses a
    library of `OPTIONAL` is skipped where this is not installed; .ci/run has all of them.
```` ```console ````
    Each ``$ command`` prints what follows it; a line ``...`` stands for any number of lines.
```` ```text title="fixtures/..." ````
    is that file: its bytes, in lines of offset, bytes and an explanation, or its whole text.
```` ```text ````
    without a title is not code: a layout, a message.
```` ```shell ````
    is not run here but by .ci/run, or is the reader's to adapt: only on the pages of `SHELL_PAGES`.
"""

from __future__ import annotations

import re
import subprocess
import sys
import traceback
from pathlib import Path
from typing import NamedTuple

import pytest

import ckptparse
from ckptparse import train
from ckptparse.commands import COMMANDS
from support.repository import ROOT

PAGES = [
    "README.md",
    "SECURITY.md",
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")),
]
SHELL_PAGES = [
    "README.md",
    "docs/benchmarks.md",
    "docs/development/documentation.md",
    "docs/getting-started.md",
    "docs/index.md",
    "docs/reference/command-line.md",
]

OPTIONAL = ["dask", "fsspec", "jax", "keras", "safetensors", "torch", "transformers"]
"""Libraries that a block may use; without them, it is skipped."""


class Block(NamedTuple):
    """A fenced code block of a page."""

    page: str
    line: int
    language: str
    title: str
    text: str
    continues: bool

    @property
    def id(self) -> str:
        """Such as "recipes.md:12"."""
        return f"{self.page.removeprefix('docs/')}:{self.line}"


_FENCE = re.compile(
    r"(?P<comment>^<!-- continues -->\n+)?"
    r'^```(?P<language>\w*)(?: title="(?P<title>[^"]*)")?\n(?P<text>.*?)^```$',
    re.DOTALL | re.MULTILINE,
)


def blocks_of(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        Block(
            page,
            text.count("\n", 0, fence.start("text")),
            fence["language"],
            fence["title"] or "",
            fence["text"],
            fence["comment"] is not None,
        )
        for fence in _FENCE.finditer(text)
    ]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def blocks_in(language: str) -> list[pytest.param]:
    return [pytest.param(b, id=b.id) for b in BLOCKS if b.language == language]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory that has `fixtures`: blocks may write files."""
    (tmp_path / "fixtures").symlink_to(ROOT / "fixtures", target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    for page in PAGES:
        fences = re.findall(r"^```.*$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
        assert len(fences) == 2 * len(blocks_of(page)), page
    for block in BLOCKS:
        assert block.language in ("python", "console", "text", "shell"), block.id
        assert block.language != "shell" or block.page in SHELL_PAGES, block.id
        assert not block.title or block.title.startswith("fixtures/"), block.id


def test_the_first_two_shell_lines_install_and_test() -> None:
    lines = [block.text for block in blocks_of("README.md") if block.language == "shell"]
    first, second, *_ = "".join(lines).splitlines()
    assert first.startswith("pip install . && ckptparse ls fixtures/")
    assert second == "pip install '.[test]' && pytest"


# Python


@pytest.mark.parametrize("block", blocks_in("python"))
@pytest.mark.usefixtures("place")
def test_python_runs(block: Block) -> None:
    names: dict[str, object] = {}
    for each in [*_before(block), block]:
        for library in OPTIONAL:
            if re.search(rf"^(import|from) {library}\b|\bto_{library}\(", each.text, re.MULTILINE):
                reason = f"{library}, or its backend, is not installed"
                pytest.importorskip(library, reason=reason)
        # With empty lines in front, a traceback has the page's line numbers.  It is shown as text:
        # pytest takes minutes to look for Python's statements in a page.
        code = compile("\n" * each.line + each.text, str(ROOT / each.page), "exec")
        try:
            exec(code, names)
        except Exception:
            pytest.fail(traceback.format_exc(), pytrace=False)


def _before(block: Block) -> list[Block]:
    """The blocks that a block continues, in order."""
    if not block.continues:
        return []
    previous = [b for b in BLOCKS if b.page == block.page and b.language == "python"]
    before = previous[previous.index(block) - 1]
    return [*_before(before), before]


# Sessions


def sessions() -> list[pytest.param]:
    """(command, output) of each command of the pages."""
    found = []
    for block in BLOCKS:
        if block.language == "console":
            for i, session in enumerate(re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]):
                command, _, output = session.partition("\n")
                found.append(pytest.param(command, output, id=f"{block.id}-{i}"))
    return found


@pytest.mark.parametrize(("command", "output"), sessions())
@pytest.mark.usefixtures("place")
def test_sessions_are_real(command: str, output: str) -> None:
    words = command.replace("ckptparse", f"'{sys.executable}' -m ckptparse", 1)
    done = subprocess.run(words, shell=True, capture_output=True, encoding="utf-8")
    pattern = re.escape(output).replace(re.escape("...\n"), "(.*\n)*")
    assert re.fullmatch(pattern, done.stdout + done.stderr), done.stdout + done.stderr


# Files


@pytest.mark.parametrize("block", [p for p in blocks_in("text") if p.values[0].title])
def test_files_are_as_shown(block: Block) -> None:
    content = (ROOT / block.title).read_bytes()
    lines = block.text.splitlines()
    if not _DUMPED.match(lines[0]):
        assert block.text.encode() == content
        return
    pos = None
    for line in lines:
        if line == "...":
            pos = None
            continue
        dumped = _DUMPED.fullmatch(line)
        assert dumped, line
        start, expected = int(dumped["offset"], 16), bytes.fromhex(dumped["bytes"])
        assert pos in (None, start), f"{line!r} follows byte {pos:#x}"
        pos = start + len(expected)
        assert content[start:pos] == expected, line


_DUMPED = re.compile(r"(?P<offset>[0-9a-f]{4}) (?P<bytes>(?: [0-9a-f]{2})+)(?:   *\S.*)?")


@pytest.mark.parametrize("page", PAGES)
def test_files_that_the_pages_name_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for name in re.findall(r"`((?:tests|fixtures|docs|tools|benchmarks|protos)/[^` ]*)`", text):
        assert list(ROOT.glob(name)), name
    for name in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (ROOT / page).parent.joinpath(name).exists(), name


# The reference is complete


def reference() -> str:
    pages = sorted((ROOT / "docs/reference").glob("*.md"))
    return "\n".join(page.read_text(encoding="utf-8") for page in pages)


@pytest.mark.parametrize("name", [name for name in ckptparse.__all__ if name != "train"])
def test_the_reference_has_every_public_name(name: str) -> None:
    assert re.search(rf"^::: ckptparse\.{name}$", reference(), re.MULTILINE)


@pytest.mark.parametrize("name", train.__all__)
def test_the_reference_has_every_name_of_train(name: str) -> None:
    assert re.search(rf"^::: ckptparse\.train\.{name}$", reference(), re.MULTILINE)


@pytest.mark.parametrize("command", [module.NAME for module in COMMANDS])
def test_the_reference_has_every_command(command: str) -> None:
    """With its help, which tools/mkdocs_hooks.py fills in."""
    assert f"\n$ ckptparse {command} --help\n...\n" in reference()


def test_the_reference_shows_the_tree_of_errors() -> None:
    text = next(block.text for block in blocks_of("docs/reference/errors.md"))
    lines = re.findall(r"^([│├└─ ]*)(\w+)(?: +also (\w+))?", text, re.MULTILINE)
    shown, above = {}, []
    for indent, name, builtin in lines:
        above[len(indent) // 4 :] = [name]
        shown[name] = {*above[-2:-1], *([builtin] if builtin else [])}
    errors = [getattr(ckptparse, name) for name in ckptparse.__all__]
    errors = [e for e in errors if isinstance(e, type) and issubclass(e, ckptparse.CheckpointError)]
    bases = {e.__name__: {base.__name__ for base in e.__bases__} - {"Exception"} for e in errors}
    assert shown == bases


def test_the_page_of_data_types_is_that_of_the_table() -> None:
    page = (ROOT / "docs/formats/dtypes.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (\w+) \| ([\w ]+) \| ([\w.]*)", page, re.MULTILINE)
    assert [int(number) for number, *_ in rows] == list(range(1, 34))
    for number, name, nbytes, array in rows:
        dtype = train.DType(int(number))
        assert dtype.name == name
        others = {"string": "varies", "variant": "varies", "resource": "never stored"}
        assert nbytes == others.get(name, str(dtype.size)), name
        if nbytes.isdigit():
            kind = dtype.dtype if dtype.dtype.names is None else dtype.dtype[0]  # quantized
            assert kind.name == array.removeprefix("ml_dtypes."), name


@pytest.mark.parametrize("page", ["architecture.md", "extending.md"])
def test_modules_that_the_pages_name_exist(page: str) -> None:
    text = (ROOT / "docs/development" / page).read_text(encoding="utf-8")
    for name in re.findall(r"`(ckptparse/[^` ]*)`", text):
        assert "NAME" in name or (ROOT / name).exists(), name
