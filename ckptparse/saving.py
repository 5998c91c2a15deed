"""Save tensors as a checkpoint that TensorFlow restores."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from itertools import groupby, product, zip_longest
from operator import index as as_index
from typing import TYPE_CHECKING, Any

import numpy as np

from ckptparse.checkpoint import Checkpoint
from ckptparse.errors import (
    CheckpointError,
    CheckpointExistsError,
    CheckpointNotFoundError,
    InvalidTensorsError,
    located,
)
from ckptparse.formats.bundle.index import BundleIndex
from ckptparse.formats.bundle.publishing import publish, remove_leftovers, require_free
from ckptparse.formats.bundle.writer import BundleWriter, require_key
from ckptparse.formats.file_names import INDEX_SUFFIX, STATE_FILE_NAME, V2_PART
from ckptparse.outputs import Folder, Output, folder_for
from ckptparse.paths.removal import group_files, list_removable_files
from ckptparse.paths.state_file import CheckpointState, format_state, read_state
from ckptparse.paths.state_update import add_checkpoint
from ckptparse.sources import files_for, is_url
from ckptparse.tensors.conversion import to_array
from ckptparse.tensors.dtypes import lookup, number_of, number_of_array
from ckptparse.tensors.mapping import PIECE_NBYTES, TensorMapping, find_all_roots
from ckptparse.tensors.names import encode_name, not_found
from ckptparse.tensors.numpy_index import Box
from ckptparse.tensors.pieces import Piece, cut, is_last

if TYPE_CHECKING:
    from numpy.typing import NDArray

Tensors = Mapping[str, Any] | Iterable[tuple[str, Any]]
"""Names to arrays, or pairs of them."""

Partitions = Mapping[str, int | tuple[int, ...]]
"""Name of a tensor -> number of its slices along the first axis, or along each axis."""

Progress = Callable[[int, int | None], object]
"""Called with the bytes written, and the bytes in all if that is known."""


def save_checkpoint(
    prefix: str | os.PathLike[str],
    tensors: Tensors,
    *,
    shard_nbytes: int | None = None,
    partitions: Partitions | None = None,
    object_graph: str | None = None,
    update_state: bool = False,
    max_to_keep: int | None = 5,
    overwrite: bool = False,
    sync: bool = True,
    progress: Progress | None = None,
) -> str:
    """Save tensors as a V2 checkpoint, which TensorFlow restores.

    Tensors are read and written one after the other, large ones piece by piece.  The files are
    written under temporary names in the same directory, and get their names when they are complete,
    the index last: at every moment there is either the checkpoint that was there before or the new
    one, whole.  Files that a killed writer left there are removed.

    The same tensors in the same order give the files that TensorFlow's ``SaveV2`` writes, byte for
    byte, if they are saved in one data file and no checkpoint is replaced at a URL.

    Args:
        prefix: path or URL of the checkpoint without ``.index``; the directory is made if needed.
        tensors: a mapping from names to arrays, such as a `Checkpoint`, a selection or a dict; or
            an iterable of pairs.  An array has any dtype that ckptparse reads; strings are `bytes`
            or `str`, and text is encoded as UTF-8.  Anything that numpy converts to an array will
            do, and tensors of PyTorch on the CPU.
        shard_nbytes: begin another data file rather than let one have more bytes than this, unless
            it has one tensor only.  None writes one data file.
        partitions: save these tensors in slices, as TensorFlow saves partitioned variables.
        object_graph: None to keep the graph of the objects of an object-based checkpoint from which
            the tensors are, without the objects that are left out; ``"paths"`` to make a graph from
            names that are paths of objects, such as ``model/dense/kernel``.
        update_state: make this checkpoint the latest one in the file ``checkpoint`` of the
            directory.
        max_to_keep: with `update_state`, how many checkpoints to keep: the oldest others are
            deleted once the new one is safe.  None or 0 keeps all.
        overwrite: replace a checkpoint of this name.  Arrays over its files keep their values.
        sync: wait until the disk has all bytes.  False leaves that to the operating system, as
            TensorFlow does.
        progress: called after each tensor with the bytes written so far, and the bytes in all, or
            None if that is not known.

    Returns:
        The prefix.

    Raises:
        CheckpointExistsError: without `overwrite`, there is a file of a checkpoint of this name; or
            a directory has the name.
        InvalidTensorsError: a name is empty, is there twice or is the key of a slice; partitions do
            not fit; a tensor changes while it is read; or the tensors are read from the checkpoint
            that would be replaced.
        UnsupportedError: TensorFlow has no such dtype, or the file system cannot be written.
        UnwritableError: the operating system or the storage fails: the disk is full, for example.
        TensorNotFoundError: there is no tensor of a name in `partitions`.
        CheckpointError: reading a tensor failed.
        ImportError: `prefix` is a URL, and fsspec or the package of the storage is not installed.
            After any error, what was there before is unchanged.

    Examples:
        >>> import tempfile
        >>> import numpy as np
        >>> from ckptparse import open_checkpoint, save_checkpoint
        >>> directory = tempfile.mkdtemp()
        >>> weights = {"dense/kernel": np.ones((2, 3), "float32"), "dense/bias": np.zeros(3)}
        >>> prefix = save_checkpoint(f"{directory}/model.ckpt", weights)
        >>> open_checkpoint(prefix)["dense/kernel"].shape
        (2, 3)

        Only the weights of a checkpoint, in half the space:

        >>> with open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt") as ckpt:
        ...     small = ckpt.select(exclude="global_step", dtype="bfloat16")
        ...     _ = save_checkpoint(f"{directory}/small.ckpt", small)
    """
    prefix = os.fsdecode(prefix)
    base = _last_part(prefix)
    if shard_nbytes is not None and shard_nbytes < 1:
        raise ValueError(f"shard_nbytes is a number of bytes from 1, not {shard_nbytes}")
    _require_no_source(prefix, tensors)
    folder = folder_for(prefix, sync=sync)
    directory = prefix.removesuffix(base)

    def read_count(name: str) -> int | None:
        return _count_shards(directory + name)

    outputs: list[Output] = []
    try:
        if update_state:  # a damaged state file is an error before anything is written
            _next_state(prefix, max_to_keep)
        folder.prepare()
        with folder.lock():
            remove_leftovers(folder, read_count)
            _require_place(folder, base, prefix, overwrite=overwrite)
        writer = BundleWriter(folder.create, outputs, shard_nbytes)
        partitions = partitions or {}
        tensors, partitions = _with_object_graph(tensors, partitions, object_graph)
        _write(writer, tensors, partitions, progress)
        writer.finish()
        if not writer.entries:
            raise InvalidTensorsError("there are no tensors to save", file=prefix)
        with folder.lock():
            _require_place(folder, base, prefix, overwrite=overwrite)
            publish(folder, base, outputs, writer.entries, read_count)
            if update_state:
                _replace_state(folder, prefix, max_to_keep)
    except BaseException:
        _discard(outputs)  # before the directory, which must be empty
        folder.abandon()
        raise
    _discard(outputs)
    return prefix


def _discard(outputs: list[Output]) -> None:
    """Remove the temporary names of data files."""
    for output in outputs:
        output.discard()


def _with_object_graph(
    tensors: Tensors, partitions: Partitions, object_graph: str | None
) -> tuple[Tensors, Partitions]:
    """Return the tensors with the graph of their objects, and the partitions by their new names.

    `save_checkpoint` describes the arguments.
    """
    if object_graph == "paths":
        from ckptparse.objectgraph.carrying import attach_built_graph

        tensors, keys = attach_built_graph(
            tensors if isinstance(tensors, Mapping) else dict(tensors)
        )
        return tensors, {keys.get(name, name): counts for name, counts in partitions.items()}
    if object_graph is not None:
        raise ValueError(f'object_graph is None or "paths", not {object_graph!r}')
    if not isinstance(tensors, TensorMapping):
        return tensors, partitions
    from ckptparse.objectgraph.carrying import carry_graph

    return carry_graph(tensors), partitions


def _next_state(prefix: str, max_to_keep: int | None) -> tuple[CheckpointState, list[str]]:
    """Return the state of the directory after a checkpoint is saved, and what it drops.

    Raises:
        CorruptCheckpointError: there is a state file, but it is damaged.
        ValueError: `max_to_keep` is negative, or a state file cannot name the prefix.
    """
    files = files_for(prefix, mmap=False)
    directory, base = files.split(prefix)
    try:
        state = read_state(files, files.join(directory, STATE_FILE_NAME))
    except CheckpointNotFoundError:
        state = None
    if is_url(prefix):
        prefix, directory = base, ""
    return add_checkpoint(
        state, prefix, directory=directory, max_to_keep=max_to_keep, now=time.time()
    )


def _replace_state(folder: Folder, prefix: str, max_to_keep: int | None) -> None:
    """Make a checkpoint the latest one of its directory, and delete those that are dropped."""
    state, dropped = _next_state(prefix, max_to_keep)
    output = folder.create()
    try:
        output.write(format_state(state))
        output.finish()
        folder.replace(output, STATE_FILE_NAME)
    finally:
        output.discard()
    folder.sync()
    if is_url(prefix):
        groups = group_files(folder.names())
        names = [name for path in dropped for name in groups.get(path, [])]
        # By its name, any file can be a V1 checkpoint.
        removable = [name for name in names if V2_PART.fullmatch(name)]
    else:
        removable = list_removable_files(state, dropped, os.path.dirname(prefix))
    for path in removable:
        folder.remove(path)


def _last_part(prefix: str) -> str:
    """Return what follows the last separator of a prefix."""
    return prefix.rpartition("/")[2] if is_url(prefix) else os.path.basename(prefix)


def _require_place(folder: Folder, base: str, prefix: str, *, overwrite: bool) -> None:
    """Check that a checkpoint can be saved under a prefix."""
    names = folder.names()
    for name in {base, base + INDEX_SUFFIX} & set(names):
        if name and folder.is_directory(name):
            raise CheckpointExistsError(
                "there is a directory of this name", file=prefix, found=name
            )
    if not overwrite:
        require_free(names, base, prefix)


def _count_shards(prefix: str) -> int | None:
    """Return the number of data files of a checkpoint; None if there is none, or it is damaged."""
    try:
        index = BundleIndex(files_for(prefix, mmap=False).open(prefix + INDEX_SUFFIX, mapped=False))
        index.close()
    except (CheckpointError, FileNotFoundError):
        return None
    return index.header.num_shards


def _require_no_source(prefix: str, tensors: Tensors) -> None:
    """Check that no tensor is read from the checkpoint that would be replaced."""
    if not isinstance(tensors, TensorMapping):
        return
    place = os.path.realpath(prefix)
    for root in find_all_roots(tensors):
        if isinstance(root, Checkpoint) and os.path.realpath(root.path) == place:
            raise InvalidTensorsError(
                "the tensors are read from this checkpoint, and cannot be saved over it",
                file=prefix,
                expected="another prefix",
            )


def _write(
    writer: BundleWriter, tensors: Tensors, partitions: Partitions, progress: Progress | None
) -> None:
    """Write all tensors."""
    if isinstance(tensors, TensorMapping):
        total = sum(info.nbytes for info in tensors.infos()) if progress is not None else None
        names = list(tensors)
        _require_found(partitions.keys() - set(names), names)
        for is_partitioned, run in groupby(names, partitions.__contains__):
            if is_partitioned:
                for name in run:
                    info = tensors.info(name)
                    read = partial(tensors.read, name)
                    dtype = info.tensorflow_dtype
                    with located(tensor=name):
                        _write_slices(writer, name, dtype, info.shape, read, partitions)
                    _report(progress, writer, total)
            else:
                _write_pieces(writer, tensors.read_pieces(run, PIECE_NBYTES), progress, total)
    else:
        _write_arrays(writer, _pairs(tensors), partitions, progress)


def _pairs(tensors: Tensors) -> Iterable[tuple[str, Any]]:
    """Return pairs of name and array."""
    if isinstance(tensors, Mapping):
        return ((name, tensors[name]) for name in tensors)
    return tensors


def _report(progress: Progress | None, writer: BundleWriter, total: int | None) -> None:
    """Call `progress`; the stored form of strings can take more bytes than was expected."""
    if progress is not None:
        progress(writer.nbytes, None if total is None else max(total, writer.nbytes))


def _require_found(missing: Collection[str], names: Iterable[str]) -> None:
    """Check that each name in `partitions` is the name of a tensor.

    Raises:
        TensorNotFoundError: one is not.
    """
    if missing:
        raise not_found("no such tensor to partition", min(missing), names)


def _write_pieces(
    writer: BundleWriter, pieces: Iterable[Piece], progress: Progress | None, total: int | None
) -> None:
    """Write tensors of a lazy mapping piece by piece."""
    for piece in pieces:
        try:
            writer.add_piece(_key_of(piece.name), piece)
        except CheckpointError as error:
            error.locate(tensor=piece.name)
            raise
        if is_last(piece):
            _report(progress, writer, total)


def _write_arrays(
    writer: BundleWriter,
    arrays: Iterable[tuple[str, Any]],
    partitions: Partitions,
    progress: Progress | None,
) -> None:
    """Write whole arrays."""
    left = set(partitions)
    names = []
    for name, value in arrays:
        try:
            key = _key_of(name)
            array = value if type(value) is np.ndarray else _to_array(value)
            if name in partitions:
                left.discard(name)
                dtype = lookup(number_of_array(array.dtype)).name
                _write_slices(writer, name, dtype, array.shape, array.__getitem__, partitions)
            else:
                writer.add_array(key, array)
        except CheckpointError as error:
            error.locate(tensor=str(name))
            raise
        if left:
            names.append(name)
        if progress is not None:
            _report(progress, writer, None)
    _require_found(left, names)


def _to_array(value: Any) -> NDArray[Any]:
    """Return a value as an array.

    Raises:
        InvalidTensorsError: it is none.
    """
    try:
        return to_array(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidTensorsError(
            "this value cannot be converted to an array", found=f"{type(value).__name__}: {error}"
        ) from error


def _write_slices(
    writer: BundleWriter,
    name: str,
    dtype: str,
    shape: tuple[int, ...],
    read: Callable[[tuple[Any, ...]], NDArray[Any]],
    partitions: Partitions,
) -> None:
    """Write a partitioned tensor: its slices one after the other, each piece by piece.

    Args:
        writer: the writer.
        name: name of the tensor.
        dtype: TensorFlow's name of its dtype.
        shape: its shape.
        read: returns the part of the tensor that an index selects.
        partitions: has the numbers of slices.

    Raises:
        InvalidTensorsError: the tensor cannot be divided so.
    """
    itemsize = lookup(number_of(dtype)).itemsize
    if itemsize is None:
        raise InvalidTensorsError("TensorFlow cannot read strings that are saved in slices")
    boxes = divide(shape, partitions[name])
    key = _key_of(name)
    if len(boxes) > 1:
        writer.begin_slices(key, number_of(dtype), shape)
    for box in boxes:
        extents = tuple(zip(box.start, box.shape))
        for start, index in cut(box.shape, itemsize, PIECE_NBYTES):
            piece = Piece(name, dtype, box.shape, start, np.asarray(read(shift(index, box))))
            if len(boxes) > 1:
                writer.add_slice_piece(key, extents, piece)
            else:
                writer.add_piece(key, piece)


def divide(shape: tuple[int, ...], counts: int | tuple[int, ...]) -> list[Box]:
    """Return the slices of a partitioned tensor, in row-major order.

    As TensorFlow's ``fixed_size_partitioner`` does, the first slices of an axis have one element
    more, if it cannot be divided evenly.

    Args:
        shape: shape of the tensor.
        counts: number of slices along the first axis, or along each of the first axes.

    Raises:
        InvalidTensorsError: there are more numbers than axes, or more slices than elements.
    """
    given = counts if isinstance(counts, (tuple, list)) else (counts,)
    try:
        counts = tuple(map(as_index, given))
    except TypeError:  # not whole numbers
        counts = (0,)
    if len(counts) > len(shape) or any(not 1 <= n <= size for n, size in zip(counts, shape)):
        raise InvalidTensorsError(
            "the tensor cannot be divided so",
            expected=f"1 to {list(shape)} slices along its axes",
            found=list(given),
        )
    axes = []
    for size, count in zip_longest(shape, counts, fillvalue=1):
        least, more = divmod(size, count)
        starts = [i * least + min(i, more) for i in range(count)]
        axes.append([(start, least + (i < more)) for i, start in enumerate(starts)])
    return [
        Box(tuple(start for start, _ in extents), tuple(size for _, size in extents))
        for extents in product(*axes)
    ]


def shift(index: tuple[Any, ...], box: Box) -> tuple[Any, ...]:
    """Return the index in a tensor of what an index from `cut` selects in a slice of it."""
    if index == (...,):
        index = ()
    shifted: list[Any] = []
    for axis, (start, size) in enumerate(zip(box.start, box.shape)):
        part = index[axis] if axis < len(index) else slice(0, size)
        if isinstance(part, slice):
            shifted.append(slice(start + part.start, start + part.stop))
        else:
            shifted.append(start + part)
    return (*shifted, ...)


def _key_of(name: str) -> bytes:
    """Return the key of a tensor.

    Raises:
        InvalidTensorsError: a tensor cannot have this name.
    """
    key = encode_name(name) if isinstance(name, str) else b""
    require_key(key, name)
    return key
