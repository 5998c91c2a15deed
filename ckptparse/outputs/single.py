"""Write one file under a temporary name, and rename it when it is complete."""

from __future__ import annotations

import os
from collections.abc import Iterable

from ckptparse.errors import CheckpointExistsError, InvalidTensorsError
from ckptparse.outputs.base import Buffer, Folder
from ckptparse.sources.base import is_url


def write_file(folder: Folder, path: str, parts: Iterable[Buffer], *, overwrite: bool) -> int:
    """Write a file; returns its number of bytes.

    After an error or an interrupt, there is what was there before.

    Args:
        folder: the folder of the file; see `folder_for`.
        path: path or URL of the file.
        parts: its bytes.
        overwrite: replace a file of this name.

    Raises:
        CheckpointExistsError: there is such a file, and `overwrite` is False; or a directory.
        UnwritableError: the operating system or the storage fails.
    """
    name = file_name(path)
    output = None
    try:
        folder.prepare()
        with folder.lock():
            remove_leftovers(folder)
            require_free(folder, path, overwrite=overwrite)
        output = folder.create()
        for part in parts:
            output.write(part)
        output.finish()
        with folder.lock():
            require_free(folder, path, overwrite=overwrite)
            folder.replace(output, name)
            folder.sync()
    except BaseException:
        if output is not None:
            output.discard()
        folder.abandon()
        raise
    output.discard()
    return output.nbytes


def file_name(path: str) -> str:
    """Return the name of a file in its folder.

    Raises:
        InvalidTensorsError: the path ends with a slash.
    """
    name = path.rpartition("/")[2] if is_url(path) else os.path.basename(path)
    if not name:
        raise InvalidTensorsError("a file cannot have this name", file=path)
    return name


def require_free(folder: Folder, path: str, *, overwrite: bool) -> None:
    """Check that a file may be written.

    Raises:
        CheckpointExistsError: there is such a file, and `overwrite` is False; or a directory.
    """
    name = file_name(path)
    if folder.is_directory(name):
        raise CheckpointExistsError("there is a directory of this name", file=path)
    if not overwrite and name in folder.names():
        raise CheckpointExistsError(
            "there is a file of this name already",
            file=path,
            expected="no file of this name, or overwrite=True (--overwrite)",
        )


def remove_leftovers(folder: Folder) -> None:
    """Remove the files of writers that were killed, unless they have another name, too."""
    for name in folder.left_temporaries():
        if not folder.other_names(name):
            folder.remove(name)
