"""Assignment maps: from tensor names of a checkpoint to variable names of a model.

The same maps as for ``tf.train.init_from_checkpoint``::

    {"a/w": "b/v"}     the tensor a/w to the variable b/v
    {"a/": "b/"}       each tensor below a/ to the variable of the same name below b/
    {"/": "b/"}        each tensor of the checkpoint to the variable of its name below b/
    {"a/": "/"}        each tensor below a/ to the variable without a/ in its name

TensorFlow looks for the variables below b/ in its graph, and requires each of them in the
checkpoint.  Without a graph, each tensor below a/ is assigned; `load_into` reports those that the
model lacks.

Sources: tensorflow/python/training/checkpoint_utils.py, ``_init_from_checkpoint``, in 1.15.5 and
2.21.0.  fixtures/tf-1.15.5/init_from_checkpoint records the results of 1.15.5 for many maps.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from ckptparse.tensors.names import not_found

AssignmentMap = Mapping[str, str] | Iterable[tuple[str, str]]
"""Names in the checkpoint to names in the model.  Pairs, as in TensorFlow 2, can assign one tensor
to several variables."""

ROOT = "/"
"""The scope of all tensors."""


def assign_names(
    names: Collection[str], assignment_map: AssignmentMap
) -> Iterator[tuple[str, str]]:
    """Yield pairs (name in the checkpoint, name in the model) for the entries of a map.

    Args:
        names: the names of the checkpoint's tensors.
        assignment_map: a mapping, or pairs of names.

    Raises:
        TensorNotFoundError: no tensor has a name of the map, or is below a scope of it.
        ValueError: an entry maps a scope to a name, or a name to a scope.
        TypeError: an entry has a variable object instead of a variable's name.
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
    """Return the pair for an entry of the map that is a name, not a scope."""
    if target.endswith("/"):
        raise ValueError(
            f"assignment map, {source!r}: {target!r} is a scope; one scope goes to another,"
            f" {source + '/'!r} to {target!r}, and one name to another"
        )
    if source not in names:
        raise not_found("no such tensor for the assignment map", source, names)
    return source, target


def _assign_scope(names: Collection[str], source: str, target: str) -> Iterator[tuple[str, str]]:
    """Yield the pairs for an entry of the map that is a scope."""
    if not target.endswith("/"):
        # TensorFlow ignores the part after the last slash of the target; if it has no slash,
        # TensorFlow drops the first letter of each variable's name.  Both hide a mistake.
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
