"""Analyse the values of tensors."""
