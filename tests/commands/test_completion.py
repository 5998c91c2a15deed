"""`--print-completion`: the shells themselves complete commands, options, choices and paths."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptparse.commands import COMMANDS, build_parser
from ckptparse.commands.completion import SHELLS, parsers_of, path_arguments

_BASH = """
. ./script
COMP_WORDS=({words}) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_shtab_ckptparse ckptparse "${{COMP_WORDS[@]: -1}}"
for each in "${{COMPREPLY[@]}}"; do echo "HIT:$each"; done
"""

_FISH = """
source script
complete -C {line} | string split -f 1 \\t | string replace -r '^' HIT:
"""

_ZSHRC = """
PROMPT=
autoload -Uz compinit && compinit -u -D
eval "$(<script)"
compadd() {
    local -a hits
    if (( ${@[(I)-[OAD]*]} )) { builtin compadd "$@"; return }
    builtin compadd -A hits "$@"
    local each; for each in $hits; do print -r -- "HIT:$each"; done
}
comppostfuncs=(finish)
finish() { print END }
print READY
"""

CASES: dict[str, tuple[list[str], set[str]]] = {
    "commands": (["s"], {"show", "stats"}),
    "options": (["ls", "--s"], {"--sort"}),
    "choices": (["ls", "--sort", ""], {"name", "size", "dtype"}),
    "a path": (["ls", "mo"], {"model.npz"}),
    "a path after options": (["ls", "-l", "--rename", "a=b", "mo"], {"model.npz"}),
    "a destination": (["convert", "x", "mo"], {"model.npz"}),
    "each of several paths": (["average", "x", "y", "mo"], {"model.npz"}),
    "an option that is a path": (["merge", "x", "-o", "mo"], {"model.npz"}),
    "a file of names": (["diff", "x", "y", "--names", "mo"], {"model.npz"}),
    "a name with odd characters": (["ls", "od"], {"odd $(touch bad); `touch bad`"}),
    "not the name of a tensor": (["show", "model.npz", "m"], set()),
}


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    """Each shell that is installed."""
    if shutil.which(request.param) is None or sys.platform == "win32":
        pytest.skip(f"{request.param} is not installed")
    return request.param


@pytest.fixture
def script(run, shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The script of the shell, in a working directory that has some files."""
    pytest.importorskip("shtab", reason="it is an extra")
    monkeypatch.chdir(tmp_path)
    for name in ("model.npz", "odd $(touch bad); `touch bad`"):
        (tmp_path / name).touch()
    status, out, err = run("--print-completion", shell)
    assert (status, err) == (0, "")
    (tmp_path / "script").write_text(out)
    yield tmp_path / "script"
    assert not (tmp_path / "bad").exists()  # no name was run as a command


def quote(text: str) -> str:
    """The text as a word in quotes."""
    return "'" + text.replace("'", r"'\''") + "'"


def ask(shell: str, words: list[str]) -> set[str]:
    """The completions of the last word that a shell proposes; its file `script` is used."""
    words = ["ckptparse", *words]
    if shell == "bash":
        code = _BASH.format(words=" ".join(map(quote, words)))
        command = ["bash", "--norc", "--noprofile", "-c", code]
    elif shell == "fish":
        command = ["fish", "--no-config", "-c", _FISH.format(line=quote(" ".join(words)))]
    else:
        return set(ask_zsh(" ".join(words)))
    env = {**os.environ, "HOME": os.getcwd() + "/home", "XDG_DATA_HOME": os.devnull}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=120)
    return {line[4:] for line in done.stdout.splitlines() if line.startswith("HIT:")}


def ask_zsh(line: str) -> list[str]:
    """As `ask`; zsh completes only in a terminal."""
    import pty

    Path(".zshrc").write_text(_ZSHRC)
    pid, terminal = pty.fork()
    if pid == 0:
        env = {**os.environ, "ZDOTDIR": os.getcwd(), "TERM": "dumb"}
        os.execvpe("zsh", ["zsh", "-i", "-o", "no_global_rcs"], env)
    text = b""

    def read_until(end: bytes) -> None:
        nonlocal text
        while end not in text:
            assert select.select([terminal], [], [], 120)[0], text
            text += os.read(terminal, 1 << 16)

    try:
        read_until(b"READY")
        os.write(terminal, line.encode() + b"\t")
        read_until(b"END")
    finally:
        os.close(terminal)
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    hits = re.findall(r"HIT:(.*?)\r?\n", text.decode())
    return [re.sub(r"\\(.)", r"\1", hit) for hit in hits]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.usefixtures("script")
def test_completions(shell: str, case: str) -> None:
    words, expected = CASES[case]
    assert {each.rstrip() for each in ask(shell, words)} == expected


@pytest.mark.usefixtures("script")
def test_a_path_below_a_directory_with_a_space(shell: str) -> None:
    Path("a space/sub").mkdir(parents=True)
    path = "a space/s" if shell == "bash" else r"a\ space/s"
    (found,) = ask(shell, ["ls", path])
    assert found.rstrip("/").endswith("sub")


@pytest.mark.parametrize("name", [module.NAME for module in COMMANDS])
def test_the_arguments_that_are_paths(name: str) -> None:
    """They are found by their metavars."""
    expected = {
        "diff": ["a", "b", "names"],
        "convert": ["path", "destination", "names"],
        "average": ["paths", "output", "names"],
        "merge": ["paths", "output", "names"],
        "report": ["path", "output", "names"],
        "ls": ["path", "names"],
        "stats": ["path", "names"],
        "run": ["script"],
    }
    found = [action.dest for action in path_arguments(parsers_of(build_parser())[name])]
    assert sorted(found) == sorted(expected.get(name, ["path"]))


def test_without_the_extra(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    status, out, err = run("--print-completion", "bash")
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert "ckptparse[cli]" in err


def test_an_unknown_shell(run) -> None:
    status, out, err = run("--print-completion", "csh")
    assert (status, out) == (2, "")
    assert "invalid choice: 'csh'" in err


def test_no_command(run) -> None:
    status, out, err = run()
    assert (status, out) == (2, "")
    assert "COMMAND" in err


def test_no_other_command_imports_shtab() -> None:
    code = "import sys; from ckptparse.commands import main; main(['ls', sys.argv[1]])"
    code += "; assert 'shtab' not in sys.modules"
    fixture = Path(__file__).parents[2] / "fixtures/tf-1.15.5/vgg_16"
    subprocess.run([sys.executable, "-c", code, fixture], check=True, stdout=subprocess.DEVNULL)
