"""From the start of a process to the first tensor of a large checkpoint in hand.

Timed from outside: starting the interpreter, importing, opening and reading one tensor (4 MB at
full size), until it prints the tensor's shape, first and last value.  Ending the process is not
timed.  The programs import nothing else, least of all this package.
"""

from __future__ import annotations

from benchmarks.data import Layers
from benchmarks.row import OURS, Contender, Job, Program, Row

_CKPTPARSE = """
import sys
from ckptparse import open_checkpoint
prefix, name = sys.argv[1:3]
tensor = open_checkpoint(prefix)[name]
print(tensor.shape, tensor.flat[0], tensor.flat[-1], flush=True)
"""

_TENSORFLOW = """
import sys
import tensorflow as tf
prefix, name = sys.argv[1:3]
tensor = tf.train.load_checkpoint(prefix).get_tensor(name)
print(tensor.shape, tensor.flat[0], tensor.flat[-1], flush=True)
"""

_MEMMAP = """
import sys
import numpy
file, offset, dtype, *shape = sys.argv[3:]
tensor = numpy.memmap(file, dtype, "r", int(offset), tuple(map(int, shape)))
print(tensor.shape, tensor.flat[0], tensor.flat[-1], flush=True)
"""


def first_tensor(name: str, nbytes: int) -> Row:
    """The row."""
    return Row(
        name=name,
        what="process start to the first tensor in hand",
        unit="s",
        data=Layers(nbytes),
        contenders=(
            Contender(OURS, _program(_CKPTPARSE)),
            Contender("TensorFlow load_checkpoint", _program(_TENSORFLOW), tensorflow=True),
            Contender("import numpy + numpy.memmap", _program(_MEMMAP), floor=True),
        ),
        rounds=11,
    )


def _program(text: str) -> Program:
    return Program(text, _arguments, _answer)


def _arguments(job: Job) -> list[str]:
    """Prefix and name, and for numpy.memmap what only a checkpoint reader could tell it."""
    from ckptparse import open_checkpoint

    tensor = job.data[0]
    with open_checkpoint(job.prefix) as ckpt:
        info = ckpt.info(tensor.name)
    place = [str(info.file), str(info.offset), tensor.dtype, *map(str, tensor.shape)]
    return [job.prefix, tensor.name, *place]


def _answer(job: Job) -> str:
    values = job.data[0].values()
    return f"{values.shape} {values.flat[0]} {values.flat[-1]}"
