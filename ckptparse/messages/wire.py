"""Protocol buffers on the wire: where fields are, without parsing what is in them.

A message is a sequence of fields, each a varint tag (field number << 3 | wire type) and a payload:

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

from ckptparse.encoding.varint import decode_varint
from ckptparse.errors import CorruptCheckpointError
from ckptparse.limits import MAX_PARTS_PER_PART

VARINT = 0
FIXED64 = 1
LENGTH_DELIMITED = 2
FIXED32 = 5

_FIXED_NBYTES = {FIXED64: 8, FIXED32: 4}


class Field(NamedTuple):
    """One field: its number and wire type, and where in the buffer its payload is."""

    number: int
    wire_type: int
    start: int
    stop: int


def iterate_fields(buffer: bytes | memoryview, start: int, stop: int) -> Iterator[Field]:
    """The fields of the message at start..stop of a buffer.

    Raises:
        CorruptCheckpointError: a field that does not end inside, an unknown wire type.
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
    """Return a number that the messages of these fields do not exceed, at whatever depth.

    Counts the bytes with which a tag of such a field can begin, wherever they are: a hundred times
    as fast as going through the fields.  Fields below 16 only; their tags may be longer than need
    be.
    """
    begins = np.zeros(256, bool)
    for number in fields:
        tag = number << 3 | LENGTH_DELIMITED
        begins[[tag, tag | 0x80]] = True
    return int(np.count_nonzero(begins[np.frombuffer(serialized, np.uint8)]))


def require_few_parts(
    serialized: bytes | memoryview,
    messages: frozenset[int],
    most: int,
    longest_nbytes: int = sys.maxsize,
) -> None:
    """Check that a message is not made of too many or too long parts, before it is parsed.

    A part of two bytes becomes an object of sixty, and a block that is stored compressed can hold
    22 times its size.

    Args:
        serialized: the message.
        messages: numbers of its fields that are messages; what these consist of is counted, too.
        most: how many parts there may be; theirs may be 16 times as many.
        longest_nbytes: how long those may be that are no messages.

    Raises:
        CorruptCheckpointError: there are more, or it is no message.
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
