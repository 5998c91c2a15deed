"""The saved inputs: a zip file for each target, without timestamps."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "corpus"

_NO_TIME = (1980, 1, 1, 0, 0, 0)


def name_of(data: bytes) -> str:
    """An input's name, as libFuzzer gives it."""
    return hashlib.sha1(data).hexdigest()


def load_corpus(target: str) -> list[bytes]:
    """The saved inputs of a target."""
    path = FOLDER / f"{target}.zip"
    if not path.exists():
        return []
    with zipfile.ZipFile(path) as file:
        return [file.read(name) for name in file.namelist()]


def save_corpus(target: str, inputs: Iterable[bytes]) -> Path:
    """Put inputs in place of a target's saved ones."""
    named = sorted({name_of(data): data for data in inputs}.items())
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{target}.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name, data in named:
            info = zipfile.ZipInfo(name, _NO_TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(info, data)
    return path


def write_inputs(folder: Path, inputs: Iterable[bytes]) -> None:
    """Inputs as files, for libFuzzer."""
    folder.mkdir(parents=True, exist_ok=True)
    for data in inputs:
        (folder / name_of(data)).write_bytes(data)
