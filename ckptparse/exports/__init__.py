"""Write tensors to files of other formats.

Each module writes one format, from `Contents`: the metadata of all tensors, which is known before
anything is written, and their bytes, which are read piece by piece.  A format first refuses what it
cannot hold.  The files are created under temporary names by `ckptparse.outputs`.

This package needs nothing of the packages that read files: it writes any `TensorMapping`.
"""
