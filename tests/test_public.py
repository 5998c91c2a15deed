"""The public face: what is exported, what importing costs, what the README claims."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import ckptparse

ROOT = Path(__file__).resolve().parent.parent

EXPORTED = [
    "Cause",
    "Checkpoint",
    "CheckpointError",
    "CheckpointNotFoundError",
    "ChecksumError",
    "CorruptCheckpointError",
    "Damage",
    "DataLossError",
    "MismatchError",
    "MissingShardError",
    "NotACheckpointError",
    "NotFoundError",
    "TensorInfo",
    "TensorNotFoundError",
    "TensorSlice",
    "TruncatedError",
    "UnreadableError",
    "UnsupportedError",
    "VerifyReport",
    "as_tensorflow",
    "load_into",
    "match",
    "open_checkpoint",
    "train",
]


def test_exported_names() -> None:
    assert sorted(ckptparse.__all__) == sorted(EXPORTED)
    assert all(hasattr(ckptparse, name) for name in EXPORTED)


def loaded_by(statement: str) -> set[str]:
    """Top-level modules that a fresh process has loaded after a statement."""
    code = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


NEVER_AT_FIRST = [
    "tensorflow",
    "google",
    "ml_dtypes",
    "snappy",
    "tqdm",
    "argparse",
    "fsspec",
    "h5py",
    "torch",
]


@pytest.mark.parametrize(
    "statement",
    [
        "import ckptparse",
        "import ckptparse; ckptparse.open_checkpoint({vgg!r})['vgg_16/fc6/weights']",
    ],
    ids=["import", "first tensor"],
)
def test_the_first_tensor_costs_no_slow_import(statement: str) -> None:
    statement = statement.format(vgg=str(ROOT / "fixtures/tf-1.15.5/vgg_16/model.ckpt"))
    loaded = loaded_by(statement) - loaded_by("import numpy, crc32c")
    assert not loaded & set(NEVER_AT_FIRST)


PAGES = [
    "README.md",
    "SECURITY.md",
    *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
]


def blocks_of(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_the_first_two_shell_lines_install_and_test() -> None:
    lines = "".join(blocks_of("README.md", "shell")).splitlines()
    assert lines[0].startswith("pip install . && ckptparse ls fixtures/")
    assert lines[1] == "pip install '.[test]' && pytest"


@pytest.mark.parametrize("page", PAGES)
def test_files_that_the_pages_name_are_there(page: str) -> None:
    text = (ROOT / page).read_text()
    for name in re.findall(r"`((?:tests|fixtures|docs)/[^` ]*)`", text):
        assert list(ROOT.glob(name)), name
    for name in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / page).parent.joinpath(name).exists(), name


PYTHON_BLOCKS = [
    pytest.param(block, id=f"{page}-{number}")
    for page in PAGES
    for number, block in enumerate(blocks_of(page, "python"))
]


@pytest.mark.parametrize("block", PYTHON_BLOCKS)
def test_python_of_the_pages_runs(block: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    exec(compile(block, "page", "exec"), {})


def sessions() -> list[tuple[str, str]]:
    """(command, output) of each console session of the pages."""
    found = []
    for page in PAGES:
        for block in blocks_of(page, "console"):
            for session in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                command, _, output = session.partition("\n")
                found.append((command, output))
    return found


@pytest.mark.parametrize(("command", "output"), sessions())
def test_sessions_of_the_pages_are_real(command: str, output: str) -> None:
    """`...` in the output stands for lines left out."""
    words = command.replace("ckptparse", f"'{sys.executable}' -m ckptparse", 1)
    done = subprocess.run(words, shell=True, capture_output=True, text=True, cwd=ROOT)
    pattern = re.escape(output).replace(re.escape("...\n"), "(.*\n)*")
    assert re.fullmatch(pattern, done.stdout), done.stdout + done.stderr
