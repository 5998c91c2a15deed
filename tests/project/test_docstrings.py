"""Every ``>>>`` example in a docstring of the package runs and prints what the docstring says.

An example stands alone: it imports what it uses, and it runs with `fixtures` in the working
directory, as it does in the root of the repository.
"""

from __future__ import annotations

import ast
import doctest
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import ckptparse
from support.repository import ROOT

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def sources() -> dict[str, Path]:
    """Name of each module -> its source file; modules are not imported for this."""
    found = {"ckptparse": Path(ckptparse.__file__)}
    for module in pkgutil.walk_packages(ckptparse.__path__, "ckptparse."):
        spec = module.module_finder.find_spec(module.name, None)
        assert spec is not None
        assert spec.origin is not None
        found[module.name] = Path(spec.origin)
    return found


def docstrings(tree: ast.AST, name: str) -> Iterator[tuple[str, ast.Constant]]:
    """Names and docstrings of a module and of all its classes, functions and properties."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            yield from docstrings(node, f"{name}.{node.name}")
    body = getattr(tree, "body", [])
    if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        yield name, body[0].value


def examples() -> list[pytest.param]:
    """Each docstring that has examples."""
    found = []
    for module, path in sources().items():
        text = path.read_text(encoding="utf-8")
        if ">>> " not in text:
            continue
        num_prompts = 0
        for name, docstring in docstrings(ast.parse(text), module):
            line = docstring.lineno - 1
            test = doctest.DocTestParser().get_doctest(
                str(docstring.value), {"__name__": "__main__"}, name, str(path), line
            )
            if test.examples:
                found.append(pytest.param(test, id=name.removeprefix("ckptparse.")))
                num_prompts += len(test.examples)
        assert num_prompts == text.count(">>> "), f"{path}: an example outside of a docstring"
    return found


EXAMPLES = examples()


@pytest.mark.parametrize("test", EXAMPLES)
def test_examples_are_true(
    test: doctest.DocTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fixtures").symlink_to(ROOT / "fixtures", target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    report: list[str] = []
    results = doctest.DocTestRunner(optionflags=FLAGS).run(test, out=report.append)
    assert results.failed == 0, "".join(report)


@pytest.mark.parametrize("test", EXAMPLES)
def test_no_example_is_skipped(test: doctest.DocTest) -> None:
    assert not any(doctest.SKIP in example.options for example in test.examples)


@pytest.mark.parametrize("test", EXAMPLES)
def test_the_site_shows_examples_as_code(test: doctest.DocTest) -> None:
    """Its reader of docstrings knows "Examples:"; what follows "Example:" becomes quotations."""
    assert "Example:" not in [line.strip() for line in str(test.docstring).splitlines()]
