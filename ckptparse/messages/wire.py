"""Find the fields of a serialized protocol-buffer message without parsing their contents.

A message is a sequence of fields.  A field is a varint tag (field number << 3 | wire type) and a
payload, whose form depends on the wire type:

    0  varint
    1  8 bytes
    2  varint length, then that many bytes: strings, messages, packed repeated numbers
    5  4 bytes

Source: the protocol buffers encoding specification.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ckptparse.encoding.varint import Buffer, decode_varint
from ckptparse.errors import CorruptCheckpointError
from ckptparse.limits import MAX_PARTS_PER_PART

VARINT = 0
FIXED64 = 1
LENGTH_DELIMITED = 2
FIXED32 = 5

_FIXED_NBYTES = {FIXED64: 8, FIXED32: 4}


class Field(NamedTuple):
    """A field: its number, its wire type, and start and stop of its payload in the buffer."""

    number: int
    wire_type: int
    start: int
    stop: int


def iterate_fields(buffer: Buffer, start: int, stop: int) -> Iterator[Field]:
    """Yield the fields of the message between two positions of a buffer.

    Args:
        buffer: the bytes.
        start: position of the message.
        stop: position after the message.

    Raises:
        CorruptCheckpointError: a field ends after `stop`, has the number 0 or an unknown wire type.
    """
    pos = start
    while pos < stop:
        tag = buffer[pos]
        if tag < 0x80:
            field_start = pos + 1
        else:
            tag, field_start = decode_varint(buffer, pos, stop)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == LENGTH_DELIMITED:
            if field_start < stop and (nbytes := buffer[field_start]) < 0x80:
                field_start += 1
            else:
                nbytes, field_start = decode_varint(buffer, field_start, stop)
            field_stop = field_start + nbytes
        elif wire_type == VARINT:
            _, field_stop = decode_varint(buffer, field_start, stop)
        elif wire_type in _FIXED_NBYTES:
            field_stop = field_start + _FIXED_NBYTES[wire_type]
        else:
            raise CorruptCheckpointError(
                "invalid wire type of a protocol buffer", offset=pos, expected="0, 1, 2 or 5",
                found=wire_type,
            )  # fmt: skip
        if field_stop > stop or number == 0:
            raise CorruptCheckpointError(
                "invalid field of a protocol buffer",
                offset=pos,
                expected=f"a number from 1 and an end by {stop}",
                found=f"number {number}, end {field_stop}",
            )
        yield Field(number, wire_type, field_start, field_stop)
        pos = field_stop


def count_most_messages(serialized: bytes | memoryview, fields: frozenset[int]) -> int:
    """Return an upper bound on the number of messages in some fields, at any depth.

    It counts all bytes that can begin a tag of these fields, wherever they are, which is a hundred
    times as fast as iterating over the fields.

    Args:
        serialized: the outer message.
        fields: numbers of the fields, below 16.
    """
    begins = np.zeros(256, bool)
    for number in fields:
        tag = number << 3 | LENGTH_DELIMITED
        begins[[tag, tag | 0x80]] = True  # the second one begins a tag that is longer than needed
    return int(np.count_nonzero(begins[np.frombuffer(serialized, np.uint8)]))


def require_few_parts(
    serialized: bytes | memoryview,
    messages: frozenset[int],
    most: int,
    longest_nbytes: int = sys.maxsize,
) -> None:
    """Check the number and length of a message's fields before it is parsed.

    A parsed field takes far more memory than its bytes: a field of two bytes becomes an object of
    sixty, and a compressed block can contain 22 times its size.

    Args:
        serialized: the message.
        messages: numbers of the fields that are messages; the fields of those are counted as well.
        most: limit on the number of fields; the inner messages may have 16 times as many.
        longest_nbytes: limit on the length of the fields that are not messages.

    Raises:
        CorruptCheckpointError: a limit is exceeded, or the bytes are not a message.
    """
    num_inner = 0
    fields = iterate_fields(serialized, 0, len(serialized))
    for num_parts, field in enumerate(fields, 1):
        if field.number in messages and field.wire_type == LENGTH_DELIMITED:
            for _ in iterate_fields(serialized, field.start, field.stop):
                num_inner += 1
                if num_inner > MAX_PARTS_PER_PART * most:
                    break
        elif field.stop - field.start > longest_nbytes:
            raise CorruptCheckpointError(
                "invalid field of a protocol buffer",
                expected=f"at most {longest_nbytes} bytes",
                found=field.stop - field.start,
            )
        if num_parts > most or num_inner > MAX_PARTS_PER_PART * most:
            raise CorruptCheckpointError(
                "too many parts of a protocol buffer",
                expected=f"at most {most}, of at most {MAX_PARTS_PER_PART * most}",
                found="more",
            )
