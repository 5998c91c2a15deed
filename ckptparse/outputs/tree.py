"""Write a directory of files under a temporary name, and rename it when it is complete."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress

from ckptparse.errors import CheckpointExistsError
from ckptparse.outputs.base import new_token, unwritable
from ckptparse.outputs.local import LocalFolder, LocalOutput, is_left

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # there is no other value for a missing module

_OLD = "old"
"""Added to the temporary name of a directory for the old one that it replaces."""

_TEMPORARY = re.compile(rf"ckptparse-[0-9a-f]{{16}}\.tempdir({_OLD})?")


class LocalTree:
    """A local directory that is being written.

    The operating system can rename a directory in one step, but not over one that has files.  So
    when an old directory is replaced, it gets a temporary name first; between the two renames there
    is no directory of the final name.  A process that is killed there leaves both, complete, under
    temporary names.

    Attributes:
        path: the final path.
    """

    def __init__(self, path: str, suffix: str, *, sync: bool) -> None:
        """
        Args:
            path: the final path.
            suffix: suffix of all files.  Only a directory without any other files is replaced.
            sync: whether to wait until the bytes are on the disk.
        """
        self.path = path
        self._final = os.path.abspath(path)
        self._folder = LocalFolder(self._final, sync=sync)
        self._suffix = suffix
        self._sync = sync
        name = f"ckptparse-{new_token()}.tempdir"
        self._temporary = os.path.join(os.path.dirname(self._final), name)
        self._made: set[tuple[str, ...]] = set()
        self._lock: int | None = None
        self._file: LocalOutput | None = None

    def prepare(self, *, overwrite: bool) -> None:
        """Create the temporary directory.  Removes those of processes that were killed.

        Raises:
            CheckpointExistsError: the place is taken; see `publish`.
            UnwritableError: the operating system refuses.
        """
        self._folder.prepare()
        with self._folder.lock():
            self.require_place(overwrite=overwrite)
            self._remove_leftovers()
            try:
                os.mkdir(self._temporary)
                if fcntl is not None:
                    self._lock = os.open(self._temporary, os.O_RDONLY | os.O_CLOEXEC)
                    with suppress(OSError):
                        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:  # the temporary name would tell nothing
                raise unwritable(error, os.path.dirname(self._temporary)) from error
        self._made.add(())

    def create(self, parts: tuple[str, ...]) -> LocalOutput:
        """Create a file.  The one that was created before must be finished, and is closed.

        Args:
            parts: the names of the directories that lead to it, and its own name.

        Raises:
            UnwritableError: the operating system refuses.
        """
        self._close_file()
        self._make_directory(parts[:-1])
        self._file = LocalOutput(os.path.join(self._temporary, *parts), sync=self._sync)
        return self._file

    def _make_directory(self, parts: tuple[str, ...]) -> None:
        if parts in self._made:
            return
        self._make_directory(parts[:-1])
        path = os.path.join(self._temporary, *parts)
        try:
            os.mkdir(path)
        except OSError as error:
            raise unwritable(error, path) from error
        self._made.add(parts)

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def publish(self, *, overwrite: bool) -> None:
        """Give the directory its final name.

        Args:
            overwrite: replace a directory of this name, which has only files of the suffix.

        Raises:
            CheckpointExistsError: `overwrite` is False, and there is something of this name; or it
                is True, and this is no directory, or has other files.
            UnwritableError: the operating system refuses.
        """
        self._close_file()
        for parts in self._made if self._sync else ():
            LocalFolder(os.path.join(self._temporary, *parts, "x"), sync=True).sync()
        old = self._temporary + _OLD
        with self._folder.lock():
            self.require_place(overwrite=overwrite)
            is_there = os.path.lexists(self._final)
            try:
                if is_there:
                    os.rename(self._final, old)
                try:
                    os.rename(self._temporary, self._final)
                except BaseException:
                    if is_there:
                        os.rename(old, self._final)
                    raise
            except OSError as error:
                raise unwritable(error, self._final) from error
            self._folder.sync()
            shutil.rmtree(old, ignore_errors=True)

    def discard(self) -> None:
        """Remove the temporary directory if it still has its name.  Raises nothing."""
        self._close_file()
        shutil.rmtree(self._temporary, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def abandon(self) -> None:
        """Remove what `prepare` created.  Raises nothing."""
        self.discard()
        self._folder.abandon()

    def require_place(self, *, overwrite: bool) -> None:
        """Check that the final name is free, or that of a directory that is replaced.

        Raises:
            CheckpointExistsError: it is not; see `publish`.
        """
        if not os.path.lexists(self._final):
            return
        if not overwrite:
            raise CheckpointExistsError(
                "there is a file or directory of this name already", file=self.path,
                expected="none of this name, or overwrite=True (--overwrite)",
            )  # fmt: skip
        other = next(self._other_files(), None)
        if other is not None:
            raise CheckpointExistsError(
                "only a directory of which all files were saved like this is replaced",
                file=self.path,
                expected=f"a directory with {self._suffix} files only",
                found=other,
            )

    def _other_files(self) -> Iterator[str]:
        """Yield what the old directory has besides files of the suffix and directories."""
        if os.path.islink(self._final) or not os.path.isdir(self._final):
            yield self._final
            return
        for directory, names, files in os.walk(self._final):
            paths = [os.path.join(directory, name) for name in (*names, *files)]
            yield from (path for path in paths if os.path.islink(path))
            yield from (
                path
                for path in paths[len(names) :]
                if not (path.endswith(self._suffix) and os.path.isfile(path))
            )

    def _remove_leftovers(self) -> None:
        """Remove the temporary directories of processes that have ended.

        If both a new and an old directory of a process are there, it was killed between the two
        renames: both are kept, because the old one is the only one that ever had a name.
        """
        names = set(self._folder.names()) if fcntl is not None else set()
        for name in names:
            if not _TEMPORARY.fullmatch(name):
                continue
            new, old = name.removesuffix(_OLD), name.removesuffix(_OLD) + _OLD
            path = os.path.join(os.path.dirname(self._final), name)
            if not {new, old} <= names and is_left(path):
                shutil.rmtree(path, ignore_errors=True)
