"""Target: a V2 checkpoint, index and shards.  Its container: `bundles`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

from ckptparse import Checkpoint
from ckptparse.formats.bundle import BundleReader
from ckptparse.sources import Source
from fuzz.bundles import change_bundle, cut_bundle, decode_bundle
from fuzz.checkpoints import use_checkpoint
from fuzz.container import join, split
from fuzz.fixtures import MOST_NBYTES, find_files
from fuzz.memory import source
from fuzz.messages import Undecodable
from fuzz.noise import Noise


def run(data: bytes) -> None:
    """Use a bundle in every way."""
    index, *shards = split(data)

    def open_(mapped: bool, verify: bool) -> Checkpoint:
        def open_shard(path: str, *, kept: bool = True) -> Source:
            number = int(path.split(".data-")[1].split("-of-")[0])
            if number >= len(shards):
                raise FileNotFoundError(path)
            return source(path, shards[number], mapped=mapped)

        opened = source("model.index", index, mapped=mapped)
        return Checkpoint(BundleReader("model", opened, open_shard, verify=verify, mapped=mapped))

    def hints() -> Iterator[str]:
        try:
            keys = decode_bundle(data).table.values()
        except Undecodable:
            keys = {}
        return (key.decode("utf-8", "surrogateescape") for key in keys if key)

    use_checkpoint(open_, hints)


def mutate(data: bytes, rng: Random, noise: Noise) -> bytes:
    """Another bundle."""
    return change_bundle(data, rng, noise)


def seeds() -> Iterator[bytes]:
    """Small bundles of the fixtures, and large ones in parts."""
    for path in find_files("v1_names_not_utf8/model.ckpt"):  # the other format
        yield join([path.read_bytes()])
    for path in find_files("*.index"):
        data = read_bundle(path)
        if len(data) <= MOST_NBYTES:
            yield data
        elif len(data) <= 10 * MOST_NBYTES:
            parts = cut_bundle(decode_bundle(data), MOST_NBYTES)
            yield from (part for part in parts if len(part) <= MOST_NBYTES)


def read_bundle(index: Path) -> bytes:
    """A bundle of the disk as a container; shards that are missing count as empty."""
    found = sorted(
        path
        for path in index.parent.iterdir()
        if path.name.startswith(f"{index.name.removesuffix('.index')}.data-")
    )
    count = int(found[0].name.rpartition("-")[2]) if found else 0
    prefix = str(index).removesuffix(".index")
    paths = [Path(f"{prefix}.data-{i:05d}-of-{count:05d}") for i in range(count)]
    shards = [path.read_bytes() if path.exists() else b"" for path in paths]
    return join([index.read_bytes(), *shards])
