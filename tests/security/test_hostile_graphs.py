"""Object graphs and meta graphs with one wrong field: ids, lengths, numbers, depth."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckptparse import (
    Checkpoint,
    CheckpointError,
    CheckpointNotFoundError,
    ChecksumError,
    CorruptCheckpointError,
    TensorNotFoundError,
    open_checkpoint,
)
from ckptparse.metagraph import MetaGraph, Saver, read_graph_file
from ckptparse.objectgraph import KEY
from ckptparse.sources import LocalFiles
from support.builders import (
    Bundle,
    bundle_entry,
    bytes_field,
    groups,
    masked_crc32c,
    varint,
    varint_field,
    wrapped,
    write_bundle,
)
from support.damage import flip_bit
from support.hostile import (
    DEPTHS,
    FRESH,
    WAYS,
    Row,
    coded,
    each_case,
    field,
    field_rows,
    groups_in,
    opened,
    with_outcome,
)
from support.ids import short

LENGTHS = ["one more", "negative", "2**31", "2**63-1", "not minimal", "overlong"]
"""Codings of a length that only the length itself decides; a shorter one makes other fields."""


# Object graphs


def node(*fields: bytes) -> bytes:
    return bytes_field(1, b"".join(fields))


def child(name: bytes, node_id: bytes) -> bytes:
    return bytes_field(1, varint(1 << 3) + node_id + bytes_field(2, name))


def value(key: bytes) -> bytes:
    names = bytes_field(1, b"VARIABLE_VALUE") + bytes_field(2, b"full/" + key)
    return bytes_field(2, names + bytes_field(3, key))


def slot(original: bytes, variable: bytes) -> bytes:
    place = varint(1 << 3) + original + bytes_field(2, b"m") + varint(3 << 3) + variable
    return bytes_field(3, place)


def objects(
    *, child_id: bytes = varint(1), original: bytes = varint(1), variable: bytes = varint(3)
) -> bytes:
    """A root with a variable `v` (1) and an optimizer `o` (2), which keeps a slot variable (3)."""
    return b"".join(
        [
            node(child(b"v", child_id), child(b"o", varint(2))),
            node(value(b"v")),
            node(slot(original, variable)),
            node(value(b"m")),
        ]
    )


PATHS = {"v": "v", "v/.OPTIMIZER_SLOT/o/m": "m"}
"""Path -> key of the graph of no damage."""


def write_objects(folder: Path, serialized: bytes, *, edit: Any = None) -> Path:
    tensors = {KEY: np.array(serialized, object), "m": np.zeros(1, "f4"), "v": np.ones(1, "f4")}
    return write_bundle(folder, tensors, name="m", edit=edit)


ASKED: Mapping[str, Callable[[Checkpoint], object]] = {
    "list": lambda ckpt: list(ckpt.object_graph),
    "read": lambda ckpt: ckpt.object_graph["v"],
    "weights": lambda ckpt: list(ckpt.object_graph.model_weights()),
    "subtree": lambda ckpt: list(ckpt.object_graph.subtree("")),
    "outline": lambda ckpt: ckpt.object_graph.outline({i.name: i for i in ckpt.infos()}),
    "full names": lambda ckpt: ckpt.object_graph.full_names,
    "slots": lambda ckpt: [n.slot_variables for n in ckpt.object_graph.nodes()],
    "paths": lambda ckpt: [n.path for n in ckpt.object_graph.nodes()],
}


@dataclass(frozen=True)
class Objects:
    """A graph of these paths, each with its key, that answers every question."""

    keys: Mapping[str, str]
    num_nodes: int = 4

    def check(self, path: Path) -> None:
        for ckpt in opened(path, FRESH):
            require_tensors(ckpt)
            graph = ckpt.object_graph
            assert graph is not None
            assert graph.num_nodes == self.num_nodes
            assert {name: graph.checkpoint_key(name) for name in graph} == self.keys
            for question, put in ASKED.items():
                if question != "read":
                    put(ckpt)


@dataclass(frozen=True)
class NoObjects:
    """Some questions meet the damage; all others are answered, and every tensor is as it is."""

    words: str
    questions: tuple[str, ...] = tuple(ASKED)

    def check(self, path: Path) -> None:
        for way in WAYS[::3]:
            for question, put in ASKED.items():
                with open_checkpoint(path, **way) as ckpt:
                    require_tensors(ckpt)
                    if question not in self.questions:
                        put(ckpt)
                        continue
                    with pytest.raises(CorruptCheckpointError, match=self.words) as error:
                        put(ckpt)
                    assert error.value.tensor == KEY


def require_tensors(ckpt: Checkpoint) -> None:
    assert list(ckpt) == [KEY, "m", "v"]
    assert ckpt["v"].tolist() == [1.0]
    assert ckpt.verify().ok


NO_GRAPH = NoObjects("protocol buffer\n  expected: a TrackableObjectGraph")
NO_ID = "object graph\n  expected: ids from 0 to 3\n  found: "
NO_CHILD = NoObjects(NO_ID, ("list", "read", "weights", "subtree", "outline", "paths"))
NO_SLOT = NoObjects(NO_ID, ("list", "outline", "slots"))
SOUND = Objects(PATHS)
NO_SLOTS = Objects({"v": "v"})
SLOT_OF_ROOT = Objects({"v": "v", "/.OPTIMIZER_SLOT/o/m": "m"})
SLOT_OF_O = Objects({"v": "v", "o/.OPTIMIZER_SLOT/o/m": "m"})

IDS = {
    # The root is its own child, and nothing leads to the variable.
    "child_id": field(1, SOUND, NO_CHILD, NO_GRAPH, zero=Objects({}), one_more=None),
    "original": field(1, SOUND, NO_SLOT, NO_GRAPH, zero=SLOT_OF_ROOT, one_more=SLOT_OF_O),
    # Neither 0 nor 2 is a variable.
    "variable": field(3, SOUND, NO_SLOT, NO_GRAPH, below=NO_SLOTS),
}

test_ids_of_objects = each_case(
    write_objects,
    field_rows(IDS, lambda name, value: objects(**{name: value}))
    | {"child_id-one too large": (objects(child_id=varint(4)), NO_CHILD)},
)


OBJECT_CHAINS = {
    "child": (1, 1, 2),
    "attribute": (1, 2, 3),
    "slot": (1, 3, 2),
    "saver": (1, 4, 1),
    "value": (1, 5),
}
"""Numbers of fields from the graph down to a string, the last in all messages around it."""


def deep_length(numbers: tuple[int, ...], level: int, coding: str, payload: bytes) -> bytes:
    """A payload nested in fields of these numbers; the length at one level is in this coding."""
    for i, number in reversed(list(enumerate(numbers))):
        length = varint(len(payload))
        if i == level:
            # Protocol buffers take lengths of 5 bytes at most; we may be more patient, up to 10.
            length = coded(len(payload), coding, 5 if coding == "not minimal" else 10)
        payload = varint(number << 3 | 2) + length + payload
    return payload


test_lengths_in_an_object_graph = each_case(
    write_objects,
    {
        f"{chain}-{level}-{coding}": (
            node() + deep_length(numbers, level, coding, b"" if chain == "value" else b"name"),
            Objects({}, num_nodes=2) if coding == "not minimal" else NO_GRAPH,
        )
        for chain, numbers in OBJECT_CHAINS.items()
        for level in range(len(numbers))
        for coding in LENGTHS
    },
)

CYCLES = {
    "itself": node(child(b"a", varint(0))),
    "two": node(child(b"a", varint(1))) + node(child(b"a", varint(0))),
    "below the root": node(child(b"a", varint(1))) + node(child(b"a", varint(1))),
    "every object of every other": b"".join(
        node(*(child(b"%d" % i, varint(i)) for i in range(30)), value(b"v")) for _ in range(30)
    ),
    "a slot of itself": node(value(b"v"), slot(varint(0), varint(0))),
    "slots of slots": node(child(b"a", varint(1)))
    + node(value(b"v"), slot(varint(1), varint(2)))
    + node(value(b"m"), slot(varint(2), varint(1))),
}


@pytest.mark.parametrize("serialized", CYCLES.values(), ids=list(CYCLES))
def test_cycles_end(tmp_path: Path, serialized: bytes) -> None:
    path = write_objects(tmp_path, serialized)
    with open_checkpoint(path) as ckpt:
        graph = ckpt.object_graph
        assert graph is not None
        for question, put in ASKED.items():
            if question != "read":
                put(ckpt)
        assert len(set(graph)) == len(list(graph)) <= graph.num_nodes
        assert len(graph.outline({i.name: i for i in ckpt.infos()})) <= 1000


test_children_of_a_declared_size_of_gigabytes = each_case(
    write_objects,
    {
        str(count): b"\x0a" + varint(count) + b"\x0a\x00"
        for count in (2**31 - 1, 2**31, 2**32, 2**62)
    },
    NO_GRAPH,
)


KEYS = {
    "empty": b"",
    "gone": b"gone",
    "dots": b"../../v",
    "NUL": b"\x00v",
    "no UTF-8": b"\xff\xfe",
    "long": b"v" * 100_000,
}


@pytest.mark.parametrize("key", KEYS.values(), ids=list(KEYS))
def test_keys_of_attributes_that_the_checkpoint_lacks(tmp_path: Path, key: bytes) -> None:
    path = write_objects(tmp_path, node(child(b"a", varint(1))) + node(value(key)))
    for ckpt in opened(path):
        graph = ckpt.object_graph
        assert graph is not None
        assert "a" in list(graph)
        for put in (graph.read, graph.info):
            with pytest.raises(TensorNotFoundError):
                put("a")
        assert graph.outline({i.name: i for i in ckpt.infos()})


NOT_ONE_STRING = {
    "a number": bundle_entry(1, (), size=4, crc=masked_crc32c(bytes(4))),
    "no string": bundle_entry(7, (0,), size=4, crc=masked_crc32c(bytes.fromhex("d8ea82a2"))),
    "a vector": bundle_entry(7, (1,), size=4),
    "a variant": bundle_entry(21, (), size=4),
    "an unknown type": bundle_entry(34, (), size=4),
}


@pytest.mark.parametrize("entry", NOT_ONE_STRING.values(), ids=list(NOT_ONE_STRING))
def test_something_else_in_place_of_the_graph(tmp_path: Path, entry: bytes) -> None:
    def edit(bundle: Bundle) -> None:
        bundle.index[KEY.encode()] = entry

    path = write_objects(tmp_path, objects(), edit=edit)
    for ckpt in opened(path):
        assert ckpt["v"].tolist() == [1.0]
        with pytest.raises(CheckpointError) as error:
            _ = ckpt.object_graph
        assert error.value.tensor == KEY


def test_a_damaged_string_in_place_of_the_graph(tmp_path: Path) -> None:
    path = write_objects(tmp_path, objects())
    flip_bit(f"{path}.data-00000-of-00001", 20)
    for mmap in (True, False):
        with open_checkpoint(path, mmap=mmap) as ckpt, pytest.raises(ChecksumError) as error:
            _ = ckpt.object_graph
        assert error.value.tensor == KEY


OBJECT_MESSAGES = {
    "graph": (),
    "object": (1,),
    "child": (1, 1),
    "attribute": (1, 2),
    "slot": (1, 3),
    "saver": (1, 4),
    "value": (1, 5),
}


test_groups_in_groups_in_each_message_of_an_object_graph = each_case(
    write_objects, groups_in(OBJECT_MESSAGES, before=node()), NO_GRAPH
)


# Meta graphs


def text(number: int, content: str) -> bytes:
    return bytes_field(number, content.encode())


VARIABLE = text(1, "v:0")
NODE = text(1, "v") + text(2, "VariableV2")
META = b"".join(
    [
        bytes_field(1, text(4, "serve") + text(5, "2.21.0")),
        bytes_field(2, bytes_field(1, NODE) + bytes_field(4, varint_field(1, 134))),
        bytes_field(3, varint_field(4, 5) + varint_field(7, 2)),
        bytes_field(
            4, text(1, "variables") + bytes_field(2, bytes_field(2, bytes_field(1, VARIABLE)))
        ),
    ]
)


def write_meta(folder: Path, meta: bytes) -> Path:
    path = write_bundle(folder, {"v": np.ones(1, "f4")}, name="m")
    Path(f"{path}.meta").write_bytes(meta)
    return path


@dataclass(frozen=True)
class NoGraph:
    """The graph is refused with its file named; the tensors are as they were."""

    words: str
    error_class: type[CheckpointError] = CorruptCheckpointError
    suffix: str = ".meta"
    offsets: Container[int] | None = None

    def check(self, path: Path) -> None:
        for ckpt in opened(path, FRESH):
            with pytest.raises(self.error_class, match=self.words) as error:
                _ = ckpt.meta_graph
            assert type(error.value) is self.error_class
            assert error.value.file == f"{path}{self.suffix}"
            assert self.offsets is None or error.value.offset in self.offsets
            assert ckpt["v"].tolist() == [1.0]


@dataclass(frozen=True)
class Graph:
    """The graph is read, with this answer; the tensors are as they were."""

    ask: Callable[[MetaGraph], object]
    answer: object

    def check(self, path: Path) -> None:
        for ckpt in opened(path, FRESH):
            assert ckpt.meta_graph is not None
            assert self.ask(ckpt.meta_graph) == self.answer
            assert ckpt["v"].tolist() == [1.0]


NO_MESSAGE = NoGraph("protocol buffer")

META_CHAINS = {
    "tag": (1, 4),
    "name of a node": (2, 1, 1),
    "input of a node": (2, 1, 3),
    "attribute": (2, 1, 5, 1),
    "type or shape": (2, 1, 5, 2, 7),
    "node of a function": (2, 2, 1, 3, 1),
    "versions": (2, 4),
    "saver": (3,),
    "name of a collection": (4, 1),
    "collection": (4, 2, 2, 1),
    "signature": (5, 2, 1, 2, 1),
    "name of an object": (7, 1, 1, 2),
    "variable of an object": (7, 1, 7, 6),
}
MESSAGES = ("type or shape", "versions", "saver")
"""Chains that end in a message, not in a string."""


# The level of MetaGraphDef itself is walked in place: its errors tell the offset.
TAGGED = Graph(lambda graph: graph.tags[:1], ("serve",))
NO_LENGTH = NoGraph("protocol buffer|varint")
NO_OUTER_LENGTH = replace(NO_LENGTH, offsets=(len(META), len(META) + 1))


def meta_lengths(*, sampled: bool) -> dict[str, Row]:
    """Lengths of the first and the last level of each chain; or those between."""
    return {
        f"{chain}-{level}-{coding}": (
            META + deep_length(numbers, level, coding, b"" if chain in MESSAGES else b"name"),
            TAGGED if coding == "not minimal" else NO_LENGTH if level else NO_OUTER_LENGTH,
        )
        for chain, numbers in META_CHAINS.items()
        for level in range(len(numbers))
        for coding in LENGTHS
        if (level in (0, len(numbers) - 1)) == sampled
    }


test_lengths_in_a_meta_graph = each_case(write_meta, meta_lengths(sampled=True))

test_more_lengths_in_a_meta_graph = pytest.mark.exhaustive(
    each_case(write_meta, meta_lengths(sampled=False))
)


TRUE = {"max_to_keep": 5, "version": 2, "producer": 134}


def numbers_with(name: str, value: bytes) -> bytes:
    """A meta graph with this value of one of its numbers."""
    fields = {name: varint(true) for name, true in TRUE.items()} | {name: value}
    saver = varint(4 << 3) + fields["max_to_keep"] + varint(7 << 3) + fields["version"]
    return bytes_field(3, saver) + wrapped((2, 4), varint(1 << 3) + fields["producer"])


def told(name: str, number: int) -> Graph:
    """The graph has this number, and the true values of the others."""
    numbers = TRUE | {name: number}
    saver = Saver(numbers["version"], False, numbers["max_to_keep"])
    return Graph(
        lambda graph: (graph.saver, graph.graph_def_producer), (saver, numbers["producer"])
    )


# These numbers are only reported: their low 32 bits.
NUMBERS = {
    name: field(
        true,
        told(name, true),
        told(name, -1),
        NO_MESSAGE,
        zero=told(name, 0),
        one_less=told(name, true - 1),
        one_more=told(name, true + 1),
        two_31=told(name, -(2**31)),
    )
    for name, true in TRUE.items()
}

test_numbers_that_are_only_told = each_case(write_meta, field_rows(NUMBERS, numbers_with))


def variable_of_shape(folder: Path, dims: list[int]) -> Path:
    coded = b"".join(bytes_field(2, varint_field(1, size)) for size in dims)
    attribute = text(1, "shape") + bytes_field(2, bytes_field(7, coded))
    return write_meta(folder, wrapped((2, 1), NODE + bytes_field(5, attribute)))


def of_shape(*shape: int | None) -> Graph:
    return Graph(lambda graph: [variable.shape for variable in graph.variables], [shape])


test_shapes_of_variables_are_told_as_they_are = each_case(
    variable_of_shape,
    {
        "scalar": ([], of_shape()),
        "zero": ([0], of_shape(0)),
        "negative": ([-1], of_shape(None)),
        "-2**63": ([-(2**63)], of_shape(None)),
        "2**126": ([2**63 - 1] * 2, of_shape(2**63 - 1, 2**63 - 1)),
        "300 dimensions": ([1] * 300, of_shape(*[1] * 300)),
    },
)

META_MESSAGES = {
    "meta graph": (),
    "info": (1,),
    "graph": (2,),
    "node": (2, 1),
    "attribute": (2, 1, 5),
    "value": (2, 1, 5, 2),
    "shape": (2, 1, 5, 2, 7),
    "dimension": (2, 1, 5, 2, 7, 2),
    "library": (2, 2),
    "function": (2, 2, 1),
    "node of a function": (2, 2, 1, 3),
    "versions": (2, 4),
    "saver": (3,),
    "collection entry": (4,),
    "collection": (4, 2),
    "node list": (4, 2, 1),
    "bytes list": (4, 2, 2),
    "any list": (4, 2, 5),
    "any": (4, 2, 5, 1),
    "signature entry": (5,),
    "signature": (5, 2),
    "input": (5, 2, 1),
    "tensor": (5, 2, 1, 2),
    "objects": (7,),
    "object": (7, 1),
    "child of an object": (7, 1, 1),
    "slot of an object": (7, 1, 3),
    "variable of an object": (7, 1, 7),
}


DEEP = groups_in(META_MESSAGES, before=META)
LARGE_NODES = [f"{name}-100000" for name in ("attribute", "value", "shape", "dimension")]
"""The attributes of a large node, such as a constant, are skipped."""

test_groups_in_groups_in_each_message_of_a_meta_graph = each_case(
    write_meta,
    with_outcome(NO_MESSAGE, DEEP)
    | with_outcome(
        Graph(lambda graph: graph.op_counts, {"": 1, "VariableV2": 1}),
        {name: DEEP[name] for name in LARGE_NODES},
    ),
)

# Unknown fields are skipped, not parsed.
test_messages_in_messages_in_each_message_of_a_meta_graph = each_case(
    write_meta,
    {
        name: META + wrapped((*numbers, *(15,) * 1000), b"")
        for name, numbers in META_MESSAGES.items()
    },
    Graph(lambda graph: graph.tensorflow_version, "2.21.0"),
)


def with_variable(folder: Path, definition: bytes) -> Path:
    listed = wrapped((2, 2, 1), definition)
    return write_meta(folder, bytes_field(4, text(1, "variables") + listed))


test_groups_in_groups_in_the_definition_of_a_variable = each_case(
    with_variable,
    groups_in({"definition": (), "part": (4,)}, before=VARIABLE),
    NoGraph("protocol buffer\n  expected: a VariableDef"),
)


def saved_objects(which: str, node_id: bytes) -> bytes:
    """A meta graph whose object graph has this value of one of its ids."""
    ids = {"child": varint(1), "original": varint(1), "variable": varint(1)} | {which: node_id}
    root = bytes_field(1, varint(1 << 3) + ids["child"] + text(2, "v"))
    place = varint(1 << 3) + ids["original"] + text(2, "m") + varint(3 << 3) + ids["variable"]
    saved = bytes_field(1, root + bytes_field(3, place)) + bytes_field(1, bytes_field(7, b""))
    return bytes_field(7, saved)


test_ids_of_a_saved_model_that_lead_nowhere = each_case(
    write_meta,
    {
        f"{which}-{coding}": saved_objects(which, coded(1, coding))
        for which in ("child", "original", "variable")
        for coding in ("negative", "2**31", "2**63-1", "one more")
    },
    NoGraph("object graph\n  expected: ids from 0 to 1\n  found: "),
)


# SavedModels

PB, PBTXT = "saved_model.pb", "saved_model.pbtxt"


def write_saved_model(folder: Path, contents: bytes, name: str = PB) -> Path:
    (folder / "variables").mkdir()
    write_bundle(folder / "variables", {"v": np.ones(1, "f4")}, name="variables")
    (folder / name).write_bytes(contents)
    return folder


def tagged(*tags: tuple[str, ...]) -> Graph:
    return Graph(lambda model: tuple(model.all_tags), tags)


def no_model(
    words: str, error_class: type[CheckpointError] = CorruptCheckpointError, name: str = PB
) -> NoGraph:
    return NoGraph(words, error_class, f"{os.sep}{name}")


FIRST_TAG, LAST_TAG = (bytes_field(1, text(4, tag)) for tag in ("serve", "train"))
SECOND_GRAPH = LAST_TAG + text(6, "\x00" * 20)
"""What a length that is too small by one leaves over is no field: its number would be 0."""

NO_MODEL = no_model("field of a protocol buffer|varint")

test_lengths_of_the_graphs_of_a_saved_model = each_case(
    write_saved_model,
    field_rows(
        {
            "length": field(
                len(SECOND_GRAPH),
                tagged(("serve",), ("train",)),
                NO_MODEL,
                NO_MODEL,
                zero=tagged(("serve",), ()),  # what is left over are unknown fields
            )
        },
        lambda name, value: bytes_field(2, FIRST_TAG) + b"\x12" + value + SECOND_GRAPH,
    ),
)

test_a_saved_model_of_no_graphs = each_case(
    write_saved_model,
    {"empty": b"", "version": varint_field(1, 1), "field 3": bytes_field(3, META)},
    no_model("no such graph in the SavedModel(?s:.*)found: none", CheckpointNotFoundError),
)

test_groups_in_groups_in_a_saved_model = each_case(
    write_saved_model,
    {str(depth): groups(depth) for depth in DEPTHS},
    no_model("wire type of a protocol buffer(?s:.*)found: 3"),
)

TEXT_MESSAGES = [
    "",
    "meta_graphs",
    "meta_graphs meta_info_def",
    "meta_graphs graph_def",
    "meta_graphs graph_def node",
    "meta_graphs graph_def node attr",
    "meta_graphs graph_def node attr value",
    "meta_graphs graph_def node attr value shape",
    "meta_graphs graph_def node attr value shape dim",
    "meta_graphs graph_def library",
    "meta_graphs graph_def library function",
    "meta_graphs graph_def library function node_def",
    "meta_graphs graph_def versions",
    "meta_graphs saver_def",
    "meta_graphs collection_def",
    "meta_graphs collection_def value",
    "meta_graphs collection_def value bytes_list",
    "meta_graphs signature_def value inputs value",
    "meta_graphs object_graph_def nodes children",
    "meta_graphs object_graph_def nodes slot_variables",
    "meta_graphs object_graph_def nodes variable",
]


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("brackets", ["{}", pytest.param("<>", marks=pytest.mark.exhaustive)])
def test_braces_in_braces_in_each_message_of_a_saved_model_as_text(
    tmp_path: Path, brackets: str, depth: int
) -> None:
    left, right = brackets
    for i, names in enumerate(TEXT_MESSAGES):
        begin = "".join(f"{name} {left} " for name in names.split())
        deep = f"x {left} " * depth + f"{right} " * depth
        contents = begin + deep + f"{right} " * len(names.split())
        folder = tmp_path / str(i)
        folder.mkdir()
        write_saved_model(folder, contents.encode(), PBTXT)
        with pytest.raises(CorruptCheckpointError, match="protocol buffer as text") as error:
            read_graph_file(LocalFiles(mmap=True), str(folder / PBTXT))
        assert error.value.file == str(folder / PBTXT)


TEXTS = {
    "not UTF-8": b"\xff\xfe",
    "NUL": b"meta_graphs {\x00}",
    "binary": bytes(range(256)) * 10,
    "an open brace": b"meta_graphs {",
    "a closed brace": b"}",
    "an open string": b'meta_graphs { meta_info_def { tags: "serve } }',
    "another type": b"meta_graphs { meta_info_def { tags: 1 } }",
    "a number of 65 bits": b"meta_graphs { saver_def { max_to_keep: 99999999999999999999 } }",
    "a number of 33 bits": b"meta_graphs { saver_def { max_to_keep: 4294967296 } }",
    "an unknown name of an enum": b"meta_graphs { saver_def { version: V99 } }",
    "one field twice": b"meta_graphs { saver_def { sharded: true sharded: true } }",
    "lists in lists": b"x: " + b"[" * 5000,
}


test_texts_that_are_no_saved_model = each_case(
    lambda folder, contents: write_saved_model(folder, contents, PBTXT),
    TEXTS,
    no_model("protocol buffer as text\n  expected: a SavedModel", name=PBTXT),
)

test_something_else_in_place_of_a_saved_model = each_case(
    lambda folder, arguments: write_saved_model(folder, *arguments),
    {
        f"{short(contents)}-{name}": (
            (contents, name),
            no_model("protocol buffer|varint", name=name),
        )
        for contents in (b"404: Not Found", b"\x89HDF\r\n\x1a\n", b"<html></html>")
        for name in (PB, PBTXT)
    },
)
