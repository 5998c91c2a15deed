"""safetensors files with one wrong field: the length of the header, its JSON, each tensor in it."""

from __future__ import annotations

import json
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
from support.hostile import OPEN, Refused, Right, Unsupported, each_case

RIGHT = Right({"x": [1, 2, 3], "y": [4]})
PAYLOAD = bytes([1, 2, 3, 4])
X = {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]}
Y = {"dtype": "U8", "shape": [1], "data_offsets": [3, 4]}
BACKWARDS = json.dumps(dict(reversed(X.items()))).encode()


def header(**changed: Any) -> bytes:
    """A header of x and y; fields of x, or None to leave one out."""
    fields = {name: value for name, value in {**X, **changed}.items() if value is not None}
    return json.dumps({"x": fields, "y": Y}).encode()


def with_x(text: bytes) -> bytes:
    """A header in which a text is the value of x."""
    return b'{"x":%s,"y":%s}' % (text, json.dumps(Y).encode())


def write_file(folder: Path, contents: bytes) -> Path:
    path = folder / "m.safetensors"
    path.write_bytes(contents)
    return path


def write(folder: Path, text: bytes) -> Path:
    """The file with a header, and the elements of x and y."""
    return write_file(folder, len(text).to_bytes(8, "little") + text + PAYLOAD)


def write_compact(folder: Path, text: bytes) -> Path:
    """The same without spaces, as the library writes headers."""
    return write(folder, text.replace(b", ", b",").replace(b": ", b":"))


both = pytest.mark.parametrize("write", [write, write_compact], ids=["spaces", "compact"])


def refused(words: str, error_class: Any = CorruptCheckpointError, offset: Any = ...) -> Refused:
    return Refused(OPEN, words, error_class, suffix="", offset=offset)


NO_JSON = refused("the header is not JSON")
NO_COUNT = refused("the shape is not valid")
NO_OFFSETS = refused("data_offsets is not valid")
NO_SIZE = refused("the size of a tensor contradicts its shape")
GAP = refused("overlap, or have gaps")
TWICE = refused("a name twice")
NO_METADATA = refused("__metadata__ is not valid")

SOUND = header()

HEADERS: dict[str, Any] = {
    "as written": (SOUND, RIGHT),
    "spaces after it": (SOUND + b"   ", RIGHT),
    "line feeds after it": (SOUND + b"\r\n\t", RIGHT),
    "a NUL after it": (SOUND + b"\0", NO_JSON),
    "two objects": (SOUND + SOUND, NO_JSON),
    "an open object": (SOUND[:-1], NO_JSON),
    "half of it": (SOUND[:40], NO_JSON),
    "a comma too much": (SOUND[:-1] + b",}", NO_JSON),
    "a comment": (SOUND[:-1] + b"/**/}", NO_JSON),
    "not UTF-8": (SOUND.replace(b'"y"', b'"\xff"'), refused("not UTF-8")),
    "UTF-8 of a surrogate": (SOUND.replace(b'"y"', b'"\xed\xa0\x80"'), refused("not UTF-8")),
    "UTF-16": (b"{\0" + SOUND.decode().encode("utf-16-le")[2:], NO_JSON),
    "a control character": (SOUND.replace(b'"y"', b'"\x1f"'), NO_JSON),
    "a lone surrogate": (SOUND.replace(b'"y"', rb'"\ud800"'), refused("not Unicode")),
    "an unknown escape": (SOUND.replace(b'"y"', rb'"\q"'), NO_JSON),
    "an escaped name": (SOUND.replace(b'"y"', rb'"\u0079"'), RIGHT),
    "NaN": (SOUND.replace(b"[1]", b"[NaN]"), NO_JSON),
    "Infinity": (SOUND.replace(b"[1]", b"[Infinity]"), NO_JSON),
    "a name twice": (SOUND.replace(b'"y"', b'"x"'), TWICE),
    "a name twice, once escaped": (SOUND.replace(b'"y"', rb'"\u0078"'), TWICE),
    "nested arrays": (with_x(b"[" * 100_000), refused("nested too deeply|not JSON")),
    "nested objects": (with_x(b'{"a":' * 100_000), refused("nested too deeply|not JSON")),
    "a long integer": (header().replace(b"[1]", b"[" + b"1" * 500_000 + b"]"), refused("")),
    "a long fraction": (header().replace(b"[1]", b"[1." + b"1" * 500_000 + b"]"), refused("")),
}

METADATA: dict[str, Any] = {
    "none": (SOUND, RIGHT),
    "null": (SOUND[:-1] + b',"__metadata__":null}', RIGHT),
    "empty": (SOUND[:-1] + b',"__metadata__":{}}', RIGHT),
    "texts": (SOUND[:-1] + b',"__metadata__":{"a":"b","":""}}', RIGHT),
    "a name twice in it": (SOUND[:-1] + b',"__metadata__":{"a":"b","a":"c"}}', RIGHT),
    "twice": (SOUND[:-1] + b',"__metadata__":{},"__metadata__":{}}', TWICE),
    "a number": (SOUND[:-1] + b',"__metadata__":1}', NO_METADATA),
    "an array": (SOUND[:-1] + b',"__metadata__":[]}', NO_METADATA),
    "a number in it": (SOUND[:-1] + b',"__metadata__":{"a":1}}', NO_METADATA),
    "a fraction in it": (SOUND[:-1] + b',"__metadata__":{"a":1.5}}', NO_METADATA),
    "an object in it": (SOUND[:-1] + b',"__metadata__":{"a":{}}}', NO_METADATA),
    "a tensor": (SOUND[:-1] + b',"__metadata__":%s}' % json.dumps(X).encode(), NO_METADATA),
}

TENSORS: dict[str, Any] = {
    "a field that is ignored": (header(other={"a": [1.5, None, [True]]}), RIGHT),
    "fields in another order": (with_x(BACKWARDS), RIGHT),
    "no object": (with_x(b"1"), refused("a tensor of the header is not valid")),
    "null": (with_x(b"null"), refused("a tensor of the header is not valid")),
    "an array": (with_x(b'["U8",[3],[0,3]]'), refused("a tensor of the header is not valid")),
    "an empty object": (with_x(b"{}"), refused("the dtype is not valid")),
    "a field twice": (header().replace(b'"shape"', b'"dtype":"U8","shape"', 1), TWICE),
    "no dtype": (header(dtype=None), refused("the dtype is not valid")),
    "a number as dtype": (header(dtype=1), refused("the dtype is not valid")),
    "an object as dtype": (header(dtype={"U8": None}), refused("the dtype is not valid")),
    "an unknown dtype": (header(dtype="u8"), refused("dtype of a tensor", UnsupportedError)),
    "a dtype of 2 bytes": (header(dtype="U16"), NO_SIZE),
    "no shape": (header(shape=None), NO_COUNT),
    "a number as shape": (header(shape=3), NO_COUNT),
    "an object as shape": (header(shape={"3": 3}), NO_COUNT),
    "a negative size": (header(shape=[-3]), NO_COUNT),
    "two negative sizes": (header(shape=[-3, -1]), NO_COUNT),
    "true as a size": (header(shape=[3, True]), NO_COUNT),
    "a fraction as a size": (header(shape=[3.0]), NO_COUNT),
    "an exponent": (header().replace(b"[3]", b"[3e0]", 1), NO_COUNT),
    "a text as a size": (header(shape=["3"]), NO_COUNT),
    "null as a size": (header().replace(b"[3]", b"[null]", 1), NO_COUNT),
    "an array as a size": (header(shape=[[3]]), NO_COUNT),
    "a size of 2**64": (header(shape=[3, 2**64]), NO_COUNT),
    "one less": (header(shape=[2]), NO_SIZE),
    "one more": (header(shape=[4]), NO_SIZE),
    "2**64 elements": (header(shape=[2**32, 2**32]), refused("too many elements")),
    "2**64 bits": (header(shape=[2**61]), refused("too many elements")),
    "2**64 elements times 0": (header(shape=[2**63, 2, 0]), refused("too many elements")),
    "wraps to the size": (header(shape=[2**64 - 1, 2**64 - 3]), refused("too many elements")),
    "no offsets": (header(data_offsets=None), NO_OFFSETS),
    "one offset": (header(data_offsets=[0]), NO_OFFSETS),
    "three offsets": (header(data_offsets=[0, 3, 3]), NO_OFFSETS),
    "an object as offsets": (header(data_offsets={"0": 3}), NO_OFFSETS),
    "a negative offset": (header(data_offsets=[-1, 2]), NO_OFFSETS),
    "a fraction as an offset": (header(data_offsets=[0, 3.5]), NO_OFFSETS),
    "true as an offset": (header(data_offsets=[False, 3]), NO_OFFSETS),
    "an offset of 2**64": (header(data_offsets=[2**64 - 3, 2**64]), NO_OFFSETS),
    "an end of 2**64-1": (header(data_offsets=[2**64 - 4, 2**64 - 1]), GAP),
    "offsets in the other order": (header(data_offsets=[3, 0]), NO_SIZE),
    "a gap before it": (header(data_offsets=[1, 4]), GAP),
    "the same bytes": (header(shape=[1], data_offsets=[3, 4]), GAP),
    "overlapping": (header(shape=[4], data_offsets=[0, 4]), GAP),
    "a gap after it": (header(shape=[2], data_offsets=[0, 2]), GAP),
    "half a byte": (
        header(dtype="F4", shape=[7], data_offsets=[0, 3]),
        refused("inside a byte"),
    ),
}


@both
@pytest.mark.parametrize(("text", "outcome"), HEADERS.values(), ids=HEADERS)
def test_headers(text: bytes, outcome: Any, write: Any, tmp_path: Path) -> None:
    outcome.check(write(tmp_path, text))


@both
@pytest.mark.parametrize(("text", "outcome"), METADATA.values(), ids=METADATA)
def test_metadata(text: bytes, outcome: Any, write: Any, tmp_path: Path) -> None:
    outcome.check(write(tmp_path, text))


@both
@pytest.mark.parametrize(("text", "outcome"), TENSORS.values(), ids=TENSORS)
def test_tensors(text: bytes, outcome: Any, write: Any, tmp_path: Path) -> None:
    outcome.check(write(tmp_path, text))


test_files = each_case(
    write_file,
    {
        "one byte less": (
            len(SOUND).to_bytes(8, "little") + SOUND + PAYLOAD[:-1],
            refused("ends before its tensors", TruncatedError),
        ),
        "no elements": (
            len(SOUND).to_bytes(8, "little") + SOUND,
            refused("ends before its tensors", TruncatedError),
        ),
        "one byte more": (
            len(SOUND).to_bytes(8, "little") + SOUND + PAYLOAD + b"\0",
            refused("bytes after the last tensor", offset=8 + len(SOUND) + 4),
        ),
        "nothing but a length": (
            (2).to_bytes(8, "little") + b"{}",
            Right({}),
        ),
        "bytes after no tensors": (
            (2).to_bytes(8, "little") + b"{}x",
            refused("bytes after the last tensor", offset=10),
        ),
    },
)


LENGTHS = {
    "an empty file": (b"", NotACheckpointError),
    "7 bytes": (b"\x02" + bytes(6), NotACheckpointError),
    "a length of 0": (bytes(8) + PAYLOAD, NotACheckpointError),
    "a length of 1": (b"\x01" + bytes(7) + SOUND, CorruptCheckpointError),
    "one more than the file": ((3).to_bytes(8, "little") + b"{}", TruncatedError),
    "100 MB": ((100_000_000).to_bytes(8, "little") + SOUND, TruncatedError),
    "100 MB and a byte": ((100_000_001).to_bytes(8, "little") + SOUND, CorruptCheckpointError),
    "2**64-1": (b"\xff" * 8 + SOUND, CorruptCheckpointError),
    "spaces before it": ((3).to_bytes(8, "little") + b" {}", NotACheckpointError),
    "a byte order mark before it": (
        (5).to_bytes(8, "little") + b"\xef\xbb\xbf{}",
        NotACheckpointError,
    ),
    "null": ((4).to_bytes(8, "little") + b"null", NotACheckpointError),
    "an array": ((2).to_bytes(8, "little") + b"[]", NotACheckpointError),
}


@pytest.mark.parametrize("mmap", [True, False], ids=["mapped", "copied"])
@pytest.mark.parametrize(("contents", "error_class"), LENGTHS.values(), ids=LENGTHS)
def test_lengths(contents: bytes, error_class: type[Exception], mmap: bool, tmp_path: Path) -> None:
    """The format is given, as such files are not recognised."""
    path = write_file(tmp_path, contents)
    with pytest.raises(error_class) as raised:
        open_checkpoint(path, format="safetensors", mmap=mmap)
    assert type(raised.value) is error_class
    assert raised.value.file == str(path)


SHAPES = {
    "2**63 elements in one dimension, and none": [2**63, 0],
    "65 dimensions": [1] * 65,
    "no elements, and 2**62 of the others": [0, 2**31, 2**31],
}
EMPTY_OR_ONE = {name: 1 if 0 not in shape else 0 for name, shape in SHAPES.items()}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_that_numpy_does_not_have(name: str, tmp_path: Path) -> None:
    nbytes = EMPTY_OR_ONE[name]
    dtype = "F32" if nbytes == 0 else "U8"
    x = {"dtype": dtype, "shape": SHAPES[name], "data_offsets": [0, nbytes]}
    text = json.dumps({"x": x}).encode()
    path = write_file(tmp_path, len(text).to_bytes(8, "little") + text + bytes(nbytes))
    Unsupported("numpy", unchecked=True).check(path)


def test_every_byte_of_a_file_cut_or_changed_is_an_error_or_right(tmp_path: Path) -> None:
    """Of the header; the elements have no checksum."""
    whole = len(SOUND).to_bytes(8, "little") + SOUND + PAYLOAD
    path = write_file(tmp_path, whole)
    for at in range(len(whole)):
        for contents in (whole[:at], whole[:at] + bytes([whole[at] ^ 0x21]) + whole[at + 1 :]):
            path.write_bytes(contents)
            try:
                with open_checkpoint(path, format="safetensors") as ckpt:
                    names = {name: ckpt[name].nbytes for name in ckpt}
            except (CorruptCheckpointError, NotACheckpointError, UnsupportedError):
                continue
            assert len(contents) == len(whole)
            assert sum(names.values()) == len(PAYLOAD)
