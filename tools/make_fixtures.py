"""Make the checkpoints in `fixtures/` with several versions of TensorFlow.

    python tools/make_fixtures.py                                make every case
    python tools/make_fixtures.py --only 2.21.0/slices 1.15.5    one case, and all of a version
    python tools/make_fixtures.py --check                        compare hashes (no TensorFlow)

Needs Python >= 3.10. To make fixtures, it also needs the Python versions in `environments.py`. Each
case runs in a separate process, because graphs and layer names are global state in TensorFlow, and
because some TensorFlow errors end the process.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import environments
import manifest
from catalogue import READING, Case, cases

RUN_CASE = Path(__file__).resolve().parent / "run_case.py"

# One thread and no oneDNN, so that sums are always computed in the same order. No GPU, no log.
SETTINGS = {
    "CUDA_VISIBLE_DEVICES": "",
    "OMP_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TZ": "UTC",  # zip archives have local times
    "TF_ENABLE_ONEDNN_OPTS": "0",
}


class CaseError(Exception):
    """The process of a case failed; the text is its output."""


def make(case: Case, python: Path) -> dict:
    """Run one case, move its files to `fixtures/`, and return its entry for the manifest."""
    with tempfile.TemporaryDirectory() as scratch:
        made, report = Path(scratch, "made"), Path(scratch, "report.json")
        made.mkdir()
        # The folder is the working directory, so that TensorFlow writes relative paths.
        run = subprocess.run(
            [python, RUN_CASE, case.topic, case.name, report],
            cwd=made,
            env={**os.environ, **SETTINGS},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        if run.returncode or not report.exists():
            raise CaseError(f"exit {run.returncode}\n{run.stdout}")
        target = manifest.FIXTURES / case.folder
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(made, target)
        facts = json.loads(report.read_text())
    return manifest.describe(target, case.generator, facts["purpose"], facts["made_with"])


def make_all(wanted: list[Case], environments_folder: Path) -> int:
    """Make the wanted cases; return how many failed. A failed case keeps its old files."""
    recorded = manifest.read()
    current = {case.folder for case in cases()}
    for folder in recorded.keys() - current:  # no longer in the catalogue
        del recorded[folder]
        shutil.rmtree(manifest.FIXTURES / folder, ignore_errors=True)
    first = [case for case in wanted if case.topic not in READING]
    then = [case for case in wanted if case.topic in READING]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        builds = {
            version: pool.submit(
                environments.build, environments.ENVIRONMENTS[version], environments_folder
            )
            for version in dict.fromkeys(case.version for case in wanted)
        }
        pythons = {version: build.result() for version, build in builds.items()}
        return sum(make_batch(batch, pythons, pool, recorded) for batch in (first, then))


def make_batch(
    batch: list[Case], pythons: dict[str, Path], pool: ThreadPoolExecutor, recorded: dict[str, dict]
) -> int:
    """Make cases that do not depend on each other; return how many failed."""
    failed = 0
    runs = {pool.submit(make, case, pythons[case.version]): case for case in batch}
    for run in as_completed(runs):
        case = runs[run]
        try:
            recorded[case.folder] = run.result()
        except CaseError as error:
            failed += 1
            print(f"FAILED {case.folder}: {error}", file=sys.stderr, flush=True)
        else:
            # After each case, so that the manifest is right even if the command is interrupted.
            manifest.write(recorded)
            print(f"made   {case.folder}", flush=True)
    return failed


def select(only: list[str]) -> list[Case]:
    """Return the cases with the names VERSION or VERSION/CASE; all cases if there are no names."""
    wanted = [
        case
        for case in cases()
        if not only or case.version in only or f"{case.version}/{case.name}" in only
    ]
    known = {name for case in cases() for name in (case.version, f"{case.version}/{case.name}")}
    if unknown := sorted(set(only) - known):
        raise SystemExit(f"no such case: {', '.join(unknown)}")
    return wanted


def check() -> int:
    """Print every difference from the manifest; return the number of differences."""
    differences = list(manifest.differences())
    for line in differences:
        print(line, file=sys.stderr)
    for line in manifest.outdated():
        print(f"note: {line}", file=sys.stderr)
    return len(differences)


def main() -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[], metavar="VERSION[/CASE]")
    parser.add_argument(
        "--environments",
        type=Path,
        default=environments.DEFAULT_FOLDER,
        metavar="DIR",
        help="where the virtual environments are kept or built (default: .environments/)",
    )
    parser.add_argument("--check", action="store_true", help="only compare files with the manifest")
    arguments = parser.parse_args()
    if arguments.check:
        return int(check() > 0)
    return int(make_all(select(arguments.only), arguments.environments.resolve()) > 0)


if __name__ == "__main__":
    sys.exit(main())
