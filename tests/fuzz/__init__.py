"""Fuzzing: seven targets, and mutators that know what the bytes mean; see README.md."""
