"""Sets of files, of which the last one refers to the others and completes the set."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress

from ckptparse.errors import CheckpointError
from ckptparse.outputs.base import Folder, Output


def place_set(
    folder: Folder,
    parts: Iterable[tuple[str, Output]],
    last: tuple[str, Output],
    give_name: Callable[[Output, str], None],
) -> BaseException | None:
    """Give the files of a set their final names, the last one at the end.

    If the set is not completed, the names of its parts are removed again.

    Args:
        folder: the folder of the files; it must be locked.
        parts: final name and output of each file but the last one; no file has such a name.
        last: final name and output of the last file.  It may replace one of this name.
        give_name: `folder.place` or `folder.replace`, for the parts.

    Returns:
        None; or an interrupt or error that arrived when the last file already had its name.  The
        set is complete then.  The caller raises it in a context of `removing`.

    Raises:
        UnwritableError: the operating system or the storage fails.
    """
    placed = []
    name, output = last
    try:
        for part_name, part in parts:
            placed.append(part_name)  # first: an interrupt can arrive when it has its name
            give_name(part, part_name)
        if placed:
            folder.sync()
        folder.replace(output, name)
    except BaseException as error:
        is_placed = folder.is_placed(output, name)
        if is_placed:
            return error
        if is_placed is False:  # if it is not known, both sets stay
            for part_name in placed:
                with suppress(CheckpointError):
                    folder.remove(part_name)
        raise
    return None


@contextmanager
def removing(folder: Folder, find_old: Callable[[], Collection[str]]) -> Iterator[None]:
    """Remove old files at the end of the context, also if an interrupt ends it.

    After an error they stay, because the names of the new files may not be on the disk.

    Args:
        folder: the folder of the files; it must be locked.
        find_old: returns the names of the old files; called at the end.

    Raises:
        UnwritableError: the operating system or the storage refuses.
    """
    try:
        yield
        for name in find_old():
            folder.remove(name)
    except Exception:
        raise
    except BaseException:
        with suppress(CheckpointError):
            folder.sync()
            for name in find_old():
                folder.remove(name)
        raise


def discard_all(outputs: Collection[Output]) -> None:
    """Discard outputs.  After an interrupt, the others are discarded, too."""
    try:
        for output in outputs:
            output.discard()
    except BaseException:
        for output in outputs:
            output.discard()
        raise
