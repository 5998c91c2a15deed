"""Target: `.meta`, `saved_model.pb`, `saved_model.pbtxt` and a GraphDef, binary and as text.

Every input is tried as each of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from ckptparse.metagraph import (
    MetaGraph,
    find_graph_file,
    parse_meta_graph,
    parse_saved_model,
    read_graph_file,
)
from fuzz.fixtures import MOST_NBYTES, find_files
from fuzz.memory import MemoryFiles
from fuzz.messages import Field, Message, Undecodable, change_message, decode
from fuzz.noise import Noise
from fuzz.outcomes import outcome, require, require_same
from fuzz.texts import change_text

_PATHS = {
    "/m/model.meta": "/m/model",
    "/s/saved_model.pb": "/s/variables/variables",
    "/t/saved_model.pbtxt": "/t",
    "/g/graph.pb": "/g/graph.pb",
    "/g/graph.pbtxt": "/g/graph.pbtxt",
}


def run(data: bytes) -> None:
    """Read a graph file from memory and from disk."""
    outcomes = {}
    for path, asked in _PATHS.items():
        files = [MemoryFiles({path: data}, maps=maps) for maps in (True, False)]
        require(find_graph_file(files[0], asked) == path, "found another file")
        read, copied = (outcome(lambda f=each, p=path: read_graph_file(f, p)) for each in files)
        require_same(read, copied, path, "mapped and copied")
        if isinstance(read.value, MetaGraph):
            _use(read.value)
            for tags in read.value.all_tags[:4]:
                outcome(lambda f=files[0], p=path, t=tags: read_graph_file(f, p, t))
        outcomes[path] = read
    meta, model, *_ = outcomes.values()
    if meta.error is None:
        require(parse_meta_graph(data) == meta.value, "of memory another .meta")
    if model.error is None:
        require(parse_saved_model(data) == model.value, "of memory another SavedModel")


def _use(graph: MetaGraph) -> None:
    repr(graph)
    graph.variables_to_restore()
    for variable in graph.variables:
        repr(variable)
    require(set(graph.trainable_variables) <= set(graph.variables), "trainable variables")
    repr((graph.moving_averages, graph.slot_variables, graph.signatures, graph.saver))


def mutate(data: bytes, rng: Random, noise: Noise) -> bytes:
    """Another graph file."""
    if _is_text(data):
        return change_text(data, rng, noise)
    try:
        message = decode(data, _guess(data))
    except Undecodable:
        return noise(data)
    for _ in range(rng.choice([1, 1, 2, 4])):
        change_message(message, rng, noise)
    return bytes(message)


def _is_text(data: bytes) -> bool:
    return bool(data) and all(byte >= 0x20 or byte in b"\n\r\t" for byte in data[:64])


def _guess(data: bytes) -> str:
    """A MetaGraphDef begins with its info or its graph, a SavedModel with its version."""
    return "SavedModel" if data[:1] == b"\x08" else "MetaGraphDef"


def seeds() -> Iterator[bytes]:
    """Graphs of the fixtures, cut down to a few nodes of each kind."""
    names = ("*.meta", "saved_model.pb")
    for path in sorted(path for name in names for path in find_files(name)):
        data = path.read_bytes()
        for num_nodes in (3, 2, 1):
            small = bytes(_shorten(decode(data, _guess(data)), num_nodes))
            if len(small) <= MOST_NBYTES:
                yield small
                break
    for path in find_files("saved_model.pbtxt"):
        yield _shorten_text(path.read_bytes())


def _shorten(message: Message, num_nodes: int) -> Message:
    """Without long constants, documentation, and more than a few fields alike in one message."""
    for node in list(message.walk()):
        seen: dict[object, int] = {}
        kept = []
        for item in node.fields:
            kind = _kind(node, item)
            seen[kind] = seen.get(kind, 0) + 1
            if seen[kind] <= num_nodes and (isinstance(item.value, (int, Message)) or _short(item)):
                kept.append(item)
        node.fields = kept
    return message


def _kind(node: Message, item: Field) -> object:
    """Fields of a kind: nodes of one operation, other fields of one number."""
    if node.schema == "GraphDef" and item.number == 1 and isinstance(item.value, Message):
        return b"".join(bytes(op) for op in item.value.all(2))
    return item.number


def _short(item: Field) -> bool:
    return isinstance(item.value, bytes) and len(item.value) <= 200


def _shorten_text(text: bytes) -> bytes:
    """The beginning of a text, with its braces closed."""
    lines = text[:4000].splitlines(keepends=True)[:-1]
    depth = sum(line.count(b"{") - line.count(b"}") for line in lines)
    return b"".join(lines) + b"}\n" * depth
