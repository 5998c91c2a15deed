"""Where tests are: what a page says of them is there, and none needs another one."""

from __future__ import annotations

import ast
import re

import pytest

from support.repository import ROOT, TESTS

TEST_FILES = sorted(TESTS.rglob("test_*.py"))
NAMED = re.compile(r"`(tests/[\w./*]*)`")


def promises() -> dict[str, str]:
    """The rows of SECURITY.md's table of promises: first words, and what is tested where."""
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    table = text.partition("| tested in |\n| --- | --- |\n")[2].partition("\n\n")[0]
    rows = [row.strip("| ").split(" | ") for row in table.splitlines()]
    return {" ".join(promise.split()[:4]): where for promise, where in rows}


PROMISES = promises()


@pytest.mark.parametrize("promise", PROMISES)
def test_every_promise_of_security_names_a_test(promise: str) -> None:
    assert NAMED.search(PROMISES[promise])


@pytest.mark.parametrize("page", ["SECURITY.md", "CONTRIBUTING.md", "README.md"])
def test_every_test_that_a_page_names_is_there(page: str) -> None:
    named = NAMED.findall((ROOT / page).read_text(encoding="utf-8"))
    assert named
    assert [path for path in named if not list(ROOT.glob(path))] == []


def imported_by(source: str) -> set[str]:
    """Top-level modules that Python code imports."""
    nodes = list(ast.walk(ast.parse(source)))
    names = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return {name.partition(".")[0] for name in names}


def test_no_test_is_imported() -> None:
    """What several tests need is in support/."""
    modules = {path.stem for path in TEST_FILES}
    importing = {
        path.relative_to(TESTS).as_posix(): imported_by(path.read_text(encoding="utf-8")) & modules
        for path in TESTS.rglob("*.py")
    }
    assert {path: modules for path, modules in importing.items() if modules} == {}


def test_helpers_have_a_line_in_their_readme() -> None:
    said = (TESTS / "support" / "README.md").read_text(encoding="utf-8")
    helpers = {path.name for path in (TESTS / "support").glob("*.py")} - {"__init__.py"}
    assert {name for name in helpers if f"`{name}`" not in said} == set()
