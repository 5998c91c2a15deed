"""Propose pairs of tensors of two models, by shape and by name.

A name is taken apart at slashes and dots.  Its last part is the tensor's role in a layer, and goes
by several names (`_ROLES`); the parts before are scopes.  What TensorFlow puts at the end, ``:0``
and ``/.ATTRIBUTES/VARIABLE_VALUE``, is left out; case does not count.

1. Two tensors can be the same only if their shapes are, and their roles can be.
2. Where names agree but for one scope in front of all names of one side, and this for at least half
   of the smaller side, they are the same.
3. Of the rest, names that differ in nothing but numbers are a family.  Two families of as many
   tensors are the same, in the order of their numbers, if each is the other's likeliest: has more
   words in common with it than any other that can be the same; families of another size lose a tie.
   Those found are set aside, and it is looked again.
4. What can be the same by rule 1, and is not by 2 or 3, is ambiguous.

By their order ``conv1_1``, ``conv1_2``, ``conv2_1`` are ``features.0``, ``features.2``,
``features.5``, wherever each begins to count.  Two models that count different things deceive it.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

Shape = tuple[int, ...]
Axes = tuple[int, ...]

_KERNEL, _DEPTHWISE_KERNEL = 0, 1
_ROLES = (  # as TF-slim, Keras and Flax, PyTorch, Sonnet and Haiku call them
    {"weights", "kernel", "weight", "w", "pointwise_weights", "pointwise_kernel"},
    {"depthwise_weights", "depthwise_kernel", "weight"},
    {"embeddings", "embedding", "weight"},
    {"biases", "bias", "b"},
    {"gamma", "scale", "weight"},  # of normalisations, as are the rest
    {"beta", "bias", "offset"},
    {"moving_mean", "running_mean", "mean"},
    {"moving_variance", "running_var", "var"},
)
_WORDS = {"bn": "batchnorm", "ln": "layernorm"}

_DEEPEST_SCOPE = 8  # parts that the scope of rule 2 can have
_MOST_COMPARED = 2_500  # pairs of families, per shape; where there are more, all are ambiguous


@dataclass(frozen=True, slots=True)
class Ambiguity:
    """Names of sources, and of targets of a shape, that could go together in several ways."""

    shape: Shape
    sources: tuple[str, ...]
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MatchReport:
    """The result of `match`.  Names are in the order given.

    Attributes:
        names: source name to target name: an `assignment_map` for `Checkpoint.select`.
        transposed: target name to the axes (of `numpy.transpose`) that its source needs.
        ambiguous: what could go in several ways; a target may be in more than one of them.
        unmatched_source: names of sources that can be no target.
        unmatched_target: names of targets that no source can be.
    """

    names: Mapping[str, str]
    transposed: Mapping[str, Axes]
    ambiguous: tuple[Ambiguity, ...]
    unmatched_source: tuple[str, ...]
    unmatched_target: tuple[str, ...]


def match(
    source_infos: Mapping[str, Any] | Iterable[Any],
    target_infos: Mapping[str, Any] | Iterable[Any],
    *,
    transposed: bool = False,
) -> MatchReport:
    """Propose which source tensor goes to which target, and say what is left open.

    The rules are at the head of this module.  Time grows with the number of names, not of pairs.

    Args:
        source_infos: objects with ``name`` and ``shape`` (`Checkpoint.infos`), or a mapping from
            names to arrays, or to shapes; a mapping with a method ``info`` is asked by that.
        target_infos: the same.
        transposed: whether the target keeps kernels as PyTorch does, output axis first, and the
            source as TensorFlow does, output axis last.  Then kernels of two axes or more are
            compared in that form only, square ones too, and the report says the axes.

    Raises:
        ValueError: two tensors of one name.
    """
    sources = [_take_apart(*item, transposed) for item in _shapes(source_infos).items()]
    targets = [_take_apart(*item, False) for item in _shapes(target_infos).items()]
    pairs = _pair_by_scope(sources, targets)
    left = _by_shape(_unpaired(sources, pairs, 0))
    wanted = _by_shape(_unpaired(targets, pairs, 1))
    ambiguous: list[Ambiguity] = []
    for shape, ours in left.items():
        theirs = wanted.get(shape, [])
        new = _pair_by_order(ours, theirs)
        ambiguous += _ambiguities(shape, _unpaired(ours, new, 0), _unpaired(theirs, new, 1))
        pairs += new
    found = {source.name: (source, target) for source, target in pairs}
    pairs = [found[source.name] for source in sources if source.name in found]
    doubtful = {name for item in ambiguous for name in item.sources}
    contested = {name for item in ambiguous for name in item.targets}
    return MatchReport(
        {source.name: target.name for source, target in pairs},
        {target.name: source.axes for source, target in pairs if source.axes},
        tuple(ambiguous),
        tuple(t.name for t in _unpaired(sources, pairs, 0) if t.name not in doubtful),
        tuple(t.name for t in _unpaired(targets, pairs, 1) if t.name not in contested),
    )


def _shapes(infos: Any) -> dict[str, Shape]:
    if isinstance(infos, Mapping):
        describe = getattr(infos, "info", infos.__getitem__)
        found = ((name, describe(name)) for name in infos)
        return {name: tuple(getattr(value, "shape", value)) for name, value in found}
    shapes: dict[str, Shape] = {}
    for info in infos:
        if info.name in shapes:
            raise ValueError(f"two tensors are named {info.name!r}; give a mapping of full names")
        shapes[info.name] = tuple(info.shape)
    return shapes


class _Tensor(NamedTuple):
    """A tensor's name, taken apart.

    Attributes:
        name: as given.
        shape: the shape that a target must have.
        axes: transposition that gives this shape; None if it is the tensor's own.
        scopes: the parts before the last, in lower case.
        roles: what the last part can mean: places in `_ROLES`, or else itself.
        words: the words of the scopes.
        family: all parts, without their numbers.
        numbers: those numbers, without leading zeros.
    """

    name: str
    shape: Shape
    axes: Axes | None
    scopes: tuple[str, ...]
    roles: frozenset[int | str]
    words: frozenset[str]
    family: tuple[str, ...]
    numbers: tuple[str, ...]


_Pairs = list[tuple[_Tensor, _Tensor]]
_Likeness = tuple[int, bool]


def _take_apart(name: str, shape: Shape, transposed: bool) -> _Tensor:
    bare = name.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE").removesuffix(":0").lower()
    bare = re.sub(r"(batch|layer|group|instance)_?norm(alization)?", r"\1norm", bare)
    parts = re.split("[/.]", bare)
    family, numbers = [], []
    for part in parts:
        # TensorFlow makes names unique by a number from the second on: dense, dense_1.
        stem, *count = re.split(r"_(?=\d+$)", part)
        family.append(re.sub(r"\d+", "#", stem))
        numbers += [*re.findall(r"\d+", stem), *(count or "0")]
    roles = [i for i, names in enumerate(_ROLES) if family[-1] in names]
    axes = _axes_to_output_first(family[-1], len(shape)) if transposed else None
    return _Tensor(
        name,
        tuple(shape[axis] for axis in axes) if axes else shape,
        axes,
        tuple(parts[:-1]),
        frozenset(roles or family[-1:]),
        frozenset(_WORDS.get(word, word) for word in re.findall("[a-z]+", "/".join(parts[:-1]))),
        tuple(family),
        tuple(digits.lstrip("0") for digits in numbers),
    )


def _axes_to_output_first(role: str, rank: int) -> Axes | None:
    """Axes that bring a kernel from TensorFlow's order into PyTorch's; None for other tensors.

    [..., in, out] becomes [out, in, ...].  A depthwise kernel, [height, width, in, multiplier],
    becomes [in, multiplier, height, width], which is PyTorch's if the multiplier is 1.
    """
    if role in _ROLES[_KERNEL] and rank >= 2:
        return (rank - 1, rank - 2, *range(rank - 2))
    return (2, 3, 0, 1) if role in _ROLES[_DEPTHWISE_KERNEL] and rank == 4 else None


def _pair_by_scope(sources: list[_Tensor], targets: list[_Tensor]) -> _Pairs:
    """Rule 2.  Where two scopes do as well as each other, what they disagree on is left."""
    flipped = ([(s, t) for t, s in pairs] for pairs in _same_below_scope(targets, sources))
    candidates = [*_same_below_scope(sources, targets), *flipped]
    most = max(map(len, candidates), default=0)
    if 2 * most < min(len(sources), len(targets)):
        return []
    pairs = dict.fromkeys(pair for some in candidates if len(some) == most for pair in some)
    uses, times = (Counter(pair[side].name for pair in pairs) for side in (0, 1))
    return [pair for pair in pairs if uses[pair[0].name] == times[pair[1].name] == 1]


def _same_below_scope(tensors: list[_Tensor], others: list[_Tensor]) -> Iterable[_Pairs]:
    """For each scope of the tensors, those whose names below it are names of the others."""
    whole = defaultdict(list)
    for other in others:
        whole[other.shape, other.scopes].append(other)
    pairs: dict[tuple[str, ...], _Pairs] = defaultdict(list)
    for tensor in tensors:
        for i in range(min(len(tensor.scopes), _DEEPEST_SCOPE) + 1):
            for other in whole.get((tensor.shape, tensor.scopes[i:]), ()):
                if tensor.roles & other.roles:
                    pairs[tensor.scopes[:i]].append((tensor, other))
    return pairs.values()


def _pair_by_order(sources: list[_Tensor], targets: list[_Tensor]) -> _Pairs:
    """Rule 3, for tensors of one shape."""
    ours, theirs = _families(sources), _families(targets)
    if len(ours) * len(theirs) > _MOST_COMPARED:
        return []
    likeness = {
        (i, j): (len(one[0].words & other[0].words), len(one) == len(other))
        for i, one in enumerate(ours)
        for j, other in enumerate(theirs)
        if one[0].roles & other[0].roles
    }
    pairs: _Pairs = []
    while found := [(i, j) for i, j in _likeliest(likeness) if len(ours[i]) == len(theirs[j])]:
        for i, j in found:
            pairs += zip(ours[i], theirs[j])
            likeness = {ij: value for ij, value in likeness.items() if i != ij[0] and j != ij[1]}
    return pairs


def _families(tensors: list[_Tensor]) -> list[list[_Tensor]]:
    """Lists of names that differ only in numbers, in the order of these."""
    families = defaultdict(list)
    # A longer number is a larger one; `int` would refuse those of thousands of digits.
    for tensor in sorted(tensors, key=lambda t: ([(len(n), n) for n in t.numbers], t.name)):
        families[tensor.family].append(tensor)
    return list(families.values())


def _likeliest(likeness: dict[tuple[int, int], _Likeness]) -> list[tuple[int, int]]:
    """The places whose value is larger than any other in the same row and in the same column."""
    lines: dict[tuple[str, int], list[_Likeness]] = defaultdict(list)
    for (i, j), value in likeness.items():
        lines["row", i].append(value)
        lines["column", j].append(value)

    def is_most(value: _Likeness, line: tuple[str, int]) -> bool:
        return value == max(lines[line]) and lines[line].count(value) == 1

    return [
        (i, j)
        for (i, j), value in likeness.items()
        if is_most(value, ("row", i)) and is_most(value, ("column", j))
    ]


def _ambiguities(
    shape: Shape, sources: list[_Tensor], targets: list[_Tensor]
) -> Iterator[Ambiguity]:
    """Rule 4, for tensors of one shape; one ambiguity for each kind of source."""
    kinds = defaultdict(list)
    for source in sources:
        kinds[source.roles].append(source.name)
    for roles, names in kinds.items():
        choices = tuple(target.name for target in targets if target.roles & roles)
        if choices:
            yield Ambiguity(shape, tuple(names), choices)


def _unpaired(tensors: list[_Tensor], pairs: _Pairs, side: int) -> list[_Tensor]:
    paired = {pair[side].name for pair in pairs}
    return [tensor for tensor in tensors if tensor.name not in paired]


def _by_shape(tensors: list[_Tensor]) -> dict[Shape, list[_Tensor]]:
    shapes = defaultdict(list)
    for tensor in tensors:
        shapes[tensor.shape].append(tensor)
    return shapes
