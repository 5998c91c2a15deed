"""Pair the tensors of two mappings."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import prod

from ckptparse.checkpoint import Checkpoint
from ckptparse.errors import CheckpointError
from ckptparse.tensors.mapping import TensorMapping, find_roots
from ckptparse.tensors.names import not_found
from ckptparse.weights.assignment import AssignmentMap, assign_names
from ckptparse.weights.matching import match
from ckptparse.weights.selection import info_each


def pair_names(
    a: TensorMapping, b: TensorMapping, names: AssignmentMap | None, by_match: bool
) -> dict[str, str]:
    """Return name in a -> name in b, of the tensors to compare, in the order of a.

    Tensors that `names` does not pair are paired if they have the same name, or else if their
    variables have the same name.

    Args:
        a: a mapping.
        b: the other one.
        names: names or scopes in a -> those in b; other tensors keep their names, also those in a
            scope that have no counterpart.
        by_match: pair those whose variables have the same name, then others as `match` proposes it.

    Raises:
        ValueError: `names` pairs a tensor twice.
        TensorNotFoundError: `names` has a name or a scope that a or b lacks; or no tensor of a
            scope in a has a counterpart in b.
    """
    in_a, in_b = dict.fromkeys(a), dict.fromkeys(b)
    if by_match:
        pairs = _pair_variables(a, b, in_b, in_a)
        pairs |= _match_names(a, b, pairs)
    else:
        pairs = _assign_names(in_a, in_b, names or {})
    by_b: dict[str, str] = {}
    for name, other in pairs.items():
        if by_b.setdefault(other, name) != name:
            raise ValueError(f"names pairs {other!r} of b with {by_b[other]!r} and with {name!r}")
    paired = {}
    for name in in_a:
        if name in pairs:
            paired[name] = pairs[name]
        elif name in in_b and name not in by_b:
            paired[name] = name
    paired |= _pair_variables(a, b, paired, set(paired.values()))
    return {name: paired[name] for name in in_a if name in paired}


def _pair_variables(
    a: TensorMapping, b: TensorMapping, taken_a: Collection[str], taken_b: Collection[str]
) -> dict[str, str]:
    """Return name in a -> name in b, of tensors whose variables have the same name.

    Args:
        a: a mapping.
        b: the other one.
        taken_a: names in a to leave out.
        taken_b: names in b to leave out.
    """
    left_a = [name for name in a if name not in taken_a]
    left_b = [name for name in b if name not in taken_b]
    if not left_a or not left_b:
        return {}
    in_b = _variables(b, left_b)
    in_a = _variables(a, left_a)
    return {name: in_b[variable] for variable, name in in_a.items() if variable in in_b}


def _variables(tensors: TensorMapping, names: list[str]) -> dict[str, str]:
    """Return name of a variable -> name of its tensor; without names that several variables have.

    A tensor of which nothing is known has the name of its variable, as in TensorFlow 1.
    """
    roots = find_roots(tensors)
    known: dict[int, Mapping[str, str]] = {}
    found: dict[str, str | None] = {}
    for name in names:
        root, key = roots[name]
        variable = name
        if isinstance(root, Checkpoint) and key == name:  # not renamed
            if id(root) not in known:
                try:
                    known[id(root)] = root.variable_names
                except CheckpointError:  # the values can be compared without the names
                    known[id(root)] = {}
            variable = known[id(root)].get(name, name)
        variable = variable.removesuffix(":0")
        found[variable] = None if variable in found else name
    return {variable: name for variable, name in found.items() if name is not None}


def _assign_names(
    in_a: Collection[str], in_b: Collection[str], names: AssignmentMap
) -> dict[str, str]:
    """Return name in a -> name in b, of the tensors that `names` pairs."""
    pairs: dict[str, str] = {}
    for entry in names.items() if isinstance(names, Mapping) else names:
        assigned = list(assign_names(in_a, [entry]))
        there = [(name, other) for name, other in assigned if other in in_b]
        if not there:
            raise not_found("names: no such tensor in b", assigned[0][1], in_b)
        for name, other in there:
            if pairs.setdefault(name, other) != other:
                raise ValueError(f"names pairs {name!r} with {pairs[name]!r} and with {other!r}")
    return pairs


def _match_names(a: TensorMapping, b: TensorMapping, known: Mapping[str, str]) -> dict[str, str]:
    """Return name in a -> name in b, as `match` proposes it for tensors that are not known.

    Tensors that are left then are matched by their numbers of elements.
    """
    shapes = [
        {name: info.shape for name, info in zip(each, info_each(each, each)) if name not in others}
        for each, others in ((a, known.keys()), (b, set(known.values())))
    ]
    pairs: dict[str, str] = {}
    for _ in range(2):
        left, wanted = shapes
        found = dict(match(left, wanted).names)
        pairs |= found
        used = set(found.values())
        shapes = [
            {name: (prod(shape),) for name, shape in left.items() if name not in found},
            {name: (prod(shape),) for name, shape in wanted.items() if name not in used},
        ]
    return pairs
