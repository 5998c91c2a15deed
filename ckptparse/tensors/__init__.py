"""Tensors of any file format: dtypes, names, metadata, numpy indexes, partitions, arrays."""
