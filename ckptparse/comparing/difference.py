"""Compare the tensors of two mappings, piece by piece."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ckptparse.analysis.comparison import Comparison, Tolerances, compare_arrays
from ckptparse.comparing.pairs import pair_names
from ckptparse.comparing.report import DiffReport, FormDifference, ValueDifference
from ckptparse.errors import UnsupportedError
from ckptparse.opening import open_checkpoint
from ckptparse.tensors.dtypes import lookup, number_of
from ckptparse.tensors.info import TensorInfo
from ckptparse.tensors.mapping import PIECE_NBYTES, TensorMapping
from ckptparse.tensors.pieces import Piece
from ckptparse.verification import Progress
from ckptparse.weights.assignment import AssignmentMap
from ckptparse.weights.inputs import as_tensor_mapping
from ckptparse.weights.selection import info_each

if TYPE_CHECKING:
    from numpy.typing import NDArray

Tensors = str | os.PathLike[str] | Mapping[str, Any]
"""The path of a checkpoint, or a mapping from names to arrays."""


def diff(
    a: Tensors,
    b: Tensors,
    *,
    rtol: float = 0.0,
    atol: float = 0.0,
    names: AssignmentMap | None = None,
    match: bool = False,
    deep: bool = False,
    progress: Progress | None = None,
) -> DiffReport:
    """Compare two checkpoints or mappings, tensor by tensor.

    Two elements are equal if ``|a - b| <= atol + rtol * |b|``, as for `numpy.isclose` with
    ``equal_nan=True``.  NaN is equal to NaN, and an infinite number to itself.  Real numbers are
    compared in float64, and integers exactly.  Strings must be equal.

    Tensors of the same name are compared, and then those whose variables have the same name: the
    names in `Checkpoint.variable_names`, or else the names of the tensors, without ``:0`` at the
    end.  Names of variables must be unique on both sides.

    The tensors are read piece by piece, so that the memory does not grow with their sizes, except
    for tensors that have to be decoded or transformed as a whole.

    Args:
        a: the path of a checkpoint, or a mapping from names to arrays: a `Checkpoint`, a
            `Selection`, a dict.
        b: another one.  A checkpoint that is given by its path is closed at the end.
        rtol: tolerance in proportion to the element of b.
        atol: absolute tolerance.
        names: which tensor of a is compared with which tensor of b, if their names differ: a
            mapping from names or scopes in a to those in b, as for ``select(assignment_map=...)``.
            Other tensors, also those of a scope that have no counterpart, are compared with those
            of the same name.
        match: pair tensors whose names differ, as `ckptparse.match` proposes it; then those that
            have the same number of elements in another shape.  Their values are compared as after
            ``a.reshape(b.shape)``.
        deep: read all tensors.  If False, and the tolerances are 0, tensors whose stored checksums
            and sizes are the same are not read, as they have the same values: unless one of them is
            damaged, or different values have the same checksum by chance (once in 2**32) or because
            somebody made them so.  Their NaNs are not counted.
        progress: called with (bytes compared so far, total bytes) after each tensor.  The bytes are
            those of both sides.

    Returns:
        Which tensors are the same, and how far apart the others are.

    Raises:
        ValueError: a tolerance is negative or not finite; `names` pairs a tensor twice; or both
            `names` and `match` are given.
        TensorNotFoundError: `names` has a name or a scope that a or b lacks.
        TypeError: an argument is neither a path nor a mapping.
        CheckpointError: opening a path or reading a tensor failed; see `Checkpoint.read_each`.

    Examples:
        >>> import numpy as np
        >>> from ckptparse import diff
        >>> a = {"w": np.float32([1, 2, 3]), "b": np.float32([0]), "step": np.int64(7)}
        >>> b = {"w": np.float32([1, 2, 3.001]), "b": np.float32([0]), "epoch": np.int64(1)}
        >>> report = diff(a, b)
        >>> report
        <DiffReport: different, 1 same, 1 changed, 0 of different form, 1 only in a, 1 only in b>
        >>> report.changed[0].num_different
        1
        >>> diff(a, b, rtol=1e-3).same
        ('w', 'b')
        >>> diff(a, b, names={"step": "epoch"}).changed[0].max_absolute
        6
    """
    for name, value in ("rtol", rtol), ("atol", atol):
        if not (isfinite(value) and value >= 0):
            raise ValueError(f"{name} is a finite number, 0 or more, not {value}")
    if names is not None and match:
        raise ValueError("names and match exclude each other")
    with ExitStack() as stack:
        first, second = (_open(each, number, stack) for number, each in enumerate((a, b)))
        pairs = pair_names(first, second, names, match)
        return _Diff(first, second, pairs, Tolerances(rtol, atol), deep, progress).run()


def _open(given: Tensors, number: int, stack: ExitStack) -> TensorMapping:
    """Return the mapping of an argument of `diff`."""
    if isinstance(given, (str, os.PathLike)):
        return stack.enter_context(open_checkpoint(given))
    return as_tensor_mapping(given, number)


class _Pair(NamedTuple):
    """The metadata of a tensor in a and in b."""

    name: str
    name_in_b: str
    a: TensorInfo
    b: TensorInfo

    @property
    def same_form(self) -> bool:
        return (self.a.tensorflow_dtype, self.a.shape) == (self.b.tensorflow_dtype, self.b.shape)


class _Diff:
    """The comparison of two mappings."""

    def __init__(
        self,
        a: TensorMapping,
        b: TensorMapping,
        names: dict[str, str],
        tolerances: Tolerances,
        deep: bool,
        progress: Progress | None,
    ) -> None:
        self._a, self._b = a, b
        self._names = names
        self._tolerances = tolerances
        self._trusts_checksums = not deep and tolerances == (0, 0)
        self._progress = progress
        infos = zip(info_each(a, names), info_each(b, names.values()))
        self._pairs = [
            _Pair(name, other, *both) for (name, other), both in zip(names.items(), infos)
        ]
        self._changed: list[ValueDifference] = []
        self._forms: dict[str, FormDifference] = {}
        self._num_nan = 0

    def run(self) -> DiffReport:
        """Compare all tensors."""
        not_read, not_comparable, to_read = [], [], []
        for pair in self._pairs:
            if not pair.same_form:
                self._add_form(pair)
                if _have_comparable_values(pair):
                    to_read.append(pair)
            elif self._have_same_checksums(pair):
                not_read.append(pair.name)
            elif not _is_readable(pair.a):
                not_comparable.append(pair.name)
            else:
                to_read.append(pair)
        self._compare(to_read)
        others = {*(each.name for each in self._changed), *self._forms, *not_comparable}
        taken = set(self._names.values())
        # infinite distances are equally large, and the sort is stable: the order of a
        self._changed.sort(key=lambda each: -each.distance)
        return DiffReport(
            only_in_a=tuple(name for name in self._a if name not in self._names),
            only_in_b=tuple(name for name in self._b if name not in taken),
            different_form=tuple(self._forms.values()),
            changed=tuple(self._changed),
            same=tuple(name for name in self._names if name not in others),
            not_read=tuple(not_read),
            not_comparable=tuple(not_comparable),
            num_nan=self._num_nan,
            names=tuple(pair for pair in self._names.items() if pair[0] != pair[1]),
        )

    def _have_same_checksums(self, pair: _Pair) -> bool:
        """Return whether the values are known to be the same without reading them."""
        if not self._trusts_checksums and _is_readable(pair.a):
            return False
        fingerprint = self._a.fingerprint(pair.name)
        return fingerprint is not None and fingerprint == self._b.fingerprint(pair.name_in_b)

    def _compare(self, pairs: list[_Pair]) -> None:
        """Read and compare the values of tensors."""
        pieces_a = self._a.read_pieces([pair.name for pair in pairs], PIECE_NBYTES)
        pieces_b = self._b.read_pieces([pair.name_in_b for pair in pairs], PIECE_NBYTES)
        total = sum(pair.a.nbytes + pair.b.nbytes for pair in pairs)
        done = 0
        for pair in pairs:
            found = Comparison()
            for values_a, values_b in _align(pieces_a, pieces_b, pair.a.size):
                found += compare_arrays(values_a, values_b, self._tolerances)
                del values_a, values_b  # before the next pieces are read
            self._add(pair, found)
            done += pair.a.nbytes + pair.b.nbytes
            if self._progress is not None:
                self._progress(done, total)

    def _add(self, pair: _Pair, found: Comparison) -> None:
        """Store the result for a tensor."""
        self._num_nan += found.num_nan_both
        is_string = pair.a.tensorflow_dtype == "string"
        values = ValueDifference(
            name=pair.name,
            name_in_b=pair.name_in_b,
            dtype=pair.a.tensorflow_dtype,
            shape=pair.a.shape,
            size=pair.a.size,
            num_different=found.num_different,
            max_absolute=None if is_string else found.max_absolute,
            max_relative=None if is_string else found.max_relative,
            distance=found.num_different / max(pair.a.size, 1) if is_string else found.distance,
            cosine=None if is_string else found.cosine,
            num_nan_a=found.num_nan_a,
            num_nan_b=found.num_nan_b,
        )
        if not pair.same_form:
            self._add_form(pair, values, found.rounded_a or found.rounded_b)
        elif found.num_different:
            self._changed.append(values)

    def _add_form(
        self,
        pair: _Pair,
        values: ValueDifference | None = None,
        within_one_rounding: bool | None = None,
    ) -> None:
        """Store that the form of a tensor differs."""
        self._forms[pair.name] = FormDifference(
            pair.name,
            pair.name_in_b,
            pair.a.tensorflow_dtype,
            pair.b.tensorflow_dtype,
            pair.a.shape,
            pair.b.shape,
            values,
            within_one_rounding,
        )


def _is_readable(info: TensorInfo) -> bool:
    """Return whether a tensor can be read as an array."""
    try:
        kind = lookup(number_of(info.tensorflow_dtype)).kind
    except UnsupportedError:  # a dtype that TensorFlow does not have
        return False
    return kind not in ("resource", "variant", "unknown")


def _have_comparable_values(pair: _Pair) -> bool:
    """Return whether the elements of tensors of different dtypes or shapes can be compared."""
    are_strings = [info.tensorflow_dtype == "string" for info in (pair.a, pair.b)]
    is_readable = _is_readable(pair.a) and _is_readable(pair.b)
    return pair.a.size == pair.b.size and is_readable and are_strings[0] == are_strings[1]


_NOTHING = np.empty(0)


def _align(
    pieces_a: Iterator[Piece], pieces_b: Iterator[Piece], size: int
) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Yield the elements of the next tensor of both sides, in runs of the same length.

    A tensor without elements has no runs.
    """
    values_a = next(pieces_a).values.reshape(-1)
    values_b = next(pieces_b).values.reshape(-1)
    while size:
        if not values_a.size:
            values_a = next(pieces_a).values.reshape(-1)
        if not values_b.size:
            values_b = next(pieces_b).values.reshape(-1)
        count = min(values_a.size, values_b.size)
        run = values_a[:count], values_b[:count]
        values_a, values_b = _rest(values_a, count), _rest(values_b, count)
        size -= count
        yield run
        del run


def _rest(values: NDArray[Any], count: int) -> NDArray[Any]:
    """Return the elements after the first ones; an empty view would keep the piece in memory."""
    return values[count:] if count < values.size else _NOTHING
