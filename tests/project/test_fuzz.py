"""The fuzzer's saved inputs, its findings and its mutators, run without the fuzzer.

Each target in tests/fuzz/ defines what is done with an input and what counts as a finding.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from ckptparse import (
    Checkpoint,
    CheckpointError,
    ChecksumError,
    CorruptCheckpointError,
    UnsupportedError,
)
from ckptparse.formats.bundle import BundleReader
from ckptparse.formats.saved_slices import SavedSlicesReader
from ckptparse.objectgraph import KEY, ObjectGraph
from ckptparse.sources import Source
from ckptparse.sstable import Table
from fuzz import corpus
from fuzz.bundles import decode_bundle, repair
from fuzz.container import join, split
from fuzz.corpus import load_corpus, save_corpus
from fuzz.fixtures import MOST_NBYTES
from fuzz.memory import source
from fuzz.messages import Undecodable, decode
from fuzz.noise import make_noise
from fuzz.object_graph import MadeTensors
from fuzz.outcomes import Finding, outcome, require_same
from fuzz.tables import decode_table
from fuzz.targets import NAMES, load_target
from support.repository import TESTS

REGRESSIONS = TESTS / "regressions"


@cache
def seeds_of(target_name: str) -> list[bytes]:
    return list(load_target(target_name).seeds())


# Inputs


@pytest.mark.exhaustive
@pytest.mark.parametrize("target_name", NAMES)
def test_saved_inputs_find_nothing(target_name: str) -> None:
    target = load_target(target_name)
    inputs = load_corpus(target_name)
    assert inputs
    for data in inputs:
        assert len(data) <= MOST_NBYTES
        target.run(data)


@pytest.mark.parametrize("count", [5, pytest.param(300, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("target_name", NAMES)
def test_mutated_fixtures_find_nothing(target_name: str, count: int) -> None:
    target = load_target(target_name)
    rng = Random(4)
    for _ in range(count):
        target.run(target.mutate(rng.choice(seeds_of(target_name)), rng, make_noise(rng)))


@pytest.mark.parametrize("path", sorted(REGRESSIONS.iterdir()), ids=lambda path: path.name)
def test_former_findings_are_none(path: Path) -> None:
    load_target(path.suffix[1:]).run(path.read_bytes())


# Former findings: what is right in place of what was found


def read_regression(name: str) -> bytes:
    return (REGRESSIONS / name).read_bytes()


def open_saved_slices(data: bytes, *, mapped: bool = True) -> Checkpoint:
    files = [source(f"model-{i}", file, mapped=mapped) for i, file in enumerate(split(data))]
    return Checkpoint(SavedSlicesReader("model", files, verify=True))


@pytest.mark.parametrize(
    ("name", "error_class"),
    [
        # One slice as large as the tensor that begins at 1: its values were given as the whole.
        ("slice-that-begins-inside.saved_slices", CorruptCheckpointError),
        # No elements, and dimensions that numpy refuses: verify() raised a bare ValueError.
        ("shape-beyond-numpy.saved_slices", UnsupportedError),
    ],
)
def test_a_v1_tensor_that_reading_and_verifying_refuse(
    name: str, error_class: type[CheckpointError]
) -> None:
    with open_saved_slices(read_regression(name)) as ckpt:
        with pytest.raises(error_class) as error:
            ckpt["x"]
        assert error.value.tensor == "x"
        (damage,) = ckpt.verify().damaged
        assert type(damage.error) is type(error.value)


@pytest.mark.parametrize("mapped", [True, False])
def test_a_v1_block_beyond_the_file_is_an_error_at_opening(mapped: bool) -> None:
    # infos() of a mapped file looked at the block's type, and was an error; of a copy it was none.
    file = read_regression("block-beyond-the-file.saved_slices")
    with pytest.raises(
        CorruptCheckpointError, match="handle of block 1\n  expected: a block before"
    ):
        open_saved_slices(file, mapped=mapped)


def test_a_block_with_keys_out_of_order_answers_alike_however_often_it_is_asked() -> None:
    # From the 33rd lookup on, it was an error.
    table = Table(source("table", read_regression("keys-out-of-order.table"), mapped=True))
    assert {bytes(table.get(b"c") or b"") for _ in range(100)} == {b"3"}
    with pytest.raises(CorruptCheckpointError, match="order of keys"):
        list(table.scan_block(0))


def test_damage_in_an_object_graph_names_its_tensor_also_when_it_is_met_late() -> None:
    serialized = read_regression("child-that-is-not-there.object_graph")
    graph = ObjectGraph(serialized, MadeTensors(serialized))
    with pytest.raises(CorruptCheckpointError, match="ids from 0 to 0\n  found: 7") as error:
        list(graph)
    assert error.value.tensor == KEY


def test_the_slot_of_an_optimizer_without_a_name_is_found_where_it_is_listed() -> None:
    serialized = read_regression("slot-of-an-optimizer-without-a-name.object_graph")
    graph = ObjectGraph(serialized, MadeTensors(serialized))
    assert list(graph) == ["w", "w/.OPTIMIZER_SLOT//m"]
    assert graph.checkpoint_key("w/.OPTIMIZER_SLOT//m") == "w/m"


@pytest.mark.parametrize("index", [[0, -1], [0], np.array([True])], ids=repr)
def test_an_index_outside_of_no_elements_allocates_nothing(index: Any) -> None:
    # numpy makes room for the result, 2**53 elements and more, before it looks at bounds.
    with open_bundle(read_regression("index-into-no-elements.bundle")) as ckpt:
        assert ckpt.info("x").shape == (0, 2**53)
        with pytest.raises(IndexError):
            ckpt.read("x", index)


# Mutators


@pytest.mark.parametrize("target_name", ["bundle", "saved_slices"])
def test_damage_reaches_the_code_behind_checksums(target_name: str) -> None:
    by_mutator = count_errors(target_name, repaired=True)
    by_noise = count_errors(target_name, repaired=False)
    assert by_mutator["ChecksumError"] < 0.12 * by_mutator.total()
    assert by_mutator["CorruptCheckpointError"] > 0.3 * by_mutator.total()
    assert by_mutator["none"] > 0.1 * by_mutator.total()
    assert by_noise["ChecksumError"] > 0.5 * by_noise.total()


def count_errors(target_name: str, *, repaired: bool) -> Counter[str]:
    """Count the first errors of many changed checkpoints."""
    target = load_target(target_name)
    rng = Random(4)
    noise = make_noise(rng)
    errors: Counter[str] = Counter()
    for _ in range(150):
        data = rng.choice(seeds_of(target_name))
        if repaired:
            data = target.mutate(data, rng, noise)
        else:
            files = split(data)
            place = rng.randrange(len(files))
            data = join([*files[:place], noise(files[place]), *files[place + 1 :]])
        try:
            open_ = open_bundle if target_name == "bundle" else open_saved_slices
            damaged = [damage.error for damage in open_(data).verify().damaged]
        except CheckpointError as error:
            damaged = [error]
        errors[type(damaged[0]).__name__ if damaged else "none"] += 1
    return errors


def open_bundle(data: bytes) -> Checkpoint:
    index, *shards = split(data)

    def open_shard(path: str, **options: object) -> Source:
        number = int(path.split(".data-")[1].split("-of-")[0])
        if number >= len(shards):
            raise FileNotFoundError(path)
        return source(path, shards[number], mapped=True)

    reader = BundleReader(
        "m", source("m.index", index, mapped=True), open_shard, verify=True, mapped=True
    )
    return Checkpoint(reader)


def test_repaired_bundles_differ_and_have_no_wrong_checksum() -> None:
    num_changed = 0
    for data in seeds_of("bundle"):
        intact = outcome(lambda d=data: open_bundle(d).verify().ok)
        if not intact.value or not all(split(data)):
            continue  # damaged by those who made the fixture, or without a last byte to change
        bundle = decode_bundle(data)
        for shard in bundle.shards:
            shard[-1] ^= 1
        if open_bundle(bytes(bundle)).verify().ok:
            continue  # the last byte is padding
        repair(bundle)
        errors = [damage.error for damage in open_bundle(bytes(bundle)).verify().damaged]
        assert not any(isinstance(error, ChecksumError) for error in errors)
        num_changed += not errors
    assert num_changed > 50


@pytest.mark.parametrize("target_name", NAMES)
def test_mutators_take_anything_and_depend_on_the_seed_alone(target_name: str) -> None:
    target = load_target(target_name)
    seeds = sorted(seeds_of(target_name), key=len)
    seed = seeds[len(seeds) // 2]
    for data in (b"", b"\0", b"\xff" * 60, bytes(range(256)), seed[:-1], seed[1:]):
        made = []
        for _ in range(2):
            rng = Random(1)
            made.append(target.mutate(data, rng, make_noise(rng)))
        assert made[0] == made[1]
    changed = {target.mutate(seed, rng, make_noise(rng)) for rng in map(Random, range(20))}
    assert len(changed) > 10


def test_tables_are_put_together_as_they_were() -> None:
    seeds = seeds_of("table")
    num_equal = 0
    for data in seeds:
        try:
            parts = decode_table(data)
        except Undecodable:  # damaged by those who made the fixture
            continue
        assert decode_table(bytes(parts)).values() == parts.values()
        num_equal += bytes(parts) == data
    assert num_equal > 0.8 * len(seeds)


@pytest.mark.parametrize(
    ("target_name", "schema"),
    [("object_graph", "TrackableObjectGraph"), ("meta_graph", "MetaGraphDef")],
)
def test_messages_are_put_together_as_they_were(target_name: str, schema: str) -> None:
    num_decoded = 0
    for data in seeds_of(target_name):
        try:
            message = decode(data, schema)
        except Undecodable:
            continue
        assert bytes(message) == data
        num_decoded += 1
    assert num_decoded > 15


@pytest.mark.parametrize("parts", [[b"a"], [b"", b"bc", b"\xff" * 300], [b""]], ids=len)
def test_containers_give_what_was_put_in(parts: list[bytes]) -> None:
    assert split(join(parts)) == parts
    assert split(join(parts)[:-1])[0] == parts[0][: len(join(parts)) - 2]


def test_anything_is_a_container() -> None:
    rng = Random(2)
    for nbytes in range(200):
        assert 1 <= len(split(rng.randbytes(nbytes))) <= 16


# The fuzzer's own judgement


def test_a_difference_is_a_finding() -> None:
    same = outcome(lambda: [1])
    require_same(same, outcome(lambda: [1]))
    with pytest.raises(Finding, match=r"here, \[1\], \[2\]"):
        require_same(same, outcome(lambda: [2]), "here")


def test_other_errors_go_through() -> None:
    with pytest.raises(ZeroDivisionError):
        outcome(lambda: 1 // 0)
    with pytest.raises(Finding, match="an error of no place"):
        outcome(lambda: raise_(CorruptCheckpointError("x")))
    assert outcome(lambda: raise_(CorruptCheckpointError("x", file="f"))).error is not None


def raise_(error: Exception) -> None:
    raise error


def test_a_corpus_has_the_same_bytes_whenever_it_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "FOLDER", tmp_path)
    first = save_corpus("table", [b"a", b"b", b"a"]).read_bytes()
    assert save_corpus("table", [b"b", b"a"]).read_bytes() == first
    assert sorted(load_corpus("table")) == [b"a", b"b"]
