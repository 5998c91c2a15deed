"""Object graphs and meta graphs with one wrong field: ids, lengths, numbers, depth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from ckptparse.metagraph import Saver, read_graph_file
from ckptparse.objectgraph import KEY
from ckptparse.sources import LocalFiles
from support.builders import (
    Bundle,
    bundle_entry,
    bytes_field,
    masked_crc32c,
    varint,
    varint_field,
    write_bundle,
)
from support.damage import flip_bit
from support.hostile import WAYS, codings_of, rows

RIGHT = "the right values"
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


def require_objects(path: Path, expected: Any) -> None:
    """Path -> key; or the words of the error, which leaves every tensor as it is.

    Words are a dict question -> words, for questions that meet the damage; all others are answered.
    """
    for way in WAYS[::3]:
        with open_checkpoint(path, **way) as ckpt:
            assert list(ckpt) == [KEY, "m", "v"]
            assert ckpt["v"].tolist() == [1.0]
            assert ckpt.verify().ok
            if "list" not in expected:
                graph = ckpt.object_graph
                assert graph is not None
                assert {name: graph.checkpoint_key(name) for name in graph} == expected
                for put in ASKED.values():
                    if put is not ASKED["read"]:
                        put(ckpt)
                continue
        for question, put in ASKED.items():
            with open_checkpoint(path, **way) as ckpt:
                if question not in expected:
                    put(ckpt)
                    continue
                with pytest.raises(CorruptCheckpointError, match=expected[question]) as error:
                    put(ckpt)
                assert error.value.tensor == KEY


NO_OBJECTS = dict.fromkeys(ASKED, "protocol buffer\n  expected: a TrackableObjectGraph")
NO_CHILD = dict.fromkeys(
    ("list", "read", "weights", "subtree", "outline", "paths"),
    "object graph\n  expected: ids from 0 to 3\n  found: ",
)
NO_SLOT = dict.fromkeys(
    ("list", "outline", "slots"), "object graph\n  expected: ids from 0 to 3\n  found: "
)

IDS: Mapping[str, Mapping[str, Any]] = {
    "child": {  # 1, of 4
        "zero": {},  # the root is its own child, and nothing leads to the variable
        "one less": {},
        "negative": NO_CHILD,
        "2**31": NO_CHILD,
        "2**63-1": NO_CHILD,
        "not minimal": PATHS,
        "overlong": NO_OBJECTS,
    },
    "original": {  # 1
        "zero": {"v": "v", "/.OPTIMIZER_SLOT/o/m": "m"},
        "one more": {"v": "v", "o/.OPTIMIZER_SLOT/o/m": "m"},
        "negative": NO_SLOT,
        "2**31": NO_SLOT,
        "2**63-1": NO_SLOT,
        "not minimal": PATHS,
        "overlong": NO_OBJECTS,
    },
    "variable": {  # 3
        "zero": {"v": "v"},  # is no variable, nor is 2
        "one less": {"v": "v"},
        "one more": NO_SLOT,
        "negative": NO_SLOT,
        "2**31": NO_SLOT,
        "2**63-1": NO_SLOT,
        "not minimal": PATHS,
        "overlong": NO_OBJECTS,
    },
}


@pytest.mark.parametrize(("field", "coding", "expected"), rows(IDS))
def test_ids_of_objects(tmp_path: Path, field: str, coding: str, expected: Any) -> None:
    coded = codings_of({"child": 1, "original": 1, "variable": 3}[field])[coding]
    names = {"child": "child_id", "original": "original", "variable": "variable"}
    require_objects(write_objects(tmp_path, objects(**{names[field]: coded})), expected)


def test_a_child_that_there_is_not_by_one(tmp_path: Path) -> None:
    require_objects(write_objects(tmp_path, objects(child_id=varint(4))), NO_CHILD)


def lying(level: int, wanted: int, coding: str, number: int, payload: bytes) -> bytes:
    """A field whose length is coded so if this is the level that is wanted."""
    length = varint(len(payload))
    if level == wanted:
        # Protocol buffers take lengths of 5 bytes at most; we may be more patient, up to 10.
        max_nbytes = 5 if coding == "not minimal" else 10
        length = codings_of(len(payload), max_nbytes)[coding]
    return varint(number << 3 | 2) + length + payload


OBJECT_CHAINS = {
    "child": (1, 1, 2),
    "attribute": (1, 2, 3),
    "slot": (1, 3, 2),
    "saver": (1, 4, 1),
    "value": (1, 5),
}
"""Numbers of fields from the graph down to a string, the last in all messages around it."""


@pytest.mark.parametrize("coding", LENGTHS)
@pytest.mark.parametrize(
    ("chain", "level"),
    [(chain, level) for chain, numbers in OBJECT_CHAINS.items() for level in range(len(numbers))],
)
def test_lengths_in_an_object_graph(tmp_path: Path, chain: str, level: int, coding: str) -> None:
    payload = b"" if chain == "value" else b"name"
    for i, number in reversed(list(enumerate(OBJECT_CHAINS[chain]))):
        payload = lying(i, level, coding, number, payload)
    path = write_objects(tmp_path, node() + payload)
    with open_checkpoint(path) as ckpt:
        if coding == "not minimal":
            assert ckpt.object_graph is not None
            assert ckpt.object_graph.num_nodes == 2
        else:
            with pytest.raises(CorruptCheckpointError, match="a TrackableObjectGraph") as error:
                _ = ckpt.object_graph
            assert error.value.tensor == KEY


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
        for put in ASKED.values():
            if put is not ASKED["read"]:
                put(ckpt)
        assert len(set(graph)) == len(list(graph)) <= graph.num_nodes
        assert len(graph.outline({i.name: i for i in ckpt.infos()})) <= 1000


@pytest.mark.parametrize("count", [2**31 - 1, 2**31, 2**32, 2**62])
def test_children_of_a_declared_size_of_gigabytes(tmp_path: Path, count: int) -> None:
    require_objects(write_objects(tmp_path, b"\x0a" + varint(count) + b"\x0a\x00"), NO_OBJECTS)


@pytest.mark.parametrize(
    ("key", "listed"),
    [
        (b"", True),
        (b"gone", True),
        (b"../../v", True),
        (b"\x00v", True),
        (b"\xff\xfe", True),
        (b"v" * 100_000, True),
    ],
    ids=["empty", "gone", "dots", "NUL", "no UTF-8", "long"],
)
def test_keys_of_attributes_that_the_checkpoint_lacks(
    tmp_path: Path, key: bytes, listed: bool
) -> None:
    path = write_objects(tmp_path, node(child(b"a", varint(1))) + node(value(key)))
    for way in WAYS:
        with open_checkpoint(path, **way) as ckpt:
            graph = ckpt.object_graph
            assert graph is not None
            assert ("a" in list(graph)) is listed
            for put in (graph.read, graph.info):
                with pytest.raises(TensorNotFoundError):
                    put("a")
            assert graph.outline({i.name: i for i in ckpt.infos()})


def replace_graph(tensor: bytes, shard: bytes = b"") -> Callable[[Bundle], None]:
    def edit(bundle: Bundle) -> None:
        bundle.index[KEY.encode()] = tensor
        bundle.shards[0][:] = bundle.shards[0] + shard

    return edit


NOT_ONE_STRING = {
    "a number": bundle_entry(1, (), size=4, crc=masked_crc32c(bytes(4))),
    "no string": bundle_entry(7, (0,), size=4, crc=masked_crc32c(bytes.fromhex("d8ea82a2"))),
    "a vector": bundle_entry(7, (1,), size=4),
    "a variant": bundle_entry(21, (), size=4),
    "an unknown type": bundle_entry(34, (), size=4),
}


@pytest.mark.parametrize("entry", NOT_ONE_STRING.values(), ids=list(NOT_ONE_STRING))
def test_something_else_in_place_of_the_graph(tmp_path: Path, entry: bytes) -> None:
    path = write_objects(tmp_path, objects(), edit=replace_graph(entry))
    for way in WAYS:
        with open_checkpoint(path, **way) as ckpt:
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


DEPTHS = [1000, 100_000]
OBJECT_MESSAGES = {
    "graph": (),
    "object": (1,),
    "child": (1, 1),
    "attribute": (1, 2),
    "slot": (1, 3),
    "saver": (1, 4),
    "value": (1, 5),
}


def groups(depth: int) -> bytes:
    return varint(15 << 3 | 3) * depth + varint(15 << 3 | 4) * depth


def wrapped(numbers: tuple[int, ...], payload: bytes) -> bytes:
    for number in reversed(numbers):
        payload = bytes_field(number, payload)
    return payload


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("numbers", OBJECT_MESSAGES.values(), ids=list(OBJECT_MESSAGES))
def test_groups_in_groups_in_each_message_of_an_object_graph(
    tmp_path: Path, numbers: tuple[int, ...], depth: int
) -> None:
    path = write_objects(tmp_path, node() + wrapped(numbers, groups(depth)))
    require_objects(path, NO_OBJECTS)


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


def require_no_meta(path: Path, words: str) -> CorruptCheckpointError:
    """The graph is refused with its file named; the tensors are as they were."""
    for way in WAYS[::3]:
        with open_checkpoint(path, **way) as ckpt:
            with pytest.raises(CorruptCheckpointError, match=words) as error:
                _ = ckpt.meta_graph
            assert error.value.file == f"{path}.meta"
            assert ckpt["v"].tolist() == [1.0]
    return error.value


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

ON_THE_WIRE = {1: 1, 2: 5, 3: 1, 4: 1, 5: 1, 7: 1}
"""Field of MetaGraphDef -> how many levels are walked in place: their errors tell the offset."""


@pytest.mark.parametrize("coding", LENGTHS)
@pytest.mark.parametrize(
    ("chain", "level"),
    [
        pytest.param(
            chain,
            level,
            marks=() if level in (0, len(numbers) - 1) else pytest.mark.exhaustive,
        )
        for chain, numbers in META_CHAINS.items()
        for level in range(len(numbers))
    ],
)
def test_lengths_in_a_meta_graph(tmp_path: Path, chain: str, level: int, coding: str) -> None:
    numbers = META_CHAINS[chain]
    payload = b"" if chain in MESSAGES else b"name"
    for i, number in reversed(list(enumerate(numbers))):
        payload = lying(i, level, coding, number, payload)
    path = write_meta(tmp_path, META + payload)
    if coding == "not minimal":
        with open_checkpoint(path) as ckpt:
            assert ckpt.meta_graph is not None
            assert ckpt.meta_graph.tags[:1] == ("serve",)
        return
    error = require_no_meta(path, "(field|wire type) of a protocol buffer|protocol buffer|varint")
    if level == 0:
        assert error.offset is not None
        assert len(META) <= error.offset <= len(META) + 1


NUMBERS: Mapping[str, Mapping[str, int]] = {
    "max_to_keep": {
        "zero": 0,
        "negative": -1,
        "2**31": -(2**31),
        "2**63-1": -1,
        "not minimal": 5,
    },
    "version": {"zero": 0, "one more": 3, "negative": -1, "2**31": -(2**31), "not minimal": 2},
    "producer": {"zero": 0, "negative": -1, "2**31": -(2**31), "not minimal": 134},
}


@pytest.mark.parametrize(("field", "coding", "expected"), rows(NUMBERS))
def test_numbers_that_are_only_told(tmp_path: Path, field: str, coding: str, expected: int) -> None:
    """Nothing is decided by them: what 32 bits keep of them is what is said."""
    true = {"max_to_keep": 5, "version": 2, "producer": 134}
    coded = {name: varint(number) for name, number in true.items()}
    coded[field] = codings_of(true[field])[coding]
    saver = varint(4 << 3) + coded["max_to_keep"] + varint(7 << 3) + coded["version"]
    graph = bytes_field(2, bytes_field(4, varint(1 << 3) + coded["producer"]))
    path = write_meta(tmp_path, bytes_field(3, saver) + graph)
    with open_checkpoint(path) as ckpt:
        meta_graph = ckpt.meta_graph
        assert meta_graph is not None
        said = {**true, field: expected}
        assert meta_graph.saver == Saver(said["version"], False, said["max_to_keep"])
        assert meta_graph.graph_def_producer == said["producer"]


@pytest.mark.parametrize("field", ["max_to_keep", "producer"])
def test_overlong_numbers(tmp_path: Path, field: str) -> None:
    if field == "producer":
        meta = bytes_field(2, bytes_field(4, varint(1 << 3) + varint(134, 11)))
    else:
        meta = bytes_field(3, varint(4 << 3) + varint(5, 11))
    require_no_meta(write_meta(tmp_path, META + meta), "protocol buffer")


@pytest.mark.parametrize(
    ("dims", "shape"),
    [
        ([], ()),
        ([0], (0,)),
        ([-1], (None,)),
        ([-(2**63)], (None,)),
        ([2**63 - 1] * 2, (2**63 - 1,) * 2),
        ([1] * 300, (1,) * 300),
    ],
    ids=["scalar", "zero", "negative", "-2**63", "2**126", "300 dimensions"],
)
def test_shapes_of_variables_are_told_as_they_are(
    tmp_path: Path, dims: list[int], shape: tuple[int | None, ...]
) -> None:
    coded = b"".join(bytes_field(2, varint_field(1, size)) for size in dims)
    attribute = text(1, "shape") + bytes_field(2, bytes_field(7, coded))
    graph = bytes_field(2, bytes_field(1, NODE + bytes_field(5, attribute)))
    with open_checkpoint(write_meta(tmp_path, graph)) as ckpt:
        assert ckpt.meta_graph is not None
        assert [variable.shape for variable in ckpt.meta_graph.variables] == [shape]


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


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("numbers", META_MESSAGES.values(), ids=list(META_MESSAGES))
def test_groups_in_groups_in_each_message_of_a_meta_graph(
    tmp_path: Path, numbers: tuple[int, ...], depth: int
) -> None:
    path = write_meta(tmp_path, META + wrapped(numbers, groups(depth)))
    if numbers[:3] == (2, 1, 5) and depth == 100_000:
        # Of a large node (constants are) attributes are stepped over, whatever is in them.
        with open_checkpoint(path) as ckpt:
            assert ckpt.meta_graph is not None
            assert ckpt.meta_graph.op_counts == {"": 1, "VariableV2": 1}
    else:
        require_no_meta(path, "protocol buffer")


@pytest.mark.parametrize("numbers", META_MESSAGES.values(), ids=list(META_MESSAGES))
def test_messages_in_messages_in_each_message_of_a_meta_graph(
    tmp_path: Path, numbers: tuple[int, ...]
) -> None:
    """Unknown fields are stepped over, not entered."""
    path = write_meta(tmp_path, META + wrapped(numbers, wrapped((15,) * 1000, b"")))
    with open_checkpoint(path) as ckpt:
        assert ckpt.meta_graph is not None
        assert ckpt.meta_graph.tensorflow_version == "2.21.0"


VARIABLE_MESSAGES = {"definition": (), "part": (4,)}


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("numbers", VARIABLE_MESSAGES.values(), ids=list(VARIABLE_MESSAGES))
def test_groups_in_groups_in_the_definition_of_a_variable(
    tmp_path: Path, numbers: tuple[int, ...], depth: int
) -> None:
    definition = VARIABLE + wrapped(numbers, groups(depth))
    listed = bytes_field(2, bytes_field(2, bytes_field(1, definition)))
    path = write_meta(tmp_path, bytes_field(4, text(1, "variables") + listed))
    require_no_meta(path, "protocol buffer\n  expected: a VariableDef")


@pytest.mark.parametrize("coding", ["negative", "2**31", "2**63-1", "one more"])
@pytest.mark.parametrize("which", ["child", "original", "variable"])
def test_ids_of_a_saved_model_that_lead_nowhere(tmp_path: Path, which: str, coding: str) -> None:
    ids = {"child": varint(1), "original": varint(1), "variable": varint(1)}
    ids[which] = codings_of(1)[coding]
    root = bytes_field(1, varint(1 << 3) + ids["child"] + text(2, "v"))
    place = varint(1 << 3) + ids["original"] + text(2, "m") + varint(3 << 3) + ids["variable"]
    saved = bytes_field(1, root + bytes_field(3, place)) + bytes_field(1, bytes_field(7, b""))
    path = write_meta(tmp_path, bytes_field(7, saved))
    require_no_meta(path, "object graph\n  expected: ids from 0 to 1\n  found: ")


# SavedModels


def write_saved_model(folder: Path, contents: bytes, name: str = "saved_model.pb") -> Path:
    (folder / "variables").mkdir()
    write_bundle(folder / "variables", {"v": np.ones(1, "f4")}, name="variables")
    (folder / name).write_bytes(contents)
    return folder


def require_saved_model(folder: Path, expected: Any, name: str = "saved_model.pb") -> None:
    """Tags of all graphs; or (class of error, words)."""
    for way in WAYS[::3]:
        with open_checkpoint(folder, **way) as ckpt:
            assert ckpt["v"].tolist() == [1.0]
            if isinstance(expected, list):
                assert ckpt.meta_graph is not None
                assert list(ckpt.meta_graph.all_tags) == expected
                continue
            error_class, words = expected
            with pytest.raises(error_class, match=words) as error:
                _ = ckpt.meta_graph
            assert type(error.value) is error_class
            assert error.value.file == str(folder / name)


NO_MODEL = (CorruptCheckpointError, "field of a protocol buffer|varint")
MODEL: Mapping[str, Any] = {
    "zero": [("serve",), ()],  # all that is left over are fields that a SavedModel does not have
    "one less": NO_MODEL,
    "one more": NO_MODEL,
    "negative": NO_MODEL,
    "2**31": NO_MODEL,
    "2**63-1": NO_MODEL,
    "not minimal": [("serve",), ("train",)],
    "overlong": NO_MODEL,
}


@pytest.mark.parametrize(("coding", "expected"), MODEL.items(), ids=list(MODEL))
def test_lengths_of_the_graphs_of_a_saved_model(tmp_path: Path, coding: str, expected: Any) -> None:
    # What a length that is too small by one leaves over is no field: its number would be 0.
    first, last = (bytes_field(1, text(4, tag)) for tag in ("serve", "train"))
    last += text(6, "\x00" * 20)
    model = bytes_field(2, first) + b"\x12" + codings_of(len(last))[coding] + last
    require_saved_model(write_saved_model(tmp_path, model), expected)


@pytest.mark.parametrize(
    "model", [b"", varint_field(1, 1), bytes_field(3, META)], ids=["empty", "version", "field 3"]
)
def test_a_saved_model_of_no_graphs(tmp_path: Path, model: bytes) -> None:
    expected = CheckpointNotFoundError, "no such graph in the SavedModel(?s:.*)found: none"
    require_saved_model(write_saved_model(tmp_path, model), expected)


@pytest.mark.parametrize("depth", DEPTHS)
def test_groups_in_groups_in_a_saved_model(tmp_path: Path, depth: int) -> None:
    expected = CorruptCheckpointError, "wire type of a protocol buffer(?s:.*)found: 3"
    require_saved_model(write_saved_model(tmp_path, groups(depth)), expected)


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
        write_saved_model(folder, contents.encode(), "saved_model.pbtxt")
        with pytest.raises(CorruptCheckpointError, match="protocol buffer as text") as error:
            read_graph_file(LocalFiles(mmap=True), str(folder / "saved_model.pbtxt"))
        assert error.value.file == str(folder / "saved_model.pbtxt")


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


@pytest.mark.parametrize("contents", TEXTS.values(), ids=list(TEXTS))
def test_texts_that_are_no_saved_model(tmp_path: Path, contents: bytes) -> None:
    expected = CorruptCheckpointError, "protocol buffer as text\n  expected: a SavedModel"
    folder = write_saved_model(tmp_path, contents, "saved_model.pbtxt")
    require_saved_model(folder, expected, "saved_model.pbtxt")


@pytest.mark.parametrize("name", ["saved_model.pb", "saved_model.pbtxt"], ids=["binary", "text"])
@pytest.mark.parametrize(
    "contents", [b"404: Not Found", b"\x89HDF\r\n\x1a\n", b"<html></html>"], ids=repr
)
def test_something_else_in_place_of_a_saved_model(
    tmp_path: Path, contents: bytes, name: str
) -> None:
    expected = CorruptCheckpointError, "protocol buffer|varint"
    require_saved_model(write_saved_model(tmp_path, contents, name), expected, name)
