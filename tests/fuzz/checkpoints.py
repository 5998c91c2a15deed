"""Use everything of an open checkpoint, through every source, with and without checksums."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ckptparse import Checkpoint, ChecksumError, TensorNotFoundError, UnsupportedError
from fuzz.objects import use_objects
from fuzz.outcomes import Outcome, equal, outcome, require, require_same

Open = Callable[[bool, bool], Checkpoint]
"""A function of (mapped, verify)."""

_VARIANTS = [(True, True), (False, True), (True, False), (False, False)]
_MOST_NAMES = 24
_MOST_CLOSELY = 4
"""Tensors that are read, and those that are read in every way: which, depends on the names."""

_MOST_ELEMENTS = 4096

_INDEXES: list[Any] = [
    0,
    np.s_[::-1],
    np.s_[1:, ..., None],
    np.s_[..., 0],
    np.s_[-1:],
    (0, 0),
    [0, -1],
    np.array([True, False]),
    np.s_[:0],
    2**70,
    (Ellipsis, Ellipsis),
]


def use_checkpoint(open_: Open, hints: Callable[[], Iterable[str]]) -> None:
    """Call every method of a checkpoint.

    Args:
        open_: opens it.
        hints: names that may be in it, for one that cannot be listed.
    """
    opened = [outcome(lambda v=variant: open_(*v)) for variant in _VARIANTS]
    for other in opened[1:]:
        require(type(opened[0].error) is type(other.error), "opening", opened[0], other)
    if opened[0].error is not None:
        return
    ckpts: list[Checkpoint] = [each.value for each in opened]
    ckpt = ckpts[0]
    str(ckpt.files[:10])
    repr(ckpt)
    listed = [outcome(lambda c=each: list(c)) for each in ckpts]
    infos = [outcome(lambda c=each: _infos(c)) for each in ckpts]
    for i in range(1, len(ckpts)):
        require_same(listed[0], listed[i], "names")
        require_same(infos[0], infos[i], "infos")
    if infos[0].error is None:
        require([info.name for info in infos[0].value] == listed[0].value, "names, infos differ")
    is_listed = listed[0].error is None
    names = (listed[0].value or sorted(set(hints())))[:_MOST_NAMES]
    start = zlib.crc32("/".join(names).encode("utf-8", "surrogateescape"))
    reads = {}
    for number, name in enumerate(names):
        if (number - start) % len(names) < _MOST_CLOSELY:
            reads[name] = _use_tensor(ckpts, name, start + number, is_listed)
        else:
            checked, unchecked = [outcome(lambda c=c, n=name: c[n]) for c in (ckpt, ckpts[3])]
            _require_checks_only_add(checked, unchecked, name)
            reads[name] = checked
    _verify(ckpts[:2], reads, is_listed, infos[0])
    missing = outcome(lambda: ckpt["\0no such tensor"])
    require(missing.error is not None, "a tensor that is not there")
    if is_listed:
        require(isinstance(missing.error, TensorNotFoundError), "missing", missing)
        outcome(lambda: ckpt.select(include="*"))
        outcome(ckpt._repr_html_)
    graph = outcome(lambda: ckpt.object_graph)
    if graph.value is not None:
        use_objects(graph.value, infos[0].value or [])
    for each in ckpts:
        each.close()


def _infos(ckpt: Checkpoint) -> list[Any]:
    """What is known of tensors, but for what sources differ in."""
    return [info._replace(mapped=False) for info in ckpt.infos()]


def _use_tensor(ckpts: list[Checkpoint], name: str, number: int, is_listed: bool) -> Outcome:
    """Read a tensor in every way, and return what reading the whole gave."""
    first = _INDEXES[number % len(_INDEXES)]
    parts = [outcome(lambda c=each: c.read(name, first), IndexError) for each in ckpts[:2]]
    require_same(*parts, "first access", first, name)
    known = [outcome(lambda c=each: c.info(name)._replace(mapped=False)) for each in ckpts]
    reads = [outcome(lambda c=each: c[name]) for each in ckpts]
    for i in range(1, len(ckpts)):
        require_same(known[0], known[i], "info", name)
    checked, copied, *unchecked = reads
    require_same(checked, copied, "mapped and copied", name)
    require_same(*unchecked, "unchecked, mapped and copied", name)
    _require_checks_only_add(checked, unchecked[0], name)
    require_same(checked, outcome(lambda: ckpts[0][name]), "reading again", name)
    if is_listed:
        there = outcome(lambda: name in ckpts[0])
        require(there.value is not False, "listed and not there", name)
        require(not isinstance(known[0].error, TensorNotFoundError), "no info", name)
    if checked.error is None:
        info, array = known[0].value, checked.value
        told = (info.dtype, info.shape, info.size)
        require((array.dtype, array.shape, array.size) == told, "info and array", info, checked)
    for i in range(3 * number, 3 * number + 3):
        index = _INDEXES[i % len(_INDEXES)]
        _use_index(ckpts[2:], name, index, unchecked[0].value)
    return checked


def _require_checks_only_add(checked: Outcome, unchecked: Outcome, name: str) -> None:
    """Check that checksums only turn values into errors, and never change values."""
    if checked.error is None:
        require_same(checked, unchecked, "checked and unchecked", name)
    elif not isinstance(checked.error, ChecksumError):
        is_boolean = "boolean" in str(checked.error)  # looked at only where bytes are checked
        require(unchecked.error is not None or is_boolean, "checked", checked, unchecked, name)


def _use_index(ckpts: list[Checkpoint], name: str, index: Any, whole: Any) -> None:
    """Check that reading a part gives what numpy takes of the whole."""
    part, copied = [outcome(lambda c=each: c.read(name, index), IndexError) for each in ckpts]
    require_same(part, copied, "mapped and copied", name, index)
    if whole is None or whole.size > _MOST_ELEMENTS:
        return
    if not whole.size and isinstance(index, (list, np.ndarray)):
        return  # numpy itself makes room for the result before it looks at bounds
    wanted = outcome(lambda: _take(whole, index), IndexError)
    same = type(wanted.error) is type(part.error) and equal(wanted.value, part.value)
    require(same, "numpy takes", wanted, part, name, index)


def _take(whole: np.ndarray, index: Any) -> np.ndarray:
    """What numpy takes, as an array also where it is one element."""
    items = index if isinstance(index, tuple) else (index,)
    is_scalar = not any(item is Ellipsis for item in items)
    taken: np.ndarray = whole[(*items, Ellipsis) if is_scalar else items]
    return taken


def _verify(
    ckpts: list[Checkpoint], reads: dict[str, Outcome], is_listed: bool, infos: Outcome
) -> None:
    """Check that verify() finds exactly what reading finds."""
    reports = [outcome(each.verify) for each in ckpts]
    for report in reports:
        require(report.error is None, "verify() raised", report)
    report = reports[0].value
    damaged = {damage.name for damage in report.damaged}
    # A bound on the work of verify(), of all tensors together: each of them can be read.
    shared = {damage.name for damage in report.damaged if "share their" in damage.error.message}
    require(damaged == {damage.name for damage in reports[1].value.damaged}, "verify(), copied")
    require(report.ok == (not damaged), "ok", report)
    for each in ckpts:
        passed_on = outcome(lambda c=each: c.verify(on_piece=lambda piece: None))
        require(passed_on.error is None, "verify(on_piece) raised", passed_on)
        also = {damage.name for damage in passed_on.value.damaged}
        require(also == damaged, "verify(on_piece)", also, damaged)
        require(passed_on.value.unchecked == report.unchecked, "verify(on_piece), unchecked")
    if report.ok:
        require(infos.error is None, "verify() found nothing, infos()", infos)
    for name, read in reads.items() if is_listed else ():
        if isinstance(read.error, UnsupportedError) or name in shared:  # no array, perhaps sound
            continue
        fails = read.error is not None
        if name in damaged and not fails and read.value.size == 0:  # needs none of what is damaged
            continue
        require((name in damaged) == fails, "verify() of", name, name in damaged, read)
    for name in list(reads)[:_MOST_CLOSELY] if is_listed else ():
        alone = outcome(lambda n=name: ckpts[0].verify([n]))
        require(alone.error is None, "verify() of it alone raised", alone)
        same = alone.value.ok == (name not in damaged)
        require(same or name in shared, "verify() of it alone", name)
