"""Answers about the values of tensors."""
