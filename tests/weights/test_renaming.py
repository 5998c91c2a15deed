"""Rules that rename tensors."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ckptparse import InvalidTensorsError, TensorNotFoundError
from ckptparse.weights.renaming import match_glob, rename_each

NAMES = ["global_step", "net/a/w", "net/a/b", "net/b/w", "net/c*/w", "network/w"]

RULES: dict[str, tuple[Any, dict[str, str]]] = {
    "name": ({"net/a/w": "x"}, {"net/a/w": "x"}),
    "names": ({"net/a/w": "net/a/b", "net/a/b": "net/a/w"},
              {"net/a/w": "net/a/b", "net/a/b": "net/a/w"}),
    "scope": ({"net/a/": "x/y/"}, {"net/a/w": "x/y/w", "net/a/b": "x/y/b"}),
    "out of a scope": ({"net/": ""}, {"net/a/w": "a/w", "net/a/b": "a/b", "net/b/w": "b/w",
                                      "net/c*/w": "c*/w"}),
    "into a scope": ({"": "m/"}, {name: f"m/{name}" for name in NAMES}),
    "glob": ({"net/*/w": "*.weight"}, {"net/a/w": "a.weight", "net/b/w": "b.weight",
                                       "net/c*/w": "c*.weight"}),
    "two stars": ({"*/*/b": "b/*"}, {"net/a/b": "b/net"}),
    "a star is dropped": ({"*/a/w": "w"}, {"net/a/w": "w"}),
    "a star over a slash": ({"n*w": "x*"}, {"net/a/w": "xet/a/", "net/b/w": "xet/b/",
                                            "net/c*/w": "xet/c*/", "network/w": "xetwork/"}),
    "a name with a star": ({"net/c*/w": "c"}, {"net/c*/w": "c"}),
    "expression": ({re.compile(r"(\w)/w$"): r"\1.w"},
                   {"net/a/w": "net/a.w", "net/b/w": "net/b.w", "network/w": "network.w"}),
    "each match": ({re.compile("t"): ""}, {name: name.replace("t", "") for name in NAMES}),
    "the first rule": ({"net/a/w": "x", "net/a/": "y/", "*/w": "z/*"},
                       {"net/a/w": "x", "net/a/b": "y/b", "net/b/w": "z/net/b",
                        "net/c*/w": "z/net/c*", "network/w": "z/network"}),
    "function": (str.upper, {name: name.upper() for name in NAMES}),
    "steps": ([{"net/": ""}, {"*/w": "*.w", "a/b": "net/a/w"}, str.upper],
              {"global_step": "GLOBAL_STEP", "net/a/w": "A.W", "net/a/b": "NET/A/W",
               "net/b/w": "B.W", "net/c*/w": "C*.W", "network/w": "NETWORK.W"}),
    "a name that another one had": (
        [{"net/a/w": "global_step", "global_step": "x"}, {"global_step": "y"}],
        {"net/a/w": "y", "global_step": "x"}),
    "none": ({}, {}),
    "no step": ([], {}),
}  # fmt: skip


@pytest.mark.parametrize("case", RULES)
def test_rules(case: str) -> None:
    rules, changed = RULES[case]
    assert rename_each(NAMES, rules) == {name: changed.get(name, name) for name in NAMES}
    assert list(rename_each(NAMES, rules)) == NAMES


@pytest.mark.parametrize(
    "rule", ["net/a", "nets/", "*/v", re.compile("^a"), "w"], ids=lambda rule: str(rule)[:14]
)
def test_a_rule_that_matches_nothing(rule: Any) -> None:
    new = "x/" if isinstance(rule, str) and rule.endswith("/") else "x"
    with pytest.raises(TensorNotFoundError, match="no tensor to rename"):
        rename_each(NAMES, {rule: new})


def test_the_nearest_names_are_said() -> None:
    with pytest.raises(TensorNotFoundError, match="similar of 6 names: net/a/w"):
        rename_each(NAMES, {"nett/a/w": "x"})


def test_two_on_one_name() -> None:
    with pytest.raises(InvalidTensorsError, match="tensor 'w': two tensors") as caught:
        rename_each(NAMES, {"net/*/w": "w"})
    assert caught.value.found == "'net/a/w' and 'net/b/w'"
    with pytest.raises(InvalidTensorsError, match="two tensors"):
        rename_each(NAMES, {"net/a/w": "global_step"})


def test_two_on_one_name_after_steps() -> None:
    """The error has the names in the source."""
    with pytest.raises(InvalidTensorsError, match="tensor 'x': two tensors") as caught:
        rename_each(NAMES, [{"net/a/": "", "net/b/": ""}, {"w": "x"}])
    assert caught.value.found == "'net/a/w' and 'net/b/w'"


def test_a_rule_of_a_later_step_that_matches_nothing() -> None:
    """It gets the new names."""
    with pytest.raises(TensorNotFoundError, match="similar of 6 names: a/w"):
        rename_each(NAMES, [{"net/": ""}, {"a/wx": "x"}])


WRONG: dict[str, tuple[Any, type[Exception]]] = {
    "scope to name": ({"net/": "x"}, ValueError),
    "glob to scope": ({"*/w": "x/"}, ValueError),
    "too many stars": ({"*/a/w": "*/*"}, ValueError),
    "empty name": ({"global_step": ""}, InvalidTensorsError),
    "number": ({"global_step": 1}, TypeError),
    "nothing": (lambda name: None, TypeError),
    "nothing for a second step": ([lambda name: None, str.upper], TypeError),
    "text": ("net/", TypeError),
    "list of pairs": ([("global_step", "x")], TypeError),
}


@pytest.mark.parametrize("case", WRONG)
def test_rules_that_are_none(case: str) -> None:
    rules, error = WRONG[case]
    with pytest.raises(error):
        rename_each(NAMES, rules)


@given(
    st.lists(st.text("ab/\n", max_size=3), min_size=2, max_size=5),
    st.text("ab/\n", max_size=12),
)
@example(["ab", "ba"], "aba")
@example(["", "", "", ""], "ab")
@example(["a", "/", "/", "b"], "a/a/b/b/b")
def test_globs_match_as_regular_expressions(parts: list[str], name: str) -> None:
    expression = re.compile("(.*)".join(map(re.escape, parts)), re.DOTALL)
    found = expression.fullmatch(name)
    assert match_glob(parts, name) == (None if found is None else list(found.groups()))


class CountedName(str):
    """A name that counts how often it is searched."""

    num_searches = 0

    def rfind(self, *arguments: Any) -> int:
        CountedName.num_searches += 1
        return super().rfind(*arguments)


def test_globs_search_for_each_part_once() -> None:
    """A regular expression would take years to find that this name does not match."""
    name = CountedName("/w" * 60_000 + "/b=/kernel")
    glob = "*x*/w*/w*/w*/b=*/kernel*"
    CountedName.num_searches = 0
    assert match_glob(f"{glob}/bias".split("*"), name) is None
    assert CountedName.num_searches == 0
    assert match_glob(glob.split("*"), name) is None
    assert CountedName.num_searches == glob.count("*") - 1
    renamed = rename_each([name], {glob.removeprefix("*x"): "*.*"})
    assert renamed == {name: "/w" * 59_997 + "."}
    assert CountedName.num_searches == 2 * glob.count("*") - 3
