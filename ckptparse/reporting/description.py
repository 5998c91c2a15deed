"""Say what a checkpoint is: its format, its versions, and the metadata that its files have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ckptparse.checkpoint import Checkpoint
from ckptparse.display.text import count, printable
from ckptparse.errors import CheckpointError
from ckptparse.formats.containers import CONTAINERS

_FORMATS = {
    "v1": "TensorFlow checkpoint, V1",
    "v2": "TensorFlow checkpoint, V2",
    "keras-h5": "HDF5 file of Keras",
    "keras": "archive of Keras",
    "frozen-graph": "frozen graph of TensorFlow",
    "npz": "archive of numpy (.npz)",
    "safetensors": "safetensors",
}

_MOST_METADATA = 12
_LONGEST_METADATA = 200


class Facts(NamedTuple):
    """What a checkpoint is.

    Attributes:
        format: its format, in words.
        rows: pairs of a label and a text.
    """

    format: str
    rows: tuple[tuple[str, str], ...]


def describe(ckpt: Checkpoint) -> Facts:
    """Return the format of a checkpoint, and what its files say of it."""
    return Facts(_FORMATS.get(ckpt.format, ckpt.format), tuple(_find_facts(ckpt)))


def last_part(path: str) -> tuple[str, str]:
    """Return the directory and the last part of a path or URL.

    The page shows only the last part: it may be sent to people who need not know the names of
    directories and users, or the parameters of a URL.  Of a SavedModel, whose last parts are always
    "variables/variables", the name of its directory is added.
    """
    path = path.replace("\\", "/") if "/" not in path else path
    if "://" in path:
        path = path.partition("?")[0]
    parts = path.rstrip("/").split("/")
    num_kept = 3 if parts[-2:] == ["variables", "variables"] else 1
    title = "/".join(parts[-num_kept:])
    return path.rstrip("/")[: -len(title)] if title else "", title


def _find_facts(ckpt: Checkpoint) -> Iterator[tuple[str, str]]:
    """Yield labels and texts.  Damage becomes a text, because a report must not end with it."""
    if len(ckpt.files) > 1:
        yield "files", f"{len(ckpt.files):,}"
    try:
        if ckpt.format in CONTAINERS:
            yield from _find_metadata(ckpt.metadata)
        elif ckpt.object_graph is not None:
            yield "object graph", count(len(ckpt.object_graph), "object")
    except CheckpointError as error:
        yield "metadata", f"damaged: {error.message}"
    if ckpt.format in CONTAINERS:
        return
    try:
        graph = ckpt.meta_graph
    except CheckpointError as error:
        yield "graph file", f"damaged: {error.message}"
        return
    if graph is not None:
        version = graph.tensorflow_version
        yield "graph file", f"written by TensorFlow {version}" if version else "there is one"


def _find_metadata(metadata: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the metadata that are texts or numbers, the first few."""
    texts = [(key, value) for key, value in metadata.items() if isinstance(value, (str, int))]
    for key, value in texts[:_MOST_METADATA]:
        yield _shorten(key), _shorten(str(value))
    if len(texts) > _MOST_METADATA:
        yield "more metadata", f"{len(texts) - _MOST_METADATA:,} texts are not shown"


def _shorten(text: str) -> str:
    """Return a text without control characters, cut if it is long."""
    more = "" if len(text) <= _LONGEST_METADATA else f" ... ({count(len(text), 'letter')})"
    return printable(text[:_LONGEST_METADATA]) + more
