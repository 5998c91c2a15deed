"""The groups and datasets of an HDF5 file, found from the root group.

An object is a group if its header has a symbol table, links or a message about links, and a dataset
if it has a layout.  Each object must have one hard link, so that paths are finite and datasets do
not share bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import prod
from typing import NamedTuple

from ckptparse.errors import (
    CorruptCheckpointError,
    UnsupportedError,
    located,
)
from ckptparse.hdf5.attributes import Attribute, decode_strings, read_attribute
from ckptparse.hdf5.dataspaces import read_shape
from ckptparse.hdf5.datatypes import StoredType, read_type
from ckptparse.hdf5.fields import Fields
from ckptparse.hdf5.filters import read_filters
from ckptparse.hdf5.groups import Link, read_links
from ckptparse.hdf5.headers import (
    ATTRIBUTE,
    DATASPACE,
    DATATYPE,
    EXTERNAL_FILES,
    FILTERS,
    LAYOUT,
    LINK,
    LINK_INFO,
    SYMBOL_TABLE,
    Message,
    read_messages,
)
from ckptparse.hdf5.heaps import GlobalHeap
from ckptparse.hdf5.layouts import Layout, read_layout
from ckptparse.hdf5.metadata import Metadata
from ckptparse.hdf5.superblock import read_root_address
from ckptparse.limits import MAX_HDF5_DEPTH, max_path_letters
from ckptparse.sources import Source

Attributes = dict[bytes, Attribute]


class Dataset(NamedTuple):
    """A dataset.

    Attributes:
        type: type of its elements; None if it could not be read.
        shape: its shape; () if it could not be read.
        layout: where the elements are; None if they cannot be read.
        filters: the filters of its chunks.
        attributes: name -> attribute.
        error: why its elements cannot be read; None if they can.
    """

    type: StoredType | None
    shape: tuple[int, ...]
    layout: Layout | None
    filters: tuple[int, ...]
    attributes: Attributes
    error: UnsupportedError | None


class HDF5File(NamedTuple):
    """The objects of a file.  A path is the names from the root with slashes between them.

    Attributes:
        groups: path -> attributes; the root has the path b"".
        datasets: path -> dataset, in the order of the groups.
        heap: the strings of variable length.
    """

    groups: dict[bytes, Attributes]
    datasets: dict[bytes, Dataset]
    heap: GlobalHeap

    def strings(self, attributes: Attributes, name: bytes) -> list[bytes]:
        """Return the strings of an attribute; [] if there is none, or it has no strings.

        Raises:
            CorruptCheckpointError: the heap lacks a string.
        """
        attribute = attributes.get(name)
        found = None if attribute is None else decode_strings(attribute, self.heap)
        return found or []


def open_hdf5(source: Source, order: Callable[[list[Link]], list[Link]] | None = None) -> HDF5File:
    """Find all groups and datasets of a file.

    Args:
        source: the file.
        order: returns the members of a group in the wanted order; None for that of the file.

    Raises:
        ChecksumError: metadata was changed.
        CorruptCheckpointError: the structures contradict each other.
        TruncatedError: the file ends before its metadata.
        UnsupportedError: the file has a form that Keras does not write.
    """
    with located(file=source.name):
        return _find_objects(source, order)


def _find_objects(source: Source, order: Callable[[list[Link]], list[Link]] | None) -> HDF5File:
    metadata = Metadata(source)
    found = HDF5File({}, {}, GlobalHeap(metadata))
    seen: set[int] = set()
    letters_left = max_path_letters(source.nbytes)
    waiting: list[tuple[bytes, int, int]] = [(b"", read_root_address(metadata), 0)]
    while waiting:
        path, address, depth = waiting.pop()
        if address in seen:
            raise UnsupportedError(
                "two links of the HDF5 file lead to the same object",
                offset=address,
                expected="one link to each object",
                found=f"another link {path.decode('utf-8', 'replace')}",
            )
        seen.add(address)
        messages = read_messages(metadata, address)
        kinds = {message.type for message in messages}
        if LAYOUT in kinds:
            found.datasets[path] = _read_dataset(metadata, messages)
            continue
        if not kinds & {SYMBOL_TABLE, LINK, LINK_INFO}:
            continue  # a type that has a name
        if depth == MAX_HDF5_DEPTH:
            raise CorruptCheckpointError(
                "groups are nested too deeply",
                offset=address,
                expected=f"at most {MAX_HDF5_DEPTH} levels",
                found="more",
            )
        found.groups[path] = _read_attributes(messages)
        links = list(read_links(metadata, messages))
        names = {link.name for link in links}
        if len(names) < len(links) or any(not name or b"/" in name for name in names):
            raise CorruptCheckpointError(
                "names of a group's members are not unique, empty or have a slash",
                offset=address,
                found=f"{len(links)} members",
            )
        above = path + b"/" if path else b""
        letters_left -= sum(len(above) + len(name) for name in names)
        if letters_left < 0:
            raise CorruptCheckpointError(
                "the paths of the HDF5 file are too long",
                offset=address,
                expected=f"at most {max_path_letters(source.nbytes)} bytes in all",
                found="more",
            )
        links = order(links) if order else links
        waiting += [(above + link.name, link.address, depth + 1) for link in reversed(links)]
    _require_disjoint(found.datasets)
    return found


def _read_attributes(messages: list[Message]) -> Attributes:
    """Return the attributes of an object.

    An attribute that cannot be read is left out: Keras needs few of them.
    """
    found: Attributes = {}
    for message in messages:
        if message.type == ATTRIBUTE and not message.is_shared:
            try:
                attribute = read_attribute(message.body)
            except UnsupportedError:
                continue
            found[attribute.name] = attribute
    return found


def _read_dataset(metadata: Metadata, messages: list[Message]) -> Dataset:
    """Return a dataset; with an error, if its elements cannot be read."""
    by_type = {message.type: message for message in messages}
    attributes = _read_attributes(messages)
    type: StoredType | None = None
    shape: tuple[int, ...] | None = ()
    layout: Layout | None = None
    filters: tuple[int, ...] = ()
    error: UnsupportedError | None = None
    try:
        type = read_type(_body(by_type, DATATYPE))
        shape = read_shape(_body(by_type, DATASPACE))
        if EXTERNAL_FILES in by_type:
            raise UnsupportedError(
                "the elements of this dataset are in another file",
                expected="elements in this file",
                found="a list of external files",
            )
        if shape is None or type.dtype is None:
            raise UnsupportedError(
                "this dataset cannot be read as an array",
                expected="numbers or booleans",
                found=type.words if shape is not None else "an empty dataspace",
            )
        if FILTERS in by_type:
            filters = read_filters(_body(by_type, FILTERS))
        layout_body = _body(by_type, LAYOUT)
        layout = read_layout(metadata, layout_body, shape, type.itemsize, filters)
    except UnsupportedError as caught:
        error = caught
    return Dataset(type, shape or (), layout, filters, attributes, error)


def _body(by_type: dict[int, Message], type: int) -> Fields:
    """Return the body of a message that each dataset must have."""
    message = by_type.get(type)
    if message is None:
        raise CorruptCheckpointError(
            "a dataset lacks a message", expected=f"a message of type {type}", found="none"
        )
    if message.is_shared:
        raise UnsupportedError(
            "a dataset refers to a type that is stored elsewhere",
            offset=message.body.offset,
            expected="a type of its own",
            found="a shared message",
        )
    return message.body


def _require_disjoint(datasets: dict[bytes, Dataset]) -> None:
    """Raise CorruptCheckpointError if two datasets or chunks share bytes of the file."""
    spans: list[tuple[int, int]] = []
    for dataset in datasets.values():
        layout, type = dataset.layout, dataset.type
        if layout is None or type is None:
            continue
        spans += [(chunk.offset, chunk.offset + chunk.nbytes) for chunk in layout.chunks]
        nbytes = prod(dataset.shape) * type.itemsize
        if layout.offset is not None and nbytes:
            spans.append((layout.offset, layout.offset + nbytes))
    spans.sort()
    for (_, stop), (start, _) in pairwise(spans):
        if start < stop:
            raise CorruptCheckpointError(
                "two datasets share bytes of the file",
                offset=start,
                expected=f"bytes from {stop} on",
                found=f"bytes from {start} on",
            )
