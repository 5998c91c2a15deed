"""The report of a comparison: names and numbers, no arrays."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import NamedTuple

from ckptparse.tensors.names import ATTRIBUTES, natural_key


@dataclass(frozen=True, slots=True)
class ValueDifference:
    """How far the values of two tensors of one shape are apart.

    Attributes:
        name: name of the tensor in a.
        name_in_b: its name in b.
        dtype: TensorFlow's name of its dtype in a.
        shape: its shape.
        size: number of elements.
        num_different: number of elements that differ, by the tolerances.
        max_absolute: the largest ``|a - b|``; an exact int for integers; None for strings.
        max_relative: the largest ``|a - b| / max(|a|, |b|)``; None for strings.
        distance: the norm of a - b, divided by the larger of the norms of a and b; infinite if a
            NaN or an infinite number is on one side only; for strings ``num_different / size``.
        cosine: the cosine of the angle between a and b as vectors, over the pairs of finite
            numbers; None for strings, and if all numbers on one side are 0.
        num_nan_a: number of NaNs in a.
        num_nan_b: number of NaNs in b.

    Examples:
        >>> import numpy as np
        >>> from ckptparse import diff
        >>> (change,) = diff({"w": np.float32([3, 4])}, {"w": np.float32([3, 5])}).changed
        >>> change.num_different, change.max_absolute, change.max_relative
        (1, 1.0, 0.2)
    """

    name: str
    name_in_b: str
    dtype: str
    shape: tuple[int, ...]
    size: int
    num_different: int
    max_absolute: float | None
    max_relative: float | None
    distance: float
    cosine: float | None
    num_nan_a: int
    num_nan_b: int


@dataclass(frozen=True, slots=True)
class FormDifference:
    """A tensor whose dtype or shape is not the same in a and b.

    Attributes:
        name: name of the tensor in a.
        name_in_b: its name in b.
        dtype_a: TensorFlow's name of its dtype in a.
        dtype_b: the same in b.
        shape_a: its shape in a.
        shape_b: its shape in b.
        values: how far the values are apart, of different shapes as after ``a.reshape(b.shape)``;
            None if the numbers of elements differ, or if only one side has strings.
        within_one_rounding: whether all values of b are those of a, rounded to the dtype of b, or
            those of a are those of b, rounded to the dtype of a; None if `values` is None.

    Examples:
        >>> import numpy as np
        >>> from ckptparse import diff
        >>> a = {"w": np.float32([1, 1 / 3])}
        >>> (form,) = diff(a, {"w": a["w"].astype("float16")}).different_form
        >>> form.dtype_a, form.dtype_b, form.within_one_rounding
        ('float32', 'float16', True)
    """

    name: str
    name_in_b: str
    dtype_a: str
    dtype_b: str
    shape_a: tuple[int, ...]
    shape_b: tuple[int, ...]
    values: ValueDifference | None = None
    within_one_rounding: bool | None = None

    @property
    def same_size(self) -> bool:
        """Whether the shapes differ, but have the same number of elements: a reshape is possible.

        Examples:
            >>> import numpy as np
            >>> from ckptparse import diff
            >>> diff({"w": np.zeros((2, 3))}, {"w": np.zeros(6)}).different_form[0].same_size
            True
        """
        return self.shape_a != self.shape_b and prod(self.shape_a) == prod(self.shape_b)


class ScopeSummary(NamedTuple):
    """The numbers of tensors of a scope; see `DiffReport.scopes`.

    Attributes:
        scope: the first parts of the names; "" for names without a scope.
        num_same: number of tensors that are the same.
        num_changed: number of tensors whose values differ.
        num_different_form: number of tensors whose dtype or shape differs.
        num_only_in_a: number of tensors that b lacks.
        num_only_in_b: number of tensors that a lacks.

    Examples:
        >>> import numpy as np
        >>> from ckptparse import diff
        >>> a = {"body/w": np.zeros(3), "head/w": np.zeros(2)}
        >>> for each in diff(a, {**a, "head/w": np.ones(2)}).scopes():
        ...     print(each.scope, each.equal, each.num_changed)
        body True 0
        head False 1
    """

    scope: str
    num_same: int
    num_changed: int
    num_different_form: int
    num_only_in_a: int
    num_only_in_b: int

    @property
    def equal(self) -> bool:
        """Whether all tensors of the scope are the same.

        Examples:
            >>> from ckptparse import diff
            >>> [each.equal for each in diff({"x": 1.0}, {"x": 1.0}).scopes()]
            [True]
        """
        return not any(self[2:])


@dataclass(frozen=True, slots=True)
class DiffReport:
    """The result of `diff`.  It has names and numbers, but no arrays.

    Attributes:
        only_in_a: names that b lacks, in the order of a.
        only_in_b: names that a lacks, in the order of b.
        different_form: tensors whose dtype or shape differs, in the order of a.
        changed: tensors of which at least one element differs; those with the largest `distance`
            first, tensors of the same distance in the order of a.
        same: names in a of the tensors that are the same, by the tolerances.
        not_read: names in a of those of `same` that were not read, because their stored checksums
            and sizes are the same.
        not_comparable: names in a of tensors that cannot be read as arrays (variants, for example)
            and whose stored checksums are not the same.
        num_nan: number of NaNs that are in the same place on both sides, of all tensors that were
            read.
        names: name in a and name in b of the tensors that were compared under different names, in
            the order of a.  ``diff(names=dict(report.names))`` compares the same ones.

    Examples:
        >>> from ckptparse import diff
        >>> run = "fixtures/tf-2.21.0/saver_directory/run/model.ckpt-"
        >>> report = diff(run + "30", run + "40")
        >>> report.equal, [change.name for change in report.changed]
        (False, ['a'])
    """

    only_in_a: tuple[str, ...]
    only_in_b: tuple[str, ...]
    different_form: tuple[FormDifference, ...]
    changed: tuple[ValueDifference, ...]
    same: tuple[str, ...]
    not_read: tuple[str, ...]
    not_comparable: tuple[str, ...]
    num_nan: int
    names: tuple[tuple[str, str], ...] = ()

    @property
    def equal(self) -> bool:
        """Whether a and b have the same tensors, of the same dtypes, shapes and values.

        Examples:
            >>> from ckptparse import diff
            >>> diff({"x": 1.0}, {"x": 1.0}).equal
            True
        """
        return not (
            self.only_in_a
            or self.only_in_b
            or self.different_form
            or self.changed
            or self.not_comparable
        )

    def scopes(self, depth: int = 1) -> tuple[ScopeSummary, ...]:
        """Return the numbers of tensors of each scope, in natural order.

        Args:
            depth: how many parts of a name are the scope.  Parts end with slashes; in a name
                without slashes, with dots.

        Returns:
            A summary for each scope.

        Examples:
            >>> from ckptparse import diff
            >>> path = "fixtures/tf-1.15.5/vgg_16/model.ckpt"
            >>> report = diff(path, path)
            >>> [(each.scope, each.num_same) for each in report.scopes()]
            [('', 1), ('vgg_16', 33)]
            >>> [each.scope for each in report.scopes(depth=2)][:3]
            ['', 'vgg_16', 'vgg_16/conv1']
        """
        columns = (
            self.same,
            (*(each.name for each in self.changed), *self.not_comparable),
            [each.name for each in self.different_form],
            self.only_in_a,
            self.only_in_b,
        )
        counts: dict[str, list[int]] = {}
        for i, names in enumerate(columns):
            for name in names:
                counts.setdefault(_scope_of(name, depth), [0] * len(columns))[i] += 1
        return tuple(
            ScopeSummary(scope, *counts[scope]) for scope in sorted(counts, key=natural_key)
        )

    def _repr_html_(self) -> str:
        """Return tables of the largest differences, for notebooks."""
        from ckptparse.comparing.rendering import render_html

        return render_html(self)

    def __repr__(self) -> str:
        return (
            f"<DiffReport: {'equal' if self.equal else 'different'}, {len(self.same)} same,"
            f" {len(self.changed) + len(self.not_comparable)} changed,"
            f" {len(self.different_form)} of different form, {len(self.only_in_a)} only in a,"
            f" {len(self.only_in_b)} only in b>"
        )


def _scope_of(name: str, depth: int) -> str:
    """Return the first parts of a name, or of the path in an object's key, without the last one."""
    name = name.partition(ATTRIBUTES)[0]
    separator = "/" if "/" in name else "."
    return separator.join(name.split(separator)[:-1][:depth])
