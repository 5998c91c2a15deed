"""The data files of a bundle: the header says how many there are, each entry in which one it is."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import add

from ckptparse.errors import (
    CorruptCheckpointError,
    MissingShardError,
    TruncatedError,
    UnreadableError,
)
from ckptparse.formats.file_names import data_suffix
from ckptparse.formats.reader import closed_error
from ckptparse.formats.recognize import name_foreign_format
from ckptparse.limits import MAX_SHARED_RATIO
from ckptparse.sources import MOST_KEPT_OPEN, Source


def is_kept_open(shard_id: int) -> bool:
    """Return whether a data file stays open and can be mapped; see `MOST_KEPT_OPEN`."""
    return shard_id < MOST_KEPT_OPEN


class Shards:
    """The data files, each opened at its first use."""

    def __init__(
        self,
        prefix: str,
        num_shards: int,
        open_source: Callable[..., Source],
        append: Callable[[str, str], str] = add,
        is_replaced: Callable[[], bool] = lambda: False,
    ) -> None:
        """
        Args:
            prefix: path before ``.data-...``.
            num_shards: number of data files.
            open_source: `Files.open`.
            append: `Files.append`.
            is_replaced: returns whether the index is no longer the one that was opened.
        """
        self.num_shards = num_shards
        self._prefix = prefix
        self._open_source: Callable[..., Source] | None = open_source
        self._append = append
        self._is_replaced = is_replaced
        self._opened: dict[int, Source] = {}
        self._paths: dict[int, str] = {}

    def path(self, shard_id: int) -> str:
        """Path of a shard, there or not."""
        path = self._paths.get(shard_id)
        if path is None:
            path = self._append(self._prefix, data_suffix(shard_id, self.num_shards))
            self._paths[shard_id] = path
        return path

    def source(self, shard_id: int) -> Source:
        """A shard's bytes.

        Raises:
            MissingShardError: there is no such file.
            UnreadableError: the checkpoint was replaced after it was opened.
            ValueError: `close` was called.
        """
        source = self._opened.get(shard_id)
        if source is None:
            path = self.path(shard_id)
            open_source = self._open_source
            if open_source is None:
                raise closed_error(self._prefix)
            try:
                source = open_source(path, kept=is_kept_open(shard_id))
            except FileNotFoundError as error:
                raise MissingShardError(
                    "this data file is missing",
                    file=path,
                    expected=f"shard {shard_id} of {self.num_shards} beside the index",
                    found="no such file",
                ) from error
            if self._is_replaced():  # asked after opening: a writer replaces the index first
                source.close()
                raise _replaced_error(self._prefix)
            # Two threads may both have opened it: the first one's source stays.
            source = self._opened.setdefault(shard_id, source)
            if self._open_source is None:  # another thread has closed all files meanwhile
                source.close()
        return source

    def require_range(self, shard_id: int, offset: int, nbytes: int) -> Source:
        """A shard that really holds these bytes.

        Raises:
            MissingShardError: there is no such file.
            TruncatedError: it ends before them.
        """
        source = self._opened.get(shard_id) or self.source(shard_id)
        if offset + nbytes > source.nbytes:
            foreign = name_foreign_format(source)
            raise TruncatedError(
                f"this is not a data file but {foreign}"
                if foreign
                else "this data file is cut off: it ends before the tensor does",
                file=source.name,
                offset=offset,
                expected=f"{nbytes} bytes up to byte {offset + nbytes}",
                found=f"a file of {source.nbytes} bytes",
            )
        return source

    def close(self) -> None:
        """Close what was opened, and open nothing any more."""
        self._open_source = None
        for source in list(self._opened.values()):  # one step, for a thread that opens another
            source.close()
        self._opened.clear()


def _replaced_error(prefix: str) -> UnreadableError:
    """Return the error for a data file that belongs to another index than the one that is open."""
    error = UnreadableError(
        "this checkpoint was replaced or deleted after it was opened; open it again", file=prefix
    )
    error.errno = errno.ESTALE
    return error


class ReadLimit:
    """Counts the bytes that one loop over many tensors takes of each data file.

    TensorFlow stores each tensor in bytes of its own.  A crafted index can have a thousand entries
    for the same megabyte, and make an hour's work of a small file.  A single read is bounded by
    its data file; a loop is bounded here.
    """

    def __init__(self) -> None:
        self._left: dict[int, int] = {}
        self._keys: set[bytes] = set()

    def add(self, key: bytes, shard_id: int, offset: int, nbytes: int, shard: Source) -> None:
        """Count the bytes of a tensor, or a slice, before they are read; each key once.

        Args:
            key: its key; a selection may give one tensor several names.
            shard_id: number of the data file.
            offset: where in the data file they begin.
            nbytes: how many there are.
            shard: the data file.

        Raises:
            CorruptCheckpointError: with them, the loop takes many times the bytes of the data
                file.  They are not counted then.
        """
        if not nbytes or key in self._keys:
            return
        left = self._left.get(shard_id)
        if left is None:
            left = MAX_SHARED_RATIO * shard.nbytes
        if nbytes > left:
            raise CorruptCheckpointError(
                "tensors share the same bytes",
                file=shard.name,
                offset=offset,
                expected=f"at most {MAX_SHARED_RATIO} times the {shard.nbytes} bytes of the file",
                found=f"{MAX_SHARED_RATIO * shard.nbytes - left + nbytes} bytes so far",
            )
        self._left[shard_id] = left - nbytes
        self._keys.add(key)


@contextmanager
def with_format_hint(source: Source) -> Iterator[None]:
    """Have errors of damage say what a data file is instead, if its first bytes tell."""
    try:
        yield
    except CorruptCheckpointError as error:
        foreign = name_foreign_format(source)
        if foreign:
            error.args = (f"this is not a data file but {foreign}",)
            error.whole_file = True
        raise
