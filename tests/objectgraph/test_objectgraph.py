"""Object graphs: against what TensorFlow recorded, the traps by number, and wrong graphs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import pytest

from ckptparse import CorruptCheckpointError, TensorNotFoundError, UnsupportedError, open_checkpoint
from ckptparse.objectgraph import KEY, ObjectGraph, join_path, read_object_graph, split_path
from support.object_graphs import Tensors, child, node, slot, value
from support.oracle import load_case, payload_of
from support.repository import FIXTURES

CASES = sorted(
    "/".join(path.parent.parts[-2:]) for path in FIXTURES.glob("*/*/expected_objects.json")
)
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


@lru_cache(maxsize=None)
def load(case: str) -> tuple[ObjectGraph, dict[str, Any]]:
    """The graph of a case, and what TensorFlow said of it."""
    said = json.loads((FIXTURES / case / "expected_objects.json").read_text())
    graph = read_object_graph(open_checkpoint(FIXTURES / case / said["prefix"]))
    assert graph is not None
    return graph, said


def keys_of(said: dict[str, Any], node_ids: list[int | None]) -> list[str]:
    """The keys of variables, sorted; None for a variable that the checkpoint lacks."""
    return sorted(
        attribute["checkpoint_key"]
        for node_id in set(node_ids) - {None}
        for attribute in said["nodes"][node_id]["attributes"]
    )


def listed_keys(variables: Any) -> list[str]:
    return sorted(map(variables.checkpoint_key, variables))


@pytest.mark.parametrize("case", CASES)
class TestAgainstTensorFlow:
    def test_nodes(self, case: str) -> None:
        graph, said = load(case)
        assert graph.num_nodes == len(said["nodes"])
        for found, expected in zip(graph.nodes(), said["nodes"]):
            saver = found.registered_saver
            assert {
                "node_id": found.node_id,
                "children": {name: child.node_id for name, child in found.children.items()},
                "attributes": [
                    {
                        "name": attribute.name,
                        "full_name": attribute.full_name,
                        "checkpoint_key": attribute.checkpoint_key,
                    }
                    for attribute in found.attributes
                ],
                "slot_variables": [
                    {
                        "original_variable_node_id": slot.original.node_id,
                        "slot_name": slot.name,
                        "slot_variable_node_id": slot.variable.node_id,
                    }
                    for slot in found.slot_variables
                ],
                "registered_saver": saver
                and {"name": saver.name, "object_name": saver.object_name},
                "has_checkpoint_values": found.has_checkpoint_values,
                "path": None if found.path is None else list(split_path(found.path)),
            }.items() <= expected.items()
            variable, live = found.variable, expected["variable"]
            if variable is not None and live is not None:
                assert (variable.info.tensorflow_dtype, list(variable.shape)) == (
                    live["dtype"],
                    live["shape"],
                )

    def test_every_path_to_a_variable_looks_up(self, case: str) -> None:
        graph, said = load(case)
        for expected in said["nodes"]:
            for names in expected.get("paths", []):
                assert graph.node(names).node_id == expected["node_id"]
                assert graph.node(join_path(names)).node_id == expected["node_id"]
                for attribute in expected["attributes"]:
                    path = join_path(names)
                    if attribute["name"] == "VARIABLE_VALUE":
                        assert graph.checkpoint_key(path) == attribute["checkpoint_key"]
                        assert path in graph

    def test_every_variable_is_listed_once_under_the_path_of_its_key(self, case: str) -> None:
        graph, said = load(case)
        assert sorted(path + VALUE for path in graph) == sorted(
            attribute["checkpoint_key"]
            for node in said["nodes"]
            for attribute in node["attributes"]
            if attribute["name"] == "VARIABLE_VALUE"
        )
        assert all(graph.checkpoint_key(path) == path + VALUE for path in graph)

    def test_values(self, case: str) -> None:
        graph, _ = load(case)
        tensors = {tensor.name: tensor for tensor in load_case(case).tensors}
        for path, array in graph.items():
            assert payload_of(array) == tensors[path + VALUE].payload
            assert graph.info(path).name == path + VALUE

    def test_every_key_of_an_object_is_a_path_too(self, case: str) -> None:
        graph, _ = load(case)
        for tensor in load_case(case).tensors:
            if "/.ATTRIBUTES/" in tensor.name:
                assert graph.checkpoint_key(tensor.name) == tensor.name

    def test_model_weights(self, case: str) -> None:
        graph, said = load(case)
        groups = {name: ids for name, ids in said["groups"].items() if name.endswith(".weights")}
        if groups:
            expected = keys_of(said, [node_id for ids in groups.values() for node_id in ids])
            assert listed_keys(graph.model_weights()) == expected
        for group, node_ids in groups.items():
            name = group.removesuffix(".weights")
            if name in graph.root.children:
                assert listed_keys(graph.model_weights(name)) == keys_of(said, node_ids)

    def test_full_names(self, case: str) -> None:
        graph, said = load(case)
        keys: dict[str, list[str]] = {}
        for expected in said["nodes"]:
            for attribute in expected["attributes"]:
                keys.setdefault(attribute["full_name"], []).append(attribute["checkpoint_key"])
        assert graph.full_names == {
            name: found[0] for name, found in keys.items() if name and len(found) == 1
        }

    def test_names_of_variables(self, case: str) -> None:
        said = load(case)[1]
        full_names = {
            attribute["checkpoint_key"]: attribute["full_name"]
            for expected in said["nodes"]
            for attribute in expected["attributes"]
        }
        unnamed = {key for key, name in full_names.items() if name in ("", "Variable")}
        names = open_checkpoint(FIXTURES / case / said["prefix"]).variable_names
        assert {key: name for key, name in names.items() if key not in unnamed} == {
            key: name for key, name in full_names.items() if key not in unnamed and key != name
        }

    def test_outline_counts_every_tensor_once(self, case: str) -> None:
        graph, _ = load(case)
        infos = {info.name: info for info in open_checkpoint(load_case(case).prefix).infos()}
        rows = graph.outline(infos)
        assert (rows[0].num_tensors, rows[0].nbytes) == (
            len(infos),
            sum(info.nbytes for info in infos.values()),
        )
        tops = [row for row in rows if row.depth == 1]
        assert sum(row.num_tensors for row in tops) + (rows[1].path == "") == len(infos)
        in_slots = sum(row.num_tensors for row in rows if row.name.startswith(".OPTIMIZER_SLOT"))
        tensors = [row.info.name for row in rows if row.info is not None]
        assert len(set(tensors)) == len(tensors) == len(infos) - in_slots


class TestSubtree:
    @pytest.mark.parametrize("case", [case for case in CASES if case.endswith("nested_objects")])
    @pytest.mark.parametrize("name", ["backbone", "head"])
    def test_is_what_the_module_has_whatever_else_shares_it(self, case: str, name: str) -> None:
        graph, said = load(case)
        subtree = graph.subtree(name)
        assert listed_keys(subtree) == keys_of(said, said["groups"][f"{name}.variables"])
        for path, array in subtree.items():
            assert payload_of(array) == payload_of(graph[f"{name}/{path}"])
        assert listed_keys(graph.model_weights(name)) == listed_keys(subtree)

    @pytest.mark.parametrize("case", [case for case in CASES if case.endswith("backbone_head")])
    def test_only_the_backbone(self, case: str) -> None:
        graph, said = load(case)
        expected = keys_of(said, said["groups"]["backbone.weights"])
        assert listed_keys(graph.subtree("backbone")) == expected
        assert "layer_with_weights-0/kernel" in graph.subtree("backbone") or "2.21" in case

    @pytest.mark.parametrize("case", [case for case in CASES if case.endswith("backbone_head")])
    def test_can_be_selected_from(self, case: str) -> None:
        graph, said = load(case)
        backbone = graph.subtree("backbone")
        kernels = backbone.select(include="*kernel", rename=lambda path: f"mine/{path}")
        assert kernels
        expected = keys_of(said, said["groups"]["backbone.weights"])
        for name, array in kernels.items():
            path = kernels.sources[name]
            assert name == f"mine/{path}"
            assert backbone.checkpoint_key(path) in expected
            assert payload_of(array) == payload_of(graph[f"backbone/{path}"])
            assert kernels.info(name).shape == array.shape
        assert [info.name for info in kernels.infos()] == list(kernels)
        assert [info.shape for info in backbone.infos()] == [a.shape for a in backbone.values()]

    def test_nothing_there(self) -> None:
        graph, _ = load("tf-2.4.4/backbone_head")
        with pytest.raises(TensorNotFoundError, match="backbon"):
            graph.subtree("backbon")


class TestSlots:
    def test_from_both_sides(self) -> None:
        graph, said = load("tf-2.4.4/keras_adam")
        kernel = graph.node("model/layer_with_weights-0/kernel")
        assert sorted(slot.name for slot in kernel.slots) == ["m", "v"]
        assert {slot.optimizer.path for slot in kernel.slots} == {"optimizer"}
        expected = said["nodes"][graph.node("optimizer").node_id]["slot_variables"]
        assert len(graph.node("optimizer").slot_variables) == len(expected) == 12
        assert kernel.slots[0].variable.path is None

    def test_look_up_by_any_path_of_their_variable(self) -> None:
        graph, _ = load("tf-2.4.4/keras_adam")
        slot = "kernel/.OPTIMIZER_SLOT/optimizer/m"
        first, alias = f"model/layer_with_weights-0/{slot}", f"model/layer-0/{slot}"
        assert graph.checkpoint_key(alias) == graph.checkpoint_key(first) == first + VALUE
        assert first in list(graph)
        assert f"model/layer-0/{slot}x" not in graph
        assert "model/layer-0/kernel/.OPTIMIZER_SLOT/nobody/m" not in graph


class TestTraps:
    def test_29_the_graph_is_the_element_of_a_string_tensor(self) -> None:
        ckpt = open_checkpoint(FIXTURES / "tf-2.21.0/root_module/model.ckpt")
        graph = ObjectGraph(ckpt[KEY].item(), ckpt)
        assert list(graph) == ["kernel", "bias", "step", "layers/0/kernel", "layers/0/bias"]
        assert read_object_graph(open_checkpoint(FIXTURES / "tf-1.15.5/vgg_16/model.ckpt")) is None

    def test_30_the_key_of_a_table_is_only_how_its_keys_begin(self) -> None:
        graph, _ = load("tf-2.21.0/tables_and_state")
        (table,) = graph.node("table").attributes
        expected = ("table/.ATTRIBUTES/table-keys", "table/.ATTRIBUTES/table-values")
        assert table.keys == expected
        assert sorted(graph["module/table/.ATTRIBUTES/table-keys"].tolist()) == sorted(
            graph[expected[0]].tolist()
        )
        with pytest.raises(TensorNotFoundError):
            _ = table.info
        assert "table" not in graph
        assert "table/.ATTRIBUTES/table-none" not in graph

    def test_30_what_is_no_variable_is_not_listed_but_looks_up(self) -> None:
        graph, _ = load("tf-2.21.0/tables_and_state")
        assert sorted(graph) == ["registered/state", "step"]
        assert graph["python_state/.ATTRIBUTES/py_state"].item() == b'{"epoch": 3}\x00\xff'
        np.testing.assert_array_equal(graph["pieces/.ATTRIBUTES/a..Sb"], np.float32([1, 2.5]))
        with pytest.raises(UnsupportedError):
            _ = graph["iterator/.ATTRIBUTES/ITERATOR_STATE"]

    def test_31_weights_that_hide_under_the_optimizer(self) -> None:
        graph = read_object_graph(
            open_checkpoint(FIXTURES / "tf-2.21.0/keras_checkpoint/model.ckpt")
        )
        weights = graph.model_weights()
        assert weights.checkpoint_key("model/_operations/4/_kernel") == (
            "optimizer/_trainable_variables/8" + VALUE
        )
        assert len(weights) == 12
        assert not any("optimizer" in path for path in weights)

    def test_32_an_export_that_holds_every_weight_twice(self) -> None:
        ckpt = open_checkpoint(FIXTURES / "tf-2.21.0/keras_export/saved_model/variables/variables")
        graph = read_object_graph(ckpt)
        copies = [path for path in graph if path.startswith("_all_variables/")]
        weights = graph.model_weights()
        assert copies
        assert list(weights) == [f"variables/{i}" for i in range(len(copies))]

    def test_42_a_child_without_an_id_is_the_root(self) -> None:
        graph = ObjectGraph(node(child("root")), Tensors())
        assert graph.node("root/root/root").node_id == 0
        assert graph.root.children["root"].path == ""

    @pytest.mark.parametrize(
        ("names", "path"),
        [
            ((), ""),
            (("a", "b"), "a/b"),
            (("a/b",), "a.Sb"),
            ((".S",), "..S"),
            (("..S/",), "....S.S"),
            (("a", ""), "a/"),
            (("", ""), "/"),
        ],
    )
    def test_43_escapes_are_read_in_one_scan(self, names: tuple[str, ...], path: str) -> None:
        assert join_path(names) == path
        assert split_path(path) == names

    @pytest.mark.parametrize("path", [".", "a.", "a/.Sx.T", ".ATTRIBUTES"])
    def test_43_what_no_name_is_written_as(self, path: str) -> None:
        with pytest.raises(ValueError, match=r"\.S"):
            split_path(path)
        assert path not in load("tf-2.21.0/nested_objects")[0]


def test_a_loop_over_variables_is_one_loop_over_the_checkpoint() -> None:
    """Its bound on work holds for them, too."""

    class Recording(Tensors):
        loops: ClassVar[list[list[str]]] = []

        def read_each(self, names: Iterable[str]) -> Iterator[tuple[str, Any]]:
            self.loops.append(list(names))
            return super().read_each(self.loops[-1])

    serialized = node(child("a", 1), child("b", 2)) + node(value("k")) + node(value("l"))
    graph = ObjectGraph(serialized, Recording(k=1.5, l=2.5))
    assert dict(graph.items()) == {"a": 1.5, "b": 2.5}
    assert dict(graph.select(exclude="a").items()) == {"b": 2.5}
    assert Recording.loops == [["k", "l"], ["l"]]


class TestBadGraphs:
    @pytest.mark.parametrize("serialized", [b"", b"\x0a\x05", b"\xff" * 9, b"\x12\x00"])
    def test_no_graph(self, serialized: bytes) -> None:
        with pytest.raises(CorruptCheckpointError):
            ObjectGraph(serialized, Tensors())

    @pytest.mark.parametrize("node_id", [1, 2**31 - 1, -1])
    def test_children_that_lead_nowhere(self, node_id: int) -> None:
        graph = ObjectGraph(node(child("a", node_id)), Tensors())
        with pytest.raises(CorruptCheckpointError, match=f"found: {node_id}"):
            list(graph)
        with pytest.raises(CorruptCheckpointError):
            _ = "a" in graph

    @pytest.mark.parametrize(("original", "variable"), [(7, 0), (0, 7), (-1, 0), (0, -1)])
    def test_slots_that_lead_nowhere(self, original: int, variable: int) -> None:
        graph = ObjectGraph(node(slot(original, "m", variable)), Tensors())
        for attempt in (list, lambda graph: graph.root.slot_variables, lambda graph: graph["x"]):
            with pytest.raises(CorruptCheckpointError):
                attempt(graph)

    def test_two_children_of_one_name(self) -> None:
        graph = ObjectGraph(node(child("a", 1), child("a", 2)) + node() * 2, Tensors())
        with pytest.raises(CorruptCheckpointError, match="'a'"):
            graph.node("a")
        graph = ObjectGraph(node(child("a", 1), child("a", 1)) + node(), Tensors())
        assert graph.node("a").node_id == 1

    def test_a_missing_key_is_an_error_at_access_only(self) -> None:
        serialized = node(child("here", 1), child("gone", 2)) + node(value("k")) + node(value("l"))
        graph = ObjectGraph(serialized, Tensors(k=1.5))
        assert list(graph) == ["here", "gone"]
        assert list(graph.model_weights()) == ["here", "gone"]
        assert graph["here"] == 1.5
        assert "gone" in graph
        for attempt in (graph.read, graph.info):
            with pytest.raises(TensorNotFoundError):
                attempt("gone")
        assert graph.node("gone").variable.keys == ()

    def test_an_unknown_path_offers_the_nearest(self) -> None:
        graph, _ = load("tf-2.4.4/keras_adam")
        with pytest.raises(TensorNotFoundError, match="model/layer_with_weights-0/kernel"):
            _ = graph["model/layer_with_weights-0/kernle"]
        for where in ("model/x", ["model", "x"], 10**6, -1):
            with pytest.raises(TensorNotFoundError):
                graph.node(where)

    def test_a_variable_that_nothing_leads_to(self) -> None:
        graph = ObjectGraph(node() + node(value("k", "w")), Tensors(k=1.5))
        assert list(graph) == []
        assert graph.node(1).path is None
        assert graph.full_names == {"w": "k"}

    def test_a_slot_of_what_nothing_leads_to(self) -> None:
        lost_variable = node(slot(1, "m", 2)) + node(value("k")) + node(value("m"))
        lost_optimizer = node(value("k")) + node(slot(0, "m", 2)) + node(value("m"))
        for serialized in (lost_variable, lost_optimizer):
            graph = ObjectGraph(serialized, Tensors(k=1.5, m=2.5))
            assert "m" not in map(graph.checkpoint_key, graph)

    def test_an_empty_name_below_the_root(self) -> None:
        graph = ObjectGraph(node(child("", 1)) + node(value("k")), Tensors(k=1.5))
        assert list(graph) == [""]
        assert graph[""] == 1.5
        assert graph.node("").node_id == 0
        assert graph.node([""]).node_id == 1
        both = ObjectGraph(node(value("r"), child("", 1)) + node(value("k")), Tensors(k=1, r=2))
        assert both[""] == 2

    def test_names_that_are_not_utf8(self) -> None:
        graph = ObjectGraph(node(child(b"\xff", 1)) + node(value("k")), Tensors(k=1.5))
        assert list(graph) == ["\udcff"]
        assert graph["\udcff"] == 1.5

    def test_cycles(self) -> None:
        ring = node(child("next", 1)) + node(child("next", 2), value("k")) + node(child("next", 1))
        graph = ObjectGraph(ring, Tensors(k=1.5))
        assert list(graph) == ["next"]
        assert graph["next" + "/next/next" * 500] == 1.5

    def test_paths_much_longer_than_the_file_are_not_made(self) -> None:
        size = 5000
        links = [node(child("x", i + 1), value("k")) for i in range(size)]
        graph = ObjectGraph(b"".join(links) + node(value("k")), Tensors(k=1.5))
        for attempt in (list, lambda graph: list(graph.model_weights()), lambda g: g.outline({})):
            with pytest.raises(CorruptCheckpointError, match="letters"):
                attempt(graph)
        assert graph["/".join("x" * size)] == 1.5

    def test_nor_are_paths_to_many_aliases(self) -> None:
        size = 3000
        aliases = b"".join(child(str(i), 2) for i in range(size))
        serialized = node(child("x" * size, 1), child("k", 2)) + node(aliases) + node(value("k"))
        graph = ObjectGraph(serialized, Tensors(k=1.5))
        assert list(graph) == ["k"]
        with pytest.raises(CorruptCheckpointError, match="letters"):
            graph.outline({})

    def test_the_tensor_of_the_graph_is_something_else(self) -> None:
        with pytest.raises(CorruptCheckpointError, match="one string"):
            read_object_graph(Tensors(**{KEY: 1.5}))


class TestWeights:
    """Rules without an example in the fixtures."""

    def test_counters_and_rates_below_the_root_only(self) -> None:
        serialized = (
            node(child("epoch", 1), child("learning_rate", 2), child("scale", 3), child("model", 4))
            + node(value("int"))
            + node(value("float"))
            + node(value("float"))
            + node(child("epoch", 1), child("count", 5))
            + node(value("int"))
        )
        graph = ObjectGraph(serialized, Tensors(int=3, float=0.5))
        assert list(graph.model_weights()) == ["scale", "model/epoch", "model/count"]

    def test_an_object_with_a_model_is_no_optimizer(self) -> None:
        trainer = node(child("iter", 2), child("learning_rate", 3), child("model", 4))
        optimizer = node(child("iter", 2), child("learning_rate", 3))
        rest = node(value("int")) + node(value("float")) + node(child("w", 5)) + node(value("w"))
        tensors = Tensors(int=3, float=0.5, w=1.5)
        assert "own/model/w" in (
            ObjectGraph(node(child("own", 1)) + trainer + rest, tensors).model_weights()
        )
        assert (
            list(ObjectGraph(node(child("own", 1)) + optimizer + rest, tensors).model_weights())
            == []
        )

    def test_a_wrapped_optimizer(self) -> None:
        serialized = (
            node(child("optimizer", 1))
            + node(child("base_optimizer", 2), child("loss_scale", 3))
            + node()
            + node(child("current", 4))
            + node(value("float"))
        )
        assert list(ObjectGraph(serialized, Tensors(float=2.0)).model_weights()) == []

    def test_an_optimizer_of_tensorflow_1_is_told_by_its_slots(self) -> None:
        serialized = (
            node(child("optimizer", 1), child("w", 2))
            + node(child("beta1_power", 3), slot(2, "m", 4))
            + node(value("w"))
            + node(value("power"))
            + node(value("m"))
        )
        graph = ObjectGraph(serialized, Tensors(w=1.5, power=0.9, m=0.0))
        assert len(graph) == 3
        assert list(graph.model_weights()) == ["w"]

    def test_layers_in_a_list_are_known_to_a_keras_3_optimizer_only(self) -> None:
        names = ("_iterations", "_variables", "_trainable_variables")
        serialized = (
            node(child("model", 1), child("optimizer", 2))
            + node(child("out", 6), child("optimizer", 2))
            + node(*(child(name, 3 + i) for i, name in enumerate(names)))
            + node(value("step"))
            + node(child("0", 3), child("1", 7))
            + node(child("0", 6), child("1", 8))
            + node(value("out"))
            + node(value("momentum"))
            + node(value("in_list"))
        )
        tensors = Tensors(step=1, out=1.5, momentum=0.5, in_list=2.5)
        weights = ObjectGraph(serialized, tensors).model_weights()
        assert list(weights) == ["model/out", "optimizer/_trainable_variables/1"]
        weights = ObjectGraph(serialized, tensors).model_weights("model")
        assert list(weights) == ["out", "optimizer/_trainable_variables/1"]

    def test_what_keras_2_notes_of_a_model(self) -> None:
        serialized = (
            node(child("keras_api", 1), child("w", 2))
            + node(child("metrics", 3))
            + node(value("w"))
            + node(child("true_positives", 4))
            + node(value("found"))
        )
        graph = ObjectGraph(serialized, Tensors(w=1.5, found=3.0))
        assert list(graph.model_weights()) == ["w"]

    def test_a_child_that_is_the_root_is_not_entered(self) -> None:
        serialized = (
            node(child("a", 1), child("b", 2))
            + node(child("owner", 0), child("w", 3))
            + node(value("b"))
            + node(value("w"))
        )
        graph = ObjectGraph(serialized, Tensors(b=1.5, w=2.5))
        assert list(graph.model_weights("a")) == ["w"]
        assert list(graph.model_weights()) == ["b", "a/w"]

    def test_metrics_and_random_states(self) -> None:
        serialized = (
            node(child("metric", 1), child("generator", 4))
            + node(child("total", 2), child("count", 3))
            + node(value("float")) * 2
            + node(child("_state_var", 5))
            + node(value("float", "StateVar"))
        )
        graph = ObjectGraph(serialized, Tensors(float=2.0))
        assert len(graph) == 3
        assert list(graph.model_weights()) == []
