"""Flip every byte of a checkpoint, one at a time, and observe the effect.

    PYTHONPATH=tests python -m support.flips [PREFIX ...]

prints counts: of these checkpoints, or of the cases of the tests.

A flip may be without effect only where no value depends on the byte:

    metaindex block     of a table; empty, and never read
    metaindex handle    in the footer; unless the flip changes how many bytes it takes
    index handle        its last bit, if zeros follow: the same number in one byte more
    footer padding      after the index handle
    outside tensors     of a data file: gaps, and bytes after the last tensor
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ckptparse import Checkpoint, CheckpointError, UnsupportedError, open_checkpoint
from support.builders import FOOTER_NBYTES, TRAILER_NBYTES, write_bundle
from support.damage import copy_case, flip_bit
from support.oracle import payload_of

AT_OPENING, AT_LISTING, AT_READING = "opening", "listing", "reading"
AT_VERIFYING, NONE = "verifying", "no effect"
EFFECTS = (AT_OPENING, AT_LISTING, AT_READING, AT_VERIFYING, NONE)

METAINDEX_BLOCK, METAINDEX_HANDLE = "metaindex block", "metaindex handle"
INDEX_HANDLE_END, FOOTER_PADDING = "end of the index handle", "footer padding"
OUTSIDE_TENSORS = "outside tensors"

MAGIC_NBYTES = 8
CONTINUES = 0x80
"""The bit of a varint's byte that says whether another one follows."""

SHORT = {
    "a scalar": "tf-2.21.0/single_scalar",
    "bool, bfloat16, complex": "tf-2.21.0/misaligned",
    "empty tensors": "tf-2.21.0/zero_elements_only",
    "padding between tensors": "tf-2.21.0/padded",
    "three shards, by 0.12": "tf-0.12.1/sharded_saver",
    "partitions, by 1.15": "tf-1.15.5/init_from_checkpoint",
    "objects, partitions": "tf-2.21.0/sharded_variable",
    "objects, Keras": "tf-2.21.0/keras_subclassed",
    "V1, floats and integers, by 0.12": "tf-0.12.1/v1_and_v2",
    "V1, shards and partitions": "tf-1.15.5/v1_sharded",
}
"""Flipped in several ways each."""

IN_BLOCKS = "an index of several blocks, built"

LONG = {
    "strings, partitions, 12 shards": "tf-2.21.0/max_shard_size",
    "compressed index": "tf-2.21.0/snappy_index",
    "variants": "tf-2.21.0/variants",
    "V1, compressed": "tf-2.21.0/v1_snappy",
    "V1, strings": "tf-2.21.0/v1_strings",
    "V1, all dtypes, partitions": "tf-2.21.0/v1_slices_dtypes",
}
"""Flipped in one way, which differs from byte to byte."""

CASES = {**SHORT, IN_BLOCKS: IN_BLOCKS, **LONG}


def one_bit(offset: int) -> int:
    """A mask of one bit, another one for each of eight bytes in a row."""
    return 1 << offset % 8


MASKS: dict[str, Callable[[int], int]] = {
    "one bit": one_bit,
    "the highest bit": lambda offset: 0x80,
    "all bits": lambda offset: 0xFF,
}


@dataclass(frozen=True)
class Flip:
    """One byte changed in the bits of `mask`.

    Attributes:
        effect: where an error came first, or NONE.
        part: the part of the layout that lets the byte mean nothing; None elsewhere.
    """

    file: str
    offset: int
    mask: int
    effect: str
    part: str | None

    @property
    def is_explained(self) -> bool:
        """Whether the layout explains that there is an error, or none."""
        if self.part == METAINDEX_HANDLE and self.mask & CONTINUES:
            return True  # the index handle begins elsewhere then
        if self.part == INDEX_HANDLE_END:
            return (self.effect == NONE) == (self.mask == CONTINUES)
        return (self.effect == NONE) == (self.part is not None)


def copy_for_flips(case_name: str, folder: Path) -> Path:
    """A case's files; of V1 and V2 under one prefix, which is V2, only those of V1."""
    if case_name == IN_BLOCKS:  # TensorFlow begins a second one after 256 KiB
        tensors = {name: np.arange(3, dtype="f4") for name in ("a", "b", "c")}
        return write_bundle(folder, tensors, entries_per_block=1)
    prefix = copy_case(case_name, folder)
    if case_name.endswith("v1_and_v2"):
        for path in folder.glob(f"{prefix.name}.*"):
            path.unlink()
    return prefix


def files_of(prefix: Path) -> list[Path]:
    """The files of a checkpoint in a folder of its own: V2 parts, or V1 files."""
    return sorted(
        path
        for path in prefix.parent.iterdir()
        if path.name.startswith(prefix.name) and path.suffix != ".meta"
    )


# Flips

Contents = dict[str, "bytes | str"]
"""Of each tensor its bytes, or the name of the error's class."""


def flip_every_byte(prefix: Path, mask_of: Callable[[int], int], *, mmap: bool) -> Iterator[Flip]:
    """Flip every byte of every file; each is restored before the next one is changed.

    Raises:
        AssertionError: a flip changed a value or a name without an error, or `verify` does not say
            what reading says.
    """
    with open_checkpoint(prefix, mmap=mmap) as ckpt:
        intact = read_all(ckpt)
        assert ckpt.verify().ok
    for path in files_of(prefix):
        parts = silent_parts(prefix, path)
        for offset in range(os.path.getsize(path)):
            mask = mask_of(offset)
            flip_bit(path, offset, mask)
            effect = effect_on(prefix, intact, mmap=mmap)
            flip_bit(path, offset, mask)
            part = next((name for name, offsets in parts.items() if offset in offsets), None)
            yield Flip(path.name, offset, mask, effect, part)
    assert effect_on(prefix, intact, mmap=mmap) == NONE


def read_all(ckpt: Checkpoint) -> Contents:
    """Read every tensor.  Errors of listing are raised."""
    found: Contents = {}
    for info in ckpt.infos():
        try:
            found[info.name] = payload_of(ckpt[info.name])
        except CheckpointError as error:
            found[info.name] = type(require_place(error)).__name__
    return found


def require_place(error: CheckpointError) -> CheckpointError:
    assert error.file or error.tensor
    return error


def effect_on(prefix: Path, intact: Contents, *, mmap: bool) -> str:
    """Where damage shows first.  All ways to read have to agree."""
    try:
        ckpt = open_checkpoint(prefix, mmap=mmap)
    except CheckpointError as error:
        require_place(error)
        return AT_OPENING
    with ckpt:
        try:
            found = read_all(ckpt)
        except CheckpointError as error:
            require_place(error)
            found = None
        report = ckpt.verify()  # after reading, which must not lean on it
    damaged = {damage.name for damage in report.damaged}
    assert report.ok == (not damaged)
    if found is None:
        assert damaged
        return AT_LISTING
    assert found.keys() == intact.keys(), "other names, and no error"
    changed = {name for name in intact if found[name] != intact[name]}
    assert all(isinstance(found[name], str) for name in changed), "other values, and no error"
    # What is no array cannot be read anyway; only verification looks at its bytes.
    unreadable = {name for name in intact if found[name] == UnsupportedError.__name__}
    assert changed <= damaged <= changed | unreadable
    return AT_READING if changed else AT_VERIFYING if damaged else NONE


# Layout


def silent_parts(prefix: Path, path: Path) -> dict[str, range | set[int]]:
    """The bytes of a file that no value depends on, by part."""
    contents = path.read_bytes()
    if ".data-" in path.name:
        return {OUTSIDE_TENSORS: set(range(len(contents))) - tensor_bytes(prefix, path)}
    footer = len(contents) - FOOTER_NBYTES
    offset, pos = read_varint(contents, footer)
    nbytes, handle_end = read_varint(contents, pos)
    _, pos = read_varint(contents, handle_end)
    _, index_handle_end = read_varint(contents, pos)
    return {
        METAINDEX_BLOCK: range(offset, offset + nbytes + TRAILER_NBYTES),
        METAINDEX_HANDLE: range(footer, handle_end),
        INDEX_HANDLE_END: range(index_handle_end - 1, index_handle_end),
        FOOTER_PADDING: range(index_handle_end, len(contents) - MAGIC_NBYTES),
    }


def read_varint(contents: bytes, pos: int) -> tuple[int, int]:
    """A number in base 128, and the position after it."""
    value = shift = 0
    while True:
        byte = contents[pos]
        value |= (byte & 0x7F) << shift
        pos, shift = pos + 1, shift + 7
        if byte < CONTINUES:
            return value, pos


def tensor_bytes(prefix: Path, path: Path) -> set[int]:
    """Offsets in a data file that belong to a tensor or a slice."""
    with open_checkpoint(prefix) as ckpt:
        stored = [piece for info in ckpt.infos() for piece in info.slices or [info]]
    return {
        offset
        for piece in stored
        if piece.file == str(path)
        for offset in range(piece.offset, piece.offset + piece.nbytes)
    }


# Counts


def count(flips: Iterable[Flip]) -> Counter[str]:
    """How many flips had which effect, those without any by part."""
    return Counter(
        flip.effect if flip.part is None else f"{flip.effect}, {flip.part}" for flip in flips
    )


def main(prefixes: list[str]) -> None:
    """Print counts: flips, effects, and where flips had none; mapped and read by position."""
    total: Counter[str] = Counter()
    for name in prefixes or CASES:
        for mask_name, mask_of in MASKS.items():
            counts: Counter[str] = Counter()
            for mmap in (True, False):
                with tempfile.TemporaryDirectory() as folder:
                    prefix = (copy_prefix if prefixes else copy_named)(name, Path(folder))
                    flips = list(flip_every_byte(prefix, mask_of, mmap=mmap))
                assert all(flip.is_explained for flip in flips)
                counts += count(flips)
            total += counts
            print(f"{name}, {mask_name}: {describe(counts)}", flush=True)
    print(f"all: {describe(total)}")


def copy_named(name: str, folder: Path) -> Path:
    return copy_for_flips(CASES[name], folder)


def copy_prefix(prefix: str, folder: Path) -> Path:
    """All files that begin with a path."""
    source = Path(prefix)
    for path in source.parent.iterdir():
        if path.name.startswith(source.name):
            shutil.copy(path, folder)
    return folder / source.name


def describe(counts: Counter[str]) -> str:
    effects = "; ".join(f"{effect}: {number}" for effect, number in sorted(counts.items()))
    return f"{sum(counts.values())} flips; {effects}"


if __name__ == "__main__":
    main(sys.argv[1:])
