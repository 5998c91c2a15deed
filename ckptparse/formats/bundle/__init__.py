"""The V2 format, "tensor bundle": an index table and data shards.

`index` finds entries, `entries` decodes one and `columns` all of a block, `infos` says what they
say; `shards` opens data files, `payload` decodes the two kinds of tensors that are not plain bytes,
and `reader` puts them together.
"""

from ckptparse.formats.bundle.reader import BundleReader

__all__ = ["BundleReader"]
