"""What a tensor is, whatever file it is stored in: dtype, name, shape, partitions, arrays."""
