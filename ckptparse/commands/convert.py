"""Convert a checkpoint to another format, or to another checkpoint.

The suffix of DST decides the format: .safetensors, .npz, .npy (a directory with a file for each
tensor), .pt (PyTorch) or .h5; any other name is the prefix of a checkpoint. Only a checkpoint
gets the object graph of TensorFlow 2.
"""

from __future__ import annotations

import argparse

from ckptparse.commands.arguments import add_path, open_path
from ckptparse.commands.writing import add_writing, write

NAME = "convert"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_path(parser, metavar="SRC")
    parser.add_argument("destination", metavar="DST", help="path or URL to save to")
    add_writing(parser)


def run(arguments: argparse.Namespace) -> int:
    """Convert the checkpoint."""
    with open_path(arguments) as ckpt:
        return write(arguments, ckpt, arguments.destination)
