"""Choose, rename and change the tensors of a mapping: what is done before they are converted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ckptparse.tensors.names import OBJECT_GRAPH
from ckptparse.weights.inputs import as_tensor_mapping
from ckptparse.weights.layout import Change, TorchLayout
from ckptparse.weights.renaming import Rename, rename_each
from ckptparse.weights.selection import Pattern, Selection, select

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

Layout = Literal["torch"]
"""The order of the axes of kernels; see `ckptparse.weights.layout`."""


class Choice(NamedTuple):
    """Tensors that were chosen, and what was done with them.

    Attributes:
        tensors: the tensors under their new names, in the order of the source.
        sources: new name -> name in the source.
        changes: new name -> how the axes were changed, of the tensors whose axes were.
    """

    tensors: Selection
    sources: Mapping[str, str]
    changes: Mapping[str, Change]


def choose(
    tensors: Mapping[str, Any],
    *,
    weights_only: bool = False,
    moving_averages: bool = False,
    include: Pattern | Iterable[Pattern] | None = None,
    exclude: Pattern | Iterable[Pattern] = (),
    layout: Layout | None = None,
    rename: Rename | None = None,
    dtype: DTypeLike | Mapping[Pattern, DTypeLike] | None = None,
    object_graph: bool = True,
) -> Choice:
    """Return a lazy mapping of some of the tensors; `convert` describes the arguments.

    The tensor with the object graph of TensorFlow 2 is left out if `object_graph` is False.

    Raises:
        TensorNotFoundError: a pattern of `include`, `rename` or `dtype` matches no tensor.
        InvalidTensorsError: two tensors would have the same name.
        ValueError: there is no such layout or dtype, or a rule of `rename` is no rule.
        CheckpointError: reading a graph or the metadata failed.
    """
    if layout not in (None, "torch"):
        raise ValueError(f'layout is None or "torch", not {layout!r}')
    if not object_graph:
        exclude = [
            *([exclude] if isinstance(exclude, (str, re.Pattern)) else exclude),
            OBJECT_GRAPH,
        ]
    chosen = select(
        as_tensor_mapping(tensors, 0),
        weights_only=weights_only,
        moving_averages=moving_averages,
        include=include,
        exclude=exclude,
    )
    changed = TorchLayout(chosen) if layout == "torch" else None
    changes = {} if changed is None else changed.changes
    names = {name: name for name in chosen} if rename is None else rename_each(chosen, rename)
    return Choice(
        select(chosen if changed is None else changed, rename=names, dtype=dtype),
        {new: chosen.sources[old] for old, new in names.items()},
        {names[old]: change for old, change in changes.items()},
    )
