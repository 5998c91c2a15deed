"""The two heaps: names of a group's members, and strings of variable length.

::

    local heap                      global heap collection
    4 "HEAP"                        4 "GCOL"
    1 version: 0                    1 version: 1
    3 reserved                      3 reserved
    8 number of bytes               8 number of bytes, with this header
    8 offset of the free list       objects: index (2), references (2), reserved (4),
    8 address of the bytes          number of bytes (8), bytes padded to 8; index 0 is free space

Source: "HDF5 File Format Specification Version 3.0", sections III.D and III.E.
"""

from __future__ import annotations

from ckptparse.errors import CorruptCheckpointError
from ckptparse.hdf5.fields import Fields
from ckptparse.hdf5.metadata import Metadata


def read_local_heap(metadata: Metadata, address: int) -> Fields:
    """Return the bytes of a local heap.

    Raises:
        CorruptCheckpointError: there is no local heap.
    """
    fields = metadata.read(address, 32)
    fields.expect(b"HEAP\0", "a local heap")
    fields.take(3)
    nbytes = fields.number(8)
    fields.take(8)
    return metadata.read(fields.number(8), nbytes)


class GlobalHeap:
    """The strings of variable length of a file."""

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata
        self._collections: dict[int, dict[int, Fields]] = {}

    def read(self, address: int, index: int, nbytes: int) -> bytes:
        """Return the first bytes of an object.

        Args:
            address: address of its collection.
            index: index of the object in it.
            nbytes: number of bytes.

        Raises:
            CorruptCheckpointError: there is no such object, or it is shorter.
        """
        if not nbytes:
            return b""
        if address not in self._collections:
            self._collections[address] = self._read_collection(address)
        stored = self._collections[address].get(index)
        if stored is None or nbytes > len(stored.data):
            raise CorruptCheckpointError(
                "a string refers to an object that is not in the heap",
                offset=address,
                expected=f"object {index} of at least {nbytes} bytes",
                found="none" if stored is None else f"{len(stored.data)} bytes",
            )
        self._metadata.count(nbytes, address)
        return stored.data[:nbytes]

    def _read_collection(self, address: int) -> dict[int, Fields]:
        """Return the objects of a collection, by index."""
        fields = self._metadata.read(address, 16)
        fields.expect(b"GCOL\1", "a global heap")
        fields.take(3)
        nbytes = fields.number(8)
        if nbytes < 16:
            raise CorruptCheckpointError("a global heap is too short", offset=address, found=nbytes)
        contents = self._metadata.read(address + 16, nbytes - 16)
        found: dict[int, Fields] = {}
        while contents.left >= 16:
            index = contents.number(2)
            contents.take(6)
            size = contents.number(8)
            if not index:  # the rest is free
                break
            found[index] = contents.take_fields(size)
            contents.take(min(-size % 8, contents.left))
        return found
