"""Target: a V1 checkpoint, one file or several.  Its container: `records`."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from ckptparse import Checkpoint
from ckptparse.formats.saved_slices import SavedSlicesReader
from fuzz.checkpoints import use_checkpoint
from fuzz.container import join, split
from fuzz.fixtures import MOST_NBYTES, find_files
from fuzz.memory import source
from fuzz.noise import Noise
from fuzz.records import change_record_files


def run(data: bytes) -> None:
    """Use a V1 checkpoint in every way."""
    files = split(data)

    def open_(mapped: bool, verify: bool) -> Checkpoint:
        sources = [source(f"model-{i}", file, mapped=mapped) for i, file in enumerate(files)]
        return Checkpoint(SavedSlicesReader("model", sources, verify=verify))

    use_checkpoint(open_, lambda: [])


def mutate(data: bytes, rng: Random, noise: Noise) -> bytes:
    """Another V1 checkpoint."""
    return change_record_files(data, rng, noise)


def seeds() -> Iterator[bytes]:
    """Small V1 checkpoints of the fixtures."""
    for path in find_files("single_scalar/*.index"):  # the other format
        yield join([path.read_bytes()])
    for path in find_files("v1_*/model.ckpt"):
        data = join([path.read_bytes()])
        if len(data) <= MOST_NBYTES:
            yield data
    for first in find_files("model.ckpt-00000-of-0000[0-9]"):
        others = sorted(first.parent.glob(first.name.replace("00000", "?????", 1)))
        yield join(path.read_bytes() for path in others)
