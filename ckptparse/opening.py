"""Open the checkpoint, or read the graph, that a path refers to."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ckptparse.checkpoint import Checkpoint
from ckptparse.errors import CheckpointNotFoundError
from ckptparse.formats.bundle import BundleReader
from ckptparse.formats.containers import CONTAINERS, ContainerOptions
from ckptparse.formats.file_names import INDEX_SUFFIX
from ckptparse.formats.reader import Reader
from ckptparse.formats.recognize import ARCHIVE
from ckptparse.paths.locate import Found, confine, find_archive_path, find_checkpoint
from ckptparse.sources import MOST_KEPT_OPEN, Files, Source, files_for, is_url

FORMATS = ("v2", "v1", *CONTAINERS)
"""The names of all formats."""

if TYPE_CHECKING:  # imported at first use
    from ckptparse.metagraph import MetaGraph


def open_checkpoint(
    path: str | os.PathLike[str],
    *,
    verify: bool = True,
    mmap: bool = True,
    format: str | None = None,
    storage_options: dict[str, object] | None = None,
    confined: bool = False,
    all_constants: bool = False,
) -> Checkpoint:
    """Open a checkpoint that TensorFlow wrote, or another file of weights.

    Opening reads no tensors.  Of a V2 checkpoint, it reads the footer and two blocks of the index;
    of a V1 checkpoint, the table of contents of each file; of other files, the names and places of
    all tensors.

    Args:
        path: the path or URL of a checkpoint (URLs need the extra `remote`):

            - a prefix, such as ``model.ckpt-200``;
            - a file of the checkpoint: ``.index``, ``.data-00000-of-00001``, ``.meta``, a V1 file,
              a V1 shard, or ``-?????-of-00004`` for all V1 shards;
            - a ``checkpoint`` state file or its directory, for the latest checkpoint;
            - the directory of a SavedModel or a TF-Hub module;
            - a directory that contains exactly one checkpoint;
            - a `.weights.h5`, `.h5` or `.keras` file of Keras, a frozen graph (`.pb`, `.pbtxt`), an
              `.npz` or a `.safetensors` file;
            - a `.zip`, `.tar`, `.tar.gz` or `.tgz` archive that contains exactly one of these, or a
              path into the archive, such as ``models.zip/inner/model.ckpt``.  Nothing is unpacked
              to the disk.  Opening a `.tar.gz` archive inflates it once.

        verify: compare the bytes of a tensor with their stored checksum at the first access.  With
            False, a mapped file is read only when an array over it is used.  Indexes and tables of
            contents are always checked.
        mmap: map data files into memory, so that arrays are views of the files.  With False, arrays
            are copies.  Use False for files that another process may shorten or remove: the use of
            an array over such a file can end the process with SIGBUS.  Data files after the 128th,
            and files at URLs, are always read as copies; this limits the number of open files.
        format: "v1" or "v2", to choose between two checkpoints with the same prefix.  None prefers
            V2, as TensorFlow does.  For another file, its format: "keras-h5", "keras",
            "frozen-graph", "npz" or "safetensors"; None recognizes it by its first bytes, and a
            frozen graph by its suffix.  "frozen-graph" also reads the constants of a SavedModel
            that has variables.
        storage_options: options that fsspec passes to the file system of a URL.
        confined: open no file outside one directory: the directory that contains the prefix or file
            `path`, or else the directory `path`.  State files and symbolic links that lead out of
            it are not followed.  Use it for checkpoints that you do not trust.
        all_constants: of a frozen graph, list constants of one element or none, too.  Has no effect
            on other formats.

    Returns:
        A `Checkpoint`.  Close it, or use it in a ``with`` statement; its arrays stay valid.

    Raises:
        CheckpointNotFoundError: there is no checkpoint, or more than one; the text lists the files
            that were searched for and those that exist.
        MissingShardError: a file of a V1 checkpoint is missing.
        NotACheckpointError: the file is not a checkpoint, nor any other file of this list.
        CorruptCheckpointError: an index, a table of contents or a state file is damaged.
        UnsupportedError: the checkpoint requires a newer reader.
        UnreadableError: the operating system or the storage refuses, or with `confined` the path
            leads out of the directory.
        ImportError: `path` is a URL, and fsspec or the package of the storage is not installed.
        ValueError: `format` is not the name of a format.

    Examples:
        >>> from ckptparse import open_checkpoint
        >>> with open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt") as ckpt:
        ...     weights = ckpt["vgg_16/fc6/weights"]
        >>> weights.shape
        (7, 7, 6, 12)

        A directory with a state file refers to its latest checkpoint:

        >>> with open_checkpoint("fixtures/tf-1.15.5/vgg_16", mmap=False) as ckpt:
        ...     print(ckpt.path, len(ckpt))
        fixtures/tf-1.15.5/vgg_16/model.ckpt 34
    """
    if format is not None and format not in FORMATS:
        raise ValueError(f"format is one of {', '.join(FORMATS)}, or None, not {format!r}")
    path = os.fsdecode(path)
    options: dict[str, Any] = {
        "verify": verify,
        "mmap": mmap,
        "format": format,
        "storage_options": storage_options,
        "confined": confined,
        "all_constants": all_constants,
    }
    again = _open_again, (path if is_url(path) else os.path.abspath(path), options)
    files = files_for(path, mmap=mmap, storage_options=storage_options)
    files, found = _find(files, path, format, confined=confined)
    try:
        reader = _open_reader(files, found, options)
    except CheckpointNotFoundError:
        raise
    except FileNotFoundError as error:
        raise CheckpointNotFoundError(
            "this file disappeared while it was opened", file=found.prefix
        ) from error
    place = found.prefix if is_url(path) else os.path.abspath(found.prefix)
    return Checkpoint(reader, files, again, place)


def _find(files: Files, path: str, format: str | None, *, confined: bool) -> tuple[Files, Found]:
    """Find the checkpoint that a path refers to, and the file system or archive that it is in."""
    inside = confine(files, path, format) if confined else files
    try:
        found = find_checkpoint(inside, path, format)
    except CheckpointNotFoundError:
        archive_path = find_archive_path(files, path, confined=confined)
        if archive_path is None:
            raise
    else:
        if found.format != ARCHIVE:
            return inside, found
        directory, name = files.split(path)
        archive_path = path if name else directory  # without a slash at the end
    from ckptparse.paths.archives import find_in_archive, open_archive_at  # not for other files

    archive = open_archive_at(files, archive_path, confined=confined)
    return archive, find_in_archive(archive, path, format)


def _open_reader(files: Files, found: Found, options: Mapping[str, Any]) -> Reader:
    """Open the files of a checkpoint or of a container.

    Args:
        files: the file system.
        found: the checkpoint or container.
        options: the arguments of `open_checkpoint`.

    Raises:
        FileNotFoundError: there is no such file any more.
    """
    verify = options["verify"]
    if found.format == "v1":
        from ckptparse.formats.saved_slices import SavedSlicesReader  # not for V2

        shards = [
            files.open(shard, kept=i < MOST_KEPT_OPEN) for i, shard in enumerate(found.shards)
        ]
        with _closed_on_error(shards):
            return SavedSlicesReader(found.prefix, shards, verify=verify)
    if found.format in CONTAINERS:
        source = files.open(found.prefix)
        container_options = ContainerOptions(
            verify=verify,
            all_constants=options["all_constants"],
            is_chosen=options["format"] is not None,
        )
        with _closed_on_error([source]):
            return CONTAINERS[found.format](source, container_options)
    # The index is not mapped, so that bytes cannot change after they were checked.
    index = files.open(files.append(found.prefix, INDEX_SUFFIX), mapped=False)
    with _closed_on_error([index]):
        return BundleReader(
            found.prefix,
            index,
            files.open,
            append=files.append,
            verify=verify,
            mapped=files.mapped,
        )


@contextmanager
def _closed_on_error(sources: list[Source]) -> Iterator[None]:
    """Close files if an error is raised, whose traceback could keep them open."""
    try:
        yield
    except BaseException:
        for source in sources:
            source.close()
        raise


def _open_again(path: str, options: dict[str, Any]) -> Checkpoint:
    """Open the checkpoint of a pickled or copied `Checkpoint`."""
    return open_checkpoint(path, **options)


def read_graph(
    path: str, tags: Iterable[str] | None = None, *, confined: bool = False
) -> tuple[str, MetaGraph]:
    """Read a graph file, or the graph file beside a checkpoint.

    Args:
        path: a `.meta` file, the directory or file of a SavedModel, or any path that
            `open_checkpoint` accepts.
        tags: choose the graph of a SavedModel that has exactly these tags; None for the first one.
        confined: as in `open_checkpoint`.

    Returns:
        The path of the graph file, and the graph.

    Raises:
        CheckpointNotFoundError: there is no graph, or no checkpoint, at the path; or no graph has
            these tags.
        CorruptCheckpointError: the graph is damaged.

    Examples:
        >>> from ckptparse.opening import read_graph
        >>> path, graph = read_graph("fixtures/tf-1.15.5/vgg_16/model.ckpt")
        >>> path
        'fixtures/tf-1.15.5/vgg_16/model.ckpt.meta'
        >>> graph.tensorflow_version
        '1.15.5'
    """
    from ckptparse.metagraph import find_graph_file, read_graph_file

    files = files_for(path, mmap=True)
    inside: Files = confine(files, path) if confined else files
    found = find_graph_file(inside, path)
    if found is None:
        archive_path = find_archive_path(files, path, confined=confined)
        if archive_path is not None:
            from ckptparse.paths.archives import find_in_archive, open_archive_at

            inside = archive = open_archive_at(files, archive_path, confined=confined)
            found = find_graph_file(archive, path)
            if found is None:
                found = find_graph_file(archive, find_in_archive(archive, path, None).prefix)
        else:
            with open_checkpoint(path, confined=confined) as ckpt:
                found = find_graph_file(inside, ckpt.path)
    if found is None:
        raise CheckpointNotFoundError(
            "there is no graph beside this checkpoint",
            file=path,
            expected="a .meta file, or a SavedModel's saved_model.pb",
            found="neither",
        )
    return found, read_graph_file(inside, found, tags)
