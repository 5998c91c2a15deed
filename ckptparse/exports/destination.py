"""Where tensors are saved: check the place, write the files, and give them their final names."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ckptparse.errors import UnsupportedError
from ckptparse.exports import npy
from ckptparse.exports.contents import Contents
from ckptparse.exports.formats import EXPORTS, ExportOptions
from ckptparse.outputs import Output, folder_for, last_part
from ckptparse.outputs.files import Create, FindSet, require_place, write_files
from ckptparse.outputs.tree import LocalTree
from ckptparse.sources import is_url


def require_destination(path: str, format: str, *, overwrite: bool) -> None:
    """Check that a format can be saved at a path, as far as the names that are there tell.

    Raises:
        CheckpointExistsError: there is something of this name that is not replaced.
        UnsupportedError: the format cannot be saved at a URL.
        CheckpointError: the directory cannot be listed.
    """
    _require_disk(path, format)
    if EXPORTS[format].write is None:
        _tree(path, sync=False).require_place(overwrite=overwrite)
    else:
        folder = folder_for(path, sync=False)
        require_place(folder, path, overwrite=overwrite, find_set=_find_set(path, format))


def write(
    path: str,
    contents: Contents,
    format: str,
    options: ExportOptions,
    *,
    overwrite: bool,
    sync: bool,
) -> None:
    """Save tensors at a path.

    Args:
        path: path or URL.
        contents: the tensors, which the format can hold.
        format: name of the format.
        options: how the format is written.
        overwrite: replace what is there.
        sync: wait until all bytes are on the disk.

    Raises:
        CheckpointExistsError, UnsupportedError: see `require_destination`.
        UnwritableError: the operating system or the storage fails.
        CheckpointError: reading a tensor failed.
    """
    _require_disk(path, format)
    write_export = EXPORTS[format].write
    if write_export is None:
        _write_tree(path, contents, overwrite=overwrite, sync=sync)
        return

    def write_all(create: Create, taken: Collection[str]) -> Iterable[tuple[str, Output]]:
        return write_export(contents, last_part(path), create, options, taken)

    folder = folder_for(path, sync=sync)
    write_files(folder, path, write_all, overwrite=overwrite, find_set=_find_set(path, format))


def _require_disk(path: str, format: str) -> None:
    """Check that a format can be saved where a path is.

    Raises:
        UnsupportedError: it is a URL, and the format cannot be saved there.
    """
    only_on_disk = EXPORTS[format].only_on_disk
    if only_on_disk is not None and is_url(path):
        raise UnsupportedError(only_on_disk, file=path, expected="a path; or another format")


def _find_set(path: str, format: str) -> FindSet:
    """Return the function that finds the files of an old set."""
    find_set = EXPORTS[format].find_set
    base = last_part(path)
    return lambda names: [] if find_set is None else find_set(names, base)


def _tree(path: str, *, sync: bool) -> LocalTree:
    """Return the directory of `.npy` files at a path."""
    return LocalTree(path.rstrip("/") or path, npy.SUFFIX, sync=sync)


def _write_tree(path: str, contents: Contents, *, overwrite: bool, sync: bool) -> None:
    """Save a directory of `.npy` files."""
    tree = _tree(path, sync=sync)
    try:
        tree.prepare(overwrite=overwrite)
        npy.write(contents, tree.create)
        tree.publish(overwrite=overwrite)
    except BaseException:
        tree.abandon()
        raise
    tree.discard()
