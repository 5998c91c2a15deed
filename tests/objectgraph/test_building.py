"""Object graphs built of names: what ckptparse's own reader finds in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptparse import open_checkpoint
from ckptparse.objectgraph import KEY, ObjectGraph, join_path
from ckptparse.objectgraph.building import build_graph
from support.counting import counted_steps
from support.object_graphs import Tensors, node
from support.oracle import case_names, load_case

VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
CASES = [
    name for name in case_names("v2") if KEY in (tensor.name for tensor in load_case(name).tensors)
]


def read(names: list[str]) -> tuple[ObjectGraph, dict[str, str]]:
    serialized, keys = build_graph(names)
    return ObjectGraph(serialized, Tensors(**dict.fromkeys(keys.values(), 1.0))), keys


local_names = st.text(st.characters(codec="utf-8") | st.sampled_from("./S"), max_size=6)
paths = st.lists(local_names, min_size=1, max_size=4).map(join_path)


@given(names=st.lists(paths.filter(bool), max_size=12, unique=True), data=st.data())
def test_finds_each_path(names: list[str], data: st.DataObject) -> None:
    as_key = [data.draw(st.booleans()) for _ in names]
    given_names = [name + VALUE if is_key else name for name, is_key in zip(names, as_key)]
    graph, keys = read(given_names)
    assert list(keys) == given_names
    assert sorted(graph) == sorted(names)
    for name, path in zip(given_names, names):
        assert (
            graph.checkpoint_key(path) == graph.checkpoint_key(name) == keys[name] == path + VALUE
        )
        assert graph.node(path).variable.full_name == path
    assert all(found.has_checkpoint_values == bool(names) for found in graph.nodes())
    assert build_graph(given_names)[0] == build_graph(iter(given_names))[0]


@pytest.mark.parametrize("case", CASES)
def test_paths_of_a_fixture(case: str) -> None:
    saved = open_checkpoint(load_case(case).path).object_graph
    assert saved is not None
    graph, keys = read(list(saved))
    assert sorted(graph) == sorted(saved)
    assert all(keys[path] == saved.checkpoint_key(path) for path in saved)
    assert {(s.original.path, s.name) for found in graph.nodes() for s in found.slot_variables} == {
        (s.original.path, s.name) for found in saved.nodes() for s in found.slot_variables
    }


def test_a_variable_with_children() -> None:
    graph, _ = read(["a/b/c", "a/b", "", "a/b/d"])
    assert list(graph) == ["", "a/b", "a/b/c", "a/b/d"]
    assert list(graph.node("a/b").children) == ["c", "d"]
    assert graph.num_nodes == 5


def test_other_attributes() -> None:
    graph, keys = read(["x", "x/.ATTRIBUTES/py_state", "y/.ATTRIBUTES/a..Sb"])
    assert [(a.name, a.full_name, a.checkpoint_key) for a in graph.node("x").attributes] == [
        ("VARIABLE_VALUE", "x", "x" + VALUE),
        ("py_state", "", "x/.ATTRIBUTES/py_state"),
    ]
    assert [a.name for a in graph.node("y").attributes] == ["a.Sb"]
    assert keys["x/.ATTRIBUTES/py_state"] == "x/.ATTRIBUTES/py_state"


def test_slot_variables() -> None:
    path = "k/.OPTIMIZER_SLOT/o/a..b"
    graph, keys = read([path + VALUE, "k"])
    assert keys[path + VALUE] == path + VALUE
    (found,) = graph.node("o").slot_variables
    assert (found.name, found.original.path, found.variable.path) == ("a.b", "k", None)
    assert [found.path for found in graph.nodes()] == ["", "k", "o", None]


def test_no_names() -> None:
    assert build_graph([]) == (node(b"\x2a\x00"), {})


@pytest.mark.parametrize(
    "name",
    [
        "layers.0.weight",
        "a/.b",
        "a/.OPTIMIZER_SLOT/o.x/m",
        "a/.OPTIMIZER_SLOT/o/m.x",
        "a/.ATTRIBUTES/x.y",
        "a/.ATTRIBUTES/",
        "a/.ATTRIBUTES/x/.ATTRIBUTES/y",
        "a\ud800",
        KEY,
    ],
)
def test_names_that_are_not_paths(name: str) -> None:
    with pytest.raises(ValueError, match="the name of tensor") as raised:
        build_graph(["good", name])
    assert repr(name) in str(raised.value)


def test_two_names_of_one_path() -> None:
    with pytest.raises(ValueError, match=f"tensors 'a' and 'a{VALUE}' have the same path"):
        build_graph(["a", "a" + VALUE])
    with pytest.raises(ValueError, match="tensors 'a' and 'a' have the same path"):
        build_graph(["a", "a"])


def test_work_is_linear() -> None:
    def steps(size: int) -> int:
        names = ["/".join("x" * i) for i in range(1, 30)] + [f"y/{i}" for i in range(size)]
        with counted_steps() as num_steps:
            build_graph(names)
            return num_steps()

    assert steps(2000) < 2.2 * steps(1000)
