"""Target: a table file."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, cycle, islice
from random import Random

from ckptparse.sstable import Table
from fuzz.fixtures import MOST_NBYTES, find_files
from fuzz.memory import source
from fuzz.messages import Undecodable
from fuzz.noise import Noise
from fuzz.outcomes import Outcome, outcome, require, require_same
from fuzz.tables import change_table, damage_checksum, decode_table

_VARIANTS = [(True, True), (False, True), (True, False), (False, False)]

_MOST_KEYS = 100
_OFTEN = 120


def run(data: bytes) -> None:
    """List a table and look up all that it lists, and more."""
    opened = [
        outcome(lambda m=mapped, v=verify: Table(source("table", data, mapped=m), verify=v))
        for mapped, verify in _VARIANTS
    ]
    for other in opened[1:]:
        require(type(opened[0].error) is type(other.error), "opening", opened[0], other)
    if opened[0].error is not None:
        return
    tables: list[Table] = [each.value for each in opened]
    scans = [outcome(lambda t=each: _scan(t)) for each in tables]
    require_same(scans[0], scans[1], "scan, mapped and copied")
    require_same(scans[2], scans[3], "scan unchecked, mapped and copied")
    if scans[0].error is None:
        require_same(scans[0], scans[2], "scan, checked and unchecked")
    for i in range(tables[0].num_blocks):
        outcome(lambda b=i: list(tables[0].scan_block(b)))
    known = dict(scans[0].value or ())
    others = [b"", b"\xff" * 9, *(key + b"\0" for key in known), *(key[:-1] for key in known)]
    asked = list(dict.fromkeys([*(known or _hints(data)), *others]))[:_MOST_KEYS]
    answers = []
    for key in asked:
        found = [outcome(lambda t=each, k=key: _get(t, k)) for each in tables]
        require_same(found[0], found[1], "get, mapped and copied", key)
        require_same(found[2], found[3], "get unchecked, mapped and copied", key)
        if scans[0].error is None:
            require_same(found[0], Outcome(known.get(key)), "get, and the list", key)
        outcome(lambda k=key: tables[0].is_compressed(k))
        answers.append(found[0])
    for key, answer in islice(cycle(zip(asked, answers)), _OFTEN):
        # A block that is asked often answers as before.
        require_same(answer, outcome(lambda k=key: _get(tables[0], k)), "get again", key)
    tables[0].forget_verified()
    require_same(scans[0], outcome(lambda: _scan(tables[0])), "scan again")
    for each in tables:
        each.close()


def _hints(data: bytes) -> list[bytes]:
    """Keys of a table that cannot be listed."""
    try:
        return list(decode_table(data).values())
    except Undecodable:
        return []


def _scan(table: Table) -> list[tuple[bytes, bytes]]:
    entries = chain.from_iterable(map(table.scan_block, range(table.num_blocks)))
    return [(key, bytes(value)) for key, value in entries]


def _get(table: Table, key: bytes) -> bytes | None:
    value = table.get(key)
    return None if value is None else bytes(value)


def mutate(data: bytes, rng: Random, noise: Noise) -> bytes:
    """Another table."""
    try:
        parts = decode_table(data)
    except Undecodable:
        return noise(data)
    for _ in range(rng.choice([1, 1, 2, 4])):
        change_table(parts, rng, noise)
    if rng.random() < 0.05:
        damage_checksum(parts, rng)
    return bytes(parts)


def seeds() -> Iterator[bytes]:
    """Small tables of the fixtures."""
    for path in [*find_files("*.index"), *find_files("v1_*/model.ckpt")]:
        data = path.read_bytes()
        if len(data) <= MOST_NBYTES:
            yield data
