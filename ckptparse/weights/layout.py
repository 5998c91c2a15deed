"""Change the order of a kernel's axes from that of TensorFlow to that of PyTorch.

The last part of a name tells kernels: ``kernel``, ``weights``, ``weight``, ``w``, ``filter``,
``filters`` and ``pointwise_kernel``, ``pointwise_weights`` (of separable convolutions).  The
suffixes ``/.ATTRIBUTES/VARIABLE_VALUE`` and ``:0``, and a ``_`` at the start of a part, are not
counted.  If an object graph or a file of Keras has the name of the variable in the program, this
name counts, too: a key such as ``optimizer/_trainable_variables/0`` tells nothing.

==========================  =====================  ============================  ================
kernel                      TensorFlow             PyTorch                       axes
==========================  =====================  ============================  ================
dense                       in, out                out, in                       1 0
convolution, 1-D            width, in, out         out, in, width                2 1 0
convolution, 2-D            height, width, in,     out, in, height, width        3 2 0 1
                            out
convolution, 3-D            depth, height, width,  out, in, depth, height,       4 3 0 1 2
                            in, out                width
transposed convolution      height, width, out,    in, out, height, width        3 2 0 1
                            in
depthwise convolution, 2-D  height, width, in,     in * multiplier, 1, height,   2 3 0 1, then
                            multiplier             width                         a new shape
depthwise convolution, 1-D  width, in, multiplier  in * multiplier, 1, width     1 2 0, then a
                                                                                 new shape
==========================  =====================  ============================  ================

A kernel is depthwise if the last part of its name is ``depthwise_kernel`` or ``depthwise_weights``,
or if the part before the last one contains ``depthwise``.  ``recurrent_kernel`` and
``recurrent_weights`` are dense; the order of the gates is not changed.

Everything else is left as it is, in particular:

- embeddings: tables whose name ends in ``embeddings`` or the like; and ``weights``, ``weight``,
  ``w`` of two axes whose part before contains ``embed``;
- kernels of three axes in ``query``, ``key``, ``value``, ``attention_output``, in the attributes
  of an attention layer (``_query_dense`` ... ``_output_dense``), or in a part that contains
  ``einsum``: these are not convolutions, and PyTorch has no one form of them;
- slots of optimizers, moving averages, and all other names.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from ckptparse.tensors.info import TensorInfo
from ckptparse.tensors.mapping import Role, TensorMapping, find_roots
from ckptparse.tensors.names import ATTRIBUTES
from ckptparse.tensors.numpy_index import Index, keep_array

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_KERNELS = {
    "kernel",
    "weights",
    "weight",
    "w",
    "filter",
    "filters",
    "pointwise_kernel",
    "pointwise_weights",
    "recurrent_kernel",
    "recurrent_weights",
}
_DEPTHWISE_KERNELS = {"depthwise_kernel", "depthwise_weights"}
_TABLES = {"weights", "weight", "w"}
"""Names of kernels, and in a scope of an embedding, names of its table."""

_ATTENTION = {
    "query",
    "key",
    "value",
    "attention_output",
    "query_dense",
    "key_dense",
    "value_dense",
    "output_dense",
}
"""Names of the layers in an attention layer, and of its attributes that refer to them."""

_AXES = {2: (1, 0), 3: (2, 1, 0), 4: (3, 2, 0, 1), 5: (4, 3, 0, 1, 2)}
_DEPTHWISE_AXES = {3: (1, 2, 0), 4: (2, 3, 0, 1)}


class Change(NamedTuple):
    """How the array of a kernel is changed.

    Attributes:
        axes: the axes of the old array, in the order of the new one.
        shape: the new shape; of a depthwise kernel, two of the axes become one.
    """

    axes: tuple[int, ...]
    shape: tuple[int, ...]


def find_change(
    name: str, shape: tuple[int, ...], variable_name: str | None = None
) -> Change | None:
    """Return how a tensor changes, by the rules of this module; None if it stays as it is.

    Args:
        name: the name of the tensor.
        shape: its shape.
        variable_name: the name that its variable had in the program, if it is known.

    Examples:
        >>> from ckptparse.weights.layout import find_change
        >>> find_change("conv1/kernel", (3, 3, 16, 32))
        Change(axes=(3, 2, 0, 1), shape=(32, 16, 3, 3))
        >>> find_change("conv1/depthwise_kernel", (3, 3, 16, 2))
        Change(axes=(2, 3, 0, 1), shape=(32, 1, 3, 3))
        >>> find_change("word_embeddings", (30000, 768)) is None
        True
    """
    names = [_last_parts(each) for each in (name, variable_name) if each is not None]
    scopes, lasts = {scope for scope, _ in names}, {last for _, last in names}
    rank = len(shape)
    is_kernel = not lasts.isdisjoint(_KERNELS)
    if not lasts.isdisjoint(_DEPTHWISE_KERNELS) or (is_kernel and _any_has(scopes, "depthwise")):
        axes = _DEPTHWISE_AXES.get(rank)
        if axes is None:
            return None
        channels, multiplier, *sizes = (shape[axis] for axis in axes)
        return Change(axes, (channels * multiplier, 1, *sizes))
    if not is_kernel:
        return None
    if rank == 2 and not lasts.isdisjoint(_TABLES) and _any_has(scopes, "embed"):
        return None
    if rank == 3 and (not scopes.isdisjoint(_ATTENTION) or _any_has(scopes, "einsum")):
        return None
    axes = _AXES.get(rank)
    return None if axes is None else Change(axes, tuple(shape[axis] for axis in axes))


def _last_parts(name: str) -> tuple[str, str]:
    """Return the last two parts of a name, in the form of the tables of this module."""
    parts = name.partition(ATTRIBUTES)[0].lower().removesuffix(":0").split("/")
    scope, last = (part.removeprefix("_") for part in ["", *parts][-2:])
    return scope, last


def _any_has(scopes: set[str], word: str) -> bool:
    return any(word in scope for scope in scopes)


class TorchLayout(TensorMapping):
    """A mapping whose kernels have their axes in the order of PyTorch.

    Attributes:
        changes: name -> change, of the tensors that change.
    """

    def __init__(self, source: TensorMapping) -> None:
        self._source = source
        known = _find_variable_names(source)
        roles = source.roles() if known else {}  # a slot may be Adam/m/dense/kernel
        self.changes: Mapping[str, Change] = {
            info.name: change
            for info in source.infos()
            for change in [find_change(info.name, info.shape, known.get(info.name))]
            if change is not None and roles.get(info.name) != "state"
        }

    def read(self, name: str, index: Index = ...) -> NDArray[Any]:
        """Return a tensor, or the part of it that an index selects; a view of what is read."""
        change = self.changes.get(name)
        if change is None:
            return self._source.read(name, index)
        array = self._source[name].transpose(change.axes).reshape(change.shape)
        part: NDArray[Any] = array if index is Ellipsis else array[keep_array(index)]
        return part

    def info(self, name: str) -> TensorInfo:
        """Return the metadata of a tensor; one that changes is not stored in a file."""
        return self._changed(self._source.info(name))

    def infos(self) -> list[TensorInfo]:
        """Return the metadata of all tensors."""
        return [self._changed(info) for info in self._source.infos()]

    def _changed(self, info: TensorInfo) -> TensorInfo:
        change = self.changes.get(info.name)
        if change is None:
            return info
        assert prod(change.shape) == info.size
        return info._replace(shape=change.shape, slices=(), mapped=False, file=None, offset=None)

    def origin(self, name: str) -> tuple[TensorMapping, str]:
        """Return the source and the name."""
        return self._source, name

    def roles(self) -> Mapping[str, Role]:
        """Return the roles in the source."""
        return self._source.roles()

    def __iter__(self) -> Iterator[str]:
        return iter(self._source)

    def __len__(self) -> int:
        return len(self._source)

    def __contains__(self, name: object) -> bool:
        return name in self._source


def _find_variable_names(tensors: TensorMapping) -> dict[str, str]:
    """Return name -> name of the variable in the program, for which it is known.

    Raises:
        CheckpointError: reading a graph failed.
    """
    return {
        name: root.variable_names[key]
        for name, (root, key) in find_roots(tensors).items()
        if key in root.variable_names
    }
