"""Statistics of tensors, of scopes and of a whole checkpoint, in one pass over the values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ckptparse.analysis.moments import Moments, compute_moments
from ckptparse.tensors.info import TensorInfo
from ckptparse.tensors.mapping import PIECE_NBYTES, TensorMapping, read_pieces
from ckptparse.tensors.names import DEEPEST_SCOPE, FREE_SCOPES
from ckptparse.tensors.pieces import is_last

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ckptparse.tensors.pieces import Piece

Progress = Callable[[int, "int | None"], object]


class Statistics(NamedTuple):
    """Statistics of the elements of a tensor, or of all tensors of a scope.

    Mean, standard deviation and norm are computed in float64 from the finite elements.  Of several
    tensors, those without numbers (strings, dates, records) count in `size` and `nbytes` only.

    Attributes:
        num_tensors: number of tensors; 1 for a tensor.
        size: number of elements.
        nbytes: number of bytes of the elements.
        min: the smallest element that is not NaN; exact for integers.  None if there is none, and
            for complex numbers and what is no number.
        max: the largest element that is not NaN; like `min`.
        mean: mean; complex if complex numbers are among the elements; None if there is no finite
            element.
        std: standard deviation of all elements, as `numpy.std`; None like `mean`.
        norm: square root of the sum of the squared absolute values; None like `mean`.
        zeros: number of zeros.
        nan: number of NaNs.
        inf: number of infinite elements.

    Examples:
        >>> import numpy as np
        >>> from ckptparse import stats
        >>> found = stats({"w": np.float32([0, 3, 4, np.nan])})["w"]
        >>> found.min, found.max, round(found.mean, 3), found.norm, found.zeros, found.nan
        (0.0, 4.0, 2.333, 5.0, 1, 1)
    """

    num_tensors: int
    size: int
    nbytes: int
    min: float | int | None
    max: float | int | None
    mean: float | complex | None
    std: float | None
    norm: float | None
    zeros: int
    nan: int
    inf: int

    @property
    def remark(self) -> str | None:
        """What is suspicious: "all NaN", "NaN", "inf", "all zero" or "all equal"; else None.

        Examples:
            >>> import numpy as np
            >>> from ckptparse import stats
            >>> stats({"dead": np.zeros(3), "b": np.float32([1, np.inf])}).remarks
            {'dead': 'all zero', 'b': 'inf'}
        """
        if self.nan:
            return "all NaN" if self.nan == self.size else "NaN"
        if self.inf:
            return "inf"
        if self.size < 2:
            return None
        if self.zeros == self.size:
            return "all zero"
        return "all equal" if self.min is not None and self.min == self.max else None


class StatsReport(Mapping[str, Statistics]):
    """The result of `stats`: tensor name -> its `Statistics`, in the order of the tensors.

    Examples:
        >>> from ckptparse import stats
        >>> report = stats("fixtures/tf-1.15.5/vgg_16/model.ckpt")
        >>> report.total.num_tensors, report["vgg_16/fc6/biases"].size
        (34, 12)
        >>> report.scopes["vgg_16/fc6"].num_tensors
        2
    """

    def __init__(self, moments: Mapping[str, _Tensor], not_read: tuple[str, ...] = ()) -> None:
        """Use `stats`."""
        self.not_read = not_read
        """Names of tensors that cannot be read, such as variants; they are not in the mapping."""
        self._moments = moments
        self._tensors = {name: _describe([tensor]) for name, tensor in moments.items()}

    def __getitem__(self, name: str) -> Statistics:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    @property
    def total(self) -> Statistics:
        """The statistics of all tensors together.

        Examples:
            >>> from ckptparse import stats
            >>> stats({"a": [1.0, 2.0], "b": [6.0]}).total.mean
            3.0
        """
        return _describe(self._moments.values())

    @property
    def scopes(self) -> dict[str, Statistics]:
        """Scope -> the statistics of all tensors below it, sorted by name.

        The scopes of ``"a/b/c"`` are ``"a"`` and ``"a/b"``.

        Examples:
            >>> from ckptparse import stats
            >>> list(stats({"a/b/c": [1.0], "a/d": [2.0]}).scopes)
            ['a', 'a/b']
        """
        members: dict[str, list[_Tensor]] = {}
        most = FREE_SCOPES + len(self._moments)
        for name, tensor in self._moments.items():
            parts = name.split("/", DEEPEST_SCOPE)[:-1]
            for i in range(len(parts)):
                scope = "/".join(parts[: i + 1])
                if scope not in members and len(members) >= most:
                    break
                members.setdefault(scope, []).append(tensor)
        return {scope: _describe(members[scope]) for scope in sorted(members)}

    @property
    def remarks(self) -> dict[str, str]:
        """Name -> `Statistics.remark` of each tensor that has one.

        Examples:
            >>> from ckptparse import stats
            >>> stats({"a": [0.0, 0.0], "b": [1.0, 2.0]}).remarks
            {'a': 'all zero'}
        """
        return {name: each.remark for name, each in self.items() if each.remark is not None}


class _Tensor(NamedTuple):
    """What `stats` computes of one tensor."""

    size: int
    nbytes: int
    moments: Moments | None  # None for strings


def _describe(tensors: Iterable[_Tensor]) -> Statistics:
    """Return the statistics of tensors together."""
    num_tensors = size = nbytes = 0
    whole = Moments()
    for tensor in tensors:
        num_tensors += 1
        size += tensor.size
        nbytes += tensor.nbytes
        if tensor.moments is not None:
            whole = whole.combine(tensor.moments)
    mean: float | complex | None = None
    std = norm = None
    if whole.num_finite:
        mean = whole.mean if whole.mean.imag else whole.mean.real
        std = math.sqrt(whole.squares / whole.num_finite)
        squared = whole.mean.real * whole.mean.real + whole.mean.imag * whole.mean.imag
        norm = math.sqrt(whole.squares + whole.num_finite * squared)
    has_order = whole.low <= whole.high
    return Statistics(
        num_tensors,
        size,
        nbytes,
        whole.low if has_order else None,
        whole.high if has_order else None,
        mean,
        std,
        norm,
        whole.num_zeros,
        whole.num_nan,
        whole.num_inf,
    )


def has_numbers(dtype: np.dtype[Any]) -> bool:
    """Return whether arrays of a dtype have numbers or booleans: not strings, dates or records."""
    return dtype.kind in "biufc" or dtype.isbuiltin == 2  # 2: of ml_dtypes


def describe(values: NDArray[Any]) -> Statistics | None:
    """Return the statistics of an array; None if it has no numbers."""
    if not has_numbers(values.dtype):
        return None
    return _describe([_Tensor(values.size, values.nbytes, compute_moments(values))])


def compute_statistics(
    tensors: Mapping[str, Any], *, progress: Progress | None = None
) -> StatsReport:
    """Return the statistics of all tensors of a mapping; see `ckptparse.stats`."""
    collected = Collector()
    names, not_read = list(tensors), []
    total = None
    if isinstance(tensors, TensorMapping):
        infos = tensors.infos()
        not_read = [info.name for info in infos if _is_unreadable(info)]
        names = [info.name for info in infos if not _is_unreadable(info)]
        total = sum(info.nbytes for info in infos if not _is_unreadable(info))
    done = 0
    for piece in read_pieces(tensors, names, PIECE_NBYTES):
        collected.add(piece)
        done += piece.values.nbytes
        if progress is not None and is_last(piece):
            progress(done, None if total is None else max(done, total))
    return collected.report(not_read)


class Collector:
    """Statistics of tensors that come piece by piece, one tensor after the other.

    A tensor counts when its last piece is added.  One that ends early, because it is damaged, does
    not.
    """

    def __init__(self) -> None:
        self._found: dict[str, _Tensor] = {}
        self._moments: Moments | None = None

    def add(self, piece: Piece) -> None:
        """Add the next piece."""
        self._moments = _add(self._moments if piece.start else None, piece)
        if is_last(piece):
            size = math.prod(piece.shape)
            nbytes = size * piece.values.itemsize
            self._found[piece.name] = _Tensor(size, nbytes, self._moments)

    def report(self, not_read: Iterable[str] = ()) -> StatsReport:
        """Return the statistics of all tensors; see `StatsReport`."""
        return StatsReport(self._found, tuple(not_read))


def _is_unreadable(info: TensorInfo) -> bool:
    """Return whether a tensor is listed but cannot be read: variants, arrays of Python objects."""
    return info.dtype == object and info.tensorflow_dtype != "string"


def _add(moments: Moments | None, piece: Piece) -> Moments | None:
    """Return the moments of a tensor with the next piece added; None if it has no numbers."""
    if not has_numbers(piece.values.dtype):
        return None
    return (moments or Moments()).combine(compute_moments(piece.values))
