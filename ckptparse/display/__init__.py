"""Names, sizes and tables for people."""
