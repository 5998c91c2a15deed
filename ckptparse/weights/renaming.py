"""Rename tensors by rules: names, scopes, globs and regular expressions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from ckptparse.errors import InvalidTensorsError
from ckptparse.tensors.names import not_found

Step = Mapping["str | re.Pattern[str]", str] | Callable[[str], str]
Rename = Step | Sequence[Step]
"""Rules, or a function of the old name; or a list of these, each of which gets the names that the
one before gives.

A rule maps what is renamed to its new name, and is one of these:

- a name: ``{"global_step": "step"}``;
- a scope, if both end with a slash: ``{"vgg_16/": "backbone/"}``.  The text "" is the scope of all
  names: ``{"": "model/"}`` puts them into one, ``{"vgg_16/": ""}`` takes them out of one;
- a glob with ``*``, each of which stands for any text, slashes too: ``{"*/weights": "*/kernel"}``.
  The texts are put in place of the ``*`` of the new name, in order;
- a compiled regular expression, which is searched for anywhere in the name: each place is replaced
  by the new text, in which ``\\1`` is the first group.

In one mapping, the first rule that matches a name renames it; the others leave it as it is."""


def rename_each(names: Iterable[str], rename: Rename) -> dict[str, str]:
    """Return old name -> new name, of all names in their order.

    Args:
        names: the old names.
        rename: the rules.

    Raises:
        TensorNotFoundError: a rule matches no name; the message has the nearest ones.
        InvalidTensorsError: two tensors would have the same name, or a new name is empty.
        ValueError: a rule maps a scope to a name, or has more ``*`` in the new name than in the
            old one.
        TypeError: a new name is not a string, or a step is neither a mapping nor a function.

    Examples:
        >>> from ckptparse.weights.renaming import rename_each
        >>> names = ["net/a/w", "net/step"]
        >>> rename_each(names, {"*/w": "*/kernel", "net/": ""})
        {'net/a/w': 'net/a/kernel', 'net/step': 'step'}
        >>> rename_each(names, [{"*/w": "*/kernel"}, {"net/": ""}])
        {'net/a/w': 'a/kernel', 'net/step': 'step'}
    """
    renamed = {name: name for name in names}
    for step in rename if isinstance(rename, Sequence) else [rename]:
        changed = _take_step(list(renamed.values()), step)
        renamed = {old: changed[name] for old, name in renamed.items()}
    olds: dict[str, str] = {}
    for old, new in renamed.items():
        if not new:
            raise InvalidTensorsError("its new name would be empty", tensor=old)
        other = olds.setdefault(new, old)
        if other != old:
            raise InvalidTensorsError(
                "two tensors would have this name",
                tensor=new,
                expected="another name for one of them, or to exclude it",
                found=f"{other!r} and {old!r}",
            )
    return renamed


def _take_step(names: list[str], step: Step) -> dict[str, str]:
    """Return old name -> new name by one mapping or function."""
    if isinstance(step, Mapping):
        changed = _apply(names, step)
    elif callable(step):
        changed = {name: step(name) for name in names}
    else:
        raise TypeError(f"rename is a mapping, a function, or a list of these; it has {step!r}")
    for old, new in changed.items():
        if not isinstance(new, str):
            raise TypeError(f"the new name of {old!r} is not a str: {new!r}")
    return changed


def _apply(names: list[str], rules: Mapping[str | re.Pattern[str], str]) -> dict[str, str]:
    """Return old name -> new name by rules."""
    renamed: dict[str, str] = {}
    known = set(names)
    for old, new in rules.items():
        matches = False
        for name, new_name in _matched(old, new, names, known):
            matches = True
            renamed.setdefault(name, new_name)
        if not matches:
            wanted = old if isinstance(old, str) else old.pattern
            raise not_found("no tensor to rename", wanted, names)
    return {name: renamed.get(name, name) for name in names}


def _matched(
    old: str | re.Pattern[str], new: str, names: list[str], known: set[str]
) -> Iterator[tuple[str, str]]:
    """Yield the names that a rule matches, and their new names."""
    if isinstance(old, re.Pattern):
        for name in names:
            changed, number = old.subn(new, name)
            if number:
                yield name, changed
    elif old in known:
        yield old, new
    elif _is_scope(old) and _is_scope(new):
        yield from ((name, new + name[len(old) :]) for name in names if name.startswith(old))
    elif old.endswith("/") or new.endswith("/"):
        raise ValueError(f"{old!r} and {new!r}: a scope becomes a scope, with a slash at both ends")
    elif "*" in old:
        if new.count("*") > old.count("*"):
            raise ValueError(f"{new!r} has more * than {old!r}")
        parts = old.split("*")
        first, *others = new.split("*")
        for name in names:
            found = match_glob(parts, name)
            if found is not None:
                yield name, first + "".join(text + part for text, part in zip(found, others))


def match_glob(parts: Sequence[str], name: str) -> list[str] | None:
    """Return the text of each ``*`` of a glob in a name; None if the glob does not match.

    The first ``*`` stands for as much as it can, then the second one, and so on, as ``(.*)`` in a
    regular expression does.  But a regular expression tries all combinations of places, which are
    very many in a name such as "a/a/a/a...".  From the right to the left, the last place of each
    part is the right one, so that each part is searched for once.

    Args:
        parts: the texts before, between and after the ``*`` of the glob, two or more.
        name: the name.
    """
    first, *middle, last = parts
    if not (name.startswith(first) and name.endswith(last)):
        return None
    texts: list[str] = []
    start, stop = len(first), len(name) - len(last)
    for part in reversed(middle):
        place = name.rfind(part, start, stop)
        if place < 0:
            return None
        texts.append(name[place + len(part) : stop])
        stop = place
    if stop < start:  # the first and the last part overlap
        return None
    texts.append(name[start:stop])
    return texts[::-1]


def _is_scope(text: str) -> bool:
    return not text or text.endswith("/")
