"""What TensorFlow listed and read of the checkpoints in fixtures/."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from support.repository import FIXTURES


@dataclass(frozen=True)
class Expected:
    """One tensor as TensorFlow listed and read it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    read_by: str | None
    payload: bytes


@dataclass(frozen=True)
class Case:
    """One checkpoint of fixtures/ and what TensorFlow read of it."""

    folder: Path
    format: str
    prefix: Path
    path: Path
    tensors: tuple[Expected, ...]
    errors: Any

    def __str__(self) -> str:
        return "/".join(self.folder.parts[-2:])


@lru_cache(maxsize=None)
def load_case(name: str) -> Case:
    """A case by "version/name"."""
    folder = FIXTURES / name
    said = json.loads((folder / "expected.json").read_text())
    payloads = (folder / "expected.bin").read_bytes()
    tensors = []
    for tensor in said["tensors"]:
        key = bytes.fromhex(tensor["name_hex"]) if "name_hex" in tensor else tensor["name"].encode()
        payload = payloads[tensor["offset"] : tensor["offset"] + tensor["nbytes"]]
        tensors.append(
            Expected(
                key.decode("utf-8", "surrogateescape"),
                tensor["dtype"],
                tuple(tensor["shape"]),
                tensor["read_by"],
                payload,
            )
        )
    prefix, path = said["prefix"], said.get("path", said["prefix"])
    return Case(
        folder,
        said.get("format", "v2"),
        folder / prefix,
        folder / path,
        tuple(tensors),
        said.get("errors"),
    )


def case_names(format: str = "") -> list[str]:
    """Cases of TensorFlow with expected tensors, "version/name"; all, or those of one format."""
    manifest = json.loads((FIXTURES / "manifest.json").read_text())
    return sorted(
        name
        for name, case in manifest["cases"].items()
        if "expected.json" in case["files"] and case["format"] in (format or ("v1", "v2"))
    )


def payload_of(array: np.ndarray[Any, Any]) -> bytes:
    """An array in the form of expected.bin."""
    if array.dtype == object:
        return b"".join(len(x).to_bytes(8, "little") + x for x in array.ravel().tolist())
    return np.ascontiguousarray(array).tobytes()


# Two cases that many tests read

VGG = load_case("tf-1.15.5/vgg_16")
FC6 = "vgg_16/fc6/weights"
"""VGG's largest tensor."""

PARTITIONED = load_case("tf-2.21.0/max_shard_size")
MATRIX = "matrix/.ATTRIBUTES/VARIABLE_VALUE"
"""A tensor of PARTITIONED that is stored in slices of several data files."""


def expected_array(case: Case, name: str) -> np.ndarray[Any, Any]:
    """The array that TensorFlow read."""
    tensor = next(tensor for tensor in case.tensors if tensor.name == name)
    return np.frombuffer(tensor.payload, tensor.dtype).reshape(tensor.shape)
