"""Decode and encode integers, keys and checksums in memory."""
