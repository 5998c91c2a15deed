"""Short ids of parameters, the same in each process, so that tests can be distributed."""

from __future__ import annotations

from typing import Any

import numpy as np

MOST_LETTERS = 48


def short(value: Any) -> str:
    """Return the text of a value in ASCII, cut after some letters."""
    text = str(value, "latin-1") if isinstance(value, bytes) else str(value)
    text = text.encode("unicode_escape").decode("ascii")
    return text if len(text) <= MOST_LETTERS else text[: MOST_LETTERS - 3] + "..."


def index_id(index: Any) -> str:
    """Return an index as it is written between brackets: ``0,::-1,...``; arrays by their shape."""
    if isinstance(index, tuple):
        return ",".join(map(index_id, index)) if index else "()"
    if isinstance(index, slice):
        bounds = [index.start, index.stop] + ([index.step] if index.step is not None else [])
        return ":".join("" if bound is None else str(bound) for bound in bounds)
    if index is Ellipsis:
        return "..."
    if isinstance(index, np.ndarray):
        return f"{index.dtype}{index.shape}".replace(" ", "")
    return short(index).replace(" ", "")
