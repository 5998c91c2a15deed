"""The attributes of a group or a dataset: short arrays in the header of the object.

::

    1 version: 1, 2 or 3
    1 flags: 1 or 2 if the type or the shape is stored elsewhere (version 1: reserved)
    2 number of bytes of the name
    2 number of bytes of the type
    2 number of bytes of the shape
    1 character set of the name (version 3)
    name, type, shape (version 1: each padded to 8 bytes), elements

A string of variable length is its number of bytes (4), the address of a global heap collection (8),
and the index of an object in it (4).

Source: "HDF5 File Format Specification Version 3.0", section IV.A.2.m.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from ckptparse.errors import UnsupportedError
from ckptparse.hdf5.dataspaces import read_shape
from ckptparse.hdf5.datatypes import StoredType, read_type
from ckptparse.hdf5.fields import Fields
from ckptparse.hdf5.heaps import GlobalHeap


class Attribute(NamedTuple):
    """An attribute.

    Attributes:
        name: its name.
        type: type of its elements.
        shape: its shape; None if it has no elements.
        body: its elements.
    """

    name: bytes
    type: StoredType
    shape: tuple[int, ...] | None
    body: Fields


def read_attribute(fields: Fields) -> Attribute:
    """Return the attribute that a message describes.

    Raises:
        CorruptCheckpointError: the message is too short.
        UnsupportedError: it has an unknown version, or its type is stored elsewhere.
    """
    offset = fields.offset
    version, flags = fields.number(1), fields.number(1)
    if version not in (1, 2, 3) or (version > 1 and flags & 3):
        raise UnsupportedError(
            "unknown form of an attribute",
            offset=offset,
            expected="version 1, 2 or 3, with its own type",
            found=f"version {version}, flags {flags}",
        )
    sizes = [fields.number(2) for _ in range(3)]
    if version == 3:
        fields.take(1)
    parts = []
    for size in sizes:
        parts.append(fields.take_fields(size))
        if version == 1:
            fields.take(min(-size % 8, fields.left))
    name = parts[0].data.rstrip(b"\0")
    body = fields.take_fields(fields.left)
    return Attribute(name, read_type(parts[1]), read_shape(parts[2]), body)


def decode_strings(attribute: Attribute, heap: GlobalHeap) -> list[bytes] | None:
    """Return the strings of an attribute; None if it has no strings.

    Raises:
        CorruptCheckpointError: there are more strings than bytes, or the heap lacks one.
    """
    type, shape, body = attribute.type, attribute.shape, attribute.body
    if not type.string or shape is None or not type.itemsize:
        return None
    contents = Fields(body.data, body.offset).take_fields(prod(shape) * type.itemsize)
    strings = []
    while contents.left:
        if type.string == "fixed":
            strings.append(contents.take(type.itemsize).rstrip(b"\0"))
        else:
            nbytes, address, index = contents.number(4), contents.number(8), contents.number(4)
            strings.append(heap.read(address, index, nbytes).rstrip(b"\0"))
    return strings
