"""The header of an object: a list of messages, in one block or more.

::

    version 1                               version 2
    1 version: 1                            4 "OHDR"
    1 reserved                              1 version: 2
    2 number of messages                    1 flags
    4 number of links to the object         16 four times, if flags & 20 (hex)
    4 number of bytes of messages           4 two numbers of attributes, if flags & 10 (hex)
    4 padding                               1, 2, 4 or 8 (flags & 3): number of bytes of messages
    messages                                messages
                                            4 checksum of all bytes before

    a message of version 1                  a message of version 2
    2 type                                  1 type
    2 number of bytes of the body           2 number of bytes of the body
    1 flags                                 1 flags
    3 reserved                              2 order of creation, if the header's flags & 4
    body                                    body

The body of the message "continuation" is the address and the length of one more block of messages.
In version 2, that block has "OCHK" before the messages and a checksum after them.

Source: "HDF5 File Format Specification Version 3.0", section IV.A.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ckptparse.errors import CorruptCheckpointError, UnsupportedError
from ckptparse.hdf5.checksums import require_lookup3
from ckptparse.hdf5.fields import Fields
from ckptparse.hdf5.metadata import Metadata

NIL = 0x00
DATASPACE = 0x01
LINK_INFO = 0x02
DATATYPE = 0x03
FILL_OLD = 0x04
FILL = 0x05
LINK = 0x06
EXTERNAL_FILES = 0x07
LAYOUT = 0x08
GROUP_INFO = 0x0A
FILTERS = 0x0B
ATTRIBUTE = 0x0C
COMMENT = 0x0D
MODIFIED_OLD = 0x0E
CONTINUATION = 0x10
SYMBOL_TABLE = 0x11
MODIFIED = 0x12
ATTRIBUTE_INFO = 0x15

_IS_SHARED = 0x02
_MUST_KNOW = 0x80
_KNOWN = frozenset(range(0x18))


class Message(NamedTuple):
    """A message of an object header.

    Attributes:
        type: its type, one of the constants of this module.
        body: its fields.
        is_shared: whether the body only refers to a message elsewhere.
    """

    type: int
    body: Fields
    is_shared: bool


def read_messages(metadata: Metadata, address: int) -> list[Message]:
    """Return all messages of an object header.

    Raises:
        ChecksumError: the header was changed.
        CorruptCheckpointError: this is no object header.
        UnsupportedError: Keras writes no such header.
    """
    start = metadata.read(address, 4).data
    if start == b"OHDR":
        return list(_read_version_2(metadata, address))
    if start[0] != 1:
        raise CorruptCheckpointError(
            "this is not the header of an HDF5 object",
            offset=address,
            expected="version 1, or OHDR",
            found=start.hex(" "),
        )
    return list(_read_version_1(metadata, address))


def _message(type: int, flags: int, body: Fields) -> Message:
    if flags & _MUST_KNOW and type not in _KNOWN:
        raise UnsupportedError(
            "an HDF5 object requires a newer reader", offset=body.offset, found=f"message {type}"
        )
    return Message(type, body, bool(flags & _IS_SHARED))


def _read_version_1(metadata: Metadata, address: int) -> Iterator[Message]:
    fields = metadata.read(address + 2, 14)
    left = fields.number(2)
    fields.take(4)
    blocks = [(address + 16, fields.number(4))]
    for start, nbytes in blocks:  # grows while it is iterated
        block = metadata.read(start, nbytes)
        while left and block.left:
            left -= 1
            type, size, flags = block.number(2), block.number(2), block.number(1)
            block.take(3)
            body = block.take_fields(size)
            if type == CONTINUATION:
                blocks.append((body.number(8), body.number(8)))
            elif type != NIL:
                yield _message(type, flags, body)


def _read_version_2(metadata: Metadata, address: int) -> Iterator[Message]:
    prefix = metadata.read(address + 4, 2)
    version, flags = prefix.number(1), prefix.number(1)
    if version != 2:
        raise UnsupportedError(
            "unknown version of an object header", offset=address + 4, expected=2, found=version
        )
    skipped = 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
    size_nbytes = 1 << (flags & 3)
    size = metadata.read(address + skipped, size_nbytes).number(size_nbytes)
    first = skipped + size_nbytes
    blocks = [(address, first, first + size + 4)]
    for start, num_skipped, nbytes in blocks:  # grows while it is iterated
        block = metadata.read(start, nbytes)
        end = nbytes - 4
        if start != address:
            block.expect(b"OCHK", "a block of an object header")
        if end < num_skipped:
            raise CorruptCheckpointError(
                "a block of an object header is too short", offset=start, found=f"{nbytes} bytes"
            )
        checked = Fields(block.data, start)
        checked.take(end)
        require_lookup3(block.data[:end], checked, "an object header")
        block.position = num_skipped
        least = 6 if flags & 4 else 4
        while end - block.position >= least:  # fewer bytes are a gap
            type, body_nbytes, message_flags = block.number(1), block.number(2), block.number(1)
            block.take(least - 4)
            if body_nbytes > end - block.position:
                raise CorruptCheckpointError(
                    "a message is longer than its object header",
                    offset=block.offset,
                    expected=f"at most {end - block.position} bytes",
                    found=body_nbytes,
                )
            body = block.take_fields(body_nbytes)
            if type == CONTINUATION:
                blocks.append((body.number(8), 4, body.number(8)))
            elif type != NIL:
                yield _message(type, message_flags, body)
