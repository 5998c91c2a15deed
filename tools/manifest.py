"""`fixtures/manifest.json`: what made each case, and the size and SHA-256 of each file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
FIXTURES = REPOSITORY / "fixtures"
MANIFEST = FIXTURES / "manifest.json"


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read() -> dict[str, dict]:
    """The cases of the manifest by their folder, "tf-2.21.0/slices"."""
    return json.loads(MANIFEST.read_text())["cases"] if MANIFEST.exists() else {}


def write(cases: dict[str, dict]) -> None:
    """Write the manifest, cases in the order of their names."""
    ordered = {folder: cases[folder] for folder in sorted(cases)}
    MANIFEST.write_text(json.dumps({"cases": ordered}, indent=1) + "\n")


def describe(folder: Path, generator: Path, purpose: str, made_with: dict[str, str]) -> dict:
    """The manifest's entry for the case whose files are in `folder`."""
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
    """What its expected.json is about, "v1" or "v2"; "answers" for a case without one."""
    expected = folder / "expected.json"
    if not expected.exists():
        return "answers"
    return json.loads(expected.read_text()).get("format", "v2")


def differences() -> Iterator[str]:
    """Each way in which the files below `fixtures/` are not those of the manifest."""
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
    for path in sorted(FIXTURES.glob("tf-*/**/*")):
        if path.is_file() and path not in expected:
            yield f"{path.relative_to(REPOSITORY)} is not in the manifest"


def outdated() -> Iterator[str]:
    """Each case whose generator has changed since it was made."""
    for folder, case in read().items():
        generator = REPOSITORY / case["generator"]
        if not generator.is_file() or sha256(generator) != case["generator_sha256"]:
            yield f"{folder} was made by another version of {case['generator']}"
