"""Tensors, whatever the file format: data types, names, metadata, indexes, partitions, arrays."""
