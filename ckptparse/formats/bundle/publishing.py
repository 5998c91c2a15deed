"""Put the files of a bundle in their places, so that there is a whole one at every moment.

A bundle is several files, but only one rename can be atomic: that of the index.  So the new data
files must have other names than those of the bundle that is replaced, when the new index comes:

1. The data files get their names.  If one of these is in use, they are named as if there were more
   of them: ``m.data-00000-of-00002``.  A header may say more files than the entries use.
2. The index is renamed to its name.  From now on the new bundle is there.
3. If the data files had to be named otherwise, they get their own names, now that nothing refers to
   these any more; then an index with the true number of files replaces the first one.
4. Data files that no index refers to any more are removed.

Each step reaches the disk before the next one.  With hard links, the files keep their temporary
names until the end.  So `remove_leftovers` recognizes the files of a writer that was killed, also
those that have their names already.  Without hard links, step 3 is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from ckptparse.errors import CheckpointExistsError, UnwritableError
from ckptparse.formats.bundle.entries import encode_header
from ckptparse.formats.file_names import INDEX_SUFFIX, V1_SHARD, data_suffix
from ckptparse.outputs import Folder, Output
from ckptparse.sstable.builder import build_table

_DATA = re.compile(r"(?P<base>.*)\.data-\d{5,}-of-(?P<count>\d{5,})", re.DOTALL)

ReadCount = Callable[[str], "int | None"]
"""Returns the number of data files of the bundle of a base name, as its header says; None if there
is no bundle, or it is damaged."""


def require_free(names: Iterable[str], base: str, path: str) -> None:
    """Check that there is no checkpoint, nor a part of one, under a name.

    Args:
        names: the names of a folder.
        base: the last part of the prefix.
        path: the prefix, for messages.

    Raises:
        CheckpointExistsError: there is.
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
                expected="no files of this name, or overwrite=True", found=name,
            )  # fmt: skip


def remove_leftovers(folder: Folder, read_count: ReadCount) -> None:
    """Remove the files of writers that were killed.

    Args:
        folder: the folder of the files, which this process has locked.
        read_count: see `ReadCount`.
    """
    for temporary in folder.left_temporaries():
        for name in folder.other_names(temporary):
            data = _DATA.fullmatch(name)
            if data and read_count(data["base"]) != int(data["count"]):
                folder.remove(name)
        folder.remove(temporary)


def publish(
    folder: Folder,
    base: str,
    data: list[Output],
    entries: Mapping[bytes, bytes],
    read_count: ReadCount,
) -> None:
    """Give the files of a bundle their names, and replace the bundle that has them.

    Args:
        folder: the folder of the files, which this process has locked.
        base: the last part of the prefix.
        data: the data files, which are complete.  The caller discards their temporary names.
        entries: the entries of the index.
        read_count: see `ReadCount`.

    Raises:
        UnwritableError: the operating system or the storage fails.  If the index was not renamed by
            then, what was there before is there still.
    """
    used = {_count_in(name, base) for name in folder.names()}
    old_count = read_count(base)
    count = first_count = len(data)
    while first_count in used:
        first_count += 1
    index = _write_index(folder, entries, first_count)
    placed: list[str] = []
    try:
        for shard_id, output in enumerate(data):
            placed.append(base + data_suffix(shard_id, first_count))
            folder.place(output, placed[-1])
        folder.sync()
        folder.replace(index, base + INDEX_SUFFIX)
    except BaseException:
        for name in placed:
            folder.remove(name)
        raise
    finally:
        index.discard()
    folder.sync()
    kept_count = first_count
    if first_count != count and folder.links:
        index = _write_index(folder, entries, count)
        try:
            for shard_id, output in enumerate(data):
                folder.place(output, base + data_suffix(shard_id, count))
            folder.sync()
            folder.replace(index, base + INDEX_SUFFIX)
            kept_count = count
        except UnwritableError:  # the new bundle is in place, under the other names
            pass
        finally:
            index.discard()
        folder.sync()
    for name in folder.names():
        if _count_in(name, base) in {old_count, first_count} - {None, kept_count}:
            folder.remove(name)


def _count_in(name: str, base: str) -> int | None:
    """Return the number of data files in the name of one of them; None for any other file."""
    data = _DATA.fullmatch(name)
    return int(data["count"]) if data and data["base"] == base else None


def _write_index(folder: Folder, entries: Mapping[bytes, bytes], num_shards: int) -> Output:
    """Write an index under a temporary name."""
    output = folder.create()
    try:
        for part in build_table([(b"", encode_header(num_shards)), *sorted(entries.items())]):
            output.write(part)
        output.finish()
    except BaseException:
        output.discard()
        raise
    return output
