"""Find the checkpoint that a user's path refers to."""
