"""Write a file, or a set of files, under temporary names, and rename them when all are complete."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

from ckptparse.errors import CheckpointExistsError, InvalidTensorsError
from ckptparse.outputs import last_part
from ckptparse.outputs.base import Buffer, Folder, Output, require_file
from ckptparse.outputs.sets import discard_all, place_set, removing

Create = Callable[[], Output]
"""Creates an output in the folder of the files."""

WriteFiles = Callable[[Create, Collection[str]], Iterable[tuple[str, Output]]]
"""Writes files; called with the names of old files that it must not use.  Returns the final name
and the finished output of each file; the last one completes the set."""

FindSet = Callable[[Collection[str]], list[str]]
"""Returns which of the names in a folder are those of an old set of files."""


def _find_none(names: Collection[str]) -> list[str]:
    """Return no names: a single file replaces only a file of its own name."""
    return []


def write_files(
    folder: Folder,
    path: str,
    write: WriteFiles,
    *,
    overwrite: bool,
    find_set: FindSet = _find_none,
) -> None:
    """Write one file, or a set of files.

    After an error or an interrupt, there is what was there before; or the new file or set, if the
    interrupt arrives when it already has its name.

    Args:
        folder: the folder of the files; see `folder_for`.
        path: path or URL of the file, or of the file that a set stands for.
        write: writes the files.
        overwrite: replace a file of this name, or an old set.
        find_set: finds the files of an old set.

    Raises:
        CheckpointExistsError: there is such a file or set, and `overwrite` is False; or a
            directory; or another writer has saved a set of the same names meanwhile.
        UnwritableError: the operating system or the storage fails.
    """
    outputs: list[Output] = []

    def create() -> Output:
        outputs.append(folder.create())
        return outputs[-1]

    try:
        folder.prepare()
        with folder.lock():
            _remove_leftovers(folder)
            taken = require_place(folder, path, overwrite=overwrite, find_set=find_set)
        files = list(write(create, taken))
        with folder.lock():
            old = require_place(folder, path, overwrite=overwrite, find_set=find_set)
            _publish(folder, path, files, old)
    except BaseException:
        discard_all(outputs)
        folder.abandon()
        raise
    discard_all(outputs)


def write_file(folder: Folder, path: str, parts: Iterable[Buffer], *, overwrite: bool) -> int:
    """Write a file of some bytes; returns its number of bytes.  See `write_files`."""
    nbytes = 0

    def write(create: Create, taken: Collection[str]) -> Iterator[tuple[str, Output]]:
        nonlocal nbytes
        output = create()
        for part in parts:
            output.write(part)
        output.finish()
        nbytes = output.nbytes
        yield last_part(path), output

    write_files(folder, path, write, overwrite=overwrite)
    return nbytes


def require_place(
    folder: Folder, path: str, *, overwrite: bool, find_set: FindSet = _find_none
) -> list[str]:
    """Return the names of the old files that a new file, or set of files, replaces.

    Raises:
        CheckpointExistsError: there are some, and `overwrite` is False; or there is a directory, a
            FIFO, a socket or a device.
        InvalidTensorsError: the path ends with a slash.
    """
    name = last_part(path)
    if not name:
        raise InvalidTensorsError("a file cannot have this name", file=path)
    names = folder.names()
    old = list(dict.fromkeys([*([name] if name in names else []), *find_set(names)]))
    for each in old:
        require_file(folder, each, path)
    if old and not overwrite:
        raise CheckpointExistsError(
            "there is a file of this name already",
            file=path,
            expected="no file of this name, or overwrite=True (--overwrite)",
            found=old[0],
        )
    return old


def _publish(folder: Folder, path: str, files: list[tuple[str, Output]], old: list[str]) -> None:
    """Give complete files their final names, then remove old ones.

    The old file, or the old set, is whole until the last new file is in place.

    Args:
        folder: the folder of the files; it must be locked.
        path: the path, for messages.
        files: final name and output of each; the last one completes a set.
        old: names of the files that they replace.

    Raises:
        CheckpointExistsError: another writer has saved a set of the same names meanwhile.
        UnwritableError: the operating system or the storage fails.
    """
    *parts, (last, output) = files
    for name, _ in parts:
        if name in old:
            raise CheckpointExistsError(
                "another writer has saved files of these names meanwhile", file=path, found=name
            )
    interrupt = place_set(folder, parts, (last, output), folder.replace)
    with removing(folder, lambda: [name for name in old if name != last]):
        if interrupt is not None:
            raise interrupt
        folder.sync()


def _remove_leftovers(folder: Folder) -> None:
    """Remove the files of writers that were killed, unless they have another name, too."""
    for name in folder.left_temporaries():
        if not folder.other_names(name):
            folder.remove(name)
