"""The layout of tests: files that pages name exist, and no test imports another one."""

from __future__ import annotations

import ast
import re

import pytest

from support.repository import ROOT, TESTS

TEST_FILES = sorted(TESTS.rglob("test_*.py"))
NAMED = re.compile(r"`(tests/[\w./*]*)`")


def rows_of(page: str) -> dict[str, str]:
    """The rows of a page's tables, by their first words."""
    text = (ROOT / page).read_text(encoding="utf-8")
    tables = re.findall(r"^\| ---.*\n((?:\|.*\n)+)", text, re.MULTILINE)
    rows = [row for table in tables for row in table.splitlines()]
    return {" ".join(row.split()[1:6]): row for row in rows}


ROWS = rows_of("SECURITY.md")


@pytest.mark.parametrize("words", ROWS)
def test_every_row_of_security_names_a_test(words: str) -> None:
    *_, tested_in = ROWS[words].removesuffix(" |").split(" | ")
    assert NAMED.search(tested_in)


PAGES = [
    path
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md")]
    if NAMED.search(path.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("page", sorted(path.relative_to(ROOT).as_posix() for path in PAGES))
def test_every_test_that_a_page_names_is_there(page: str) -> None:
    named = NAMED.findall((ROOT / page).read_text(encoding="utf-8"))
    assert [path for path in named if not list(ROOT.glob(path))] == []


def imported_by(source: str) -> set[str]:
    """Top-level modules that Python code imports."""
    nodes = list(ast.walk(ast.parse(source)))
    names = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return {name.partition(".")[0] for name in names}


def test_no_test_is_imported() -> None:
    """What several tests need belongs in support/."""
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
