"""Encodings of numbers, keys and checksums, in memory only."""
