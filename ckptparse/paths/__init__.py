"""Find the checkpoint that a path refers to, and keep the list of checkpoints in a state file."""
