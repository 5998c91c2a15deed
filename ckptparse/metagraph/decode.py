"""Types and shapes as graphs have them, which may say less than those of tensors."""

from __future__ import annotations

from typing import Any

from ckptparse.dtypes import lookup
from ckptparse.metagraph.graph import Shape


def decode_dtype(number: int) -> str | None:
    """TensorFlow's name of a type; None for DT_INVALID, which says nothing."""
    return lookup(number).name if number else None


def decode_shape(message: Any) -> Shape:
    """The sizes of a TensorShapeProto, None for one that varies; None for any rank."""
    if message.unknown_rank:
        return None
    return tuple(None if dim.size < 0 else dim.size for dim in message.dim)
