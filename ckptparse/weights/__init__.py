"""Choosing, renaming, matching and loading tensors of any mapping."""
