"""The shape of a dataset or an attribute.

::

    version 1               version 2
    1 version               1 version
    1 number of axes        1 number of axes
    1 flags                 1 flags
    5 reserved              1 type: 0 scalar, 1 array, 2 nothing
    8 for each axis         8 for each axis

Maximum sizes follow; they do not matter for reading.

Source: "HDF5 File Format Specification Version 3.0", section IV.A.2.b.
"""

from __future__ import annotations

from ckptparse.errors import UnsupportedError
from ckptparse.hdf5.fields import Fields

_NULL = 2

_MOST_AXES = 32
"""The limit of the HDF5 library."""


def read_shape(fields: Fields) -> tuple[int, ...] | None:
    """Return the shape that a message describes; None for a dataspace without elements.

    Raises:
        CorruptCheckpointError: the message is too short.
        UnsupportedError: it has an unknown version, or more axes than HDF5 allows.
    """
    offset = fields.offset
    version, rank = fields.number(1), fields.number(1)
    fields.take(1)
    if version == 1:
        fields.take(5)
    elif version == 2:
        if fields.number(1) == _NULL:
            return None
    else:
        raise UnsupportedError(
            "unknown version of a dataspace", offset=offset, expected="1 or 2", found=version
        )
    if rank > _MOST_AXES:
        raise UnsupportedError(
            "a dataspace has too many axes", offset=offset, expected="at most 32", found=rank
        )
    return tuple(fields.number(8) for _ in range(rank))
