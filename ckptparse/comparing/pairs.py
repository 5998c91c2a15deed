"""Pair the tensors of two mappings."""

from __future__ import annotations

from math import prod

from ckptparse.tensors.mapping import TensorMapping
from ckptparse.tensors.names import not_found
from ckptparse.weights.assignment import AssignmentMap, assign_names
from ckptparse.weights.matching import match
from ckptparse.weights.selection import info_each


def pair_names(
    a: TensorMapping, b: TensorMapping, names: AssignmentMap | None, by_match: bool
) -> dict[str, str]:
    """Return name in a -> name in b, of the tensors to compare, in the order of a.

    Args:
        a: a mapping.
        b: the other one.
        names: names or scopes in a -> those in b; other tensors keep their names.
        by_match: pair tensors as `match` proposes it.

    Raises:
        ValueError: `names` pairs a tensor twice.
        TensorNotFoundError: `names` has a name or a scope that a or b lacks.
    """
    in_a, in_b = dict.fromkeys(a), dict.fromkeys(b)
    if by_match:
        pairs = _match_names(a, b)
    else:
        pairs = {}
        for name, other in assign_names(in_a, names or {}):
            if other not in in_b:
                raise not_found("names: no such tensor in b", other, in_b)
            if pairs.setdefault(name, other) != other:
                raise ValueError(f"names pairs {name!r} with {pairs[name]!r} and with {other!r}")
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
    return paired


def _match_names(a: TensorMapping, b: TensorMapping) -> dict[str, str]:
    """Return name in a -> name in b, as `match` proposes it.

    Tensors that are left then are matched by their numbers of elements.
    """
    shapes = [
        {name: info.shape for name, info in zip(each, info_each(each, each))} for each in (a, b)
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
