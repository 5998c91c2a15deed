"""Pruned object graphs: of every fixture that has one, and of graphs made field by field."""

from __future__ import annotations

from functools import lru_cache

import pytest

from ckptparse import Checkpoint, CorruptCheckpointError, open_checkpoint
from ckptparse.objectgraph import KEY, ObjectGraph
from ckptparse.objectgraph.pruning import prune_graph
from support.builders import varint_field
from support.counting import counted_steps
from support.object_graphs import Tensors, attribute, child, node, saver, slot, value
from support.oracle import case_names, load_case

CASES = [
    name for name in case_names("v2") if KEY in (tensor.name for tensor in load_case(name).tensors)
]
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


@lru_cache(maxsize=None)
def load(case: str) -> tuple[Checkpoint, bytes]:
    ckpt = open_checkpoint(load_case(case).path)
    return ckpt, ckpt[KEY].item()


def keys_by_path(graph: ObjectGraph) -> dict[str, str]:
    return {path: graph.checkpoint_key(path) for path in graph}


@pytest.mark.parametrize("case", CASES)
class TestFixtures:
    def test_all_tensors(self, case: str) -> None:
        ckpt, serialized = load(case)
        assert prune_graph(serialized, {name: name for name in ckpt}, list(ckpt)) == serialized
        without_graph = {name: name for name in ckpt if name != KEY}
        assert prune_graph(serialized, without_graph, ckpt) == serialized

    @pytest.mark.parametrize("scope", ["", "copied/"], ids=["same", "renamed"])
    def test_weights(self, case: str, scope: str) -> None:
        ckpt, serialized = load(case)
        graph = ObjectGraph(serialized, ckpt)
        weights = graph.model_weights()
        kept = list(map(weights.checkpoint_key, weights))
        pruned = prune_graph(serialized, {key: scope + key for key in kept}, ckpt)
        assert scope or len(pruned) <= len(serialized)
        found = ObjectGraph(pruned, Tensors(**{scope + key: 1.0 for key in kept}))
        assert keys_by_path(found) == {
            path: scope + key for path, key in keys_by_path(graph).items() if key in kept
        }
        for path, key in keys_by_path(found).items():
            old, new = graph.node(path), found.node(path)
            assert new.variable.full_name == old.variable.full_name
            assert new.has_checkpoint_values == old.has_checkpoint_values
            assert graph.checkpoint_key(path) == key.removeprefix(scope)
        assert not any(node.slot_variables for node in found.nodes())

    def test_each_variable_alone(self, case: str) -> None:
        ckpt, serialized = load(case)
        graph = ObjectGraph(serialized, ckpt)
        for path, key in list(keys_by_path(graph).items())[:40]:
            pruned = prune_graph(serialized, {key: key}, ckpt)
            found = ObjectGraph(pruned, Tensors(**{key: 1.0}))
            assert keys_by_path(found) == {path: key}
            assert pruned == prune_graph(serialized, {key: key}, sorted(ckpt, reverse=True))

    def test_all_but_one_tensor(self, case: str) -> None:
        ckpt, serialized = load(case)
        graph = ObjectGraph(serialized, ckpt)
        for dropped in list(ckpt)[:40]:
            names = [name for name in ckpt if name not in (dropped, KEY)]
            pruned = prune_graph(serialized, {name: name for name in names}, ckpt)
            found = ObjectGraph(pruned, Tensors(**dict.fromkeys(names, 1.0)))
            remaining = {p: k for p, k in keys_by_path(graph).items() if k != dropped}
            assert keys_by_path(found) == remaining
            for found_node in found.nodes():
                for kept in found_node.attributes:
                    assert kept.keys
                    assert dropped not in kept.keys

    def test_nothing(self, case: str) -> None:
        ckpt, serialized = load(case)
        found = ObjectGraph(prune_graph(serialized, {}, ckpt), Tensors())
        assert not any(found_node.attributes for found_node in found.nodes())


class TestObjects:
    GRAPH = (
        node(child("model", 1), child("optimizer", 4), child("unused", 7))
        + node(child("kernel", 2), child("dropout", 3), child("root", 0))
        + node(value("k" + VALUE, "kernel"))
        + node(child("config", 8))
        + node(child("rate", 5), child("policy", 9), slot(2, "m", 6))
        + node(value("r" + VALUE))
        + node(value("m" + VALUE))
        + node()
        + node()
        + node()
    )
    NAMES = ("k" + VALUE, "m" + VALUE, "r" + VALUE)

    def prune(self, *kept: str) -> ObjectGraph:
        keys = {name + VALUE: name + VALUE for name in kept}
        return ObjectGraph(prune_graph(self.GRAPH, keys, self.NAMES), Tensors(**keys))

    def test_objects_that_never_led_to_a_tensor_stay_below_kept_ones(self) -> None:
        graph = self.prune("k")
        assert [found.path for found in graph.nodes()] == [
            "", "model", "model/kernel", "model/dropout", "unused", "model/dropout/config",
        ]  # fmt: skip
        assert graph.node("model/root") == graph.root

    def test_a_slot_variable_keeps_its_optimizer_and_its_variable(self) -> None:
        graph = self.prune("m")
        assert list(graph) == ["model/kernel/.OPTIMIZER_SLOT/optimizer/m"]
        (found,) = graph.node("optimizer").slot_variables
        assert (found.original.path, found.original.variable) == ("model/kernel", None)
        assert "rate" not in graph.node("optimizer").children
        assert "policy" in graph.node("optimizer").children

    def test_a_slot_variable_leaves_its_optimizer(self) -> None:
        graph = self.prune("k", "r")
        assert graph.node("optimizer").slot_variables == ()
        assert graph.num_nodes == 9

    def test_a_variable_that_nothing_leads_to(self) -> None:
        serialized = node() + node(value("x")) + node(value("y")) + node()
        found = ObjectGraph(prune_graph(serialized, {"y": "z"}, ["x", "y"]), Tensors(z=1))
        assert (found.num_nodes, found.node(1).variable.checkpoint_key) == (2, "z")

    def test_a_cycle_away_from_the_root(self) -> None:
        ring = node(child("x", 1)) + node(child("next", 2)) + node(child("next", 1), value("k"))
        pruned = prune_graph(ring + node(value("l")), {"k": "k"}, ["k", "l"])
        assert pruned == ring

    def test_unknown_fields_stay(self) -> None:
        optional = varint_field(4, 1)  # optional_restore
        fields = child("a", 1), child("b", 2), child("a2", 1)
        serialized = node(*fields) + node(attribute("v", "k", "f", optional)) + node(value("l"))
        expected = node(fields[0], fields[2]) + node(attribute("v", "k", "f", optional))
        assert prune_graph(serialized, {"k": "k"}, ["k", "l"]) == expected

    def test_names_that_are_not_utf8(self) -> None:
        serialized = node(child(b"\xff", 1), child("b", 2)) + node(value("k")) + node(value("l"))
        expected = node(child(b"\xff", 1)) + node(value("\xff"))
        pruned = prune_graph(serialized, {"k": "\xff"}, ["k", "l"])
        assert pruned == expected
        raw = serialized.replace(b"\x1a\x01k", b"\x1a\x01\xff")
        assert prune_graph(raw, {"\udcff": "k"}, ["\udcff", "l"]) == pruned.replace(
            node(value("\xff")), node(value("k"))
        )


class TestAttributes:
    @pytest.mark.parametrize(
        ("keys", "expected"),
        [
            ({"t/.ATTRIBUTES/t-keys": "t/.ATTRIBUTES/t-keys"}, None),
            (
                {
                    "t/.ATTRIBUTES/t-keys": "u/v/.ATTRIBUTES/t-keys",
                    "t/.ATTRIBUTES/t-values": "u/v/.ATTRIBUTES/t-values",
                },
                "u/v/.ATTRIBUTES/t",
            ),
        ],
        ids=["half", "renamed"],
    )
    def test_the_key_of_a_table(self, keys: dict[str, str], expected: str | None) -> None:
        names = ["t/.ATTRIBUTES/t-keys", "t/.ATTRIBUTES/t-values", "t2/.ATTRIBUTES/t-keys", "z"]
        serialized = node(child("t", 1)) + node(attribute("t", "t/.ATTRIBUTES/t"))
        pruned = prune_graph(serialized, keys, names)
        if expected is None:
            assert pruned == node()
        else:
            assert pruned == node(child("t", 1)) + node(attribute("t", expected))

    def test_an_object_keeps_all_attributes_or_none(self) -> None:
        object_ = attribute("a", "k/.ATTRIBUTES/a"), attribute("b", "k/.ATTRIBUTES/b")
        serialized = node(child("k", 1)) + node(*object_)
        names = ["k/.ATTRIBUTES/a", "k/.ATTRIBUTES/b"]
        assert prune_graph(serialized, {names[0]: names[0]}, names) == node()

    def test_a_tensor_belongs_to_the_longest_key(self) -> None:
        serialized = node(child("a", 1), child("b", 2)) + node(value("t")) + node(value("tt"))
        for key, kept in (("t", ["t1"]), ("tt", ["tt1", "tt2"])):
            pruned = prune_graph(serialized, {name: name for name in kept}, ["t1", "tt1", "tt2"])
            name = "a" if key == "t" else "b"
            assert pruned == node(child(name, 1)) + node(value(key))

    @pytest.mark.parametrize(
        "keys",
        [
            {"k/.ATTRIBUTES/a": "k"},
            {"k/.ATTRIBUTES/a": "k/.ATTRIBUTES/b"},
            {"k/.ATTRIBUTES/a": "ka"},
            {"k/.ATTRIBUTES/a": "l/.ATTRIBUTES/a", "k/.ATTRIBUTES/b-x": "k/.ATTRIBUTES/b-x"},
            {"k/.ATTRIBUTES/b-x": "x/.ATTRIBUTES/b-x", "k/.ATTRIBUTES/b-y": "y/.ATTRIBUTES/b-y"},
            {"k/.ATTRIBUTES/b-x": "k/.ATTRIBUTES/b-z"},
        ],
        ids=["no_attribute", "attribute", "no_path", "two_paths", "two_prefixes", "no_prefix"],
    )
    def test_names_under_which_tensorflow_finds_nothing(self, keys: dict[str, str]) -> None:
        serialized = node(child("k", 1)) + node(
            attribute("a", "k/.ATTRIBUTES/a"), attribute("b", "k/.ATTRIBUTES/b")
        )
        names = ["k/.ATTRIBUTES/a", "k/.ATTRIBUTES/b-x", "k/.ATTRIBUTES/b-y"]
        with pytest.raises(ValueError, match=r"tensor 'k/\.ATTRIBUTES/[ab]"):
            prune_graph(serialized, {name: name for name in names} | keys, names)

    def test_a_key_without_a_tensor(self) -> None:
        serialized = node(child("a", 1), child("b", 2), child("c", 3)) + (
            node(value("k")) + node(value("gone")) + node(value(""))
        )
        expected = node(child("a", 1)) + node(value("k"))
        assert prune_graph(serialized, {"k": "k"}, ["k", "l"]) == expected
        assert prune_graph(serialized, {"k": "k"}, ["k"]) == serialized


class TestRegisteredSavers:
    NAMES = ("own/a", "own/b", "own2/a", "x", "v/.ATTRIBUTES/x")
    GRAPH = node(child("own", 1), child("own2", 2), child("other", 3)) + (
        node(saver("s", "own")) + node(saver("s", "own2")) + node(saver("s", "other"))
    )

    def savers(self, keys: dict[str, str]) -> dict[str, str]:
        graph = ObjectGraph(prune_graph(self.GRAPH, keys, self.NAMES), Tensors())
        return {found.path: found.registered_saver.object_name for found in list(graph.nodes())[1:]}

    def test_stay_with_their_tensors(self) -> None:
        same = {name: name for name in self.NAMES}
        assert self.savers({"own2/a": "own2/a"}) == {"own2": "own2"}
        assert self.savers({"own/a": "own/a"}) == {}
        del same["own/b"]
        assert self.savers(same) == {"own2": "own2", "other": "other"}
        del same["x"]
        assert self.savers(same) == {"own2": "own2"}

    def test_new_names(self) -> None:
        assert self.savers({"own/a": "p/q/a", "own/b": "p/q/b"}) == {"own": "p/q"}
        assert self.savers({"own/a": "p/a", "own/b": "q/b"}) == {}
        assert self.savers({"own2/a": "a"}) == {}
        moved = {name: f"copied/{name}" for name in self.NAMES}
        assert self.savers(moved) == {"own": "copied/own", "own2": "copied/own2"}


class TestBadGraphs:
    @pytest.mark.parametrize("serialized", [b"", b"\x0a\x05", b"\xff" * 9, b"\x12\x00"])
    def test_no_graph(self, serialized: bytes) -> None:
        with pytest.raises(CorruptCheckpointError):
            prune_graph(serialized, {}, [])

    @pytest.mark.parametrize(
        "fields", [child("a", 1), child("a", -1), slot(7, "m", 0), slot(0, "m", -1)], ids=range(4)
    )
    def test_ids_without_nodes(self, fields: bytes) -> None:
        with pytest.raises(CorruptCheckpointError, match="ids from 0 to 0"):
            prune_graph(node(fields), {}, ["k"])

    def test_work_is_linear(self) -> None:
        def steps(size: int) -> int:
            links = b"".join(node(child("x", i + 1), child("root")) for i in range(size))
            prefixes = b"".join(node(value("k" * i)) for i in range(1, size))
            names = ["k" * size + str(i) for i in range(size)]
            serialized = links + node(value("k")) + prefixes
            keys = {name: f"z{name}" for name in names}
            with counted_steps() as num_steps:
                prune_graph(serialized, keys, names)
                return num_steps()

        assert steps(400) < 2.5 * steps(200)
