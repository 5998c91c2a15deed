"""The objects of a graph as the rows of a tree, with the size of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import repeat

from ckptparse.objectgraph.nodes import ROOT, VARIABLE_VALUE, NodeTable
from ckptparse.objectgraph.paths import escape_name, join_path
from ckptparse.objectgraph.walk import Walk
from ckptparse.objectgraph.weights import LISTS
from ckptparse.tensors.info import TensorInfo
from ckptparse.tensors.names import ATTRIBUTES, OPTIMIZER_SLOT, natural_key
from ckptparse.tensors.outline import OutlineRow

Sizes = dict[int, tuple[int, int]]
"""Node id -> number of tensors and number of bytes, of the node and of all nodes below it."""


def outline(nodes: NodeTable, infos: Mapping[str, TensorInfo]) -> list[OutlineRow]:
    """Return rows for the objects that have tensors, each parent before its children.

    An object with several paths is listed under the shortest of those that do not lead through a
    list of all variables (`LISTS`); its other paths are aliases.  Slot variables count as part of
    their optimizer.  Tensors that belong to no object are listed at the end.

    Args:
        nodes: the graph.
        infos: the metadata of all tensors of the checkpoint, by name.
    """
    walk = Walk(ROOT, nodes.children, last=LISTS)
    left = dict(infos)
    own: dict[int, list[OutlineRow]] = {}
    for node_id in walk.order:
        if own_rows := list(_own_rows(nodes, walk, node_id, left)):
            own[node_id] = own_rows
    nodes.require_short_paths(walk, _nodes_in_paths(nodes, walk, own))
    sizes = _add_up(walk, own)
    num_tensors, nbytes = sizes.get(ROOT, (0, 0))
    left_nbytes = sum(info.nbytes for info in left.values())
    rows = [OutlineRow(0, "", "", num_tensors + len(left), nbytes + left_nbytes)]
    rows += _rows(nodes, walk, own, sizes)
    if left:
        rows.append(OutlineRow(1, "(of no object)", "", len(left), left_nbytes))
        rows += [OutlineRow(2, name, "", 1, info.nbytes, info) for name, info in left.items()]
    return rows


def _own_rows(
    nodes: NodeTable, walk: Walk, node_id: int, left: dict[str, TensorInfo]
) -> Iterator[OutlineRow]:
    """Yield rows for the tensors of one object itself, and remove these tensors from `left`.

    The row of a variable's value has the name "".
    """
    for attribute in nodes.attributes(node_id):
        for key in attribute.keys:
            info = left.pop(key, None)
            if info is not None:
                is_value = attribute.name == VARIABLE_VALUE
                name = "" if is_value else ATTRIBUTES[1:] + key.partition(ATTRIBUTES)[2]
                yield OutlineRow(0, name, "", 1, info.nbytes, info)
    slots: dict[str, list[int]] = {}
    for slot in nodes.slot_variables(node_id):
        variable = slot.variable.variable
        if variable is None or slot.variable.node_id in walk:
            continue
        info = left.pop(variable.checkpoint_key, None)
        if info is not None:
            slots.setdefault(slot.name, []).append(info.nbytes)
    for slot_name, sizes in slots.items():
        name = OPTIMIZER_SLOT[1:] + escape_name(slot_name)
        yield OutlineRow(0, name, "", len(sizes), sum(sizes))


def _nodes_in_paths(
    nodes: NodeTable, walk: Walk, own: dict[int, list[OutlineRow]]
) -> Iterator[int]:
    """Yield a node for each path that the rows will contain."""
    for node_id in walk.order:
        children = nodes.children(node_id).values()
        yield from repeat(node_id, 1 + len(children) + len(own.get(node_id, ())))
        yield from children


def _add_up(walk: Walk, own: dict[int, list[OutlineRow]]) -> Sizes:
    """Return the sizes of the nodes that have tensors."""
    sizes: Sizes = {}
    for node_id in reversed(walk.order):
        num_tensors, nbytes = sizes.get(node_id, (0, 0))
        for row in own.get(node_id, ()):
            num_tensors += row.num_tensors
            nbytes += row.nbytes
        if num_tensors:
            sizes[node_id] = num_tensors, nbytes
            parent, _ = walk.first[node_id]
            if node_id != ROOT:
                above = sizes.get(parent, (0, 0))
                sizes[parent] = above[0] + num_tensors, above[1] + nbytes
    return sizes


def _rows(
    nodes: NodeTable, walk: Walk, own: dict[int, list[OutlineRow]], sizes: Sizes
) -> Iterator[OutlineRow]:
    """Yield all rows below the root, and a row for the root's own value."""
    pending = [(0, -1, "", ROOT)]
    while pending:
        depth, parent, name, node_id = pending.pop()
        num_tensors, nbytes = sizes.get(node_id, (0, 0))
        if not num_tensors:
            continue
        if walk.first[node_id] != (parent, name):
            path = join_path([*walk.names(parent), name])
            same_as = walk.path(node_id)
            yield OutlineRow(depth, escape_name(name), path, 0, 0, same_as=same_as)
            continue
        path = walk.path(node_id)
        own_rows = own.get(node_id, ())
        values = [row.info for row in own_rows if not row.name]
        saver = nodes.registered_saver(node_id)
        if node_id != ROOT or values:
            yield OutlineRow(
                depth,
                escape_name(name),
                path,
                num_tensors,
                nbytes,
                values[0] if values else None,
                saver=saver.name if saver else None,
            )
        for row in own_rows:
            if row.name:
                yield OutlineRow(
                    depth + 1, row.name, f"{path}/{row.name}", row.num_tensors, row.nbytes, row.info
                )
        children = sorted(nodes.children(node_id).items(), key=lambda item: natural_key(item[0]))
        for child_name, child in reversed(children):
            pending.append((depth + 1, node_id, child_name, child))
