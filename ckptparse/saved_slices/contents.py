"""The table of contents of a V1 file.

Key -> value of the table, every value a SavedTensorSlices message:

    empty key           field 1, SavedTensorSliceMeta: for each tensor of this file its name, whole
                        shape, dtype and the slices that are in this file; and versions
    slice key           field 2, SavedSlice: the values of one slice; see `slices` for the key and
                        `record` for the value

A tensor that was not partitioned has one slice, of whole dimensions.  In a sharded checkpoint every
file has its own contents, and a name may stand in several with different slices.  Before April 2016
there were no versions.  A reader finds records by the keys made from the contents; what a record
says of its own name and slice is not looked at, nor is a record that the contents do not name.

Sources: tensorflow/core/util/saved_tensor_slice.proto, tensor_slice_reader.cc.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import NamedTuple

from ckptparse.errors import CorruptCheckpointError, NotACheckpointError, located
from ckptparse.messages import load, parse
from ckptparse.names import decode_name
from ckptparse.shapes import decode_shape, decode_slices
from ckptparse.slices import Extents
from ckptparse.sstable import Table
from ckptparse.versions import require_version

CONTENTS_KEY = b""


class Piece(NamedTuple):
    """A stored slice: which part of the tensor, in which of the files."""

    extents: Extents
    table: Table


class Entry(NamedTuple):
    """What the contents say of a tensor."""

    dtype: int
    shape: tuple[int, ...]
    pieces: tuple[Piece, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)


def read_contents(tables: Iterable[Table]) -> dict[bytes, Entry]:
    """Every tensor of a set of files, in order of names.

    Raises:
        NotACheckpointError: the index of a V2 checkpoint under another name.
        CorruptCheckpointError: contents that do not parse, or files that contradict each other.
        UnsupportedError: a file for a newer reader.
    """
    found: dict[bytes, tuple[int, tuple[int, ...], list[Piece]]] = {}
    for table in tables:
        with located(file=table.name):
            value = table.get(CONTENTS_KEY)
            if value is None:
                raise CorruptCheckpointError(
                    "contents", expected="an entry under the empty key", found="none"
                )
            if value[:1] == b"\x08":  # field 1 as a number: a header, not SavedTensorSlices
                raise NotACheckpointError(
                    "not a V1 checkpoint",
                    expected="a table of contents",
                    found="the index of a V2 checkpoint (its name ends in .index)",
                )
            contents = parse(load("saved_slices.proto")["SavedTensorSlices"], value).meta
            require_version(contents.versions)
            for tensor in contents.tensor:
                with located(tensor=decode_name(tensor.name)):
                    shape = decode_shape(tensor.shape)
                    slices = decode_slices(tensor.slice, len(shape))
                    dtype, known_shape, pieces = found.setdefault(
                        tensor.name, (tensor.type, shape, [])
                    )
                    if (dtype, known_shape) != (tensor.type, shape):
                        raise CorruptCheckpointError(
                            "contents",
                            expected=f"dtype {dtype}, shape {list(known_shape)}, as elsewhere",
                            found=f"dtype {tensor.type}, shape {list(shape)}",
                        )
                    pieces += [Piece(extents, table) for extents in slices]
    return {
        name: Entry(dtype, shape, tuple(pieces))
        for name, (dtype, shape, pieces) in sorted(found.items())
    }
