"""Graphs with one wrong field, and graphs that declare far more than they store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from ckptparse import (
    Checkpoint,
    CheckpointError,
    CorruptCheckpointError,
    NotACheckpointError,
    TruncatedError,
    UnsupportedError,
    open_checkpoint,
)
from ckptparse.formats.frozen_graph import open_frozen_graph
from ckptparse.limits import MAX_FREE_PADDED_NBYTES, MAX_SPLAT_NBYTES
from ckptparse.sources import MemorySource
from support.builders import bytes_field, fixed32_field, tensor_shape, varint_field
from support.constants import (
    FLOAT,
    GRAPHS,
    INT32,
    STRING,
    attr,
    const,
    function,
    graph,
    node,
    saved_model,
    tensor,
)
from support.hostile import (
    OPEN,
    READ,
    Refused,
    Right,
    Unsupported,
    allocating_at_most,
    each_case,
    groups_in,
    with_outcome,
)
from support.repository import FIXTURES

INT64, BOOL, COMPLEX64, RESOURCE, VARIANT = 9, 10, 8, 20, 21

SOUND = const(b"x", tensor(FLOAT, [2], bytes(8)))


def write_graph(folder: Path, serialized: bytes) -> Path:
    path = folder / "graph.pb"
    path.write_bytes(serialized)
    return path


def write_tensor(folder: Path, proto: bytes) -> Path:
    return write_graph(folder, graph(const(b"x", proto)))


def write_text(folder: Path, text: str) -> Path:
    path = folder / "graph.pbtxt"
    path.write_text(text)
    return path


# Shapes


BAD_SHAPE = Refused(OPEN, "tensor 'x': invalid shape\n", of_index=True)

test_shapes = each_case(
    write_tensor,
    {
        "negative": (tensor(shape=[-1]), BAD_SHAPE),
        "unknown rank": (tensor(shape=varint_field(3, 1)), BAD_SHAPE),
        "known rank": (tensor(FLOAT, varint_field(3, 0) + tensor_shape([2]), bytes(8)),
                       Right({"x": [0, 0]})),
        "255 dimensions": (tensor(shape=[1] * 255), BAD_SHAPE),
        "many dimensions": (
            tensor(shape=[1] * 9999),
            Refused(OPEN, "at most 254 dimensions\n  found: 255", of_index=True),
        ),
        "2**63 elements": (tensor(shape=[2**62, 2]), BAD_SHAPE),
        "2**63 elements and none": (tensor(shape=[2**62, 2, 0]), BAD_SHAPE),
        "not a message": (tensor(shape=b"\xff"), Refused(OPEN, "invalid varint", of_index=True)),
        "a size of another type": (
            tensor(FLOAT, bytes_field(2, fixed32_field(1, 2)) + tensor_shape([2]), bytes(8)),
            Refused(OPEN, "no constants that could be weights", NotACheckpointError),
        ),
        "100 dimensions": (tensor(FLOAT, [1] * 99 + [2], bytes(8)),
                           Unsupported("too many dimensions for numpy", unchecked=True)),
    },
)  # fmt: skip


# Values

COUNT = Refused(READ, "tensor 'x': invalid values of a constant\n  expected: (at most )?2 of them")
VARINTS = Refused(READ, "tensor 'x': invalid varint")

test_values = each_case(
    write_tensor,
    {
        "content of a byte less": (tensor(FLOAT, [2], bytes(7)), COUNT),
        "content of an element less": (tensor(FLOAT, [2], bytes(4)), COUNT),
        "content of a byte more": (tensor(FLOAT, [2], bytes(9)), COUNT),
        "too many floats": (tensor(FLOAT, [2], values=bytes_field(5, bytes(12))), COUNT),
        "a part of a float": (tensor(FLOAT, [2], values=bytes_field(5, bytes(7))), COUNT),
        "half of a complex": (tensor(COMPLEX64, [2], values=fixed32_field(9, 1)), COUNT),
        "too many ints": (tensor(INT32, [2], values=bytes_field(7, bytes(3))), COUNT),
        "many ints": (tensor(INT32, [2], values=bytes_field(7, bytes(30))), COUNT),
        "an int that does not end": (tensor(INT32, [2], values=bytes_field(7, b"\1\xff")),
                                     Refused(READ, "invalid values of a tensor")),
        "an overlong int": (tensor(INT32, [2], values=bytes_field(7, b"\xff" * 12 + b"\1")),
                            VARINTS),
        "too many strings": (tensor(STRING, [2], values=bytes_field(8, b"") * 3), COUNT),
        "strings that are too long": (
            tensor(STRING, [2], b"\x01\x03abb"),
            Refused(READ, "tensor 'x': invalid strings of a constant"),
        ),
        "strings that are too short": (
            tensor(STRING, [2], b"\x01\x01abb"),
            Refused(READ, "tensor 'x': invalid strings of a constant"),
        ),
        "a length of 2**64-1": (
            tensor(STRING, [2], b"\xff" * 9 + b"\x01" + b"\x04abc"),
            Refused(READ, "tensor 'x': invalid strings of a constant"),
        ),
        "a length that is missing": (tensor(STRING, [2], b"\x00"), Refused(READ, "varints")),
        "values of another dtype": (tensor(INT32, [2], values=bytes_field(5, bytes(8))),
                                    Right({"x": [0, 0]})),
        "values of another type": (tensor(INT32, [2], values=fixed32_field(7, 5)),
                                   Right({"x": [0, 0]})),
        "a wide int": (tensor(INT32, [2], values=varint_field(7, 2**40 + 7)),
                       Right({"x": [7, 7]})),
        "a boolean of 2": (tensor(BOOL, [2], values=bytes_field(11, b"\x02\x00")),
                           Right({"x": [True, False]})),
    },
)  # fmt: skip


def test_errors_say_where_the_constant_is(tmp_path: Path) -> None:
    proto = tensor(INT32, [2], values=bytes_field(7, b"\xff" * 12 + b"\1"))
    path = write_tensor(tmp_path, proto)
    with open_checkpoint(path) as ckpt, pytest.raises(CorruptCheckpointError) as error:
        ckpt["x"]
    assert (error.value.file, error.value.tensor) == (str(path), "x")
    assert error.value.offset == path.read_bytes().index(proto)


test_dtypes = each_case(
    write_tensor,
    {
        f"{dtype}": (
            tensor(dtype, [2]),
            Unsupported("this tensor cannot be read as an array", unchecked=True),
        )
        for dtype in (0, RESOURCE, VARIANT, 99, 101, 2**31, 2**64 - 1)
    },
)


# Messages

BAD = Refused(OPEN, "invalid (field|wire type|varint)", of_index=True)


def cut(message: bytes) -> bytes:
    """A message whose last field is longer than the message."""
    return message[:-1]


test_messages = each_case(
    write_graph,
    {
        "a node that is cut": (cut(graph(SOUND)), BAD),
        "a tensor that is cut": (graph(const(b"x", cut(tensor(FLOAT, [2], bytes(8))))), BAD),
        "a group": (graph(SOUND) + b"\x0b", BAD),
        "a field of number 0": (graph(SOUND) + b"\x02\x00", BAD),
        "a node of garbage": (graph(SOUND, b"\xff\xff"), BAD),
        "a library of garbage": (graph(SOUND) + bytes_field(2, b"\x0a\x05"), BAD),
        "a function of garbage": (graph(SOUND, functions=[b"\x0a\x05"]), BAD),
        "an attribute of garbage": (graph(SOUND, node(b"y", b"Const", bytes_field(5, b"\1"))), BAD),
        "two values": (
            graph(node(b"x", b"Const", bytes_field(5, bytes_field(1, b"value")
                  + bytes_field(2, bytes_field(8, tensor())) * 2))),
            Refused(OPEN, "invalid attribute of a node", of_index=True),
        ),
        "two tensors": (
            graph(node(b"x", b"Const", attr(b"value", bytes_field(8, tensor()) * 2))),
            Refused(OPEN, "invalid attribute of a node", of_index=True),
        ),
        "two operations": (
            graph(SOUND, node(b"y", b"Add", bytes_field(2, b"Const"))),
            Refused(OPEN, "invalid node of a graph", of_index=True),
        ),
        "two names": (graph(SOUND + bytes_field(1, b"x")), Right({"x": [0, 0]})),
        "one name twice": (
            graph(SOUND, SOUND), Refused(OPEN, "invalid name of a constant", of_index=True)
        ),
        "no name": (
            graph(const(b"", tensor(FLOAT, [2]))),
            Refused(OPEN, "invalid name of a constant", of_index=True),
        ),
        "unknown fields": (graph(SOUND + fixed32_field(99, 1)) + varint_field(77, 1),
                           Right({"x": [0, 0]})),
        "numbers in place of messages": (
            varint_field(3, 7) + graph(SOUND + varint_field(5, 1)) + varint_field(2, 1),
            Right({"x": [0, 0]}),
        ),
        "a model that is cut": (cut(saved_model(graph(SOUND))), BAD),
    },
)  # fmt: skip

test_groups = each_case(
    write_graph,
    with_outcome(
        BAD,
        groups_in(
            {
                "graph": [],
                "node": [1],
                "attribute": [1, 5],
                "library": [2],
                "function": [2, 1],
                "node of a function": [2, 1, 3],
            },
            before=graph(SOUND),
        ),
    ),
)


# Declared sizes


SPLAT = Refused(READ, "tensor 'x': this constant repeats a value too often", UnsupportedError)
TOO_OFTEN = Unsupported("this constant repeats a value too often", unchecked=True)

test_declared_sizes = each_case(
    write_tensor,
    {
        "a splat": (tensor(INT32, [10**12], values=varint_field(7, 1)), TOO_OFTEN),
        "a splat without a value": (tensor(INT32, [10**12]), TOO_OFTEN),
        "a splat of 2**62": (tensor(INT32, [2**62], values=varint_field(7, 1)), TOO_OFTEN),
        "padding": (tensor(INT32, [10**12], values=varint_field(7, 1) * 2), TOO_OFTEN),
        "padding of floats": (tensor(FLOAT, [10**12], values=bytes_field(5, bytes(8))), TOO_OFTEN),
        "a string": (tensor(STRING, [10**12], values=bytes_field(8, b"a")), TOO_OFTEN),
        "no string": (tensor(STRING, [10**12]), TOO_OFTEN),
        "content": (tensor(FLOAT, [10**12], bytes(8)), Refused(READ, "1000000000000 of them")),
        "strings": (tensor(STRING, [10**12], b"\0\0"), Refused(READ, "1000000000000 of them")),
    },
    most_allocated=2_000_000,
)  # fmt: skip


@pytest.mark.parametrize("index", [..., 0, np.s_[None, ::7], [0, -1]], ids=str)
def test_a_splat_takes_no_memory(tmp_path: Path, index: Any) -> None:
    size = MAX_SPLAT_NBYTES // 4
    path = write_tensor(tmp_path, tensor(INT32, [size, 1], values=varint_field(7, 9)))
    with allocating_at_most(2_000_000), open_checkpoint(path) as ckpt:
        part = ckpt.read("x", index)
        assert part.shape == np.broadcast_to(0, (size, 1))[index].shape
        assert part.flat[0] == part.flat[-1] == 9
        assert not part.flags.writeable
        assert sum(piece.values.size for piece in ckpt.read_pieces(["x"])) == size
        assert ckpt.verify().ok


def test_what_constants_do_not_store_is_bounded_in_all(tmp_path: Path) -> None:
    splat = tensor(INT32, [MAX_SPLAT_NBYTES // 16], values=varint_field(7, 1))
    padded = tensor(INT32, [MAX_FREE_PADDED_NBYTES // 8], values=varint_field(7, 1) * 2)
    protos = [splat, padded] * 6
    nodes = [const(b"%d" % i, proto) for i, proto in enumerate(protos)]
    with open_checkpoint(write_graph(tmp_path, graph(*nodes))) as ckpt:
        assert len(ckpt) == len(protos)
        read = {name for name in ckpt if is_read(ckpt, name)}
        assert {name for name in read if int(name) % 2 == 0} == {"0", "2", "4", "6"}
        assert {name for name in read if int(name) % 2} == {"1", "3"}
        assert ckpt.verify().ok


def is_read(ckpt: Checkpoint, name: str) -> bool:
    try:
        ckpt[name]
    except UnsupportedError:
        return False
    return True


def test_the_name_of_a_function_is_not_multiplied(tmp_path: Path) -> None:
    nodes = [const(b"%d" % i, tensor()) for i in range(2000)]
    path = write_graph(tmp_path, graph(functions=[function(b"f" * 100_000, *nodes)]))
    with allocating_at_most(20_000_000), pytest.raises(CorruptCheckpointError) as error:
        open_checkpoint(path, all_constants=True)
    assert "names of the constants in functions are too long" in str(error.value)


MANY = 20_000


@pytest.mark.parametrize(
    "serialized",
    [
        b"\x0a\x00" * MANY,
        b"\x12\x00" * MANY,
        graph(functions=[b""] * MANY),
        graph(node(b"x", b"Const", b"\x2a\x00" * MANY)),
        graph(const(b"x", tensor(shape=bytes_field(2, b"\x08\x00" * MANY)))),
        graph(const(b"x", tensor() + b"\x12\x00" * MANY)),
        graph(const(b"x", tensor(INT64, [MANY], values=b"\x50\x01" * MANY))),
        graph(const(b"x", tensor(STRING, [MANY], values=b"\x42\x00" * MANY))),
        graph(const(b"x", tensor(STRING, [MANY], bytes(MANY)))),
        b"".join(bytes_field(1, const(b"%d" % i, b"")) for i in range(MANY // 20)),
    ],
    ids=[
        *("nodes", "libraries", "functions", "attributes", "sizes", "shapes"),
        *("ints", "strings", "lengths", "constants"),
    ],
)
def test_many_small_fields_take_memory_for_their_bytes(tmp_path: Path, serialized: bytes) -> None:
    path = write_graph(tmp_path, serialized)
    with allocating_at_most(8_000_000 + 60 * len(serialized)):
        try:
            with open_checkpoint(path, all_constants=True, mmap=False) as ckpt:
                for _ in ckpt.values():
                    pass
                ckpt.verify()
        except (CheckpointError, UnsupportedError):
            pass


# Texts


def text_of(tensor: str) -> str:
    value = f'attr {{ key: "value" value {{ tensor {{ {tensor} }} }} }}'
    return f'node {{ name: "x" op: "Const" {value} }}'


NOT_TEXT = Refused(OPEN, "invalid protocol buffer as text", of_index=True)

test_texts = each_case(
    write_text,
    {
        "sound": (
            text_of(r'dtype: DT_INT8 tensor_shape { dim { size: 2 } } tensor_content: "\001\002"'),
            Right({"x": [1, 2]}),
        ),
        "unknown field": (
            text_of("dtype: DT_INT8 foo: 7 bar { x: [1] } tensor_shape { dim { size: 2 } }"),
            Right({"x": [0, 0]}),
        ),
        "unknown dtype": (text_of("dtype: DT_ODD"), NOT_TEXT),
        "not closed": (text_of("dtype: DT_INT8").rstrip("}"), NOT_TEXT),
        "out of range": (text_of("int_val: 99999999999"), NOT_TEXT),
        "deep": ("node { " + "a { " * 5000, NOT_TEXT),
        "deep in one line": ("node {" + "aaaaa{" * 2000, NOT_TEXT),
        "dense": ("node{}" * 40_000, Refused(OPEN, "at most [0-9]+ tokens", of_index=True)),
        "negative size": (
            text_of("tensor_shape { dim { size: -2 } }"),
            Refused(OPEN, "invalid shape", of_index=True, offset=None),
        ),
        "too much content": (
            text_of(r'dtype: DT_INT8 tensor_shape { dim { size: 2 } } tensor_content: "abc"'),
            Refused(READ, "invalid values of a constant", offset=None),
        ),
        "too many values": (
            text_of("dtype: DT_INT32 tensor_shape { dim { size: 2 } }" + " int_val: 200" * 9),
            Refused(READ, "invalid values of a constant", offset=None),
        ),
        "too large": (
            text_of("dtype: DT_INT32 tensor_shape { dim { size: 1000000000000 } }"),
            TOO_OFTEN,
        ),
        "not a graph": (
            "hello: 1\n", Refused(OPEN, "this is not a graph", NotACheckpointError, of_index=True)
        ),
    },
)  # fmt: skip


@pytest.mark.parametrize("text", ["\n", " ", "#\n", "node\n", "\n "], ids=ascii)
def test_a_text_of_blank_lines_is_searched_once(text: str, tmp_path: Path) -> None:
    """A pattern that began with any white space took a minute for 100,000 line feeds."""
    path = write_text(tmp_path, text * 1_000_000)
    with pytest.raises((NotACheckpointError, CorruptCheckpointError)):
        open_checkpoint(path)


def test_a_text_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "graph.pbtxt"
    path.write_bytes(b"node {\n name: '\xff'\n}\n")
    with pytest.raises(CorruptCheckpointError, match="invalid protocol buffer as text"):
        open_checkpoint(path)


# Files that change, and noise


@pytest.mark.parametrize("mmap", [True, False], ids=["mapped", "copied"])
def test_a_file_that_is_shortened(tmp_path: Path, mmap: bool) -> None:
    path = write_tensor(tmp_path, tensor(FLOAT, [20_000], bytes(80_000)))
    with open_checkpoint(path, mmap=mmap) as ckpt:
        if not mmap:
            path.write_bytes(path.read_bytes()[:-1])
            with pytest.raises(TruncatedError):
                ckpt["x"]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptCheckpointError, match="invalid field"):
        open_checkpoint(path, mmap=mmap)


def use(contents: bytes, name: str) -> None:
    """Open, list, read and verify; any error of the tree that says its place is right."""
    with raising(name):
        source = MemorySource(name, contents)
        with Checkpoint(open_frozen_graph(source, verify=True, all_constants=True)) as ckpt:
            ckpt.infos()
            for key in ckpt:
                with raising(name):
                    ckpt[key]
            ckpt.verify()


@contextmanager
def raising(name: str) -> Iterator[None]:
    """Check the file of an error of the tree, if one is raised."""
    errors = []
    try:
        yield
    except CheckpointError as error:
        errors.append(error)
    assert all(error.file == name for error in errors)


def changes(contents: bytes, rng: Random, count: int) -> Iterator[bytes]:
    """Yield copies with a byte that differs, and shortened copies."""
    for _ in range(count):
        changed = bytearray(contents)
        for _ in range(rng.choice([1, 1, 3])):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        yield bytes(changed)
        yield contents[: rng.randrange(len(contents))]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of bad escapes, in protobuf
@pytest.mark.parametrize("count", [30, pytest.param(400, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("name", GRAPHS)
def test_noise_gives_values_or_errors_of_the_tree(name: str, count: int) -> None:
    path = FIXTURES / name
    path = path / "saved_model.pb" if path.is_dir() else path
    for contents in changes(path.read_bytes(), Random(5), count):
        use(contents, path.name)
