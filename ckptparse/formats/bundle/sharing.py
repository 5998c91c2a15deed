"""Bound the work of loops over tensors that share their bytes.

TensorFlow stores each tensor in bytes of its own.  A crafted index can have a thousand entries for
the same megabyte, and make an hour's work of a small file.  A single read is bounded by its data
file; a loop over many tensors is bounded here.
"""

from __future__ import annotations

from ckptparse.errors import CorruptCheckpointError
from ckptparse.formats.bundle.entries import Entry
from ckptparse.limits import MAX_SHARED_RATIO
from ckptparse.sources import Source


class TakenBytes:
    """Counts the bytes that one loop takes of each data file."""

    def __init__(self) -> None:
        self._nbytes: dict[int, int] = {}

    def add(self, entry: Entry, shard: Source) -> None:
        """Count the bytes of a tensor, or a slice, before they are read.

        Raises:
            CorruptCheckpointError: with them, the loop takes many times the bytes of the data
                file.  They are not counted then.
        """
        taken = self._nbytes.get(entry.shard_id, 0) + entry.nbytes
        if taken > MAX_SHARED_RATIO * shard.nbytes:
            raise CorruptCheckpointError(
                "tensors share the same bytes",
                file=shard.name,
                offset=entry.offset,
                expected=f"at most {MAX_SHARED_RATIO} times the {shard.nbytes} bytes of the file",
                found=f"{taken} bytes so far",
            )
        self._nbytes[entry.shard_id] = taken
