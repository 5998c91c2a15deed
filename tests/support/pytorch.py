"""PyTorch, from version 1.12.  If it is not installed, an import of this module skips the test."""

from __future__ import annotations

from inspect import signature
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")


def require(version: str) -> None:
    """Skip the test if PyTorch is older than a version, such as "2.1"."""
    installed = torch.__version__.partition("+")[0]
    if tuple(map(int, installed.split(".")[:2])) < tuple(map(int, version.split("."))):
        pytest.skip(f"needs PyTorch {version}, this is {installed}")


def load(path: Any, **options: Any) -> dict[str, Any]:
    """``torch.load`` of a dict of tensors; with ``weights_only``, which there is since 1.13."""
    if "weights_only" in signature(torch.load).parameters:
        options["weights_only"] = True
    loaded: dict[str, Any] = torch.load(path, **options)
    return loaded


def has_dtype(name: str) -> bool:
    """Whether there is a dtype: float8 since 2.1, uint16, uint32 and uint64 since 2.3."""
    return hasattr(torch, name)


def bits_of(tensor: Any) -> bytes:
    """The elements of a tensor as bytes."""
    bits: bytes = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return bits
