"""The error for arguments that are wrong in a way that `argparse` cannot know."""


class UsageError(Exception):
    """An argument is wrong; the text says which one and what it should be."""
