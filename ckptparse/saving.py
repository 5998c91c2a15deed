"""Save tensors as a checkpoint that TensorFlow restores."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from ckptparse.checkpoint import Checkpoint
from ckptparse.errors import (
    CheckpointError,
    CheckpointNotFoundError,
    InvalidTensorsError,
    located,
)
from ckptparse.formats.bundle.index import BundleIndex
from ckptparse.formats.bundle.publishing import publish, remove_leftovers, require_free
from ckptparse.formats.bundle.writer import BundleWriter, require_key
from ckptparse.formats.file_names import INDEX_SUFFIX, STATE_FILE_NAME, V2_PART
from ckptparse.outputs import Folder, Output, folder_for, last_part
from ckptparse.outputs.base import require_file
from ckptparse.outputs.sets import discard_all
from ckptparse.paths.removal import group_files, list_removable_files
from ckptparse.paths.state_file import CheckpointState, format_state, read_state
from ckptparse.paths.state_update import add_checkpoint
from ckptparse.sources import files_for, is_url
from ckptparse.tensors.conversion import to_array
from ckptparse.tensors.dtypes import lookup, number_of, number_of_array
from ckptparse.tensors.mapping import PIECE_NBYTES, TensorMapping, find_all_roots
from ckptparse.tensors.names import encode_name, not_found
from ckptparse.tensors.partitions import divide, shift
from ckptparse.tensors.pieces import Piece, cut, is_last

if TYPE_CHECKING:
    from numpy.typing import NDArray

Tensors = Mapping[str, Any] | Iterable[tuple[str, Any]]
"""Names to arrays, or pairs of them."""

Partitions = Mapping[str, int | tuple[int, ...]]
"""Name of a tensor -> number of its slices along the first axis, or along each axis."""

Progress = Callable[[int, int | None], object]
"""Called with the number of bytes written, and the total number or None."""


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
    written under temporary names in the same directory.  They get their final names when they are
    complete, the index last.  So at any time, the prefix refers to the old checkpoint or to the new
    one, and both are complete.  After an error, the old checkpoint is unchanged; only an error
    while old files are deleted or the state file is written comes after the replacement.  Files
    that a killed writer left in the directory are removed.

    For the same tensors in the same order, the files are equal to those of TensorFlow's ``SaveV2``,
    byte for byte, if there is one data file.  (The names of the data files can differ if a
    checkpoint is replaced; see `overwrite`.)

    Args:
        prefix: path or URL of the checkpoint, without ``.index``.  Missing directories are created.
        tensors: a mapping from names to arrays, such as a `Checkpoint`, a `Selection` or a dict; or
            an iterable of (name, array) pairs.  All dtypes that ckptparse reads are allowed.
            Strings are `bytes` or `str`; `str` is encoded as UTF-8.  In place of arrays, there can
            be anything that numpy converts to an array, and PyTorch tensors on the CPU.
        shard_nbytes: the maximum size of a data file; a new file begins with the first tensor that
            does not fit.  A larger tensor gets a file of its own.  None writes one data file.
        partitions: name -> number of slices along the first axis, or a tuple with the number of
            slices along each axis.  These tensors are saved in slices, as TensorFlow saves
            partitioned variables.
        object_graph: None keeps the object graph if the tensors come from one object-based
            checkpoint; objects whose tensors are left out are removed from it.  ``"paths"`` makes a
            graph from the names, which must be paths of objects, such as ``model/dense/kernel``.
        update_state: write the state file ``checkpoint`` of the directory, with this checkpoint as
            the latest one.
        max_to_keep: with `update_state`, the number of checkpoints to keep in the state file.  The
            files of the oldest others are deleted after the new checkpoint is complete.  None or 0
            keeps all.
        overwrite: replace a checkpoint of this name.  Arrays that are views of its files keep their
            values.  At a URL, and on file systems without hard links, the new data files can get
            other names than in a new checkpoint, such as ``.data-00000-of-00002``.
        sync: wait until all bytes are on the disk.  False leaves that to the operating system, as
            TensorFlow does.
        progress: called after each tensor with the number of bytes written so far and the total
            number of bytes; the total is None if it is not known in advance.

    Returns:
        The prefix.

    Raises:
        CheckpointExistsError: `overwrite` is False, and a checkpoint of this name or one of its
            files exists.
        InvalidTensorsError: there are no tensors; a name is empty, occurs twice or is the key of a
            slice; a value cannot be converted to an array; partitions do not fit a tensor; a tensor
            changes while it is read; the names are not those of objects, as `object_graph`
            requires; the tensors are read from the checkpoint that would be replaced; or a
            directory has the name of the checkpoint.
        UnsupportedError: TensorFlow has no such dtype, or the file system cannot be written.
        UnwritableError: the operating system or the storage fails, for example because the disk is
            full.
        TensorNotFoundError: there is no tensor of a name in `partitions`.
        CorruptCheckpointError: with `update_state`, the state file is damaged.
        CheckpointError: reading a tensor failed.
        ValueError: `shard_nbytes` is less than 1, `max_to_keep` is negative, `object_graph` is
            neither None nor ``"paths"``, or the state file cannot contain the prefix, because it is
            not UTF-8.
        ImportError: `prefix` is a URL, and fsspec or the package of the storage is not installed.

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
    base = last_part(prefix)
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
        discard_all(outputs)  # before the directory, which must be empty
        folder.abandon()
        raise
    discard_all(outputs)
    return prefix


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
    """Return the state file's new contents, and the checkpoints that are dropped from it.

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
    """Write the state file, and delete the files of the checkpoints that are dropped from it."""
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


def require_destination(prefix: str, tensors: TensorMapping, *, overwrite: bool) -> None:
    """Check that tensors can be saved under a prefix, as far as the names that are there tell.

    Raises:
        InvalidTensorsError: there are no tensors, or they are read from the checkpoint that would
            be replaced.
        CheckpointExistsError: there is a checkpoint, or a directory, that is not replaced.
        CheckpointError: the directory cannot be listed.
    """
    if not tensors:
        raise InvalidTensorsError("there are no tensors to save", file=prefix)
    _require_no_source(prefix, tensors)
    folder = folder_for(prefix, sync=False)
    _require_place(folder, last_part(prefix), prefix, overwrite=overwrite)


def _require_place(folder: Folder, base: str, prefix: str, *, overwrite: bool) -> None:
    """Check that a checkpoint can be saved under a prefix.

    Raises:
        CheckpointExistsError: `overwrite` is False, and there is a checkpoint of this name; or one
            of its files would replace a directory, a FIFO, a socket or a device.
    """
    names = folder.names()
    for name in names:
        part = V2_PART.fullmatch(name)
        if name == base or (part is not None and part["prefix"] == base):
            require_file(folder, name, prefix)
    if not overwrite:
        require_free(names, base, prefix)


def _count_shards(prefix: str) -> int | None:
    """Return the number of data files of a checkpoint; None if there is none.

    Raises:
        CheckpointError: its index cannot be read, or is damaged.
    """
    try:
        source = files_for(prefix, mmap=False).open(prefix + INDEX_SUFFIX, mapped=False)
    except FileNotFoundError:
        return None
    index = BundleIndex(source)
    index.close()
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
    total = None if progress is None else _count_nbytes(tensors)
    if isinstance(tensors, TensorMapping):
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
        _write_arrays(writer, pairs_of(tensors), partitions, progress, total)


def _count_nbytes(tensors: Tensors) -> int | None:
    """Return the bytes of all tensors, if they are known without reading the tensors."""
    if isinstance(tensors, TensorMapping):
        return sum(info.nbytes for info in tensors.infos())
    if type(tensors) is dict:  # other mappings may compute their arrays
        sizes = [getattr(value, "nbytes", None) for value in tensors.values()]
        return None if None in sizes else sum(filter(None, sizes))
    return None


def pairs_of(tensors: Tensors) -> Iterable[tuple[str, Any]]:
    """Return pairs of name and array."""
    if isinstance(tensors, Mapping):
        return ((name, tensors[name]) for name in tensors)
    return map(_require_pair, tensors)


def _require_pair(pair: Any) -> tuple[str, Any]:
    """Return a pair of name and array.

    Raises:
        InvalidTensorsError: it is anything else, such as a name alone.
    """
    if isinstance(pair, (tuple, list)) and len(pair) == 2:
        return pair[0], pair[1]
    raise InvalidTensorsError(
        "an item of the tensors is not a pair of name and array",
        expected="a mapping, or pairs of name and array",
        found=repr(pair),
    )


def _report(progress: Progress | None, writer: BundleWriter, total: int | None) -> None:
    """Call `progress`.  The total is raised if strings take more bytes than `info` said."""
    if progress is not None:
        progress(writer.nbytes, None if total is None else max(total, writer.nbytes))


def _require_found(missing: Collection[str], names: Iterable[str]) -> None:
    """Check that no name in `partitions` is missing.

    Args:
        missing: the names in `partitions` that no tensor has.
        names: the names of all tensors, for the message.

    Raises:
        TensorNotFoundError: a name is missing.
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
    total: int | None,
) -> None:
    """Write whole arrays."""
    left = set(partitions)
    names = []
    for name, value in arrays:
        try:
            key = _key_of(name)
            array = value if type(value) is np.ndarray else require_array(value)
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
            _report(progress, writer, total)
    _require_found(left, names)


def require_array(value: Any) -> NDArray[Any]:
    """Return a value as an array.

    Raises:
        InvalidTensorsError: it cannot be converted.
    """
    try:
        return to_array(value)
    except (TypeError, ValueError, RuntimeError, Warning) as error:  # numpy 1 warns of ragged lists
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
    """Write a partitioned tensor: its slices one after the other, each of them in pieces.

    Args:
        writer: writes the slices.
        name: name of the tensor.
        dtype: TensorFlow's name of its dtype.
        shape: its shape.
        read: returns the part of the tensor that an index selects.
        partitions: name -> number of slices.

    Raises:
        InvalidTensorsError: the numbers of slices do not fit the shape.
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


def _key_of(name: str) -> bytes:
    """Return the key of a tensor.

    Raises:
        InvalidTensorsError: a tensor cannot have this name.
    """
    key = encode_name(name) if isinstance(name, str) else b""
    require_key(key, name)
    return key
