"""Format names, sizes and tables for people."""
