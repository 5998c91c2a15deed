"""Save tensors in other formats, and convert checkpoints in one call."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ckptparse.checkpoint import Checkpoint
from ckptparse.errors import InvalidTensorsError
from ckptparse.opening import open_checkpoint
from ckptparse.tensors.mapping import TensorMapping

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from ckptparse.exports.contents import Contents
    from ckptparse.weights.choice import Layout
    from ckptparse.weights.renaming import Rename
    from ckptparse.weights.selection import Pattern

Tensors = Mapping[str, Any] | Iterable[tuple[str, Any]]
"""Names to arrays, or pairs of them."""

Progress = Callable[[int, int | None], object]
"""Called with the number of bytes written, and the total number or None."""


def save(
    path: str | os.PathLike[str],
    tensors: Tensors,
    *,
    format: str | None = None,
    shard_nbytes: int | None = None,
    metadata: Mapping[str, str] | None = None,
    overwrite: bool = False,
    sync: bool = True,
    progress: Progress | None = None,
) -> str:
    """Save tensors in the format that the suffix of a path names.

    | format | suffix | |
    | --- | --- | --- |
    | "safetensors" | `.safetensors` | a file of the safetensors library, or several with an index |
    | "npz" | `.npz` | an archive, as of ``numpy.savez`` |
    | "npy" | `.npy` | a directory with one `.npy` file for each tensor |
    | "pt" | `.pt`, `.pth` | a dict of tensors, as of ``torch.save`` |
    | "h5" | `.h5`, `.hdf5` | a dataset for each tensor, in groups (extra `keras`) |
    | "checkpoint" | any other | a checkpoint of TensorFlow; see `save_checkpoint` |

    Tensors are read and written one after the other, large ones piece by piece.  Everything is
    written under a temporary name, and gets its final name when it is complete.  So an interrupted
    or failed call leaves what was there before.  Only "h5" needs another package.

    All values are saved bit for bit.  A format that does not have the dtype of a tensor is refused
    before anything is written.  Quantized numbers are saved as the plain integers that they are.

    Args:
        path: path or URL to save to.  Missing directories are created.
        tensors: a mapping from names to arrays, such as a `Checkpoint`, a `Selection` or a dict; or
            an iterable of (name, array) pairs, which is held in memory.
        format: the name of the format; None for that of the suffix.
        shard_nbytes: the maximum number of bytes of tensors in a file, for "safetensors" and
            "checkpoint"; larger tensors get a file of their own.  None writes one file.  With
            several files, `path` is ``model.safetensors``, and the files are
            ``model-00001-of-00002.safetensors``, ... and ``model.safetensors.index.json``.
        metadata: texts that are saved with the tensors, for "safetensors" and, as attributes of
            the file, "h5".  None for none, and for "safetensors" ``{"format": "np"}``; the library
            ``transformers`` requires ``{"format": "pt"}``.
        overwrite: replace what is there.  A directory is replaced only if all its files are `.npy`.
            The files of a new set have other names than those of an old one, which is whole until
            the new index replaces the old index.
        sync: wait until all bytes are on the disk.
        progress: called during the work with the number of bytes written so far and the total
            number of bytes.

    Returns:
        The path.

    Raises:
        CheckpointExistsError: `overwrite` is False, and there is such a file or directory; or it is
            True, and there is a directory that is not replaced.
        UnsupportedError: the format does not have the dtype of a tensor, as `.npz` does not have
            bfloat16; or files cannot be written there.
        InvalidTensorsError: there are no tensors; a name is empty, occurs twice or cannot be
            written in the format; a value cannot be converted to an array; or a tensor changes
            while it is read.
        UnwritableError: the operating system or the storage fails.
        CheckpointError: reading a tensor failed.
        ValueError: there is no such format, the suffix is that of a format that cannot be written,
            or the format has no place for `metadata`, cannot hold it or cannot be divided by
            `shard_nbytes`.
        ImportError: `path` is a URL, and fsspec or the package of the storage is not installed; or
            the format is "h5", and h5py is not installed.

    Examples:
        >>> import tempfile
        >>> import numpy as np
        >>> from ckptparse import open_checkpoint, save
        >>> directory = tempfile.mkdtemp()
        >>> with open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt") as ckpt:
        ...     path = save(f"{directory}/vgg.npz", ckpt.select(include="*/fc?/*"))
        >>> with np.load(path) as arrays:
        ...     arrays["vgg_16/fc6/weights"].shape
        (7, 7, 6, 12)
    """
    from ckptparse.exports import destination
    from ckptparse.exports.formats import ExportOptions, find_format, require_options

    path = os.fsdecode(path)
    chosen = find_format(path, format)
    require_options(chosen, shard_nbytes, metadata)
    if chosen == "checkpoint":
        from ckptparse.saving import save_checkpoint

        return save_checkpoint(
            path,
            tensors,
            shard_nbytes=shard_nbytes,
            overwrite=overwrite,
            sync=sync,
            progress=progress,
        )
    contents = read_contents(path, tensors, chosen, progress)
    if metadata is None:
        metadata = {"format": "np"} if chosen == "safetensors" else {}
    options = ExportOptions(shard_nbytes, metadata)
    destination.write(path, contents, chosen, options, overwrite=overwrite, sync=sync)
    return path


def convert(
    source: str | os.PathLike[str] | Mapping[str, Any],
    destination: str | os.PathLike[str],
    *,
    format: str | None = None,
    weights_only: bool = False,
    moving_averages: bool = False,
    include: Pattern | Iterable[Pattern] | None = None,
    exclude: Pattern | Iterable[Pattern] = (),
    layout: Layout | None = None,
    rename: Rename | None = None,
    dtype: DTypeLike | Mapping[Pattern, DTypeLike] | None = None,
    shard_nbytes: int | None = None,
    metadata: Mapping[str, str] | None = None,
    overwrite: bool = False,
    sync: bool = True,
    progress: Progress | None = None,
) -> str:
    """Open a checkpoint, choose and change its tensors, and save them in another format.

    The object graph that TensorFlow 2 saves as a tensor of strings is saved in checkpoints only.

    The steps are done in the order of the arguments: `include` and `exclude` match the names in the
    source, as do the rules of `layout`; `dtype` matches the new names.

    Args:
        source: the path of a checkpoint or of another file that `open_checkpoint` opens; or a
            mapping from names to arrays.
        destination: the path to save to; its suffix decides the format, as for `save`.
        format: the name of the format, as for `save`; None for that of the suffix.
        weights_only: leave out what only training needs, as `Checkpoint.select` does.
        moving_averages: give the values of moving averages under the names of their variables, as
            `Checkpoint.select` does.
        include: keep only these: a name, a glob whose ``*`` also matches slashes, a compiled
            regular expression, or several of them.  None keeps all.
        exclude: remove these; patterns as for `include`.
        layout: "torch" gives kernels the order of axes that PyTorch has: for a convolution
            ``[out, in, height, width]``, for a dense layer ``[out, in]``.  The names tell what is a
            kernel; the page "Converting to other formats" has the rules.
        rename: old -> new, which are names; scopes, if both end with a slash or are ""; globs, with
            the text of each ``*`` put in place of those of the new name; or compiled regular
            expressions, each of whose matches is replaced.  The first one that matches a name
            renames it; other names are kept.  Or a function of the old name.  Or a list of such
            mappings and functions, which are applied one after the other.
        dtype: cast floating-point tensors, as `Checkpoint.select` does.
        shard_nbytes: the maximum number of bytes of tensors in a file, as for `save`.
        metadata: texts that are saved with the tensors, as for `save`.  None saves the name and
            format of the source and the version of ckptparse, where the format has a place.
        overwrite: replace what is there, as for `save`.
        sync: wait until all bytes are on the disk.
        progress: called during the work with the number of bytes written and the total.

    Returns:
        The destination.

    Raises:
        TensorNotFoundError: a name or pattern, other than in `exclude`, matches no tensor.
        InvalidTensorsError: two tensors would have the same name; see also `save`.
        UnsupportedError: the format does not have the dtype of a tensor; see `save`.
        CheckpointError: opening or reading the source, or writing failed.
        ValueError: an argument has no such value; see `save`.

    Examples:
        >>> import tempfile
        >>> import numpy as np
        >>> from ckptparse import convert
        >>> path = convert(
        ...     "fixtures/tf-1.15.5/training_graph/model.ckpt",
        ...     f"{tempfile.mkdtemp()}/weights.npz",
        ...     weights_only=True,
        ...     moving_averages=True,
        ...     layout="torch",
        ...     rename={"*/kernel": "*.weight", "*/bias": "*.bias"},
        ... )
        >>> with np.load(path) as arrays:
        ...     arrays["conv.weight"].shape
        (2, 1, 3, 3)
    """
    from ckptparse.exports.formats import find_format, has_metadata
    from ckptparse.weights.choice import choose

    destination = os.fsdecode(destination)
    chosen_format = find_format(destination, format)
    tensors: Mapping[str, Any]
    opened: Checkpoint | None = None
    if isinstance(source, Mapping):
        tensors = source
    else:
        tensors = opened = open_checkpoint(source)
    try:
        choice = choose(
            tensors,
            weights_only=weights_only,
            moving_averages=moving_averages,
            include=include,
            exclude=exclude,
            layout=layout,
            rename=rename,
            dtype=dtype,
            object_graph=chosen_format == "checkpoint",
        )
        if metadata is None and has_metadata(chosen_format):
            metadata = describe_source(tensors, chosen_format, layout)
        return save(
            destination,
            choice.tensors,
            format=chosen_format,
            shard_nbytes=shard_nbytes,
            metadata=metadata,
            overwrite=overwrite,
            sync=sync,
            progress=progress,
        )
    finally:
        if opened is not None:
            opened.close()


def describe_source(tensors: Mapping[str, Any], format: str, layout: str | None) -> dict[str, str]:
    """Return the metadata of a converted file: where its tensors are from.

    The metadata of a `.safetensors` file are kept, without those that the format cannot hold.

    Args:
        tensors: the source.
        format: the format of the converted file.
        layout: the layout that was asked for.
    """
    import ckptparse
    from ckptparse.exports.formats import can_hold_metadata

    metadata = {"format": "np"} if format == "safetensors" else {}
    if isinstance(tensors, Checkpoint):
        if tensors.format == "safetensors":
            metadata |= {
                key: value
                for key, value in tensors.metadata.items()
                if isinstance(value, str) and can_hold_metadata(format, key, value)
            }
        name = os.path.basename(tensors.path.rstrip("/"))
        metadata["source"] = name.encode("utf-8", "backslashreplace").decode()
        metadata["source_format"] = tensors.format
    if format == "safetensors" and layout == "torch":
        metadata["format"] = "pt"  # also if the source said that it was not
    return {**metadata, "converted_by": f"ckptparse {ckptparse.__version__}"}


def read_contents(
    path: str, tensors: Tensors, format: str, progress: Progress | None = None
) -> Contents:
    """Return the tensors as they are written to a file.

    Raises:
        UnsupportedError: the format does not have the dtype of a tensor.
        InvalidTensorsError: there are no tensors, or the format cannot hold a name or a value.
    """
    from ckptparse.exports.contents import Contents
    from ckptparse.exports.formats import EXPORTS

    contents = Contents(as_mapping(tensors), progress)
    if not contents.forms:
        raise InvalidTensorsError("there are no tensors to save", file=path)
    for name in contents.forms:
        if not isinstance(name, str) or not name:
            raise InvalidTensorsError(
                "a tensor cannot have this name", tensor=str(name), expected="a text"
            )
    EXPORTS[format].require_writable(contents)
    return contents


def as_mapping(tensors: Tensors) -> TensorMapping:
    """Return tensors as a `TensorMapping`.

    Raises:
        InvalidTensorsError: a name is not a text or is empty, or occurs twice; an item is not a
            pair; or a value cannot be converted to an array.
    """
    from ckptparse.saving import pairs_of, require_array
    from ckptparse.weights.inputs import as_tensor_mapping

    if isinstance(tensors, TensorMapping):
        return tensors
    if isinstance(tensors, Mapping) and type(tensors) is not dict:
        return as_tensor_mapping(tensors, 0)  # each array is read when it is written
    arrays: dict[str, Any] = {}
    for name, value in pairs_of(tensors):
        if name in arrays:
            raise InvalidTensorsError("two tensors have this name", tensor=name)
        try:
            arrays[name] = require_array(value)
        except InvalidTensorsError as error:
            error.locate(tensor=name)
            raise
    return as_tensor_mapping(arrays, 0)


def require_destination(path: str, tensors: TensorMapping, format: str, *, overwrite: bool) -> None:
    """Check that tensors can be saved at a path, as far as the names that are there tell.

    Raises:
        CheckpointExistsError: there is something of this name that is not replaced.
        UnsupportedError: the format cannot be saved at a URL.
        InvalidTensorsError: the tensors are read from the checkpoint that would be replaced, or
            there are none.
        CheckpointError: the directory cannot be listed.
    """
    from ckptparse import saving
    from ckptparse.exports import destination

    if format == "checkpoint":
        saving.require_destination(path, tensors, overwrite=overwrite)
    else:
        destination.require_destination(path, format, overwrite=overwrite)
