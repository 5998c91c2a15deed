"""Give the files of a bundle their final names, so that the prefix always has a complete bundle.

A bundle consists of several files, but the operating system can replace only one file in one step:
the index.  So when the new index replaces the old one, the new data files must already be there,
under names that the old bundle does not use:

1. The data files get names of the bundle.  If the usual names are in use, a larger number of files
   is written into the names: ``m.data-00000-of-00002`` for a single file.  The header of the index
   has the same number; it may be larger than the number of files that the entries use.
2. The index is renamed to its final name.  From now on, the prefix refers to the new bundle.
3. If the data files did not get their usual names in step 1, they get them now, because no index
   refers to these names any more.  Then an index with the usual number of files replaces the first.
4. Data files to which no index refers are removed.

Each step reaches the disk before the next one.  On file systems with hard links, the files keep
their temporary names as well until the end.  By these, `remove_leftovers` recognizes all files of a
writer that was killed.  Without hard links, step 3 is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import chain

from ckptparse.errors import CheckpointError, CheckpointExistsError, UnwritableError
from ckptparse.formats.bundle.entries import encode_header
from ckptparse.formats.file_names import INDEX_SUFFIX, V1_SHARD, data_suffix
from ckptparse.outputs import Folder, Output
from ckptparse.outputs.sets import place_set, removing
from ckptparse.sstable.builder import build_table

_DATA = re.compile(r"(?P<base>.*)\.data-\d{5,}-of-(?P<count>\d{5,})", re.DOTALL)

ReadCount = Callable[[str], "int | None"]
"""Takes the last part of a prefix.  Returns the number of data files in the header of this bundle;
None if there is no such bundle.  Raises CheckpointError if its index cannot be read."""


def require_free(names: Iterable[str], base: str, path: str) -> None:
    """Check that there is no checkpoint, nor a part of one, under a name.

    Args:
        names: the names of a folder.
        base: the last part of the prefix.
        path: the prefix, for messages.

    Raises:
        CheckpointExistsError: there is one.
    """
    for name in names:
        shard = V1_SHARD.fullmatch(name)
        if (
            name in (base, base + INDEX_SUFFIX)
            or _count_in(name, base) is not None
            or (shard is not None and shard["base"] == base)
        ):
            raise CheckpointExistsError(
                "there is a checkpoint of this name already", file=path,
                expected="no files of this name, or overwrite=True (--overwrite)", found=name,
            )  # fmt: skip


def remove_leftovers(folder: Folder, read_count: ReadCount) -> None:
    """Remove the files of writers that were killed.

    A data file is removed only if no index uses it.  An index that cannot be read may use it.

    Args:
        folder: the folder of the files; it must be locked.
        read_count: see `ReadCount`.
    """
    for temporary in folder.left_temporaries():
        for name in folder.other_names(temporary):
            if _is_unused(name, read_count):
                folder.remove(name)
        folder.remove(temporary)


def _is_unused(name: str, read_count: ReadCount) -> bool:
    """Return whether a name is that of a data file which no index uses."""
    data = _DATA.fullmatch(name)
    try:
        return data is not None and read_count(data["base"]) != int(data["count"])
    except CheckpointError:
        return False


def publish(
    folder: Folder,
    base: str,
    data: list[Output],
    entries: Mapping[bytes, bytes],
    read_count: ReadCount,
) -> None:
    """Give the files of a bundle their final names, and replace the bundle of this name.

    Args:
        folder: the folder of the files; it must be locked.
        base: the last part of the prefix.
        data: the data files, which are complete.  The caller discards their temporary names.
        entries: the entries of the index.
        read_count: see `ReadCount`.

    Raises:
        UnwritableError: the operating system or the storage fails.  Before the index is renamed,
            the old bundle is then unchanged; after that, the new bundle is complete.  The same
            holds for an interrupt.
    """
    used = {_count_in(name, base) for name in folder.names()}
    try:
        old_count = read_count(base)
    except CheckpointError:  # it is damaged: which data files belong to it is not known
        old_count = None
    count = first_count = len(data)
    while first_count in used:
        first_count += 1
    interrupt = _place(folder, base, data, entries, first_count)
    counts = {old_count} - {None}

    def find_old() -> list[str]:
        try:
            kept_count = read_count(base) if counts else None
        except CheckpointError:  # which files it uses is not known
            kept_count = None
        if kept_count is None:
            return []
        unused = counts - {kept_count}
        return [name for name in folder.names() if _count_in(name, base) in unused]

    with removing(folder, find_old):
        if interrupt is not None:
            raise interrupt
        folder.sync()
        if first_count != count and folder.links:
            counts |= {first_count, count}
            with suppress(UnwritableError):  # the new bundle is in place, under the other names
                interrupt = _place(folder, base, data, entries, count)
            if interrupt is not None:
                raise interrupt
            folder.sync()


def _place(
    folder: Folder, base: str, data: list[Output], entries: Mapping[bytes, bytes], count: int
) -> BaseException | None:
    """Write an index, and give the files the names of a bundle of some data files.

    See `place_set` for what this returns and raises.
    """
    index = _write_index(folder, entries, count)
    parts = [(base + data_suffix(i, count), output) for i, output in enumerate(data)]
    try:
        interrupt = place_set(folder, parts, (base + INDEX_SUFFIX, index), folder.place)
    except BaseException:
        index.discard()
        raise
    try:
        index.discard()
    except BaseException as error:
        return error
    return interrupt


def _count_in(name: str, base: str) -> int | None:
    """Return the number of data files, as the name of one of them has it; None for other names."""
    data = _DATA.fullmatch(name)
    return int(data["count"]) if data and data["base"] == base else None


def _write_index(folder: Folder, entries: Mapping[bytes, bytes], num_shards: int) -> Output:
    """Write an index under a temporary name."""
    output = folder.create()
    try:
        header = [(b"", encode_header(num_shards))]
        for part in build_table(chain(header, ((key, entries[key]) for key in sorted(entries)))):
            output.write(part)
        output.finish()
    except BaseException:
        output.discard()
        raise
    return output
