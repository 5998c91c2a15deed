"""TensorFlow's sorted string table: the container of `.index` files and of whole V1 checkpoints.

`layout` describes where blocks are in a file and reads one.  `block` decodes the entries of a
block, `columns` all of them at once.  `table` finds the block of a key.
"""

from ckptparse.sstable.columns import Columns
from ckptparse.sstable.layout import is_table
from ckptparse.sstable.table import Table

__all__ = ["Columns", "Table", "is_table"]
