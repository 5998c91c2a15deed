"""Target: the constants of a `.pb` or `.pbtxt` file."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from random import Random

from ckptparse import Checkpoint
from ckptparse.formats.frozen_graph import open_frozen_graph
from fuzz.checkpoints import use_checkpoint
from fuzz.fixtures import MOST_NBYTES, find_files
from fuzz.memory import source
from fuzz.messages import Field, Message, Undecodable, change_message, decode
from fuzz.noise import Noise
from fuzz.texts import change_text

_PART_NBYTES = 3000
_END_OF_NODE = b"\n}\n"


def run(data: bytes) -> None:
    """Use all constants of a graph in every way."""
    name = "graph.pbtxt" if _is_text(data) else "graph.pb"

    def open_(mapped: bool, verify: bool) -> Checkpoint:
        opened = source(name, data, mapped=mapped)
        return Checkpoint(open_frozen_graph(opened, verify=verify, all_constants=True))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of bad escapes, in protobuf
        use_checkpoint(open_, lambda: [])


def _is_text(data: bytes) -> bool:
    return bool(data) and all(byte >= 0x20 or byte in b"\n\r\t" for byte in data[:64])


def mutate(data: bytes, rng: Random, noise: Noise) -> bytes:
    """Another graph."""
    if _is_text(data):
        return change_text(data, rng, noise)
    try:
        message = decode(data, _guess(data))
    except Undecodable:
        return noise(data)
    for _ in range(rng.choice([1, 1, 2, 4])):
        change_message(message, rng, noise)
    return bytes(message)


def _guess(data: bytes) -> str:
    """A GraphDef begins with a node, a SavedModel with its version."""
    return "SavedModel" if data[:1] == b"\x08" else "GraphDef"


def seeds() -> Iterator[bytes]:
    """Graphs of the fixtures, and parts of them."""
    for path in find_files("frozen*.pbtxt"):
        nodes = path.read_bytes().split(_END_OF_NODE)
        while len(_END_OF_NODE.join(nodes)) > MOST_NBYTES:
            del nodes[max(range(len(nodes)), key=lambda i: len(nodes[i]))]
        yield _END_OF_NODE.join(nodes)
    for name in ("constants.pb", "frozen*.pb", "quantized_graph.pb", "saved_model.pb"):
        for path in find_files(name):
            data = path.read_bytes()
            if len(data) <= MOST_NBYTES:
                yield data
            yield from _parts(decode(data, _guess(data)))


def _parts(message: Message) -> Iterator[bytes]:
    """Graphs of the consecutive nodes of a graph that are constants."""
    kept: list[Field] = []
    for item in message.fields:
        is_constant = isinstance(item.value, Message) and any(
            bytes(op.value) == b"Const" for op in item.value.all(2) if isinstance(op.value, bytes)
        )
        if not is_constant or len(bytes(item)) > _PART_NBYTES:
            continue
        if kept and sum(len(bytes(each)) for each in (*kept, item)) > _PART_NBYTES:
            yield bytes(Message("GraphDef", kept))
            kept = []
        kept.append(item)
    if kept:
        yield bytes(Message("GraphDef", kept))
