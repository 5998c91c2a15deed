"""Files that TensorFlow reads badly, and the questions put to TensorFlow and to ckptparse.

Each case is a checkpoint with one thing wrong and every checksum around it right.
`tools/measure_hostile.py` lets TensorFlow read them and writes what happens as
`hostile_answers.json`; `against_tensorflow/test_hostile_answers.py` builds the same files and
asks ckptparse.

A question is a word and its arguments:

    shapes        the shapes of all tensors, by name
    get NAME      a tensor, from the one reader that answers all questions of a case
    restore NAME  a float32 tensor, by the RestoreV2 operation
    latest        the latest checkpoint of a directory
    graph         the graph in a .meta file
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from support.builders import (
    Bundle,
    Extent,
    Partitioned,
    array_payload,
    bundle_entry,
    bytes_field,
    slice_key,
    table,
    tensor_shape,
    tensor_slice,
    varint_field,
    write_bundle,
)

Question = tuple[str, ...]


@dataclass(frozen=True)
class HostileCase:
    """A way to write a bad checkpoint, and what is asked of it.

    Attributes:
        name: what the record calls it.
        damage: what is wrong, in words.
        write: makes the files in an empty folder and returns what to open.
        questions: put one after the other to one process, as long as it lives.
        num_runs: in how many processes; more than one where they differ.
    """

    name: str
    damage: str
    write: Callable[[Path], Path]
    questions: tuple[Question, ...]
    num_runs: int = 1


# Three tensors stored whole: a, b, c

A, B, C = ([0.0, 1.0, 2.0], [1.0, 2.0, 3.0], [2.0, 3.0, 4.0])

WHOLE_QUESTIONS = (("shapes",), ("get", "a"), ("get", "b"), ("get", "c"))


def whole(name: str, damage: str, entry: bytes, data: bytes = b"") -> HostileCase:
    """The entry of b is replaced; `data` comes after the tensors."""

    def edit(bundle: Bundle) -> None:
        bundle.index[b"b"] = entry
        bundle.shards[0] += data

    return HostileCase(name, damage, lambda folder: write_whole(folder, edit), WHOLE_QUESTIONS)


def write_whole(
    folder: Path, edit: Callable[[Bundle], None] | None = None, **options: object
) -> Path:
    tensors = {"a": np.array(A, "f4"), "b": np.array(B, "f4"), "c": np.array(C, "f4")}
    return write_bundle(folder, tensors, edit=edit, **options)


def entry_of_b(dtype: int, dims: Sequence[int] = (3,)) -> bytes:
    _, crc = array_payload(np.array(B, "f4"))
    return bundle_entry(dtype, dims, offset=12, size=12, crc=crc)


RESOURCE_DATA = np.full(600, 0x41, "u1")
"""Three times the 200 bytes that one resource handle has in TensorFlow's memory."""


def flip_in_second_block(folder: Path) -> Path:
    """Blocks of one entry each: the header, a, b, c.  The damaged one is that of b."""
    prefix = write_whole(folder, entries_per_block=1)
    index = Path(f"{prefix}.index")
    contents = bytearray(index.read_bytes())
    contents[contents.index(b"b", contents.index(b"a"))] ^= 0x10
    index.write_bytes(contents)
    return prefix


# Two tensors in slices, p and q, and one that is whole: z

P = [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0]]
Q = [[100.0, 101.0], [102.0, 103.0], [104.0, 105.0], [106.0, 107.0]]
HALVES: list[list[Extent]] = [[(0, 2), (0, 2)], [(2, 2), (0, 2)]]
FIRST_HALF = slice_key(b"p", HALVES[0])

SLICED_QUESTIONS = (("shapes",), ("get", "p"), ("get", "p"), ("get", "q"), ("get", "z"))


def sliced(
    name: str,
    damage: str,
    edit: Callable[[Bundle], None],
    questions: tuple[Question, ...] = SLICED_QUESTIONS,
    num_runs: int = 1,
) -> HostileCase:
    def write(folder: Path) -> Path:
        tensors = {
            "p": Partitioned(np.array(P, "f4"), HALVES),
            "q": Partitioned(np.array(Q, "f4"), HALVES),
            "z": np.array(A, "f4"),
        }
        return write_bundle(folder, tensors, edit=edit)

    return HostileCase(name, damage, write, questions, num_runs)


def first_half_as(entry_dtype: int, rows: int) -> Callable[[Bundle], None]:
    """The entry of p's first slice says another dtype or number of rows, over bytes that fit."""

    def edit(bundle: Bundle) -> None:
        payload, crc = array_payload(np.array(P[:rows], "f4").reshape(rows, 2))
        bundle.index[FIRST_HALF] = bundle_entry(entry_dtype, (rows, 2), size=len(payload), crc=crc)

    return edit


def damage_first_half(bundle: Bundle) -> None:
    bundle.shards[0][0] ^= 1


def drop_length(bundle: Bundle) -> None:
    """The second slice of p starts at row 2 and has no length."""
    headless = bytes_field(1, varint_field(1, 2)) + bytes_field(1, b"")
    bundle.index[b"p"] = bundle_entry(1, (4, 2), slices=HALVES[:1]) + bytes_field(7, headless)


def slice_the_slice(bundle: Bundle) -> None:
    bundle.index[FIRST_HALF] = bundle_entry(1, (2, 2), slices=HALVES[:1])


# V1: a tensor s, whole, and x, of which a part is stored

SECRET = [1234.5] * 1000
STORED = [1.0, 2.0]


def v1_record(values: Sequence[float]) -> bytes:
    """SavedTensorSlices { 2 data: SavedSlice { 3: TensorProto { 5 float_val, packed } } }"""
    return bytes_field(2, bytes_field(3, bytes_field(5, np.array(values, "f4").tobytes())))


def v1_listed(name: bytes, dims: Sequence[int], slices: Sequence[Sequence[Extent]]) -> bytes:
    """SavedSliceMeta: 1 name, 2 shape, 3 type, 4 slice, as item 1 of the contents."""
    fields = bytes_field(1, name) + bytes_field(2, tensor_shape(dims)) + varint_field(3, 1)
    return bytes_field(1, fields + b"".join(bytes_field(4, tensor_slice(s)) for s in slices))


def write_v1_hole(folder: Path) -> Path:
    """Of 1000 elements of x only the first two are stored, in the only slice."""
    listed = v1_listed(b"s", (1000,), [[None]]) + v1_listed(b"x", (1000,), [[(0, 2)]])
    entries = {
        b"": bytes_field(1, listed),
        slice_key(b"s", [None]): v1_record(SECRET),
        slice_key(b"x", [(0, 2)]): v1_record(STORED),
    }
    path = folder / "model.ckpt"
    path.write_bytes(table(sorted(entries.items())))
    return path


# FIFOs that nobody writes into, in place of a file

INDEX, DATA = "model.ckpt.index", "model.ckpt.data-00000-of-00001"
STATE = b'model_checkpoint_path: "model.ckpt"\n'


def fifo_as(name: str, *, opened: str = "model.ckpt") -> Callable[[Path], Path]:
    """A checkpoint with its state file, one of whose files is a FIFO."""

    def write(folder: Path) -> Path:
        write_whole(folder)
        (folder / "checkpoint").write_bytes(STATE)
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)
        return folder / opened

    return write


# State files


def write_state_of_short_paths(folder: Path) -> Path:
    """A state file of 64 MiB that is sound: a list of some 16 million paths of one letter."""
    write_whole(folder)
    begin, end = STATE + b'all_model_checkpoint_paths: ["a"', b"]\n"
    paths = b',"a"' * (((1 << 26) - len(begin) - len(end)) // 4)
    (folder / "checkpoint").write_bytes((begin + paths + end).ljust(1 << 26, b"\n"))
    return folder


def write_sparse_state(folder: Path) -> Path:
    """A state file of 1 GiB that takes no room on the disk: zeros."""
    write_whole(folder)
    with open(folder / "checkpoint", "wb") as file:
        file.write(STATE)
        file.truncate(1 << 30)
    return folder


def write_state_of_backslashes(folder: Path) -> Path:
    """128 KiB: a path of escaped backslashes only."""
    write_whole(folder)
    (folder / "checkpoint").write_bytes(b'model_checkpoint_path: "' + rb"\\" * (1 << 16) + b'"\n')
    return folder


CASES = [
    HostileCase(
        "flipped bit in the index",
        "one bit of the block that holds b is flipped; header, a and c are in other blocks",
        flip_in_second_block,
        WHOLE_QUESTIONS,
    ),
    whole("entry that does not parse", "the entry of b is ff ff", b"\xff\xff"),
    whole("negative dimension", "the shape of b is [-3]", entry_of_b(1, (-3,))),
    whole("300 dimensions", "b has 300 dimensions of 1", entry_of_b(1, (1,) * 300)),
    whole(
        "overflowing shape", "the shape of b is [2**31, 2**31, 2**31]", entry_of_b(1, [2**31] * 3)
    ),
    whole("dtype 0", "the dtype of b is 0", entry_of_b(0)),
    whole("dtype 34", "the dtype of b is 34, which TensorFlow 2.21 does not know", entry_of_b(34)),
    whole("dtype 101", "the dtype of b is 101, a reference to float32", entry_of_b(101)),
    whole(
        "resource",
        "the dtype of b is 20, and it has the size that TensorFlow asks of three resource handles",
        bundle_entry(20, (3,), offset=36, size=600, crc=array_payload(RESOURCE_DATA)[1]),
        RESOURCE_DATA.tobytes(),
    ),
    sliced("damaged slice", "a bit of p's first slice is flipped", damage_first_half),
    sliced(
        "damaged slice, then another tensor",
        "a bit of p's first slice is flipped",
        damage_first_half,
        (("get", "p"), ("get", "z")),
    ),
    sliced(
        "damaged slice, restored",
        "a bit of p's first slice is flipped",
        damage_first_half,
        (("restore", "p"), ("restore", "p"), ("restore", "z")),
    ),
    sliced(
        "slice smaller than its extents",
        "p's first slice covers 2 rows, its entry says 1 row, and 1 row is stored",
        first_half_as(1, 1),
        num_runs=2,
    ),
    sliced(
        "slice without elements",
        "p's first slice covers 2 rows, its entry says 0 rows, and none is stored",
        first_half_as(1, 0),
    ),
    sliced(
        "slice of another dtype",
        "p is float32, the entry of its first slice says int32",
        first_half_as(3, 2),
    ),
    sliced("slice that is sliced itself", "p's first slice has slices of its own", slice_the_slice),
    sliced(
        "slice with a start but no length",
        "p's second slice starts at row 2 and has no length",
        drop_length,
    ),
    HostileCase(
        "hole in V1 slices",
        "of 1000 elements of x the first two are stored, in the only slice; s is stored whole",
        write_v1_hole,
        (("shapes",), ("get", "x"), ("get", "s"), ("get", "x"), ("restore", "x")),
        num_runs=2,
    ),
    HostileCase("FIFO as index", "the .index is a FIFO", fifo_as(INDEX), (("shapes",),)),
    HostileCase(
        "FIFO as shard",
        "the data file is a FIFO",
        fifo_as(DATA),
        (("shapes",), ("get", "a")),
    ),
    HostileCase(
        "FIFO as V1 file",
        "the V1 file is a FIFO",
        fifo_as("v1.ckpt", opened="v1.ckpt"),
        (("shapes",),),
    ),
    HostileCase(
        "FIFO as state file",
        "the file checkpoint is a FIFO",
        fifo_as("checkpoint", opened=""),
        (("latest",),),
    ),
    HostileCase(
        "FIFO as graph",
        "the .meta is a FIFO",
        fifo_as("model.ckpt.meta", opened="model.ckpt.meta"),
        (("graph",),),
    ),
    HostileCase(
        "state file of 64 MB",
        "64 MiB: the path of a checkpoint, then a list of paths of one letter",
        write_state_of_short_paths,
        (("latest",),),
    ),
    HostileCase(
        "state file of 1 GB",
        "the path of a checkpoint, then zeros up to 1 GiB, sparse",
        write_sparse_state,
        (("latest",),),
    ),
    HostileCase(
        "state file of backslashes",
        "a path of 65,536 escaped backslashes: 128 KiB",
        write_state_of_backslashes,
        (("latest",),),
    ),
]
