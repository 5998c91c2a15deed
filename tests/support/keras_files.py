"""The Keras files of fixtures/, and what h5py and Keras read of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from support.repository import FIXTURES
from support.stored_arrays import Array, StoredCase

FILES = {
    "keras-2.2.4/keras_h5": ("model.h5",),
    "keras-2.2.4/keras_long_names": ("weights.h5",),
    "tf-2.13.1/keras_h5": ("model.h5", "model.keras"),
    "tf-2.21.0/keras_h5": ("model.h5", "model.keras"),
    "tf-2.21.0/keras_dtypes": ("model.weights.h5",),
    "tf-2.21.0/keras_layouts": ("chunked.weights.h5", "latest.weights.h5"),
}
"""Case -> its files."""


@dataclass(frozen=True)
class KerasCase(StoredCase):
    """A file with the variables that Keras had after it loaded the file.

    Attributes:
        layers: name of a layer -> names and values of its variables.
        optimizer: names and values of the variables of the optimizer.
        stored_at: name of a tensor -> its position, as h5py tells it.
    """

    layers: dict[str, list[tuple[str, Array]]]
    optimizer: list[tuple[str, Array]]
    stored_at: dict[str, int | None]


@lru_cache(maxsize=None)
def load_keras(name: str, file: str) -> KerasCase:
    """A file of a case."""
    folder = FIXTURES / name
    said = json.loads((folder / "expected_keras.json").read_text())["files"][file]
    payloads = (folder / "expected_keras.bin").read_bytes()

    def array_of(tensor: dict[str, Any]) -> Array:
        # h5py does not know bfloat16: it returns two bytes
        name = "bfloat16" if tensor["dtype"] in ("void16", "bfloat16") else tensor["dtype"]
        dtype = np.dtype(getattr(ml_dtypes, name) if name == "bfloat16" else name)
        payload = payloads[tensor["offset"] :][: tensor["nbytes"]]
        return np.ndarray(tensor["shape"], dtype, payload)

    def variables_of(tensors: list[dict[str, Any]]) -> list[tuple[str, Array]]:
        return [(tensor["name"], array_of(tensor)) for tensor in tensors]

    stored: dict[str, Array | None] = {
        tensor["name"]: array_of(tensor) for tensor in said["tensors"]
    }
    layers = {layer["name"]: variables_of(layer["weights"]) for layer in said["layers"]}
    optimizer = variables_of(said["optimizer"])
    if "layouts" in name:
        stored["note"] = None  # a text
    others = sorted(stored.keys() - set(said["listed"]), key=by_number)
    arrays = {name: stored[name] for name in [*said["listed"], *others]}
    return KerasCase(
        folder / file,
        "keras" if file.endswith(".keras") else "keras-h5",
        arrays,
        [],
        layers,
        optimizer,
        {tensor["name"]: tensor["stored_at"] for tensor in said["tensors"]},
    )


def by_number(name: str) -> list[tuple[int, str]]:
    """A key that sorts numbers as numbers."""
    return [(int(part) if part.isdigit() else -1, part) for part in name.split("/")]


def keras_cases(format: str = "") -> Iterator[Any]:
    """Parameters: all files, or those of a format."""
    for name, files in FILES.items():
        for file in files:
            case = load_keras(name, file)
            if format in ("", case.format):
                yield pytest.param(case, id=f"{name}/{file}")
