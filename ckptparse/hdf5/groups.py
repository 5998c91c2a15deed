"""The members of a group.

A group of the old form has a B-tree of symbol tables.  A group of the new form has a message for
each link, as long as there are few; more than 8 are in a fractal heap, which is not read here::

    B-tree node                             symbol table node
    4 "TREE"                                4 "SNOD"
    1 type: 0                               1 version: 1
    1 level: 0 for a leaf                   1 reserved
    2 number of children                    2 number of members
    8 address of the left neighbour         members:
    8 address of the right neighbour            8 offset of the name in the local heap
    8 a key, then for each child:               8 address of the header
        8 address                               4 kind: 2 for a symbolic link
        8 a key                                 20 more about the member

    link message
    1 version: 1
    1 flags
    1 kind, if flags & 8: 0 hard, 1 symbolic, 64 in another file
    8 order of creation, if flags & 4
    1 character set of the name, if flags & 16
    1, 2, 4 or 8 (flags & 3) number of bytes of the name
    name
    8 address of the header (hard link)

Symbolic links and links to other files are not followed; Keras refuses them.

Source: "HDF5 File Format Specification Version 3.0", sections III.A, III.B and IV.A.2.g.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ckptparse.errors import CorruptCheckpointError, UnsupportedError
from ckptparse.hdf5.fields import UNDEFINED, Fields
from ckptparse.hdf5.headers import LINK, LINK_INFO, SYMBOL_TABLE, Message
from ckptparse.hdf5.heaps import read_local_heap
from ckptparse.hdf5.metadata import Metadata

_SOFT = 2
_MAX_NAME_NBYTES = 1 << 16


class Link(NamedTuple):
    """A member of a group: its name, and the address of its header."""

    name: bytes
    address: int


def read_links(metadata: Metadata, messages: list[Message]) -> Iterator[Link]:
    """Yield the members of a group, in the order of the file.

    Args:
        metadata: the file.
        messages: the messages of the group's header.

    Raises:
        CorruptCheckpointError: the structures contradict each other.
        UnsupportedError: Keras writes no such group.
    """
    for message in messages:
        body = message.body
        if message.type == SYMBOL_TABLE:
            tree, heap = body.number(8), body.number(8)
            yield from _read_symbols(metadata, tree, read_local_heap(metadata, heap))
        elif message.type == LINK_INFO:
            _require_compact(body)
        elif message.type == LINK:
            link = _read_link(body)
            if link is not None:
                yield link


def _require_compact(body: Fields) -> None:
    """Raise UnsupportedError for a group whose links are in a fractal heap."""
    body.take(1)
    if body.number(1) & 1:
        body.take(8)
    offset = body.offset
    if body.number(8) != UNDEFINED:
        raise UnsupportedError(
            "a group stores its members in a form of HDF5 that Keras does not use",
            offset=offset,
            expected="a symbol table, or a message for each link",
            found="a fractal heap (save the file with the default libver of h5py)",
        )


def _read_symbols(metadata: Metadata, root: int, heap: Fields) -> Iterator[Link]:
    """Yield the members that a B-tree of symbol tables has."""
    for address in read_leaves(metadata, root, 0, 8, "a B-tree of a group"):
        head = metadata.read(address, 8)
        head.expect(b"SNOD\1", "a symbol table")
        head.take(1)
        num_symbols = head.number(2)
        entries = metadata.read(address + 8, 40 * num_symbols)
        for _ in range(num_symbols):
            name, header, kind = entries.number(8), entries.number(8), entries.number(4)
            entries.take(20)
            if kind != _SOFT:
                yield Link(_name_at(heap, name), header)


def _name_at(heap: Fields, start: int) -> bytes:
    """Return the name at a position of a local heap."""
    end = heap.data.find(b"\0", start, start + _MAX_NAME_NBYTES)
    if end < 0 or start > len(heap.data):
        raise CorruptCheckpointError(
            "a name is not inside the heap of its group",
            offset=heap.offset,
            expected=f"a name in the {len(heap.data)} bytes of the heap",
            found=f"a name at {start}",
        )
    return heap.data[start:end]


def _read_link(body: Fields) -> Link | None:
    """Return the link of a message; None if it is not a hard link."""
    offset = body.offset
    version, flags = body.number(1), body.number(1)
    if version != 1:
        raise UnsupportedError(
            "unknown version of a link", offset=offset, expected=1, found=version
        )
    kind = body.number(1) if flags & 8 else 0
    if flags & 4:
        body.take(8)
    if flags & 16:
        body.take(1)
    name = body.take(body.number(1 << (flags & 3)))
    return None if kind else Link(name, body.number(8))


def read_leaves(
    metadata: Metadata, root: int, node_type: int, key_nbytes: int, what: str
) -> Iterator[int]:
    """Yield the addresses to which the leaves of a B-tree refer, in order; see `read_entries`."""
    for _, address in read_entries(metadata, root, node_type, key_nbytes, what):
        yield address


def read_entries(
    metadata: Metadata, root: int, node_type: int, key_nbytes: int, what: str
) -> Iterator[tuple[Fields, int]]:
    """Yield the entries of the leaves of a B-tree, in order.

    A child must be one level below its parent, so that a path has at most 256 nodes.

    Args:
        metadata: the file.
        root: address of the root.
        node_type: 0 for a group, 1 for chunks.
        key_nbytes: number of bytes of a key.
        what: what it is, for errors.

    Yields:
        The key before an address, and the address.

    Raises:
        CorruptCheckpointError: this is no B-tree.
    """
    waiting: list[tuple[int, int | None]] = [(root, None)]
    while waiting:
        address, level = waiting.pop()
        head = metadata.read(address, 24)
        head.expect(b"TREE" + bytes([node_type]), what)
        offset = head.offset
        found, count = head.number(1), head.number(2)
        if level is not None and found != level:
            raise CorruptCheckpointError(
                f"{what} has a node at the wrong level", offset=offset, expected=level, found=found
            )
        body = metadata.read(address + 24, count * (key_nbytes + 8))
        entries = [(body.take_fields(key_nbytes), body.number(8)) for _ in range(count)]
        if found:
            waiting += [(child, found - 1) for _, child in reversed(entries)]
        else:
            yield from entries
