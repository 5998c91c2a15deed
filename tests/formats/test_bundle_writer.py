"""Entries and data files of bundles: those of TensorFlow byte for byte."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from ckptparse import CheckpointError, open_checkpoint
from ckptparse.formats.bundle.entries import (
    decode_entry,
    decode_header,
    encode_entry,
    encode_header,
    encode_partitioned_entry,
)
from ckptparse.formats.bundle.writer import BundleWriter
from ckptparse.outputs import LocalFolder, Output
from ckptparse.sources import MemorySource
from ckptparse.sstable.builder import build_table
from ckptparse.sstable.table import Table
from ckptparse.tensors.dtypes import number_of, numpy_dtype
from ckptparse.tensors.names import encode_name
from ckptparse.tensors.pieces import cut_array
from support.repository import FIXTURES

PREFIXES = {
    path.relative_to(FIXTURES).as_posix().removesuffix(".index"): path
    for path in sorted(FIXTURES.rglob("*.index"))
    if "train_damaged" not in path.parts
}

EDITED = {
    "tf-2.21.0/unknown_fields/model.ckpt": "its entries have fields that we do not know",
    "tf-2.21.0/slices_overlapping/model.ckpt": "a tensor has bytes and slices",
    "tf-2.21.0/max_shard_size/model.ckpt": "entries of partitioned tensors say a data file, one"
    " of those that TensorFlow merged",
    "tf-1.15.5/hub_module/saved_model/variables/variables": "as max_shard_size",
}
"""Indices with entries that we write otherwise -> why."""

NOT_OURS = {
    "tf-2.21.0/header_only/model.ckpt": "it has no tensors",
    "tf-2.21.0/iterator_state/model.ckpt": "it has a variant",
    "tf-2.21.0/variants/model.ckpt": "it has a variant",
    "tf-2.21.0/newer_version/model.ckpt": "it needs a newer reader",
    "tf-2.21.0/newer_version_bad_consumers/model.ckpt": "it needs a newer reader",
    "tf-2.21.0/padded/model.ckpt": "edited: there are gaps between tensors",
    "tf-2.21.0/big_endian/model.ckpt": "edited: its bytes are swapped",
}
"""Checkpoints of one data file that we do not write so -> why."""

OTHER_INDEX = {
    "tf-2.21.0/snappy_index/model.ckpt": "its blocks are compressed",
    "tf-2.21.0/snappy_index_block/model.ckpt": "its index block is compressed",
    "tf-2.21.0/restart_interval_1/model.ckpt": "every key of a block is whole",
    "tf-2.21.0/restart_interval_1000/model.ckpt": "one key of a block is whole",
    "tf-2.21.0/unknown_fields/model.ckpt": "its entries have fields that we do not know",
}
"""Checkpoints whose data file we write as it is, but not their index -> why."""


def entries_at(path: Path) -> dict[bytes, bytes]:
    table = Table(MemorySource("index", path.read_bytes()))
    scanned = (table.scan_block(i) for i in range(table.num_blocks))
    return {key: bytes(value) for block in scanned for key, value in block}


def encoded_again(entries: dict[bytes, bytes], num_shards: int) -> dict[bytes, bytes]:
    found = {}
    for key, value in entries.items():
        entry = decode_entry(value, num_shards)
        if entry.slices:
            found[key] = encode_partitioned_entry(entry.dtype, entry.shape, entry.slices)
        else:
            found[key] = encode_entry(*entry[:6])
    return found


@pytest.mark.parametrize("name", PREFIXES)
def test_entries(name: str) -> None:
    entries = entries_at(PREFIXES[name])
    try:
        header = decode_header(entries[b""])
    except CheckpointError:
        pytest.skip("it needs a newer reader")
    is_plain = not (header.big_endian or "newer" in name or "unknown" in name)
    assert (encode_header(header.num_shards) == entries[b""]) == is_plain
    del entries[b""]
    assert (encoded_again(entries, header.num_shards) == entries) == (name not in EDITED)


def is_one_file(path: Path) -> bool:
    entries = entries_at(path)
    return b"of-00001" in b"".join(
        file.name.encode() for file in path.parent.glob(f"{path.stem}.data-*")
    ) and not any(b"\0" in key for key in entries)


PACKED = [name for name, path in PREFIXES.items() if is_one_file(path) and name not in NOT_OURS]


@pytest.mark.parametrize("name", PACKED)
def test_files_of_tensorflow(tmp_path: Path, name: str) -> None:
    """Tensors that are saved in their stored order give the same files."""
    with open_checkpoint(PREFIXES[name].with_suffix("")) as ckpt:
        infos = sorted(ckpt.infos(), key=lambda info: (info.offset, info.nbytes))
        with writing(tmp_path) as (writer, outputs):
            for info in infos:
                number = number_of(info.tensorflow_dtype)
                writer.add_array(encode_name(info.name), ckpt[info.name], number)
            writer.finish()
            (output,) = outputs
            assert Path(output.path).read_bytes() == Path(ckpt.files[1]).read_bytes()
            index = [(b"", encode_header(1)), *sorted(writer.entries.items())]
    is_same = b"".join(build_table(index)) == PREFIXES[name].read_bytes()
    assert is_same == (name not in OTHER_INDEX)


@contextmanager
def writing(folder: Path) -> Iterator[tuple[BundleWriter, list[Output]]]:
    outputs: list[Output] = []
    writer = BundleWriter(LocalFolder(str(folder / "m"), sync=False).create, outputs)
    try:
        yield writer, outputs
    finally:
        for output in outputs:
            output.discard()


@pytest.mark.parametrize("nbytes", [1, 7, 64, 1000, 1 << 20])
@pytest.mark.parametrize(
    ("dtype", "shape"),
    [
        ("float32", (3, 50, 7)),
        ("bool", (1000,)),
        ("qint32", (20, 20)),
        ("uint4", (33, 3)),
        ("float32", ()),
        ("int64", (0, 5)),
        ("float64", (1, 1, 2000)),
    ],
    ids=str,
)
def test_pieces_of_any_size(
    tmp_path: Path, dtype: str, shape: tuple[int, ...], nbytes: int
) -> None:
    number = number_of(dtype)
    random = np.random.default_rng(1)
    size = int(np.prod(shape)) * numpy_dtype(number).itemsize
    array = random.integers(0, 2 if dtype == "bool" else 256, size, "u1")
    array = array.view(numpy_dtype(number)).reshape(shape)
    written = []
    for most in (nbytes, 1 << 30):
        with writing(tmp_path) as (writer, outputs):
            writer.add_array(b"before", np.ones(3, "u1"))
            for piece in cut_array("a", array, most, dtype):
                writer.add_piece(b"a", piece)
            writer.add_array(b"c", np.ones(3, "u1"))
            writer.finish()
            written.append((writer.entries, Path(outputs[0].path).read_bytes()))
            assert writer.nbytes == len(written[-1][1])
    assert written[0] == written[1]
