"""Files that TensorFlow does not write but reads: made from ones that it wrote, read back by it.

The entries and the data come from TensorFlow; what a case changes, it encodes by itself.
"""

import os
import struct

import numpy as np
import snappy
import tensorflow as tf
from tensorflow.core.protobuf import tensor_bundle_pb2

from cases.dtypes import savable
from harness import ops, oracle, table, values

INDEX = oracle.PREFIX + ".index"
DATA = oracle.PREFIX + ".data-00000-of-00001"

# Field 1000 as a varint, 1001 as a string, 1002 and 1003 as fixed 32 and 64 bits.
UNKNOWN_FIELDS = b"".join(
    [
        table.varint(1000 << 3 | 0) + table.varint(2**40),
        table.varint(1001 << 3 | 2) + table.varint(7) + b"unknown",
        table.varint(1002 << 3 | 5) + b"\x01\x02\x03\x04",
        table.varint(1003 << 3 | 1) + b"\x01\x02\x03\x04\x05\x06\x07\x08",
    ]
)


def big_endian():
    """Byte order BIG: every dtype as a big-endian machine stores it, strings and slices too."""
    accepted, _ = savable()
    tensors = {dtype: (dtype, values.array(dtype, (3, 4)), [""]) for dtype in accepted}
    tensors["string_scalar"] = ("string", np.array(b"x" * 300, dtype=object), [""])
    tensors["string_empty"] = ("string", np.empty((0,), dtype=object), [""])
    tensors["scalar"] = ("float64", np.float64(1.5), [""])
    specs = {"sliced": ["6 3 0,1:-", "6 3 1,3:-", "6 3 4,2:-"]}
    tensors["sliced"] = ("float32", values.random((6, 3), seed=3), specs["sliced"])
    ops.save_slices(oracle.PREFIX, tensors)
    header, entries, data = read_bundle()
    header.endianness = tensor_bundle_pb2.BundleHeaderProto.BIG
    swapped = bytearray(data)
    for entry in entries.values():
        if entry.slices:
            continue
        stop = entry.offset + entry.size
        stored, crc = to_big_endian(tf.as_dtype(entry.dtype), entry, data[entry.offset : stop])
        swapped[entry.offset : stop] = stored
        entry.crc32c = table.masked(crc)
    write_bundle(header, entries, bytes(swapped))
    oracle.record(specs=specs)


def to_big_endian(dtype, entry, stored):
    """The bytes of a tensor on a big-endian machine, and their CRC."""
    if dtype == tf.string:
        return string_to_big_endian(entry, stored)
    width = dtype.size // 2 if dtype.is_complex else dtype.size
    swapped = np.frombuffer(stored, f"u{width}").byteswap().tobytes()
    return swapped, table.crc32c(swapped)


def string_to_big_endian(entry, stored):
    """Lengths stay varints; the checksum over them is of, and stored as, big-endian integers."""
    lengths, pos = [], 0
    for _ in range(int(np.prod([dim.size for dim in entry.shape.dim], dtype=int))):
        length, pos = table.read_varint(stored, pos)
        lengths.append(length)
    crc = table.crc32c(struct.pack(f">{len(lengths)}I", *lengths))
    checksum = struct.pack(">I", table.masked(crc))
    payload = stored[pos + 4 :]
    return stored[:pos] + checksum + payload, table.crc32c(checksum + payload, crc)


def snappy_index():
    """The data block of the index compressed with raw snappy, as some published files have it."""
    save_some(40)
    rewrite_index(compress=snappy.compress)
    oracle.record()


def snappy_index_block():
    """The data blocks and the index block of the index compressed with raw snappy."""
    save_some(40)
    rewrite_index(compress=snappy.compress, compress_index=snappy.compress, num_blocks=3)
    oracle.record()


def padded():
    """Tensors aligned to 64 bytes, junk after the last one, two entries that share their bytes."""
    shared = values.random((4, 3), seed=9)
    ops.save_arrays(
        oracle.PREFIX,
        {
            "a/bool": ("bool", np.array([True, False, True])),
            "b/shared": ("float32", shared),
            "c/shared": ("float32", shared),
            "d/string": ("string", values.vector("string")),
            "e/empty": ("int64", np.zeros((0, 2), np.int64)),
            "f/int16": ("int16", values.array("int16", (5,))),
        },
    )
    header, entries, data = read_bundle()
    padded_data = bytearray()
    for key, entry in entries.items():
        stored = data[entry.offset : entry.offset + entry.size]
        if key == b"c/shared":
            entry.offset = entries[b"b/shared"].offset
            continue
        padded_data += b"\xaa" * (-len(padded_data) % 64)
        entry.offset = len(padded_data)
        padded_data += stored
    write_bundle(header, entries, bytes(padded_data) + b"trailing junk")
    oracle.record()


def restart_interval_1():
    """Data blocks in which no key shares a prefix with the one before."""
    save_some(40)
    rewrite_index(restart_interval=1, num_blocks=2)
    oracle.record()


def restart_interval_1000():
    """Data blocks in which up to 1,000 keys in a row share prefixes."""
    save_some(1020)
    rewrite_index(restart_interval=1000)
    oracle.record()


def header_only():
    """An index with the header and no tensor; TensorFlow lists nothing and needs no data file."""
    save_some(1)
    header, _, _ = read_bundle()
    write_bundle(header, {}, None)
    oracle.record()


def newer_version():
    """A header that asks for a reader of version 2, which TensorFlow refuses to be."""
    save_some(3)
    header, entries, data = read_bundle()
    header.version.producer = 2
    header.version.min_consumer = 2
    write_bundle(header, entries, data)
    oracle.record(written={})


def newer_version_bad_consumers():
    """A header that forbids readers of version 1, which TensorFlow is."""
    save_some(3)
    header, entries, data = read_bundle()
    header.version.bad_consumers.append(1)
    write_bundle(header, entries, data)
    oracle.record(written={})


def unknown_fields():
    """Fields that no version defines, in the header and in every entry; TensorFlow skips them."""
    save_some(3)
    with open(INDEX, "rb") as stream:
        stored = table.decode_table(stream.read())
    write_index([(key, value + UNKNOWN_FIELDS) for key, value in stored])
    oracle.record()


def save_some(count):
    """A checkpoint of `count` small tensors in nested scopes."""
    tensors = {}
    for number in range(count):
        value = values.random((2, 2) if number % 3 else (), seed=number)
        block, layer = divmod(number, 10)
        tensors[f"model/block_{block:02}/layer_{layer}/weights"] = ("float32", value)
    ops.save_arrays(oracle.PREFIX, tensors)


def rewrite_index(**options):
    """Write the index again with other options of `encode_table`."""
    with open(INDEX, "rb") as stream:
        stored = table.decode_table(stream.read())
    write_index(stored, **options)


def read_bundle():
    """The header, the entries by key, and the data of the checkpoint that TensorFlow wrote."""
    with open(INDEX, "rb") as stream:
        stored = dict(table.decode_table(stream.read()))
    header = tensor_bundle_pb2.BundleHeaderProto.FromString(stored.pop(b""))
    parse = tensor_bundle_pb2.BundleEntryProto.FromString
    entries = {key: parse(value) for key, value in sorted(stored.items())}
    with open(DATA, "rb") as stream:
        return header, entries, stream.read()


def write_bundle(header, entries, data):
    """Replace the checkpoint; without a data file if `data` is None."""
    messages = dict(entries)
    messages[b""] = header
    write_index([(key, messages[key].SerializeToString()) for key in sorted(messages)])
    os.remove(DATA)
    if data is not None:
        with open(DATA, "wb") as stream:
            stream.write(data)


def write_index(entries, **options):
    """Replace the index with a table of the (key, value) entries."""
    with open(INDEX, "wb") as stream:
        stream.write(table.encode_table(entries, **options))
