"""List names, shapes and dtypes of all tensors of a checkpoint with many tensors.

Timed: opening and listing.  Not timed: imports, and a first open and read.
`tf.train.list_variables` returns no dtypes; the row has it because many scripts call it.

safetensors stores names, shapes and dtypes as JSON of at most 100 MB.  A million names are longer,
so safetensors does not write such a file.
"""

from __future__ import annotations

from collections.abc import Iterable
from time import perf_counter

from benchmarks.data import SmallTensors, WrongValuesError
from benchmarks.row import OURS, Contender, Job, Row

_MOST_SAFETENSORS = 100_000


def listing(name: str, count: int) -> Row:
    """Return the row."""
    rivals = (
        Contender(
            "safetensors get_slice of every name",
            _safetensors,
            needs="safetensors",
            form="safetensors",
        ),
    )
    return Row(
        name=name,
        what="names, shapes and dtypes of all tensors",
        unit="s",
        data=SmallTensors(count),
        contenders=(
            Contender(OURS, _ckptparse),
            Contender("TensorFlow shape and dtype maps", _maps, tensorflow=True),
            Contender("TensorFlow list_variables", _list_variables, tensorflow=True),
            *(rivals if count <= _MOST_SAFETENSORS else ()),
        ),
        rounds=5,
    )


def _ckptparse(job: Job) -> float:
    from ckptparse import open_checkpoint

    open_checkpoint(job.prefix)[job.data[0].name]

    start = perf_counter()
    infos = open_checkpoint(job.prefix).infos()
    seconds = perf_counter() - start

    _require_listed(job, ((info.name, info.shape, info.dtype.name) for info in infos))
    return seconds


def _maps(job: Job) -> float:
    import tensorflow as tf

    tf.train.load_checkpoint(job.prefix).get_tensor(job.data[0].name)

    start = perf_counter()
    reader = tf.train.load_checkpoint(job.prefix)
    shapes = reader.get_variable_to_shape_map()
    dtypes = reader.get_variable_to_dtype_map()
    seconds = perf_counter() - start

    _require_listed(job, ((name, tuple(shapes[name]), dtypes[name].name) for name in shapes))
    return seconds


def _list_variables(job: Job) -> float:
    import tensorflow as tf

    tf.train.load_checkpoint(job.prefix).get_tensor(job.data[0].name)

    start = perf_counter()
    variables = tf.train.list_variables(job.prefix)
    seconds = perf_counter() - start

    _require_listed(job, ((name, tuple(shape), "float32") for name, shape in variables))
    return seconds


def _safetensors(job: Job) -> float:
    from safetensors import safe_open

    path = job.rival("safetensors")
    with safe_open(path, framework="np") as file:
        file.get_tensor(job.data[0].name)

    start = perf_counter()
    with safe_open(path, framework="np") as file:
        slices = [(name, file.get_slice(name)) for name in file.keys()]  # noqa: SIM118  # no dict
        listed = [(name, tuple(part.get_shape()), part.get_dtype()) for name, part in slices]
    seconds = perf_counter() - start

    names = {"F32": "float32"}
    _require_listed(job, ((name, shape, names[dtype]) for name, shape, dtype in listed))
    return seconds


def _require_listed(job: Job, found: Iterable[tuple[str, tuple[int, ...], str]]) -> None:
    listed = list(found)
    written = {(tensor.name, tensor.shape, tensor.dtype) for tensor in job.data}
    if len(listed) != len(written) or set(listed) != written:
        raise WrongValuesError("other names, shapes or dtypes than those written")
