"""Assignment maps, compared with what TensorFlow did with them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from ckptparse import TensorNotFoundError, open_checkpoint
from ckptparse.weights.assignment import assign_names
from ckptparse.weights.loading import load_into
from ckptparse.weights.selection import select
from support.oracle import load_case

CASE = load_case("tf-1.15.5/init_from_checkpoint")
ANSWERS = [
    answer
    for answer in json.loads((CASE.folder / "answers.json").read_text())["answers"]
    if "PartitionedVariable" not in repr(answer["assignment_map"])  # it takes none, by a slip
]

# Entries that TensorFlow lets overrule each other by the order of their names; here an error.
OVERRULED = [
    {"a/": "b/", "w": "b/w"},
    {"a/": "b/", "a/sub/w": "b/w"},
    {"a/": "b/", "b/": "b/"},
    {"a/w": "b/w", "b/w": "b/w"},
]

WRONG_BY_THEMSELVES = [
    {"a/": ""},
    {"a/": "b"},
    {"a/": "b/w"},
    {"a/": "x/y"},
    {"a": "b"},
    {"a": "b/"},
    {"": "b/"},
    {"/a/": "b/"},
    {"a//": "b/"},
    {"a/w:0": "b/w"},
    {"nothing": "b/w"},
    {"nothing/": "b/"},
    {"nothing/w": "b/w"},
    {"a/": "b/", "nothing/": "c/"},
]


def map_of(answer: Any) -> dict[str, str]:
    """The map with names instead of variables; a partitioned variable has the name of the whole."""
    entries = {}
    for source, target in answer["assignment_map"]:
        if not isinstance(target, str):
            (target,) = target.values()
        entries[source] = target
    return entries


def whole(variable: str) -> str:
    """The name of a variable without the suffix of a partition."""
    return variable.partition("/part_")[0]


def graph_of(answer: Any) -> dict[str, np.ndarray]:
    """The graph's variables; the parts of a partitioned one are joined along their first axis."""
    graph: dict[str, np.ndarray] = {}
    for variable in answer["variables"]:
        name, value = whole(variable["name"]), np.full(variable["shape"], -1, np.float32)
        graph[name] = np.concatenate([graph[name], value]) if name in graph else value
    return graph


def tensor(name: str) -> np.ndarray:
    expected = next(t for t in CASE.tensors if t.name == name)
    return np.frombuffer(expected.payload, expected.dtype).reshape(expected.shape)


def is_fine(answer: Any) -> bool:
    return "error" not in answer and all("error" not in item for item in answer["initialized"])


def ident(answer: Any) -> str:
    return repr(answer["assignment_map"])


@pytest.mark.parametrize(
    "answer",
    [a for a in ANSWERS if is_fine(a) and map_of(a) not in OVERRULED],
    ids=ident,
)
def test_each_variable_gets_what_tensorflow_gave_it(answer) -> None:
    graph = graph_of(answer)
    with open_checkpoint(CASE.prefix) as ckpt:
        chosen = select(ckpt, assignment_map=map_of(answer))
        report = load_into(graph, chosen, strict=False)
    given = {whole(item["variable"]): item["tensor"] for item in answer["initialized"]}
    assert {name: chosen.sources.get(name) for name in graph} == given
    assert report.mismatched == ()
    for name, source in given.items():
        np.testing.assert_array_equal(graph[name], -1 if source is None else tensor(source))


@pytest.mark.parametrize("answer", [a for a in ANSWERS if not is_fine(a)], ids=ident)
def test_what_tensorflow_refuses(answer) -> None:
    """What TensorFlow refuses because of the graph shows only when the graph is loaded."""
    entries = map_of(answer)
    with open_checkpoint(CASE.prefix) as ckpt:
        if entries in WRONG_BY_THEMSELVES:
            with pytest.raises((TensorNotFoundError, ValueError)):
                select(ckpt, assignment_map=entries)
        else:
            chosen = select(ckpt, assignment_map=entries)
            report = load_into(graph_of(answer), chosen, strict=False)
            assert report.missing or report.mismatched


def test_the_table_has_all_that_is_listed_here() -> None:
    maps = [map_of(answer) for answer in ANSWERS]
    assert all(entries in maps for entries in [*OVERRULED, *WRONG_BY_THEMSELVES])


@pytest.mark.parametrize("entries", OVERRULED, ids=repr)
def test_two_tensors_for_a_variable(entries: dict[str, str]) -> None:
    with open_checkpoint(CASE.prefix) as ckpt, pytest.raises(ValueError, match=r"^both '"):
        select(ckpt, assignment_map=entries)


NAMES = ["a/b", "a/sub/w", "a/w", "ab/w", "w"]


def assigned(assignment_map) -> dict[str, str]:
    return {target: source for source, target in assign_names(NAMES, assignment_map)}


@pytest.mark.parametrize(
    ("assignment_map", "expected"),
    [
        ({}, {}),
        ({"a/": "x/"}, {"x/b": "a/b", "x/sub/w": "a/sub/w", "x/w": "a/w"}),
        ({"a/sub/": "/"}, {"w": "a/sub/w"}),
        ({"/": "/"}, {name: name for name in NAMES}),
        ({"/": "x/"}, {f"x/{name}": name for name in NAMES}),
        ({"w": "x", "a/w": "x/y"}, {"x": "w", "x/y": "a/w"}),
        ([("w", "x"), ("w", "y")], {"x": "w", "y": "w"}),  # as TensorFlow 2 takes them
        ({"a/w": "w", "w": "a/w"}, {"w": "a/w", "a/w": "w"}),
    ],
)
def test_names(assignment_map, expected: dict[str, str]) -> None:
    assert assigned(assignment_map) == expected


@pytest.mark.parametrize(
    ("assignment_map", "error", "text"),
    [
        (
            {"a/v": "b"},
            TensorNotFoundError,
            r"'a/v': no such tensor .*\. The most similar of \d+ names: a/w",
        ),
        ({"a/w:0": "b"}, TensorNotFoundError, r"The most similar of \d+ names: a/w"),
        ({"b/": "x/"}, TensorNotFoundError, "'b/': no tensor below this scope"),
        ({"a/sup/": "x/"}, TensorNotFoundError, r"The most similar of \d+ names: a/sub/"),
        ({"": "x/"}, ValueError, "'x/' is a scope"),
        ({"a": "x/"}, ValueError, "'x/' is a scope; one scope goes to another, 'a/' to 'x/'"),
        ({"a/": "x"}, ValueError, "ends in a slash, found 'x'"),
        ({"a/": "x/y"}, ValueError, "ends in a slash, found 'x/y'"),
        ({"a/": ""}, ValueError, "ends in a slash, found ''"),
        ({"a/w": object()}, TypeError, "'a/w': expected a variable's name"),
    ],
)
def test_errors(assignment_map, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        assigned(assignment_map)
