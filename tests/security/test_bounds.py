"""Bounds on work and memory, for the worst known inputs of a megabyte.

Each input has right checksums and is just under 1 MB.  A child process (`support.bounded`) does
everything with it.  Its address space may grow by 100 MB; its steps of Python code and the memory
that it touches are limited to what is linear in the input.  `python -m benchmarks` measures times.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from random import Random

import pytest

import ckptparse
from support.builders import (
    Extent,
    Stored,
    block,
    block_entry,
    block_of_bytes,
    bundle_entry,
    bytes_field,
    compressed,
    handle,
    masked_crc32c,
    slice_key,
    split,
    string_payload,
    table,
    tensor_shape,
    tensor_slice,
    varint_field,
)
from support.dense import HEADER, dense_block, one_block, write_dense, write_files
from support.hdf5 import (
    UNDEFINED,
    VARIABLE_STRING,
    HDF5Builder,
    attribute,
    chunked,
    contiguous,
    filters,
    fixed_string,
    message,
)

pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.skipif(
        sys.platform != "linux", reason="only Linux limits the address space of a process"
    ),
]

MOST_NBYTES = 1_000_000
MOST_TOUCHED_NBYTES = 3_000_000_000
"""Of fresh memory, for each action.  The worst takes a third: a hundred lookups in an index that is
12 MB when it is not compressed.  A copy of a long name for each of its slices would be 24 GB."""

HANGS = 1800
"""Seconds after which a child is taken to hang; it decides nothing else."""

ZERO = masked_crc32c(bytes(4))
SCALAR = bundle_entry(1, [], size=4, crc=ZERO)
ENDS = {"done", *ckptparse.__all__}
OBJECT_GRAPH = b"_CHECKPOINTABLE_OBJECT_GRAPH"


def run_bounded(path: Path, group: str) -> dict[str, str]:
    """Run everything of a group of `bounded.ACTIONS`, which must stay within the limits.

    Returns:
        How each action ended.
    """
    folder = path if path.is_dir() else path.parent
    assert sum(file.stat().st_size for file in folder.iterdir()) < MOST_NBYTES
    done = subprocess.run(
        [sys.executable, "-m", "support.bounded", str(path), group],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "MALLOC_MMAP_THRESHOLD_": str(1 << 16),
        },
        capture_output=True,
        text=True,
        timeout=HANGS,
    )
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout)
    ends = {name: outcome["end"] for name, outcome in outcomes.items()}
    assert {name: end for name, end in ends.items() if end not in ENDS} == {}
    touched = {name: outcome["touched_nbytes"] for name, outcome in outcomes.items()}
    assert {name: nbytes for name, nbytes in touched.items() if nbytes > MOST_TOUCHED_NBYTES} == {}
    return ends


# Inputs


def numbered(count: int) -> Iterator[bytes]:
    """The shortest keys for this many tensors."""
    return (i.to_bytes(3, "big") for i in range(1 << 16, (1 << 16) + count))


def sharing_block(key: bytes, value: bytes, count: int) -> bytes:
    """A key, and others that share all of it and add three bytes."""
    entries = [block_entry(*HEADER), block_entry(key, value)]
    entries += [block_entry(suffix, value, len(key)) for suffix in numbered(count)]
    return b"".join(entries)


def unit_slices(count: int) -> bytes:
    """The field `slices` of a tensor in one dimension, an element each."""
    return b"".join(bytes_field(7, tensor_slice([(i, 1)])) for i in range(count))


# V2


def small_scalars(folder: Path) -> Path:
    """As many tensors as fit, at 15 bytes each."""
    crc = [masked_crc32c(bytes([i])) for i in range(256)]
    data = bytes(range(256)) * 200
    values = (bundle_entry(4, [], offset=i, size=1, crc=crc[i % 256]) for i in range(40_000))
    return write_dense(folder, zip(numbered(40_000), values), data)


def no_restarts(folder: Path) -> Path:
    """A search has to go through all entries."""
    entries = [HEADER, *((key, SCALAR) for key in numbered(50_000))]
    return write_files(folder, one_block(dense_block(entries)))


def one_wide_row(folder: Path) -> Path:
    """A name of 300,000 bytes, each of which is printed as four letters."""
    entries = [*((key, SCALAR) for key in numbered(30_000)), (b"\xf0" * 300_000, SCALAR)]
    return write_dense(folder, entries)


def slices_of_a_long_name(folder: Path) -> Path:
    """The keys of its slices would be 24 GB."""
    value = bundle_entry(1, [50_000]) + unit_slices(50_000)
    return write_dense(folder, [(b"w" * 480_000, value)])


def slices_of_shared_long_names(folder: Path) -> Path:
    value = bundle_entry(1, [800]) + unit_slices(800)
    return write_files(folder, one_block(block_of_bytes(sharing_block(b"n" * 100_000, value, 80))))


def equal_slices(folder: Path) -> Path:
    return write_dense(folder, [(b"w", bundle_entry(1, []) + bytes_field(7, b"") * 200_000)])


def grid_of_slices(folder: Path) -> Path:
    """Rows that are each cut at another column: the grid has a cell for each element."""
    extents = []
    for row in range(1000):
        cut = row + 1
        extents += [[(row, 1), (0, cut)], [(row, 1), (cut, 2000 - cut)]]
    entries = [(b"w", bundle_entry(4, [1000, 2000], slices=extents))]
    for extent in extents:
        _, (_, size) = extent
        crc = masked_crc32c(bytes(size))
        entries.append((slice_key(b"w", extent), bundle_entry(4, [1, size], size=size, crc=crc)))
    return write_dense(folder, sorted(entries), bytes(800_000))


def shared_strings(folder: Path) -> Path:
    """A thousand tensors, all of the same half a million strings."""
    payload, crc = string_payload([b""] * 400_000)
    value = bundle_entry(7, [400_000], size=len(payload), crc=crc)
    path = write_dense(folder, ((key, value) for key in numbered(30)), payload)
    many = one_block(dense_block([HEADER, *((key, value) for key in numbered(10_000))], 16))
    path.with_name("m.index").write_bytes(many)
    return path


def wrong_entries(folder: Path) -> Path:
    """100,000 damaged entries to report."""
    return write_dense(folder, ((key, b"\xff") for key in numbered(100_000)))


def swollen_keys_in_many_blocks(folder: Path) -> Path:
    """Many small blocks, each with a key of 1,500 bytes and 400 keys that share it."""
    blocks = [Stored(block_of_bytes(block_entry(*HEADER)))]
    separators = {0: b"\0"}
    for i in range(1, 230):
        key = bytes([1, i]) + b"k" * 1500
        out = block_entry(key, b"")
        out += b"".join(block_entry(s, b"", len(key)) for s in numbered(390))
        blocks.append(Stored(block_of_bytes(out)))
        separators[i] = bytes([1, i, 255])
    return write_files(folder, table(*blocks, separators=separators))


def compressed_entries(folder: Path) -> Path:
    """Four million entries: 22 times the size of the compressed block."""
    unit = b"".join(block_entry(bytes([i]), b"", 3) for i in range(256))
    entries = [block_entry(*HEADER)]
    for i in range(1 << 16, (1 << 16) + 15_000):
        key = i.to_bytes(3, "big") + b"\0"
        last = (i - 1).to_bytes(3, "big") if i > 1 << 16 else b""
        shared = next((j for j, (a, b) in enumerate(zip(last, key)) if a != b), len(last))
        entries += [block_entry(key[shared:], b"", shared), unit[4:]]
    index = one_block(block_of_bytes(b"".join(entries)), compressed)
    return write_files(folder, index)


def compressed_empty_tensors(folder: Path) -> Path:
    """Sound tensors, nearly as many as a block may have; a long name enlarges the block."""
    value = bundle_entry(1, [0], crc=masked_crc32c())
    entries = [HEADER, *((key, value) for key in numbered(150_000))]
    entries.append((b"\xfe" + Random(4).randbytes(780_000), value))
    return write_files(folder, one_block(dense_block(entries, 16), compressed))


def names_of_slashes(folder: Path) -> Path:
    """850,000 scopes, if each slash made one."""
    return write_dense(folder, ((key + b"/" * 99, SCALAR) for key in numbered(8_500)))


def compressed_names_of_slashes(folder: Path) -> Path:
    """Ten million, in the same way."""
    value = bundle_entry(1, [0], crc=masked_crc32c())
    entries = [HEADER, *((key + b"/" * 99, value) for key in numbered(100_000))]
    return write_files(folder, one_block(dense_block(entries, 16), compressed))


def missing_slices(folder: Path) -> Path:
    """As many slices as allowed, none of which has an entry."""
    value = bundle_entry(1, [70_000]) + unit_slices(70_000)
    return write_dense(folder, [(b"w", value), (b"x" * 200_000, SCALAR)])


def slices_in_a_damaged_block(folder: Path) -> Path:
    """Their block has no restarts and a damaged last entry."""
    extents: list[list[Extent]] = [[(i, 1)] for i in range(25_000)]
    piece = bundle_entry(1, [1], size=4, crc=ZERO)
    slices = [HEADER, *((key, piece) for key in sorted(slice_key(b"w", e) for e in extents))]
    first = Stored(block_of_bytes(block(slices, 1 << 30)[:-8] + b"\0\1\5a"))
    owner = [(b"w", bundle_entry(1, [len(extents)], slices=extents))]
    index = table(first, owner, separators={0: b"a", 1: b"w"})
    return write_files(folder, index, bytes(4 * len(extents)))


def slices_that_rotate(folder: Path) -> Path:
    """Each slice is in another block without restarts than the one before it."""
    num_blocks, per_block = 20, 1_000
    rows = range(num_blocks * per_block)
    extents: list[list[Extent]] = [
        [(row, 1)] for i in range(per_block) for row in rows[i::per_block]
    ]
    piece = bundle_entry(1, [1], size=4, crc=ZERO)
    slices = [(key, piece) for key in sorted(slice_key(b"w", e) for e in extents)]
    owner = [(b"w", bundle_entry(1, [len(extents)], slices=extents))]
    index = table([HEADER], *split(slices, per_block), owner, restart_interval=1 << 30)
    return write_files(folder, index, bytes(4 * len(extents)))


def compressed_slices(folder: Path) -> Path:
    value = bundle_entry(1, [5]) + bytes_field(7, tensor_slice([None])) * 3_000_000
    return write_files(folder, one_block(dense_block([HEADER, (b"w", value)]), compressed))


def compressed_name(folder: Path) -> Path:
    entries = [HEADER, (b"\xf0" * 19_000_000, SCALAR)]
    return write_files(folder, one_block(dense_block(entries), compressed))


V2_CASES = [
    (compressed_name, "CorruptCheckpointError"),
    (small_scalars, "done"),
    (no_restarts, "done"),
    (one_wide_row, "done"),
    (slices_of_a_long_name, "CorruptCheckpointError"),
    (slices_of_shared_long_names, "CorruptCheckpointError"),
    (equal_slices, "CorruptCheckpointError"),
    (grid_of_slices, "done"),
    (shared_strings, "done"),
    (wrong_entries, "CorruptCheckpointError"),
    (swollen_keys_in_many_blocks, "CorruptCheckpointError"),
    (compressed_entries, "CorruptCheckpointError"),
    (compressed_empty_tensors, "done"),
    (compressed_slices, "CorruptCheckpointError"),
    (names_of_slashes, "done"),
    (compressed_names_of_slashes, "done"),
    (missing_slices, "done"),
    (slices_in_a_damaged_block, "CorruptCheckpointError"),
    (slices_that_rotate, "done"),
]


@pytest.mark.parametrize(
    ("write", "listing"), V2_CASES, ids=[write.__name__ for write, _ in V2_CASES]
)
def test_a_bundle_takes_little_work_and_memory(
    write: Callable[[Path], Path], listing: str, tmp_path: Path
) -> None:
    assert run_bounded(write(tmp_path), "tensors")["infos"] == listing


# V1


def contents_of(*tensors: bytes) -> bytes:
    """SavedTensorSlices with a table of contents."""
    return bytes_field(1, b"".join(bytes_field(1, t) for t in tensors) + bytes.fromhex("12020801"))


def described(name: bytes, dims: list[int], dtype: int, slices: bytes) -> bytes:
    shape = bytes_field(2, tensor_shape(dims))
    return bytes_field(1, name) + shape + varint_field(3, dtype) + slices


WHOLE = bytes_field(4, tensor_slice([None]))


def write_v1(folder: Path, contents: bytes, record: bytes | None = None) -> Path:
    entries = [(b"", contents)]
    if record is not None:
        entries.append((slice_key(b"w", [None]), bytes_field(2, bytes_field(3, record))))
    (folder / "m").write_bytes(one_block(dense_block(entries)))
    return folder / "m"


def equal_v1_slices(folder: Path) -> Path:
    return write_v1(folder, contents_of(described(b"w", [5], 1, WHOLE * 200_000)))


def v1_slices_of_a_long_name(folder: Path) -> Path:
    slices = b"".join(bytes_field(4, tensor_slice([(i, 1)])) for i in range(45_000))
    return write_v1(folder, contents_of(described(b"w" * 450_000, [45_000], 1, slices)))


def integers_one_by_one(folder: Path) -> Path:
    contents = contents_of(described(b"w", [480_000], 3, WHOLE))
    return write_v1(folder, contents, varint_field(7, 1) * 480_000)


def v1_strings_of_nothing(folder: Path) -> Path:
    contents = contents_of(described(b"w", [480_000], 7, WHOLE))
    return write_v1(folder, contents, bytes_field(8, b"") * 480_000)


def many_v1_tensors(folder: Path) -> Path:
    names = list(numbered(20_000))
    contents = contents_of(*(described(name, [1], 1, WHOLE) for name in names))
    record = bytes_field(2, bytes_field(3, bytes_field(5, bytes(4))))
    entries = [(b"", contents), *((slice_key(name, [None]), record) for name in names)]
    (folder / "m").write_bytes(one_block(dense_block(entries, 16)))
    return folder / "m"


def v1_tensors_without_records(folder: Path) -> Path:
    contents = contents_of(*(described(name, [1], 1, WHOLE) for name in numbered(50_000)))
    return write_v1(folder, contents)


def compressed_v1_slices(folder: Path) -> Path:
    contents = contents_of(described(b"w", [5], 1, WHOLE * 4_000_000))
    (folder / "m").write_bytes(one_block(dense_block([(b"", contents)]), compressed))
    return folder / "m"


def compressed_v1_tensors(folder: Path) -> Path:
    tensor = described(b"w", [5], 1, WHOLE)
    contents = contents_of(*[tensor] * 1_000_000)
    (folder / "m").write_bytes(one_block(dense_block([(b"", contents)]), compressed))
    return folder / "m"


def equal_v1_slices_of_nothing(folder: Path) -> Path:
    """The record has many fields and could be parsed again for each slice."""
    contents = contents_of(described(b"w", [0], 1, WHOLE * 50_000))
    return write_v1(folder, contents, varint_field(1, 1) * 150_000)


def equal_v1_slices_of_a_compressed_name(folder: Path) -> Path:
    name = b"n" * 9_000_000
    contents = contents_of(described(name, [0], 1, WHOLE * 100_000))
    record = bytes_field(2, bytes_field(3, b""))
    key = b"\0" + name + bytes.fromhex("0001 01 80 7f")
    blocks = [compressed(dense_block(entries)) for entries in ([(b"", contents)], [(key, record)])]
    (folder / "m").write_bytes(table(*blocks, separators={0: b"", 1: b"\1"}))
    return folder / "m"


def compressed_v1_name(folder: Path) -> Path:
    contents = contents_of(described(b"n" * 19_000_000, [0], 1, WHOLE))
    (folder / "m").write_bytes(one_block(dense_block([(b"", contents)]), compressed))
    return folder / "m"


V1_CASES = [
    (compressed_v1_name, "CorruptCheckpointError"),
    (equal_v1_slices_of_nothing, "done"),
    (equal_v1_slices_of_a_compressed_name, "CorruptCheckpointError"),
    (many_v1_tensors, "done"),
    (v1_tensors_without_records, "done"),
    (compressed_v1_slices, "CorruptCheckpointError"),
    (compressed_v1_tensors, "CorruptCheckpointError"),
    (equal_v1_slices, "CorruptCheckpointError"),
    (v1_slices_of_a_long_name, "CorruptCheckpointError"),
    (integers_one_by_one, "done"),
    (v1_strings_of_nothing, "done"),
]


@pytest.mark.parametrize(
    ("write", "listing"), V1_CASES, ids=[write.__name__ for write, _ in V1_CASES]
)
def test_a_v1_file_takes_little_work_and_memory(
    write: Callable[[Path], Path], listing: str, tmp_path: Path
) -> None:
    assert run_bounded(write(tmp_path), "tensors")["infos"] == listing


# Object graphs


def child(node_id: int, name: bytes) -> bytes:
    return bytes_field(1, varint_field(1, node_id) + bytes_field(2, name))


def value(key: bytes) -> bytes:
    return bytes_field(2, bytes_field(1, b"VARIABLE_VALUE") + bytes_field(3, key))


def slot(original: int, name: bytes, variable: int) -> bytes:
    number = varint_field(1, original) + bytes_field(2, name) + varint_field(3, variable)
    return bytes_field(3, number)


def node(*parts: bytes) -> bytes:
    return bytes_field(1, b"".join(parts))


def names(count: int) -> list[bytes]:
    return [b"%x" % i for i in range(count)]


GRAPHS: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty nodes": (lambda: node() * 490_000, "done"),
    "chain": (
        lambda: b"".join(node(child(i + 1, b"a")) for i in range(88_000)) + node(value(b"k")),
        "done",
    ),
    "chain of variables": (
        lambda: b"".join(node(child(i + 1, b"a"), value(b"k")) for i in range(28_000)) + node(),
        "CorruptCheckpointError",
    ),
    "fan": (
        lambda: (
            node(*(child(i + 1, name) for i, name in enumerate(names(26_000))))
            + node(value(b"k")) * 26_000
        ),
        "done",
    ),
    "one child of many names": (
        lambda: node(*(child(1, name) for name in names(90_000))) + node(value(b"k")),
        "done",
    ),
    "variables below a long name": (
        lambda: (
            node(child(1, b"." * 400_000))
            + node(*(child(i + 2, name) for i, name in enumerate(names(16_000))))
            + node(value(b"k")) * 16_000
        ),
        "CorruptCheckpointError",
    ),
    "slots of one variable": (
        lambda: (
            node(child(1, b"v" * 20_000), child(2, b"o" * 20_000))
            + node(value(b"k"))
            + node(*(slot(1, name, 3) for name in names(45_000)))
            + node(value(b"s"))
        ),
        "CorruptCheckpointError",
    ),
    "attributes": (lambda: node(bytes_field(2, b"") * 450_000), "done"),
}


@pytest.mark.parametrize(("graph", "listing"), GRAPHS.values(), ids=GRAPHS)
def test_an_object_graph_takes_little_work_and_memory(
    graph: Callable[[], bytes], listing: str, tmp_path: Path
) -> None:
    payload, crc = string_payload([graph()])
    entry = bundle_entry(7, [], size=len(payload), crc=crc)
    path = write_dense(tmp_path, [(OBJECT_GRAPH, entry)], payload)
    assert run_bounded(path, "objects")["list"] == listing


# Meta graphs


def saved_object(*parts: bytes) -> bytes:
    return bytes_field(1, b"".join(parts))


META_GRAPHS: dict[str, tuple[Callable[[], bytes], str]] = {
    "nodes": (lambda: bytes_field(2, node() * 400_000), "done"),
    "collections": (
        lambda: b"".join(bytes_field(4, bytes_field(1, name)) for name in names(100_000)),
        "done",
    ),
    "signatures": (
        lambda: b"".join(bytes_field(5, bytes_field(1, name)) for name in names(100_000)),
        "done",
    ),
    "variables of objects": (
        lambda: bytes_field(
            7,
            saved_object(*(child(i + 1, name) for i, name in enumerate(names(55_000))))
            + saved_object(bytes_field(7, b"")) * 55_000,
        ),
        "done",
    ),
    "slots of a long name": (
        lambda: bytes_field(
            7,
            saved_object(child(1, b"v"), child(2, b"o"))
            + saved_object(bytes_field(7, bytes_field(6, b"n" * 500_000)))
            + saved_object(*(slot(1, b"m", 3 + i) for i in range(20_000)))
            + saved_object(bytes_field(7, b"")) * 20_000,
        ),
        "CorruptCheckpointError",
    ),
}


@pytest.mark.parametrize(("graph", "end"), META_GRAPHS.values(), ids=META_GRAPHS)
def test_a_graph_takes_little_work_and_memory(
    graph: Callable[[], bytes], end: str, tmp_path: Path
) -> None:
    path = tmp_path / "m.meta"
    path.write_bytes(graph())
    assert run_bounded(path, "graph")["read"] == end


# The densest that is parsed: four letters for a token.
TEXT_GRAPHS = {
    "fields": "a:1         " * 82_000,
    "fields in lines": "a:1        \n" * 82_000,
    "a list": "a:[" + "1,      " * 123_000 + "1]",
    "strings": "a:" + "''   " * 195_000,
    "escapes": 'a:"' + "\\a" * 490_000 + '"',
    "comments": "#  \n" * 245_000,
    "messages": "meta_graphs {  }\n" * 58_000,
    "nodes": "meta_graphs{graph_def{" + "node   {  }\n" * 82_000 + "}}",
}


@pytest.mark.parametrize("text", TEXT_GRAPHS.values(), ids=TEXT_GRAPHS)
def test_a_graph_as_text_takes_little_work_and_memory(text: str, tmp_path: Path) -> None:
    path = tmp_path / "saved_model.pbtxt"
    path.write_text(text)
    assert run_bounded(path, "graph as text")["read"] in ("done", "CheckpointNotFoundError")


# State files

LATEST = b'model_checkpoint_path: "m"\n'
KEPT = b'all_model_checkpoint_paths: ""\n'
STATES = {
    "plain": (LATEST + KEPT * 30_000, "done"),
    "on one line": ((LATEST + KEPT * 30_000).replace(b"\n", b" "), "CorruptCheckpointError"),
    "blanks": (LATEST + b" " * 950_000, "CorruptCheckpointError"),
    "escapes": (b'model_checkpoint_path: "' + rb"\303" * 230_000 + b'"', "CorruptCheckpointError"),
    "a list": (b"all_model_checkpoint_timestamps: [" + b"1," * 450_000, "CorruptCheckpointError"),
    "escapes, as much as is allowed": (
        b'model_checkpoint_path: "' + rb"\303" * 65_000 + b'"',
        "CorruptCheckpointError",
    ),
}


@pytest.mark.parametrize(("text", "end"), STATES.values(), ids=STATES)
def test_a_state_file_takes_little_work_and_memory(text: bytes, end: str, tmp_path: Path) -> None:
    write_dense(tmp_path, [(b"x", SCALAR)])
    (tmp_path / "checkpoint").write_bytes(text)
    assert run_bounded(tmp_path, "state") == {"open": end}


def test_handles_to_nothing_take_little_memory(tmp_path: Path) -> None:
    """An index block of 100,000 empty blocks in one place."""
    first = Stored(block_of_bytes(block_entry(*HEADER)))
    places = [(b"\0", handle(0, len(first.contents)))]
    places += [(key, handle(0, 0)) for key in numbered(100_000)]
    index = table(first, separators={0: b"\0"}, index=Stored(dense_block(places)))
    assert set(run_bounded(write_files(tmp_path, index), "tensors").values()) == {
        "CorruptCheckpointError"
    }


# safetensors and .npz files


def safetensors(header: str, payload: bytes = b"") -> bytes:
    text = header.encode()
    return len(text).to_bytes(8, "little") + text + payload


def ignored(value: str) -> str:
    """The header of a tensor with a field that the library ignores."""
    return f'{{"a":{{"dtype":"U8","shape":[],"data_offsets":[0,1],"x":{value}}}}}'


def repeated(value: str, nbytes: int = 990_000) -> str:
    return "[" + ",".join([value] * (nbytes // (len(value) + 1))) + "]"


ENTRY = '"{}":{{"dtype":"U8","shape":[{}],"data_offsets":[{},{}]}}'
SAFETENSORS = {
    "scalars": lambda: safetensors(
        "{" + ",".join(ENTRY.format(f"{i:x}", "", i, i + 1) for i in range(16_000)) + "}",
        bytes(16_000),
    ),
    "empty tensors": lambda: safetensors(
        "{" + ",".join(ENTRY.format(f"{i:x}", 0, 0, 0) for i in range(17_000)) + "}"
    ),
    "a long name": lambda: safetensors("{" + ENTRY.format("\x7f" * 990_000, "", 0, 1) + "}", b"x"),
    "escapes": lambda: safetensors("{" + ENTRY.format(r"\u0000" * 160_000, "", 0, 1) + "}", b"x"),
    "many dimensions": lambda: safetensors(
        "{" + ENTRY.format("x", "1," * 490_000 + "1", 0, 1) + "}", b"x"
    ),
    "large dimensions": lambda: safetensors(
        "{" + ENTRY.format("x", f"{2**64 - 1}," * 46_000 + "1", 0, 1) + "}", b"x"
    ),
    "dimensions of 1, and one of 0": lambda: safetensors(
        "{" + ENTRY.format("x", "0," + "9" * 19 + ",1" * 480_000, 0, 0) + "}"
    ),
    "long integers": lambda: safetensors(ignored(repeated("9" * 4_000)), b"x"),
    "one long integer": lambda: safetensors(ignored("9" * 990_000), b"x"),
    "fractions": lambda: safetensors(ignored(repeated("1.5")), b"x"),
    "empty arrays": lambda: safetensors(ignored(repeated("[]")), b"x"),
    "nested arrays": lambda: safetensors(ignored(repeated("[[]]")), b"x"),
    "arrays of one": lambda: safetensors(ignored(repeated("[[1]]")), b"x"),
    "objects": lambda: safetensors(ignored(repeated('{"a":1}')), b"x"),
    "objects of objects": lambda: safetensors(ignored(repeated('{"a":{"b":{}}}')), b"x"),
    "deep arrays": lambda: safetensors(ignored("[" * 990_000), b"x"),
    "metadata": lambda: safetensors(
        '{"__metadata__":{' + ",".join(f'"{i:x}":""' for i in range(80_000)) + "}}"
    ),
}


@pytest.mark.parametrize("make", SAFETENSORS.values(), ids=SAFETENSORS)
def test_a_safetensors_file_takes_little_work_and_memory(
    make: Callable[[], bytes], tmp_path: Path
) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(make())
    run_bounded(path, "tensors")


def npy(descr: str, shape: str = "()", nbytes: int = 1, spaces: int = 0) -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}" + " " * spaces + "\n"
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text.encode() + bytes(nbytes)


def npz(members: Iterator[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """As many members as fit into half a megabyte; a whole one takes half a minute to count."""
    stream = io.BytesIO()
    directory_nbytes = 0
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, contents in members:
            if stream.tell() + directory_nbytes > 480_000:
                break
            archive.writestr(zipfile.ZipInfo(name), contents, method, 9)
            directory_nbytes += 46 + len(name)
    return stream.getvalue()


def record(i: int) -> str:
    """The longest description of a dtype; it is another one for each number."""
    return "[" + f"('x{i}','u1')," + ",".join(f"('{k:x}','i1')" for k in range(640)) + "]"


NPZ: dict[str, Callable[[], bytes]] = {
    "scalars": lambda: npz(((f"{i:x}.npy", npy("'|u1'")) for i in count()), zipfile.ZIP_STORED),
    "different headers": lambda: npz(
        (f"{i:x}.npy", npy("'|u1'", f"({i},)", i)) for i in range(100_000)
    ),
    "long headers": lambda: npz(
        (f"{i:x}.npy", npy(f"'|S{i + 1}'", "()", i + 1, 9_900)) for i in count()
    ),
    "records": lambda: npz((f"{i:x}.npy", npy(record(i), "()", 641)) for i in count()),
    "objects": lambda: npz((f"{i:x}.npy", npy("'|O'")) for i in count()),
    "no arrays": lambda: npz((f"{i:x}.npy", b"") for i in count()),
    "members that are no arrays": lambda: npz((f"{i:x}", b"") for i in count()),
    "long names": lambda: npz((f"{i:x}" + "n" * 60_000 + ".npy", npy("'|u1'")) for i in count()),
    "deep tuples": lambda: npz((f"{i:x}.npy", npy("(" * 9_000)) for i in count()),
    "commas": lambda: npz((f"{i:x}.npy", npy("'|u1'", "(" + "1," * 4_900 + ")")) for i in count()),
    "zeros": lambda: npz((f"{i:x}.npy", npy("'|u1'", "(8000000,)", 8_000_000)) for i in range(12)),
}


@pytest.mark.parametrize("make", NPZ.values(), ids=NPZ)
def test_an_npz_takes_little_work_and_memory(make: Callable[[], bytes], tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    path.write_bytes(make())
    run_bounded(path, "tensors")


# HDF5 files of Keras


def members(count: int, make: Callable[[], int]) -> list[tuple[bytes, int]]:
    """Members of a group, each with an object of its own."""
    return [(b"%04x" % i, make()) for i in range(count)]


def hdf5_datasets(file: HDF5Builder) -> int:
    return file.group(members(5_200, lambda: file.dataset(b"\1")))


def hdf5_groups(file: HDF5Builder) -> int:
    return file.group(members(4_600, lambda: file.group([])))


def hdf5_messages(file: HDF5Builder) -> int:
    """The shortest messages."""
    return file.group(members(2, lambda: file.header(*[message(0x77, b"")] * 58_000)))


def hdf5_attributes(file: HDF5Builder) -> int:
    short = message(0x0C, attribute(b"n", fixed_string(1), [0], b""))
    return file.group([], *[short] * 13_000)


def hdf5_overlapping_headers(file: HDF5Builder) -> int:
    head = (b"\1\0\xff\xff" + bytes(4) + (400_000).to_bytes(4, "little")).ljust(16, b"\0")
    start = file.put(head * 40_000)
    return file.group([(b"%x" % i, start + 16 * i) for i in range(4_000)])


def hdf5_long_name(file: HDF5Builder) -> int:
    """A long name is part of the paths of all datasets below it."""
    inner = file.group(members(2_500, lambda: file.dataset(b"\1")))
    return file.group([(b"n" * 60_000, inner)])


def hdf5_lists_of_names(file: HDF5Builder) -> int:
    """Each of 13 groups lists 15,000 names, and the root lists 15,000 groups."""
    names = b"".join(b"%04x" % i for i in range(15_000))

    def listed(name: bytes) -> bytes:
        return message(0x0C, attribute(name, fixed_string(4), [15_000], names))

    def layer() -> int:
        return file.group(members(1, lambda: file.dataset(b"\1")), listed(b"weight_names"))

    return file.group(members(13, layer), listed(b"layer_names"))


def hdf5_repeated_string(file: HDF5Builder) -> int:
    """4,000 strings that are one object of a heap."""
    head = (1).to_bytes(8, "little") + (800_000).to_bytes(8, "little")
    size = (800_032).to_bytes(8, "little")
    heap = file.put(b"GCOL\1\0\0\0" + size + head + bytes(800_000))
    string = (800_000).to_bytes(4, "little") + heap.to_bytes(8, "little") + b"\1\0\0\0"
    names = attribute(b"layer_names", VARIABLE_STRING, [4_000], string * 4_000)
    return file.group([], message(0x0C, names))


def hdf5_chunks(file: HDF5Builder) -> int:
    """The smallest chunks."""
    first = file.put(bytes(24_000))
    root = file.chunks([([i], b"\0", first + i) for i in range(24_000)], 1)
    return file.group(members(1, lambda: file.dataset(shape=[24_000], layout=chunked(root, [1]))))


def hdf5_zeros(file: HDF5Builder) -> int:
    """50 MB of zeros, compressed."""
    stored = zlib.compress(bytes(1 << 20), 9)
    root = file.chunks([([i << 20], stored, None) for i in range(50)], 1)
    more = [message(0x0B, filters(1))]
    layout = chunked(root, [1 << 20])
    return file.group(members(1, lambda: file.dataset(shape=[50 << 20], layout=layout, more=more)))


def hdf5_dimensions(file: HDF5Builder) -> int:
    shape = [2**64 - 1] * 32
    return file.group(
        members(1_700, lambda: file.dataset(shape=shape, layout=contiguous(UNDEFINED, 0)))
    )


HDF5 = (
    *(hdf5_datasets, hdf5_groups, hdf5_messages, hdf5_attributes, hdf5_overlapping_headers),
    *(hdf5_long_name, hdf5_lists_of_names, hdf5_repeated_string, hdf5_chunks, hdf5_zeros),
    hdf5_dimensions,
)


@pytest.mark.parametrize("make", HDF5, ids=lambda make: make.__name__)
def test_an_hdf5_file_takes_little_work_and_memory(
    make: Callable[[HDF5Builder], int], tmp_path: Path
) -> None:
    file = HDF5Builder()
    path = tmp_path / "m.h5"
    path.write_bytes(file.file(make(file)))
    run_bounded(path, "tensors")
