"""Directories with checkpoints of one value each, and state files that name them.

For tests of which checkpoint is found: `value_at` tells which of them a path leads to.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ckptparse import open_checkpoint
from support.builders import write_bundle


def write_value(folder: Path, value: float, name: str = "model.ckpt") -> Path:
    """Write a checkpoint of one tensor, `x`, and return its prefix.

    An empty name gives the prefix "folder/", as TensorFlow saves it: files ".index" and so on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    prefix = write_bundle(folder, {"x": np.full(2, value, "f4")}, name=name or "nameless")
    if not name:
        for path in folder.glob("nameless.*"):
            path.rename(folder / path.name.removeprefix("nameless"))
    return prefix


def value_at(path: Path | str, **options: object) -> float:
    """The value of the checkpoint that a path leads to."""
    with open_checkpoint(path, **options) as ckpt:
        return float(ckpt["x"][0])


def write_state(folder: Path, latest: str, *kept: str) -> None:
    """Write a state file: the latest checkpoint, and all that are kept."""
    lines = [f"model_checkpoint_path: {json.dumps(latest)}"]
    lines += [f"all_model_checkpoint_paths: {json.dumps(path)}" for path in kept]
    (folder / "checkpoint").write_text("\n".join(lines))


def write_escaped_state(folder: Path, latest: str | bytes) -> None:
    """Write a state file whose path may be any bytes: each is written as an escape."""
    raw = latest.encode("utf-8", "surrogatepass") if isinstance(latest, str) else latest
    text = "".join(f"\\{byte:03o}" for byte in raw)
    (folder / "checkpoint").write_text(f'model_checkpoint_path: "{text}"\n')
