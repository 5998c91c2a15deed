"""Convert a checkpoint to `.safetensors`.

Timed: the call that writes, without `sync`: ckptparse opens the checkpoint, compares the checksums,
and writes; safetensors' `save_file`, which does not sync, writes arrays that are in memory already.
Not timed: imports, a first write of the same file, which is deleted (see `writing`), and the
comparison of all values at the end, for which numpy maps the bytes where the header says.

Memory: the growth of the anonymous memory of the process up to its peak; see `peak`.  The tensors
come from a mapping that computes them, each when it is read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.data import Equal, Generated
from benchmarks.row import OURS, Contender, Job, Row
from benchmarks.rows.read_all import require_all
from benchmarks.rows.writing import Values, measure_peak, new_folder

_MOST_PRIVATE_NBYTES = 64e6


def convert_time(name: str, data: Equal) -> Row:
    """Return the row for the time of converting a checkpoint."""
    return Row(
        name=name,
        what="checkpoint written as .safetensors, not synced",
        unit="s",
        data=data,
        contenders=(
            Contender(OURS, partial(_convert, verify=True)),
            Contender(f"{OURS}, verify=False", partial(_convert, verify=False)),
            Contender("safetensors save_file of arrays", _save_file, needs="safetensors"),
        ),
        rounds=5,
    )


def convert_memory(name: str, nbytes: int) -> Row:
    """Return the row for the memory of writing `.safetensors`.

    `save_file` needs all arrays at the same time, so it is no rival.
    """
    return Row(
        name=name,
        what="most private memory while writing .safetensors",
        unit="B",
        data=Generated(nbytes),
        contenders=(Contender(OURS, _save_generated),),
        rounds=3,
        linux_only=True,
        limit=_MOST_PRIVATE_NBYTES,
        reads=False,
    )


def _convert(job: Job, *, verify: bool) -> float:
    from ckptparse import open_checkpoint, save

    def write(path: str) -> None:
        with open_checkpoint(job.prefix, verify=verify) as ckpt:
            save(path, ckpt, sync=False)

    return _time(job, write)


def _save_file(job: Job) -> float:
    from safetensors.numpy import save_file

    arrays = {tensor.name: tensor.values() for tensor in job.data}
    return _time(job, lambda path: save_file(arrays, path))


def _time(job: Job, write: Callable[[str], None]) -> float:
    """Write a file, delete it, and return the time of writing it again."""
    with new_folder(job) as folder:
        path = f"{folder}/model.safetensors"
        write(path)
        os.unlink(path)
        start = perf_counter()
        write(path)
        seconds = perf_counter() - start
        require_all(job, _map(path))
    return seconds


def _save_generated(job: Job) -> float:
    from ckptparse import save

    with new_folder(job) as folder:
        path = f"{folder}/model.safetensors"
        save(f"{folder}/first.safetensors", Values([job.data[0]]), sync=False)
        nbytes = measure_peak(lambda: save(path, Values(job.data), sync=False))
        arrays = _map(path)
        for tensor in job.data:
            tensor.require_equal(arrays[tensor.name])
    return nbytes


def _map(path: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file, as numpy maps them."""
    with open(path, "rb") as file:
        nbytes = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(nbytes))
    header.pop("__metadata__", None)
    dtypes = {"F32": "f4", "F64": "f8", "I32": "i4", "I64": "i8"}
    return {
        name: np.memmap(
            path,
            dtypes[entry["dtype"]],
            "r",
            8 + nbytes + entry["data_offsets"][0],
            tuple(entry["shape"]),
        )
        for name, entry in header.items()
    }
