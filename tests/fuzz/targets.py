"""The targets by name.  Each is a module with `run`, `mutate` and `seeds`."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from random import Random
from typing import Protocol

from fuzz.noise import Noise

NAMES = (
    *("table", "bundle", "saved_slices", "state", "object_graph", "meta_graph"),
    *("frozen_graph", "safetensors", "npz", "archive", "keras_h5"),
)


class Target(Protocol):
    """What is fuzzed."""

    def run(self, data: bytes) -> None:
        """Feed the bytes to the reader; whatever is raised is a finding."""
        ...

    def mutate(self, data: bytes, rng: Random, noise: Noise) -> bytes:
        """Bytes that differ in a way that means something."""
        ...

    def seeds(self) -> Iterator[bytes]:
        """Inputs to begin with, from the fixtures."""
        ...


def load_target(name: str) -> Target:
    """A target by its name."""
    module: Target = import_module(f"fuzz.{name}")
    return module
