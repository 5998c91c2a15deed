"""Propose pairs of tensors of two models, by shape and name; `match` states the rules.

A name is split at slashes and dots.  The last part is the role of the tensor in its layer, which
has several names (`_ROLES`); the parts before it are scopes.  The endings ``:0`` and
``/.ATTRIBUTES/VARIABLE_VALUE``, which TensorFlow adds, are removed; case is ignored.

Names that are equal except for their numbers form a family.  The members of two families are paired
in the order of their numbers: ``conv1_1``, ``conv1_2``, ``conv2_1`` with ``features.0``,
``features.2``, ``features.5``.  The numbers themselves need not be equal.  The result is wrong if
the numbers of the two models count different things.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ckptparse.tensors.mapping import TensorMapping

Shape = tuple[int, ...]
Axes = tuple[int, ...]

_KERNEL, _DEPTHWISE_KERNEL = 0, 1
_ROLES = (  # names of one role in TF-slim, Keras and Flax, PyTorch, Sonnet and Haiku
    {"weights", "kernel", "weight", "w", "pointwise_weights", "pointwise_kernel"},
    {"depthwise_weights", "depthwise_kernel", "weight"},
    {"embeddings", "embedding", "weight"},
    {"biases", "bias", "b"},
    {"gamma", "scale", "weight"},  # of normalisation layers, like the rest
    {"beta", "bias", "offset"},
    {"moving_mean", "running_mean", "mean"},
    {"moving_variance", "running_var", "var"},
)
_WORDS = {"bn": "batchnorm", "ln": "layernorm"}

_DEEPEST_SCOPE = 8
"""The scope of rule 2 has at most this many parts."""

_MOST_COMPARED = 2_500
"""Pairs of families that rule 3 compares for each shape; with more, all are ambiguous."""


@dataclass(frozen=True, slots=True)
class Ambiguity:
    """Sources and targets of one shape that could be paired in several ways.

    Attributes:
        shape: the shape of the targets.
        sources: names of the sources.
        targets: names of the targets that each of these sources can be.

    Examples:
        >>> from ckptparse import match
        >>> report = match({"a/w": (3,), "b/w": (3,)}, {"x/w": (3,), "y/w": (3,)})
        >>> report.ambiguous
        (Ambiguity(shape=(3,), sources=('a/w', 'b/w'), targets=('x/w', 'y/w')),)
    """

    shape: Shape
    sources: tuple[str, ...]
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MatchReport:
    """The result of `match`.  Names are in the order in which they were given.

    Attributes:
        names: source name -> target name; pass it to ``select`` as `assignment_map`.
        transposed: target name -> axes for `numpy.transpose` of the source, of the tensors in
            `names` that have to be transposed.
        ambiguous: groups of tensors that could be paired in several ways; a target can be in more
            than one of them.
        unmatched_source: names of sources that fit no target.
        unmatched_target: names of targets that no source fits.

    Examples:
        >>> from ckptparse import match
        >>> report = match({"a/weights": (2, 3), "step": ()}, {"x/kernel": (2, 3), "x/bias": (3,)})
        >>> report.names
        {'a/weights': 'x/kernel'}
        >>> report.unmatched_source, report.unmatched_target
        (('step',), ('x/bias',))
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
    """Propose which source tensor corresponds to which target tensor.

    Compares shapes and names, reads no values, and never guesses between several answers:

    1. Two tensors can correspond only if their shapes are equal and the last parts of their names
       can mean the same (``weights``, ``kernel`` and ``weight`` can).
    2. One scope, or none, is removed from the front of all names of one side.  Tensors whose names
       are then equal correspond, if these are at least half of the tensors of the smaller side.
    3. Of the remaining tensors, those whose names differ only in numbers form a family.  Two
       families of equal size correspond, in the order of their numbers, if each has more words in
       common with the other than with any other family that fits by rule 1.  If two families have
       equally many, one of equal size is preferred.  This is repeated with the remaining families.
    4. All other tensors that fit by rule 1 are reported as ambiguous.

    The time is proportional to the number of names, not of pairs.

    Args:
        source_infos: objects with the attributes ``name`` and ``shape``, such as those of
            `Checkpoint.infos`; a `Checkpoint` or a `Selection`, of which only tensors with a
            transform are read; or any mapping from names to arrays or shapes.
        target_infos: the same, of the target.
        transposed: whether the target stores kernels as PyTorch does, with the output axis first,
            and the source as TensorFlow does, with the output axis last.  Then all kernels of two
            or more axes are compared transposed, also square ones, and `MatchReport.transposed`
            gives the axes.

    Returns:
        A `MatchReport`.

    Raises:
        ValueError: two tensors of an iterable have the same name.

    Examples:
        >>> from ckptparse import match, open_checkpoint
        >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt")
        >>> kernels = ckpt.select(include="vgg_16/conv1/*/weights")
        >>> shapes = {"features.0.weight": (4, 3, 3, 3), "features.2.weight": (4, 4, 3, 3)}
        >>> report = match(kernels, shapes, transposed=True)
        >>> report.names["vgg_16/conv1/conv1_2/weights"]
        'features.2.weight'
        >>> report.transposed["features.2.weight"]
        (3, 2, 0, 1)
    """
    sources = [_split_name(*item, transposed) for item in _shapes(source_infos).items()]
    targets = [_split_name(*item, False) for item in _shapes(target_infos).items()]
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
    """Return name -> shape, from any of the forms that `match` accepts."""
    if isinstance(infos, TensorMapping):
        return {name: infos.info(name).shape for name in infos}
    if isinstance(infos, Mapping):
        return {name: _shape_of(infos[name]) for name in infos}
    shapes: dict[str, Shape] = {}
    for info in infos:
        if info.name in shapes:
            raise ValueError(f"two tensors are named {info.name!r}; give a mapping of full names")
        shapes[info.name] = tuple(info.shape)
    return shapes


def _shape_of(value: Any) -> Shape:
    """Return the shape of an array, or the value, if it is a shape itself."""
    return tuple(getattr(value, "shape", value))


class _Tensor(NamedTuple):
    """A tensor with the parts of its name.

    Attributes:
        name: as given.
        shape: the shape that a target must have.
        axes: axes of the transposition that gives this shape; None if there is none.
        scopes: the parts before the last, in lower case.
        roles: roles that the last part can mean, as indexes of `_ROLES`; the last part itself if
            `_ROLES` does not have it.
        words: the words in the scopes.
        family: all parts with their numbers removed.
        numbers: these numbers, without leading zeros.
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
"""Number of words that two families have in common, and whether they have equal sizes."""


def _split_name(name: str, shape: Shape, transposed: bool) -> _Tensor:
    """Split the name of a tensor into its parts."""
    bare = name.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE").removesuffix(":0").lower()
    bare = re.sub(r"(batch|layer|group|instance)_?norm(alization)?", r"\1norm", bare)
    parts = re.split("[/.]", bare)
    family, numbers = [], []
    for part in parts:
        # TensorFlow makes names unique with a suffix from the second on: dense, dense_1.
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
    """Return the axes that transpose a kernel from TensorFlow's order to PyTorch's.

    Return None for a tensor that is not a kernel.

    [..., in, out] becomes [out, in, ...].  A depthwise kernel, [height, width, in, multiplier],
    becomes [in, multiplier, height, width], which is PyTorch's shape if the multiplier is 1.
    """
    if role in _ROLES[_KERNEL] and rank >= 2:
        return (rank - 1, rank - 2, *range(rank - 2))
    return (2, 3, 0, 1) if role in _ROLES[_DEPTHWISE_KERNEL] and rank == 4 else None


def _pair_by_scope(sources: list[_Tensor], targets: list[_Tensor]) -> _Pairs:
    """Apply rule 2.  If the best scopes pair a tensor differently, it is left unpaired."""
    flipped = ([(s, t) for t, s in pairs] for pairs in _same_below_scope(targets, sources))
    candidates = [*_same_below_scope(sources, targets), *flipped]
    most = max(map(len, candidates), default=0)
    if 2 * most < min(len(sources), len(targets)):
        return []
    pairs = dict.fromkeys(pair for some in candidates if len(some) == most for pair in some)
    uses, times = (Counter(pair[side].name for pair in pairs) for side in (0, 1))
    return [pair for pair in pairs if uses[pair[0].name] == times[pair[1].name] == 1]


def _same_below_scope(tensors: list[_Tensor], others: list[_Tensor]) -> Iterable[_Pairs]:
    """Return, for each scope of `tensors`, the pairs whose names are equal without the scope."""
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
    """Apply rule 3 to tensors of one shape."""
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
    """Return lists of tensors whose names differ only in numbers, in the order of the numbers."""
    families = defaultdict(list)
    # Length, then digits, is the order of the numbers; `int` refuses thousands of digits.
    for tensor in sorted(tensors, key=lambda t: ([(len(n), n) for n in t.numbers], t.name)):
        families[tensor.family].append(tensor)
    return list(families.values())


def _likeliest(likeness: dict[tuple[int, int], _Likeness]) -> list[tuple[int, int]]:
    """Return the pairs whose value is the largest in their row and in their column, and unique."""
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
    """Apply rule 4 to tensors of one shape; yields one ambiguity for each set of roles."""
    kinds = defaultdict(list)
    for source in sources:
        kinds[source.roles].append(source.name)
    for roles, names in kinds.items():
        choices = tuple(target.name for target in targets if target.roles & roles)
        if choices:
            yield Ambiguity(shape, tuple(names), choices)


def _unpaired(tensors: list[_Tensor], pairs: _Pairs, side: int) -> list[_Tensor]:
    """Return the tensors that are in no pair; `side` is 0 for sources, 1 for targets."""
    paired = {pair[side].name for pair in pairs}
    return [tensor for tensor in tensors if tensor.name not in paired]


def _by_shape(tensors: list[_Tensor]) -> dict[Shape, list[_Tensor]]:
    """Return shape -> tensors."""
    shapes = defaultdict(list)
    for tensor in tensors:
        shapes[tensor.shape].append(tensor)
    return shapes
