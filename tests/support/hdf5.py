"""Write HDF5 files of the old form, in which any field can be wrong.  Uses no code of ckptparse."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Any

UNDEFINED = 2**64 - 1
U8 = bytes([0x10, 0, 0, 0]) + struct.pack("<IHH", 1, 0, 8)
"""The type of an unsigned integer of 8 bits."""


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


def message(type: int, body: bytes, flags: int = 0, size: int | None = None) -> bytes:
    body = padded(body)
    return struct.pack("<HHB3x", type, len(body) if size is None else size, flags) + body


def dataspace(shape: Sequence[int], version: int = 1) -> bytes:
    return struct.pack("<BBB5x", version, len(shape), 0) + b"".join(
        size.to_bytes(8, "little") for size in shape
    )


def contiguous(address: int, nbytes: int, version: int = 3) -> bytes:
    return struct.pack("<BBQQ", version, 1, address, nbytes)


def chunked(tree: int, chunk: Sequence[int], itemsize: int = 1, rank: int | None = None) -> bytes:
    rank = len(chunk) + 1 if rank is None else rank
    return struct.pack("<BBBQ", 3, 2, rank, tree) + struct.pack(
        f"<{len(chunk) + 1}I", *chunk, itemsize
    )


def filters(*numbers: int, version: int = 1) -> bytes:
    head = struct.pack("<BB6x", version, len(numbers))
    return head + b"".join(struct.pack("<HHHH", number, 0, 0, 0) for number in numbers)


def attribute(name: bytes, type: bytes, shape: Sequence[int], body: bytes) -> bytes:
    parts = name + b"\0", type, dataspace(shape)
    head = struct.pack("<BxHHH", 1, *map(len, parts))
    return head + b"".join(map(padded, parts)) + body


def fixed_string(nbytes: int) -> bytes:
    return bytes([0x13, 1, 0, 0]) + struct.pack("<I", nbytes)


VARIABLE_STRING = bytes([0x19, 1, 1, 0]) + struct.pack("<I", 16) + fixed_string(1)


class HDF5Builder:
    """A file that grows; the superblock is written last."""

    def __init__(self) -> None:
        self.contents = bytearray(96)

    def put(self, data: bytes) -> int:
        """Append bytes; returns their address."""
        self.contents += bytes(-len(self.contents) % 8)
        address = len(self.contents)
        self.contents += data
        return address

    def header(
        self, *messages: bytes, version: int = 1, count: int | None = None, size: int | None = None
    ) -> int:
        body = b"".join(messages)
        head = struct.pack(
            "<BxHII4x",
            version,
            len(messages) if count is None else count,
            1,
            len(body) if size is None else size,
        )
        return self.put(head + body)

    def dataset(
        self,
        payload: bytes = b"",
        shape: Sequence[int] | None = None,
        layout: bytes | None = None,
        type: bytes = U8,
        space: bytes | None = None,
        more: Sequence[bytes] = (),
    ) -> int:
        """A dataset, by default contiguous; returns the address of its header."""
        shape = [len(payload)] if shape is None else shape
        if layout is None:
            layout = contiguous(self.put(payload), len(payload))
        space = dataspace(shape) if space is None else space
        return self.header(message(1, space), message(3, type), message(8, layout), *more)

    def chunks(
        self, parts: Sequence[tuple[Sequence[int], bytes, Any]], rank: int, level: int = 0
    ) -> int:
        """A B-tree of chunks: position, stored bytes, and their address or None to store them."""
        keys = []
        for start, stored, address in parts:
            found = self.put(stored) if address is None else address
            key = struct.pack("<II", len(stored), 0)
            key += b"".join(i.to_bytes(8, "little") for i in (*start, 0))
            keys.append(key + found.to_bytes(8, "little"))
        head = struct.pack("<4sBBHQQ", b"TREE", 1, level, len(parts), UNDEFINED, UNDEFINED)
        return self.put(head + b"".join(keys) + bytes(8 * (rank + 2)))

    def group(self, members: Sequence[tuple[bytes, int]], *more: bytes, **fields: Any) -> int:
        """A group; returns the address of its header.

        Args:
            members: names and addresses of headers.
            more: messages, such as attributes.
            fields: wrong values: heap, heap_nbytes, heap_data, tree, tree_type, level, child,
                symbols, num_symbols, name_offset.
        """
        names, places = bytearray(8), []
        for name, _ in members:
            places.append(len(names))
            names += padded(name + b"\0")
        data = fields.get("heap_data", self.put(bytes(names)))
        nbytes = fields.get("heap_nbytes", len(names))
        heap = self.put(fields.get("heap", b"HEAP\0\0\0\0") + struct.pack("<QQQ", nbytes, 1, data))
        symbols = b"".join(
            struct.pack("<QQII16x", fields.get("name_offset", place), address, 0, 0)
            for place, (_, address) in zip(places, members)
        )
        count = fields.get("num_symbols", len(members))
        table = self.put(fields.get("symbols", b"SNOD\1\0") + count.to_bytes(2, "little") + symbols)
        child = fields.get("child", table)
        kind, level = fields.get("tree_type", 0), fields.get("level", 0)
        tree = struct.pack("<BBHQQ", kind, level, 1, UNDEFINED, UNDEFINED)
        tree += struct.pack("<QQQ", 0, len(self.contents) if child == "itself" else child, 8)
        address = self.put(fields.get("tree", b"TREE") + tree)
        return self.header(message(0x11, struct.pack("<QQ", address, heap)), *more)

    def file(self, root: int, **fields: int) -> bytes:
        """The file; fields of the superblock: version, sizes, base, root."""
        sizes = fields.get("sizes", 8)
        head = b"\x89HDF\r\n\x1a\n" + struct.pack(
            "<BBBBBBBxHHI", fields.get("version", 0), 0, 0, 0, 0, sizes, sizes, 4, 16, 0
        )
        head += struct.pack(
            "<QQQQ", fields.get("base", 0), UNDEFINED, len(self.contents), UNDEFINED
        )
        head += struct.pack("<QQII16x", 0, root, 0, 0)
        self.contents[: len(head)] = head
        return bytes(self.contents)


def deflated(data: bytes) -> bytes:
    return zlib.compress(data)
