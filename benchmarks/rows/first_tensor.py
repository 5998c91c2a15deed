"""Read the first tensor of a large checkpoint, measured from the start of the process.

Timed from outside: start of the interpreter, imports, opening and reading one tensor (4 MB at full
size), until the program prints the tensor's shape, first and last value.  Not timed: the end of the
process.  The programs import nothing else, in particular not this package.

safetensors reads the same tensor from a file with all tensors.  numpy.load maps a file with only
this tensor.  Neither verifies a checksum.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.data import Layers, npy_path
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
file, offset, dtype, *shape = sys.argv[1:]
tensor = numpy.memmap(file, dtype, "r", int(offset), tuple(map(int, shape)))
print(tensor.shape, tensor.flat[0], tensor.flat[-1], flush=True)
"""

_SAFETENSORS = """
import sys
from safetensors import safe_open
path, name = sys.argv[1:3]
with safe_open(path, framework="np") as file:
    tensor = file.get_tensor(name)
print(tensor.shape, tensor.flat[0], tensor.flat[-1], flush=True)
"""

_NUMPY_LOAD = """
import sys
import numpy
tensor = numpy.load(sys.argv[1], mmap_mode="r")
print(tensor.shape, tensor.flat[0], tensor.flat[-1], flush=True)
"""


def first_tensor(name: str, nbytes: int) -> Row:
    """Return the row."""
    return Row(
        name=name,
        what="process start to the first tensor in hand",
        unit="s",
        data=Layers(nbytes),
        contenders=(
            Contender(OURS, _program(_CKPTPARSE, _prefix_and_name)),
            Contender(
                "TensorFlow load_checkpoint",
                _program(_TENSORFLOW, _prefix_and_name),
                tensorflow=True,
            ),
            Contender(
                "safetensors safe_open",
                _program(_SAFETENSORS, _safetensors_and_name),
                needs="safetensors",
                form="safetensors",
            ),
            Contender("numpy.load, mmap_mode", _program(_NUMPY_LOAD, _npy), form="npy"),
            Contender("import numpy + numpy.memmap", _program(_MEMMAP, _place), floor=True),
        ),
        rounds=11,
    )


def _program(text: str, arguments: Callable[[Job], list[str]]) -> Program:
    return Program(text, arguments, _answer)


def _prefix_and_name(job: Job) -> list[str]:
    return [job.prefix, job.data[0].name]


def _safetensors_and_name(job: Job) -> list[str]:
    return [job.rival("safetensors"), job.data[0].name]


def _npy(job: Job) -> list[str]:
    return [npy_path(job.rival("npy"), 0)]


def _place(job: Job) -> list[str]:
    """Return the file, offset, dtype and shape for numpy.memmap."""
    from ckptparse import open_checkpoint

    tensor = job.data[0]
    with open_checkpoint(job.prefix) as ckpt:
        info = ckpt.info(tensor.name)
    return [str(info.file), str(info.offset), tensor.dtype, *map(str, tensor.shape)]


def _answer(job: Job) -> str:
    values = job.data[0].values()
    return f"{values.shape} {values.flat[0]} {values.flat[-1]}"
