"""Constants of frozen graphs and of SavedModels, compared with what TensorFlow read of them."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from ckptparse import (
    Checkpoint,
    CheckpointNotFoundError,
    CorruptCheckpointError,
    NotACheckpointError,
    TensorNotFoundError,
    UnsupportedError,
    open_checkpoint,
    save_checkpoint,
)
from ckptparse.formats.frozen_graph import open_frozen_graph
from ckptparse.sources import MemorySource
from support.builders import bytes_field, fixed32_field, varint, varint_field
from support.constants import (
    FLOAT,
    GRAPHS,
    INT32,
    STRING,
    ExpectedConstant,
    attr,
    const,
    function,
    graph,
    load_constants,
    node,
    saved_model,
    tensor,
)
from support.oracle import payload_of
from support.repository import FIXTURES

FLOAT8_E5M2 = 24

CONV_NET = FIXTURES / "tf-1.15.5/frozen_conv_net"
FROZEN = CONV_NET / "frozen_inference_graph.pb"
TEXT = CONV_NET / "frozen_inference_graph.pbtxt"
DTYPES = "tf-2.21.0/constants_dtypes/constants.pb"
FUNCTIONS = "tf-2.21.0/frozen_functions/frozen.pb"

by_graph = pytest.mark.parametrize("name", GRAPHS)
by_mmap = pytest.mark.parametrize("mmap", [True, False], ids=["mapped", "copied"])


def open_all(name: str, *, mmap: bool = True, verify: bool = True) -> Checkpoint:
    """Open one of GRAPHS with all constants."""
    return open_checkpoint(
        FIXTURES / name, format="frozen-graph", all_constants=True, mmap=mmap, verify=verify
    )


def size_of(constant: ExpectedConstant) -> int:
    return int(np.prod(constant.shape, dtype=np.int64))


def open_bytes(contents: bytes, *, all_constants: bool = False) -> Checkpoint:
    source = MemorySource("graph.pb", contents)
    return Checkpoint(open_frozen_graph(source, verify=True, all_constants=all_constants))


def read_one(proto: bytes) -> np.ndarray:
    with open_bytes(graph(const(b"x", proto)), all_constants=True) as ckpt:
        array: np.ndarray = ckpt["x"]
        return array


# Fixtures


@by_mmap
@by_graph
def test_constants_are_what_tensorflow_reads(name: str, mmap: bool) -> None:
    expected = load_constants(name)
    with open_all(name, mmap=mmap) as ckpt:
        assert ckpt.format == "frozen-graph"
        assert list(ckpt) == [constant.name for constant in expected]
        for constant, info in zip(expected, ckpt.infos(), strict=True):
            assert ckpt.info(constant.name) == info
            assert (info.tensorflow_dtype, info.shape) == (constant.dtype, constant.shape)
            assert info.size == size_of(constant)
            assert constant.read_by is not None
            array = ckpt[constant.name]
            assert (array.dtype, array.shape) == (info.dtype, info.shape)
            assert array.dtype.isnative
            assert not array.flags.writeable
            assert payload_of(array) == constant.payload
            if array.dtype != object:
                assert info.nbytes == array.nbytes


def test_there_are_constants_of_every_dtype_and_form() -> None:
    names = {constant.name for constant in load_constants(DTYPES)}
    dtypes = {constant.dtype for constant in load_constants(DTYPES)}
    assert len(dtypes) == 31
    forms = ("values", "padded", "splat", "zeros", "scalar", "unset", "empty")
    assert {f"{dtype}/{form}" for dtype in dtypes for form in forms} <= names
    assert {f"{dtype}/content" for dtype in dtypes} <= names


@by_graph
def test_a_constant_of_one_element_or_none_is_listed_only_when_asked(name: str) -> None:
    with open_checkpoint(FIXTURES / name, format="frozen-graph") as ckpt:
        large = [each.name for each in load_constants(name) if size_of(each) > 1]
        assert list(ckpt) == large
        assert len(ckpt) < len(load_constants(name)) or "conv_net" in name or "frozen/" in name


@by_mmap
@by_graph
def test_parts_and_pieces_are_those_of_the_whole(name: str, mmap: bool) -> None:
    with open_all(name, mmap=mmap) as ckpt:
        for key, array in ckpt.items():
            for index in (..., np.s_[:1], np.s_[..., -1:], np.s_[..., None], [0, -1]):
                if not array.ndim and index not in (..., np.s_[..., None]):
                    continue
                if not array.size and isinstance(index, list):
                    continue
                part = ckpt.read(key, index)
                assert payload_of(part) == payload_of(array[index])
                assert part.shape == array[index].shape
                assert not part.flags.writeable
            pieces = list(ckpt.read_pieces([key], 16))
            assert b"".join(payload_of(piece.values) for piece in pieces) == payload_of(array)
            assert {(piece.dtype, piece.shape) for piece in pieces} == {
                (ckpt.info(key).tensorflow_dtype, array.shape)
            }


@by_graph
def test_verify_reads_all_and_compares_nothing(name: str) -> None:
    with open_all(name) as ckpt:
        report = ckpt.verify()
        assert report.ok
        assert report.nbytes == 0
        assert report.unchecked == tuple(ckpt)


@by_graph
def test_constants_are_the_same_at_a_url(name: str) -> None:
    fsspec = pytest.importorskip("fsspec")
    path = FIXTURES / name
    if path.is_dir():
        path /= "saved_model.pb"
    memory = fsspec.filesystem("memory")
    memory.pipe(f"/frozen/{path.name}", path.read_bytes())
    try:
        with open_all(name) as local:
            url = f"memory://frozen/{path.name}"
            with open_checkpoint(url, format="frozen-graph", all_constants=True) as ckpt:
                for (key, array), (other, expected) in zip(
                    ckpt.items(), local.items(), strict=True
                ):
                    assert key == other
                    assert payload_of(array) == payload_of(expected)
    finally:
        memory.rm("/frozen", recursive=True)


def test_content_is_mapped_where_it_is_in_the_file() -> None:
    contents = FROZEN.read_bytes()
    with open_checkpoint(FROZEN) as ckpt:
        assert ckpt.files == [str(FROZEN)]
        for info in ckpt.infos():
            assert info.mapped
            assert info.file == str(FROZEN)
            assert info.offset is not None
            stored = contents[info.offset : info.offset + info.nbytes]
            assert ckpt[info.name].tobytes() == stored
            assert ckpt[info.name].base is not None
    with open_checkpoint(FROZEN, mmap=False) as ckpt:
        assert not any(info.mapped for info in ckpt.infos())


def test_values_as_in_memory_are_mapped_and_others_are_not() -> None:
    with open_all(DTYPES) as ckpt:
        mapped = {info.name for info in ckpt.infos() if info.mapped}
        assert {"float32/values", "complex128/values", "float8_e5m2/values"} <= mapped
        assert mapped.isdisjoint({"int32/values", "float16/values", "float32/padded"})
        for info in ckpt.infos():
            assert info.mapped == (info.offset is not None and info.size > 0)


def test_positions_in_text_are_not_given() -> None:
    with open_checkpoint(TEXT) as ckpt, open_checkpoint(FROZEN) as binary:
        assert list(ckpt) == list(binary)
        for info in ckpt.infos():
            assert (info.offset, info.mapped, info.file) == (None, False, str(TEXT))


def test_text_is_recognised_by_its_beginning(tmp_path: Path) -> None:
    shutil.copy(TEXT, tmp_path / "graph.pb")
    with open_checkpoint(tmp_path / "graph.pb") as ckpt:
        assert len(ckpt) == len(load_constants(GRAPHS[1]))


def test_quantized_constants_keep_their_integers(tmp_path: Path) -> None:
    name = "conv/kernel/read/_0__cf__0_quantized_const"
    with open_checkpoint(FIXTURES / GRAPHS[2]) as ckpt:
        info = ckpt.info(name)
        assert (info.dtype, info.tensorflow_dtype) == (np.uint8, "quint8")
        save_checkpoint(tmp_path / "saved", ckpt)
        with open_checkpoint(tmp_path / "saved") as saved:
            assert saved.info(name).tensorflow_dtype == "quint8"
            for key, array in ckpt.items():
                assert payload_of(saved[key]) == payload_of(array)


@by_graph
def test_every_constant_can_be_saved(name: str, tmp_path: Path) -> None:
    with open_all(name) as ckpt:
        save_checkpoint(tmp_path / "saved", ckpt)
        with open_checkpoint(tmp_path / "saved") as saved:
            assert set(saved) == set(ckpt)
            for key, array in ckpt.items():
                assert payload_of(saved[key]) == payload_of(array)
                assert saved.info(key).tensorflow_dtype == ckpt.info(key).tensorflow_dtype


def test_it_is_a_checkpoint_in_every_way() -> None:
    with open_checkpoint(FROZEN) as ckpt:
        assert ckpt.object_graph is None
        assert ckpt.roles() == {}
        assert list(ckpt.select(include="dense/*")) == ["dense/kernel", "dense/bias"]
        with pickle_copy(ckpt) as other:
            assert list(other) == list(ckpt)
        with pytest.raises(TensorNotFoundError, match="dense/kernel"):
            ckpt["dense/kernal"]
        array = ckpt["dense/bias"]
    assert array.shape == (5,)


@pytest.mark.parametrize("path", [FROZEN, TEXT], ids=["binary", "text"])
def test_the_graph_has_no_variables(path: Path) -> None:
    with open_checkpoint(path) as ckpt:
        assert ckpt.meta_graph is not None
        assert (ckpt.meta_graph.variables, ckpt.meta_graph.tags) == ((), ())
        assert ckpt.meta_graph.op_counts["Conv2D"] == 1


def pickle_copy(ckpt: Checkpoint) -> Checkpoint:
    copied: Checkpoint = pickle.loads(pickle.dumps(ckpt))
    return copied


def test_all_constants_are_kept_by_a_copy() -> None:
    with open_all(GRAPHS[2]) as ckpt, pickle_copy(ckpt) as other:
        assert list(other) == list(ckpt)


def test_frozen_weights_are_the_moving_averages() -> None:
    with open_checkpoint(FROZEN) as frozen, open_checkpoint(CONV_NET / "model.ckpt") as ckpt:
        for name in ("conv/kernel", "norm/gamma", "norm/beta", "dense/kernel", "dense/bias"):
            average = ckpt[f"{name}/ExponentialMovingAverage"]
            assert np.array_equal(frozen[name], average)
            assert not np.array_equal(frozen[name], ckpt[name])


# SavedModels


class TestSavedModels:
    FROZEN = FIXTURES / "tf-1.15.5/saved_model_frozen/saved_model"
    CONSTANTS = FIXTURES / "tf-2.21.0/saved_model_constants/saved_model"
    VARIABLES = FIXTURES / "tf-1.15.5/saved_model_simple/saved_model"

    def test_without_variables_it_is_its_graph(self) -> None:
        for path in (self.FROZEN, self.FROZEN / "saved_model.pb"):
            with open_checkpoint(path) as ckpt:
                assert ckpt.format == "frozen-graph"
                assert ckpt.path == str(self.FROZEN / "saved_model.pb")
                assert ckpt.meta_graph is not None
                assert ckpt.meta_graph.tags == ("serve",)
                assert "dense/kernel" in ckpt

    def test_with_variables_these_are_opened_unless_the_format_is_given(self) -> None:
        for path in (self.CONSTANTS, self.CONSTANTS / "saved_model.pb"):
            with open_checkpoint(path) as ckpt:
                assert ckpt.format == "v2"
            with open_checkpoint(path, format="frozen-graph") as ckpt:
                assert list(ckpt)[:2] == [
                    "__inference___call___8/kernel",
                    "__inference___call___8/bias",
                ]

    def test_confined(self) -> None:
        for path in (self.FROZEN, self.FROZEN / "saved_model.pb"):
            with open_checkpoint(path, confined=True) as ckpt:
                assert ckpt.format == "frozen-graph"

    def test_variables_that_are_missing_are_no_constants(self, tmp_path: Path) -> None:
        shutil.copy(self.VARIABLES / "saved_model.pb", tmp_path)
        with pytest.raises(CheckpointNotFoundError, match="variables of this SavedModel are"):
            open_checkpoint(tmp_path)
        with open_checkpoint(tmp_path, format="frozen-graph") as ckpt:
            assert len(ckpt) > 0

    def test_without_variables_and_weights(self) -> None:
        path = FIXTURES / "tf-1.15.5/saved_model_no_variables/saved_model"
        with pytest.raises(CheckpointNotFoundError, match="no variables, and its graph has no"):
            open_checkpoint(path)
        with open_checkpoint(path, all_constants=True) as ckpt:
            assert [info.size for info in ckpt.infos()] == [1]

    def test_the_first_graph_counts(self) -> None:
        graphs = [graph(const(name, tensor(shape=[2]))) for name in (b"a", b"b")]
        with open_bytes(saved_model(*graphs)) as ckpt:
            assert list(ckpt) == ["a"]


# Encodings that TensorFlow does not write, and its readers accept


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        (FLOAT, b"".join(fixed32_field(5, bits) for bits in (0x3F800000, 0x40000000, 0x40400000))),
        (
            FLOAT,
            bytes_field(5, bytes.fromhex("0000803f00000040")) + fixed32_field(5, 0x40400000),
        ),
        (INT32, varint_field(7, 1) + varint_field(7, 2) + varint_field(7, 3)),
        (INT32, varint_field(7, 1) + bytes_field(7, varint(2) + varint(3))),
        (INT32, bytes_field(7, b"") + bytes_field(7, b"\x01\x02") + bytes_field(7, b"\x03")),
    ],
    ids=["unpacked", "chunks", "unpacked int", "mixed", "chunks of int"],
)
def test_values_in_several_fields(dtype: int, values: bytes) -> None:
    assert read_one(tensor(dtype, [3], values=values)).tolist() == [1, 2, 3]
    assert read_one(tensor(dtype, [2, 3], values=values)).tolist() == [[1, 2, 3], [3, 3, 3]]


def test_one_unpacked_value_is_repeated() -> None:
    assert read_one(tensor(INT32, [3], values=varint_field(7, 300))).tolist() == [300] * 3
    assert read_one(tensor(FLOAT, [2], values=fixed32_field(5, 0x3F800000))).tolist() == [1, 1]


def test_content_precedes_values_and_the_last_content_counts() -> None:
    values = bytes_field(5, b"\0\0\x80\x3f") + bytes_field(4, b"\0\0\0\x40" * 2)
    assert read_one(tensor(FLOAT, [2], b"\0" * 8, values)).tolist() == [2, 2]


def test_of_several_strings_of_float8_the_last_one_counts() -> None:
    values = bytes_field(18, b"\x3c\x3c\x3c") + bytes_field(18, b"\x40\x3c")
    assert read_one(tensor(FLOAT8_E5M2, [2], values=values)).astype("f4").tolist() == [2, 1]


def test_only_the_value_of_a_constant_counts() -> None:
    value, other = [
        bytes_field(8, tensor(INT32, [2], content)) for content in (b"\1" * 8, b"\2" * 8)
    ]
    attrs = attr(b"value", value) + attr(b"values", other) + attr(b"", other)
    with open_bytes(graph(node(b"x", attrs=attrs))) as ckpt:
        assert ckpt["x"].tobytes() == b"\1" * 8


def test_fields_in_another_order() -> None:
    proto = bytes_field(4, b"\0\0\0\x40" * 2) + tensor(FLOAT, [2])
    assert read_one(proto).tolist() == [2, 2]
    serialized = attr(b"T", b"") + attr(b"value", bytes_field(8, proto)) + bytes_field(2, b"Const")
    with open_bytes(bytes_field(1, serialized + bytes_field(1, b"x"))) as ckpt:
        assert ckpt["x"].tolist() == [2, 2]


def test_a_shape_that_is_not_stored_is_that_of_a_scalar() -> None:
    proto = varint_field(1, INT32) + varint_field(7, 5)
    assert read_one(proto).shape == ()
    assert read_one(varint_field(1, INT32)).tolist() == 0


def test_only_constants_are_tensors() -> None:
    value = attr(b"value", bytes_field(8, tensor(shape=[2])))
    nodes = [node(b"a", b"Constant", value), node(b"b", b"", value), const(b"c", tensor(shape=[2]))]
    with open_bytes(graph(*nodes)) as ckpt:
        assert list(ckpt) == ["c"]


def test_a_constant_without_a_value_is_of_an_unknown_dtype() -> None:
    with open_bytes(graph(node(b"x")), all_constants=True) as ckpt:
        assert ckpt.info("x").tensorflow_dtype == "unknown dtype 0"
        with pytest.raises(UnsupportedError):
            ckpt["x"]


# Names


def test_names_that_are_not_utf8() -> None:
    with open_bytes(graph(const(b"a\xff", tensor(shape=[2])))) as ckpt:
        assert list(ckpt) == ["a\udcff"]
        assert ckpt["a\udcff"].shape == (2,)


def test_a_function_that_has_the_name_of_a_scope() -> None:
    proto = tensor(shape=[2])
    functions = [function(b"f", const(b"x", proto), const(b"y", proto)), function(b"g/f")]
    with open_bytes(graph(const(b"f/x", proto), functions=functions)) as ckpt:
        assert list(ckpt) == ["f/x", "f:x", "f/y"]


def test_names_do_not_depend_on_what_is_listed() -> None:
    functions = [function(b"f", const(b"x", tensor(shape=[2])))]
    serialized = graph(const(b"f/x", tensor()), functions=functions)
    with open_bytes(serialized) as ckpt:
        assert list(ckpt) == ["f:x"]


@pytest.mark.parametrize(
    "serialized",
    [
        graph(const(b"x", tensor()), const(b"x", tensor(shape=[2]))),
        graph(const(b"", tensor(shape=[2]))),
        graph(functions=[function(b"f", *[const(b"x", tensor())] * 3)]),
    ],
    ids=["graph", "empty", "function"],
)
def test_names_are_unique(serialized: bytes) -> None:
    with pytest.raises(CorruptCheckpointError, match="invalid name of a constant"):
        open_bytes(serialized)


# Files that are something else


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (b"", "this graph has no constants"),
        (graph(node(b"x", b"Placeholder")), "this graph has no constants"),
        (graph(node(b"x", b"VariableV2"), const(b"y", tensor())), "this graph has no constants"),
        (b"\x08\x07\x12\x07pytorch" + bytes_field(7, b"\x0a\x00"), "but an ONNX model"),
        (varint_field(1, 4) + bytes_field(2, b"") + bytes_field(200, b""), "but a CoreML model"),
        (b"\x1c\0\0\0TFL3" + bytes(40), "but a TensorFlow Lite model"),
        (b"\x89HDF\r\n\x1a\n" + bytes(90), "but an HDF5 file"),
        (b"<!DOCTYPE html><html></html>", "but an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git-lfs"),
        (b"\xff" * 100, "but a file of another format"),
    ],
    ids=["empty", "nodes", "variable", "onnx", "coreml", "tflite", "hdf5", "html", "lfs", "noise"],
)
def test_what_is_no_frozen_graph(contents: bytes, words: str) -> None:
    with pytest.raises(NotACheckpointError, match=words) as error:
        open_bytes(contents)
    assert error.value.file == "graph.pb"


def test_a_meta_graph_is_named(tmp_path: Path) -> None:
    for path in sorted(FIXTURES.glob("*/training_graph/model.ckpt.meta")):
        shutil.copy(path, tmp_path / "graph.pb")
        with pytest.raises(NotACheckpointError, match=r"a MetaGraphDef: the content of a \.meta"):
            open_checkpoint(tmp_path / "graph.pb")


def test_a_graph_without_large_constants_says_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "graph.pbtxt"
    path.write_text('node { name: "x" op: "VariableV2" }\nnode { name: "y" op: "Const" }\n')
    with pytest.raises(NotACheckpointError) as error:
        open_checkpoint(path)
    assert "all_constants=True" in str(error.value)
    assert "2 nodes: 1 variables, and 1 constants" in str(error.value)
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(NotACheckpointError, match="git lfs pull"):
        open_checkpoint(path)
    path.write_text("no graph at all\n")
    with pytest.raises(NotACheckpointError, match="this is not a graph"):
        open_checkpoint(path)


def test_strings_in_content_have_lengths_first() -> None:
    assert read_one(tensor(STRING, [2], b"\x01\x02abb")).tolist() == [b"a", b"bb"]
