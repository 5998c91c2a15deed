"""Select, rename, match and load the tensors of any mapping."""
