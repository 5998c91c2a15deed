"""HDF5 files and archives of Keras with one wrong field."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ckptparse import (
    CorruptCheckpointError,
    NotACheckpointError,
    TruncatedError,
    UnsupportedError,
    open_checkpoint,
)
from ckptparse.formats.keras import describe_keras
from ckptparse.formats.keras_config import describe_h5, load_json
from ckptparse.sources import MemorySource
from support.hdf5 import (
    UNDEFINED,
    VARIABLE_STRING,
    HDF5Builder,
    attribute,
    chunked,
    contiguous,
    dataspace,
    deflated,
    filters,
    fixed_string,
    message,
)
from support.hostile import OPEN, READ, Refused, Right, Unsupported, each_case

RIGHT = Right({"x": [1, 2, 3], "y": [4]})
ONE = Right({"x": [1, 2, 3]})

Make = Callable[[HDF5Builder], bytes]


def write(folder: Path, make: Make) -> Path:
    path = folder / "m.h5"
    path.write_bytes(make(HDF5Builder()))
    return path


def refused(words: str, error_class: Any = CorruptCheckpointError, at: int = OPEN) -> Refused:
    return Refused(at, words, error_class, suffix="")


def with_superblock(**fields: int) -> Make:
    def make(builder: HDF5Builder) -> bytes:
        x, y = builder.dataset(b"\1\2\3"), builder.dataset(b"\4")
        root = builder.group([(b"x", x), (b"y", y)])
        return builder.file(fields.pop("root", root), **fields)

    return make


test_superblocks = each_case(
    write,
    {
        "right": (with_superblock(), RIGHT),
        "version 9": (with_superblock(version=9), refused("superblock", UnsupportedError)),
        "addresses of 4 bytes": (with_superblock(sizes=4), refused("size", UnsupportedError)),
        "a base": (with_superblock(base=512), refused("another file", UnsupportedError)),
        "root outside": (with_superblock(root=1 << 40), refused("too short", TruncatedError)),
        "no root": (with_superblock(root=UNDEFINED), refused("too short", TruncatedError)),
        "root at the start": (with_superblock(root=0), refused("not the header of an HDF5")),
    },
)


def with_group(names: tuple[bytes, ...] = (b"x", b"y"), **fields: Any) -> Make:
    def make(builder: HDF5Builder) -> bytes:
        headers = [builder.dataset(b"\1\2\3"), builder.dataset(b"\4")]
        return builder.file(builder.group(list(zip(names, headers)), **fields))

    return make


def twice(builder: HDF5Builder) -> bytes:
    x = builder.dataset(b"\1\2\3")
    return builder.file(builder.group([(b"x", x), (b"y", x)]))


def cycle(builder: HDF5Builder) -> bytes:
    x = builder.dataset(b"\1\2\3")
    at = len(builder.contents)
    builder.group([(b"x", x), (b"y", 0)])
    # the same group once more, whose second member is the group itself
    root = at + len(builder.contents) - at
    copy = HDF5Builder()
    copy.contents = builder.contents[:at]
    root = copy.group([(b"x", x), (b"y", 0)])
    copy.contents = builder.contents[:at]
    assert copy.group([(b"x", x), (b"y", root)]) == root
    return copy.file(root)


def deep(builder: HDF5Builder) -> bytes:
    group = builder.dataset(b"\1\2\3")
    for _ in range(200):
        group = builder.group([(b"g", group)])
    return builder.file(group)


test_groups = each_case(
    write,
    {
        "heap signature": (with_group(heap=b"HEAq\0\0\0\0"), refused("not a local heap")),
        "heap of 2**60 bytes": (with_group(heap_nbytes=1 << 60), refused("many times")),
        "heap longer than the file": (
            with_group(heap_nbytes=1000),
            refused("too short", TruncatedError),
        ),
        "heap outside": (with_group(heap_data=1 << 30), refused("too short", TruncatedError)),
        "tree signature": (with_group(tree=b"TREF"), refused("not a B-tree of a group")),
        "tree of chunks": (with_group(tree_type=1), refused("not a B-tree of a group")),
        "tree outside": (with_group(child=1 << 30), refused("too short", TruncatedError)),
        "tree in itself": (with_group(child="itself", level=1), refused("wrong level")),
        "table signature": (with_group(symbols=b"SNOD\2\0"), refused("not a symbol table")),
        "65,535 members": (with_group(num_symbols=65535), refused("many times")),
        "name outside": (with_group(name_offset=1 << 40), refused("not inside the heap")),
        "same names": (with_group(names=(b"x", b"x")), refused("not unique")),
        "empty name": (with_group(names=(b"x", b"")), refused("empty")),
        "slash": (with_group(names=(b"x", b"a/b")), refused("slash")),
        "two links": (twice, refused("same object", UnsupportedError)),
        "cycle": (cycle, refused("same object", UnsupportedError)),
        "200 levels": (deep, refused("nested too deeply")),
    },
)


def with_header(*more: bytes, **fields: Any) -> Make:
    def make(builder: HDF5Builder) -> bytes:
        payload = builder.put(b"\1\2\3")
        x = builder.header(
            message(1, dataspace([3])),
            message(3, bytes([0x10, 0, 0, 0]) + struct.pack("<IHH", 1, 0, 8)),
            message(8, contiguous(payload, 3)),
            *more,
            **fields,
        )
        return builder.file(builder.group([(b"x", x)]))

    return make


def endless(builder: HDF5Builder) -> bytes:
    """A header that continues in itself."""
    at = len(builder.contents)
    x = builder.header(message(0x10, struct.pack("<QQ", at + 16, 24)), count=65535)
    assert x == at
    return builder.file(builder.group([(b"x", x)]))


test_headers = each_case(
    write,
    {
        "right": (with_header(), ONE),
        "unknown message": (with_header(message(0x77, b"abc")), ONE),
        "unknown message that matters": (
            with_header(message(0x77, b"abc", flags=0x80)),
            refused("newer reader", UnsupportedError),
        ),
        "version 7": (with_header(version=7), refused("not the header of an HDF5")),
        "4 GiB": (with_header(size=2**32 - 1), refused("many times")),
        "long message": (with_header(message(0x77, b"abc", size=60000)), refused("longer than")),
        "continued outside": (
            with_header(message(0x10, struct.pack("<QQ", 1 << 40, 24))),
            refused("too short", TruncatedError),
        ),
        "continued in itself": (endless, refused("many times")),
        "short continuation": (with_header(message(0x10, b"12345678")), refused("longer than")),
    },
)


def with_dataset(**fields: Any) -> Make:
    def make(builder: HDF5Builder) -> bytes:
        x = builder.dataset(b"\1\2\3", **fields)
        return builder.file(builder.group([(b"x", x)]))

    return make


def sharing(builder: HDF5Builder) -> bytes:
    at = builder.put(b"\1\2\3")
    x = builder.dataset(shape=[3], layout=contiguous(at, 3))
    y = builder.dataset(shape=[1], layout=contiguous(at + 2, 1))
    return builder.file(builder.group([(b"x", x), (b"y", y)]))


def lacking(kind: int) -> Make:
    def make(builder: HDF5Builder) -> bytes:
        parts = {1: dataspace([0]), 3: fixed_string(1), 8: contiguous(0, 0)}
        x = builder.header(*(message(i, body) for i, body in parts.items() if i != kind))
        return builder.file(builder.group([(b"x", x)]))

    return make


test_datasets = each_case(
    write,
    {
        "no shape": (lacking(1), refused("lacks a message")),
        "no type": (lacking(3), refused("lacks a message")),
        "string": (with_dataset(type=fixed_string(1)), Unsupported("as an array", unchecked=True)),
        "compound": (
            with_dataset(type=bytes([0x16, 0, 0, 0, 1, 0, 0, 0])),
            Unsupported("as an array", unchecked=True),
        ),
        "integer of 3 bits": (
            with_dataset(type=bytes([0x10, 0, 0, 0]) + struct.pack("<IHH", 1, 0, 3)),
            Unsupported("as an array", unchecked=True),
        ),
        "shape of version 9": (
            with_dataset(space=dataspace([3], version=9)),
            Unsupported("dataspace", unchecked=True),
        ),
        "33 axes": (with_dataset(shape=[1] * 33), Unsupported("too many axes", unchecked=True)),
        "external": (with_dataset(more=[message(7, bytes(16))]), Unsupported("file", True)),
        "layout 9": (with_dataset(layout=contiguous(0, 3, version=9)), Unsupported("form", True)),
        "never written": (
            with_dataset(layout=contiguous(UNDEFINED, 3)),
            Unsupported("never written", True),
        ),
        "too few bytes": (with_dataset(layout=contiguous(96, 2)), refused("fewer bytes")),
        "2**60 elements": (with_dataset(shape=[1 << 60]), refused("fewer bytes")),
        "outside": (
            with_dataset(layout=contiguous(1 << 40, 3)),
            refused("too short", TruncatedError, READ),
        ),
        "2**60 elements and bytes": (
            with_dataset(shape=[1 << 60], layout=contiguous(96, 1 << 60)),
            refused("too short", TruncatedError, READ),
        ),
        "shared bytes": (sharing, refused("share bytes")),
    },
)


def with_chunks(
    parts: list[tuple[list[int], bytes, Any]],
    *,
    shape: tuple[int, ...] = (3,),
    chunk: tuple[int, ...] = (2,),
    numbers: tuple[int, ...] = (),
    tree: int | None = None,
    **fields: Any,
) -> Make:
    def make(builder: HDF5Builder) -> bytes:
        root = builder.chunks(parts, len(chunk)) if tree is None else tree
        more = [message(11, filters(*numbers))] if numbers else []
        layout = chunked(root, chunk, **fields)
        x = builder.dataset(shape=shape, layout=layout, more=more)
        return builder.file(builder.group([(b"x", x)]))

    return make


FIRST, LAST = ([0], b"\1\2", None), ([2], b"\3\0", None)
DEFLATED = [([0], deflated(b"\1\2"), None), ([2], deflated(b"\3\0"), None)]

test_chunks = each_case(
    write,
    {
        "right": (with_chunks([FIRST, LAST]), ONE),
        "deflated": (with_chunks(DEFLATED, numbers=(1,)), ONE),
        "no chunk": (with_chunks([]), Unsupported("never written", True)),
        "no tree": (with_chunks([], tree=UNDEFINED), Unsupported("never written", True)),
        "one missing": (with_chunks([LAST]), Unsupported("never written", True)),
        "2**40 chunks": (with_chunks([FIRST], shape=(1 << 41,)), Unsupported("never", True)),
        "twice": (with_chunks([FIRST, FIRST]), refused("wrong position")),
        "between": (with_chunks([FIRST, ([1], b"\3\0", None)]), refused("wrong position")),
        "beyond": (with_chunks([FIRST, ([4], b"\3\0", None)]), refused("wrong position")),
        "short": (with_chunks([FIRST, ([2], b"\3", None)]), refused("another size")),
        "long": (with_chunks([FIRST, ([2], b"\3\0\0", None)]), refused("another size")),
        "rank": (with_chunks([FIRST, LAST], rank=3), refused("do not fit")),
        "chunk of size 0": (with_chunks([FIRST], chunk=(0,)), refused("do not fit")),
        "itemsize": (with_chunks([FIRST, LAST], itemsize=4), refused("do not fit")),
        "shared": (with_chunks([FIRST, ([2], b"\1\2", 96)]), refused("share bytes")),
        "outside": (
            with_chunks([FIRST, ([2], b"\3\0", 1 << 40)]),
            refused("too short", TruncatedError, READ),
        ),
        "bomb": (
            with_chunks([([0], deflated(bytes(9)), None)], chunk=(1 << 30,), numbers=(1,)),
            refused("another size"),
        ),
        "not deflated": (
            with_chunks([FIRST, LAST], numbers=(1,)),
            refused("decompressed", CorruptCheckpointError, READ),
        ),
        "deflated, too long": (
            with_chunks([DEFLATED[0], ([2], deflated(bytes(99)), None)], numbers=(1,)),
            refused("another size", CorruptCheckpointError, READ),
        ),
        "deflated, too short": (
            with_chunks([DEFLATED[0], ([2], deflated(b"\3"), None)], numbers=(1,)),
            refused("another size", CorruptCheckpointError, READ),
        ),
        "deflated, cut": (
            with_chunks([DEFLATED[0], ([2], deflated(b"\3\0")[:-5], None)], numbers=(1,)),
            refused("end too early", CorruptCheckpointError, READ),
        ),
        "a chunk of 128 MiB": (
            with_chunks(
                [([0], deflated(bytes(1 << 27)), None)],
                shape=(1 << 27,),
                chunk=(1 << 27,),
                numbers=(1,),
            ),
            refused("a compressed chunk is too large"),
        ),
        "deflate twice": (with_chunks(DEFLATED, numbers=(1, 1)), Unsupported("filters", True)),
        "lzf": (with_chunks(DEFLATED, numbers=(32000,)), Unsupported("filters", True)),
        "200 filters": (with_chunks(DEFLATED, numbers=(2,) * 200), Unsupported("filter", True)),
    },
)


def with_names(body: bytes, shape: tuple[int, ...] = (1,), name: bytes = b"layer_names") -> Make:
    """Attributes of the root whose strings are in a global heap at byte 96."""

    def make(builder: HDF5Builder) -> bytes:
        heap = struct.pack("<HH4xQ", 1, 1, 3) + b"abc" + bytes(5) + struct.pack("<HH4xQ", 0, 0, 0)
        assert builder.put(b"GCOL\1\0\0\0" + struct.pack("<Q", 16 + len(heap)) + heap) == 96
        x = builder.dataset(b"\1\2\3")
        more = message(12, attribute(name, VARIABLE_STRING, shape, body))
        return builder.file(builder.group([(b"x", x)], more))

    return make


def string_at(address: int, nbytes: int = 3, index: int = 1) -> bytes:
    return struct.pack("<IQI", nbytes, address, index)


test_strings = each_case(
    write,
    {
        "right": (with_names(string_at(96)), ONE),
        "another attribute": (with_names(string_at(7), name=b"other"), ONE),
        "outside": (with_names(string_at(1 << 40)), refused("too short", TruncatedError)),
        "no heap": (with_names(string_at(104)), refused("not a global heap")),
        "no object": (with_names(string_at(96, index=2)), refused("not in the heap")),
        "too long": (with_names(string_at(96, nbytes=99)), refused("not in the heap")),
        "too many": (with_names(string_at(96), shape=(9,)), refused("longer than")),
        "2**60": (with_names(string_at(96), shape=(1 << 60,)), refused("longer than")),
    },
)


# Archives


def archive(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, contents in members.items():
            # With a ZipInfo, the time is not in the bytes.
            file.writestr(zipfile.ZipInfo(name.replace("_", ".")), contents)
    return stream.getvalue()


SOUND = with_superblock()(HDF5Builder())


@pytest.mark.parametrize(
    ("contents", "error_class"),
    [
        (archive(other=b""), NotACheckpointError),
        (archive(config_json=b"{}"), UnsupportedError),
        (archive(model_weights_h5=b""), TruncatedError),
        (archive(model_weights_h5=SOUND[:-20]), TruncatedError),
        (archive(model_weights_h5=b"\x93NUMPY" + bytes(200)), CorruptCheckpointError),
    ],
    ids=["other", "no weights", "empty weights", "cut off", "not HDF5"],
)
def test_archives(contents: bytes, error_class: type[Exception], tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    path.write_bytes(contents)
    with pytest.raises(error_class) as raised, open_checkpoint(path) as ckpt:
        for name in ckpt:
            ckpt[name]
    assert type(raised.value) is error_class
    assert raised.value.file.startswith(str(path))  # type: ignore[attr-defined]


# Configurations

CONFIGS = {
    "no JSON": b"{",
    "a list": b"[]",
    "deep lists": b'{"a":' + b"[" * 100_000,
    "deep objects": b'{"config":' * 101,
    "brackets in an open text": b'{"a":"' + b"[" * 500,
    "a constant": b'{"a":nul}',
}


@pytest.mark.parametrize("text", CONFIGS.values(), ids=CONFIGS)
def test_configurations_that_are_refused(text: bytes) -> None:
    with pytest.raises(CorruptCheckpointError):
        load_json(text, "config.json")
    with pytest.raises(CorruptCheckpointError):
        describe_keras(MemorySource("m.keras", archive(model_weights_h5=SOUND, config_json=text)))


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"class_name": 5, "config": None, "compile_config": 7},
        {"config": {"name": [], "layers": {"a": 1}}},
        {"config": {"layers": [1, None, [], {"class_name": {}, "config": 3, "name": 4}]}},
        {"config": [{"config": {"layers": [{}]}}], "compile_config": {"optimizer": [1]}},
        {"compile_config": {"optimizer": {"class_name": None, "config": []}}},
    ],
)
def test_configurations_with_values_of_other_types(config: Any) -> None:
    text = json.dumps(config).encode()
    said = describe_keras(
        MemorySource("m.keras", archive(model_weights_h5=SOUND, config_json=text))
    )
    assert said.class_name is None
    assert said.optimizer is None


def test_a_name_that_is_no_text() -> None:
    text = b'{"class_name": "\\ud800x", "config": {"layers": [{"name": "\\udfff"}]}}'
    said = describe_keras(
        MemorySource("m.keras", archive(model_weights_h5=SOUND, config_json=text))
    )
    assert (said.class_name, said.layers[0].name) == ("?x", "?")


def test_long_integers_and_brackets_in_texts() -> None:
    found = load_json(b'{"a": %s, "b": "%s"}' % (b"9" * 100_000, b"[" * 500), "config.json")
    assert found["a"] == float("inf")


def test_an_attribute_that_is_no_text() -> None:
    source = MemorySource("m.h5", with_names(string_at(96), name=b"model_config")(HDF5Builder()))
    with pytest.raises(CorruptCheckpointError, match="model_config is not JSON"):
        describe_h5(source)
