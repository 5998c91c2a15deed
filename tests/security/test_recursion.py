"""Deeply nested files: no function calls itself as deep as a file says.

A child process lowers the interpreter's recursion limit to a few dozen calls more than reading
takes, then reads files that are nested in every possible way.  Protobuf's parsers have their own
limit; its error is turned into one of ours.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from support.builders import (
    bundle_entry,
    bundle_header,
    bytes_field,
    masked_crc32c,
    string_payload,
    table,
    varint,
)
from support.builders import varint_field as number
from support.children import output_of

CODE = """
    import contextlib, io, sys, warnings
    from ckptparse import CheckpointError, open_checkpoint
    from ckptparse.commands import main

    def use(path):
        with open_checkpoint(path) as ckpt:
            ckpt.infos()
            for name in list(ckpt)[:3]:
                ckpt[name]
            ckpt.verify()
            if ckpt.object_graph is not None:
                objects = ckpt.object_graph
                list(objects), list(objects.subtree("")), list(objects.model_weights())
                repr(objects), repr(objects.node(objects.num_nodes - 1))
            if ckpt.meta_graph is not None:
                repr(ckpt.meta_graph), ckpt.meta_graph.variables_to_restore()

    def commands(path):
        for command in ("ls", "tree", "graph"):
            silence = io.StringIO()
            with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
                main([command, path])

    def run(action, path):
        try:
            action(path)
            return "done"
        except CheckpointError as error:
            return type(error).__name__

    sound, *paths = sys.argv[1:]
    for path in (sound, *paths):  # what is imported or compiled at first need
        for action in (use, commands):
            run(action, path)
    sys.setrecursionlimit(120)
    for path in paths:
        print(run(use, path), run(commands, path))
"""


def nested(depth: int, field: int) -> bytes:
    """A message in a message in a message."""
    lengths = []
    nbytes = 0
    for _ in range(depth):
        header = varint(field << 3 | 2) + varint(nbytes)
        lengths.append(header)
        nbytes += len(header)
    return b"".join(reversed(lengths))


def write_index(folder: Path, entries: dict[bytes, bytes], shard: bytes = b"") -> Path:
    folder.mkdir(exist_ok=True)
    index = table([(b"", bundle_header()), *sorted(entries.items())])
    (folder / "model.ckpt.index").write_bytes(index)
    (folder / "model.ckpt.data-00000-of-00001").write_bytes(shard)
    return folder / "model.ckpt"


def write_graph(folder: Path, graph: bytes) -> Path:
    payload, crc = string_payload([graph])
    entry = bundle_entry(7, [], size=len(payload), crc=crc)
    return write_index(folder, {b"_CHECKPOINTABLE_OBJECT_GRAPH": entry}, payload)


def chain(depth: int) -> bytes:
    """A graph of objects, each the child of the one before; the last has a variable."""
    nodes = [bytes_field(1, number(1, i + 1) + bytes_field(2, b"next")) for i in range(depth - 1)]
    attribute = bytes_field(1, b"VARIABLE_VALUE") + bytes_field(3, b"v")
    nodes.append(bytes_field(2, attribute))
    return b"".join(bytes_field(1, node) for node in nodes)


@pytest.mark.parametrize("depth", [2_000, pytest.param(20_000, marks=pytest.mark.exhaustive)])
def test_nothing_calls_itself_as_deep_as_a_file_is(depth: int, tmp_path: Path) -> None:
    sound = write_graph(tmp_path / "sound", chain(2))
    graph = bytes_field(1, bytes_field(5, b"1.15.5"))
    deep = {
        "an entry": write_index(tmp_path / "a", {b"v": nested(depth, 2)}),
        "unknown fields of an entry": write_index(tmp_path / "b", {b"v": nested(depth, 99)}),
        "unknown groups": write_index(tmp_path / "c", {b"v": b"\x9b\x06" * depth}),
        "a chain of objects": write_graph(tmp_path / "d", chain(depth)),
        "a graph of messages": write_graph(tmp_path / "e", nested(depth, 1)),
        "a name of many parts": write_index(
            tmp_path / "f", {b"a/" * depth + b"v": bundle_entry(1, [0], crc=masked_crc32c())}
        ),
    }
    for name, field in (("nodes", 2), ("info", 1), ("objects", 7)):
        prefix = write_index(tmp_path / name, {})
        Path(f"{prefix}.meta").write_bytes(graph + bytes_field(field, nested(depth, 1)))
        deep[f"a .meta's {name}"] = prefix
    folder = tmp_path / "saved_model"
    write_index(folder, {})
    (folder / "variables").mkdir()
    for path in folder.glob("model.ckpt.*"):
        path.rename(folder / "variables" / path.name.replace("model.ckpt", "variables"))
    (folder / "saved_model.pbtxt").write_text("meta_graphs {" * depth + "}" * depth)
    deep["a graph as text"] = folder
    said = output_of(CODE, sound, *deep.values())
    assert len(said) == len(deep)
    for name, line in zip(deep, said):
        assert set(line.split()) <= {"done", "CorruptCheckpointError", "UnsupportedError"}, name
    assert said[3] == "done done"
