"""The command line: runs each target in a separate process, and prints a summary."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from fuzz.corpus import load_corpus, save_corpus, write_inputs
from fuzz.fixtures import MOST_NBYTES
from fuzz.targets import NAMES, load_target

_FINDINGS = ("crash-", "timeout-", "oom-", "leak-")
_KEPT = ".fuzz"
_LONG = 60
"""Seconds from which on a run begins with the fixtures too, which takes a while."""
_WORKER = "--worker"
"""How the command calls itself: the target, then libFuzzer's own arguments."""


@dataclass(frozen=True)
class Result:
    """What one target's run came to."""

    target: str
    num_inputs: int
    num_edges: int
    seconds: float
    findings: list[Path]
    log: Path
    exit_code: int

    def __str__(self) -> str:
        return (
            f"{self.target:<13} {self.num_inputs:>9,} inputs {self.seconds:>6.0f} s "
            f"{self.num_edges:>6,} edges  {len(self.findings)} new findings"
        )


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 if nothing was found, 1 if something was, 2 for wrong use."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == [_WORKER]:
        from fuzz.worker import fuzz  # needs atheris

        fuzz(arguments[1], worker_command(arguments[1]), arguments[2:])
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="target", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--seconds", type=int, default=20, help="for each target (20)")
    parser.add_argument("--jobs", type=int, default=1, help="targets at a time (1)")
    parser.add_argument("--keep", type=Path, default=Path(_KEPT), help=f"folder ({_KEPT})")
    parser.add_argument("--save", action="store_true", help="minimise and save the corpus after")
    options = parser.parse_args(arguments)
    if not set(options.targets) <= set(NAMES):
        parser.error(f"targets are {', '.join(NAMES)}")
    if find_spec("atheris") is None:
        parser.error("this needs atheris: pip install 'ckptparse[fuzz]'")
    import ckptparse

    print(f"ckptparse from {Path(ckptparse.__file__).parent}", flush=True)
    names = options.targets or NAMES
    with ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(lambda name: run_target(name, options), names))
    return max(result.exit_code for result in results)


def run_target(name: str, options: argparse.Namespace) -> Result:
    """One target for a bounded time; prints a line, and what was found."""
    folder = options.keep / name
    inputs = folder / "corpus"
    saved = load_corpus(name)
    write_inputs(inputs, saved)
    if not saved or options.seconds >= _LONG:
        seeds = load_target(name).seeds()
        write_inputs(inputs, [data for data in seeds if len(data) <= MOST_NBYTES])
    log = folder / "log.txt"
    started = time.monotonic()
    # A short run, as in CI, is the same every time; a long one is for what is new.
    seed = 0 if options.seconds >= _LONG else 1
    exit_code = _work(
        name,
        log,
        str(inputs),
        f"-max_total_time={options.seconds}",
        f"-seed={seed}",
        f"-artifact_prefix={folder}/",
    )
    seconds = time.monotonic() - started
    text = log.read_text(errors="replace")
    edges = [int(found) for found in re.findall(r"cov: (\d+)", text)]
    tried = [int(found) for found in re.findall(r"^#(\d+)", text, re.MULTILINE)]
    written = re.findall(r"Test unit written to (\S+)", text)
    findings = [Path(path) for path in written if Path(path).name.startswith(_FINDINGS)]
    failed = bool(exit_code or findings)
    result = Result(
        name, max(tried, default=0), max(edges, default=0), seconds, findings, log, int(failed)
    )
    print(result, flush=True)
    if failed:
        for path in findings:
            print(f"  input: {path}", flush=True)
        print(_tail(text), flush=True)
    if options.save:
        save_corpus(name, minimise(name, inputs))
    return result


def minimise(name: str, folder: Path) -> list[bytes]:
    """The smallest inputs of a folder that reach every edge that it reaches."""
    with tempfile.TemporaryDirectory() as kept:
        log = folder.parent / "merge.txt"
        exit_code = _work(name, log, "-merge=1", "-use_counters=0", kept, str(folder))
        found = [path.read_bytes() for path in sorted(Path(kept).iterdir())]
        if exit_code or not found:
            raise SystemExit(f"cannot minimise the corpus of {name}: {log}")
    shutil.rmtree(folder)
    write_inputs(folder, found)
    return found


def _work(name: str, log: Path, *arguments: str) -> int:
    """Run the worker for a target, its output in a file; the exit code."""
    import ckptparse  # the worker takes the same, wherever it is

    place = str(Path(ckptparse.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": place, "PYTHONHASHSEED": "0"}
    with open(log, "wb") as file:
        return subprocess.run(
            [*worker_command(name), *arguments],
            stdout=file,
            stderr=file,
            env=environment,
            check=False,
        ).returncode


def worker_command(name: str) -> list[str]:
    """How the worker of a target is called."""
    return [sys.executable, str(Path(__file__).parent), _WORKER, name]


def _tail(text: str) -> str:
    """What libFuzzer and Python say of a finding."""
    start = text.rfind("=== Uncaught Python exception")
    lines = text[start if start >= 0 else -4000 :].splitlines()
    return "\n".join(f"  {line}" for line in lines[:40])
