"""Limits on what a file may say, which bound the work and the memory that it can cause.

Each limit is looser than anything that TensorFlow writes: its text names the densest example.
"Free" amounts are allowed whatever the size of the file.  SECURITY.md lists all limits for users.
Limits of TensorFlow itself, such as 254 dimensions, are in the modules that decode these fields.
"""

from __future__ import annotations

MAX_KEYS_RATIO = 24
MAX_FREE_KEYS_NBYTES = 1 << 12
"""All keys of a block may take 24 times its stored bytes, and 4 KiB.

Keys share prefixes with the key before them, and could swell without bounds.  TensorFlow writes a
full key at every 16th entry, so its keys take at most 16 times their bytes in the block.
"""

MAX_FREE_KEY_NBYTES = 1 << 16
"""A key of a block, or a name of V1, may be as long as the stored bytes that it is in, or 64 KiB.

Keys of TensorFlow are names of variables: a few hundred bytes.
"""

MIN_ENTRY_NBYTES = 6
MAX_FREE_ENTRIES = 64
"""A compressed block may have an entry for each 6 stored bytes, and 64 more.

TensorFlow's densest, scalars of the same value, take 7: each has a key and a place of its own.
More than 64 tensors without elements can take less.
"""

MIN_SLICE_NBYTES = 8
MAX_FREE_SLICES = 1 << 10
"""A file may list a slice for each 8 bytes, and 1,024 more; a V1 file as many tensors.

A slice is stored twice, in the entry of its tensor and under its key.  The densest that TensorFlow
can write, single zeros in a compressed index, take 10 bytes.
"""

MAX_PARTS_PER_PART = 16
"""The messages in an entry may have 16 parts each: a slice as many extents as a shape has sizes.

That is two extents for each byte of a file.  Stored plainly, an extent takes two bytes or more.
"""

MAX_HEADER_NBYTES = 1 << 20
"""A header, or a version, may take 1 MiB; TensorFlow's take some ten bytes."""

MAX_SHARED_RATIO = 4
"""All tensors of one loop may take 4 times the bytes of their data file.

In files that TensorFlow writes, each byte belongs to one tensor.
"""

MAX_FREE_CELLS = 1 << 20
"""Slices may cut a tensor into as many cells as the index has bytes, or a million.

TensorFlow's partitioned variables are cut along one axis: a cell for each slice.
"""

MAX_OPENED_CANDIDATES = 200
"""So many files of a directory without a state file are opened, to see whether they are V1."""

MAX_SEARCHED_DIRECTORIES = 100
"""The directories of a directory are searched if there are no more than this."""

MAX_STATE_NBYTES = 1 << 22
MAX_FREE_FORM_STATE_NBYTES = 1 << 18
"""A state file may take 4 MiB, and 256 KiB if it does not look as TensorFlow writes it.

TensorFlow writes two lines, some 100 bytes, for each checkpoint that is kept.  Protobuf's parser
of text takes microseconds and a hundred bytes of memory for each letter.
"""

MIN_TOKEN_LETTERS = 4
MAX_FREE_TOKENS = 10_000
"""A graph as text may have a token for each 4 letters, and 10,000 more.

TensorFlow's text has 8 letters for a token, and 5 if it is written in one line.  Protobuf's parser
takes two seconds for a megabyte of ``a:1``.
"""

MAX_PATH_LETTERS_RATIO = 16
MAX_FREE_PATH_LETTERS = 1 << 20
"""Paths that are made at once may take 16 letters for each byte of an object graph, or a million.

Each child's name is stored once and is part of the paths of all objects below it.
"""


def max_path_letters(nbytes: int) -> int:
    """Return how many letters all paths may take that are made from a graph of so many bytes."""
    return max(MAX_FREE_PATH_LETTERS, MAX_PATH_LETTERS_RATIO * nbytes)


MAX_INDEX_ERRORS = 10_000
MAX_DAMAGED_TENSORS = 50_000
"""A report of damage ends after so many damaged entries of the index, and damaged tensors."""
