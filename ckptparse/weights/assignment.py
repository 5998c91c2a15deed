"""Assignment maps: which tensor of a checkpoint goes to which variable of a graph.

As ``tf.train.init_from_checkpoint`` takes them::

    {"a/w": "b/v"}     the tensor a/w to the variable b/v
    {"a/": "b/"}       each tensor below a/ to the variable of the same name below b/
    {"/": "b/"}        each tensor of the checkpoint to the variable of its name below b/
    {"a/": "/"}        each tensor below a/ to the variable without a/ in its name

TensorFlow asks its graph for the variables below b/ and wants each of them in the checkpoint.  Here
is no graph: each tensor below a/ is taken, and what there is no use for is for `load_into` to say.

Sources: tensorflow/python/training/checkpoint_utils.py, ``_init_from_checkpoint``, in 1.15.5 and
2.21.0; what 1.15.5 did with many maps is in fixtures/tf-1.15.5/init_from_checkpoint.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from ckptparse.tensors.names import not_found

AssignmentMap = Mapping[str, str] | Iterable[tuple[str, str]]
"""Checkpoint's names to graph's names.  Pairs, as TensorFlow 2 takes them, can give one tensor to
several variables."""

ROOT = "/"


def assign_names(
    names: Collection[str], assignment_map: AssignmentMap
) -> Iterator[tuple[str, str]]:
    """Pairs (name in the checkpoint, name in the graph) that a map makes of the names.

    Raises:
        TensorNotFoundError: an entry for a tensor, or for a scope, that is not there.
        ValueError: a scope that should become a name, or a name that should become a scope.
        TypeError: a variable in place of its name.
    """
    entries = assignment_map.items() if isinstance(assignment_map, Mapping) else assignment_map
    for source, target in entries:
        if not isinstance(target, str):
            raise TypeError(
                f"assignment map, {source!r}: expected a variable's name, found {target!r}"
            )
        if source.endswith("/"):
            yield from _assign_scope(names, source, target)
        else:
            yield _assign_name(names, source, target)


def _assign_name(names: Collection[str], source: str, target: str) -> tuple[str, str]:
    if target.endswith("/"):
        raise ValueError(
            f"assignment map, {source!r}: {target!r} is a scope; one scope goes to another,"
            f" {source + '/'!r} to {target!r}, and one name to another"
        )
    if source not in names:
        raise not_found("no such tensor for the assignment map", source, names)
    return source, target


def _assign_scope(names: Collection[str], source: str, target: str) -> Iterator[tuple[str, str]]:
    if not target.endswith("/"):
        # TensorFlow ignores what follows the last slash, and with no slash at all it loses the
        # first letter of each variable; either hardly ever finds a tensor.
        raise ValueError(
            f"assignment map, {source!r}: a scope goes to a scope, which ends in a slash,"
            f" found {target!r}"
        )
    old, new = ("" if scope == ROOT else scope for scope in (source, target))
    found = [name for name in names if name.startswith(old)]
    if not found:
        depth = source.count("/")
        scopes = {"/".join(name.split("/")[:depth]) + "/" for name in names if "/" in name}
        raise not_found("no tensor below this scope of the assignment map", source, sorted(scopes))
    for name in found:
        yield name, new + name.removeprefix(old)
