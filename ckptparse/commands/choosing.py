"""The options that choose, rename and change tensors; the same ones in every command."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeGuard

from ckptparse.commands.usage import UsageError
from ckptparse.display.text import printable
from ckptparse.errors import CheckpointError

if TYPE_CHECKING:
    from ckptparse.weights.choice import Choice

_REGULAR_EXPRESSION = "re:"


def add_choice(parser: argparse.ArgumentParser, *, names: bool = True, dtype: bool = True) -> None:
    """Add the options.

    Args:
        parser: the parser of the command.
        names: whether to add --names; False for a command in which it has another meaning.
        dtype: whether to add --dtype; False for a command that shows the values as they are stored.
    """
    group = parser.add_argument_group("which tensors, and under which names")
    group.add_argument(
        "--include",
        metavar="P",
        action="append",
        help="only these: a name, or a pattern whose * also matches slashes (repeatable)",
    )
    group.add_argument(
        "--exclude",
        metavar="P",
        action="append",
        default=[],
        help="not these: a name or a pattern (repeatable)",
    )
    group.add_argument(
        "--weights-only",
        action="store_true",
        help="without slots of optimizers, counters and other state of training",
    )
    group.add_argument(
        "--moving-averages",
        action="store_true",
        help="the values of moving averages, under the names of their variables",
    )
    group.add_argument(
        "--rename",
        metavar="OLD=NEW",
        action="append",
        default=[],
        help="rename a tensor; a scope, if both end with / or are empty; what * matches is put in"
        " place of * in NEW; re:OLD=NEW replaces a regular expression (repeatable)",
    )
    if names:
        group.add_argument(
            "--names",
            metavar="FILE",
            help="rename tensors by the rules in a JSON file: {OLD: NEW, ...}, or a list of such"
            " objects, which are applied one after the other; the rules of --rename are added to"
            " the last one",
        )
    if dtype:
        group.add_argument(
            "--dtype", metavar="D", help="cast floating-point tensors to a dtype, such as bfloat16"
        )
    else:
        parser.set_defaults(dtype=None)


def choose_from(
    arguments: argparse.Namespace,
    tensors: Mapping[str, Any],
    layout: str | None = None,
    *,
    object_graph: bool = True,
) -> Choice:
    """Return the tensors that the options of `add_choice` choose.

    Args:
        arguments: the arguments.
        tensors: the tensors to choose from.
        layout: the layout, as for `convert`.
        object_graph: whether the tensor with the object graph may be among them.

    Raises:
        UsageError: an option is wrong.
        CheckpointError: see `choose`.
    """
    from ckptparse.weights.choice import choose

    include = arguments.include
    with as_usage_errors():
        return choose(
            tensors,
            weights_only=arguments.weights_only,
            moving_averages=arguments.moving_averages,
            include=None if include is None else as_stored(include, tensors),
            exclude=as_stored(arguments.exclude, tensors),
            layout=layout,  # type: ignore[arg-type]  # `choose` checks it
            rename=read_rules(arguments) or None,
            dtype=arguments.dtype,
            object_graph=object_graph,
        )


def as_stored(given: Sequence[str], names: Iterable[str]) -> list[str]:
    """Return names and patterns, after replacing each name with escapes by the name in the file.

    So a name with control characters can be pasted as it is printed, with escapes.

    Args:
        given: names and patterns.
        names: all names as they are stored.
    """
    if not any("\\" in text for text in given):
        return list(given)
    stored = dict.fromkeys(names)
    printed = {printable(name): name for name in stored if not name.isprintable()}
    return [text if text in stored else printed.get(text, text) for text in given]


def is_chosen(arguments: argparse.Namespace) -> bool:
    """Return whether any of the options was given."""
    return any(
        getattr(arguments, name)
        for name in (
            "include",
            "exclude",
            "weights_only",
            "moving_averages",
            "rename",
            "names",
            "dtype",
        )
    )


@contextmanager
def as_usage_errors() -> Iterator[None]:
    """Raise UsageError for each ValueError that is no CheckpointError: a bad value of an option."""
    try:
        yield
    except CheckpointError:
        raise
    except ValueError as error:
        raise UsageError(str(error)) from error


def read_rules(
    arguments: argparse.Namespace, *, names: bool = True
) -> list[dict[str | re.Pattern[str], str]]:
    """Return the steps of --names and --rename; none, if there are no rules.

    Args:
        arguments: the arguments.
        names: whether --names has rules; see `add_choice`.

    Raises:
        UsageError: an option is wrong.
    """
    steps: list[dict[str | re.Pattern[str], str]] = []
    if names and arguments.names is not None:
        for each in _read_steps(arguments.names):
            steps.append({_to_rule(old, new, "--names"): new for old, new in each.items()})
    last = steps.pop() if steps else {}
    for text in arguments.rename:
        cut = str.rpartition if text.startswith(_REGULAR_EXPRESSION) else str.partition
        old, sign, new = cut(text, "=")
        if not sign:
            raise UsageError(f"--rename {text}: expected OLD=NEW")
        rule = _to_rule(old, new, "--rename")
        if rule in last:
            raise UsageError(f"--rename {text}: there is a new name for {old} already")
        last[rule] = new
    return [step for step in (*steps, last) if step]


def _to_rule(old: str, new: str, option: str) -> str | re.Pattern[str]:
    """Return the rule for a text OLD, which may be ``re:`` and a regular expression."""
    if not old.startswith(_REGULAR_EXPRESSION):
        return old
    try:
        rule = re.compile(old.removeprefix(_REGULAR_EXPRESSION))
        re.sub(rule, new, "")  # a template that is wrong is an error also without a match
    except (re.error, IndexError) as error:
        raise UsageError(f"{option} {old}={new}: {error}") from error
    return rule


def _read_steps(path: str) -> list[dict[str, str]]:
    """Return the steps in a JSON file: one object, or a list of them."""
    steps = _read_json(path)
    if isinstance(steps, list) and all(map(_is_names, steps)):
        return steps
    if not _is_names(steps):
        raise UsageError(
            f"--names {path}: expected an object of old and new names, or a list of them"
        )
    return [steps]


def read_names(path: str) -> dict[str, str]:
    """Return the names in a JSON file of one object."""
    names = _read_json(path)
    if not _is_names(names):
        raise UsageError(f"--names {path}: expected one object that maps old to new names")
    return names


def _is_names(names: Any) -> TypeGuard[dict[str, str]]:
    return isinstance(names, dict) and all(isinstance(new, str) for new in names.values())


def _read_json(path: str) -> Any:
    """Return what a JSON file of --names contains."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except OSError as error:
        raise UsageError(f"--names {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--names {path}: this is not JSON: {error}") from error
