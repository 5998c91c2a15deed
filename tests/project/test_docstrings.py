"""Each ``>>>`` example in a docstring runs, and the docstrings of the reference are complete.

An example is complete by itself: it imports all names that it uses, and it runs with `fixtures` in
the working directory, as it does in the root of the repository.
"""

from __future__ import annotations

import ast
import doctest
import inspect
import pkgutil
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import FunctionType
from typing import Any

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
    if any("to_dask" in example.source for example in test.examples):
        pytest.importorskip("dask.array", reason="dask is not installed")
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


REFERENCE = re.compile(
    r"^::: (?P<path>\S+)$(?:\n    options:$(?P<options>(?:\n      .*$)+))?", re.MULTILINE
)
"""An entry of a page of the reference, with its options."""

SECTIONS = ("Args:", "Returns:", "Yields:", "Raises:", "Attributes:", "Examples:")


def inherited_members() -> list[str]:
    """The inherited members that the reference shows, from mkdocs.yml."""
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    found = re.search(r"^ +inherited_members: \[(.*)\]$", settings, re.MULTILINE)
    assert found is not None
    return found[1].split(", ")


def members_of(cls: type, options: str) -> Iterator[tuple[str, object]]:
    """The methods and properties of a class that its entry shows, by name."""
    listed = re.search(r"members: (.*)", options)
    if listed is not None:
        names = [] if listed[1] == "false" else listed[1].strip("[]").split(", ")
    else:
        names = [name for name in vars(cls) if not name.startswith("_")] + inherited_members()
    for name in dict.fromkeys(names):
        for base in cls.__mro__:
            member = vars(base).get(name)
            if member is not None and base.__module__.startswith("ckptparse"):
                yield name, member
                break


def reference() -> list[pytest.param]:
    """Each class, function, method and property of the pages in docs/reference."""
    found = {}
    for page in sorted((ROOT / "docs/reference").glob("*.md")):
        for entry in REFERENCE.finditer(page.read_text(encoding="utf-8")):
            options = entry["options"] or ""
            value = pkgutil.resolve_name(entry["path"])
            found[value.__qualname__] = value
            if isinstance(value, type):
                if "merge_init_into_class: true" in options:
                    found[f"{value.__qualname__}.__init__"] = value.__init__
                for name, member in members_of(value, options):
                    if callable(member) or isinstance(member, (property, cached_property)):
                        found[f"{value.__qualname__}.{name}"] = member
    return [pytest.param(value, id=name) for name, value in found.items()]


def split_sections(docstring: str) -> dict[str, str]:
    """Heading -> text of the sections of a docstring."""
    texts: dict[str, list[str]] = {}
    heading = ""
    for line in docstring.splitlines():
        if line in SECTIONS:
            heading = line
        texts.setdefault(heading, []).append(line)
    return {heading: "\n".join(lines) for heading, lines in texts.items()}


def missing_parts(value: Any) -> Iterator[str]:
    """What the docstring of a class, function or property lacks."""
    sections = split_sections(inspect.getdoc(value) or "")
    if isinstance(value, type):
        names = getattr(value, "_fields", getattr(value, "__dataclass_fields__", ()))
        listed = "Attributes:"
    elif isinstance(value, FunctionType):
        names = [name for name in inspect.signature(value).parameters if name != "self"]
        listed = "Args:"
        is_described = "Returns:" in sections or "Yields:" in sections
        if value.__annotations__["return"] != "None" and not is_described:
            yield "Returns:"
    else:
        names, listed = (), ""
    for name in names:
        if not name.startswith("_") and f"\n    {name}: " not in sections.get(listed, ""):
            yield f"{listed} {name}"
    is_constructor = getattr(value, "__name__", "") == "__init__"  # its class has the example
    if ">>> " not in sections.get("Examples:", "") and not is_constructor:
        yield "Examples:"


@pytest.mark.parametrize("value", reference())
def test_docstrings_of_the_reference_are_complete(value: object) -> None:
    """They have an example, each argument or attribute, and what a function returns."""
    assert list(missing_parts(value)) == []
