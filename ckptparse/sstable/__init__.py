"""TensorFlow's sorted string table: the container of `.index` files and of whole V1 checkpoints.

`layout` says where blocks lie in a file and reads one, `block` what stands in a block, entry by
entry, `columns` all of it at once, `table` finds a key among the blocks.
"""

from ckptparse.sstable.columns import Columns
from ckptparse.sstable.layout import is_table
from ckptparse.sstable.table import Table

__all__ = ["Columns", "Table", "is_table"]
