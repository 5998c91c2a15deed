"""Put the files of a bundle in their places, so that there is a whole one at every moment.

A bundle is several files, but only one rename can be atomic: that of the index.  So the new data
files must have other names than those of the bundle that is replaced, when the new index comes:

1. The data files get their names.  If one of these is in use, they are named as if there were more
   of them: ``m.data-00000-of-00002``.  A header may say more files than the entries use.
2. The index is renamed to its name.  From now on the new bundle is there.
3. If the data files had to be named otherwise, they also get their own names, now that nothing else
   refers to these; then an index with the true number of files replaces the first one, and the
   other names are removed.  This needs hard links; without them the names stay as they are.
4. Data files that only the replaced bundle used are removed.

Each step reaches the disk before the next one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from ckptparse.errors import CheckpointExistsError
from ckptparse.formats.bundle.entries import encode_header
from ckptparse.formats.file_names import INDEX_SUFFIX, V1_SHARD, data_suffix
from ckptparse.outputs import Folder, Output
from ckptparse.sstable.builder import build_table

_DATA = re.compile(r"\.data-\d{5,}-of-(\d{5,})")


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
            or (name.startswith(base) and _DATA.fullmatch(name[len(base) :]))
            or (shard is not None and shard["base"] == base)
        ):
            raise CheckpointExistsError(
                "there is a checkpoint of this name already", file=path,
                expected="no files of this name, or overwrite=True", found=name,
            )  # fmt: skip


def publish(
    folder: Folder,
    base: str,
    data: list[Output],
    entries: Mapping[bytes, bytes],
    read_old_count: Callable[[], int | None],
) -> None:
    """Give the files of a bundle their names, and replace the bundle that has them.

    Args:
        folder: the folder of the files, which this process has locked.
        base: the last part of the prefix.
        data: the data files, which are complete.
        entries: the entries of the index.
        read_old_count: returns the number of data files of the bundle that is replaced; None if
            there is none, or it is damaged.

    Raises:
        UnwritableError: the operating system or the storage fails.  If the index was not renamed by
            then, what was there before is there still.
    """
    count = len(data)
    names = folder.names()
    used = _counts_in_use(names, base)
    first_count = count
    while first_count in used:
        first_count += 1
    old_count = read_old_count()
    first_names = _data_names(base, count, first_count)
    placed: list[str] = []
    index = _write_index(folder, entries, first_count)
    try:
        for output, name in zip(data, first_names):
            folder.replace(output.path, name)
            placed.append(name)
        folder.sync()
        folder.replace(index.path, base + INDEX_SUFFIX)
    except BaseException:
        index.discard()
        for name in placed:
            folder.remove(name)
        raise
    folder.sync()
    kept = first_count
    if first_count != count and _rename_by_links(folder, base, first_names, count, entries):
        kept = count
    for used_count in {old_count, first_count} - {None, kept}:
        for name in folder.names():
            found = _DATA.fullmatch(name[len(base) :]) if name.startswith(base) else None
            if found and int(found[1]) == used_count:
                folder.remove(name)


def _rename_by_links(
    folder: Folder, base: str, first_names: list[str], count: int, entries: Mapping[bytes, bytes]
) -> bool:
    """Give data files the names that they have in a bundle of `count` files.

    Returns:
        Whether that was possible; if not, the bundle is as it was.
    """
    if not folder.links:
        return False
    index = _write_index(folder, entries, count)
    try:
        for first_name, name in zip(first_names, _data_names(base, count, count)):
            folder.link_over(first_name, name)
        folder.sync()
        folder.replace(index.path, base + INDEX_SUFFIX)
    except OSError:
        index.discard()
        return False
    folder.sync()
    return True


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


def _data_names(base: str, count: int, named_count: int) -> list[str]:
    """Return the names of data files in a bundle that seems to have `named_count` of them."""
    return [base + data_suffix(shard_id, named_count) for shard_id in range(count)]


def _counts_in_use(names: Iterable[str], base: str) -> set[int]:
    """Return the numbers of data files in the names of those that there are."""
    found = (_DATA.fullmatch(name[len(base) :]) for name in names if name.startswith(base))
    return {int(each[1]) for each in found if each}
