"""Meta graphs: against what TensorFlow recorded, the traps by number, and bad files."""

from __future__ import annotations

import itertools
import json
import tracemalloc
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from ckptparse import CheckpointError, CheckpointNotFoundError, CorruptCheckpointError
from ckptparse.metagraph import (
    GraphVariable,
    MetaGraph,
    find_graph_file,
    parse_meta_graph,
    parse_saved_model,
    read_graph_file,
)
from ckptparse.sources import LocalFiles
from support.builders import bytes_field, varint, varint_field
from support.repository import FIXTURES

FILES = LocalFiles(mmap=True)


@lru_cache(maxsize=None)
def load_said(case: str) -> dict[str, Any]:
    return json.loads((FIXTURES / case / "expected_graph.json").read_text())


def graph_path(case: str) -> str:
    said = load_said(case)
    return str(FIXTURES / case / said.get("file", said["path"]))


CASES = [
    pytest.param(case, number, id=f"{case}/{number}")
    for case in sorted(
        "/".join(path.parent.parts[-2:]) for path in FIXTURES.glob("*/*/expected_graph.json")
    )
    for number in range(len(load_said(case)["meta_graphs"]))
]
TRAINING = [case for case in CASES if "training_graph" in case.values[0]]
OBJECTS = [
    case for case in CASES if "saved_variables" in load_said(case.values[0])["meta_graphs"][0]
]


@lru_cache(maxsize=None)
def load(case: str, number: int = 0) -> tuple[MetaGraph, dict[str, Any]]:
    """One graph of a case, and what TensorFlow said of it."""
    expected = load_said(case)["meta_graphs"][number]
    return read_graph_file(FILES, graph_path(case), expected["tags"] or None), expected


def bare(name: str) -> str:
    return name.removesuffix(":0")


def sizes(shape: tuple[int | None, ...] | None) -> list[int | None] | None:
    return None if shape is None else list(shape)


@pytest.mark.parametrize(("case", "number"), CASES)
class TestAgainstTensorFlow:
    def test_where_it_is_from(self, case: str, number: int) -> None:
        graph, expected = load(case, number)
        assert list(graph.tags) == expected["tags"]
        assert graph.tensorflow_version == expected["tensorflow_version"]
        assert graph.tensorflow_git_version == expected["tensorflow_git_version"]
        assert graph.graph_def_producer == expected["versions"]["producer"]
        all_tags = [meta_graph["tags"] for meta_graph in load_said(case)["meta_graphs"]]
        assert list(map(list, graph.all_tags)) == all_tags

    def test_saver(self, case: str, number: int) -> None:
        graph, expected = load(case, number)
        saver, said = graph.saver, expected["saver_def"]
        assert (saver is None) == (said is None)
        if saver is not None:
            for name in ("version", "sharded", "max_to_keep"):
                assert getattr(saver, name) == said[name]

    def test_operations_and_collections(self, case: str, number: int) -> None:
        graph, expected = load(case, number)
        assert graph.op_counts == expected["op_counts"]
        assert graph.function_op_counts == expected["function_op_counts"]
        assert graph.num_functions == expected["num_functions"]
        assert graph.collections == {
            name: collection["size"] for name, collection in expected["collections"].items()
        }

    def test_signatures(self, case: str, number: int) -> None:
        graph, expected = load(case, number)

        def as_said(specs: Any) -> dict[str, Any]:
            return {
                key: {"name": spec.name, "dtype": spec.dtype, "shape": sizes(spec.shape)}
                for key, spec in specs.items()
            }

        assert {
            name: {
                "method_name": signature.method_name,
                "inputs": as_said(signature.inputs),
                "outputs": as_said(signature.outputs),
            }
            for name, signature in graph.signatures.items()
        } == expected["signatures"]

    def test_variables(self, case: str, number: int) -> None:
        graph, expected = load(case, number)
        for said in expected.get("saved_variables", []):
            (variable,) = (item for item in graph.variables if item.node_id == said["node_id"])
            assert said["checkpoint_keys"] in ([variable.checkpoint_key], [])
            for name in ("name", "dtype", "trainable"):
                assert getattr(variable, name) == said[name]
            assert sizes(variable.shape) == said["shape"]
        for said in expected.get("variables", []):
            variable = find(graph, bare(said["name"]))
            for name in ("dtype", "trainable", "checkpoint_key"):
                assert getattr(variable, name) == said[name]
            assert sizes(variable.shape) == said["shape"]
            part, said_part = variable.slice, said["save_slice_info"]
            assert (part is None) == (said_part is None)
            if part is not None:
                assert [part.full_name, *map(list, (part.full_shape, part.start, part.shape))] == [
                    said_part[key] for key in ("full_name", "full_shape", "var_offset", "var_shape")
                ]
        number_said = len(expected.get("saved_variables", expected.get("variables")))
        assert len(graph.variables) == number_said

    def test_collections_of_variables(self, case: str, number: int) -> None:
        graph, expected = load(case, number)
        found: dict[str, list[str]] = {}
        for variable in graph.variables:
            for collection in variable.collections:
                found.setdefault(collection, []).append(f"{variable.name}:0")
        said = expected.get("variable_collections", {})
        assert {name: sorted(names) for name, names in found.items()} == {
            name: sorted(names) for name, names in said.items()
        }


def find(graph: MetaGraph, name: str) -> GraphVariable:
    (variable,) = (item for item in graph.variables if item.name == name)
    return variable


@pytest.mark.parametrize(("case", "number"), TRAINING)
class TestRoles:
    def test_moving_averages(self, case: str, number: int) -> None:
        graph, expected = load(case, number)
        assert {(item.name, item.of) for item in graph.moving_averages} == {
            (bare(item["average"]), bare(item["of"]))
            for average in expected["moving_averages"]
            for item in average["averages"]
        }

    def test_slots(self, case: str, number: int) -> None:
        graph, expected = load(case, number)
        of_averages = {
            (f"loss/ExponentialMovingAverage/{name}", "loss/ExponentialMovingAverage")
            for name in ("biased", "local_step")
        }
        of_optimizers = {
            (bare(item["variable"]), bare(item["of"]))
            for optimizer in expected["optimizers"]
            for item in optimizer["slots"]
        }
        assert {(item.name, item.of) for item in graph.slot_variables} == (
            of_averages | of_optimizers
        )

    def test_what_else_optimizers_keep(self, case: str, number: int) -> None:
        graph, expected = load(case, number)
        assert sorted(item.name for item in graph.variables if item.role == "optimizer") == sorted(
            bare(name) for optimizer in expected["optimizers"] for name in optimizer["others"]
        )

    def test_variables_to_restore(self, case: str, number: int) -> None:
        """The same as in TensorFlow, except where TensorFlow asks for keys that are not there."""
        graph, expected = load(case, number)
        keys = {item.name: item.checkpoint_key for item in graph.variables}
        saved = set(keys.values())
        for average in expected["moving_averages"]:
            said = {}
            for key, name in average["variables_to_restore"].items():
                own = keys[bare(name)]
                of_whole = f"{own}/{average['name']}"
                if key in saved:
                    said[key] = own
                elif of_whole in saved:  # of a partitioned variable
                    said[of_whole] = own
                else:  # an average that was never made
                    said[own] = own
            assert graph.variables_to_restore(average["name"]) == said


def field(number: int, *payloads: bytes) -> bytes:
    return bytes_field(number, b"".join(payloads))


def text(number: int, value: str) -> bytes:
    return bytes_field(number, value.encode())


def node(name: str, op: str, *inputs: str, shape: tuple[int, ...] | None = None) -> bytes:
    """A NodeDef in a GraphDef; with the attributes of a variable of float32 if it has a shape."""
    parts = [text(1, name), text(2, op), *(text(3, item) for item in inputs)]
    if shape is not None:
        dims = b"".join(field(2, varint_field(1, size)) for size in shape)
        parts.append(field(5, text(1, "dtype"), field(2, varint_field(6, 1))))
        parts.append(field(5, text(1, "shape"), field(2, field(7, dims))))
    return field(1, *parts)


def collection(name: str, *variables: bytes) -> bytes:
    """A collection of VariableDefs in a MetaGraphDef."""
    items = field(2, *(bytes_field(1, variable) for variable in variables))
    return field(4, text(1, name), field(2, items))


def graph_def(*nodes: bytes) -> bytes:
    return field(2, *nodes)


def variables_of(*names: str, trained: tuple[str, ...] = ()) -> bytes:
    """A MetaGraphDef whose collections list variables, without a graph."""
    listed = collection("variables", *(text(1, f"{name}:0") for name in names))
    return listed + collection("trainable_variables", *(text(1, f"{name}:0") for name in trained))


class TestTraps:
    def test_40_contexts_parse_as_variables_but_are_none(self) -> None:
        graph, expected = load("tf-1.15.5/training_graph")
        assert graph.collections["cond_context"] == 22
        assert len(graph.variables) == len(expected["variables"])

    def test_41_trainable_that_is_false_is_not_recorded(self) -> None:
        graph, expected = load("tf-0.12.1/training_graph")
        assert {item["definition"]["trainable"] for item in expected["variables"]} == {None}
        assert len(graph.trainable_variables) == 5
        unknown = parse_meta_graph(collection("variables", text(1, "w:0")))
        assert find(unknown, "w").trainable is None
        recorded = collection("variables", text(1, "w:0") + varint_field(7, 1))
        assert find(parse_meta_graph(recorded), "w").trainable is True

    def test_11_4_a_graph_from_before_versions(self) -> None:
        old = parse_meta_graph(graph_def(field(4, varint_field(1, 10))) + field(3))
        assert (old.tensorflow_version, old.graph_def_producer) == ("", 10)
        assert old.saver is not None
        assert old.saver.version == 0

    def test_11_4_collections_of_names_are_no_variables(self) -> None:
        names = field(4, text(1, "model_variables"), field(2, field(1, text(1, "w:0"))))
        graph = parse_meta_graph(names)
        assert graph.collections == {"model_variables": 1}
        assert graph.variables == ()


class TestRolesByName:
    """Roles are derived from names if the graph has no training step."""

    NAMES = ("a/w", "a/w/Momentum", "a/w/Adam_1", "a/w/adam_m", "a/w/ExponentialMovingAverage")

    def test_slots_and_averages(self) -> None:
        graph = parse_meta_graph(variables_of(*self.NAMES, "beta1_power", trained=("a/w",)))
        assert [(item.role, item.of) for item in graph.variables] == [
            (None, None),
            ("slot", "a/w"),
            ("slot", "a/w"),
            ("slot", "a/w"),
            ("average", "a/w"),
            ("optimizer", None),
        ]

    def test_only_below_a_variable(self) -> None:
        graph = parse_meta_graph(variables_of("Adam", "scope/Adam", "a/w/Adam"))
        assert {item.role for item in graph.variables} == {None}

    def test_statistics_of_batch_normalisation_are_no_averages_of_variables(self) -> None:
        update = node("bn/AssignMovingAvg/AssignSubVariableOp", "AssignSubVariableOp", "bn/mean")
        graph = parse_meta_graph(variables_of("bn/mean", "bn/gamma") + graph_def(update))
        assert {item.role for item in graph.variables} == {None}

    def test_what_is_trained_is_no_slot(self) -> None:
        graph = parse_meta_graph(variables_of("w", "w/Adam", trained=("w", "w/Adam")))
        assert find(graph, "w/Adam").role is None


class TestGraphDef:
    def test_without_collections_the_nodes_are_the_variables(self) -> None:
        graph = parse_meta_graph(
            graph_def(
                node("v", "VariableV2", shape=(2, 3)),
                node("slot", "VariableV2", shape=(2, 3)),
                node("step", "ApplyMomentum", "v", "slot", "rate", "^init"),
                node("rate", "Const"),
            )
        )
        assert graph.op_counts == {"ApplyMomentum": 1, "Const": 1, "VariableV2": 2}
        assert [(item.name, item.shape, item.dtype) for item in graph.variables] == [
            ("v", (2, 3), "float32"),
            ("slot", (2, 3), "float32"),
        ]
        assert find(graph, "slot").of == "v"

    def test_slots_of_a_variable_that_comes_through_other_nodes(self) -> None:
        step = node("step", "ApplyAdam", "cond/Switch:1", "w/Adam", "w/other")
        graph = parse_meta_graph(variables_of("w", "w/Adam", "w/other") + graph_def(step))
        assert [item.of for item in graph.variables] == [None, "w", None]

    def test_in_several_pieces(self) -> None:
        first, second = graph_def(node("a", "Const")), graph_def(node("b", "Const"))
        assert parse_meta_graph(first + second).op_counts == {"Const": 2}

    def test_a_large_constant_is_not_touched(self) -> None:
        content = bytes(32 << 20)
        attribute = field(5, text(1, "value"), field(2, bytes_field(8, bytes_field(4, content))))
        constant = field(1, text(1, "c"), text(2, "Const"), attribute, text(3, "^after"))
        file = graph_def(constant, node("v", "VariableV2", shape=(2,)))
        del content, attribute, constant
        tracemalloc.start()
        graph = parse_meta_graph(file)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert graph.op_counts == {"Const": 1, "VariableV2": 1}
        assert peak < 4 << 20

    def test_dtypes_of_a_newer_tensorflow(self) -> None:
        attribute = field(5, text(1, "dtype"), field(2, varint_field(6, 99)))
        graph = parse_meta_graph(graph_def(field(1, text(1, "v"), text(2, "Variable"), attribute)))
        assert find(graph, "v").dtype == "unknown dtype 99"
        assert find(graph, "v").shape is None


class TestObjects:
    @pytest.mark.parametrize(("case", "number"), OBJECTS)
    def test_roles_are_those_of_slots(self, case: str, number: int) -> None:
        graph, _ = load(case, number)
        assert {item.role for item in graph.variables} <= {None, "slot"}

    def test_slots_have_keys_through_variable_and_optimizer(self) -> None:
        def reference(node_id: int, name: str) -> bytes:
            return field(1, varint_field(1, node_id), text(2, name))

        slot = field(3, varint_field(1, 1), text(2, "m.x"), varint_field(3, 3))
        objects = [
            field(1, reference(1, "a/b"), reference(2, "opt")),
            field(1, field(7, varint_field(1, 1), text(6, "w"), varint_field(3, 1))),
            field(1, slot),
            field(1, field(7, text(6, "opt/w/m"))),
            field(1, field(7, text(6, "lost"))),
            field(1, slot),
        ]
        graph = parse_meta_graph(field(7, *objects))
        assert [(item.checkpoint_key, item.role, item.of) for item in graph.variables] == [
            ("a.Sb/.ATTRIBUTES/VARIABLE_VALUE", None, None),
            ("a.Sb/.OPTIMIZER_SLOT/opt/m..x/.ATTRIBUTES/VARIABLE_VALUE", "slot", "w"),
        ]

    def test_slots_of_an_optimizer_that_nothing_leads_to(self) -> None:
        slot = field(3, varint_field(1, 0), text(2, "m"), varint_field(3, 2))
        objects = [field(1, field(7, text(6, "w"))), field(1, slot), field(1, field(7))]
        graph = parse_meta_graph(field(7, *objects))
        assert [item.name for item in graph.variables] == ["w"]

    @pytest.mark.parametrize("node_id", [1, 2**31 - 1, -1])
    def test_ids_that_lead_nowhere(self, node_id: int) -> None:
        child = field(1, varint_field(1, node_id), text(2, "x"))
        slot = field(3, varint_field(1, node_id), text(2, "m"), varint_field(3, 0))
        for parts in (child, slot):
            with pytest.raises(CorruptCheckpointError, match=f"found: {node_id}"):
                parse_meta_graph(field(7, field(1, parts)))


def test_an_input_that_is_not_one_tensor() -> None:
    sparse = field(1, text(1, "x"), field(2, varint_field(2, 1)))
    graph = parse_meta_graph(field(5, text(1, "s"), field(2, sparse)))
    spec = graph.signatures["s"].inputs["x"]
    assert (spec.name, spec.dtype, spec.shape) == (None, "float32", ())


class TestTags:
    CASE = "tf-1.15.5/saved_model_two_tags"

    def test_first_without_asking(self) -> None:
        graph = read_graph_file(FILES, graph_path(self.CASE))
        assert graph.tags == ("serve",)
        assert graph.all_tags == (("serve",), ("train", "gpu"))

    @pytest.mark.parametrize("tags", [["train", "gpu"], ("gpu", "train"), {"gpu", "train"}])
    def test_in_any_order(self, tags: Any) -> None:
        assert read_graph_file(FILES, graph_path(self.CASE), tags).tags == ("train", "gpu")

    def test_one_tag_as_text(self) -> None:
        assert read_graph_file(FILES, graph_path(self.CASE), "serve").tags == ("serve",)

    @pytest.mark.parametrize("tags", [[], ["gpu"], ["serve", "gpu"]])
    def test_none_of_these(self, tags: list[str]) -> None:
        with pytest.raises(CheckpointNotFoundError, match=r"serve.*train") as caught:
            read_graph_file(FILES, graph_path(self.CASE), tags)
        assert caught.value.file == graph_path(self.CASE)

    def test_a_module_without_tags(self) -> None:
        path = graph_path("tf-1.15.5/hub_module")
        assert read_graph_file(FILES, path, []).tags == ()


class TestFiles:
    @pytest.mark.parametrize(("case", "number"), CASES)
    def test_found_from_wherever_one_stands(self, case: str, number: int) -> None:
        expected, said = graph_path(case), load_said(case)
        places = [expected, str(FIXTURES / case / said["path"])]
        if "file" in said:
            places.append(str(FIXTURES / case / "saved_model" / "variables" / "variables"))
        else:
            places.append(expected.removesuffix(".meta"))
        assert {find_graph_file(FILES, place) for place in places} == {expected}

    def test_none(self) -> None:
        prefix = str(FIXTURES / "tf-2.21.0/keras_adam/model.ckpt")
        assert find_graph_file(FILES, prefix) is None
        assert find_graph_file(FILES, prefix + ".meta") is None

    def test_gone(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointNotFoundError):
            read_graph_file(FILES, str(tmp_path / "x.meta"))


class TestBadFiles:
    def test_every_prefix_of_a_file(self) -> None:
        file = variables_of("w", "w/Adam", trained=("w",)) + graph_def(
            node("w", "VariableV2", shape=(2,)), field(2, field(1, node("f", "Const")))
        )
        for stop in range(len(file)):
            try:
                parse_meta_graph(file[:stop])
            except CorruptCheckpointError:
                continue

    def test_every_flipped_byte_of_real_files(self) -> None:
        small = Path(graph_path("tf-1.15.5/saved_model_no_variables")).read_bytes()
        for position in range(0, len(small), 3):
            damaged = bytearray(small)
            damaged[position] ^= 0xFF
            try:
                parse_saved_model(bytes(damaged))
            except CheckpointError:
                continue

    @pytest.mark.parametrize("file", [b"\xff", b"404: Not Found", b"\x0a\xff\xff\xff\xff\x0f"])
    def test_something_else(self, file: bytes) -> None:
        for parse in (parse_meta_graph, parse_saved_model):
            with pytest.raises(CorruptCheckpointError):
                parse(file)

    def test_no_graph_at_all(self) -> None:
        with pytest.raises(CheckpointNotFoundError, match="none"):
            parse_saved_model(b"")
        assert parse_meta_graph(b"").variables == ()

    def test_deep_nesting(self) -> None:
        message = b""
        for _ in range(5000):
            message = b"\x0b" + message + b"\x0c"
        for number in (1, 3, 4, 5, 7):
            with pytest.raises(CorruptCheckpointError):
                parse_meta_graph(bytes_field(number, message))

    @pytest.mark.parametrize(
        "file",
        [
            b"\xff",
            b"meta_graphs {",
            b"meta_graphs: 1",
            b"x { " * 5000,
            b"meta_graphs { saver_def: }",
        ],
    )
    def test_text(self, file: bytes) -> None:
        with pytest.raises(CorruptCheckpointError, match="text"):
            parse_saved_model(file, text=True)

    def test_text_skips_what_it_does_not_know(self) -> None:
        file = b'x: 1 meta_graphs { y { z: "" } meta_info_def { tags: "a" new: NEW } }'
        assert parse_saved_model(file, text=True).tags == ("a",)

    def test_a_long_chain_of_objects(self) -> None:
        links = []
        for i in itertools.count(1):
            links.append(field(1, field(1, varint_field(1, i), text(2, "x")), field(7)))
            if i == 5000:
                break
        with pytest.raises(CorruptCheckpointError, match="letters"):
            parse_meta_graph(field(7, *links, field(1)))

    def test_a_length_beyond_the_file(self) -> None:
        with pytest.raises(CorruptCheckpointError):
            parse_meta_graph(b"\x12" + varint(2**62))
