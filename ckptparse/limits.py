"""Limits on the contents of files, which bound the work and the memory that a file can cause.

The text of each limit says how close the files that TensorFlow writes can come to it.  A limit in
proportion to the size of a file also allows a fixed amount; its name contains FREE.  SECURITY.md
lists all limits for users.  Limits of TensorFlow itself, such as 254 dimensions, are in the modules
that decode these fields.
"""

from __future__ import annotations

MAX_KEYS_RATIO = 24
MAX_FREE_KEYS_NBYTES = 1 << 12
"""All keys of a block together may have 24 times the stored bytes of the block, plus 4 KiB.

A stored key omits the prefix that it shares with the previous key, so the decoded keys can be far
larger than the block.  TensorFlow writes each 16th key in full, so its keys have at most 16 times
their stored bytes.
"""

MAX_FREE_KEY_NBYTES = 1 << 16
"""A key may have 64 KiB, or as many bytes as its stored block; a name in a V1 file, as its file.

TensorFlow's keys are names of variables: a few hundred bytes.
"""

MIN_ENTRY_NBYTES = 6
MAX_FREE_ENTRIES = 64
"""A compressed block may have one entry for each 6 stored bytes, plus 64.

The smallest entries that TensorFlow writes, of scalars with equal values, take 7 bytes: each has a
key and an offset of its own.  Empty tensors can take less, but there are rarely more than 64.
"""

MIN_SLICE_NBYTES = 8
MAX_FREE_SLICES = 1 << 10
"""A file may list one slice for each 8 bytes, plus 1,024; a V1 file may list as many tensors.

A slice is stored twice: in the entry of its tensor, and under its own key.  The smallest slices
that TensorFlow can write, single zeros in a compressed index, take 10 bytes.
"""

MAX_PARTS_PER_PART = 16
"""The messages inside an entry may together have 16 times as many fields as the entry may have.

A slice is a field of the entry, and an extent is a field of the slice, so this limits the extents
to two for each byte of a file.  An extent that is not compressed takes two bytes or more.
"""

MAX_HEADER_NBYTES = 1 << 20
"""A header or a version may have 1 MiB; TensorFlow's have about ten bytes."""

MAX_SHARED_RATIO = 4
"""All tensors that one loop reads from a data file may have 4 times the bytes of the file.

In files that TensorFlow writes, each byte belongs to one tensor.
"""

MAX_FREE_CELLS = 1 << 20
"""The bounds of slices may divide a tensor into 2**20 cells, or as many as the index has bytes.

TensorFlow divides a partitioned variable along one axis, into one cell for each slice.
"""

MAX_OPENED_CANDIDATES = 200
"""In a directory without a state file, this many files are opened to find V1 checkpoints."""

MAX_SEARCHED_DIRECTORIES = 100
"""The subdirectories of a directory are searched if there are no more than this number."""

MAX_STATE_NBYTES = 1 << 22
MAX_FREE_FORM_STATE_NBYTES = 1 << 18
"""A state file may have 4 MiB.  Lines of another form than TensorFlow's may have 256 KiB in all.

TensorFlow writes two lines, about 100 bytes, for each checkpoint that is kept.  Protobuf parses the
other lines; it takes microseconds and a hundred bytes of memory for each letter.
"""

MIN_TOKEN_LETTERS = 4
MAX_FREE_TOKENS = 10_000
"""A graph as text may have one token for each 4 letters, plus 10,000.

TensorFlow's text has 8 letters for each token, or 5 if it is written in one line.  Protobuf's
parser takes two seconds for a megabyte of ``a:1``.
"""

MAX_PATH_LETTERS_RATIO = 16
MAX_FREE_PATH_LETTERS = 1 << 20
"""Paths that are built at once may have 2**20 letters, or 16 for each byte of the object graph.

The name of a child is stored once, but is part of the paths of all objects below it.
"""


def max_path_letters(nbytes: int) -> int:
    """Return the largest total length of the paths that are built from a graph of a size."""
    return max(MAX_FREE_PATH_LETTERS, MAX_PATH_LETTERS_RATIO * nbytes)


MAX_INDEX_ERRORS = 10_000
MAX_DAMAGED_TENSORS = 50_000
"""A report of damage ends after these numbers of damaged index entries and damaged tensors."""

MAX_SAFETENSORS_HEADER_NBYTES = 100_000_000
"""A safetensors header may have 100 MB, the limit of the library.

A tensor takes about a hundred bytes of it, so that headers of real models have less than 1 MB.
"""

MAX_PADDED_RATIO = 16
MAX_FREE_PADDED_NBYTES = 1 << 23
"""The repeated elements of the constants of a graph may take 16 times the size of the file, plus
8 MiB, if several values are stored; they are written into an array.

TensorFlow omits a run of equal values at the end of a constant if that halves its size.
"""

MAX_SPLAT_NBYTES = 1 << 30
"""The elements of the constants with one value, repeated for all elements, may take 1 GiB.

Reading them takes no memory, but saving them writes all of their bytes.  TensorFlow stores
``tf.constant(0.0, shape=[5000, 5000])``, 100 MB, in a hundred bytes.  Frozen weights are rarely all
equal.
"""

MAX_DEFLATE_RATIO = 1032
"""Inflated data may have 1032 times the bytes of the compressed data.

This is the largest ratio of deflate: two bits stand for 258 bytes.  Weights have a ratio of about
1.1, zeros one of 1000.
"""

MAX_INFLATED_HEADER_RATIO = 4
MAX_FREE_INFLATED_HEADER_NBYTES = 1 << 20
"""The header of a compressed safetensors file may have 4 times its compressed bytes, plus 1 MiB.

A header takes 32 times its size in memory.  That of a real file is smaller than the weights, which
hardly get smaller by compression.
"""

MAX_FREE_INFLATED_CONFIG_NBYTES = 1 << 22
"""A compressed configuration of a Keras model may have 4 times its compressed bytes, plus 4 MiB."""

MAX_INFLATED_STEPS_RATIO = 1
MAX_FREE_INFLATED_STEPS = 1 << 20
"""Finding the constants of a compressed graph may take a step for each compressed byte, plus 2**20.

A step is a look at the file: two or three for each field.  A million take two seconds at most.  A
node of a real graph takes about 75, so that 14,000 nodes are always allowed.  Weights, which hardly
get smaller by compression, allow more.
"""

MAX_INFLATED_TEXT_RATIO = 8
MAX_FREE_INFLATED_TEXT_NBYTES = 1 << 22
"""A compressed graph as text may have 8 times its compressed bytes, plus 4 MiB.

Protobuf's parser can take two seconds for a megabyte.  Graphs as text are rarely that large.
"""

MAX_FREE_INFLATED_HDF5_NBYTES = 1 << 23
"""Reading the metadata of a compressed HDF5 file may take twice its compressed bytes, plus 8 MiB.

Keras writes 1.5 KB of metadata for a layer or a variable.
"""

MAX_INFLATED_INDEX_RATIO = 8
MAX_FREE_INFLATED_INDEX_NBYTES = 1 << 20
"""A compressed index may have 8 times its compressed bytes, plus 1 MiB.  So may the index block and
the table of contents of a V1 file, and the directory of an .npz that is compressed as a whole.

An entry has a checksum of four bytes, which hardly gets smaller, and about 40 other bytes.
"""

MAX_NPY_HEADER_NBYTES = 10_000
MAX_NPY_HEADERS_RATIO = 1
MAX_FREE_NPY_HEADERS_NBYTES = 1 << 16
"""The header of an array in an .npz may have 10,000 bytes, the limit of numpy.

All different headers of a file together may have 64 KiB more than the file has bytes.  Deflated
headers could have a thousand times its bytes.  numpy's headers have 118 bytes, or more for an array
of records; a member takes at least 76 bytes and twice its name in the archive, and its compressed
header about 70 bytes.
"""

MAX_HDF5_RATIO = 2
MAX_FREE_HDF5_NBYTES = 1 << 16
"""Reading the metadata of an HDF5 file may take twice the bytes of the file, plus 64 KiB.

In files of Keras, each byte of metadata is read once, except the first bytes of a header.
"""

MAX_HDF5_DEPTH = 100
"""Groups of an HDF5 file may be nested 100 deep.

Keras 3 writes two groups for each model inside a model, and two for a layer.
"""

MAX_CHUNK_RATIO = 16
MAX_FREE_CHUNK_NBYTES = 1 << 26
"""A compressed chunk of an HDF5 dataset may have 64 MiB, or 16 times its stored bytes.

A chunk is in memory as a whole.  Keras writes none; h5py chooses chunks of up to 1 MiB.
"""

MAX_CONFIG_NBYTES = 1 << 26
MAX_CONFIG_DEPTH = 100
"""The configuration of a Keras model may have 64 MiB, and may be nested 100 deep.

That of a large model has a few megabytes.  A layer takes ten levels, and each model around it four.
"""

MIN_MEMBER_NBYTES = 16
MAX_FREE_MEMBERS = 1 << 10
"""A tar archive may have one header for each 16 bytes of the file, plus 1,024.

A header has 512 bytes; gzip makes about 50 of it.  An empty file in a row of them takes 20.
"""

MAX_EXTENDED_HEADER_NBYTES = 1 << 20
"""An extended header of a tar archive may have 1 MiB; those of real archives have 100 bytes."""

MAX_MEMBER_NAMES_RATIO = 16
"""All names in a tar archive may have 16 bytes for each byte of the file, plus 1 MiB.

A name is in a header of its own, which takes 20 compressed bytes or more.
"""

MAX_ARCHIVE_DEPTH = 32
"""A file in an archive may be in 32 directories, one in the other; real archives have about 3."""

MAX_ARCHIVE_DIRECTORIES = 1_000
"""An archive is searched for a checkpoint if it has no more directories than this."""
