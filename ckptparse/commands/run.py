"""Run a script that imports tensorflow only to read checkpoints.

TensorFlow need not be installed: `import tensorflow` gives the script a module in which ckptparse
implements the functions that read checkpoints.
"""

from __future__ import annotations

import argparse
import os
import runpy
import sys

from ckptparse.display.text import printable
from ckptparse.train.tensorflow_module import as_tensorflow

NAME = "run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("script", metavar="SCRIPT", help="a Python file")
    parser.add_argument(
        "arguments", metavar="ARGUMENT", nargs=argparse.REMAINDER, help="its arguments"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the script, as `python SCRIPT ARGUMENT...` would."""
    if not os.path.isfile(arguments.script):
        print(f"ckptparse: no such script: {printable(arguments.script)}", file=sys.stderr)
        return 2
    argv, path = sys.argv, sys.path[:]
    sys.argv = [arguments.script, *arguments.arguments]
    sys.path.insert(0, os.path.dirname(os.path.abspath(arguments.script)))
    try:
        with as_tensorflow():
            runpy.run_path(arguments.script, run_name="__main__")
    finally:
        sys.argv, sys.path = argv, path
    return 0
