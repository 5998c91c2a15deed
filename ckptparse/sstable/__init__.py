"""TensorFlow's sorted string table: the container of `.index` files and of whole V1 checkpoints.

`layout` says where blocks lie in a file and reads one, `block` what stands in a block, entry by
entry, `columns` all of it at once, `table` finds a key among the blocks.
"""

from ckptparse.sstable.block import FREE_ENTRIES, MAX_KEY_RATIO, MIN_ENTRY_NBYTES
from ckptparse.sstable.columns import Columns
from ckptparse.sstable.table import Table

__all__ = ["FREE_ENTRIES", "MAX_KEY_RATIO", "MIN_ENTRY_NBYTES", "Columns", "Table"]
