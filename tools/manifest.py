"""Read, write and check `fixtures/manifest.json`.

It records how each case was made, and the size and SHA-256 of each file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
FIXTURES = REPOSITORY / "fixtures"
MANIFEST = FIXTURES / "manifest.json"


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read() -> dict[str, dict]:
    """Return the cases of the manifest by folder ("tf-2.21.0/slices")."""
    return json.loads(MANIFEST.read_text())["cases"] if MANIFEST.exists() else {}


def write(cases: dict[str, dict]) -> None:
    """Write the manifest, with the cases in the order of their folders."""
    ordered = {folder: cases[folder] for folder in sorted(cases)}
    MANIFEST.write_text(json.dumps({"cases": ordered}, indent=1) + "\n")


def describe(folder: Path, generator: Path, purpose: str, made_with: dict[str, str]) -> dict:
    """Return the entry of the manifest for the case with its files in `folder`."""
    return {
        "purpose": purpose,
        "format": format_of(folder),
        "generator": generator.relative_to(REPOSITORY).as_posix(),
        "generator_sha256": sha256(generator),
        "made_with": made_with,
        "files": {
            path.relative_to(folder).as_posix(): {
                "size": path.stat().st_size,
                "sha256": sha256(path),
            }
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        },
    }


def format_of(folder: Path) -> str:
    """Return the format, as its expected.json says.

    "keras" for a case with expected_keras.json, "answers" for a case without any such file.
    """
    if (folder / "expected_keras.json").exists():
        return "keras"
    expected = folder / "expected.json"
    if not expected.exists():
        return "answers"
    return json.loads(expected.read_text()).get("format", "v2")


def differences() -> Iterator[str]:
    """Yield each difference between the files in `fixtures/` and the manifest."""
    cases = read()
    if not cases:
        yield f"{MANIFEST.relative_to(REPOSITORY)} is missing"
    expected = {
        FIXTURES / folder / name: facts
        for folder, case in cases.items()
        for name, facts in case["files"].items()
    }
    for path, facts in expected.items():
        shown = path.relative_to(REPOSITORY)
        if not path.is_file():
            yield f"{shown} is missing"
        elif path.stat().st_size != facts["size"]:
            yield f"{shown} has {path.stat().st_size} bytes, {facts['size']} expected"
        elif sha256(path) != facts["sha256"]:
            yield f"{shown} has another SHA-256 than in the manifest"
    for path in sorted(FIXTURES.glob("*/**/*")):
        if path.is_file() and path not in expected:
            yield f"{path.relative_to(REPOSITORY)} is not in the manifest"


def outdated() -> Iterator[str]:
    """Yield a note for each case whose generator has changed since the case was made."""
    for folder, case in read().items():
        generator = REPOSITORY / case["generator"]
        if not generator.is_file() or sha256(generator) != case["generator_sha256"]:
            yield f"{folder} was made by another version of {case['generator']}"
