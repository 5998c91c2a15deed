"""Nothing in a file is ever unpickled, evaluated or executed, and nothing is written."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import ckptparse
from support.builders import bundle_entry, write_bundle
from support.children import output_of
from support.oracle import case_names, load_case
from support.repository import FIXTURES

SOURCES = sorted(Path(ckptparse.__file__).parent.rglob("*.py"))

# What happens

WATCH = """
    import os, pickle, sys, warnings
    import ckptparse
    from ckptparse import CheckpointError, open_checkpoint
    from ckptparse.commands import main

    # Events of the interpreter that a reader has no need of, by how they begin.
    WATCHED = (
        "exec", "compile", "import", "pickle.", "marshal.", "ctypes.", "subprocess.", "socket.",
        "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.startfile", "os.system",
        "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate",
        "os.chmod", "os.chown", "os.kill", "os.putenv", "os.utime", "shutil.", "tempfile.",
        "urllib.", "http.", "ftplib.", "smtplib.", "webbrowser.", "sqlite3.", "code.",
        "sys.addaudithook", "sys.settrace", "sys._getframe", "cpython.run", "builtins.input",
    )
    WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    seen = []

    def hook(event, arguments):
        if not armed:
            return
        if event == "open":
            _, mode, flags = arguments
            if (mode or "r") not in ("r", "rb") or (flags or 0) & WRITING:
                seen.append((event, str(arguments)))
        elif event.startswith(WATCHED) and event != "sys._getframe":
            seen.append((event, str(arguments)[:200]))

    def look(path):
        # Everything that a checkpoint can be asked.
        for mmap in (False, True):
            try:
                with open_checkpoint(path, mmap=mmap, confined=mmap) as ckpt:
                    asks = [ckpt.infos, ckpt.verify, lambda: ckpt.object_graph.outline({}),
                            lambda: ckpt.meta_graph, ckpt._repr_html_]
                    asks += [lambda name=name: ckpt[name] for name in list(ckpt)[:5]]
                    for ask in asks:
                        try:
                            ask()
                        except (CheckpointError, AttributeError):
                            pass
            except CheckpointError:
                pass
            try:
                ckptparse.train.list_variables(path)
            except CheckpointError:
                pass

    def look_at_all():
        for path in sys.argv[1:]:
            look(path)
            if "fixtures" not in path:
                for command in "ls", "tree", "graph", "verify":
                    main([command, path])

    class Trap:
        def __reduce__(self):
            return os.system, ("exit 3",)

    warnings.simplefilter("ignore")  # of state files that train ignores
    armed = False
    sys.addaudithook(hook)
    out, err = os.dup(1), os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1), os.dup2(null, 2)
    try:
        look_at_all()  # imports what is needed
        armed = True
        look_at_all()
    finally:
        sys.stdout.flush()
        os.dup2(out, 1), os.dup2(err, 2)
    assert not seen, seen[:10]
    try:  # the hook hears of what it watches for
        pickle.loads(pickle.dumps(Trap()))
    finally:
        armed = False
    heard = {event for event, _ in seen}
    print(*sorted(heard & {"os.system", "pickle.find_class"}))
"""

PICKLE = b"cos\nsystem\n(S'touch executed'\ntR."
"""A pickle that runs a command."""

CODE = b"__import__('os').system('touch executed')"


def write_hostile(folder: Path) -> list[Path]:
    """Write pickles and Python code wherever a file, a name or a string can hold them."""
    paths = []
    for number, payload in enumerate((PICKLE, CODE)):
        here = folder / str(number)
        here.mkdir()
        tensors = {payload: [payload, payload], b"_CHECKPOINTABLE_OBJECT_GRAPH": [payload]}
        whole = write_bundle(here, tensors, name="strings")
        Path(f"{whole}.meta").write_bytes(payload)
        paths.append(whole)
        for name in ("index", "v1"):
            path = here / f"{name}{'.index' if name == 'index' else ''}"
            path.write_bytes(payload)
            paths.append(here / name)
        shard = write_bundle(
            here,
            {},
            name="shard",
            edit=lambda b: b.index.update({b"x": bundle_entry(7, (1,), size=20, crc=1)}),
        )
        Path(f"{shard}.data-00000-of-00001").write_bytes(payload)
        paths.append(shard)
        for name, file in {"state": "checkpoint", "model": "saved_model.pb"}.items():
            (here / name).mkdir()
            (here / name / file).write_bytes(payload)
            write_bundle(here / name, {"x": [payload]}, name="variables")
            paths.append(here / name)
        quoted = payload.decode().replace("\n", "\\n").replace("'", "\\'")
        (here / "quoted").mkdir()
        (here / "quoted" / "checkpoint").write_text(f"model_checkpoint_path: '{quoted}'")
        paths.append(here / "quoted")
    return paths


def test_nothing_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check the interpreter's audit events when everything is read for the second time."""
    monkeypatch.chdir(tmp_path)
    small = [load_case(name) for name in case_names()]
    sizes = {case.path: sum(f.stat().st_size for f in case.folder.iterdir()) for case in small}
    real = [path for path, nbytes in sizes.items() if nbytes < 20_000]
    assert len(real) > 20
    saved = [path.parent for path in FIXTURES.glob("*/*/saved_model/saved_model.pb")]
    hostile = write_hostile(tmp_path)
    assert output_of(WATCH, *hostile, *real, *saved) == ["os.system pickle.find_class"]
    assert not (tmp_path / "executed").exists()


# What is written in the sources

FORBIDDEN_MODULES = {
    *(
        "pickle",
        "_pickle",
        "cPickle",
        "dill",
        "cloudpickle",
        "joblib",
        "marshal",
        "shelve",
        "copyreg",
    ),
    *("ctypes", "cffi", "subprocess", "multiprocessing", "pty", "code", "codeop", "runpy"),
    *("socket", "ssl", "http", "ftplib", "smtplib", "xmlrpc", "yaml", "sqlite3", "dbm", "tempfile"),
}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "execfile", "breakpoint", "input"}
FORBIDDEN_ATTRIBUTES = {
    *("os.system", "os.popen", "os.execv", "os.execve", "os.spawnv", "os.fork", "os.startfile"),
    *("os.remove", "os.unlink", "os.rename", "os.replace", "os.mkdir", "os.makedirs", "os.chmod"),
    *("np.load", "np.fromfile", "np.memmap", "np.save", "np.savez"),
}
ALLOWED = {
    ("commands/run.py", "runpy"),  # runs the user's own script, which is what it is for
    ("outputs/local.py", "os.chmod"),  # its own file gets the permissions of the one it replaces
    ("outputs/local.py", "os.mkdir"),  # `save_checkpoint` writes where the user says
    ("outputs/local.py", "os.replace"),
    ("outputs/local.py", "os.unlink"),
    ("outputs/tree.py", "os.mkdir"),
    ("outputs/tree.py", "os.rename"),
    ("train/tensorflow_module.py", "os.makedirs"),  # `tf.io.gfile` for that script
}


def find_forbidden(source: str) -> set[str]:
    """Forbidden names that a module uses."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names} & FORBIDDEN_MODULES
        elif isinstance(node, ast.ImportFrom):
            found |= {(node.module or "").split(".")[0]} & FORBIDDEN_MODULES
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found |= {node.func.id} & FORBIDDEN_CALLS
        elif isinstance(node, ast.Attribute):
            found |= {ast.unparse(node)} & FORBIDDEN_ATTRIBUTES
        elif isinstance(node, ast.keyword):
            found |= {node.arg} & {"allow_pickle", "shell"}
    return found


@pytest.mark.parametrize(
    "path", SOURCES, ids=lambda path: path.relative_to(SOURCES[0].parent).as_posix()
)
def test_no_module_uses_what_executes(path: Path) -> None:
    name = path.relative_to(Path(ckptparse.__file__).parent).as_posix()
    found = find_forbidden(path.read_text(encoding="utf-8"))
    assert {word for word in found if (name, word) not in ALLOWED} == set()


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "import a, marshal.b",
        "eval(x)",
        "f(lambda: exec(x))",
        "__import__(x)",
        "np.load(x, allow_pickle=True)",
        "os.system(x)",
        "def f():\n    import ctypes",
    ],
)
def test_the_scan_finds(line: str) -> None:
    assert find_forbidden(line)


def test_the_scan_has_all_modules() -> None:
    names = {path.name for path in SOURCES}
    assert {"checkpoint.py", "confined.py", "payload.py", "run.py"} <= names
    assert len(SOURCES) > 60
