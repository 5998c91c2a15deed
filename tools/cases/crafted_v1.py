"""V1 files that TensorFlow does not write but reads: made from ones that it wrote.

The entries come from TensorFlow; what a case changes, it encodes by itself.
"""

import struct

import numpy as np
import snappy
from tensorflow.core.framework import types_pb2
from tensorflow.core.util import saved_tensor_slice_pb2

from cases.crafted import UNKNOWN_FIELDS
from cases.dtypes import savable
from harness import ops, oracle, table, values

VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5

# Where a TensorProto has the elements of a dtype: field, wire type, struct format.
FIELDS = {
    "float32": (5, FIXED32, "<f"),
    "float64": (6, FIXED64, "<d"),
    "complex64": (9, FIXED32, "<f"),
    "complex128": (12, FIXED64, "<d"),
    "int64": (10, VARINT, None),
    "bool": (11, VARINT, None),
    "float16": (13, VARINT, None),
}
INT_VAL = (7, VARINT, None)


def v1_no_versions():
    """V1: a table of contents without `versions`, as TensorFlow wrote until early 2016."""
    save_some()
    entries = read_entries()
    meta = saved_tensor_slice_pb2.SavedTensorSlices.FromString(entries[0][1])
    meta.meta.ClearField("versions")
    entries[0] = (b"", meta.SerializeToString())
    write_entries(entries)
    oracle.record_v1()


def v1_newer_version():
    """V1: a file that asks for a reader of version 2, which TensorFlow refuses to be."""
    save_some()
    entries = read_entries()
    meta = saved_tensor_slice_pb2.SavedTensorSlices.FromString(entries[0][1])
    meta.meta.versions.producer = 2
    meta.meta.versions.min_consumer = 2
    entries[0] = (b"", meta.SerializeToString())
    write_entries(entries)
    oracle.record_v1(written={})


def v1_snappy():
    """V1: some blocks compressed with raw snappy, those that gain nothing left as they are."""
    tensors = {f"repeated/{n}": ("float32", np.full((64,), n, np.float32)) for n in range(4)}
    tensors.update(
        {f"various/{n}": ("float32", values.random((64,), seed=n)) for n in range(4)},
        integers=("int64", values.array("int64", (50,))),
        texts=("string", values.strings([b"text " * n for n in range(20)])),
    )
    ops.save_arrays_v1(oracle.PREFIX, tensors)
    write_entries(read_entries(), compress=snappy_if_smaller, num_blocks=6)
    oracle.record_v1()


def snappy_if_smaller(contents):
    """The rule of TensorFlow's writer: an eighth must be saved."""
    compressed = snappy.compress(contents)
    return compressed if len(compressed) < len(contents) - len(contents) // 8 else None


def v1_snappy_index_block():
    """V1: the data blocks and the index block compressed with raw snappy."""
    save_some()
    write_entries(
        read_entries(), compress=snappy.compress, compress_index=snappy.compress, num_blocks=3
    )
    oracle.record_v1()


def v1_blocks():
    """V1: a block for each record; the one with the table of contents ends at the empty key."""
    save_some()
    entries = read_entries()
    write_entries(entries, num_blocks=len(entries))
    oracle.record_v1()


def v1_restart_interval_1():
    """V1: blocks in which no key shares a prefix with the one before."""
    save_some()
    write_entries(read_entries(), restart_interval=1, num_blocks=2)
    oracle.record_v1()


def v1_unknown_fields():
    """V1: fields that no version defines, in each kind of message; TensorFlow skips them."""
    save_some()
    entries = []
    for key, value in read_entries():
        record = saved_tensor_slice_pb2.SavedTensorSlices.FromString(value)
        for message in (record.meta, *record.meta.tensor, record.data, record.data.data):
            if message.ByteSize():
                message.MergeFromString(UNKNOWN_FIELDS)
        entries.append((key, record.SerializeToString() + UNKNOWN_FIELDS))
    write_entries(entries)
    oracle.record_v1()


def v1_unpacked():
    """V1: elements in every way that protobuf allows: one by one, in chunks, in short varints."""
    tensors, payloads = {}, {}
    for dtype in savable(ops.save_arrays_v1)[0]:
        if dtype == "string":
            continue
        array = values.vector(dtype)
        for name, encode in ENCODINGS.items():
            tensors[dtype + "/" + name] = (dtype, array)
            payloads[dtype + "/" + name] = encode(*elements(dtype, array))
    for dtype in ("int8", "int16", "int32"):
        name = dtype + "/negatives_in_5_bytes"
        tensors[name] = (dtype, values.vector(dtype))
        numbers = [number & 0xFFFFFFFF for number in values.vector(dtype).tolist()]
        payloads[name] = packed(*INT_VAL[:2], [table.varint(number) for number in numbers])
    for dtype in ("int8", "uint8", "int16", "uint16", "int32"):
        name = dtype + "/out_of_range"
        tensors[name] = (dtype, np.zeros((6,), dtype))
        numbers = [300, -300, 70000, -70000, 2**33 + 5, -(2**33) - 5]
        payloads[name] = packed(*INT_VAL[:2], [varint64(number) for number in numbers])
    for dtype, number in (("int64", 10), ("bool", 11), ("int32", 7)):
        name = dtype + "/long_varints"  # with needless groups of zeros
        tensors[name] = (dtype, np.zeros((3,), dtype))
        payloads[name] = packed(number, VARINT, [b"\x81\x00", b"\x80\x80\x00", b"\x81\x80\x80\x00"])
    tensors["bool/other_numbers"] = ("bool", np.zeros((3,), bool))
    payloads["bool/other_numbers"] = packed(
        11, VARINT, [table.varint(number) for number in (2, 256, 2**32)]
    )
    ops.save_arrays_v1(oracle.PREFIX, tensors)
    entries = read_entries()
    for position, (key, value) in enumerate(entries[1:], start=1):
        data = saved_tensor_slice_pb2.SavedTensorSlices.FromString(value).data
        parts = [
            field(1, LENGTH_DELIMITED, data.name.encode()),
            field(2, LENGTH_DELIMITED, data.slice.SerializeToString()),
            field(3, LENGTH_DELIMITED, payloads[data.name]),
        ]
        if data.name.endswith("/reversed"):
            parts.reverse()
        entries[position] = (key, field(2, LENGTH_DELIMITED, b"".join(parts)))
    write_entries(entries)
    oracle.record_v1()


def v1_wrong_counts():
    """V1: records with fewer and with more elements than the shape says."""
    tensors = {}
    for dtype in ("float32", "int32", "string"):
        for name in ("good", "fewer", "more", "none", "content"):
            if (dtype, name) != ("string", "content"):
                tensors[dtype + "/" + name] = (dtype, values.array(dtype, (3,)))
    ops.save_arrays_v1(oracle.PREFIX, tensors)
    entries = read_entries()
    for position, (key, value) in enumerate(entries[1:], start=1):
        record = saved_tensor_slice_pb2.SavedTensorSlices.FromString(value)
        dtype, _, name = record.data.name.partition("/")
        tensor = record.data.data
        items = {
            "float32": tensor.float_val,
            "int32": tensor.int_val,
            "string": tensor.string_val,
        }[dtype]
        if name == "fewer":
            items.pop()
        elif name == "more":
            items.append(items[0])
        elif name in ("none", "content"):
            del items[:]
        if name == "content":
            tensor.tensor_content = tensors[record.data.name][1].tobytes()
        entries[position] = (key, record.SerializeToString())
    write_entries(entries)
    oracle.record_v1()


def elements(dtype, array):
    """The field of a dtype, its wire type, and each element's bytes there."""
    number, wire, form = FIELDS.get(dtype, INT_VAL)
    if dtype.startswith("complex"):
        array = array.view(np.float32 if dtype == "complex64" else np.float64)
    if form:
        items = [item.tobytes() for item in array]
        assert all(len(item) == struct.calcsize(form) for item in items)
    else:
        array = array.view("uint16" if dtype == "float16" else dtype.replace("q", ""))
        items = [varint64(int(number)) for number in array.tolist()]
    return number, wire, items


def unpacked(number, wire, items):
    """Each element behind a tag of its own."""
    return b"".join(table.varint(number << 3 | wire) + item for item in items)


def packed(number, wire, items):
    """All elements behind one tag."""
    return field(number, LENGTH_DELIMITED, b"".join(items))


def in_chunks(number, wire, items):
    """Several packed fields, an empty one among them; the first holds one number."""
    cuts = [slice(0, 1), slice(1, 1), slice(1, 5), slice(5, None)]
    return b"".join(packed(number, wire, items[cut]) for cut in cuts)


def mixed(number, wire, items):
    """Some elements packed, some not."""
    return (
        unpacked(number, wire, items[:2])
        + packed(number, wire, items[2:4])
        + unpacked(number, wire, items[4:])
    )


def with_other_fields(number, wire, items):
    """Between dtype, shape and version, none of which TensorFlow writes, and unknown fields."""
    shape = field(2, LENGTH_DELIMITED, field(1, VARINT, table.varint(3)))
    return (
        field(1, VARINT, table.varint(types_pb2.DT_DOUBLE))
        + UNKNOWN_FIELDS
        + packed(number, wire, items)
        + field(2, LENGTH_DELIMITED, shape)
        + field(3, VARINT, table.varint(7))
    )


ENCODINGS = {
    "unpacked": unpacked,
    "in_chunks": in_chunks,
    "mixed": mixed,
    "with_other_fields": with_other_fields,
    "reversed": packed,  # and the record's fields in the other order
}


def field(number, wire, payload):
    """A protobuf field."""
    tag = table.varint(number << 3 | wire)
    return tag + (table.varint(len(payload)) if wire == LENGTH_DELIMITED else b"") + payload


def varint64(number):
    """A number as protobuf writes it, negative ones as their 64-bit two's complement."""
    return table.varint(number & 0xFFFFFFFFFFFFFFFF)


def save_some():
    """A V1 file of a dozen tensors, a sliced one among them."""
    specs = ["6 2 0,3:-", "6 2 3,3:-"]
    tensors = {
        f"model/layer_{number}/weights": ("float32", values.random((2, 3), seed=number), [""])
        for number in range(8)
    }
    tensors["global_step"] = ("int64", np.int64(12345), [""])
    tensors["integers"] = ("int32", values.vector("int32"), [""])
    tensors["sliced"] = ("float32", values.random((6, 2), seed=9), specs)
    tensors["texts"] = ("string", values.vector("string"), [""])
    ops.save_slices_v1_file(oracle.PREFIX, tensors)


def read_entries():
    """The (key, value) entries of the file that TensorFlow wrote."""
    with open(oracle.PREFIX, "rb") as stream:
        return table.decode_table(stream.read())


def write_entries(entries, **options):
    """Replace the file with a table of the (key, value) entries."""
    with open(oracle.PREFIX, "wb") as stream:
        stream.write(table.encode_table(entries, **options))
