"""The options that choose, rename and change tensors; the same ones in every command."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ckptparse.commands.usage import UsageError
from ckptparse.errors import CheckpointError

if TYPE_CHECKING:
    from ckptparse.weights.choice import Choice

_REGULAR_EXPRESSION = "re:"


def add_choice(parser: argparse.ArgumentParser, *, names: bool = True) -> None:
    """Add the options.

    Args:
        parser: the parser of the command.
        names: whether to add --names; False for a command in which it has another meaning.
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
            "--names", metavar="FILE", help="rename tensors as a JSON file says: {old: new, ...}"
        )
    group.add_argument(
        "--dtype", metavar="D", help="cast floating-point tensors to a dtype, such as bfloat16"
    )


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

    with as_usage_errors():
        return choose(
            tensors,
            weights_only=arguments.weights_only,
            moving_averages=arguments.moving_averages,
            include=arguments.include,
            exclude=arguments.exclude,
            layout=layout,  # type: ignore[arg-type]  # `choose` checks it
            rename=read_rules(arguments) or None,
            dtype=arguments.dtype,
            object_graph=object_graph,
        )


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
) -> dict[str | re.Pattern[str], str]:
    """Return the rules of --names and --rename.

    Args:
        arguments: the arguments.
        names: whether --names has rules; see `add_choice`.

    Raises:
        UsageError: an option is wrong.
    """
    rules: dict[str | re.Pattern[str], str] = {}
    if names and arguments.names is not None:
        rules.update(read_names(arguments.names))
    for text in arguments.rename:
        is_expression = text.startswith(_REGULAR_EXPRESSION)
        pair = text.removeprefix(_REGULAR_EXPRESSION) if is_expression else text
        old, sign, new = pair.rpartition("=") if is_expression else pair.partition("=")
        if not sign:
            raise UsageError(f"--rename {text}: expected OLD=NEW")
        try:
            rule = re.compile(old) if is_expression else old
            if is_expression:
                re.sub(rule, new, "")  # a template that is wrong is an error also without a match
        except (re.error, IndexError) as error:
            raise UsageError(f"--rename {text}: {error}") from error
        if rule in rules:
            raise UsageError(f"--rename {text}: there is a new name for {old} already")
        rules[rule] = new
    return rules


def read_names(path: str) -> dict[str, str]:
    """Return the names in a JSON file."""
    with open(path, encoding="utf-8") as file:
        try:
            names = json.load(file)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"--names {path}: this is not JSON: {error}") from error
    if not isinstance(names, dict) or not all(isinstance(new, str) for new in names.values()):
        raise UsageError(f"--names {path}: expected one object that maps old to new names")
    return names
