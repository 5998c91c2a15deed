"""The V2 format, "tensor bundle": an index table and data shards.

`index` finds entries, `entries` decodes one and `entry_columns` all of a block.  `infos` makes the
metadata of tensors from entries.  `shards` opens data files, `payload` checks and decodes the bytes
of a tensor, and `reader` implements the protocol of formats with them.
"""

from ckptparse.formats.bundle.reader import BundleReader

__all__ = ["BundleReader"]
