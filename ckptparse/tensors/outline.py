"""The rows of a tree of tensors."""

from __future__ import annotations

from typing import NamedTuple

from ckptparse.tensors.info import TensorInfo


class OutlineRow(NamedTuple):
    """One row of a tree of tensors: a scope, object, tensor, group of slot variables, or alias.

    Attributes:
        depth: distance from the root, which has depth 0.
        name: last part of the path, with special characters escaped as in the path.
        path: path of the row; "" for the root.
        num_tensors: number of tensors of the row and of all rows below it; 0 for an alias.
        nbytes: number of bytes of those tensors.
        info: metadata of the tensor, if the row is a tensor; else None.
        same_as: for an alias, the path under which the object is listed; else None.
        saver: name of the registered saver that saved the object; None for TensorFlow's own.

    Examples:
        >>> from ckptparse import open_checkpoint
        >>> with open_checkpoint("fixtures/tf-2.21.0/backbone_head/model.ckpt") as ckpt:
        ...     infos = {info.name: info for info in ckpt.infos()}
        ...     rows = ckpt.object_graph.outline(infos)
        >>> [(row.path, row.num_tensors, row.nbytes) for row in rows if row.depth == 1]
        [('backbone', 6, 112), ('head', 4, 140), ('optimizer', 6, 152), ('', 1, 2433)]
    """

    depth: int
    name: str
    path: str
    num_tensors: int
    nbytes: int
    info: TensorInfo | None = None
    same_as: str | None = None
    saver: str | None = None
